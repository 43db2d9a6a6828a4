"""The page docs/drop-in.md: every row of its tables is checked by the function registered under its first cell."""

from __future__ import annotations

import copy
import io
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from layer_inputs import flat, random
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import pack_sequence

from momentum_cli import GRU, LSTM, RNN, Adam, HeavyBall, Identity, Nesterov, RecurrentState

PAGE = Path(__file__).parents[2] / "docs" / "drop-in.md"
PAIRS: list[tuple[Any, Any]] = [(LSTM, nn.LSTM), (GRU, nn.GRU), (RNN, nn.RNN)]
DYNAMICS = [HeavyBall(0.6), Nesterov(), Adam(eps=1e-6)]
CHECKS: dict[str, Callable[[], None]] = {}
X = random(6, 4, 3)


def row(cell: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(check: Callable[[], None]) -> Callable[[], None]:
        assert cell not in CHECKS
        CHECKS[cell] = check
        return check

    return register


def twins(ours: Any, theirs: Any, *args: Any, **options: Any) -> tuple[Any, Any]:
    """The same layer here, with Identity, and in torch.nn."""
    torch.manual_seed(0)
    right = theirs(*(args or (3, 5)), dtype=torch.float64, **options)
    mine = ours(*(args or (3, 5)), dtype=torch.float64, dynamics=Identity(), **options)
    mine.load_state_dict(right.state_dict())
    return mine, right


def momentum(kind: Any = LSTM, **options: Any) -> Any:
    torch.manual_seed(0)
    return kind(3, 5, dtype=torch.float64, dynamics=HeavyBall(0.6), **options)


def close(one: Any, other: Any) -> None:
    for left, right in zip(flat(one), flat(other), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-11)


def test_every_row_of_the_page_has_its_check() -> None:
    cells = re.findall(r"^\| (.+?) \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    rows = [cell for cell in cells if not cell.startswith(("|", "---"))]
    assert rows == list(CHECKS)


@row("names, shapes and gate order of the parameters")
def check_parameters() -> None:
    for ours, theirs in PAIRS:
        for dynamics in DYNAMICS:
            right, mine = theirs(3, 5, 2, bidirectional=True), ours(3, 5, 2, bidirectional=True, dynamics=dynamics)
            assert [(n, p.shape) for n, p in right.named_parameters()] == [
                (n, p.shape) for n, p in mine.named_parameters()
            ]
            mine.load_state_dict(right.state_dict())
            right.load_state_dict(mine.state_dict())


@row("outputs, states and gradients")
def check_values() -> None:
    for ours, theirs in PAIRS:
        mine, right = twins(ours, theirs, num_layers=2)
        close(mine(X), right(X))
        gradients = [torch.autograd.grad(m(X)[0].square().sum(), list(m.parameters())) for m in (mine, right)]
        close(*gradients)


@row("`output, (h, c) = layer(x)`")
def check_pair() -> None:
    for dynamics in (Identity(), *DYNAMICS):
        layer = LSTM(3, 5, dynamics=dynamics, dtype=torch.float64)
        output, (h, c) = layer(X)
        close(h[-1], output[-1])
        assert c.shape == h.shape == (1, 4, 5)
    assert type(twins(LSTM, nn.LSTM)[0](X)[1]) is tuple


@row("`output, h = layer(x)` of a GRU or RNN")
def check_tensor() -> None:
    for ours, theirs in PAIRS[1:]:
        mine, right = twins(ours, theirs)
        output, h = mine(X)
        close(h, right(X)[1])
        assert isinstance(h, torch.Tensor)
        output, state = momentum(ours)(X)
        close(state.h[-1], output[-1])


@row("`layer(x, (h0, c0))`, `layer(x, h0)`, `hx=`")
def check_start() -> None:
    h, c = random(2, 1, 4, 5)
    for ours, theirs in PAIRS:
        mine, right = twins(ours, theirs)
        start = (h, c) if ours is LSTM else h
        close(mine(X, start), right(X, start))
        close(mine(input=X, hx=start), right(input=X, hx=start))


@row("order of positional options")
def check_order() -> None:
    mine, right = (
        LSTM(3, 5, 2, False, True, 0.5, True, 4, "cpu", torch.float64, dynamics=Identity()),
        nn.LSTM(3, 5, 2, False, True, 0.5, True, 4, "cpu", torch.float64),
    )
    names = ("num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size")
    assert [getattr(mine, n) for n in names] == [getattr(right, n) for n in names] == [2, False, True, 0.5, True, 4]
    mine.load_state_dict(right.state_dict())
    assert [p.dtype for p in mine.parameters()] == [p.dtype for p in right.parameters()]
    pairs: list[Any] = [
        (GRU(3, 5, 2, False, True, 0.5, True), nn.GRU(3, 5, 2, False, True, 0.5, True)),
        (RNN(3, 5, 2, "relu", False, True, 0.5, True), nn.RNN(3, 5, 2, "relu", False, True, 0.5, True)),
    ]
    for one, other in pairs:
        assert [getattr(one, n) for n in names] == [getattr(other, n) for n in names] == [2, False, True, 0.5, True, 0]
    assert pairs[1][0].nonlinearity == pairs[1][1].nonlinearity == "relu"


@row("`proj_size` of an LSTM")
def check_projection() -> None:
    for backend in ("reference", "native"):
        mine, right = twins(LSTM, nn.LSTM, proj_size=2, num_layers=2)
        mine.backend = backend
        close(mine(X), right(X))
        layer = momentum(proj_size=2)
        first, state = layer(X[:2])
        close(torch.cat([first, layer(X[2:], state)[0]]), layer(X)[0])
    with pytest.raises(ValueError, match="these can: reference"):
        LSTM(3, 5, proj_size=2, dynamics=Adam(), dtype=torch.float64, backend="native")(X)


@row("packed sequences")
def check_packed() -> None:
    packed = pack_sequence([X[:2, 0], X[:, 1], X[:3, 2]], enforce_sorted=False)
    for ours, theirs in PAIRS:
        mine, right = twins(ours, theirs)
        close(mine(packed)[0].data, right(packed)[0].data)
        close(mine(packed)[1], right(packed)[1])
        layer = momentum(ours)
        close(layer(packed)[1].h[:, 1], layer(X)[1].h[:, 1])


@row("unbatched input, `batch_first`, both directions, dropout between layers")
def check_forms() -> None:
    for ours, theirs in PAIRS:
        mine, right = twins(ours, theirs, num_layers=2, bidirectional=True, batch_first=True, dropout=1.0)
        close(mine(X.transpose(0, 1)), right(X.transpose(0, 1)))
        close(mine.eval()(X[:, 0]), right.eval()(X[:, 0]))
        layer = momentum(ours, num_layers=2, bidirectional=True, batch_first=True, dropout=0.5).eval()
        close(layer(X.transpose(0, 1))[0][0], layer(X[:, 0])[0])


@row("`flatten_parameters()`, `all_weights`, `_flat_weights`, `mode`, `nonlinearity`")
def check_names() -> None:
    for ours, theirs, own in [(*pair, {}) for pair in PAIRS] + [(RNN, nn.RNN, {"nonlinearity": "relu"})]:
        for options in ({}, {"num_layers": 2, "bidirectional": True, "bias": False}):
            mine, right = twins(ours, theirs, **own, **options)
            assert mine.flatten_parameters() is None
            close(mine.all_weights, right.all_weights)
            assert list(map(len, mine.all_weights)) == list(map(len, right.all_weights))
            close(mine._flat_weights, right._flat_weights)
            assert mine._flat_weights_names == right._flat_weights_names
            assert mine.mode == right.mode
            assert getattr(mine, "nonlinearity", None) == getattr(right, "nonlinearity", None)
    mine, right = twins(LSTM, nn.LSTM, proj_size=2)
    assert mine._flat_weights_names == right._flat_weights_names


@row("copies, pickles, `torch.save`, `.to(…)`, hooks")
def check_copies() -> None:
    layer, file = momentum(), io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(file, weights_only=False)):
        close(other(X), layer(X))
    assert layer.to(torch.float32)(X.float())[0].dtype == torch.float32
    seen: list[Any] = []
    layer.register_forward_hook(lambda _module, inputs, output: seen.append((inputs, output)))
    layer(X.float())
    assert isinstance(seen[0][1][1], RecurrentState)


@row('`device="meta"`, `torch.nn.utils.skip_init`')
def check_meta() -> None:
    for ours, _ in PAIRS:
        assert ours(3, 5, device="meta")(torch.empty(6, 4, 3, device="meta"))[0].shape == (6, 4, 5)
        assert nn.utils.skip_init(ours, 3, 5)(X.float())[0].shape == (6, 4, 5)


@row("weights that are tensors: parametrizations, pruning, `functional_call`, hypernetworks")
def check_tensors() -> None:
    for backend in ("reference", "native", "fused"):
        layer = momentum()
        layer.backend = backend
        right = layer(X)[0]
        doubled = {name: p * 2 for name, p in layer.named_parameters()}
        assert not torch.equal(torch.func.functional_call(layer, doubled, (X,))[0], right)
        close(parametrizations.weight_norm(copy.deepcopy(layer), "weight_hh_l0")(X)[0], right)
        prune.random_unstructured(layer, "weight_ih_l0", amount=0.0)
        close(layer(X)[0], right)
        weight = layer.weight_hh_l0
        del layer.weight_hh_l0
        layer.weight_hh_l0 = weight * 1.0
        close(layer(X)[0], right)


@row("a NaN or an infinity at a step leaves earlier outputs as they are")
def check_causality() -> None:
    for bad in (float("nan"), float("inf")):
        spoiled = X.clone()
        spoiled[3] = bad
        for dynamics in (Identity(), *DYNAMICS):
            layer = LSTM(3, 5, dynamics=dynamics, dtype=torch.float64)
            close(layer(spoiled)[0][:3], layer(X)[0][:3])


@row("`torch.jit.script`")
def check_script() -> None:
    for ours, theirs in PAIRS:
        mine, right = twins(ours, theirs)
        close(torch.jit.script(mine)(X), right(X))
    layer = momentum()
    state = torch.jit.script(layer)(X)[1]
    close((state.h, state.c, state.more), layer(X)[1])


@row("state of a layer with momentum")
def check_state() -> None:
    for dynamics in DYNAMICS:
        layer = LSTM(3, 5, dynamics=dynamics, dtype=torch.float64)
        first, state = layer(X[:2])
        assert isinstance(state, RecurrentState)
        assert all(getattr(state, name) is tensor for name, tensor in zip(state.names, state.tensors, strict=True))
        close(torch.cat([first, layer(X[2:], state)[0]]), layer(X)[0])


@row("only `(h, c)` given to a layer with momentum")
def check_refusal() -> None:
    layer = momentum()
    _, (h, c) = layer(X)
    with pytest.raises(ValueError, match="replace"):
        layer(X, (h, c))
    close(layer(X, layer.zero_state(4).replace(h=h * 0, c=c * 0)), layer(X))


@row("state of a GRU or RNN with momentum")
def check_single() -> None:
    for ours, _ in PAIRS[1:]:
        output, state = momentum(ours)(X)
        with pytest.raises(TypeError, match=r"state\.h"):
            _ = state[-1]
        close(state.h[-1], output[-1])


@row("truncated back-propagation")
def check_detach() -> None:
    state = momentum()(X)[1]
    assert state.detach().h.grad_fn is None
    for same in (state.clone(), state.to("cpu"), state.map(lambda tensor: tensor + 0)):
        close(same, state)
    assert len(torch.utils._pytree.tree_leaves(state)) == 3


@row("`nn.DataParallel` around a layer that returns its state")
def check_parallel() -> None:
    layer = momentum()
    parts = [layer(part)[1] for part in X.split(2, 1)]
    gathered = tuple(torch.cat(together, 1) for together in zip(*(part.tensors for part in parts), strict=True))
    close(layer(X, gathered), layer(X, layer(X)[1]))
    with pytest.raises(TypeError, match=r"state\.tensors"):
        type(parts[0])(map(torch.cat, zip(*parts, strict=True)))  # as nn.DataParallel does


@row("state in another dtype than the parameters")
def check_dtype() -> None:
    h = torch.zeros(1, 4, 5)
    mine, right = twins(GRU, nn.GRU)
    with pytest.raises(ValueError, match="float64"):
        mine(X, h)
    with pytest.raises((RuntimeError, ValueError)):
        right(X, h)
    single = mine.float()
    with torch.autocast("cpu", torch.bfloat16):
        single(X.float(), h.bfloat16())


@row("wrong sizes of input or state")
def check_sizes() -> None:
    mine, right = twins(GRU, nn.GRU)
    for arguments in ((X[:, :, :2],), (X, torch.zeros(1, 3, 5, dtype=torch.float64))):
        with pytest.raises(ValueError, match="must have"):
            mine(*arguments)
        with pytest.raises(RuntimeError):
            right(*arguments)


@row("dropout with one layer")
def check_dropout() -> None:
    with pytest.warns(UserWarning, match="dropout"):
        nn.LSTM(3, 5, dropout=0.5)
    with pytest.raises(ValueError, match="between layers"):
        LSTM(3, 5, dropout=0.5)


@row("padded sequences")
def check_padded() -> None:
    layer, lengths = momentum(), torch.tensor([6, 0, 2, 1], dtype=torch.int16)
    output, state = layer.run_padded(X, layer.zero_state(4), lengths)
    close(output[:2, 2], layer(X[:2])[0][:, 2])
    assert not output[2:, 2].any()
    assert not any(tensor[:, 1].any() for tensor in flat(state))
    with pytest.raises(RuntimeError):
        nn.utils.rnn.pack_padded_sequence(X, lengths.long(), enforce_sorted=False)


@row("`proj_size` on the backend `fused` or `triton`")
def check_projection_refused() -> None:
    for backend in ("fused", "triton"):
        with pytest.raises(ValueError, match="cannot run this"):
            momentum(proj_size=2, backend=backend)(X)
    layer = momentum(proj_size=2)
    layer(X)
    assert layer.chosen_backend == "native"


@row("second derivatives (gradient penalties)")
def check_second() -> None:
    results = []
    for backend in ("reference", "native", "fused"):
        layer, x = momentum(), X.clone().requires_grad_()
        layer.backend = backend
        (first,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
        results.append(torch.autograd.grad(first.square().sum(), list(layer.parameters())))
    close(results[1], results[0])
    close(results[2], results[0])


@row("`torch.func` (grad, jvp, vmap, hessian, …), forward mode")
def check_transforms() -> None:
    layer = momentum()
    tangent = torch.func.jvp(lambda x: layer(x)[0].sum(), (X,), (torch.ones_like(X),))[1]
    (gradient,) = torch.autograd.grad(layer(x := X.clone().requires_grad_())[0].sum(), x)
    close(tangent, gradient.sum())
    close(torch.func.vmap(lambda x: layer(x)[0])(torch.stack([X, X * 2]))[1], layer(X * 2)[0])
    with pytest.raises(ValueError, match="'reference' or 'auto'"):
        torch.func.jvp(lambda x: momentum(backend="native")(x)[0], (X,), (X,))


@row("`torch.compile`")
def check_compile() -> None:
    layer = momentum()
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="eager")
    close(compiled(X), layer(X))
    close(compiled(X[:4, :3]), layer(X[:4, :3]))


@row("`torch.export` with free T and B")
def check_export() -> None:
    layer, sizes = momentum(), {0: torch.export.Dim("T", max=1000), 1: torch.export.Dim("B", max=100)}
    program = torch.export.export(layer, (X,), dynamic_shapes=(sizes,)).module()
    for x in (X, random(9, 2, 3)):
        close(program(x), layer(x))


@row("`torch.jit.trace`")
def check_trace() -> None:
    with pytest.raises(Exception, match="script"):
        torch.jit.trace(momentum(), (X,))


@row("`torch.ao.quantization.quantize_dynamic`")
def check_quantization() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TypeError, match="--quantize int8"):
            torch.ao.quantization.quantize_dynamic(nn.Sequential(momentum().float()), {LSTM})
    with pytest.warns(UserWarning, match="stays in float32"):
        torch.ao.quantization.quantize_dynamic(nn.Sequential(momentum().float()))


@pytest.mark.filterwarnings(
    "ignore:`torch.jit", "ignore:torch.ao.quantization", "ignore:Dynamo detected", "ignore::torch.jit.TracerWarning"
)
@pytest.mark.parametrize("cell", CHECKS)
def test_the_row_is_true(cell: str) -> None:
    CHECKS[cell]()
