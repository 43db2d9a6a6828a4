"""Gradients through time against mathematics: finite differences, adjoint filters, the paper's second-order form."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result
from untrained import write_checkpoint

from momentum_cli import cli
from momentum_cli.data import Batch
from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.nesterov import Nesterov, ScheduledRestart
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.rmsprop import RMSProp
from momentum_cli.inspection.gradients.gradient_flow import gradient_flow, spread
from momentum_cli.inspection.gradients.impulse import impulse_response, memory, memory_closed_form
from momentum_cli.inspection.gradients.inspect import inspect
from momentum_cli.inspection.gradients.jacobian import recurrent_jacobian, spectrum
from momentum_cli.inspection.gradients.subjects import initial_model, real_batch
from momentum_cli.inspection.gradients.tables import print_inspection, shown_steps
from momentum_cli.layers.lstm_gru_rnn import GRU, LSTM, RNN
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.models.sequence import SequenceModel
from momentum_cli.recipe.building import build_task
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.recurrence import RECURRENCES
from momentum_cli.recurrence.protocol import Recurrence
from momentum_cli.training.objective import Objective

LAST = Objective("cross_entropy", "last")
LINEAR = [Identity(), HeavyBall(0.6, 0.7), Nesterov(0.8), ScheduledRestart(0.9, 3)]
DYNAMICS: list[Dynamics] = [*LINEAR, RMSProp(0.5, 0.9, 1e-3), Adam(0.6, 0.8, 0.9, 1e-3)]


def name_of(value: object) -> str:
    return type(value).__name__


def tiny_batch(steps: int = 6, size: int = 3, inputs: int = 2, lengths: Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, steps, inputs, generator=generator)
    return Batch(x, torch.arange(size) % 4, lengths)


def tiny(layer: type, dynamics: Dynamics, **options: Any) -> SequenceModel:
    torch.manual_seed(0)
    return SequenceModel(layer(2, 3, dynamics=dynamics, **options), 4).double()


# Total derivatives.


def loop(layer: RecurrentLayer, x: Tensor, nudge: dict[tuple[str, int], Tensor]) -> Tensor:
    """An independent loop over one forward layer, with a nudge added to h, d or u of a step: the last output."""
    w = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    u = x @ w["weight_ih_l0"].T + w["bias_ih_l0"]
    state = tuple(torch.zeros(len(x), layer.hidden_size, dtype=x.dtype) for _ in layer.recurrence.state_names)
    drive = layer.dynamics.init(u[:, 0])
    for t in range(x.shape[1]):
        d, drive = layer.dynamics.step(u[:, t] + nudge.get(("u", t), 0.0), drive)
        d = d + nudge.get(("d", t), 0.0)
        state = layer.recurrence.step(d, state, w["weight_hh_l0"], w["bias_hh_l0"])
        state = (state[0] + nudge.get(("h", t), 0.0), *state[1:])
    return state[0]


@pytest.mark.parametrize("dynamics", [HeavyBall(0.6, 0.7), Adam(0.6, 0.8, 0.9, 1e-3)], ids=name_of)
@pytest.mark.parametrize("layer", [LSTM, GRU, RNN], ids=lambda cls: cls.__name__)
def test_norms_are_those_of_finite_differences(layer: type, dynamics: Dynamics) -> None:
    """Each number of h_t, d_t, u_t and x_t is moved in an independent loop, and the loss of its sequence watched."""
    model, batch = tiny(layer, dynamics), tiny_batch(4)
    flow = gradient_flow(model, batch, LAST)
    x = batch.inputs.double()

    def losses(nudge: dict[tuple[str, int], Tensor], inputs: Tensor = x) -> Tensor:
        with torch.no_grad():
            outputs = model.head(loop(model.layer, inputs, nudge))
        return torch.nn.functional.cross_entropy(outputs, batch.targets, reduction="none")

    assert float(losses({}).mean()) == pytest.approx(flow.loss, rel=1e-9)
    sizes = {"h": 3, "d": model.layer.recurrence.gates * 3, "u": model.layer.recurrence.gates * 3}
    small = 1e-6
    for t in range(4):
        for quantity, size in sizes.items():
            difference = torch.stack(
                [
                    (losses({(quantity, t): step}) - losses({(quantity, t): -step})) / (2 * small)
                    for step in small * torch.eye(size, dtype=torch.float64)
                ]
            )
            expected = torch.linalg.vector_norm(difference, dim=0)
            torch.testing.assert_close(flow.first()[quantity][t], expected, rtol=1e-5, atol=1e-9)
        step = torch.zeros_like(x)
        by_input = []
        for channel in range(2):
            step.zero_()[:, t, channel] = small
            by_input.append((losses({}, x + step) - losses({}, x - step)) / (2 * small))
        expected = torch.linalg.vector_norm(torch.stack(by_input), dim=0)
        torch.testing.assert_close(flow.x[t], expected, rtol=1e-5, atol=1e-9)


def test_the_recorded_pass_computes_what_the_model_does() -> None:
    model, batch = tiny(LSTM, Adam(), num_layers=2, bidirectional=True), tiny_batch()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    flow = gradient_flow(model, batch, LAST)
    with torch.no_grad():
        outputs, _ = model(batch.inputs.double())
    assert flow.loss == pytest.approx(float(torch.nn.functional.cross_entropy(outputs, batch.targets)), rel=1e-12)
    # The model itself is untouched.
    assert model.layer.backend == "auto"
    assert model.layer.recurrence is RECURRENCES["lstm"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [(layer.layer, layer.direction) for layer in flow.layers] == [
        (0, "forward"),
        (0, "reverse"),
        (1, "forward"),
        (1, "reverse"),
    ]
    # The reverse direction of the top layer ends at t = 1: its state there is what the head reads.
    top = flow.layers[3].norms["h"].median(1).values
    assert float(top[0]) > float(top[-1])


def test_a_sequence_has_the_same_norms_in_any_batch() -> None:
    model, batch = tiny(LSTM, HeavyBall()), tiny_batch(size=5)
    alone = Batch(batch.inputs[2:3], batch.targets[2:3], None)
    whole, single = gradient_flow(model, batch, LAST), gradient_flow(model, alone, LAST)
    for name, norms in whole.first().items():
        torch.testing.assert_close(norms[:, 2:3], single.first()[name])


def test_padding_has_no_gradient_and_changes_none() -> None:
    model = tiny(LSTM, Adam(0.6, 0.8, 0.9, 1e-3))
    padded = tiny_batch(6, 2, lengths=torch.tensor([6, 4]))
    padded.inputs[1, 4:] = math.nan
    short = Batch(padded.inputs[1:, :4], padded.targets[1:], None)
    whole, alone = gradient_flow(model, padded, LAST), gradient_flow(model, short, LAST)
    for name, norms in whole.first().items():
        assert torch.equal(norms[4:, 1], torch.zeros(2, dtype=torch.float64))
        torch.testing.assert_close(norms[:4, 1], alone.first()[name][:, 0])


def test_float64_keeps_what_float32_would_lose() -> None:
    """A weight of 1e-3 over 80 steps: 1e-237, which float32 does not hold, nor does float64 its square."""
    model = tiny(RNN, Identity())
    with torch.no_grad():
        model.layer.get_parameter("weight_hh_l0").copy_(1e-3 * torch.eye(3))
    flow = gradient_flow(model, tiny_batch(80), LAST)
    for norms in flow.first().values():
        assert 0.0 < float(norms[0].min()) < 1e-200


def test_spread_is_median_and_quartiles() -> None:
    assert spread(torch.tensor([[4.0, 1.0, 3.0, 2.0, 5.0]])) == {"median": [3.0], "lower": [2.0], "upper": [4.0]}


# The closed forms of docs/gradients.md.


LINEAR_RECURRENCE = Recurrence("linear", 1, ("h",), lambda d, state, w, b: (d + state[0] @ w.T,), "h' = W h + d")


def driven(dynamics: Dynamics, u: Tensor, weight: Tensor, step: Any = None) -> tuple[list[Tensor], list[Tensor]]:
    """Run h' = step(d, h) on u (T, N); return every d_t, as a tensor of its own, and every h_t."""
    h, state = torch.zeros(1, u.shape[1], dtype=u.dtype), dynamics.init(u[:1])
    ds, hs = [], []
    for t in range(len(u)):
        d, state = dynamics.step(u[t : t + 1], state)
        ds.append(d.view_as(d))
        h = ds[-1] + h @ weight.T if step is None else step(ds[-1] + h @ weight.T)
        hs.append(h)
    return ds, hs


