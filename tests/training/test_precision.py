"""Mixed precision with float16, the choice of `auto`, and compiled losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_trainer import dataset, parameters, recipe, trainer

from momentum_cli.errors import RecipeError, RunError
from momentum_cli.training.launch import launch
from momentum_cli.training.precision import LossScale, chosen_precision
from momentum_cli.training.snapshot import restore, snapshot
from momentum_cli.training.trainer import Trainer

ONE, INF, NAN = torch.tensor(1.0), torch.tensor(float("inf")), torch.tensor(float("nan"))


def launched(**sections: dict[str, Any]) -> Trainer:
    wanted = recipe(**sections)
    return Trainer(wanted, dataset(), launch(wanted, 1, 1, "cpu"))


def test_auto_is_chosen_by_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_precision("auto", "cpu") == "fp32"
    for able, chosen in ((True, "bf16-mixed"), (False, "fp16-mixed")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation, able=able: able)
        assert chosen_precision("auto", "cuda") == chosen
    assert chosen_precision("fp32", "cuda") == "fp32"
    assert launched(train={"precision": "auto"}).precision == "fp32"


def test_the_scale_follows_the_gradient_and_nothing_else() -> None:
    scale = LossScale("cpu")
    assert not scale.follow(ONE, ONE)
    assert scale.follow(ONE, INF)
    assert scale.tensors["value"] == 2.0**15
    assert not scale.follow(NAN, NAN)  # a divergence, which no scale mends
    assert scale.tensors["value"] == 2.0**15
    for _ in range(1999):
        scale.follow(ONE, ONE)
    assert scale.tensors["value"] == 2.0**15
    scale.follow(ONE, ONE)
    assert scale.tensors == {"value": torch.tensor(2.0**16), "streak": torch.tensor(0)}
    scale.restore({"value": torch.tensor(2.0)})
    assert scale.follow(ONE, INF)
    assert not scale.follow(ONE, INF)  # at scale 1 the gradient itself is not finite
    assert scale.tensors["value"] == 1.0


def test_a_scale_takes_back_what_it_did_without_rounding() -> None:
    scale, gradients = LossScale("cpu"), [torch.randn(3), torch.randn(2, 2)]
    enlarged = [scale.enlarge(gradient) for gradient in gradients]
    assert not torch.equal(enlarged[0], gradients[0])
    scale.reduce(enlarged)
    assert all(map(torch.equal, enlarged, gradients))


def test_training_in_float16_is_training() -> None:
    half, single = launched(train={"precision": "fp16-mixed"}), launched()
    assert half.precision == "fp16-mixed"
    for _ in range(6):
        results = [one.step() for one in (half, single)]
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-2)
    assert results[0].grad_norm == pytest.approx(results[1].grad_norm, rel=2e-2)
    assert not torch.equal(parameters(half), parameters(single))  # or it was not in float16
    torch.testing.assert_close(parameters(half), parameters(single), rtol=1e-2, atol=1e-3)


def test_a_scale_that_is_too_large_ends_no_run() -> None:
    one = launched(train={"precision": "fp16-mixed", "max_nonfinite": 0})
    one.scale.restore({"value": torch.tensor(2.0**24)})
    before = parameters(one)
    result = one.step()
    assert result.overflowed
    assert one.progress.nonfinite_steps == 0
    assert torch.equal(parameters(one), before)
    while one.step().overflowed:
        pass
    assert 1.0 < one.scale.tensors["value"] < 2.0**24
    assert not torch.equal(parameters(one), before)


def test_a_loss_that_is_not_finite_ends_a_run_in_float16_too() -> None:
    one = launched(train={"precision": "fp16-mixed", "max_nonfinite": 0})
    with torch.no_grad():
        next(one.module.parameters()).fill_(float("nan"))
    with pytest.raises(RunError, match="not finite"):
        one.step()


def test_the_scale_is_part_of_a_checkpoint() -> None:
    one, other = (launched(train={"precision": "fp16-mixed"}) for _ in range(2))
    one.scale.restore({"value": torch.tensor(2.0**24)})
    for _ in range(3):
        one.step()
    restore(other, snapshot(one))
    assert other.scale.tensors == one.scale.tensors
    for each in (one, other):
        each.step()
    assert torch.equal(parameters(one), parameters(other))
    plain = trainer()
    restore(plain, snapshot(one))  # a run may go on in another precision
    assert plain.scale.tensors == {}


def test_compiling_is_refused_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder, exc

    def missing() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", missing)
    with pytest.raises(RecipeError, match=r"`train.compile` must be false here, got True; it needs a C\+\+ compiler"):
        trainer(train={"compile": True})


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["momentum", "adam-gru", "momentum-dtriv"])
def test_a_compiled_training_is_the_same_one(cell: str) -> None:
    pytest.importorskip("torch._inductor")
    options = {"model": {"cell": cell, "backend": "auto"}}
    compiled, plain = trainer(train={"compile": True}, **options), trainer(**options)
    for _ in range(5):  # with a smaller last batch among them
        results = [one.step() for one in (compiled, plain)]
        assert results[0].loss == pytest.approx(results[1].loss, rel=1e-5)
    torch.testing.assert_close(parameters(compiled), parameters(plain), rtol=1e-4, atol=1e-6)
    assert compiled.module.state_dict().keys() == plain.module.state_dict().keys()
    restore(plain, snapshot(compiled))
    assert compiled.evaluate("test") == plain.evaluate("test")
