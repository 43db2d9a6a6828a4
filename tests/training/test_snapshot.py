"""Trainers as checkpoints: exact continuation and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_trainer import interrupted, parameters, trainer

from momentum_cli.errors import RecipeError
from momentum_cli.training.snapshot import restore, snapshot


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "sgd"])
@pytest.mark.parametrize("at", [1, 4])
def test_a_restored_trainer_goes_on_bit_for_bit(optimizer: str, at: int) -> None:
    """Dropout masks included."""
    options: dict[str, Any] = {
        "model": {"num_layers": 2, "dropout": 0.3},
        "optimizer": {"name": optimizer, "lr": 0.01},
        "schedule": {"name": "cosine", "warmup_steps": 2},
    }
    whole, second = interrupted(lambda: trainer(**options), at)
    torch.testing.assert_close(parameters(second), parameters(whole), rtol=0.0, atol=0.0)
    assert second.progress.samples == whole.progress.samples


def test_a_checkpoint_of_another_model_or_batch_size_is_refused() -> None:
    one = trainer()
    one.step()
    saved = snapshot(one)
    with pytest.raises(RecipeError, match="does not fit the recipe"):
        restore(trainer(model={"hidden_size": 7}), saved)
    with pytest.raises(RecipeError, match="middle of an epoch with 4 sequences per step and is resumed with 5"):
        restore(trainer(train={"batch_size": 5}), saved)