@pytest.mark.parametrize("dynamics", LINEAR, ids=name_of)
def test_the_gradient_of_u_is_the_adjoint_filter_of_that_of_d(dynamics: Dynamics) -> None:
    """``dL/du_t = Σ_{k>=t} r(k-t; t) dL/dd_k``, r the impulse response; for heavy ball ``s Σ μ^{k-t} dL/dd_k``."""
    generator = torch.Generator().manual_seed(3)
    u = torch.randn(9, 4, dtype=torch.float64, generator=generator).requires_grad_()
    weight = 0.4 * torch.randn(4, 4, dtype=torch.float64, generator=generator)
    target = torch.randn(9, 4, dtype=torch.float64, generator=generator)
    ds, hs = driven(dynamics, u, weight)
    loss = sum((h[0] * y).sum() for h, y in zip(hs, target, strict=True)) + hs[-1].pow(2).sum()
    by_u, *by_d = torch.autograd.grad(loss, [u, *ds])
    for t in range(9):
        response = impulse_response(dynamics, 9, t + 1)
        expected = sum(r * by_d[t + lag] for lag, r in enumerate(response))
        torch.testing.assert_close(by_u[t : t + 1], expected)
        if isinstance(dynamics, HeavyBall):
            expected = sum(dynamics.step_size * dynamics.momentum ** (k - t) * by_d[k] for k in range(t, 9))
            torch.testing.assert_close(by_u[t : t + 1], expected)


