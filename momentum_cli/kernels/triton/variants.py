"""Variants of the recurrence kernels: where W_hh is kept, who shares it, and how its products are computed.

The environment variable ``MOMENTUMRNN_TRITON`` names one; docs/performance.md says what each should be good for. The
default computes in the precision of the layer. Triton itself is not imported here.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from momentum_cli.errors import SettingError
from momentum_cli.messages import unknown

SWITCH = "MOMENTUMRNN_TRITON"


class Variant(NamedTuple):
    """One way to make the products of a step.

    Args:
        products: ``"ieee"``: in the layer's own precision, without tensor cores. ``"tf32"``, ``"tf32x3"``, ``"bf16"``:
            on tensor cores, with factors of 11 bits, of about 22 bits in three products, or of 8 bits. Sums, states
            and gates are in the precision of the layer in all of them.
        resident: Each program reads its part of W_hh once and keeps it in registers, instead of reading it every step.
        split: Several programs share the units of a tile of sequences and wait for each other after each step.
    """

    products: str
    resident: bool = False
    split: bool = False

    @property
    def on_tensor_cores(self) -> bool:
        """True if factors are rounded for tensor cores; the layer must then be float32."""
        return self.products != "ieee"


VARIANTS: dict[str, Variant] = {
    "stream": Variant("ieee"),
    "stream-tf32x3": Variant("tf32x3"),
    "stream-bf16": Variant("bf16"),
    "resident-bf16": Variant("bf16", resident=True),
    "split": Variant("ieee", split=True),
    "split-tf32x3": Variant("tf32x3", resident=True, split=True),
    "split-tf32": Variant("tf32", resident=True, split=True),
    "split-bf16": Variant("bf16", resident=True, split=True),
}


def chosen() -> str:
    """Return the name of the variant in use.

    Raises:
        SettingError: The environment names one that does not exist.
    """
    name = os.environ.get(SWITCH) or "stream"
    if name not in VARIANTS:
        raise SettingError(unknown("variant", name, VARIANTS, SWITCH))
    return name
