"""Calls that need not go layer by layer and direction by direction, which costs a short one more than its arithmetic.

Axes: T time, B batch, D input, H hidden.
"""

from __future__ import annotations

import threading
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from momentum_cli import kernels
from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.state import State
from momentum_cli.kernels import native
from momentum_cli.kernels.backend import Weights, Work
from momentum_cli.kernels.fused import run as fused
from momentum_cli.kernels.fused.session import Session
from momentum_cli.layers.state import StateLayout, part, whole
from momentum_cli.layers.stream import Streamed
from momentum_cli.recurrence.protocol import Recurrence

# Rows times steps times hidden units or inputs, and hidden units, up to which packing the weights and one call of the
# library on one thread take less time than the way through torch's operators (benchmarks/every_shape.py).
_WORK, _HIDDEN = 32_768, 256


class _Kept(NamedTuple):
    """The session of a layer and what it was made for; each call packs the parameters anew."""

    recurrence: Recurrence
    dynamics: Dynamics
    sizes: tuple[int, ...]
    dtype: torch.dtype
    session: Session


class _Sessions(threading.local):
    """The last session of each layer, in each thread: one thread at a time may use a session."""

    def __init__(self) -> None:
        self.of: WeakKeyDictionary[Streamed, _Kept] = WeakKeyDictionary()


_SESSIONS = _Sessions()


def run(layer: Streamed, x: Tensor, state: State | None) -> tuple[Tensor, State, str] | None:
    """Run all layers and directions by one call, where there is one: eager, on the CPU and without dropout.

    Short calls without gradients go to the C++ library, and layers without dynamics whose sizes suit torch's own
    kernel to that, as in `torch.nn`.

    Args:
        layer: The layer.
        x: (T, B, D) in the dtype of the parameters.
        state: Tensors before the first step, or None for zeros.

    Returns:
        (T, B, directions * H), the state after the last step and the name of the backend; None where no call serves.

    Raises:
        ValueError: The shape or dtype of a parameter is wrong.
    """
    if not x.is_cpu or x.shape[1] == 0 or x.dtype not in (torch.float32, torch.float64):
        return None
    if layer.training and (layer.dropout or layer.weight_dropout):
        return None
    if torch.compiler.is_compiling() or kernels.transformed() or torch._C._len_torch_dispatch_stack():
        return None
    work, layout = layer.work(x.device, x.dtype), layer.layout
    able = not torch.is_grad_enabled() and layer.backend in ("auto", "fused")
    in_session = able and is_short(layer, work, (x.shape[0], x.shape[1], x.shape[2]))
    if not in_session and not _torch_serves(layer, layout, work, x):
        return None
    weights = layer.all_layers(x.dtype)
    tensors = (x, *(state or ()), *(tensor for own in weights for tensor in own if tensor is not None))
    if not all(type(tensor) in (Tensor, nn.Parameter) and tensor.is_cpu for tensor in tensors):
        return None
    if in_session:
        return (*_in_session(layer, layout, weights, x, state), "fused")
    before = layout.zeros(x.shape[1], x) if state is None else state
    result = native.run_whole(work.recurrence, x, weights, before, bidirectional=layer.bidirectional)
    return (*result, "native")


def is_short(layer: Streamed, work: Work, shape: tuple[int, int, int]) -> bool:
    """Return True if a session of the library is the fastest for an input (T, B, D) without gradients."""
    steps, batch, size = shape
    long = steps * batch * max(work.hidden_size, size) > _WORK
    if layer.bidirectional or long or work.hidden_size > _HIDDEN:
        return False
    return work.dtype != torch.bfloat16 and fused.supports(work) is None


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
    sizes = (batch, *layout.input_sizes, layout.hidden_size, layout.bias)
    wanted = (layout.recurrence, layout.dynamics, sizes, x.dtype)
    kept = _SESSIONS.of.get(layer)
    if kept is None or kept[:-1] != wanted:
        longest = max(1, _WORK // (layout.hidden_size * batch))
        session = Session(layout.recurrence, layout.dynamics, weights, batch, longest)
        _SESSIONS.of[layer] = kept = _Kept(*wanted, session)
    else:
        kept.session.pack(weights)
    session, places = kept.session, layout.places
    if state is None:
        session.reset()
    else:
        session.set_state([tuple(part(list(state), of_layer)) for of_layer in places])
    output = session.run(x)
    return output, tuple(whole(session.state, places, len(layout.names)))