def test_linear_recurrence_by_hand() -> None:
    """Loss of h_T alone: ``dL/dh_t = dL/dd_t = (Wᵀ)^(T-t) g`` with or without momentum; only dL/du_t has it."""
    weight = torch.tensor([[0.5, 0.1], [0.0, 0.2]], dtype=torch.float64)
    u = torch.ones(6, 2, dtype=torch.float64, requires_grad=True)
    g = torch.tensor([1.0, -2.0], dtype=torch.float64)
    powers = [torch.linalg.matrix_power(weight.T, n) @ g for n in range(6)]
    for dynamics in (Identity(), HeavyBall(0.9, 0.5)):
        ds, hs = driven(dynamics, u, weight)
        found = torch.autograd.grad((hs[-1][0] * g).sum(), [u, *ds, *hs])
        for t in range(6):
            torch.testing.assert_close(found[1 + t][0], powers[5 - t])
            torch.testing.assert_close(found[7 + t][0], powers[5 - t])
            by_hand = powers[5 - t]
            if isinstance(dynamics, HeavyBall):
                by_hand = 0.5 * sum(0.9**j * powers[5 - t - j] for j in range(6 - t))
            torch.testing.assert_close(found[0][t], by_hand)


def test_scalar_closed_form() -> None:
    """``dL/du_t = s (μ^{n+1} - a^{n+1}) / (μ - a)``, n = T - t: the slower of the two decays decides, not a."""
    a, mu, s, steps = 0.3, 0.9, 0.7, 30
    u = torch.ones(steps, 1, dtype=torch.float64, requires_grad=True)
    _, hs = driven(HeavyBall(mu, s), u, torch.tensor([[a]], dtype=torch.float64))
    (found,) = torch.autograd.grad(hs[-1].sum(), [u])
    n = torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    torch.testing.assert_close(found[:, 0], s * (mu ** (n + 1) - a ** (n + 1)) / (mu - a))


