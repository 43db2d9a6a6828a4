"""Train a momentum LSTM with Accelerate: one device, several, or mixed precision without another line.

pip install 'momentumrnn[examples]'
python examples/accelerate_loop.py
accelerate launch examples/accelerate_loop.py      # on what `accelerate config` chose
"""

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

from momentum_cli import LSTM, HeavyBall
from momentum_cli.data.digits import Digits
from momentum_cli.optim import AHBAdamW


class Classifier(torch.nn.Module):
    """Images row by row to classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = LSTM(8, 64, batch_first=True, dynamics=HeavyBall(momentum=0.6))
        self.head = torch.nn.Linear(64, 10)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 10) for rows (batch, 8, 8)."""
        return self.head(self.layer(rows)[0][:, -1])


def fit(epochs: int = 5, **options: object) -> float:
    """Train and return the accuracy on the validation split."""
    torch.manual_seed(0)
    accelerator = Accelerator(**options)
    digits = Digits().load(None)
    train, validation = (split.batch(torch.arange(len(split))) for split in (digits.train, digits.validation))
    batches = DataLoader(TensorDataset(train.inputs, train.targets), batch_size=32, shuffle=True)
    held_out = DataLoader(TensorDataset(validation.inputs, validation.targets), batch_size=180)
    model = Classifier()
    optimizer = AHBAdamW(model.parameters(), lr=1e-2)
    model, optimizer, batches, held_out = accelerator.prepare(model, optimizer, batches, held_out)
    for _ in range(epochs):
        model.train()
        for rows, labels in batches:
            loss = torch.nn.functional.cross_entropy(model(rows), labels)
            optimizer.zero_grad()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    model.eval()
    right, count = 0, 0
    with torch.no_grad():
        for rows, labels in held_out:
            guesses, truth = accelerator.gather_for_metrics((model(rows).argmax(1), labels))
            right, count = right + int((guesses == truth).sum()), count + len(truth)
    accelerator.print(f"accuracy {right / count:.3f}")
    return right / count


if __name__ == "__main__":
    fit()
