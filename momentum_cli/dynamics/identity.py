"""No dynamics: the plain cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.protocol import FormDynamics

_FORM = Filter()


@dataclass(frozen=True)
class Identity(FormDynamics):
    """No dynamics: ``d_t = u_t``. The plain cell."""

    equation: ClassVar[str] = "d = u"

    @property
    def form(self) -> Filter:
        """See `FormDynamics.form`."""
        return _FORM