def test_the_paper_form_sees_the_momentum_that_u_sees() -> None:
    """The cell as a heavy ball in h, ``h_t = tanh(U (h_{t-1} - μ h_{t-2}) + μ atanh(h_{t-1}) + s W x_t)``: the same
    states, and its total ``dL/dh_t`` is ``diag(1 / (1 - h_t²)) dL/du_t / s`` of the filter form."""
    mu, s, steps = 0.6, 0.7, 12
    generator = torch.Generator().manual_seed(5)
    u = torch.randn(steps, 3, dtype=torch.float64, generator=generator).requires_grad_()
    weight = 0.5 * torch.randn(3, 3, dtype=torch.float64, generator=generator)
    _, hs = driven(HeavyBall(mu, s), u, weight, torch.tanh)
    by_u, *by_h = torch.autograd.grad(hs[-1].pow(2).sum(), [u, *hs])
    second: list[Tensor] = []
    for t in range(steps):
        z = s * u[t : t + 1].detach()
        if t > 0:
            older = second[t - 2] if t > 1 else torch.zeros_like(second[0])
            z = z + (second[t - 1] - mu * older) @ weight.T + mu * torch.atanh(second[t - 1])
        second.append(torch.tanh(z).requires_grad_() if t == 0 else torch.tanh(z))
    paper = torch.autograd.grad(second[-1].pow(2).sum(), second)
    for t in range(steps):
        torch.testing.assert_close(second[t], hs[t])
        torch.testing.assert_close(paper[t], by_u[t : t + 1] / s / (1 - hs[t] ** 2))
    # The same states, but another derivative: in filter form the velocity stays where it is when h_t is moved.
    assert not torch.allclose(paper[0], by_h[0], rtol=0.1)


def test_momentum_adds_the_eigenvalue_mu_and_nothing_else() -> None:
    """Of (h, v) and of (h_t, h_{t-1}) the Jacobian has the eigenvalues of D U, and μ."""
    mu = 0.8
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(4, 4, dtype=torch.float64, generator=generator)
    slope = torch.diag(torch.rand(4, dtype=torch.float64, generator=generator) + 0.1)
    eye, zero = torch.eye(4, dtype=torch.float64), torch.zeros(4, 4, dtype=torch.float64)
    filtered = torch.cat((torch.cat((slope @ weight, mu * slope), 1), torch.cat((zero, mu * eye), 1)))
    # σ'(z) times (σ⁻¹)'(h) is 1, so the term in h_{t-1} is D U + μ.
    companion = torch.cat((torch.cat((slope @ weight + mu * eye, -mu * slope @ weight), 1), torch.cat((eye, zero), 1)))
    own = torch.linalg.eigvals(slope @ weight)
    expected = torch.cat((own, torch.full((4,), mu, dtype=own.dtype)))
    for matrix in (filtered, companion):
        found = torch.linalg.eigvals(matrix)
        distance = (found[:, None] - expected[None, :]).abs()
        # A double eigenvalue of a companion matrix is known to about the root of the rounding error.
        assert float(distance.min(1).values.max()) < 1e-5
        assert float(distance.min(0).values.max()) < 1e-5


# The recurrent Jacobian.


@pytest.mark.parametrize("layer", [LSTM, GRU, RNN], ids=lambda cls: cls.__name__)
def test_jacobian_is_that_of_finite_differences(layer: type) -> None:
    model, batch = tiny(layer, HeavyBall()), tiny_batch()
    flow = gradient_flow(model, batch, LAST)
    recurrence, step = flow.tape.recurrence, flow.tape.steps[3]
    matrix = recurrent_jacobian(recurrence, step, 1)
    before = torch.cat([tensor[1] for tensor in step.before]).detach()

    def advance(flat: Tensor) -> Tensor:
        state = tuple(part.unsqueeze(0) for part in flat.split(3))
        with torch.no_grad():
            after = recurrence.step(step.d[1:2], state, step.weight_hh, step.bias_hh)
        return torch.cat(after, 1)[0]

    for column, nudge in enumerate(1e-6 * torch.eye(len(before), dtype=torch.float64)):
        difference = (advance(before + nudge) - advance(before - nudge)) / 2e-6
        torch.testing.assert_close(matrix[:, column], difference, rtol=1e-6, atol=1e-9)


def test_chain_of_jacobians_is_the_gradient_of_the_state() -> None:
    """dL/dh_1 of a plain RNN through all recurrent Jacobians: momentum is in none of them."""
    model, batch = tiny(RNN, HeavyBall(0.9, 1.0)), tiny_batch(5)
    flow = gradient_flow(model, batch, LAST)
    outputs = model.head(flow.tape.steps[-1].after[0].detach().requires_grad_())
    logits = torch.softmax(outputs, 1).detach()
    logits[torch.arange(3), batch.targets] -= 1
    for sequence in range(3):
        gradient = logits[sequence] @ model.head.weight.detach()
        for step in flow.tape.steps[:0:-1]:
            gradient = gradient @ recurrent_jacobian(flow.tape.recurrence, step, sequence)
        assert float(gradient.norm()) == pytest.approx(float(flow.first()["h"][0, sequence]), rel=1e-9)


