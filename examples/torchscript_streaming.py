"""Feed a sequence to a TorchScript file in chunks, with torch alone.

    momentumrnn export RUN --format torchscript --stateful --out model.pt
    python examples/torchscript_streaming.py model.pt inputs.npy [CHUNK]

inputs.npy is float32 (batch, time, channels); for images `model.prepare(images)` makes it. Prints the outputs after the
last chunk.
"""

import sys

import numpy as np
import torch


def stream(model: torch.jit.ScriptModule, inputs: torch.Tensor, chunk: int) -> torch.Tensor:
    """Run the sequence ``chunk`` steps at a time and return the outputs of the last call."""
    state = model.zero_state(len(inputs))
    with torch.inference_mode():
        for part in inputs.split(chunk, dim=1):
            outputs, state = model(part, state)
    return outputs


if __name__ == "__main__":
    loaded = torch.jit.load(sys.argv[1])
    sequence = torch.from_numpy(np.load(sys.argv[2]).astype(np.float32))
    print(stream(loaded, sequence, int(sys.argv[3]) if len(sys.argv) > 3 else 1).numpy())
