"""The Triton kernels as custom ops with autograd and fake kernels: the recurrence of one layer over a projected input.

The backward pass is the standard decomposition: the kernel goes back through the steps and writes the gradient of every
pre-activation; the gradient of the recurrent weights is then one matrix product over all T * B rows, and that of the
projection is left to autograd, since the projection is done outside. Adam and RMSProp go back in a separate kernel,
because their elements are independent and the whole device can share the work; their moments are recomputed from those
stored every 32 steps, which takes 1 / 7 of a (T, B, G) tensor at T = 784 instead of two such tensors.

Axes: T time, B batch, H hidden, G gates * H with the gates of a unit adjacent.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from momentum_cli.kernels.second_derivatives import no_second_derivatives
from momentum_cli.kernels.triton.tiles import GATES, slots, tiles
from momentum_cli.kernels.triton.variants import VARIANTS, chosen

_INTERVAL = 32
_ELEMENTWISE_BLOCK = 256

Nine = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
Seven = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def _on(tensor: Tensor) -> Any:
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def _numbers(constants: list[float]) -> tuple[float, float, float, float, float]:
    """Return momentum, step_size, beta2, 1 - beta2 and eps; placeholders for a linear dynamics."""
    momentum, step_size, beta2, eps = constants or (0.0, 1.0, 0.0, 1.0)
    return momentum, step_size, beta2, 1.0 - beta2, eps


def _by_length(lengths: Tensor | None, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return the order from the longest row to the shortest and the lengths, for the kernels."""
    if lengths is None:
        return other, other
    return torch.argsort(lengths, descending=True, stable=True).int(), lengths.int()


def _factor(weights: Tensor) -> Tensor:
    """Return the recurrent weights as the kernels read them: in bfloat16 if the variant in use multiplies in it."""
    products = VARIANTS[chosen()].products
    return weights.to(torch.bfloat16 if products == "bf16" else weights.dtype).contiguous()