def test_spectrum_of_a_known_matrix() -> None:
    """A linear recurrence has its weight as Jacobian, a rotation by any angle modulus 1."""
    from momentum_cli.inspection.gradients.tape import Step

    angle = 0.3
    weight = torch.tensor(
        [[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0], [0.0, 0.0, 0.5]],
        dtype=torch.float64,
    )
    d = torch.zeros(2, 3, dtype=torch.float64)
    found = spectrum(LINEAR_RECURRENCE, Step(d, d, (d + 1,), (d,), weight, None), 7, sequences=5)
    assert found.t == 7
    torch.testing.assert_close(found.moduli, torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64))
    torch.testing.assert_close(found.singular_values, torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64))


def test_step_counters_of_a_state_are_held() -> None:
    """A recurrence whose state has an integer: only its floating-point part moves."""
    from momentum_cli.inspection.gradients.tape import Step

    counting = Recurrence(
        "counting", 1, ("h", "k"), lambda d, state, w, b: (d + state[1].unsqueeze(1) * state[0], state[1] + 1), ""
    )
    h, k = torch.ones(2, 3, dtype=torch.float64), torch.tensor([2, 5])
    matrix = recurrent_jacobian(counting, Step(h, h, (h, k), (h, k), h, None), 1)
    torch.testing.assert_close(matrix, 5 * torch.eye(3, dtype=torch.float64))


# Impulse response and memory.


def telescoped(dynamics: Dynamics, steps: int, arrival: int) -> float:
    """Memory by hand. The product of Nesterov's (j-1)/(j+2) is ``k (k+1) (k+2) / (m (m+1) (m+2))``, m = k + τ, and
    their sum telescopes; a restart ends it with its cycle."""
    match dynamics:
        case Identity():
            return 1.0
        case HeavyBall(momentum=mu):
            return (1 - mu ** (steps - arrival + 1)) / (1 - mu)
        case Nesterov():
            k, last = arrival, steps
        case ScheduledRestart(restart_every=every):
            k = (arrival - 1) % every + 1
            last = min(every, k + steps - arrival)
        case _:
            raise AssertionError(dynamics)
    return k * (k + 1) * (k + 2) / 2 * (1 / (k * (k + 1)) - 1 / ((last + 1) * (last + 2)))


@pytest.mark.parametrize("dynamics", LINEAR, ids=name_of)
@pytest.mark.parametrize(("steps", "arrival"), [(40, 1), (40, 20), (40, 40), (7, 5), (1, 1)])
def test_memory_by_formula(dynamics: Dynamics, steps: int, arrival: int) -> None:
    response = impulse_response(dynamics, steps, arrival)
    assert len(response) == steps - arrival + 1
    found = memory_closed_form(dynamics, steps, arrival)
    assert found == pytest.approx(memory(response).length, rel=1e-12)
    assert found == pytest.approx(telescoped(dynamics, steps, arrival), rel=1e-12)


def test_heavy_ball_response_and_its_end() -> None:
    response = impulse_response(HeavyBall(0.6, 0.7), 101, 1)
    torch.testing.assert_close(response, 0.7 * 0.6 ** torch.arange(101, dtype=torch.float64))
    lasting = memory(response)
    assert lasting.length == pytest.approx(1 / (1 - 0.6))
    assert lasting.forgotten_after == math.floor(math.log(0.05) / math.log(0.6)) + 1
    assert memory(response[:4]).forgotten_after is None


def test_nesterov_remembers_what_comes_late_for_longer() -> None:
    for k in (1, 5, 50):
        response = impulse_response(Nesterov(), 1500, k)
        m = torch.arange(k, 1501, dtype=torch.float64)
        torch.testing.assert_close(response, k * (k + 1) * (k + 2) / (m * (m + 1) * (m + 2)))
        assert memory(response).length == pytest.approx((k + 2) / 2, rel=2e-3)


def test_restart_forgets_everything() -> None:
    response = impulse_response(ScheduledRestart(1.0, 5), 20, 3)
    assert torch.count_nonzero(response[:3]) == 3
    assert torch.count_nonzero(response[3:]) == 0


