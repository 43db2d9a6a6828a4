"""Lengths of padded sequences: any integer dtype, 0 to T; anything else is refused before a backend sees it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from layer_inputs import DYNAMIC, as_scripted, flat, random
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from momentum_cli import GRU, LSTM, RNN, Identity, OrthogonalRNN
from momentum_cli.kernels import BACKENDS
from momentum_cli.layers.recurrent import RecurrentLayer

LAYERS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": RNN, "orthogonal": OrthogonalRNN}
BACKEND_NAMES = ["auto", "reference", "native", "fused"]
STEPS, BATCH = 12, 8
LENGTHS = torch.tensor([3, 12, 1, 7, 7, 2, 11, 5])
WITH_EMPTY = torch.tensor([3, 0, 12, 7, 0, 2, 11, 5])


def build(kind: str, dynamics: str, backend: str, **options: Any) -> RecurrentLayer:
    torch.manual_seed(0)
    layer: RecurrentLayer = LAYERS[kind](5, 7, dynamics=DYNAMIC[dynamics], dtype=torch.float64, **options)
    work = layer.work(torch.device("cpu"), torch.float64)
    if backend != "auto" and BACKENDS[backend].supports(work) is not None:
        pytest.skip(f"{backend} does not serve this layer")
    layer.backend = backend
    return layer


def each(kind: str = "kind", dynamics: str = "dynamics", backend: str = "backend") -> Any:
    def mark(test: Any) -> Any:
        for name, values in ((kind, LAYERS), (dynamics, DYNAMIC), (backend, BACKEND_NAMES)):
            test = pytest.mark.parametrize(name, values)(test)
        return test

    return mark


def state_of(layer: RecurrentLayer) -> list[Tensor]:
    zeros = layer.zero_tensors(BATCH)
    return [
        random(*z.shape, seed=i).abs().requires_grad_() if z.is_floating_point() else z + 3 for i, z in enumerate(zeros)
    ]


@each()
def test_every_integer_dtype_is_taken(kind: str, dynamics: str, backend: str) -> None:
    layer = build(kind, dynamics, backend, bidirectional=True)
    x = random(STEPS, BATCH, 5)
    expected, end = layer.run_padded(x, None, LENGTHS)
    for dtype in (torch.int32, torch.int16, torch.int8, torch.uint8):
        output, after = layer.run_padded(x, None, LENGTHS.to(dtype))
        for actual, wanted in zip((output, *flat(after)), (expected, *flat(end)), strict=True):
            assert torch.equal(actual, wanted)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_int32_lengths_give_what_torch_gives_with_packing(kind: str, backend: str) -> None:
    layer = build(kind, "identity", backend)
    theirs: Any = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](5, 7, dtype=torch.float64)
    theirs.load_state_dict(layer.state_dict())
    x = random(STEPS, BATCH, 5)
    expected, end = theirs(pack_padded_sequence(x, LENGTHS, enforce_sorted=False))
    output, after = layer.run_padded(x, None, LENGTHS.int())
    torch.testing.assert_close(output, pad_packed_sequence(expected, total_length=STEPS)[0], rtol=1e-9, atol=1e-12)
    for actual, wanted in zip(flat(after), flat(end), strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-9, atol=1e-12)


WRONG: list[tuple[Tensor, str]] = [
    (LENGTHS.float(), "`lengths` must be integers, got floating-point numbers"),
    (LENGTHS.double(), "`lengths` must be integers, got floating-point numbers"),
    (LENGTHS > 2, "`lengths` must be integers, got bool"),
    (LENGTHS[:1], r"`lengths` must have the shape \(8,\), one per sequence, got \[1\]"),
    (LENGTHS[:7], r"`lengths` must have the shape \(8,\), one per sequence, got \[7\]"),
    (LENGTHS.view(8, 1), r"`lengths` must have the shape \(8,\), one per sequence, got \[8, 1\]"),
    (LENGTHS.view(2, 4), r"`lengths` must have the shape \(8,\), one per sequence, got \[2, 4\]"),
    (torch.tensor(3), r"`lengths` must have the shape \(8,\), one per sequence, got \[\]"),
    (LENGTHS - 2, r"`lengths` must be in \[0, 12\], got -1 to 10"),
    (LENGTHS + 1, r"`lengths` must be in \[0, 12\], got 2 to 13"),
    (LENGTHS.to(torch.int8) - 2, r"`lengths` must be in \[0, 12\], got -1 to 10"),
]


@each()
def test_wrong_lengths_are_refused(kind: str, dynamics: str, backend: str) -> None:
    layer = build(kind, dynamics, backend)
    for lengths, message in WRONG:
        with pytest.raises(ValueError, match=message):
            layer.run_padded(random(STEPS, BATCH, 5), None, lengths)


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
@each()
def test_an_empty_sequence_leaves_no_trace(
    kind: str, dynamics: str, backend: str, options: dict[str, Any], started: bool
) -> None:
    """Outputs, states and gradients are those of the reference run on each sequence alone, cut to its length."""
    layer = build(kind, dynamics, backend, **options)
    alone = copy.deepcopy(layer)
    alone.backend = "reference"
    x, state = random(STEPS, BATCH, 5).requires_grad_(), state_of(layer)
    own_x, own_state = x.detach().clone().requires_grad_(), state_of(layer)
    output, after = layer.run_padded(x, tuple(state) if started else None, WITH_EMPTY)
    zeros = alone.zero_tensors(BATCH)
    outputs, ends = [], []
    for row, length in enumerate(WITH_EMPTY.tolist()):
        first = tuple(s[:, row : row + 1] for s in (own_state if started else zeros))
        out, end = own_x.new_zeros(STEPS, 1, output.shape[2]), first
        if length > 0:
            run, end = alone(own_x[:length, row : row + 1], first)
            out = torch.cat([run, out[length:]])
        outputs.append(out)
        ends.append(flat(end))
    expected = (torch.cat(outputs, 1), *(torch.cat(parts, 1) for parts in zip(*ends, strict=True)))
    loss: Any = 0.0
    wanted_loss: Any = 0.0
    for index, (actual, wanted) in enumerate(zip((output, *flat(after)), expected, strict=True)):
        torch.testing.assert_close(actual, wanted, rtol=1e-8, atol=1e-10)
        if actual.is_floating_point():
            cotangent = random(*actual.shape, seed=50 + index)
            loss, wanted_loss = loss + (cotangent * actual).sum(), wanted_loss + (cotangent * wanted).sum()
    assert torch.equal(output[:, WITH_EMPTY == 0], torch.zeros_like(output[:, WITH_EMPTY == 0]))
    for actual, before in zip(flat(after), state if started else zeros, strict=True):
        assert torch.equal(actual[:, WITH_EMPTY == 0], before[:, WITH_EMPTY == 0])
    loss.backward()
    wanted_loss.backward()
    pairs: list[tuple[Any, Any]] = [(x, own_x), *zip(layer.parameters(), alone.parameters(), strict=True)]
    if started:
        pairs += [pair for pair in zip(state, own_state, strict=True) if pair[0].is_floating_point()]
    for mine, wanted in pairs:
        torch.testing.assert_close(mine.grad, wanted.grad, rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("dynamics", DYNAMIC)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_scripted_layer_takes_and_refuses_the_same(kind: str, dynamics: str) -> None:
    layer = build(kind, dynamics, "reference", bidirectional=True)
    scripted = torch.jit.script(layer)
    x = random(STEPS, BATCH, 5)
    for lengths in (LENGTHS, LENGTHS.int(), LENGTHS.to(torch.uint8), WITH_EMPTY, WITH_EMPTY.to(torch.int16)):
        for state in (None, [s.detach() for s in state_of(layer)]):
            given = None if state is None else layer.layout.returned(tuple(state))
            output, after = scripted.run_padded(x, as_scripted(given), lengths)
            expected, end = layer.run_padded(x, given, lengths)
            for actual, wanted in zip((output, *flat(after)), (expected, *flat(end)), strict=True):
                torch.testing.assert_close(actual, wanted, rtol=1e-8, atol=1e-10)
    for lengths, message in WRONG:
        with pytest.raises(torch.jit.Error, match=message):
            scripted.run_padded(x, None, lengths)


def test_an_empty_batch_of_sequences_is_all_zero() -> None:
    layer = LSTM(5, 7, dynamics=Identity())
    output, (h, c) = layer.run_padded(torch.ones(4, 2, 5), None, torch.zeros(2, dtype=torch.int32))
    assert not output.any()
    assert not h.any()
    assert not c.any()
