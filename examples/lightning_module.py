"""Train a momentum LSTM as a Lightning module, on the digits that come with the package.

pip install 'momentumrnn[examples]'
python examples/lightning_module.py
"""

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from momentum_cli import LSTM, HeavyBall
from momentum_cli.data.digits import Digits


class Classifier(lightning.LightningModule):
    """Images row by row to classes."""

    def __init__(self, hidden_size: int = 64, momentum: float = 0.6, lr: float = 1e-2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = LSTM(8, hidden_size, batch_first=True, dynamics=HeavyBall(momentum=momentum))
        self.head = torch.nn.Linear(hidden_size, 10)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 10) for rows (batch, 8, 8)."""
        outputs, _ = self.layer(rows)
        return self.head(outputs[:, -1])

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        """Return the loss of a batch."""
        loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        """Log the accuracy of a batch."""
        self.log("accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return an optimizer of torch; those of `momentum_cli.optim` work as well."""
        return torch.optim.RMSprop(self.parameters(), lr=self.hparams["lr"])


def loader(split, shuffle: bool = False) -> DataLoader:
    """Return the batches of a split."""
    whole = split.batch(torch.arange(len(split)))
    return DataLoader(TensorDataset(whole.inputs, whole.targets), batch_size=32, shuffle=shuffle)


def fit(epochs: int = 5, **options: object) -> float:
    """Train and return the accuracy on the validation split."""
    lightning.seed_everything(0, verbose=False)
    digits = Digits().load(None)
    trainer = lightning.Trainer(
        max_epochs=epochs, gradient_clip_val=1.0, logger=False, enable_checkpointing=False, **options
    )
    trainer.fit(Classifier(), loader(digits.train, shuffle=True), loader(digits.validation))
    return float(trainer.callback_metrics["accuracy"])


if __name__ == "__main__":
    print(f"accuracy {fit():.3f}")