@pytest.mark.parametrize("beta2", [0.5, 0.9])
def test_linear_response_of_rmsprop_and_adam(beta2: float) -> None:
    """About a constant input 1 that has lasted: RMSProp ``s (δ - (1-β) β^τ)``, Adam ``s (μ^τ - (1-β) β^τ / (1-μ))``:
    what an impulse adds to the numerator is taken back by the root, and a lasting change of scale by all of it."""
    tau = torch.arange(301, dtype=torch.float64)
    decayed = (1 - beta2) * beta2**tau
    found = impulse_response(RMSProp(beta2, 0.7), 600, 300)
    torch.testing.assert_close(found, 0.7 * ((tau == 0).double() - decayed), rtol=1e-7, atol=1e-12)
    assert float(found.sum()) == pytest.approx(0.0, abs=1e-9)
    found = impulse_response(Adam(0.6, beta2, 0.7), 600, 300)
    torch.testing.assert_close(found, 0.7 * (0.6**tau - decayed / 0.4), rtol=1e-7, atol=1e-12)
    assert memory_closed_form(Adam(), 600, 300) is None


@pytest.mark.parametrize("dynamics", DYNAMICS, ids=name_of)
def test_response_is_that_of_finite_differences(dynamics: Dynamics) -> None:
    small = 1e-6
    background = torch.full((12, 1, 1), 0.0 if isinstance(dynamics.form, Filter) else 1.0, dtype=torch.float64)
    up, down = background.clone(), background.clone()
    up[4] += small
    down[4] -= small
    difference = (dynamics.scan(up)[0] - dynamics.scan(down)[0])[4:, 0, 0] / (2 * small)
    torch.testing.assert_close(impulse_response(dynamics, 12, 5), difference, rtol=1e-6, atol=1e-8)


# The command.


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def run(*args: str) -> Result:
    return CliRunner().invoke(cli.app, list(args))


SMALL = ("model.hidden_size=5", "--batch", "3")


def test_json_is_one_object_with_every_step(tmp_path: Path) -> None:
    result = run("inspect", "digits", "--cells", "lstm,momentum", "--cells", "adam-gru", *SMALL, "--json")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    content = json.loads(result.stdout)
    assert {key: content[key] for key in ("task", "length", "batch", "seed")} == {
        "task": "digits",
        "length": 8,
        "batch": 3,
        "seed": 0,
    }
    assert [entry["label"] for entry in content["subjects"]] == ["lstm", "momentum", "adam-gru"]
    for entry in content["subjects"]:
        states = ["h"] if entry["cell"] == "adam-gru" else ["h", "c"]
        assert [*entry["gradients"]] == [*states, "d", "u", "x"]
        for curve in entry["gradients"].values():
            assert {name: len(values) for name, values in curve.items()} == {"median": 8, "lower": 8, "upper": 8}
            assert all(
                low <= mid <= up for low, mid, up in zip(*(curve[k] for k in ("lower", "median", "upper")), strict=True)
            )
        assert [at["t"] for at in entry["jacobian"]] == [2, 4, 6]
        assert {len(at["moduli"]) for at in entry["jacobian"]} == {5 * len(states)}
        assert entry["stage"] == "initial"
    assert content["impulses"][1]["memory"] == pytest.approx(content["impulses"][1]["memory_closed_form"])
    folder = Path("runs/inspect-digits-001")
    assert Path(content["folder"]) == folder
    assert json.loads((folder / "inspect.json").read_text()) == content
    assert sorted(path.name for path in folder.iterdir()) == [
        "gradients-initial.png",
        "impulse.png",
        "inspect.json",
        "jacobian.png",
    ]
    # Plain lstm: no dynamics between d and u.
    assert content["subjects"][0]["gradients"]["d"] == content["subjects"][0]["gradients"]["u"]


