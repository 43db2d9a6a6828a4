"""Optimizers by the names of recipes. Each takes parameters first and its options as keywords, as in `torch.optim`."""

from __future__ import annotations

import torch

from momentum_cli.optim.ahb_adam import AHBAdam, AHBAdamW
from momentum_cli.optim.ahb_sgd import AHBSGD

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "ahb-sgd": AHBSGD,
    "ahb-adam": AHBAdam,
    "ahb-adamw": AHBAdamW,
}
