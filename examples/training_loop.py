"""Train a momentum GRU with an optimizer of adaptive momentum in a plain PyTorch loop.

    python examples/training_loop.py

The adding problem: each step of a sequence has a number and a mark, and the answer is the sum of the two marked
numbers. Always answering 1 has a mean squared error of 1/6. Sequences have different lengths, so they are packed.
"""

import torch
from torch.nn.utils.rnn import pack_sequence

from momentum_cli import GRU, Adam, RecurrentState
from momentum_cli.optim import AHBAdam


class Adder(torch.nn.Module):
    """A recurrent layer and a linear head on its last state."""

    def __init__(self, hidden_size: int = 32) -> None:
        super().__init__()
        self.layer = GRU(2, hidden_size, dynamics=Adam(momentum=0.6, beta2=0.9))
        self.head = torch.nn.Linear(hidden_size, 1)

    def forward(self, sequences: list[torch.Tensor]) -> torch.Tensor:
        """Return one number for each sequence (T, 2)."""
        _, state = self.layer(pack_sequence(sequences, enforce_sorted=False))
        assert isinstance(state, RecurrentState)  # with momentum; a plain GRU returns the tensor h
        return self.head(state.h[-1]).squeeze(-1)


def batch(count: int, generator: torch.Generator) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return sequences of 10 to 20 steps and their answers."""
    sequences, answers = [], []
    for length in torch.randint(10, 21, (count,), generator=generator).tolist():
        values = torch.rand(length, generator=generator)
        marks = torch.zeros(length)
        marks[torch.randperm(length, generator=generator)[:2]] = 1.0
        sequences.append(torch.stack([values, marks], 1))
        answers.append((values * marks).sum())
    return sequences, torch.stack(answers)


def train(steps: int = 400, seed: int = 0) -> list[float]:
    """Train and return the loss of each step."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Adder()
    optimizer = AHBAdam(model.parameters(), lr=1e-2)
    losses = []
    for step in range(steps):
        sequences, answers = batch(64, generator)
        loss = torch.nn.functional.mse_loss(model(sequences), answers)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.4f}")
    return losses


if __name__ == "__main__":
    train()
