"""The orthogonal matrix: against an independent exponential, when its basis changes, and how often it is computed."""

from __future__ import annotations

import copy
import functools
import math
import pickle
from typing import Any

import pytest
import torch
from host_reads import reads
from skew_matrices import exponential, skew
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from momentum_cli.layers.exponential import LARGEST_NORM
from momentum_cli.layers.orthogonal_matrix import (
    ARITHMETIC,
    INITS,
    OnCard,
    Orthogonal,
    fold,
    nearest_orthogonal,
    orthogonal_parameters,
)


def distance(b: Tensor) -> float:
    b = b.detach().double()
    return float(torch.linalg.matrix_norm(b.T @ b - torch.eye(len(b), dtype=torch.float64)))


def move(module: Orthogonal, seed: int, scale: float = 0.1) -> None:
    """What an optimizer step does, without one."""
    with torch.no_grad():
        module.skew += scale * torch.randn(module.skew.shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def exponentials(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the matrices that are exponentiated."""
    calls: list[int] = []
    original = torch.matrix_exp

    def counted(a: Tensor) -> Tensor:
        calls.append(len(a))
        return original(a)

    monkeypatch.setattr(torch, "matrix_exp", counted)
    return calls


@pytest.mark.parametrize("size", [1, 2, 7, 12])
def test_matrix_is_base_times_the_exponential(size: int) -> None:
    torch.manual_seed(0)
    module = Orthogonal(size, "infty", "henaff", dtype=torch.float64)
    move(module, 1, scale=1.0)
    expected = module.base @ exponential(skew(module))
    torch.testing.assert_close(module.matrix().detach(), expected, rtol=1e-12, atol=1e-12)
    assert distance(module.matrix()) < 1e-12


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("size", [6, 7])
def test_inits_rotate_planes_by_angles_of_their_range(init: str, size: int) -> None:
    torch.manual_seed(1)
    module = Orthogonal(size, None, init, dtype=torch.float64)
    a = skew(module)
    angles = a.diagonal(1)[::2][: size // 2]
    rebuilt = torch.zeros_like(a)
    for plane, angle in enumerate(angles):
        rebuilt[2 * plane, 2 * plane + 1], rebuilt[2 * plane + 1, 2 * plane] = angle, -angle
    assert torch.equal(a, rebuilt)
    b = module.matrix().detach()
    torch.testing.assert_close(b.diagonal()[::2][: size // 2], torch.cos(angles))
    many = INITS[init](20000)
    if init == "cayley":
        # -tan(θ/2) with θ uniform in (0, π/2): the angle comes back, and is uniform.
        theta = -2.0 * torch.atan(many)
        assert float(theta.min()) >= 0.0
        assert float(theta.max()) <= math.pi / 2
        assert float(theta.mean()) == pytest.approx(math.pi / 4, abs=0.02)
    else:
        assert float(many.abs().max()) <= math.pi
        assert float(many.mean()) == pytest.approx(0.0, abs=0.06)


def test_static_and_dynamic_start_at_the_same_matrix_from_different_bases() -> None:
    made = {}
    for basis_every in (None, 1, "infty"):
        torch.manual_seed(2)
        made[basis_every] = Orthogonal(8, basis_every, dtype=torch.float64)
    assert torch.equal(made[None].base, torch.eye(8, dtype=torch.float64))
    assert made[None].skew.any()
    for basis_every in (1, "infty"):
        assert not made[basis_every].skew.any()
        torch.testing.assert_close(made[basis_every].matrix(), made[None].matrix())


@pytest.mark.parametrize(
    ("basis_every", "changes"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6]), (7, [7]), ("infty", []), (None, [])]
)
def test_the_basis_changes_every_k_steps_and_the_matrix_stays(basis_every: Any, changes: list[int]) -> None:
    module = Orthogonal(5, basis_every, dtype=torch.float64)
    found = []
    for step in range(1, 8):
        move(module, step)
        before, base = module.matrix().detach().clone(), module.base.clone()
        module.after_step()
        torch.testing.assert_close(module.matrix().detach(), before, rtol=1e-13, atol=1e-13)
        if not torch.equal(module.base, base):
            found.append(step)
            assert not module.skew.any()
        else:
            assert module.skew.any()
    assert found == changes
    assert int(module.counters[1]) == len(changes)


def test_the_base_is_projected_every_hundredth_change() -> None:
    module = Orthogonal(5, 1, project_every=3, dtype=torch.float64)
    with torch.no_grad():
        module.base += 0.05
    for change in range(1, 4):
        off = distance(module.base)
        module.after_step()
        # Nearer by each change, and there with the projection.
        assert distance(module.base) < 0.5 * off
        assert (distance(module.base) < 1e-12) == (change == 3)
    assert Orthogonal(3).project_every == 100


def test_projection_is_the_nearest_orthogonal_matrix() -> None:
    """Newton's iteration for the polar factor, an independent way to it; a random rotation is farther away."""
    torch.manual_seed(3)
    matrix = torch.randn(6, 6, dtype=torch.float64)
    polar = matrix.clone()
    for _ in range(60):
        polar = 0.5 * (polar + torch.linalg.inv(polar).T)
    torch.testing.assert_close(nearest_orthogonal(matrix), polar, rtol=1e-9, atol=1e-9)
    for _ in range(20):
        other = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
        assert torch.dist(matrix, polar) < torch.dist(matrix, other)


@pytest.mark.parametrize("at_zero", [True, False])
def test_gradient_of_the_matrix_by_finite_differences(at_zero: bool) -> None:
    module = Orthogonal(5, "infty", dtype=torch.float64)
    if not at_zero:
        move(module, 4, scale=0.7)

    def matrix(a: Tensor) -> Tensor:
        return torch.func.functional_call(module, {"skew": a}, ())

    start = module.skew.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(matrix, (start,))
    assert torch.autograd.gradgradcheck(matrix, (start,))


def test_the_derivative_at_a_fresh_basis_is_that_of_the_exponential(exponentials: list[int]) -> None:
    """With A = 0 no exponential is computed; a hair beside it one is, and nothing else changes."""
    torch.manual_seed(5)
    module = Orthogonal(9, 1, dtype=torch.float64)
    cotangent = torch.randn(9, 9, dtype=torch.float64)
    gradients = []
    for beside in (0.0, 1e-13):
        with torch.no_grad():
            module.skew.fill_(beside)
        exponentials.clear()
        b = module.matrix()
        gradients.append(torch.autograd.grad((b * cotangent).sum(), module.skew)[0])
        # The second is the exponential of twice the size in the derivative; torch calls it elsewhere.
        assert exponentials == ([] if beside == 0.0 else [9])
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("basis_every", "expected"), [(1, [1] * 6), ("infty", [0, 1, 1, 1, 1, 1]), (None, [1] * 6)])
def test_one_exponential_a_step_and_none_between(
    basis_every: Any, expected: list[int], exponentials: list[int]
) -> None:
    torch.manual_seed(6)
    module = Orthogonal(6, basis_every)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    cotangent = torch.randn(6, 6)
    counts = []
    for _ in range(6):
        exponentials.clear()
        (module.matrix() * cotangent).sum().backward()
        optimizer.step()
        module.after_step()
        optimizer.zero_grad()
        counts.append(len(exponentials))
    assert counts == expected
    exponentials.clear()
    with torch.no_grad():
        for _ in range(5):
            module.matrix()
    assert len(exponentials) == (0 if basis_every == 1 else 1)


def change_in_place(module: Orthogonal) -> None:
    with torch.no_grad():
        module.skew.mul_(2.0)


def change_data(module: Orthogonal) -> None:
    module.skew.data.mul_(2.0)


def change_by_loading(module: Orthogonal) -> None:
    other = copy.deepcopy(module)
    change_data(other)
    module.load_state_dict(other.state_dict())


def change_by_assigning(module: Orthogonal) -> None:
    other = copy.deepcopy(module)
    change_data(other)
    module.load_state_dict(other.state_dict(), assign=True)


@pytest.mark.parametrize("change", [change_in_place, change_data, change_by_loading, change_by_assigning])
def test_no_stale_matrix(change: Any) -> None:
    module = Orthogonal(4, "infty", dtype=torch.float64)
    move(module, 7)
    with torch.no_grad():
        module.matrix()
        change(module)
        torch.testing.assert_close(module.matrix(), module.base @ exponential(skew(module)), rtol=1e-12, atol=1e-12)
        assert module.double().matrix().dtype == torch.float64
        assert module.float().matrix().dtype == torch.float32


def test_a_matrix_of_inference_mode_serves_autograd_later() -> None:
    module = Orthogonal(4, "infty")
    move(module, 8)
    with torch.inference_mode():
        module.matrix()
    module.requires_grad_(False)
    x = torch.ones(4, requires_grad=True)
    (module.matrix() @ x).sum().backward()
    assert x.grad is not None


def test_copies_pickles_and_folding_keep_the_matrix() -> None:
    module = Orthogonal(4, 5, dtype=torch.float64)
    move(module, 9)
    b = module.matrix().detach()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(other.matrix(), b, rtol=0.0, atol=0.0)
        assert len(orthogonal_parameters(other)) == 1
    fold(module)
    assert not module.skew.any()
    torch.testing.assert_close(module.base, b, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"basis_every": 0}, "`basis_every` must be an integer >= 1 or 'infty', got 0"),
        ({"basis_every": True}, "`basis_every` must be .*, got True"),
        ({"basis_every": "never"}, "`basis_every` must be .*, got 'never'"),
        ({"init": "haar"}, "`orthogonal_init` must be one of cayley, henaff, got 'haar'"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Orthogonal(3, **options)


def learn(module: Orthogonal, optimizer: torch.optim.Optimizer, target: Tensor) -> None:
    """Make a step towards a matrix."""
    optimizer.zero_grad(set_to_none=False)
    (module.matrix() - target).square().sum().backward()
    optimizer.step()
    module.after_step()


@pytest.mark.parametrize("basis_every", [1, 3, "infty", None])
def test_a_card_takes_the_steps_of_a_cpu_and_reads_nothing(basis_every: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for card in (False, True):
        if card:
            monkeypatch.setitem(ARITHMETIC, "cpu", OnCard())
        torch.manual_seed(11)
        module = Orthogonal(6, basis_every, project_every=2, dtype=torch.float64)
        target = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
        optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.5)
        learn(module, optimizer, target)  # makes the gradient and the state of the optimizer
        step = functools.partial(learn, module, optimizer, target)
        read = [reads(step, integers=True) for _ in range(7)]
        assert any(read) != card
        assert module.waits != card
        found.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
        # A step that a mask takes back was made in place, and an evaluation sees what changed last.
        with torch.no_grad():
            torch.testing.assert_close(module.matrix(), module.base @ exponential(skew(module)), rtol=1e-12, atol=1e-12)
    assert torch.equal(found[0]["counters"], found[1]["counters"])
    for name in ("skew", "base"):
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-11, atol=1e-11)


