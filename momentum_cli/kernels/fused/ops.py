"""The fused kernel as custom ops with autograd and fake kernels: one layer in one direction.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from momentum_cli.kernels.driven import ADAM, LINEAR
from momentum_cli.kernels.fused.library import ABI, ISAS, Arguments, chosen_isa, load
from momentum_cli.kernels.fused.replay import gradients_with_history
from momentum_cli.kernels.fused.workspace import Workspace
from momentum_cli.kernels.second_derivatives import no_second_derivatives
from momentum_cli.messages import Said, refuse

# Bytes per element of x, out, saved and their gradients. With bfloat16 everything else is float32.
DTYPES = {torch.bfloat16: 2, torch.float32: 4, torch.float64: 8}
# Numbers of the recurrences in momentum_rnn.h.
RECURRENCES = {"lstm": 0, "gru": 1, "rnn": 2, "rnn_relu": 3, "modrelu": 4}
_NAMES = {number: name for name, number in RECURRENCES.items()}
NARROW = {"lstm", "gru"}  # those with products in bfloat16
_GATES = (4, 3, 1, 1, 1)
_KEPT = (5, 4, 0, 0, 0)  # numbers saved for backward per hidden unit and step, in addition to the output
_WORKSPACE = Workspace()
_INPUTS = ("x", "w_ih", "w_hh", "b_ih", "b_hh", "h0", "c0", "v0", "m0", "lengths")
_NEEDED = {"mrnn_forward": {"x", "w_ih", "w_hh"}}
_NEEDED["mrnn_backward"] = _NEEDED["mrnn_forward"] | {"out", "saved", "checkpoints"}
_OF_THE_INPUT = {"x", "out", "saved", "d_out", "dx"}  # the tensors in the dtype of x


def _shapes(sizes: tuple[int, ...], gates: int, folded: bool) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of `mrnn_args` in momentum_rnn.h, except of ``saved`` and ``checkpoints``."""
    steps, batch, size, hidden = sizes
    unit, gate = (batch, hidden), (batch, gates)
    own = {"w_ih": (gates, size - folded), "w_hh": (gates, hidden), "b_ih": (gates,), "b_hh": (gates,)}
    before = {"h0": unit, "c0": unit, "v0": gate, "m0": gate}
    after = {"hn": unit, "cn": unit, "vn": gate, "mn": gate}
    inputs = {"x": (steps, batch, size), **own, **before}
    results = {"out": (steps, batch, hidden), **after}
    return {
        **inputs,
        **results,
        **{f"d_{name}": shape for name, shape in results.items()},
        **{f"d{name}": shape for name, shape in inputs.items()},
        "lengths": (batch,),
    }


def _check(tensors: dict[str, Tensor | None], shapes: dict[str, tuple[int, ...]], parts: int, needed: set[str]) -> None:
    """Check the tensors that the library will read and write as plain memory.

    Args:
        tensors: By name; an absent one is None or, unless it is an input or `needed`, empty.
        shapes: Shape of each, by name.
        parts: Parts of the batch.
        needed: Names of tensors that must not be absent.

    Raises:
        ValueError: The dtype, device, shape or layout of a tensor is wrong, or a length is outside [1, T] or longer
            than one before it in its part of the batch.
    """
    x = tensors["x"]
    if x is None:
        raise ValueError(refuse("x", None, "be a tensor"))
    exact = _exact(x.dtype)
    for name, tensor in tensors.items():
        if name not in needed and (tensor is None or (name not in _INPUTS and tensor.numel() == 0)):
            continue  # absent, or not requested
        if tensor is None:  # torch also passes None for a tensor that must be there
            raise ValueError(refuse(name, None, "be a tensor"))
        dtype = torch.int64 if name == "lengths" else x.dtype if name in _OF_THE_INPUT else exact
        if tensor.dtype != dtype:
            raise ValueError(refuse(name, tensor.dtype, f"be {dtype} where x is {x.dtype}"))
        if not tensor.is_cpu:
            raise ValueError(refuse(name, Said(str(tensor.device)), "be on the CPU"))
        if tensor.shape != shapes[name]:
            raise ValueError(refuse(name, tuple(tensor.shape), f"have the shape {shapes[name]}"))
        if not tensor.is_contiguous() or tensor.is_neg():
            raise ValueError(refuse(name, Said(f"strides {tensor.stride()}"), "be contiguous"))
    lengths, steps = tensors["lengths"], len(x)
    if lengths is not None and len(lengths) > 0:
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest < 1 or longest > steps:
            raise ValueError(refuse("lengths", Said(f"{shortest} to {longest}"), f"be in [1, {steps}]"))
        rises = (lengths[1:] > lengths[:-1]).nonzero().flatten().add(1).tolist()
        rows, more = divmod(len(lengths), parts)
        if rises and not {rows * part + min(part, more) for part in range(parts)}.issuperset(rises):
            raise ValueError(refuse("lengths", Said(f"a longer one in row {rises[0]}"), "descend within each part"))