def _arrivals(u: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return a counter of arrivals for each tile of rows; a placeholder if no program waits for another."""
    return torch.zeros(grid[0], dtype=torch.int32, device=u.device) if grid[1] > 1 else u


def _allocate(
    u: Tensor, h0: Tensor, lengths: Tensor | None, recurrence: str, constants: list[float], training: bool
) -> list[Tensor]:
    steps, batch, gates = u.shape
    hidden, columns = h0.shape[1], h0.shape[1] * slots(recurrence)
    lstm, adaptive, nothing = recurrence == "lstm", bool(constants), u.new_empty(0)
    marks = (-(-steps // _INTERVAL), batch, gates) if training and adaptive else (0,)
    return [
        u.new_empty(steps + 1, batch, hidden) if lengths is None else u.new_zeros(steps + 1, batch, hidden),
        u.new_empty(steps + 1 if training else 1, batch, hidden) if lstm else nothing,
        u.new_empty(steps, batch, columns) if training and columns > hidden else nothing.clone(),
        u.new_empty(batch, hidden),
        u.new_empty(batch, hidden) if lstm else nothing.clone(),
        u.new_empty(batch, gates) if adaptive else nothing.clone(),
        u.new_empty(batch, gates) if adaptive else nothing.clone(),
        u.new_zeros(marks),  # zeros, because a program stops when all its rows have ended
        u.new_zeros(marks),
    ]


@torch.library.custom_op("momentumrnn::triton_forward", mutates_args=())
def forward(
    u: Tensor,
    w_t: Tensor,
    b_hh: Tensor | None,
    h0: Tensor,
    c0: Tensor | None,
    v0: Tensor | None,
    m0: Tensor | None,
    lengths: Tensor | None,
    recurrence: str,
    constants: list[float],
    training: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run the dynamics and the recurrence over a projected input.

    Args:
        u: (T, B, G).
        w_t: (H, G) recurrent weights, transposed.
        b_hh: (G,) or None.
        h0: (B, H); c0 the same for an LSTM.
        v0: (B, G) velocity before the first step, or None for 0; m0 the second moment, given if v0 is.
        lengths: (B,) valid steps, on the device of u, or None for T.
        recurrence: A key of `GATES`.
        constants: momentum, step_size, beta2, eps of Adam (momentum 0 means RMSProp); empty for a linear dynamics.
        training: Keep what the backward pass needs.

    Returns:
        h after each step preceded by h0 (T + 1, B, H), 0 beyond the end of each sequence; c likewise and the gates, for
        the backward pass; the last h, c, velocity and second moment; both moments every 32 steps, for the backward
        pass.
    """
    from momentum_cli.kernels.triton.kernels import recurrence_forward

    steps, batch, _ = u.shape
    hidden = h0.shape[1]
    results = _allocate(u, h0, lengths, recurrence, constants, training)
    states, cells = results[:2]
    states[0] = h0
    if c0 is not None:
        cells[0] = c0
    u = u.contiguous()
    grid, options = tiles(recurrence, u, hidden, hidden, slots(recurrence))
    with _on(u):
        recurrence_forward[grid](
            u,
            _factor(w_t),
            u if b_hh is None else b_hh.contiguous(),
            u if v0 is None else v0.contiguous(),
            u if m0 is None else m0.contiguous(),
            *_by_length(lengths, u),
            _arrivals(u, grid),
            *results,
            steps,
            batch,
            hidden,
            *_numbers(constants),
            RECURRENCE=recurrence,
            GATES=GATES[recurrence],
            SLOTS=slots(recurrence),
            ADAPTIVE=bool(constants),
            HAS_BIAS=b_hh is not None,
            HAS_MOMENTS=v0 is not None,
            HAS_LENGTHS=lengths is not None,
            TRAINING=training,
            INTERVAL=_INTERVAL,
            **options,
        )
    states, cells, kept, h_n, c_n, v_n, m_n, v_marks, m_marks = results
    return states, cells, kept, h_n, c_n, v_n, m_n, v_marks, m_marks


@forward.register_fake
def _(u: Tensor, w_t: Tensor, b_hh: Tensor | None, h0: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    lengths, recurrence, constants, training = rest[3:]
    return tuple(_allocate(u, h0, lengths, recurrence, constants, training))


@torch.library.custom_op("momentumrnn::triton_backward", mutates_args=())
def backward(
    u: Tensor,
    w_t: Tensor,
    b_hh: Tensor | None,
    lengths: Tensor | None,
    states: Tensor,
    cells: Tensor,
    kept: Tensor,
    v_marks: Tensor,
    m_marks: Tensor,
    d_states: Tensor | None,
    d_h_n: Tensor | None,
    d_c_n: Tensor | None,
    d_v_n: Tensor | None,
    d_m_n: Tensor | None,
    recurrence: str,
    constants: list[float],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of u, w_t, b_hh, h0, c0, v0 and m0 of `forward`, from those of its results.

    The gradient of an absent tensor is empty.
    """
    from momentum_cli.kernels.triton.kernels import dynamics_backward, recurrence_backward

    steps, batch, gates = u.shape
    hidden = states.shape[2]
    d_u, d_w_t, d_b_hh, d_h0, d_c0, d_v0, d_m0 = _allocate_gradients(u, w_t, b_hh, lengths, recurrence, constants)
    d_product = torch.zeros_like(d_u) if recurrence == "gru" else d_u
    incoming = (d_states, d_h_n, d_c_n, d_v_n, d_m_n)
    d_states, d_h_n, d_c_n, d_v_n, d_m_n = (None if d is None else d.contiguous() for d in incoming)
    order, by_length = _by_length(lengths, u)
    u = u.contiguous()
    grid, options = tiles(recurrence, u, hidden, gates, 1)
    with _on(u):
        recurrence_backward[grid](
            _factor(w_t.t()),
            order,
            by_length,
            _arrivals(u, grid),
            states,
            cells,
            kept,
            u if d_states is None else d_states,
            u if d_h_n is None else d_h_n,
            u if d_c_n is None else d_c_n,
            d_u,
            d_product,
            d_h0,
            d_c0,
            steps,
            batch,
            hidden,
            RECURRENCE=recurrence,
            GATES=GATES[recurrence],
            SLOTS=slots(recurrence),
            HAS_BIAS=b_hh is not None,
            HAS_LENGTHS=lengths is not None,
            HAS_D_STATES=d_states is not None,
            HAS_D_H=d_h_n is not None,
            HAS_D_C=d_c_n is not None,
            **options,
        )
        if d_states is not None:
            d_h0 += d_states[0]
        torch.mm(states[:-1].flatten(0, 1).t(), d_product.flatten(0, 1), out=d_w_t)
        if b_hh is not None:
            # modReLU adds its bias to |z|, and its output has the sign of z.
            d_bias = d_product * states[1:].sign() if recurrence == "modrelu" else d_product
            torch.sum(d_bias.flatten(0, 1), 0, out=d_b_hh)
        if constants:
            scratch = u.new_empty(2, min(_INTERVAL, steps), batch * gates)
            dynamics_backward[(-(-batch * gates // _ELEMENTWISE_BLOCK),)](
                u,
                d_u,
                v_marks,
                m_marks,
                scratch[0],
                scratch[1],
                u if d_v_n is None else d_v_n,
                u if d_m_n is None else d_m_n,
                d_v0,
                d_m0,
                by_length,
                steps,
                batch * gates,
                gates,
                *_numbers(constants),
                HAS_D_V=d_v_n is not None,
                HAS_D_M=d_m_n is not None,
                HAS_LENGTHS=lengths is not None,
                INTERVAL=_INTERVAL,
                BLOCK=_ELEMENTWISE_BLOCK,
            )
    return d_u, d_w_t, d_b_hh, d_h0, d_c0, d_v0, d_m0


def _allocate_gradients(
    u: Tensor, w_t: Tensor, b_hh: Tensor | None, lengths: Tensor | None, recurrence: str, constants: list[float]
) -> Seven:
    batch, gates, hidden = u.shape[1], u.shape[2], w_t.shape[0]
    return (
        u.new_empty(u.shape) if lengths is None else u.new_zeros(u.shape),
        w_t.new_empty(w_t.shape),
        u.new_empty(0 if b_hh is None else gates),
        u.new_empty(batch, hidden),
        u.new_empty((batch, hidden) if recurrence == "lstm" else (0,)),
        u.new_empty((batch, gates) if constants else (0,)),
        u.new_empty((batch, gates) if constants else (0,)),
    )


@backward.register_fake
def _(u: Tensor, w_t: Tensor, b_hh: Tensor | None, lengths: Tensor | None, *rest: Any) -> tuple[Tensor, ...]:
    *_tensors, recurrence, constants = rest
    return _allocate_gradients(u, w_t, b_hh, lengths, recurrence, constants)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Nine) -> None:
    u, w_t, b_hh, _, _, _, _, lengths, recurrence, constants, _ = inputs
    states, cells, kept, *_, v_marks, m_marks = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(u, w_t, b_hh, lengths, states, cells, kept, v_marks, m_marks)
    ctx.recurrence, ctx.constants = recurrence, constants


def _backward(
    ctx: Any, d_states: Any, d_cells: Any, d_kept: Any, d_h_n: Any, d_c_n: Any, d_v_n: Any, d_m_n: Any, *_: Any
) -> tuple[Any, ...]:
    incoming = (d_states, d_h_n, d_c_n, d_v_n, d_m_n)
    gradients = backward(*ctx.saved_tensors, *incoming, ctx.recurrence, ctx.constants)
    wanted = ctx.needs_input_grad
    return (*(g if w else None for g, w in zip(gradients, wanted, strict=False)), None, None, None, None)


forward.register_autograd(_backward, setup_context=_setup)
# cuDNN has no second derivatives either.
backward.register_autograd(no_second_derivatives("Triton kernels have", "backend='reference'"))
