"""Derivatives of every sort, against those of the reference recurrence in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from layer_inputs import DYNAMIC, flat, random
from torch import Tensor, nn
from torch.autograd import forward_ad

from momentum_cli import GRU, LSTM, RNN, OrthogonalRNN
from momentum_cli.kernels import BACKENDS
from momentum_cli.layers.recurrent import RecurrentLayer

# torch.func uses torch.jit.script, which warns that it is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "orthogonal": OrthogonalRNN}
OTHERS = ["fused", "native"]


def build(kind: str, dynamics: str, backend: str, **options: Any) -> RecurrentLayer:
    torch.manual_seed(0)
    layer: RecurrentLayer = LAYERS[kind](3, 4, dynamics=DYNAMIC[dynamics], dtype=torch.float64, **options)
    if backend != "auto" and BACKENDS[backend].supports(layer.work(torch.device("cpu"), torch.float64)) is not None:
        pytest.skip(f"{backend} does not serve this layer")
    layer.backend = backend
    return layer


def second(layer: RecurrentLayer, x: Tensor, state: Any, lengths: Tensor | None) -> list[Tensor]:
    """Return the gradient of a gradient penalty: by the input, the state and every parameter."""
    output, after = layer.run_padded(x, state, lengths)
    energy = output.sin().sum() + sum(s.pow(2).sum() for s in flat(after) if s.is_floating_point())
    sources = [x, *(s for s in state or () if s.is_floating_point()), *layer.parameters()]
    first = torch.autograd.grad(energy, sources, create_graph=True)
    penalty = torch.stack([gradient.pow(2).sum() for gradient in first]).sum() + energy
    return [*first, *torch.autograd.grad(penalty, sources)]


@pytest.mark.parametrize(
    ("ragged", "started"),
    [(True, True), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((False, False), (True, False)))],
)
@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_second_derivatives(kind: str, dynamics: str, backend: str, ragged: bool, started: bool) -> None:
    layer = build(kind, dynamics, backend, num_layers=2, bidirectional=True)
    x = random(6, 3, 3).requires_grad_()
    lengths = torch.tensor([6, 2, 5]) if ragged else None
    state = None
    if started:
        zeros = layer.zero_tensors(3)
        state = tuple(random(*s.shape, seed=i).abs().requires_grad_() if s.is_floating_point() else s
                      for i, s in enumerate(zeros))  # fmt: skip
    got = second(layer, x, state, lengths)
    layer.backend = "reference"
    for one, other in zip(got, second(layer, x, state, lengths), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_second_derivatives_where_one_input_is_made_of_another() -> None:
    layer = build("lstm", "adam", "fused")

    def twice() -> list[Tensor]:
        x = random(5, 2, 3).requires_grad_()
        h = x.mean(0).repeat(1, 2)[:, :4].unsqueeze(0)
        state = (h, h * 2, *layer.zero_tensors(2)[2:])
        (first,) = torch.autograd.grad(layer(x, state)[0].pow(2).sum(), x, create_graph=True)
        return [first, *torch.autograd.grad(first.pow(2).sum(), [x, *layer.parameters()])]

    got = twice()
    layer.backend = "reference"
    for one, other in zip(got, twice(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


TRANSFORMS: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor], Any]] = {
    "grad": lambda f, x: torch.func.grad(lambda v: f(v).pow(2).sum())(x),
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),))[1],
    "jacfwd": lambda f, x: torch.func.jacfwd(f)(x),
    "jacrev": lambda f, x: torch.func.jacrev(f)(x),
    "hessian": lambda f, x: torch.func.hessian(lambda v: f(v).pow(2).sum())(x),
    "vmap": lambda f, x: torch.func.vmap(f)(torch.stack([x, 2 * x])),
}


def by_autograd(name: str, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the same by torch.autograd, one number at a time."""
    if name == "vmap":
        return torch.stack([f(x), f(2 * x)])
    if name == "hessian":
        return torch.autograd.functional.hessian(lambda v: f(v).pow(2).sum(), x)  # type: ignore[no-untyped-call]
    if name == "grad":
        v = x.clone().requires_grad_()
        return torch.autograd.grad(f(v).pow(2).sum(), v)[0]
    jacobian = torch.autograd.functional.jacobian(f, x)  # type: ignore[no-untyped-call]
    return jacobian.sum((3, 4, 5)) if name == "jvp" else jacobian


