"""The three Triton kernels: recurrence forward (with Adam and RMSProp inside), recurrence backward, dynamics backward.

A program owns BLOCK_B rows of the batch and all their steps: h, c and the moments of the dynamics stay in registers; h
goes through memory to become a factor of the next product. With PARTS = 1 it owns all units and waits for no other
program; otherwise it owns BLOCK_H of the units, and the PARTS programs of the same rows wait for each other after each
step (`meet`). W_hh is read at every step, or only once with RESIDENT. PRECISION is the precision of float32 products;
with W_hh in bfloat16, products are in bfloat16. `momentum_cli.kernels.triton.variants` has the combinations.

Axes: T time, B batch, H hidden, G gates * H with the gates of a unit adjacent (`cells`).
"""

# Compile-time constants in capitals, as in Triton's own kernels; triton has no types.
# ruff: noqa: N803
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
from __future__ import annotations

import triton  # type: ignore[import-untyped, import-not-found, unused-ignore]
import triton.language as tl  # type: ignore[import-untyped, import-not-found, unused-ignore]

from momentum_cli.kernels.triton.cells import advance_moments, inverse_root, rounded, step_backward, step_forward


@triton.jit
def place(order, lengths, steps, batch, hidden, GATES: tl.constexpr, SLOTS: tl.constexpr, HAS_LENGTHS: tl.constexpr,
          PARTS: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr):  # fmt: skip
    """Return the rows of this program, their lengths, the longest of these, and the offsets of its tiles in a step.

    ``order`` lists the rows from the longest to the shortest, so that the rows of a program end at about the same time.
    """
    index = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)
    rows_inside = index < batch
    rows = index
    length = tl.where(rows_inside, steps, 0)
    if HAS_LENGTHS:
        rows = tl.load(order + index, mask=rows_inside, other=0)
        length = tl.load(lengths + rows, mask=rows_inside, other=0)
        steps = tl.max(length, 0)
    unit = tl.arange(0, BLOCK_H)
    column = tl.arange(0, BLOCK_H * SLOTS)
    if PARTS > 1:
        unit += tl.program_id(1) * BLOCK_H
        column += tl.program_id(1) * (BLOCK_H * SLOTS)
    rows_inside = rows_inside[:, None]
    rows = rows[:, None]
    unit_inside = rows_inside & (unit < hidden)[None, :]
    unit_at = rows * hidden + unit[None, :]
    slot_inside = rows_inside & (column < hidden * SLOTS)[None, :]
    slot_at = rows * (hidden * SLOTS) + column[None, :]
    gate = (column // SLOTS) * GATES + column % SLOTS
    gate_exists = (column < hidden * SLOTS) & (column % SLOTS < GATES)
    return (
        rows,
        rows_inside,
        length[:, None],
        steps,
        unit,
        unit_at,
        unit_inside,
        slot_at,
        slot_inside,
        gate,
        gate_exists,
    )


@triton.jit
def meet(arrivals, others):
    """Wait until all programs of the same rows arrive here: what they stored before can be loaded afterwards.

    Args:
        arrivals: Number of arrivals so far, over all meetings; one counter for each tile of rows.
        others: Number of arrivals to wait for.
    """
    tl.debug_barrier()  # all threads store before one of them arrives
    arrived = tl.atomic_add(arrivals, 1, sem="acq_rel") + 1
    while arrived < others:
        arrived = tl.atomic_add(arrivals, 0, sem="acquire")
    tl.debug_barrier()


@triton.jit
def multiply(a, b, total, PRECISION: tl.constexpr):
    """Return ``total + a @ b`` in the precision of the total; if b is bfloat16, both factors are."""
    return tl.dot(a.to(b.dtype), b, total, input_precision=PRECISION, out_dtype=total.dtype)


@triton.jit(do_not_specialize=["steps", "batch"])
def recurrence_forward(
    u, w_t, b_hh, v0, m0, order, lengths, arrivals, states, cells, kept, h_n, c_n, v_n, m_n, v_marks, m_marks,
    steps, batch, hidden,
    momentum: tl.float64, step_size: tl.float64, beta2: tl.float64, new_share: tl.float64, eps: tl.float64,
    RECURRENCE: tl.constexpr, GATES: tl.constexpr, SLOTS: tl.constexpr, ADAPTIVE: tl.constexpr,
    HAS_BIAS: tl.constexpr, HAS_MOMENTS: tl.constexpr, HAS_LENGTHS: tl.constexpr, TRAINING: tl.constexpr,
    INTERVAL: tl.constexpr, PRECISION: tl.constexpr, RESIDENT: tl.constexpr, PARTS: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """Run all steps of BLOCK_B sequences.

    Args:
        u: (T, B, G) projected input.
        w_t: (H, G) recurrent weights, transposed, in the dtype of u or bfloat16.
        b_hh: (G,).
        v0, m0: (B, G) moments before the first step.
        order, lengths: (B,).
        arrivals: (tiles of rows,) int32 zeros, for PARTS > 1.
        states, cells: (T + 1, B, H); h and c after each step. The first entry is set by the caller.
        kept: (T, B, SLOTS * H) gates for the backward pass.
        h_n, c_n: (B, H); v_n, m_n (B, G): state after each row's own last step.
        v_marks, m_marks: (T / INTERVAL rounded up, B, G) moments before every INTERVAL-th step.
    """
    dtype: tl.constexpr = u.dtype.element_ty
    momentum, step_size, beta2 = rounded(momentum, dtype), rounded(step_size, dtype), rounded(beta2, dtype)
    new_share, eps = rounded(new_share, dtype), rounded(eps, dtype)
    gates = GATES * hidden
    rows, rows_inside, length, steps, _, unit_at, unit_inside, slot_at, slot_inside, gate, gate_exists = place(
        order, lengths, steps, batch, hidden, GATES, SLOTS, HAS_LENGTHS, PARTS, BLOCK_B, BLOCK_H
    )
    gate_at = rows * gates + gate[None, :]
    gate_inside = rows_inside & gate_exists[None, :]
    h = tl.load(states + unit_at, mask=unit_inside, other=0.0)
    c = h
    if RECURRENCE == "lstm":
        c = tl.load(cells + unit_at, mask=unit_inside, other=0.0)
    bias = tl.zeros([1, BLOCK_H * SLOTS], dtype=dtype)
    if HAS_BIAS:
        bias = tl.load(b_hh + gate, mask=gate_exists, other=0.0)[None, :]
    velocity = tl.zeros([BLOCK_B, BLOCK_H * SLOTS], dtype=dtype)
    second = tl.zeros([BLOCK_B, BLOCK_H * SLOTS], dtype=dtype)
    if HAS_MOMENTS:
        velocity = tl.load(v0 + gate_at, mask=gate_inside, other=0.0)
        second = tl.load(m0 + gate_at, mask=gate_inside, other=0.0)
    # The level-1 cache of a multiprocessor does not see the stores of the others.
    cache: tl.constexpr = ".cg" if PARTS > 1 else ""
    if RESIDENT:
        depth = tl.arange(0, BLOCK_K)
        h_at = rows * hidden + depth[None, :]
        h_inside = rows_inside & (depth < hidden)[None, :]
        w_inside = (depth < hidden)[:, None] & gate_exists[None, :]
        w_kept = tl.load(w_t + depth[:, None] * gates + gate[None, :], mask=w_inside, other=0.0)
    for t in range(steps):
        running = t < length
        d = tl.load(u + gate_at, mask=gate_inside, other=0.0)
        if ADAPTIVE:
            if TRAINING and t % INTERVAL == 0:
                tl.store(v_marks + gate_at, velocity, mask=gate_inside)
                tl.store(m_marks + gate_at, second, mask=gate_inside)
                v_marks += batch * gates
                m_marks += batch * gates
            new_velocity, new_second = advance_moments(d, velocity, second, momentum, step_size, beta2, new_share)
            d = new_velocity * inverse_root(new_second, eps)
            velocity = tl.where(running, new_velocity, velocity)
            second = tl.where(running, new_second, second)
        product = tl.zeros([BLOCK_B, BLOCK_H * SLOTS], dtype=dtype)
        if RESIDENT:
            h_all = tl.load(states + h_at, mask=h_inside, other=0.0, cache_modifier=cache)
            product = multiply(h_all, w_kept, product, PRECISION)
        else:
            for start in tl.range(0, hidden, BLOCK_K, num_stages=STAGES):
                k = start + tl.arange(0, BLOCK_K)
                inside = rows_inside & (k < hidden)[None, :]
                h_part = tl.load(states + rows * hidden + k[None, :], mask=inside, other=0.0, cache_modifier=cache)
                inside = (k < hidden)[:, None] & gate_exists[None, :]
                w_part = tl.load(w_t + k[:, None] * gates + gate[None, :], mask=inside, other=0.0)
                product = multiply(h_part, w_part, product, PRECISION)
        new_h, new_c, to_keep = step_forward(d, product, bias, h, c, RECURRENCE, HAS_BIAS, BLOCK_B, BLOCK_H)
        h = tl.where(running, new_h, h)
        c = tl.where(running, new_c, c)
        states += batch * hidden
        cells += batch * hidden
        tl.store(states + unit_at, tl.where(running, new_h, 0.0), mask=unit_inside)
        if TRAINING:
            if RECURRENCE == "lstm":
                tl.store(cells + unit_at, c, mask=unit_inside)
            if SLOTS == 4:
                tl.store(kept + slot_at, to_keep, mask=slot_inside)
        u += batch * gates
        kept += batch * hidden * SLOTS
        # The next product reads h of other threads and other programs.
        if PARTS > 1:
            meet(arrivals + tl.program_id(0), (t + 1) * PARTS)
        else:
            tl.debug_barrier()
    tl.store(h_n + unit_at, h, mask=unit_inside)
    if RECURRENCE == "lstm":
        tl.store(c_n + unit_at, c, mask=unit_inside)
    if ADAPTIVE:
        tl.store(v_n + gate_at, velocity, mask=gate_inside)
        tl.store(m_n + gate_at, second, mask=gate_inside)


@triton.jit(do_not_specialize=["steps", "batch"])
def recurrence_backward(
    w, order, lengths, arrivals, states, cells, kept, d_states, d_h_n, d_c_n, d_drive, d_product, d_h0, d_c0,
    steps, batch, hidden,
    RECURRENCE: tl.constexpr, GATES: tl.constexpr, SLOTS: tl.constexpr, HAS_BIAS: tl.constexpr,
    HAS_LENGTHS: tl.constexpr, HAS_D_STATES: tl.constexpr, HAS_D_H: tl.constexpr, HAS_D_C: tl.constexpr,
    PRECISION: tl.constexpr, RESIDENT: tl.constexpr, PARTS: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """Run all steps of BLOCK_B sequences backwards.

    Args:
        w: (G, H) recurrent weights, in the dtype of the states or bfloat16.
        order, lengths, arrivals, states, cells, kept: as in `recurrence_forward`.
        d_states: (T + 1, B, H) gradient of h after each step; d_h_n, d_c_n (B, H) of the last h and c.
        d_drive: (T, B, G) gradient of the driven input, written; must hold 0 beyond the end of each sequence.
        d_product: (T, B, G) gradient of ``W_hh h + b_hh``, written for the GRU, where it differs from d_drive.
        d_h0, d_c0: (B, H), written.
    """
    dtype: tl.constexpr = states.dtype.element_ty
    gates = GATES * hidden
    rows, rows_inside, length, steps, unit, unit_at, unit_inside, slot_at, slot_inside, gate, gate_exists = place(
        order, lengths, steps, batch, hidden, GATES, SLOTS, HAS_LENGTHS, PARTS, BLOCK_B, BLOCK_H
    )
    gate_at = rows * gates + gate[None, :]
    gate_inside = rows_inside & gate_exists[None, :]
    dh = tl.zeros([BLOCK_B, BLOCK_H], dtype=dtype)
    dc = tl.zeros([BLOCK_B, BLOCK_H], dtype=dtype)
    if HAS_D_H:
        dh = tl.load(d_h_n + unit_at, mask=unit_inside, other=0.0)
    if HAS_D_C:
        dc = tl.load(d_c_n + unit_at, mask=unit_inside, other=0.0)
    last = tl.cast(steps - 1, tl.int64)
    states += last * batch * hidden
    cells += last * batch * hidden
    d_states += (last + 1) * batch * hidden
    kept += last * batch * hidden * SLOTS
    d_drive += last * batch * gates
    d_product += last * batch * gates
    cache: tl.constexpr = ".cg" if PARTS > 1 else ""
    if RESIDENT:
        depth = tl.arange(0, BLOCK_K)
        part_at = rows * gates + depth[None, :]
        part_inside = rows_inside & (depth < gates)[None, :]
        w_inside = (depth < gates)[:, None] & (unit < hidden)[None, :]
        w_kept = tl.load(w + depth[:, None] * hidden + unit[None, :], mask=w_inside, other=0.0)
    for back in range(steps):
        running = steps - 1 - back < length
        h = tl.load(states + unit_at, mask=unit_inside, other=0.0)
        new_h = tl.load(states + batch * hidden + unit_at, mask=unit_inside, other=0.0)
        c = h
        new_c = h
        if RECURRENCE == "lstm":
            c = tl.load(cells + unit_at, mask=unit_inside, other=0.0)
            new_c = tl.load(cells + batch * hidden + unit_at, mask=unit_inside, other=0.0)
        gates_kept = new_h
        if SLOTS == 4:
            gates_kept = tl.load(kept + slot_at, mask=slot_inside, other=0.0)
        total = dh
        if HAS_D_STATES:
            total += tl.load(d_states + unit_at, mask=unit_inside, other=0.0)
        to_drive, to_product, beside, to_c = step_backward(
            total, dc, gates_kept, h, c, new_h, new_c, RECURRENCE, HAS_BIAS, BLOCK_B, BLOCK_H
        )
        tl.store(d_drive + gate_at, tl.where(running, to_drive, 0.0), mask=gate_inside)
        if RECURRENCE == "gru":
            tl.store(d_product + gate_at, tl.where(running, to_product, 0.0), mask=gate_inside)
        # The product reads gradients of other threads and other programs.
        if PARTS > 1:
            meet(arrivals + tl.program_id(0), (back + 1) * PARTS)
        else:
            tl.debug_barrier()
        factor = d_drive
        if RECURRENCE == "gru":
            factor = d_product
        product = tl.zeros([BLOCK_B, BLOCK_H], dtype=dtype)
        if RESIDENT:
            all_parts = tl.load(factor + part_at, mask=part_inside, other=0.0, cache_modifier=cache)
            product = multiply(all_parts, w_kept, product, PRECISION)
        else:
            for start in tl.range(0, gates, BLOCK_K, num_stages=STAGES):
                k = start + tl.arange(0, BLOCK_K)
                inside = rows_inside & (k < gates)[None, :]
                part = tl.load(factor + rows * gates + k[None, :], mask=inside, other=0.0, cache_modifier=cache)
                inside = (k < gates)[:, None] & (unit < hidden)[None, :]
                w_part = tl.load(w + k[:, None] * hidden + unit[None, :], mask=inside, other=0.0)
                product = multiply(part, w_part, product, PRECISION)
        dh = tl.where(running, beside + product, dh)
        dc = tl.where(running, to_c, dc)
        states -= batch * hidden
        cells -= batch * hidden
        d_states -= batch * hidden
        kept -= batch * hidden * SLOTS
        d_drive -= batch * gates
        d_product -= batch * gates
    tl.store(d_h0 + unit_at, dh, mask=unit_inside)
    if RECURRENCE == "lstm":
        tl.store(d_c0 + unit_at, dc, mask=unit_inside)


@triton.jit(do_not_specialize=["steps", "size"])
def dynamics_backward(
    u, d_drive, v_marks, m_marks, v_scratch, m_scratch, d_v_n, d_m_n, d_v0, d_m0, lengths,
    steps, size, gates,
    momentum: tl.float64, step_size: tl.float64, beta2: tl.float64, new_share: tl.float64, eps: tl.float64,
    HAS_D_V: tl.constexpr, HAS_D_M: tl.constexpr, HAS_LENGTHS: tl.constexpr,
    INTERVAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Turn the gradient of the driven input into that of the projected input, in place and elementwise.

    The moments of INTERVAL steps at a time are recomputed from those that the forward pass stored.

    Args:
        u: (T, B * G); d_drive (T, B * G), read and overwritten.
        v_marks, m_marks: as in `recurrence_forward`.
        v_scratch, m_scratch: (INTERVAL, B * G) to write to.
        d_v_n, d_m_n: (B * G) gradients of the last moments; d_v0, d_m0 (B * G) of the first, written.
        lengths: (B,).
        size: B * G.
        gates: G.
    """
    dtype: tl.constexpr = u.dtype.element_ty
    momentum, step_size, beta2 = rounded(momentum, dtype), rounded(step_size, dtype), rounded(beta2, dtype)
    new_share, eps = rounded(new_share, dtype), rounded(eps, dtype)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    length = tl.full([BLOCK], 0, tl.int32) + steps
    if HAS_LENGTHS:
        length = tl.load(lengths + at // gates, mask=inside, other=0)
    dv = tl.zeros([BLOCK], dtype=dtype)
    dm = tl.zeros([BLOCK], dtype=dtype)
    if HAS_D_V:
        dv = tl.load(d_v_n + at, mask=inside, other=0.0)
    if HAS_D_M:
        dm = tl.load(d_m_n + at, mask=inside, other=0.0)
    pieces = tl.cdiv(steps, INTERVAL)
    for back in range(pieces):
        piece = pieces - 1 - back
        first = piece * INTERVAL
        count = tl.minimum(steps - first, INTERVAL)
        velocity = tl.load(v_marks + tl.cast(piece, tl.int64) * size + at, mask=inside, other=0.0)
        second = tl.load(m_marks + tl.cast(piece, tl.int64) * size + at, mask=inside, other=0.0)
        for index in range(count):
            x = tl.load(u + tl.cast(first + index, tl.int64) * size + at, mask=inside, other=0.0)
            velocity, second = advance_moments(x, velocity, second, momentum, step_size, beta2, new_share)
            tl.store(v_scratch + index * size + at, velocity, mask=inside)
            tl.store(m_scratch + index * size + at, second, mask=inside)
        tl.debug_barrier()
        for back_index in range(count):
            index = count - 1 - back_index
            step = tl.cast(first + index, tl.int64) * size
            running = first + index < length
            x = tl.load(u + step + at, mask=inside, other=0.0)
            gradient = tl.load(d_drive + step + at, mask=inside, other=0.0)
            velocity = tl.load(v_scratch + index * size + at, mask=inside, other=0.0)
            second = tl.load(m_scratch + index * size + at, mask=inside, other=0.0)
            scale = inverse_root(second, eps)
            to_v = dv + gradient * scale
            to_m = dm - 0.5 * gradient * (velocity * scale) * scale * scale
            to_u = step_size * to_v + 2.0 * new_share * x * to_m
            tl.store(d_drive + step + at, tl.where(running, to_u, 0.0), mask=inside)
            dv = tl.where(running, momentum * to_v, dv)
            dm = tl.where(running, beta2 * to_m, dm)
        tl.debug_barrier()
    tl.store(d_v0 + at, dv, mask=inside)
    tl.store(d_m0 + at, dm, mask=inside)
