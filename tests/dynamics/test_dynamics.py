"""The dynamics against their equations, written out step by step in plain Python numbers."""

from __future__ import annotations

import dataclasses
import math
import pkgutil
from importlib import import_module

import pytest
import torch

from momentum_cli.dynamics import DYNAMICS
from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.nesterov import Nesterov, ScheduledRestart
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.rmsprop import RMSProp

ALL: list[Dynamics] = [
    Identity(),
    HeavyBall(0.6, 0.9),
    HeavyBall(0.0, 1.0),
    Nesterov(0.7),
    ScheduledRestart(0.9, 5),
    RMSProp(0.3, 0.8),
    Adam(0.6, 0.2, 0.9),
]
LINEAR = [d for d in ALL if isinstance(d.form, Filter)]


def equations(dynamics: Dynamics, u: list[float]) -> list[float]:
    """The table of the design, one channel, in plain Python."""
    v = m = 0.0
    out = []
    for t, x in enumerate(u, start=1):
        match dynamics:
            case Identity():
                d = x
            case HeavyBall(momentum=mu, step_size=s):
                d = v = mu * v + s * x
            case Nesterov(step_size=s):
                d = v = (t - 1) / (t + 2) * v + s * x
            case ScheduledRestart(step_size=s, restart_every=every):
                k = (t - 1) % every + 1
                d = v = (k - 1) / (k + 2) * v + s * x
            case RMSProp(beta2=beta, step_size=s, eps=eps):
                m = beta * m + (1 - beta) * x * x
                d = s * x / math.sqrt(m + eps)
            case Adam(momentum=mu, beta2=beta, step_size=s, eps=eps):
                v = mu * v + s * x
                m = beta * m + (1 - beta) * x * x
                d = v / math.sqrt(m + eps)
            case _:
                raise AssertionError(dynamics)
        out.append(d)
    return out


@pytest.mark.parametrize("dynamics", ALL, ids=repr)
@pytest.mark.parametrize("steps", [1, 2, 64, 65, 211])
def test_scan_follows_the_equations(dynamics: Dynamics, steps: int) -> None:
    u = torch.randn(steps, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(steps))
    d, _ = dynamics.scan(u)
    for b in range(3):
        for c in range(2):
            expected = torch.tensor(equations(dynamics, u[:, b, c].tolist()), dtype=torch.float64)
            torch.testing.assert_close(d[:, b, c], expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dynamics", ALL, ids=repr)
def test_step_by_step_is_the_scan(dynamics: Dynamics) -> None:
    u = torch.randn(70, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole, end = dynamics.scan(u)
    state = dynamics.init(u[0])
    for t in range(len(u)):
        d, state = dynamics.step(u[t], state)
        torch.testing.assert_close(d, whole[t], rtol=1e-11, atol=1e-11)
    for a, b in zip(state, end, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dynamics", ALL, ids=repr)
def test_chunks_are_the_whole_also_when_sequences_are_at_different_steps(dynamics: Dynamics) -> None:
    u = torch.randn(150, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole, _ = dynamics.scan(u)
    # The first chunk ends after 1, 40 and 80 steps; the second continues at each sequence's own position.
    ends = torch.tensor([1, 40, 80])
    _, state = dynamics.scan(u[:80], None, ends)
    rest = torch.stack([u[end : end + 70, b] for b, end in enumerate(ends.tolist())], 1)
    continued, _ = dynamics.scan(rest, state)
    for b, end in enumerate(ends.tolist()):
        torch.testing.assert_close(continued[:, b], whole[end : end + 70, b], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dynamics", ALL, ids=repr)
def test_gradients(dynamics: Dynamics) -> None:
    u = torch.randn(7, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: dynamics.scan(x)[0], u)


def test_impulse_response_of_heavy_ball_is_geometric() -> None:
    u = torch.zeros(300, 1, 1, dtype=torch.float64)
    u[0] = 1.0
    d, _ = HeavyBall(0.6, 0.7).scan(u)
    expected = 0.7 * 0.6 ** torch.arange(300, dtype=torch.float64)
    torch.testing.assert_close(d.flatten(), expected, rtol=1e-10, atol=0.0)


def test_limits() -> None:
    u = torch.randn(90, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(HeavyBall(0.0, 1.0).scan(u)[0], u)
    torch.testing.assert_close(ScheduledRestart(0.4, 1).scan(u)[0], 0.4 * u)
    torch.testing.assert_close(ScheduledRestart(0.4, 1000).scan(u)[0], Nesterov(0.4).scan(u)[0])
    torch.testing.assert_close(RMSProp(0.3, 0.8).scan(u)[0], Adam(0.0, 0.3, 0.8).scan(u)[0])


def test_filtering_commutes_with_the_projection() -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(100, 2, 3, dtype=torch.float64, generator=generator)
    weight = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    bias = torch.randn(5, dtype=torch.float64, generator=generator)
    for dynamics in LINEAR:
        driven, _ = dynamics.scan(x @ weight.T + bias)
        y, _ = dynamics.scan(torch.nn.functional.pad(x, (0, 1), value=1.0))
        torch.testing.assert_close(y @ torch.cat((weight, bias[:, None]), 1).T, driven)


def test_zero_input_stays_finite() -> None:
    u = torch.zeros(40, 1, 2)
    u[0] = 1.0
    for dynamics in (RMSProp(0.01, 1.0), Adam(0.6, 0.01, 1.0), RMSProp(0.01, 1.0, eps=0.0)):
        value = u.clone().requires_grad_()
        d, _ = dynamics.scan(value)
        d.sum().backward()
        assert value.grad is not None
        assert torch.isfinite(d).all()


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: HeavyBall(momentum=1.0), "momentum"),
        (lambda: HeavyBall(momentum=-0.1), "momentum"),
        (lambda: HeavyBall(momentum=math.nan), "momentum"),
        (lambda: HeavyBall(momentum="a"), "momentum"),  # type: ignore[arg-type]
        (lambda: HeavyBall(step_size=True), "step_size"),
        (lambda: HeavyBall(step_size=0.0), "step_size"),
        (lambda: Nesterov(step_size=-1.0), "step_size"),
        (lambda: Nesterov(step_size=math.inf), "step_size"),
        (lambda: ScheduledRestart(restart_every=0), "restart_every"),
        (lambda: ScheduledRestart(restart_every=2.5), "restart_every"),  # type: ignore[arg-type]
        (lambda: RMSProp(beta2=1.0), "beta2"),
        (lambda: RMSProp(eps=-1e-9), "eps"),
        (lambda: Adam(momentum=2.0), "momentum"),
        (lambda: Adam(beta2=-0.5), "beta2"),
    ],
)
def test_values_outside_their_range_are_refused(build: object, name: str) -> None:
    with pytest.raises(ValueError, match=rf"^`{name}` must be .*, got "):
        build()  # type: ignore[operator]


def test_the_table_holds_every_dynamics_of_the_folder() -> None:
    import momentum_cli.dynamics as package

    modules = [import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)]
    classes = {
        value
        for module in modules
        for value in vars(module).values()
        if dataclasses.is_dataclass(value) and value.__module__ == module.__name__ and hasattr(value, "state_names")
    }
    assert set(DYNAMICS.values()) == classes
