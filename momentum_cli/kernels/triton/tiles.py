"""Tile sizes and the number of programs of the recurrence kernels; chosen by reasoning, not by measurement.

Axes: B batch, H hidden, G gates * H.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from momentum_cli.kernels.triton.variants import SWITCH, VARIANTS, chosen
from momentum_cli.messages import Said, refuse

GATES = {"lstm": 4, "gru": 3, "rnn": 1, "rnn_relu": 1, "modrelu": 1}
# A tile of W_hh in shared memory; there are two while the next one is loaded.
_TILE_BYTES = 32 * 1024
# Shared memory of a consumer's card, used when Triton interprets the kernels.
_SHARED_BYTES = 99 * 1024
# The rest of shared memory: h, and tiles that change their layout.
_OTHER_BYTES = 16 * 1024
# The least inner size of a product: up to version 3.6 Triton refuses less.
_LEAST_DEPTH = 16
# W_hh in the registers of a program: half of a multiprocessor's, so that a thread of its 16 warps has 64 of them.
_RESIDENT_BYTES = 128 * 1024
_WARP_BYTES = 8 * 1024
# Of an H100, used when Triton interprets the kernels.
_MULTIPROCESSORS = 132


def power_of_two(number: int) -> int:
    """Return the smallest power of two >= number, at least 1."""
    return 1 << max(number - 1, 0).bit_length()


def slots(recurrence: str) -> int:
    """Return the columns per unit in a tile: 4 for an LSTM and a GRU, 1 for the others."""
    return 4 if GATES[recurrence] > 1 else 1


def _multiprocessors(tensor: Tensor) -> int:
    if not tensor.is_cuda:
        return _MULTIPROCESSORS
    return int(torch.cuda.get_device_properties(tensor.device).multi_processor_count)


def _shared_bytes(tensor: Tensor) -> int:
    if not tensor.is_cuda:
        return _SHARED_BYTES
    from triton.runtime import driver  # type: ignore[import-untyped, import-not-found, unused-ignore]

    return int(driver.active.utils.get_device_properties(tensor.device.index)["max_shared_mem"])


def tiles(recurrence: str, u: Tensor, hidden: int, depth: int, width: int) -> tuple[tuple[int, int], dict[str, Any]]:
    """Choose the programs of a recurrence kernel and what each does, for the variant in use.

    Args:
        recurrence: A key of `GATES`.
        u: (T, B, G), for its batch, dtype and device.
        hidden: H.
        depth: Inner size of the product of a step.
        width: Columns of its result per unit.

    Returns:
        The grid (tiles of rows, parts of the units), and keyword arguments of the launch.

    Raises:
        ValueError: The variant keeps W_hh in registers, and it is too large for them.
    """
    name = chosen()
    variant = VARIANTS[name]
    batch = u.shape[1]
    # All rows of a program share one pass over W_hh per step; more rows mean fewer programs. Tensor cores multiply 16
    # rows at a time.
    rows = 4 if batch <= 512 else 8 if batch <= 1024 else 16
    block_b = 16 if variant.on_tensor_cores else min(rows, power_of_two(batch))
    row_tiles = -(-batch // block_b)
    block_h = power_of_two(hidden)
    if variant.split:
        # All programs of a tile of rows must run at once, so there must be no more of them than multiprocessors.
        room = _multiprocessors(u) // row_tiles
        least = 8 if slots(recurrence) == 4 else 16  # no product is narrower
        while block_h > least and -(-hidden // (block_h // 2)) <= room:
            block_h //= 2
    itemsize = 2 if variant.products == "bf16" else u.element_size()
    row_bytes = block_h * width * itemsize
    block_k = max(_LEAST_DEPTH, min(64, _TILE_BYTES // row_bytes, power_of_two(depth)))
    warps = block_h * slots(recurrence) // 32
    if variant.resident:
        block_k = max(_LEAST_DEPTH, power_of_two(depth))
        kept = block_k * row_bytes
        if kept > _RESIDENT_BYTES:
            must = f"leave each program at most {_RESIDENT_BYTES // 1024} KiB of W_hh to keep"
            raise ValueError(
                refuse(SWITCH, Said(f"{kept // 1024} KiB ({name})"), must, "use a variant that streams it")
            )
        warps = max(warps, kept // _WARP_BYTES)
    parts = -(-hidden // block_h)
    return (row_tiles, parts), {
        "BLOCK_B": block_b,
        "BLOCK_H": block_h,
        "BLOCK_K": block_k,
        "STAGES": 1 + max(0, min(2, (_shared_bytes(u) - _OTHER_BYTES) // (block_k * row_bytes))),
        "PRECISION": "ieee" if variant.products == "bf16" else variant.products,
        "RESIDENT": variant.resident,
        "PARTS": parts,
        "num_warps": max(4, min(16, warps)),
        "num_stages": 1,  # of the loop over time; a step must not be read before it is written
        "launch_cooperative_grid": parts > 1,  # or running programs could wait for some that never start
    }