def test_on_a_card_no_number_can_be_read() -> None:
    """A tensor without numbers on a card that need not be there."""
    with FakeTensorMode():
        module = Orthogonal(5, 3, device="cuda")
        assert not module.waits
        module.after_step()
        with torch.enable_grad():
            assert module.matrix().shape == (5, 5)


@pytest.mark.parametrize("number", [2 * LARGEST_NORM, math.inf, math.nan])
def test_a_matrix_that_is_not_finite_does_not_become_the_basis_of_a_card(
    number: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARITHMETIC, "cpu", OnCard())
    module = Orthogonal(4, 1)
    base = module.base.clone()
    with torch.no_grad():
        module.skew[0] = number
    module.after_step()
    assert torch.equal(module.base, base)
    assert module.counters.tolist() == [1, 0]
    assert module.matrix().isnan().any()


@pytest.mark.parametrize("steps", [300, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("basis_every", "card"),
    [
        *((every, False) for every in (1, 7, "infty", None)),
        (1, True),
        # Without a change of the basis, or between two, it is the exponential alone.
        *(pytest.param(every, True, marks=pytest.mark.slow) for every in (7, "infty", None)),
    ],
)
def test_stays_orthogonal(basis_every: Any, steps: int, card: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """RMSprop in float32 on a loss whose minimum is another orthogonal matrix, which moves on."""
    if card:
        monkeypatch.setitem(ARITHMETIC, "cpu", OnCard())
    torch.manual_seed(10)
    module = Orthogonal(16, basis_every)
    optimizer = torch.optim.RMSprop(module.parameters(), lr=3e-3)
    worst = 0.0
    for step in range(steps):
        if step % 100 == 0:
            target = torch.linalg.qr(torch.randn(16, 16))[0]
        learn(module, optimizer, target)
        if step % 10 == 9 or step > steps - 5:
            worst = max(worst, distance(module.matrix().detach()))
    assert worst <= 1e-5
