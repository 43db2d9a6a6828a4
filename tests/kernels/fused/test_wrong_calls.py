"""Random wrong calls of everything that hands pointers to the C++ library: an error, or the right numbers; no crash."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.moments import Moments
from momentum_cli.dynamics.scan import torch_scan
from momentum_cli.kernels import reference
from momentum_cli.kernels.backend import Weights
from momentum_cli.kernels.fused import library, ops, update
from momentum_cli.kernels.fused.replay import _Left
from momentum_cli.kernels.fused.scan import scan_on_cpu
from momentum_cli.recurrence import RECURRENCES

pytestmark = pytest.mark.skipif(library.load()[0] is None, reason=library.load()[2] or "built")

REFUSALS = (ValueError, RuntimeError, TypeError, IndexError, NotImplementedError, AttributeError)
NAMES = ("x", "w_ih", "w_hh", "b_ih", "b_hh", "h0", "c0", "v0", "m0", "lengths")
INCOMING = ("d_out", "d_hn", "d_cn", "d_vn", "d_mn")
DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int32,
    torch.int64,
    torch.complex64,
    torch.bool,
)
CONSTANTS = [0.6, 0.9, 0.3, 1e-3]
Arguments = dict[str, Any]


def spoil(tensor: Tensor | None, others: list[Tensor], rng: random.Random) -> Tensor | None:
    """Return a tensor that is wrong, or only stored in another way."""
    if tensor is None or tensor.is_meta or tensor.layout is not torch.strided:
        return rng.choice(others)
    ways: list[Callable[[], Any]] = [
        lambda: tensor.to(rng.choice(DTYPES)),
        lambda: tensor[:-1],
        lambda: torch.cat([tensor, tensor[:1]]),
        lambda: tensor.unsqueeze(rng.randrange(tensor.dim() + 1)),
        tensor.flatten,
        lambda: tensor[..., :-1],
        lambda: tensor.t() if tensor.dim() == 2 else tensor.transpose(0, -1),
        lambda: tensor[:1].expand_as(tensor),  # its rows overlap
        lambda: torch.stack([tensor, tensor], -1)[..., 0],
        lambda: torch._neg_view(tensor) if tensor.is_floating_point() else tensor - 3,
        lambda: tensor.new_empty(0),
        lambda: tensor.new_empty((0, *tensor.shape[1:])),
        lambda: tensor.to("meta"),
        tensor.to_sparse,
        lambda: rng.choice(others),
        lambda: None,
        lambda: rng.choice([3, "x", [tensor], 0.5]),
    ]
    made: Tensor | None = rng.choice(ways)()
    return made


def draw(rng: random.Random) -> tuple[Arguments, list[float], list[int]]:
    """Return a right call of the forward pass: tensors, constants, plan."""
    steps, batch, size, hidden = (rng.randint(1, 5) for _ in range(4))
    name = rng.choice(list(ops.RECURRENCES))
    dynamics = rng.randrange(3)
    gates = RECURRENCES[name].gates * hidden
    dtype = rng.choice([torch.float32, torch.float64])
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator)

    folded = dynamics == 0 and rng.random() < 0.3  # the last channel of x is multiplied by b_ih
    tensors: Arguments = {"x": some(steps, batch, size + folded), "w_ih": some(gates, size)}
    tensors["w_hh"] = some(gates, hidden)
    tensors |= {"b_ih": some(gates), "b_hh": some(gates), "h0": some(batch, hidden)}
    tensors["c0"] = some(batch, hidden) if name == "lstm" else None
    tensors["v0"] = some(batch, gates) if dynamics == 1 else None
    tensors["m0"] = some(batch, gates).square() if dynamics else None
    lengths = sorted((rng.randint(1, steps) for _ in range(batch)), reverse=True)
    tensors["lengths"] = torch.tensor(lengths) if rng.random() < 0.5 else None
    parts, isa = rng.randint(1, batch), library.ISAS[library.chosen_isa(dtype)]
    return tensors, list(CONSTANTS), [ops.RECURRENCES[name], dynamics, isa, parts, rng.randint(1, steps)]


def expected(
    tensors: Arguments, constants: list[float], plan: list[int], wanted: bool
) -> tuple[list[Tensor], list[Any]]:
    """Return output, last states and, from gradients of ones, the gradient of each tensor, by the reference loop."""
    given = {n: t for n, t in tensors.items() if n in NAMES and isinstance(t, Tensor) and n != "lengths"}
    leaves = {n: t.detach().resolve_neg().clone().double().requires_grad_() for n, t in given.items()}
    momentum, step_size, beta2, eps = constants
    form: Any = Filter()
    if plan[1]:
        form = Moments(momentum if plan[1] == 1 else None, step_size, beta2, eps)
    recurrence = next(r for r in RECURRENCES.values() if r.kernel == ops._NAMES[plan[0]])
    x, w_hh = leaves["x"], leaves["w_hh"]
    zeros = recurrence.init(x[0], w_hh.shape[1])
    state = tuple(leaves.get(n, z) for n, z in zip(("h0", "c0"), zeros, strict=False))
    gates = x.new_zeros(x.shape[1], w_hh.shape[0])
    drive = () if not plan[1] else (leaves.get("m0", gates),)
    drive = (leaves.get("v0", gates), *drive) if plan[1] == 1 else drive
    w_ih, b_ih = leaves["w_ih"], leaves.get("b_ih")
    if plan[1] == 0 and b_ih is not None and x.shape[2] == w_ih.shape[1] + 1:
        w_ih, b_ih = torch.cat([w_ih, b_ih.unsqueeze(1)], 1), None
    weights = Weights(w_ih, w_hh, b_ih, leaves.get("b_hh"))
    output, last, moved = reference.run(recurrence, _Left(form), x, weights, state, drive, tensors["lengths"])
    results = [output, *last, *(moved if plan[1] else ())]
    if not wanted:
        return [r.detach() for r in results], []
    total = torch.stack([r.sum() for r in results]).sum()
    gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return [r.detach() for r in results], list(zip(leaves, gradients, strict=True))


def same(one: Tensor, other: Tensor) -> bool:
    if not other.numel():
        return one.shape == other.shape
    atol = 2e-3 * (1 + float(other.nan_to_num().abs().max()))
    return torch.allclose(one.double(), other.double(), rtol=2e-3, atol=atol, equal_nan=True)


def check_forward(rng: random.Random) -> bool:
    """Make a wrong call of the forward pass; True if it was refused."""
    tensors, constants, plan = draw(rng)
    others = [t for t in tensors.values() if t is not None]
    for name in rng.sample(NAMES, rng.randint(0, 3)):
        tensors[name] = spoil(tensors[name], others, rng)
    moment = tensors["m0"]
    dense = isinstance(moment, Tensor) and moment.layout is torch.strided and not moment.is_meta
    if dense and moment.is_floating_point() and bool((moment < 0).any()):
        tensors["m0"] = moment.abs()  # a mean of squares is never negative, and its root would be no number
    if rng.random() < 0.2:
        plan[rng.randrange(5)] = rng.choice([-1, 0, 1, 2, 7, 1 << 40, -(1 << 63)])
    if rng.random() < 0.05:
        constants = constants[: rng.randrange(4)]
    training = rng.random() < 0.5
    try:
        output, hn, cn, vn, mn, *_ = ops.fused_forward(*(tensors[n] for n in NAMES), constants, plan, training)
    except REFUSALS:
        return True
    if output.is_meta:  # as always in torch, where a tensor has no numbers
        return True
    results, _ = expected(tensors, constants, plan, False)
    found = [output, hn, *([cn] if plan[0] == 0 else []), *([vn] if plan[1] == 1 else []), *([mn] if plan[1] else [])]
    assert len(found) == len(results)
    assert all(map(same, found, results)), (tensors, plan)
    return False


def check_backward(rng: random.Random) -> bool:
    """Make a wrong call of the backward pass; True if it was refused."""
    tensors, constants, plan = draw(rng)
    out, hn, cn, vn, mn, saved, checkpoints = ops.fused_forward(*(tensors[n] for n in NAMES), constants, plan, True)
    tensors |= {"out": out, "saved": saved, "checkpoints": checkpoints}
    ends = zip(INCOMING, (out, hn, cn, vn, mn), strict=True)
    tensors |= {n: torch.ones_like(t) if t.numel() else None for n, t in ends}
    spoiled = rng.sample([*tensors], rng.randint(0, 3))
    others = [t for t in tensors.values() if isinstance(t, Tensor)]
    for name in spoiled:
        tensors[name] = spoil(tensors[name], others, rng)
    if rng.random() < 0.1:
        plan[rng.randrange(5)] = rng.choice([-1, 0, 1, 2, 7, 1 << 40])
        spoiled.append("plan")
    try:
        gradients = ops.fused_backward(*tensors.values(), constants, plan, True)
    except REFUSALS:
        return True
    if spoiled:  # other activations than those of the forward pass give other gradients
        return False
    _, right = expected(tensors, constants, plan, True)
    by_name = dict(zip(NAMES, gradients, strict=False))
    assert all(same(by_name[name], gradient) for name, gradient in right if gradient is not None)
    return False


def check_scan(rng: random.Random) -> bool:
    """Make a wrong call of the scan; True if it was refused."""
    steps, batch, channels = (rng.randint(1, 6) for _ in range(3))
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    dtype, backward = rng.choice([torch.float32, torch.float64]), rng.random() < 0.5
    gain, constant = rng.choice([1.0, 0.6]), rng.random() < 0.3
    x = torch.randn(steps, batch, channels, generator=generator).to(dtype)
    start = None if backward else torch.randn(batch, channels + constant, generator=generator).to(dtype)
    decay = torch.rand(steps, rng.choice([1, batch]), generator=generator).double()
    tensors: Arguments = {"decay": decay, "x": x, "start": start}
    others = [t for t in tensors.values() if t is not None]
    for name in rng.sample([*tensors], rng.randint(0, 2)):
        tensors[name] = spoil(tensors[name], others, rng)
    try:
        found = scan_on_cpu(*tensors.values(), backward=backward, gain=gain, constant=constant)
    except REFUSALS:
        return True
    assert not (backward and constant)
    x, start = tensors["x"].double(), None if tensors["start"] is None else tensors["start"].double()
    decay = tensors["decay"]
    decay = decay.double().resolve_neg() if isinstance(decay, Tensor) else float(decay)
    assert same(found, torch_scan(decay, x, start, backward=backward, gain=gain, constant=constant))
    return False


def check_update(rng: random.Random) -> bool:
    """Offer tensors to an optimizer's pass; True if they were refused."""
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    shapes = [tuple(rng.randint(1, 4) for _ in range(rng.randint(1, 2))) for _ in range(rng.randint(1, 3))]
    lists = [[torch.randn(shape, generator=generator) for shape in shapes] for _ in range(3)]
    others = [t for tensors in lists for t in tensors]
    for _ in range(rng.randint(0, 2)):
        tensors = rng.choice(lists)
        at = rng.randrange(len(tensors))
        spoiled = spoil(tensors[at], others, rng)
        tensors[at] = spoiled if isinstance(spoiled, Tensor) else tensors[at]
    try:
        if not update.serves(*lists):
            return True
    except REFUSALS:
        return True
    before = [[t.double() for t in tensors] for tensors in lists]
    update.heavy_ball_(*lists, [0.5] * len(shapes), 0.1)
    for param, momentum, p, m, g in zip(*lists[:2], *before, strict=True):
        assert same(momentum, 0.5 * m + g)
        assert same(param, p - 0.1 * (0.5 * m + g))
    return False


CHECKS = [check_forward, check_forward, check_backward, check_scan, check_update]


def attack(calls: int, seed: int) -> None:
    rng = random.Random(seed)
    refused = sum(rng.choice(CHECKS)(rng) for _ in range(calls))
    assert calls // 5 < refused < calls - calls // 20


@pytest.mark.filterwarnings("ignore")  # of torch about sparse and complex tensors
def test_wrong_calls_are_refused_or_right() -> None:
    attack(1500, 0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_thousand_wrong_calls(seed: int) -> None:
    attack(10_000, 100 + seed)
