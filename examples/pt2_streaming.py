"""Feed sequences to a torch.export program in chunks, with torch and numpy alone.

    momentumrnn export RUN --format pt2 --stateful --out model.pt2
    python examples/pt2_streaming.py model.pt2 FILE [CHUNK]

A pt2 file of somebody else can run code when torch loads it; `momentumrnn predict` looks through it first.
"""

import json
import sys

import torch
from described_data import USAGE, answers, prepare, read


def load(path: str) -> tuple[torch.nn.Module, dict]:
    """Return the program and the JSON text that every exported file carries."""
    files = {"momentumrnn.json": ""}
    model = torch.export.load(path, extra_files=files).module()
    return model, json.loads(files["momentumrnn.json"])


def stream(model: torch.nn.Module, description: dict, inputs: torch.Tensor, chunk: int) -> torch.Tensor:
    """Run prepared sequences ``chunk`` steps at a time and return the outputs of the last call."""
    entries = description["state"]
    state = {
        entry["input"]: torch.zeros(
            [len(inputs) if size == "batch" else size for size in entry["shape"]], dtype=getattr(torch, entry["dtype"])
        )
        for entry in entries
    }
    with torch.no_grad():
        for part in inputs.split(chunk, dim=1):
            result = model(part, **state)
            state = {entry["input"]: result[entry["output"]] for entry in entries}
    return result["outputs"]


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__ + USAGE)
    loaded, about = load(sys.argv[1])
    dataset = about["dataset"]
    sequences = torch.from_numpy(prepare(read(sys.argv[2], dataset["preprocessing"]), dataset))
    outputs = stream(loaded, about, sequences, int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    print(*answers(outputs.numpy(), dataset), sep="\n")
