"""Splits, batches, the table of tasks, and that recipes can be read without waiting for torch."""

import subprocess
import sys
from dataclasses import MISSING, FrozenInstanceError, fields
from pathlib import Path

import pytest
import torch

from momentum_cli import data
from momentum_cli.data import TASKS, Split, default_data_dir
from momentum_cli.data import dataset as dataset_module


def test_bytes_are_scaled_and_gathered_in_the_order_asked_for() -> None:
    pixels = torch.randint(0, 256, (7, 5, 3), dtype=torch.uint8)
    classes = torch.arange(7)
    split = Split(pixels, classes, scale=1 / 255)
    batch = split.batch(torch.tensor([6, 0, 6, 3]))
    expected = torch.stack([pixels[i].double() / 255 for i in (6, 0, 6, 3)])
    assert batch.inputs.dtype == torch.float32
    torch.testing.assert_close(batch.inputs.double(), expected, rtol=1e-6, atol=0)
    assert batch.targets.tolist() == [6, 0, 6, 3]
    assert batch.lengths is None


def test_the_brightest_byte_becomes_exactly_one_and_the_split_itself_is_not_scaled() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1)
    split = Split(pixels, torch.zeros(2), scale=1 / 255)
    for _ in range(2):
        assert split.batch(torch.arange(2)).inputs.flatten().tolist() == [0.0, 1.0]


def test_float_inputs_pass_unchanged_and_a_batch_does_not_alias_the_data() -> None:
    inputs = torch.randn(4, 2, 3)
    split = Split(inputs, torch.randn(4), lengths=torch.tensor([1, 2, 1, 2]))
    batch = split.batch(torch.tensor([2, 1]))
    assert torch.equal(batch.inputs, inputs[[2, 1]])
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [1, 2]
    batch.inputs.zero_()
    assert not torch.equal(inputs[1], torch.zeros(2, 3))


def test_length_and_per_step_targets() -> None:
    targets = torch.arange(12).reshape(3, 4)
    split = Split(torch.zeros(3, 4, 1), targets)
    assert len(split) == 3
    assert torch.equal(split.batch(torch.tensor([2, 0])).targets, targets[[2, 0]])


@pytest.mark.parametrize(
    ("inputs", "targets", "options", "named"),
    [
        (torch.zeros(3, 4), torch.zeros(3), {}, r"\(3, 4\)"),
        (torch.zeros(3, 4, 1), torch.zeros(2), {}, r"\(2,\)"),
        (torch.zeros(3, 4, 1), torch.zeros(3), {"lengths": torch.ones(2)}, r"lengths must be \(3,\), got \(2,\)"),
        (torch.zeros(3, 4, 1), torch.zeros(3), {"scale": 0.5}, "must be 1 .* got 0.5"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    inputs: torch.Tensor, targets: torch.Tensor, options: dict[str, object], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        Split(inputs, targets, **options)  # type: ignore[arg-type]


def test_moving_a_split_leaves_lengths_on_the_cpu() -> None:
    split = Split(torch.zeros(2, 3, 1, dtype=torch.uint8), torch.zeros(2), 0.5, torch.tensor([3, 1])).to("meta")
    assert (split.inputs.device.type, split.targets.device.type) == ("meta", "meta")
    assert split.lengths is not None
    assert split.lengths.device.type == "cpu"
    assert split.scale == 0.5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_batch_on_the_gpu_equals_the_batch_on_the_cpu() -> None:
    split = Split(
        torch.randint(0, 256, (9, 5, 2), dtype=torch.uint8), torch.arange(9), 1 / 255, torch.arange(9) % 5 + 1
    )
    index = torch.tensor([8, 2, 5])
    here, there = split.batch(index), split.to("cuda").batch(index)
    assert torch.equal(here.inputs, there.inputs.cpu())
    assert torch.equal(here.targets, there.targets.cpu())
    assert here.lengths is not None
    assert there.lengths is not None
    assert torch.equal(here.lengths, there.lengths)


def test_the_table_lists_exactly_the_tasks_and_the_manual_describes_each() -> None:
    tasks = {value for value in vars(data).values() if isinstance(value, type) and hasattr(value, "load")}
    assert set(TASKS.values()) == tasks - {data.Task}
    manual = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for name, task in TASKS.items():
        assert f"## `{name}`" in manual
        section = manual.split(f"## `{name}`", 1)[1].split("\n## ", 1)[0]
        for option in fields(task):  # type: ignore[arg-type]
            if name != "pmnist" or option.name == "permutation_seed":
                assert f"`{option.name}`" in section, f"docs/data.md, {name}: {option.name} is missing"


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_options_cannot_change_after_they_were_checked(task: type) -> None:
    required = {option.name: "x" for option in fields(task) if option.default is MISSING}  # type: ignore[arg-type]
    built = task(**required)
    with pytest.raises(FrozenInstanceError):
        setattr(built, fields(task)[0].name, -1)


def test_importing_the_tasks_does_not_import_torch() -> None:
    code = "import sys, momentum_cli.data as d; d.TASKS['pmnist'](); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_data_folder_comes_from_the_environment_then_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTUMRNN_DATA", "/some/where")
    assert default_data_dir() == Path("/some/where")
    monkeypatch.setenv("MOMENTUMRNN_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    monkeypatch.setattr(dataset_module.sys, "platform", "linux")
    assert default_data_dir() == Path("/cache/momentumrnn")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/her")
    assert default_data_dir() == Path("/home/her/.cache/momentumrnn")
