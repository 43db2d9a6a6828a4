"""Adversarial training: what the model learns from, what stays as it was, and that it goes on where it stopped."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from toy_trainer import dataset, interrupted, parameters, trainer

from momentum_cli.attacks import ATTACKS
from momentum_cli.data import Batch, Dataset, Split
from momentum_cli.data.batching import stream
from momentum_cli.errors import RecipeError
from momentum_cli.runs.checkpoint import Checkpoint
from momentum_cli.training.adversary import Attacking
from momentum_cli.training.snapshot import restore, snapshot
from momentum_cli.training.trainer import Trainer

DROPOUT = {"num_layers": 2, "dropout": 0.3}


def attacked(attack: str = "pgd", data: Dataset | None = None, **train: Any) -> Trainer:
    options = {"attack": attack, "epsilon": 0.2, **train.pop("adversarial", {})}
    model = train.pop("model", {})
    return trainer(data, model=model, train={"adversarial": options, **train})


def ragged() -> Dataset:
    """Sequences of 1 to 5 steps with numbers in [0, 1]; what pads them is 0."""
    lengths = torch.arange(10) % 5 + 1
    inputs = torch.rand(10, 5, 2, generator=torch.Generator().manual_seed(1))
    inputs[torch.arange(5)[None, :] >= lengths[:, None]] = 0.0
    split = Split(inputs, torch.arange(10) % 3, lengths=lengths)
    return replace(dataset(), train=split, validation=split, test=split, input_range=(0.0, 1.0))


def seen_by(one: Trainer) -> list[tuple[Tensor, Batch]]:
    """Return a list to which the trainer adds the inputs that it was given and the batch it learned from."""
    found: list[tuple[Tensor, Batch]] = []
    changed = one.adversary.changed

    def heard(batch: Batch, *rest: Any) -> Batch:
        after = changed(batch, *rest)
        found.append((batch.inputs, after))
        return after

    one.adversary.changed = heard  # type: ignore[method-assign]
    return found


def test_a_step_is_gradient_descent_on_the_attacked_inputs() -> None:
    """The attack computed anew: three signed steps from a random place, each clipped."""
    one = attacked(adversarial={"steps": 3, "step_size": 0.1}, batch_size=5)
    model = trainer().module
    for step in range(2):
        model.load_state_dict(one.module.state_dict())
        group = one._next_group()
        inputs, targets = one.dataset.train.inputs[group], one.dataset.train.targets[group]  # type: ignore[attr-defined]
        place = inputs + 0.2 * (2 * torch.rand(inputs.shape, generator=stream("adversarial", 3, step)) - 1)
        for _ in range(3):
            place.requires_grad_()
            (slope,) = torch.autograd.grad(cross_entropy(model(place)[0], targets), place)
            place = torch.max(torch.min(place.detach() + 0.1 * slope.sign(), inputs + 0.2), inputs - 0.2)
        loss = cross_entropy(model(place)[0], targets)
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        expected = torch.cat([(p - 0.1 * p.grad).detach().flatten() for p in model.parameters() if p.grad is not None])
        assert one.step().loss == pytest.approx(loss.item(), rel=1e-5)
        torch.testing.assert_close(parameters(one), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("attack", ATTACKS)
def test_padding_and_range_are_kept(attack: str) -> None:
    one = attacked(attack, ragged())
    seen = seen_by(one)
    one.step()
    ((before, after),) = seen
    assert after.lengths is not None
    inside = torch.arange(5)[None, :] < after.lengths[:, None]
    assert (after.inputs[~inside] == 0).all()
    assert ((after.inputs >= 0) & (after.inputs <= 1)).all()
    moved = (after.inputs - before).abs()
    assert (moved <= 0.2 + 1e-6).all()
    assert moved[inside].mean() > 0.02


@pytest.mark.parametrize("attack", ATTACKS)
def test_mode_gradients_and_random_streams_stay_as_they_were(attack: str) -> None:
    one, plain = attacked(attack, model=DROPOUT), trainer(model=DROPOUT)
    outside = torch.get_rng_state()
    for parameter in one.module.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    one.adversary.begin(0)
    one.module.train()
    part = torch.arange(4)
    one.adversary.changed(one.dataset.train.batch(part), part, 0, 1, 0.25)
    assert all(module.training for module in one.module.modules())
    assert all((parameter.grad == 0.5).all() for parameter in one.module.parameters() if parameter.grad is not None)
    for parameter in one.module.parameters():
        parameter.grad = None
    for _ in range(2):
        one.step()
        plain.step()
    # The masks of dropout are those of ordinary training, and nothing else was drawn.
    assert torch.equal(one.random.tensors["cpu"], plain.random.tensors["cpu"])
    assert torch.equal(torch.get_rng_state(), outside)
    assert not torch.equal(parameters(one), parameters(plain))


def test_the_start_does_not_depend_on_parts_and_processes() -> None:
    data = ragged()
    whole, halves = attacked("fgsm", data, batch_size=6), attacked("fgsm", data, batch_size=3, accumulate=2)
    seen, twice = seen_by(whole), seen_by(halves)
    whole.step()
    halves.step()
    torch.testing.assert_close(torch.cat([after.inputs for _, after in twice]), seen[0][1].inputs)
    torch.testing.assert_close(parameters(halves), parameters(whole))
    one = attacked("fgsm", data)
    part = torch.arange(5)
    one.adversary.begin(3)
    together = one.adversary.changed(data.train.batch(part), part, 0, 1, 1.0).inputs
    for rank in (0, 1):
        one.adversary.begin(3)
        share = one.adversary.changed(data.train.batch(part[rank::2]), part, rank, 2, 1.0).inputs
        torch.testing.assert_close(share, together[rank::2])
    # A process without a sequence takes the first one.
    one.adversary.begin(3)
    assert one.adversary.changed(data.train.batch(part[:1]), part[:1], 1, 2, 0.0).inputs.shape == (1, 5, 2)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("at", [1, 4])
def test_a_restored_trainer_goes_on_bit_for_bit(attack: str, at: int) -> None:
    whole, second = interrupted(lambda: attacked(attack, model=DROPOUT, adversarial={"steps": 1}), at)
    assert torch.equal(parameters(second), parameters(whole))
    for name, tensor in whole.adversary.tensors.items():
        assert torch.equal(second.adversary.tensors[name], tensor), name


def test_the_learned_attack_learns_and_is_in_the_checkpoint() -> None:
    one = attacked("learned")
    before = {name: tensor.clone() for name, tensor in one.adversary.tensors.items()}
    for _ in range(2):
        one.step()
    after = snapshot(one).group("attack")
    assert all(not torch.equal(after[name], tensor) for name, tensor in before.items())
    assert {name.rpartition(".")[2] for name in after if name.startswith("optimizer")} == {
        "step",
        "exp_avg",
        "exp_avg_sq",
    }
    # A checkpoint without one, as of a run that was not attacked so far, leaves the attack at its beginning.
    other = attacked("learned")
    restore(other, Checkpoint(snapshot(attacked("pgd")).tensors, snapshot(one).data))
    assert all(torch.equal(other.adversary.tensors[name], tensor) for name, tensor in before.items())


def test_the_learned_attack_of_parts_is_that_of_the_whole() -> None:
    whole, halves = attacked("learned", batch_size=8), attacked("learned", batch_size=4, accumulate=2)
    for _ in range(3):
        whole.step()
        halves.step()
    for name, tensor in whole.adversary.tensors.items():
        torch.testing.assert_close(halves.adversary.tensors[name], tensor, rtol=1e-3, atol=1e-5)


def test_a_step_that_is_not_finite_leaves_the_learned_attack_alone() -> None:
    one = attacked("learned")
    one.step()
    bias = one.module.head.bias  # type: ignore[union-attr]
    with torch.no_grad():
        bias[0] = math.nan  # type: ignore[index,operator]
    before = {name: tensor.clone() for name, tensor in one.adversary.tensors.items()}
    assert one.step().skipped
    for name, tensor in before.items():
        assert torch.equal(one.adversary.tensors[name], tensor), name


@pytest.mark.parametrize("attack", ATTACKS)
def test_bfloat16_and_averaging(attack: str) -> None:
    one = attacked(attack, precision="bf16-mixed", averaging={"patience": 1})
    for accuracy in (0.9, 0.5, 0.4, 0.3):
        assert not one.step().skipped
        one.record({"loss": 1.0, "accuracy": accuracy}, "validation")
    one.step()
    assert one.averaged() is not None
    assert 0 <= one.evaluate("test")["accuracy"] <= 1


def test_other_than_numbers_are_refused() -> None:
    split = Split(torch.zeros(4, 5, 2), torch.arange(4) % 3)
    tokens = replace(split)
    object.__setattr__(tokens, "batch", lambda index: Batch(torch.zeros(1, 5, dtype=torch.int64), index, None))
    with pytest.raises(RecipeError, match=r"`train\.adversarial` must be left out for inputs that are not numbers"):
        attacked(data=replace(dataset(), train=tokens))


def test_an_epsilon_beyond_the_range_of_the_inputs_is_refused() -> None:
    must = r"`train\.adversarial\.epsilon` must be at most 1, as inputs are from 0 to 1, got 8\.0"
    with pytest.raises(RecipeError, match=must):
        attacked(data=ragged(), adversarial={"epsilon": 8.0})
    attacked(data=ragged(), adversarial={"epsilon": 1.0})
    # Without a range it may be any number.
    attacked(adversarial={"epsilon": 8.0})


def test_ordinary_training_has_no_adversary() -> None:
    assert not isinstance(trainer().adversary, Attacking)
    assert trainer().adversary.described == ""
    assert attacked().adversary.described == "pgd, epsilon 0.2, 7 steps of 0.0714"
    assert attacked("fgsm").adversary.described == "fgsm, epsilon 0.2, 1 step of 0.25"
    assert not snapshot(trainer()).group("attack")
