"""The scan of a filter by the C++ library: one pass over memory instead of several by torch's operations."""

from __future__ import annotations

import ctypes
from functools import lru_cache

import torch
from torch import Tensor

from momentum_cli.dynamics.scan import torch_scan, traced_scan
from momentum_cli.kernels.fused.library import Scan, load, why_missing
from momentum_cli.messages import Said, refuse


def scan_on_cpu(
    decay: Tensor | float,
    x: Tensor,
    start: Tensor | None,
    *,
    backward: bool,
    gain: float = 1.0,
    constant: bool = False,
) -> Tensor:
    """Compute a scan, see `momentum_cli.dynamics.scan.Run`.

    Args:
        decay: A number, or (T, 1) or (T, B).
        x: (T, B, C) float32 or float64 on the CPU.
        start: (B, C), or None; (B, C + 1) with a constant.
        backward: Scan backward in time.
        gain: Factor of the input.
        constant: Scan one more channel, whose input is 1; not backward.

    Raises:
        ValueError: The shape, dtype or device of a tensor is wrong.
        RuntimeError: There is no library, or it refuses the numbers.
    """
    if x.dim() != 3 or x.dtype not in (torch.float32, torch.float64) or not x.is_cpu:
        got = Said(f"{x.dtype} {tuple(x.shape)} on {x.device}")
        raise ValueError(refuse("x", got, "be (T, B, C), float32 or float64, on the CPU"))
    steps, batch, channels = *x.shape[:2], x.shape[2] + constant
    if isinstance(decay, Tensor):
        if decay.shape not in ((steps, 1), (steps, batch)) or not decay.is_cpu:
            must = f"have the shape ({steps}, 1) or ({steps}, {batch}), on the CPU"
            raise ValueError(refuse("decay", Said(f"{tuple(decay.shape)} on {decay.device}"), must))
        decays = decay.detach().to(torch.float64).contiguous().resolve_neg()
    else:
        decays = _number(decay)
    if start is not None and (start.shape != (batch, channels) or not start.is_cpu):
        must = f"have the shape ({batch}, {channels}), on the CPU"
        raise ValueError(refuse("start", Said(f"{tuple(start.shape)} on {start.device}"), must))
    x = x.detach().contiguous().resolve_neg()
    first = None if start is None else start.detach().to(x.dtype).contiguous().resolve_neg()
    out = x.new_empty(steps, batch, channels)
    if not out.numel():
        return out
    library, _, reason = load()
    if library is None:
        raise RuntimeError(reason)
    sizes = (x.element_size(), torch.get_num_threads(), steps, batch, channels, constant, backward, *decays.shape, gain)
    pointers = (decays.data_ptr(), x.data_ptr(), None if first is None else first.data_ptr(), out.data_ptr())
    code = library.mrnn_scan_all(ctypes.byref(Scan(*sizes, *pointers)))
    if code:
        raise RuntimeError(
            f"mrnn_scan_all refused its arguments (code {code}; {tuple(x.shape)}, {tuple(decays.shape)})"
        )
    return out


@lru_cache
@torch.inference_mode(False)
def _number(decay: float) -> Tensor:
    """Return a number as the (1, 1) array that the library reads; making one takes a quarter of a short scan."""
    return torch.tensor([[decay]], dtype=torch.float64, device="cpu")


@traced_scan.register_kernel("cpu")
def _(x: Tensor, start: Tensor | None, decays: Tensor | None, decay: float, backward: bool) -> Tensor:
    run = torch_scan if why_missing() is not None else scan_on_cpu
    return run(decay if decays is None else decays, x, start, backward=backward)
