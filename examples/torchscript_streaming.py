"""Feed sequences to a TorchScript file in chunks, with torch and numpy alone.

momentumrnn export RUN --format torchscript --stateful --out model.pt
python examples/torchscript_streaming.py model.pt FILE [CHUNK]
"""

import json
import sys

import torch
from described_data import USAGE, answers, read, refuse_made


def stream(model: torch.jit.ScriptModule, inputs: torch.Tensor, chunk: int) -> torch.Tensor:
    """Run prepared sequences ``chunk`` steps at a time and return the outputs of the last call."""
    state = model.zero_state(len(inputs))
    with torch.inference_mode():
        for part in inputs.split(chunk, dim=1):
            outputs, state = model(part, state)
    return outputs


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__ + USAGE)
    files = {"momentumrnn.json": ""}
    loaded = torch.jit.load(sys.argv[1], _extra_files=files)
    dataset = json.loads(files["momentumrnn.json"])["dataset"]
    # The scaling is in the file.
    refuse_made(dataset)
    sequences = loaded.prepare(torch.from_numpy(read(sys.argv[2], dataset["preprocessing"])))
    chunk_size = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    print(*answers(stream(loaded, sequences, chunk_size).numpy(), dataset), sep="\n")
