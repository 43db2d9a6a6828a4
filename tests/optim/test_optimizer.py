"""Properties of every optimizer other than its formula: paths, state, schedules, scaling, compilation."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from momentum_cli.optim import OPTIMIZERS, multi_tensor
from momentum_cli.optim.optimizer import MultiTensorOptimizer
from momentum_cli.runs.checkpoint import (
    Checkpoint,
    load_checkpoint,
    pack_optimizer,
    save_checkpoint,
    unpack_optimizer,
)

OURS = [name for name, cls in OPTIMIZERS.items() if issubclass(cls, MultiTensorOptimizer)]
DECAY = {"weight_decay": 0.1}
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in OURS),
    *((name, DECAY) for name in OURS),
    *((name, {**DECAY, "decoupled_weight_decay": True}) for name in OURS if name != "ahb-adamw"),
    ("ahb-sgd", {"scope": "tensor"}),
    ("ahb-adam", {"scope": "tensor"}),
    ("frsgd", {"scope": "tensor"}),
    ("mada", {"hyper_lr": 0.0, "beta3": 0.1, "c": 0.4, "rho": 0.7, "gamma": 0.6}),
    ("mada", {"hyper_lr": 0.1, "beta3": 0.2, "c": 0.4, "rho": 0.7, "gamma": 0.6}),
]
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=str)
every_name = pytest.mark.parametrize("name", OURS)
SHAPES = [(6, 5), (7,), (3, 4, 2), (1,)]


def parameters(seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in SHAPES]


def gradients(steps: int, seed: int = 1) -> Iterator[list[Tensor]]:
    """Gradients that change a little from step to step."""
    generator = torch.Generator().manual_seed(seed)
    common = [torch.randn(shape, generator=generator) for shape in SHAPES]
    for _ in range(steps):
        yield [g + 0.3 * torch.randn(g.shape, generator=generator) for g in common]


def run(optimizer: torch.optim.Optimizer, grads: list[list[Tensor]]) -> list[Tensor]:
    """Make a step for each list of gradients and return the parameters."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    for of_step in grads:
        for param, grad in zip(params, of_step, strict=True):
            param.grad = grad.to(param.dtype, copy=True)
        optimizer.step()
    return [param.detach().clone() for param in params]


def build(name: str, params: Any, **options: Any) -> torch.optim.Optimizer:
    return OPTIMIZERS[name](params, **{"lr": 0.01, **options})


