"""Attacks against the best attack on a linear model, which is known exactly, and what they must leave alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from momentum_cli.attacks import ATTACKS, FGSM, PGD, Ball, Learned
from momentum_cli.attacks.attack import ascent
from momentum_cli.layers.lstm_gru_rnn import LSTM
from momentum_cli.models.sequence import SequenceModel

B, T, D = 32, 5, 3


def losses(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets, reduction="none")


def loss_sum(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets, reduction="sum")


def linear(weight: Tensor) -> Any:
    """Two classes whose logits differ by the sum of weight * inputs."""

    def model(inputs: Tensor) -> Tensor:
        score = (inputs * weight).sum((1, 2))
        return torch.stack([score, torch.zeros_like(score)], 1)

    return model


def drawn() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.rand(B, T, D, generator=generator, dtype=torch.float64)
    weight = torch.randn(T, D, generator=generator, dtype=torch.float64)
    start = torch.rand(B, T, D, generator=generator, dtype=torch.float64) * 2 - 1
    return inputs, weight, start, torch.randint(2, (B,), generator=generator)


@pytest.mark.parametrize("attack", [FGSM(1, 0.24), PGD(7), PGD(40, 0.01)], ids=["fgsm", "pgd", "pgd-small"])
@pytest.mark.parametrize("limits", [None, (0.0, 1.0)])
def test_the_best_attack_on_a_linear_model_is_found(attack: Any, limits: tuple[float, float] | None) -> None:
    inputs, weight, start, targets = drawn()
    epsilon = 0.12
    ball = Ball(inputs, epsilon, None, limits)
    found = attack(linear(weight), targets, loss_sum, ball, start)
    # The margin of the true class falls by |w| times how far each input can go against it.
    sign = torch.where(targets == 0, 1.0, -1.0)
    direction = -sign[:, None, None] * weight.sign()
    room = torch.full_like(inputs, epsilon)
    if limits is not None:
        room = torch.where(direction > 0, 1.0 - inputs, inputs).clamp(max=epsilon)
    margin = sign * (inputs * weight).sum((1, 2)) - (weight.abs() * room).sum((1, 2))
    outputs = linear(weight)(found)
    torch.testing.assert_close(losses(outputs, targets), torch.log1p(torch.exp(-margin)), rtol=1e-9, atol=1e-9)
    assert torch.equal(outputs.argmax(1) == targets, margin > 0)
    assert 0 < (margin > 0).sum() < B


def test_padding_stays_as_it_is() -> None:
    inputs, weight, start, targets = drawn()
    lengths = torch.arange(B) % T + 1
    padded = torch.where(torch.arange(T)[None, :, None] < lengths[:, None, None], inputs, 0.0)
    attacks: list[Any] = [FGSM(1, 0.2), PGD(3), Learned(3).double()]
    for attack in attacks:
        found = attack(linear(weight), targets, loss_sum, Ball(padded, 0.1, lengths), start)
        for row, length in enumerate(lengths.tolist()):
            assert (found[row, length:] == 0).all()
            changes = (found - padded)[row, :length].abs()
            assert (changes > (0 if isinstance(attack, Learned) else 0.09)).all()
            assert (changes <= 0.1 + 1e-12).all()


def test_an_input_outside_the_limits_stays_in_the_ball() -> None:
    centre = torch.tensor([[[1.5], [-0.3], [0.5]]])
    ball = Ball(centre, 0.2, None, (0.0, 1.0))
    assert ball.project(centre + 1).flatten().tolist() == pytest.approx([1.5, -0.1, 0.7])
    assert ball.project(centre - 1).flatten().tolist() == pytest.approx([1.3, -0.3, 0.3])


def test_one_step_begins_at_the_start_and_from_the_centre_goes_by_epsilon() -> None:
    inputs, weight, start, targets = drawn()
    ball, direction = Ball(inputs, 0.1), torch.where(targets == 0, -1.0, 1.0)[:, None, None] * weight.sign()
    from_centre, from_start = (
        FGSM(1, size)(linear(weight), targets, loss_sum, ball, place)
        for size, place in ((None, torch.zeros_like(start)), (0.03, start))
    )
    torch.testing.assert_close(from_centre, inputs + 0.1 * direction)
    torch.testing.assert_close(from_start, ball.project(inputs + 0.1 * start + 0.03 * direction))


@pytest.mark.parametrize("attack", [FGSM(), PGD(5), Learned(5)], ids=list(ATTACKS))
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients_mode_and_random_streams_stay_as_they_were(bidirectional: bool, attack: Any) -> None:
    torch.manual_seed(0)
    model = SequenceModel(LSTM(D, 6, bidirectional=bidirectional), 2).eval()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    random = torch.get_rng_state()
    inputs, _, start, targets = (each.float() if each.is_floating_point() else each for each in drawn())
    clean = losses(model(inputs)[0], targets)
    with torch.no_grad():
        found = attack(lambda x: model(x)[0], targets, loss_sum, Ball(inputs, 0.1), start)
    assert not found.requires_grad
    if not isinstance(attack, Learned):  # one that has learned nothing finds nothing
        assert (losses(model(found)[0], targets) > clean).all()
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.training
    assert all((parameter.grad == 0.5).all() for parameter in model.parameters() if parameter.grad is not None)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_ascent_is_the_derivative() -> None:
    inputs, _, _, targets = drawn()
    matrix = torch.randn(T * D, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def model(x: Tensor) -> Tensor:
        return x.flatten(1).tanh() @ matrix

    found, step = ascent(model, inputs, targets, loss_sum), 1e-6
    moved = torch.zeros_like(inputs)
    moved[:, 2, 1] = step
    slope = (losses(model(inputs + moved), targets) - losses(model(inputs - moved), targets)) / (2 * step)
    torch.testing.assert_close(found[:, 2, 1], slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PGD(0), "`steps` must be >= 1, got 0"),
        (lambda: PGD(5, 0.0), "`step_size` must be a finite number > 0, got 0.0"),
        (lambda: PGD(5, float("nan")), "`step_size` must be a finite number > 0, got nan"),
        (lambda: FGSM(2), "`steps` must be 1 for fgsm, got 2"),
        (lambda: FGSM(1, -0.1), "`step_size` must be a finite number > 0, got -0.1"),
        (lambda: Learned(0), "`steps` must be >= 1, got 0"),
        (lambda: Learned(3, float("inf")), "`step_size` must be a finite number > 0, got inf"),
        (lambda: Ball(torch.zeros(1, 1, 1), 0.0), "`epsilon` must be a finite number > 0, got 0.0"),
        (lambda: Ball(torch.zeros(1, 1, 1), float("inf")), "`epsilon` must be a finite number > 0, got inf"),
    ],
)
def test_options_outside_their_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        make()
    assert message in str(caught.value)


def test_every_attack_is_in_the_table() -> None:
    assert {"fgsm": FGSM, "pgd": PGD, "learned": Learned} == ATTACKS