def _call(
    name: str,
    plan: list[int],
    constants: list[float],
    shape: tuple[int, ...],
    given: dict[str, Tensor | None],
    made: dict[str, Tensor],
) -> None:
    """Call the library; ``made`` are the tensors that were allocated for its results, so only ``given`` are checked."""
    x, w_ih = given["x"], given["w_ih"]
    assert x is not None
    # The last channel of x is multiplied by the bias, see `momentum_cli.kernels.driven.Driven`.
    folded = w_ih is not None and w_ih.shape[-1:] == (shape[2] - 1,) and given["b_ih"] is not None and not plan[1]
    isa, shapes = _prepare(shape, tuple(plan), x.dtype, folded)
    _check(given, shapes, plan[3], _NEEDED[name])
    arguments = _numbers(shape, plan, isa, x.dtype, constants, folded)
    for tensors in (given, made):
        for field, tensor in tensors.items():
            if tensor is not None and tensor.numel() > 0:  # a field that is not set is a null pointer
                setattr(arguments, field, tensor.data_ptr())
    _raise(getattr(load()[0], name)(ctypes.byref(arguments)), name, shape)


def _numbers(
    shape: tuple[int, ...], plan: Sequence[int], isa: int, dtype: torch.dtype, constants: Sequence[float], folded: bool
) -> Arguments:
    recurrence, dynamics, _, parts, chunk = plan
    momentum, step_size, beta2, eps = constants
    threads = torch.get_num_threads()  # not in the plan: a compiled graph may run on another machine
    return Arguments(
        ABI, isa, DTYPES[dtype], recurrence, dynamics, threads, parts, chunk, *shape, folded,
        momentum, step_size, beta2, eps,
    )  # fmt: skip


def _raise(code: int, name: str, shape: tuple[int, ...]) -> None:
    if code < 0:
        problem = {-1: "bad argument", -2: "out of memory", -3: "instruction set not available"}.get(code, str(code))
        raise RuntimeError(f"{name}: {problem} (T, B, D, H = {shape})")


@lru_cache(maxsize=64)  # asking the library each time would take a tenth of a short call
def _prepare(
    shape: tuple[int, ...], plan: tuple[int, ...], dtype: torch.dtype, folded: bool = False
) -> tuple[int, dict[str, tuple[int, ...]]]:
    """Return the instruction set to use, and the shape of each tensor of a call.

    A graph that was compiled or exported elsewhere may name an instruction set that this machine lacks. A lesser one
    then takes its place, whose tiles are smaller, so that what is saved fits.

    Raises:
        RuntimeError: There is no library, or it refuses the numbers.
        ValueError: There are no kernels for the dtype.
    """
    library, _, reason = load()
    if library is None:
        raise RuntimeError(reason)
    _exact(dtype)
    recurrence, dynamics, isa, parts, chunk = plan
    steps, batch, _, hidden = shape
    known = recurrence in _NAMES and dynamics in (0, 1, 2) and isa in ISAS.values()
    if not known or min(*shape, parts, chunk) < 1 or parts > batch or chunk > steps:
        _raise(-1, "plan", shape)
    if not library.mrnn_has_isa(ctypes.c_int64(isa)):
        isa = ISAS[chosen_isa(dtype, hidden)]
    kept = _kept(steps, batch, hidden, plan, dtype)
    arguments = _numbers(shape, plan, isa, dtype, [0.0] * 4, folded=False)
    for size, needed in zip(kept, (library.mrnn_saved_size, library.mrnn_checkpoints_size), strict=True):
        code = needed(ctypes.byref(arguments))
        _raise(min(code, size - code), "mrnn_args", shape)
    shapes = _shapes(shape, _GATES[recurrence] * hidden, folded)
    return isa, {**shapes, "saved": (kept[0],), "checkpoints": (kept[1],)}