@every_case
def test_one_tensor_at_a_time_gives_the_same(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    grads = list(gradients(5))
    together = run(build(name, parameters(), foreach=True, **options), grads)
    alone = run(build(name, parameters(), foreach=False, **options), grads)
    monkeypatch.setattr("momentum_cli.optim.optimizer.CPU_BLOCK_ELEMENTS", 31)
    in_blocks = run(build(name, parameters(), **options), grads)
    for left, middle, right in zip(together, in_blocks, alone, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(middle, right, rtol=1e-6, atol=1e-7)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_restored_optimizer_continues_bit_for_bit(
    name: str, options: dict[str, Any], dtype: torch.dtype, tmp_path: Path
) -> None:
    grads = list(gradients(7))
    whole = run(build(name, parameters(dtype=dtype), **options), grads)
    first = build(name, parameters(dtype=dtype), **options)
    middle = run(first, grads[:4])
    tensors, data = pack_optimizer(first.state_dict())
    path = tmp_path / "optimizer.safetensors"
    save_checkpoint(path, Checkpoint(tensors, json.loads(json.dumps({"optimizer": data}))))
    checkpoint = load_checkpoint(path)
    second = build(name, [param.clone().requires_grad_() for param in middle], lr=0.5)
    second.load_state_dict(unpack_optimizer(checkpoint.tensors, checkpoint.data["optimizer"]))
    for left, right in zip(run(second, grads[4:]), whole, strict=True):
        assert torch.equal(left, right)


@every_name
def test_state_of_a_copy_is_its_own(name: str) -> None:
    grads = list(gradients(4))
    optimizer = build(name, parameters())
    run(optimizer, grads[:2])
    kept = copy.deepcopy(optimizer.state_dict())
    other = build(name, parameters())
    other.load_state_dict(optimizer.state_dict())
    run(other, grads[2:])
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if value.dim() == 0:
                assert torch.equal(value, kept["state"][index][key]), key


@every_case
def test_maximize_descends_the_negative(name: str, options: dict[str, Any]) -> None:
    grads = list(gradients(4))
    up = run(build(name, parameters(), maximize=True, **options), [[-g for g in of_step] for of_step in grads])
    down = run(build(name, parameters(), **options), grads)
    for left, right in zip(up, down, strict=True):
        assert torch.equal(left, right)


@every_name
def test_gradients_are_left_alone(name: str) -> None:
    params = parameters()
    optimizer = build(name, params, weight_decay=0.1)
    for grads in gradients(3):
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad.clone()
        optimizer.step()
        for param, grad in zip(params, grads, strict=True):
            assert param.grad is not None
            assert torch.equal(param.grad, grad)


@every_name
def test_closure_is_called_once_with_gradients_enabled(name: str) -> None:
    params = parameters()
    optimizer = build(name, params)
    calls = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = sum((param**2).sum() for param in params)
        assert isinstance(loss, Tensor)
        loss.backward()
        calls.append(loss.item())
        return loss.item()

    before = [param.detach().clone() for param in params]
    assert optimizer.step(closure) == calls[0]
    assert len(calls) == 1
    assert any(not torch.equal(left, right) for left, right in zip(before, params, strict=True))


@every_name
def test_a_parameter_without_gradient_is_left_alone(name: str) -> None:
    params = parameters()
    optimizer = build(name, params)
    for grads in gradients(3):
        for index, (param, grad) in enumerate(zip(params, grads, strict=True)):
            param.grad = None if index in (0, 2) else grad
        optimizer.step()
    for index, (param, start) in enumerate(zip(params, parameters(), strict=True)):
        assert torch.equal(param, start) == (index in (0, 2))


@every_name
def test_a_step_without_any_gradient_changes_nothing(name: str) -> None:
    params = parameters()
    build(name, params).step()
    for param, start in zip(params, parameters(), strict=True):
        assert torch.equal(param, start)


@every_name
def test_a_late_parameter_takes_a_step_of_the_usual_size(name: str) -> None:
    """Its averages start as at a first step; the correction of a bias that it does not have would blow its step up."""
    params = parameters()
    optimizer = build(name, params)
    for grads in gradients(4):
        for param, grad in zip(params[:-1], grads, strict=False):
            param.grad = grad
        optimizer.step()
    start = params[-1].detach().clone()
    params[-1].grad = torch.full_like(params[-1], 0.8)
    optimizer.step()
    (fresh,) = run(build(name, [start.clone().requires_grad_()]), [[torch.full_like(start, 0.8)]])
    torch.testing.assert_close(params[-1].detach() - start, fresh - start, rtol=0.35, atol=0)


@every_name
def test_sparse_and_complex_gradients_are_refused(name: str) -> None:
    embedding = torch.nn.Embedding(5, 3, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(
        RuntimeError, match=r"must be dense and real, got a torch\.sparse_coo one of shape \(5, 3\); use"
    ):
        build(name, embedding.parameters()).step()
    param = torch.ones(2, dtype=torch.complex64, requires_grad=True)
    param.grad = torch.ones_like(param)
    with pytest.raises(RuntimeError, match=r"must be dense and real, got a complex one of shape \(2,\)"):
        build(name, [param]).step()


@every_name
def test_groups_have_options_of_their_own(name: str) -> None:
    """A rate of 0 freezes one group and leaves the other as it was; per-tensor rules see no other tensor."""
    params = parameters()
    optimizer = build(name, [{"params": params[:2]}, {"params": params[2:], "lr": 0.0}])
    run(optimizer, list(gradients(3)))
    for param, start in zip(params[2:], parameters()[2:], strict=True):
        assert torch.equal(param, start)
    for param, start in zip(params[:2], parameters()[:2], strict=True):
        assert not torch.equal(param, start)


@every_name
def test_a_schedule_reaches_the_step(name: str) -> None:
    params = parameters()
    optimizer = build(name, params)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step >= 2 else 1.0)
    positions = []
    for grads in gradients(4):
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad
        optimizer.step()
        schedule.step()
        positions.append([param.detach().clone() for param in params])
    for before, after, later in zip(*positions[1:], strict=True):
        assert torch.equal(before, after)
        assert torch.equal(after, later)
    assert not torch.equal(positions[0][0], positions[1][0])


@every_name
def test_a_rate_of_zero_does_not_poison_the_next_steps(name: str) -> None:
    """A warm-up from 0 leaves x where it is, so that change of x is 0 at the next step."""
    optimizer = build(name, parameters())
    for index, grads in enumerate(gradients(4)):
        optimizer.param_groups[0]["lr"] = 0.01 * index
        run(optimizer, [grads])
    assert all(torch.isfinite(param).all() for param in optimizer.param_groups[0]["params"])


@every_name
def test_gradients_of_zero_keep_everything_finite(name: str) -> None:
    optimizer = build(name, parameters())
    params = run(optimizer, [[torch.zeros(shape) for shape in SHAPES]] * 3 + list(gradients(2)))
    assert all(torch.isfinite(param).all() for param in params)


@every_case
def test_a_rate_may_be_a_tensor(name: str, options: dict[str, Any]) -> None:
    grads = list(gradients(4))
    with_tensor = run(build(name, parameters(), **options, lr=torch.tensor(0.01)), grads)
    with_number = run(build(name, parameters(), **options), grads)
    for left, right in zip(with_tensor, with_number, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


@every_name
def test_grad_scaler_steps_and_skips(name: str) -> None:
    params = parameters()
    scaled = build(name, params)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    grads = list(gradients(3))
    for index, of_step in enumerate(grads):
        for param, grad in zip(params, of_step, strict=True):
            param.grad = grad * scaler.scale(torch.ones(())).item()
        if index == 1:
            assert params[0].grad is not None
            params[0].grad[0, 0] = float("inf")
        scaler.step(scaled)
        scaler.update(1024.0)
    expected = run(build(name, parameters()), [grads[0], grads[2]])
    for param, value in zip(params, expected, strict=True):
        torch.testing.assert_close(param.detach(), value, rtol=1e-5, atol=1e-6)


class NoHostSync(TorchDispatchMode):
    """Fail at whatever makes the host wait for a value of the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        waiting = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique")
        assert func.overloadpacket.__name__ not in waiting, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@every_case
def test_a_step_does_not_wait_for_the_device(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multi_tensor, "on_host", lambda tensors: False)  # the way of a device
    optimizer = build(name, parameters(), **options)
    grads = list(gradients(3))
    params = optimizer.param_groups[0]["params"]
    with NoHostSync():
        for of_step in grads:
            for param, grad in zip(params, of_step, strict=True):
                param.grad = grad
            optimizer.step()
    with pytest.raises(AssertionError, match="waits"), NoHostSync():
        params[0].sum().item()


@every_case
def test_a_parameter_without_an_element_is_no_hindrance(name: str, options: dict[str, Any]) -> None:
    empty, full = torch.zeros(0, 3, requires_grad=True), torch.ones(3, requires_grad=True)
    optimizer = build(name, [empty, full], **options)
    for _ in range(3):
        empty.grad, full.grad = torch.zeros(0, 3), torch.ones(3)
        optimizer.step()
    assert torch.isfinite(full).all()
    assert (full < 1).all()


@every_case
def test_state_is_flat_tensors(name: str, options: dict[str, Any]) -> None:
    optimizer = build(name, parameters(), **options)
    run(optimizer, list(gradients(2)))
    assert optimizer.state_dict()["state"]
    for state in optimizer.state_dict()["state"].values():
        assert all(isinstance(value, Tensor) for value in state.values())


@pytest.mark.parametrize(
    ("name", "options"),
    [pytest.param(*case, marks=[] if case[0] in ("ahb-sgd", "frsgd") else pytest.mark.slow) for case in CASES],
    ids=str,
)
def test_a_compiled_step_is_the_same(name: str, options: dict[str, Any]) -> None:
    """The graph is traced and run without code generation; a graph break or a retrace a step would fail it."""
    torch.compiler.reset()
    grads = list(gradients(5))
    eager = run(build(name, parameters(), **options), grads)
    optimizer = build(name, parameters(), **options)
    traces = []

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        traces.append(graph)
        return graph.forward

    compiled = torch.compile(optimizer.step, backend=count, fullgraph=True)
    params = optimizer.param_groups[0]["params"]
    for of_step in grads:
        for param, grad in zip(params, of_step, strict=True):
            param.grad = grad.clone()
        compiled()
    for left, right in zip(params, eager, strict=True):
        torch.testing.assert_close(left.detach(), right, rtol=1e-5, atol=1e-6)
    # One graph that creates the state and one that finds it.
    assert 1 <= len(traces) <= 2


@every_name
@pytest.mark.parametrize(("option", "value"), [("lr", -0.1), ("weight_decay", -1.0), ("lr", float("nan"))])
def test_options_out_of_range_are_refused(name: str, option: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^`{option}` must be >= 0, got {value}"):
        OPTIMIZERS[name](parameters(), **{option: value})
    optimizer = build(name, parameters()[:1])
    with pytest.raises(ValueError, match=rf"^`{option}` must be >= 0, got {value}"):
        optimizer.add_param_group({"params": parameters()[1:], option: value})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("ahb-sgd", "delta", 0.0),
        ("ahb-sgd", "delta", 1.5),
        ("ahb-sgd", "scope", "layer"),
        ("ahb-adam", "delta", -1.0),
        ("ahb-adam", "beta2", 1.0),
        ("ahb-adam", "eps", -1e-8),
        ("ahb-adamw", "scope", ""),
        ("nhb", "delta", 0.0),
        ("frsgd", "delta", 2.0),
        ("frsgd", "scope", "group"),
        ("adarem", "beta", 1.0),
        ("adarem", "resilience_decay", 1.1),
        ("adarem", "eps", 0.0),
        ("sigsigngrad", "beta1", -0.1),
        ("sigsigngrad", "beta3", -1.0),
        ("tanhsigngrad", "beta2", 1.0),
        ("tanhsigngrad", "eps", -1.0),
        ("hfac", "beta1", 1.0),
        ("hfac", "eps", 0.0),
        ("hfac", "clip_threshold", 0.0),
        ("mada", "rho", 1.5),
        ("mada", "hyper_lr", -1e-3),
        ("mada", "beta2", -0.5),
        ("avgrad", "beta1", 1.0),
        ("avgrad", "eps", -1.0),
    ],
)
def test_own_options_out_of_range_are_refused(name: str, option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^`{option}` must be .*, got {value!r}"):
        OPTIMIZERS[name](parameters(), **{option: value})
