"""The state of a layer in TorchScript, where a class cannot define how it unpacks.

Axes: L layers * directions, B batch, H hidden.
"""

# No postponed annotations: TorchScript reads those of a NamedTuple as they are.
from typing import NamedTuple

from torch import Tensor

from momentum_cli.layers.state import StateLayout


class LSTMState(NamedTuple):
    """h and c (L, B, H) of an LSTM, and all that its dynamics carries, in the order of ``layer.state_names``."""

    h: Tensor
    c: Tensor
    more: list[Tensor]


class HiddenState(NamedTuple):
    """h (L, B, H), and all that the dynamics carries, in the order of ``layer.state_names``."""

    h: Tensor
    more: list[Tensor]


class ScriptedForm(NamedTuple):
    """A form of the state as source text.

    Args:
        type: Its annotation.
        flat: Expression of the list of all tensors, from a state ``hx``.
        packed: Expression of the state, from the list ``after``.
    """

    type: str
    flat: str
    packed: str


_PAIR = ScriptedForm("tuple[Tensor, Tensor]", "[hx[0], hx[1]]", "(after[0], after[1])")
_TENSOR = ScriptedForm("Tensor", "[hx]", "after[0]")
_LSTM = ScriptedForm("LSTMState", "[hx.h, hx.c] + hx.more", "LSTMState(after[0], after[1], after[2:])")
_HIDDEN = ScriptedForm("HiddenState", "[hx.h] + hx.more", "HiddenState(after[0], after[1:])")
_LIST = ScriptedForm("list[Tensor]", "hx", "after")


def scripted_form(layout: StateLayout) -> ScriptedForm:
    """Return the form of a layer's state: that of `torch.nn` where it suffices, a list for other recurrences."""
    names = layout.names
    if names[:2] == ("h", "c"):
        return _PAIR if len(names) == 2 else _LSTM
    if layout.seen > 1:
        return _LIST
    return _TENSOR if len(names) == 1 else _HIDDEN


_SOURCE = """
def forward(self, input: Tensor, hx: Optional[{type}] = None) -> tuple[Tensor, {type}]:
    if torch.jit.is_scripting():
        before: Optional[list[Tensor]] = None
        if hx is not None:
            before = {flat}
        output, after = self.run(input, before)
        return output, {packed}
    return self.original()(input, hx)


def run_padded(
    self, x: Tensor, hx: Optional[{type}] = None, lengths: Optional[Tensor] = None
) -> tuple[Tensor, {type}]:
    if torch.jit.is_scripting():
        before: Optional[list[Tensor]] = None
        if hx is not None:
            before = {flat}
        output, after = self.run_tensors(x, before, lengths)
        return output, {packed}
    return self.original().run_padded(x, hx, lengths)


def zero_state(self, batch_size: int) -> {type}:
    if torch.jit.is_scripting():
        after = self.zero_tensors(batch_size)
        return {packed}
    return self.original().zero_state(batch_size)
"""


def scripted_source(form: ScriptedForm) -> str:
    """Return the methods of a layer that take and return its state, in a form that TorchScript can give a type."""
    return _SOURCE.format(**form._asdict())
