"""Optimizers by their names in recipes. Each takes the parameters first and its options as keywords, like torch's."""

from __future__ import annotations

import torch

from momentum_cli.messages import unknown
from momentum_cli.optim.adarem import AdaRem
from momentum_cli.optim.ahb_adam import AHBAdam, AHBAdamW
from momentum_cli.optim.ahb_sgd import AHBSGD
from momentum_cli.optim.avgrad import AVGrad
from momentum_cli.optim.frsgd import FRSGD
from momentum_cli.optim.hfac import HFac
from momentum_cli.optim.mada import MADA
from momentum_cli.optim.nhb import NHB
from momentum_cli.optim.sgd import SGD
from momentum_cli.optim.sign_grad import SigSignGrad, TanhSignGrad

__all__ = [
    "AHBSGD",
    "EXTERNAL",
    "FRSGD",
    "MADA",
    "NHB",
    "OPTIMIZERS",
    "SGD",
    "AHBAdam",
    "AHBAdamW",
    "AVGrad",
    "AdaRem",
    "HFac",
    "SigSignGrad",
    "TanhSignGrad",
    "resolve",
]

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": SGD,
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

EXTERNAL = "pytorch_optimizer:"
"""Prefix of the names of optimizers from the package pytorch-optimizer."""


def resolve(name: str) -> type[torch.optim.Optimizer]:
    """Return an optimizer class by name.

    Args:
        name: A name in `OPTIMIZERS`, or ``pytorch_optimizer:NAME``, in any case, for one of that package.

    Raises:
        ValueError: The optimizer is unknown (the message suggests the nearest name), or its package is not installed.
    """
    if not name.startswith(EXTERNAL):
        if name not in OPTIMIZERS:
            raise ValueError(unknown("optimizer", name, [*OPTIMIZERS, f"{EXTERNAL}NAME"]))
        return OPTIMIZERS[name]
    try:
        from pytorch_optimizer import get_supported_optimizers, load_optimizer
    except ImportError as error:
        raise ValueError(
            f"optimizer {name!r} needs the package pytorch-optimizer, which is not installed; "
            'install it with: pip install "momentumrnn[optimizers]"'
        ) from error
    external = name.removeprefix(EXTERNAL).lower()
    names = get_supported_optimizers()
    if external not in names:
        raise ValueError(unknown("optimizer", name, [f"{EXTERNAL}{each}" for each in names]))
    cls: type[torch.optim.Optimizer] = load_optimizer(external)
    return cls
