"""Attacks: small changes of the inputs that raise the loss of a model; one per file.

An attack calls a model and asks for the gradient of its inputs. It knows nothing of cells, leaves gradients, mode and
random streams as they were, and never leaves its `Ball`.
"""

from __future__ import annotations

from momentum_cli.attacks.attack import Attack
from momentum_cli.attacks.ball import Ball
from momentum_cli.attacks.fgsm import FGSM
from momentum_cli.attacks.learned import Learned
from momentum_cli.attacks.pgd import PGD

ATTACKS: dict[str, type[Attack]] = {"fgsm": FGSM, "pgd": PGD, "learned": Learned}
"""Attacks by the names that recipes and the command line use."""

__all__ = ["ATTACKS", "FGSM", "PGD", "Attack", "Ball", "Learned"]
