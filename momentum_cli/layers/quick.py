"""One call for all layers and directions: for a short input, a call for each would cost more than the arithmetic.

Axes: T time, B batch, D input, H hidden.
"""

from __future__ import annotations

import threading
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from momentum_cli import kernels
from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.protocol import Form
from momentum_cli.dynamics.state import State
from momentum_cli.kernels import native
from momentum_cli.kernels.backend import Weights, Work
from momentum_cli.kernels.eager import are_plain, is_eager
from momentum_cli.kernels.fused import run as fused
from momentum_cli.kernels.fused.session import Session
from momentum_cli.layers.state import StateLayout, part, whole
from momentum_cli.layers.stream import Streamed
from momentum_cli.recurrence.protocol import Recurrence

# Bounds within which a session is faster than one call per layer (benchmarks/short_calls.py): rows times steps times
# the larger of input size and hidden units, weights that are packed at each call, hidden units, and inputs per unit.
_NUMBERS, _WEIGHTS, _HIDDEN, _WIDE = 32_768, 294_912, 256, 16


class _Kept(NamedTuple):
    """The session of a layer and the structure it was made for; calls take the current constants and parameters."""

    recurrence: Recurrence
    kind: tuple[object, ...]
    sizes: tuple[int, ...]
    dtype: torch.dtype
    session: Session


class _Sessions(threading.local):
    """The last session of each layer, in each thread: one thread at a time may use a session."""

    def __init__(self) -> None:
        self.of: WeakKeyDictionary[Streamed, _Kept] = WeakKeyDictionary()


_SESSIONS = _Sessions()


def run(layer: Streamed, x: Tensor, state: State | None) -> tuple[Tensor, State, str] | None:
    """Run all layers and directions by one call where that is possible: in eager mode, on the CPU and without dropout.

    Short calls without gradients go to the C++ library; layers without dynamics whose sizes suit torch's own kernel go
    to that, as in `torch.nn`.

    Args:
        layer: The layer.
        x: (T, B, D) in the dtype of the parameters.
        state: Tensors before the first step, or None for zeros.

    Returns:
        (T, B, directions * H), the state after the last step and the name of the backend; None if no single call will
        do.

    Raises:
        ValueError: The shape or dtype of a parameter is wrong.
    """
    if not x.is_cpu or x.shape[1] == 0 or x.dtype not in (torch.float32, torch.float64):
        return None
    if layer.training and (layer.dropout or layer.weight_dropout):
        return None
    if not is_eager() or not are_plain((x, *(state or ()))):
        return None
    work, layout = layer.work(x.device, x.dtype), layer.layout
    able = not torch.is_grad_enabled() and layer.backend in ("auto", "fused")
    in_session = able and is_short(layer, work, (x.shape[0], x.shape[1], x.shape[2]))
    if not in_session and not _torch_serves(layer, layout, work, x):
        return None
    weights = layer.all_layers(x.dtype)
    if not are_plain(tensor for own in weights for tensor in own):
        return None
    if in_session:
        return (*_in_session(layer, layout, weights, x, state), "fused")
    before = layout.zeros(x.shape[1], x) if state is None else state
    result = native.run_whole(work.recurrence, x, weights, before, bidirectional=layer.bidirectional)
    return (*result, "native")


def is_short(layer: Streamed, work: Work, shape: tuple[int, int, int]) -> bool:
    """Return True if a session of the library is the fastest for an input (T, B, D) without gradients."""
    steps, batch, size = shape
    hidden, layers = work.hidden_size, layer.num_layers
    if layer.bidirectional or hidden > _HIDDEN or size > _WIDE * hidden:
        return False
    if steps * batch * max(hidden, size) > _NUMBERS:
        return False
    packed = work.recurrence.gates * hidden * (size + hidden + 2 * (layers - 1) * hidden)
    return packed <= _WEIGHTS and work.dtype != torch.bfloat16 and fused.supports(work) is None


def _torch_serves(layer: Streamed, layout: StateLayout, work: Work, x: Tensor) -> bool:
    form = work.dynamics.form
    if not isinstance(form, Filter) or not form.is_identity or native.supports(work) is not None:
        return False
    if layer.backend != "auto":
        return layer.backend == "native"
    steps, batch = x.shape[:2]
    training = torch.is_grad_enabled()
    chosen = (kernels.choose(work, (steps, batch, size), training) for size in layout.input_sizes)
    return all(name == "native" for name in chosen)


def _in_session(
    layer: Streamed, layout: StateLayout, weights: list[Weights], x: Tensor, state: State | None
) -> tuple[Tensor, State]:
    batch = x.shape[1]
    form = layout.dynamics.form
    sizes = (batch, *layout.input_sizes, layout.hidden_size, layout.bias)
    wanted = (layout.recurrence, _kind(form), sizes, x.dtype)
    kept = _SESSIONS.of.get(layer)
    if kept is None or kept[:-1] != wanted:
        longest = max(1, _NUMBERS // (max(layout.hidden_size, *layout.input_sizes) * batch))
        of_layers = [(size, layout.hidden_size) for size in layout.input_sizes]
        session = Session(layout.recurrence, layout.dynamics, weights, of_layers, batch, longest)
        _SESSIONS.of[layer] = kept = _Kept(*wanted, session)
    else:
        kept.session.prepare(form, weights)
    session, places = kept.session, layout.places
    if state is None:
        session.reset()
    else:
        session.set_state([tuple(part(list(state), of_layer)) for of_layer in places])
    output = session.run(x)
    return output, tuple(whole(session.state, places, len(layout.names)))


def _kind(form: Form | None) -> tuple[object, ...]:
    """Return the part of a form that the structure of a session depends on; its constants may change."""
    if isinstance(form, Filter):
        return Filter, form.is_identity, form.decay is None, callable(form.decay)
    return type(form), form is not None and form.momentum is None
