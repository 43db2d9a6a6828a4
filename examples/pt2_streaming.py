"""Feed a sequence to a torch.export program in chunks, with torch alone.

    momentumrnn export RUN --format pt2 --stateful --out model.pt2
    python examples/pt2_streaming.py model.pt2 inputs.npy [CHUNK]

inputs.npy is float32 (batch, time, channels). Prints the outputs after the last chunk. A pt2 file of somebody else can
run code when torch loads it; `momentumrnn predict` looks through it first.
"""

import json
import sys

import numpy as np
import torch


def stream(path: str, inputs: torch.Tensor, chunk: int) -> torch.Tensor:
    """Run the sequence ``chunk`` steps at a time and return the outputs of the last call."""
    files = {"momentumrnn.json": ""}
    model = torch.export.load(path, extra_files=files).module()
    entries = json.loads(files["momentumrnn.json"])["state"]
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
    sequence = torch.from_numpy(np.load(sys.argv[2]).astype(np.float32))
    print(stream(sys.argv[1], sequence, int(sys.argv[3]) if len(sys.argv) > 3 else 1).numpy())