def test_a_run_is_shown_before_and_after_training() -> None:
    path = write_checkpoint(Path("run.safetensors"), "model.hidden_size=5", "model.cell=momentum")
    result = run("inspect", str(path), "--batch", "2", "--length", "4", "--out", "here", "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    initial, trained = content["subjects"]
    assert (initial["stage"], trained["stage"], initial["label"]) == ("initial", "trained", "momentum")
    # write_checkpoint draws its parameters with the seed of the recipe, so this run has not moved.
    assert initial["gradients"] == trained["gradients"]
    assert len(content["impulses"]) == 1
    assert content["length"] == 4
    assert {path.name for path in Path("here").glob("*.png")} >= {"gradients-initial.png", "gradients-trained.png"}


def test_runs_of_the_same_cell_are_told_apart() -> None:
    paths = [
        write_checkpoint(Path(f"{name}.safetensors"), f"model.hidden_size={n}") for name, n in (("a", 3), ("b", 4))
    ]
    result = inspect([str(path) for path in paths], batch_size=2, out=Path("two"))
    assert [entry["label"] for entry in result["subjects"]] == ["a.safetensors"] * 2 + ["b.safetensors"] * 2


@pytest.mark.parametrize("columns", [80, 140])
def test_tables_fit_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = inspect(["digits"], cells=["lstm", "momentum", "adam"], batch_size=2, overrides=["model.hidden_size=3"])
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_inspection(result)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= columns
    text = "\n".join(lines)
    for wanted in (
        "state: median over the batch",
        "first / last",
        "largest modulus",
        "memory",
        "runs/inspect-digits-001",
    ):
        assert wanted in text


def test_shown_steps_are_the_ends_and_some_between() -> None:
    assert shown_steps(1) == [1]
    assert shown_steps(3) == [1, 2, 3]
    steps = shown_steps(784)
    assert (steps[0], steps[-1], len(steps)) == (1, 784, 7)
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["digist"], 2, ["did you mean 'digits'", "nor is it a run"]),
        (["runs/none"], 2, ["runs/none", "nor is it a run"]),
        (["digits", "mnist"], 2, ["digits, mnist", "one recipe, or one or more runs"]),
        (["digits", "model.hiden_size=3"], 2, ["hidden_size"]),
        (["digits", "--cells", "momentun"], 2, ["did you mean 'momentum'"]),
        (["digits", "--length", "9"], 2, ["--length must be in [1, 8]", "got 9"]),
        (["empty"], 3, ["empty", "no checkpoint"]),
    ],
)
def test_mistakes_are_told_and_leave_nothing(arguments: list[str], code: int, words: list[str]) -> None:
    Path("empty").mkdir()
    result = run("inspect", *arguments, "--json")
    assert result.exit_code == code, result.output
    message = json.loads(result.stdout)["error"]["message"]
    assert all(word in message for word in words), message
    assert not Path("runs").exists()


def test_options_of_a_recipe_do_not_go_with_runs() -> None:
    path = str(write_checkpoint(Path("run.safetensors"), "model.hidden_size=3"))
    for option in (["--cells", "lstm"], ["model.cell=lstm"]):
        result = run("inspect", path, *option, "--json")
        assert result.exit_code == 2
        assert "its own cell" in json.loads(result.stdout)["error"]["message"]
    other = str(write_checkpoint(Path("other.safetensors"), "model.hidden_size=3", "task.pixels_per_step=16"))
    result = run("inspect", path, other, "--json")
    assert result.exit_code == 2
    assert "inspect these separately" in json.loads(result.stdout)["error"]["message"]


def test_initial_model_is_the_one_that_training_starts_from() -> None:
    from momentum_cli.training.launch import launch
    from momentum_cli.training.trainer import Trainer

    recipe = load_recipe("digits", ["model.hidden_size=4", "model.init=paper", "train.seed=3"])
    dataset = build_task(recipe).load(None)
    state = torch.get_rng_state()
    model = initial_model(recipe, dataset)
    assert torch.equal(torch.get_rng_state(), state)
    trained = Trainer(recipe, dataset, launch(recipe, 1, 1, "cpu")).module.state_dict()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in model.state_dict().items())


def test_the_batch_is_the_first_of_training_and_may_be_cut() -> None:
    from momentum_cli.data.batching import epoch_order

    dataset = build_task(load_recipe("copying", ["task.delay=3", "task.train_size=20"])).load(None)
    batch = real_batch(dataset, 4, 7, 5)
    assert torch.equal(batch.targets, dataset.train.targets[epoch_order(20, 7, 0)[:4], :5])
    assert batch.inputs.shape[:2] == (4, 5)


def test_help_does_not_import_torch() -> None:
    script = (
        "import sys; from momentum_cli import cli; from typer.testing import CliRunner\n"
        "for name in ('inspect', 'summary'):\n"
        "    assert CliRunner().invoke(cli.app, [name, '--help']).exit_code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
