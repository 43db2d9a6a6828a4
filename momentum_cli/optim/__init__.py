"""Optimizers by the names of recipes. Each takes parameters first and its options as keywords, as in `torch.optim`."""

from __future__ import annotations

import torch

from momentum_cli.optim.adarem import AdaRem
from momentum_cli.optim.ahb_adam import AHBAdam, AHBAdamW
from momentum_cli.optim.ahb_sgd import AHBSGD
from momentum_cli.optim.avgrad import AVGrad
from momentum_cli.optim.frsgd import FRSGD
from momentum_cli.optim.hfac import HFac
from momentum_cli.optim.mada import MADA
from momentum_cli.optim.nhb import NHB
from momentum_cli.optim.sign_grad import SigSignGrad, TanhSignGrad

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "ahb-sgd": AHBSGD,
    "ahb-adam": AHBAdam,
    "ahb-adamw": AHBAdamW,
    "nhb": NHB,
    "frsgd": FRSGD,
    "adarem": AdaRem,
    "sigsigngrad": SigSignGrad,
    "tanhsigngrad": TanhSignGrad,
    "hfac": HFac,
    "mada": MADA,
    "avgrad": AVGrad,
}
