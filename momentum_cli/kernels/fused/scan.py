"""The scan of a filter by the C++ library: one pass over memory instead of several by torch's operations."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from momentum_cli.dynamics.scan import torch_scan, traced_scan
from momentum_cli.kernels.fused.library import Scan, load, why_missing


def scan_on_cpu(decay: Tensor | float, x: Tensor, start: Tensor | None, *, backward: bool) -> Tensor:
    """Compute a scan, see `momentum_cli.dynamics.scan.Run`.

    Args:
        decay: A number, or (T, 1) or (T, B).
        x: (T, B, C) float32 or float64 on the CPU.
        start: (B, C), or None.
        backward: Scan backward in time.
    """
    steps, batch, channels = x.shape
    if isinstance(decay, Tensor):
        decays = decay.detach().to(torch.float64).contiguous()
    else:
        decays = torch.tensor([[decay]], dtype=torch.float64)
    x = x.detach().contiguous().resolve_neg()
    first = None if start is None else start.detach().to(x.dtype).contiguous().resolve_neg()
    out = torch.empty_like(x)
    if not x.numel():
        return out
    library, _, reason = load()
    if library is None:
        raise RuntimeError(reason)
    sizes = (x.element_size(), torch.get_num_threads(), steps, batch, channels, backward, *decays.shape)
    pointers = (decays.data_ptr(), x.data_ptr(), None if first is None else first.data_ptr(), out.data_ptr())
    code = library.mrnn_scan_all(ctypes.byref(Scan(*sizes, *pointers)))
    if code:
        raise RuntimeError(
            f"mrnn_scan_all refused its arguments (code {code}; {tuple(x.shape)}, {tuple(decays.shape)})"
        )
    return out


@traced_scan.register_kernel("cpu")
def _(x: Tensor, start: Tensor | None, decays: Tensor | None, decay: float, backward: bool) -> Tensor:
    run = torch_scan if why_missing() is not None else scan_on_cpu
    return run(decay if decays is None else decays, x, start, backward=backward)