@pytest.mark.parametrize(
    "transform", [pytest.param(name, marks=pytest.mark.slow) if name == "hessian" else name for name in TRANSFORMS]
)
@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_transforms_of_torch_func_over_the_input(kind: str, dynamics: str, transform: str) -> None:
    layer = build(kind, dynamics, "auto")
    x = random(5, 2, 3)
    reference = build(kind, dynamics, "reference")
    expected = by_autograd(transform, lambda v: reference(v)[0], x)
    got = TRANSFORMS[transform](lambda v: layer(v)[0], x)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)


# Enough steps and rows that the kernel would be taken.
def test_forward_mode_is_right_where_the_kernel_would_be_taken() -> None:
    layer = build("lstm", "momentum", "auto")
    x = random(60, 8, 3)
    layer(x.clone().requires_grad_())
    assert layer.chosen_backend == "fused"
    v = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(layer(v)[0].sum(), v)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, torch.ones_like(x)))[0]).tangent
    assert tangent is not None
    torch.testing.assert_close(tangent.sum(), gradient.sum())
    moved = torch.func.jvp(lambda w: layer(w)[0].sum(), (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(moved, gradient.sum())


@pytest.mark.parametrize("backend", OTHERS)
def test_a_backend_without_transforms_says_which_one_has_them(backend: str) -> None:
    layer = build("lstm", "momentum", backend)
    for transform in TRANSFORMS.values():
        with pytest.raises(ValueError, match="give the layer backend='reference' or 'auto'"):
            transform(lambda v: layer(v)[0], random(5, 2, 3))


@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_of_each_sample_by_every_parameter(kind: str, dynamics: str) -> None:
    """Per-sample gradients with functional_call, vmap and grad, as the documentation of torch.func writes them."""
    layer = build(kind, dynamics, "auto")
    named = {name: value.detach() for name, value in layer.named_parameters()}
    xs = random(4, 5, 3)

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        output: Tensor = torch.func.functional_call(layer, parameters, (x.unsqueeze(1),))[0]
        return output.pow(2).sum()

    got = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(named, xs)
    for row, x in enumerate(xs):
        layer.zero_grad()
        layer(x.unsqueeze(1))[0].pow(2).sum().backward()
        for name, parameter in layer.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(got[name][row], parameter.grad, rtol=1e-9, atol=1e-11)


class Halved:
    """What activation compression does: keep tensors in half precision, and return them so."""

    def __enter__(self) -> Halved:
        self.hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda t: t.half() if t.is_floating_point() else t, lambda t: t
        )
        self.hooks.__enter__()
        return self

    def __exit__(self, *given: object) -> None:
        self.hooks.__exit__(*given)


@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_saved_tensors_that_come_back_in_another_dtype_are_refused(kind: str, dynamics: str) -> None:
    layer = build(kind, dynamics, "fused").float()
    x = random(60, 8, 3).float().requires_grad_()
    with Halved():
        output, _ = layer(x)
    # An error that names a tensor; other nodes of the graph, which are torch's, say it in torch's words.
    with pytest.raises((ValueError, RuntimeError), match=r"dtype|`\w+` must be .*torch\.float|Half"):
        output.sum().backward()


@pytest.mark.parametrize("dynamics", DYNAMIC)
def test_saved_tensors_may_be_rounded_on_the_way(dynamics: str) -> None:
    layer = build("lstm", dynamics, "fused").float()
    x = random(60, 8, 3).float().requires_grad_()
    (right,) = torch.autograd.grad(layer(x)[0].sum(), x)

    def rounded(t: Tensor) -> Tensor:
        return t.bfloat16().float() if t.dtype == torch.float32 else t

    with torch.autograd.graph.saved_tensors_hooks(rounded, rounded):
        output, _ = layer(x)
    (got,) = torch.autograd.grad(output.sum(), x)
    torch.testing.assert_close(got, right, rtol=0.1, atol=0.05)


def test_the_gradient_penalty_of_the_documentation_trains() -> None:
    torch.manual_seed(0)
    layer, head = LSTM(3, 8), nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], 0.01)
    x = random(60, 8, 3).float()
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        v = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(head(layer(v)[0][-1]).sum(), v, create_graph=True)
        loss = (gradient.norm() - 1).pow(2)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
