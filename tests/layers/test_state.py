"""The state that a layer returns: torch.nn's where that is all, else an object that unpacks as it and carries more."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from layer_inputs import DYNAMIC, as_scripted, flat, random
from torch import Tensor, nn

from momentum_cli import GRU, LSTM, RNN, Adam, CoupledLSTM, HeavyBall, Identity, Nesterov, OrthogonalRNN, RecurrentState

LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "orthogonal": OrthogonalRNN}
STEPS, BATCH = 9, 4


def build(kind: str, dynamics: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return LAYERS[kind](3, 5, dynamics=DYNAMIC[dynamics], backend="reference", dtype=torch.float64, **options)


def plain() -> LSTM:
    torch.manual_seed(0)
    return LSTM(3, 5, dynamics=Identity(), backend="reference", dtype=torch.float64)


def continued(layer: Any, change: Any) -> tuple[Tensor, Tensor]:
    """Return the end of a sequence run whole, and run from a state that went through ``change``."""
    x = random(STEPS, BATCH, 3)
    state = layer(x[:4])[1]
    return layer(x)[0][4:], layer(x[4:], change(state))[0]


@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_the_structure_is_that_of_torch_wherever_it_can_be(kind: str, dynamics: str) -> None:
    layer = build(kind, dynamics, num_layers=2, bidirectional=True)
    for state in (layer(random(STEPS, BATCH, 3))[1], layer.zero_state(BATCH), layer.run_padded(random(2, BATCH, 3))[1]):
        if dynamics != "identity":
            assert isinstance(state, RecurrentState)
            assert state.names == layer.state_names
            assert state.h.shape == (4, BATCH, 5)
            assert [state.h, *state.more] == list(state.tensors) if kind != "lstm" else state.more == state.tensors[2:]
        elif kind != "lstm":
            assert isinstance(state, Tensor)
        if kind == "lstm":
            h, c = state
            assert h.shape == c.shape == (4, BATCH, 5)
            assert state[0] is h
            assert state[-1] is c
            assert len(state) == 2
            assert type(state) is (tuple if dynamics == "identity" else RecurrentState)


def saved(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


CHANGES: dict[str, Any] = {
    "itself": lambda state: state,
    "flat tuple": flat,
    "flat list": lambda state: list(flat(state)),
    "deepcopy": lambda state: copy.deepcopy(torch.utils._pytree.tree_map(torch.detach, state)),
    "pickle": lambda state: pickle.loads(pickle.dumps(state)),
    "torch.save": saved,
    "tree": lambda state: torch.utils._pytree.tree_map(torch.clone, state),
}
OBJECT: dict[str, Any] = {
    "detach": RecurrentState.detach,
    "clone": RecurrentState.clone,
    "cpu": RecurrentState.cpu,
    "to": lambda state: state.to(torch.float16).to("cpu", torch.float64),  # its values are halves
    "map": lambda state: state.map(lambda tensor: tensor[:, [0, 2, 1, 3]]).map(lambda tensor: tensor[:, [0, 2, 1, 3]]),
    "replace": lambda state: RecurrentState(
        tuple(map(torch.zeros_like, state.tensors)), state.names, state.seen
    ).replace(**dict(zip(state.names, state.tensors, strict=True))),
}


@pytest.mark.parametrize("change", [*CHANGES, *OBJECT])
@pytest.mark.parametrize("dynamics", ["identity", "nesterov", "adam"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_what_is_done_to_a_state_keeps_all_of_it(kind: str, dynamics: str, change: str) -> None:
    layer = build(kind, dynamics, num_layers=2)
    if change in OBJECT and dynamics == "identity":
        pytest.skip("torch's own structure")
    if change == "to":
        halves = layer(random(STEPS, BATCH, 3))[1].map(lambda s: s.half().double() if s.is_floating_point() else s)
        for one, other in zip(halves.tensors, OBJECT["to"](halves).tensors, strict=True):
            assert torch.equal(one, other)
            assert one.dtype == other.dtype
        return
    whole, rest = continued(layer, {**CHANGES, **OBJECT}[change])
    torch.testing.assert_close(rest, whole, rtol=1e-9, atol=1e-11)


def test_a_detached_state_has_no_graph_and_the_layer_keeps_its_own() -> None:
    layer = build("lstm", "adam")
    state = layer(random(STEPS, BATCH, 3))[1]
    assert all(tensor.requires_grad for tensor in state.tensors)
    assert not any(tensor.requires_grad for tensor in state.detach().tensors)
    assert all(tensor.requires_grad for tensor in state.tensors)


@pytest.mark.parametrize(
    ("layer", "given", "message"),
    [
        (LSTM(3, 5), tuple, r"3 tensors \(h, c, velocity_l0\), got 2 tensors.*replace\(h=h, c=c\)"),
        (GRU(3, 5), lambda s: s.h, r"2 tensors \(h, velocity_l0\), got 1 tensor; .*replace\(h=h\)"),
        (LSTM(3, 5, dynamics=Identity()), lambda s: s[0], r"2 tensors \(h, c\), got 1 tensor; pass on"),
        (GRU(3, 5, dynamics=Identity()), lambda s: (s, s), r"1 tensors \(h\), got 2 tensors"),
        (LSTM(3, 5), lambda s: GRU(3, 5)(torch.zeros(2, 1, 3))[1], "tensors h, c, velocity_l0, got one with h, vel"),
        (LSTM(3, 5), lambda s: {"h": s.h}, "got a dict"),
        (LSTM(3, 5, dynamics=Identity()), lambda s: (s, None), "must be tensors.*got a tuple"),
        (CoupledLSTM(3, 5), tuple, r"4 tensors \(h, c, p, k\), got 2 tensors"),
    ],
)
def test_a_part_of_a_state_is_refused_with_what_to_do(layer: Any, given: Any, message: str) -> None:
    x = torch.zeros(2, 1, 3)
    with pytest.raises(ValueError, match=message):
        layer(x, given(layer(x)[1]))


def test_h_and_c_alone_begin_a_sequence_by_replace() -> None:
    layer = build("lstm", "momentum")
    h, c = random(2, 1, BATCH, 5)
    begun = layer.zero_state(BATCH).replace(h=h, c=c)
    assert torch.equal(begun.h, h)
    assert not begun.velocity_l0.any()
    assert not torch.equal(layer(random(2, BATCH, 3), begun)[0], layer(random(2, BATCH, 3))[0])
    with pytest.raises(ValueError, match="must be one of h, c, velocity_l0, got 'v'"):
        begun.replace(v=h)


def test_a_state_of_one_tensor_neither_unpacks_nor_has_items() -> None:
    state = build("gru", "momentum")(random(2, BATCH, 3))[1]
    for misuse in (lambda: state[-1], lambda: list(state), lambda: len(state), lambda: tuple(state)):
        with pytest.raises(TypeError, match=r"read by name: state\.h"):
            misuse()
    with pytest.raises(AttributeError, match="tensors h, velocity_l0, got the attribute 'squeeze'"):
        state.squeeze(0)
    with pytest.raises(IndexError, match=r"be below 2, got 2; .*state\.velocity_l0"):
        build("lstm", "momentum")(random(2, BATCH, 3))[1][2]


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_several_states_are_gathered_flat(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `nn.DataParallel` does with dim=1; the object itself it would take apart, which is refused."""
    from torch.nn.parallel import scatter_gather

    monkeypatch.setattr(scatter_gather.Gather, "apply", lambda _device, dim, *parts: torch.cat(parts, dim))
    layer, x = build(kind, "nesterov"), random(STEPS, BATCH, 3)
    parts = [layer(half)[1] for half in x.split(2, 1)]
    together = scatter_gather.gather([part.tensors for part in parts], "cpu", dim=1)
    for one, other in zip(together, layer(x)[1].tensors, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    with pytest.raises(TypeError, match=r"state\.tensors|state\.h"):
        scatter_gather.gather(parts, "cpu", dim=1)


class Chunks(nn.Module):
    """A user's module that carries the state itself and reads h by name."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, state = self.layer(x[:4])
        second, state = self.layer(x[4:], state)
        return torch.cat([first, second]), state.h


class Pair(nn.Module):
    """A user's module written for torch.nn.LSTM."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, (h, c) = self.layer(x[:4])
        second, (h, c) = self.layer(x[4:], (h, c))
        return torch.cat([first, second]), h


@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore:Dynamo detected")
@pytest.mark.parametrize("way", ["script", "export", "compile"])
@pytest.mark.parametrize(
    ("user", "layer"),
    [(Chunks, lambda: build("lstm", "nesterov")), (Chunks, lambda: build("gru", "adam")), (Pair, plain)],
    ids=["lstm", "gru", "torch"],
)
def test_a_users_module_with_a_state_is_scripted_exported_and_compiled(user: Any, layer: Any, way: str) -> None:
    module, x = user(layer()), random(STEPS, BATCH, 3)
    expected = module(x)
    if way == "script":
        other: Any = torch.jit.script(module)
    elif way == "export":
        other = torch.export.export(module, (x,)).module()
    else:
        other = torch.compile(module, backend="eager")
    with torch.no_grad():
        for one, right in zip(other(x), expected, strict=True):
            torch.testing.assert_close(one, right, rtol=1e-9, atol=1e-11)


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # by torch 2.11, which reads the file
def test_an_exported_layer_takes_and_returns_the_state_object() -> None:
    layer, x = build("lstm", "nesterov"), random(STEPS, BATCH, 3)
    program = torch.export.export(layer, (x[:4], layer.zero_state(BATCH)))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    state = torch.export.load(file).module()(x[:4], layer.zero_state(BATCH))[1]
    assert isinstance(state, RecurrentState)
    torch.testing.assert_close(layer(x[4:], state)[0], layer(x)[0][4:], rtol=1e-9, atol=1e-11)


def test_transforms_map_over_a_state() -> None:
    layer, x = build("lstm", "momentum"), random(STEPS, BATCH, 3)
    state = layer(x)[1]
    stacked = state.map(lambda tensor: torch.stack([tensor, tensor * 2]))
    got = torch.func.vmap(lambda s: layer(x, s)[0])(stacked)
    torch.testing.assert_close(got[1], layer(x, state.map(lambda tensor: tensor * 2))[0])


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_scripted_state_continues_in_script() -> None:
    layer = CoupledLSTM(3, 5, dtype=torch.float64)
    scripted, x = torch.jit.script(layer), random(STEPS, BATCH, 3)
    for state in (scripted(x[:4])[1], as_scripted(layer(x[:4])[1])):
        torch.testing.assert_close(scripted(x[4:], state)[0], layer(x)[0][4:], rtol=1e-9, atol=1e-11)


def test_the_text_of_a_state_is_short() -> None:
    assert repr(LSTM(3, 5, dynamics=HeavyBall()).zero_state(2)) == (
        "RecurrentState(h=(1, 2, 5), c=(1, 2, 5), velocity_l0=(1, 2, 4))"
    )
    assert isinstance(LSTM(3, 5, dynamics=Adam()).zero_state(), RecurrentState)
    assert GRU(3, 5, dynamics=Nesterov()).zero_state().h.shape == (1, 5)