def _kept(steps: int, batch: int, hidden: int, plan: Sequence[int], dtype: torch.dtype) -> tuple[int, int]:
    """Return the numbers of a training step that only its backward pass reads: activations, and states of moments."""
    recurrence, dynamics, isa, _, chunk = plan
    width = _tile(isa, dtype)
    rows = batch * (-(-hidden // width) * width)
    states = (0, 2, 1)[dynamics] * _GATES[recurrence]
    return steps * rows * _KEPT[recurrence], -(-steps // chunk) * rows * states


def _exact(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of states, sums and parameters for the dtype of x.

    Raises:
        ValueError: The library has no kernels for it.
    """
    if dtype not in DTYPES:
        raise ValueError(refuse("x", dtype, f"be one of {', '.join(str(known) for known in DTYPES)}"))
    return torch.float32 if dtype == torch.bfloat16 else dtype


def _dense(*tensors: Tensor | None) -> list[Tensor | None]:
    return [
        t if t is None or (t.is_contiguous() and not t.is_neg()) else t.detach().contiguous().resolve_neg()
        for t in tensors
    ]


@cache
def _tile(isa: int, dtype: torch.dtype) -> int:
    """Return the number of hidden units in two vectors, to a multiple of which saved activations are padded."""
    vector_bytes: int = load()[0].mrnn_vector_bytes(ctypes.c_int64(isa))
    return 2 * vector_bytes // DTYPES[_exact(dtype)]


def _allocate(
    x: Tensor,
    w_hh: Tensor,
    lengths: Tensor | None,
    plan: list[int],
    training: bool,
    large: Callable[[int, torch.dtype], Tensor],
) -> list[Tensor]:
    """Allocate the outputs of a forward pass; ``large`` makes the flat buffers that only the backward pass reads."""
    empty = partial(x.new_empty, dtype=_exact(x.dtype))
    recurrence, dynamics = plan[:2]
    steps, batch, _ = x.shape
    hidden, gates = w_hh.shape[1], w_hh.shape[0]
    numbers = _kept(steps, batch, hidden, plan, x.dtype) if training else (0, 0)
    output = x.new_empty(steps, batch, hidden) if lengths is None else x.new_zeros(steps, batch, hidden)
    hn = empty((batch, hidden))
    cn = empty((batch, hidden) if recurrence == 0 else (0,))
    vn = empty((batch, gates) if dynamics == ADAM else (0,))
    mn = empty((batch, gates) if dynamics != LINEAR else (0,))
    return [output, hn, cn, vn, mn, large(numbers[0], x.dtype), large(numbers[1], _exact(x.dtype))]


Seven = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
Nine = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def forward(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    v0: Tensor | None,
    m0: Tensor | None,
    lengths: Tensor | None,
    constants: list[float],
    plan: list[int],
    training: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    _prepare((*x.shape, w_hh.shape[1]), tuple(plan), x.dtype)  # refuses before anything is allocated
    allocated = _allocate(x, w_hh, lengths, plan, training, _WORKSPACE.empty)
    output, hn, cn, vn, mn, saved, checkpoints = allocated
    inputs = dict(zip(_INPUTS, _dense(x, w_ih, w_hh, b_ih, b_hh, h0, c0, v0, m0, lengths), strict=True))
    outputs = {"out": output, "hn": hn, "cn": cn, "vn": vn, "mn": mn, "saved": saved, "checkpoints": checkpoints}
    _call("mrnn_forward", plan, constants, (*x.shape, w_hh.shape[1]), inputs, outputs)
    return output, hn, cn, vn, mn, saved, checkpoints


fused_forward = torch.library.custom_op("momentumrnn::fused_forward", forward, mutates_args=(), device_types="cpu")


def _check_devices(*inputs: Any) -> None:
    """Check that all inputs are on one device: torch runs the fake kernel, which computes nothing, if any is on meta.

    Raises:
        ValueError: They are not.
    """
    for name, tensor in zip(_INPUTS, inputs, strict=False):
        if isinstance(tensor, Tensor) and tensor.device != inputs[0].device:
            raise ValueError(refuse(name, Said(str(tensor.device)), f"be on {inputs[0].device}, as x"))


@fused_forward.register_fake
def _(x: Tensor, w_ih: Tensor, w_hh: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    *_states, lengths, _constants, plan, training = rest
    _check_devices(x, w_ih, w_hh, *rest)
    return tuple(_allocate(x, w_hh, lengths, plan, training, lambda size, dtype: x.new_empty(size, dtype=dtype)))


def backward(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    v0: Tensor | None,
    m0: Tensor | None,
    lengths: Tensor | None,
    out: Tensor,
    saved: Tensor,
    checkpoints: Tensor,
    d_out: Tensor | None,
    d_hn: Tensor | None,
    d_cn: Tensor | None,
    d_vn: Tensor | None,
    d_mn: Tensor | None,
    constants: list[float],
    plan: list[int],
    wants_dx: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    gradients = _allocate_gradients(x, w_ih, w_hh, b_ih, b_hh, plan, lengths, wants_dx)
    inputs = dict(zip(_INPUTS, _dense(x, w_ih, w_hh, b_ih, b_hh, h0, c0, v0, m0, lengths), strict=True))
    kept = {"out": out, "saved": saved, "checkpoints": checkpoints}
    incoming_names = ("d_out", "d_hn", "d_cn", "d_vn", "d_mn")
    incoming = dict(zip(incoming_names, _dense(d_out, d_hn, d_cn, d_vn, d_mn), strict=True))
    results = ("dx", "dw_ih", "dw_hh", "db_ih", "db_hh", "dh0", "dc0", "dv0", "dm0")
    outputs = dict(zip(results, gradients, strict=True))
    _call("mrnn_backward", plan, constants, (*x.shape, w_hh.shape[1]), inputs | kept | incoming, outputs)
    return gradients


fused_backward = torch.library.custom_op("momentumrnn::fused_backward", backward, mutates_args=(), device_types="cpu")


def _allocate_gradients(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    plan: list[int],
    lengths: Tensor | None,
    wants_dx: bool,
) -> Nine:
    """Allocate the gradients: 0 where the kernel adds to them (weights) or skips them (dx beyond a sequence's end)."""
    recurrence, dynamics = plan[:2]
    batch, hidden, gates = x.shape[1], w_hh.shape[1], w_hh.shape[0]
    dx = x.new_empty(0) if not wants_dx else x.new_empty(x.shape) if lengths is None else x.new_zeros(x.shape)
    empty = partial(x.new_empty, dtype=_exact(x.dtype))
    return (
        dx,
        w_ih.new_zeros(w_ih.shape),
        w_hh.new_zeros(w_hh.shape),
        empty((0,)) if b_ih is None else b_ih.new_zeros(b_ih.shape),
        empty((0,)) if b_hh is None else b_hh.new_zeros(b_hh.shape),
        empty((batch, hidden)),
        empty((batch, hidden) if recurrence == 0 else (0,)),
        empty((batch, gates) if dynamics == ADAM else (0,)),
        empty((batch, gates) if dynamics != LINEAR else (0,)),
    )


@fused_backward.register_fake
def _(
    x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None, *rest: Any
) -> tuple[Tensor, ...]:
    lengths, (plan, wants_dx) = rest[4], rest[-2:]
    _check_devices(x, w_ih, w_hh, b_ih, b_hh, *rest)
    return _allocate_gradients(x, w_ih, w_hh, b_ih, b_hh, plan, lengths, wants_dx)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Seven) -> None:
    *tensors, constants, plan, _ = inputs
    ctx.set_materialize_grads(False)  # or autograd would make zero gradients as large as all saved activations
    ctx.save_for_backward(*tensors, output[0], output[5], output[6])
    ctx.constants, ctx.plan, ctx.backward_op = constants, plan, fused_backward


class _Eager(torch.autograd.Function):
    """The two passes as one node of an eager graph: torch's registry of operators takes longer than a short call."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Seven:
        output = forward(*inputs)
        _setup(ctx, inputs, output)
        ctx.backward_op = backward
        ctx.mark_non_differentiable(output[5], output[6])
        return output

    @staticmethod
    def backward(ctx: Any, *incoming: Any) -> tuple[Any, ...]:
        return _backward(ctx, *incoming)


def eager_forward(*inputs: Any) -> Seven:
    """Do the same as `fused_forward` for plain tensors outside any graph that is recorded or transformed."""
    if inputs[-1]:
        result: Seven = _Eager.apply(*inputs)
        return result
    with torch.no_grad():
        return forward(*inputs)


def _backward(ctx: Any, d_out: Any, d_hn: Any, d_cn: Any, d_vn: Any, d_mn: Any, *_: Any) -> tuple[Any, ...]:
    wanted = ctx.needs_input_grad
    incoming = (d_out, d_hn, d_cn, d_vn, d_mn)
    if torch.is_grad_enabled():  # the gradient will be differentiated
        *tensors, lengths, _, _, _ = ctx.saved_tensors
        kernel, dynamics = _NAMES[ctx.plan[0]], ctx.plan[1]
        found = gradients_with_history(tensors, lengths, kernel, dynamics, ctx.constants, incoming)
        return (*found, None, None, None, None)
    gradients = ctx.backward_op(*ctx.saved_tensors, *incoming, ctx.constants, ctx.plan, wanted[0])
    return (*(g if w else None for g, w in zip(gradients, wanted, strict=False)), None, None, None, None)


fused_forward.register_autograd(_backward, setup_context=_setup)

# `_backward` never differentiates through it, but a compiled graph would.
fused_backward.register_autograd(no_second_derivatives("compiled fused kernel has", "backend='reference'"))
