"""A momentum LSTM in code that has never heard of momentum: plain torch.nn.LSTM layers and a filter of two numbers.

    momentumrnn export RUN --format safetensors --as-torch-lstm --out model.safetensors
    python examples/plain_torch_lstm.py model.safetensors inputs.npy [CHUNK]

inputs.npy is float32 (batch, time, channels). The sequence is fed in chunks; prints the outputs after the last one.
Works for one-directional LSTMs with heavy-ball momentum (``v = momentum v + step_size x``).
"""

import json
import sys

import numpy as np
import torch
from safetensors import safe_open


class PlainModel:
    """Filter, LSTM, filter, LSTM, …, linear head.

    Args:
        path: The safetensors file.
    """

    def __init__(self, path: str) -> None:
        with safe_open(path, "pt") as file:
            self.model = json.loads(file.metadata()["momentumrnn"])["model"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.layers = []
        for number in range(self.model["num_layers"]):
            weights = {n.split(".", 2)[2]: t for n, t in tensors.items() if n.startswith(f"rnn.{number}.")}
            lstm = torch.nn.LSTM(weights["weight_ih_l0"].shape[1], self.model["hidden_size"], bias=self.model["bias"])
            lstm.load_state_dict(weights)
            self.layers.append(lstm)
        self.head = torch.nn.Linear(self.model["hidden_size"], self.model["output_size"])
        self.head.load_state_dict({n.split(".", 1)[1]: t for n, t in tensors.items() if n.startswith("head.")})

    def __call__(self, inputs: torch.Tensor, state: list | None = None) -> tuple[torch.Tensor, list]:
        """Return the outputs (batch, classes) after the last step and the state; inputs (batch, time, channels)."""
        state = state or [(0.0, None)] * len(self.layers)
        x, after = inputs.transpose(0, 1), []
        for lstm, (v, hidden) in zip(self.layers, state, strict=True):
            if self.model["bias"]:
                x = torch.nn.functional.pad(x, (0, 1), value=1.0)  # the filtered constant 1 carries the input bias
            filtered = []
            for x_t in x:
                v = self.model["dynamics"]["momentum"] * v + self.model["dynamics"]["step_size"] * x_t  # noqa: PLW2901
                filtered.append(v)
            x, last = lstm(torch.stack(filtered), hidden)
            after.append((v, last))
        return self.head(x[-1]), after


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    plain, carried = PlainModel(sys.argv[1]), None
    sequence = torch.from_numpy(np.load(sys.argv[2]).astype(np.float32))
    with torch.no_grad():
        for part in sequence.split(int(sys.argv[3]) if len(sys.argv) > 3 else 1, dim=1):
            outputs, carried = plain(part, carried)
    print(outputs.numpy())
