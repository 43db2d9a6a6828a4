"""The embedded digits: integrity, fixed test images, and preprocessing a consumer can repeat."""

from pathlib import Path

import numpy as np
import pytest
import torch

from momentum_cli.data import Digits, Split
from momentum_cli.data import digits as digits_module
from momentum_cli.errors import DataError


def rows(*splits: Split | None) -> list[tuple[int, ...]]:
    """Every image with its class, sorted: equal for equal multisets of images."""
    return sorted(
        (*image, int(label))
        for split in splits
        if split is not None
        for image, label in zip(split.inputs.flatten(1).tolist(), split.targets, strict=True)
    )


def test_the_splits_divide_the_1797_images() -> None:
    with np.load(digits_module.FILE) as arrays:
        everything = sorted(
            (*image, int(label))
            for image, label in zip(arrays["images"].reshape(-1, 64).tolist(), arrays["labels"], strict=True)
        )
    dataset = Digits().load()
    assert dataset.validation is not None
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (1257, 180, 360)
    assert rows(dataset.train, dataset.validation, dataset.test) == everything


def test_the_test_images_are_the_same_for_every_option_and_classes_keep_their_share() -> None:
    reference = Digits().load()
    for task in (Digits(split_seed=5), Digits(validation="none"), Digits(pixels_per_step=1, validation=700)):
        assert rows(task.load().test) == rows(reference.test)
    counts = torch.bincount(reference.test.targets)
    assert counts.min() >= 34
    assert counts.max() <= 37


def test_split_seed_moves_the_validation_set_and_none_trains_on_all() -> None:
    first, second = Digits(split_seed=0).load(), Digits(split_seed=1).load()
    assert rows(first.validation) != rows(second.validation)
    whole = Digits(validation="none").load()
    assert whole.validation is None
    assert len(whole.train) == 1437
    assert rows(whole.train) == rows(first.train, first.validation) == rows(second.train, second.validation)


@pytest.mark.parametrize("pixels_per_step", [1, 2, 8, 64])
def test_a_consumer_gets_the_model_input_from_the_preprocessing_alone(pixels_per_step: int) -> None:
    dataset = Digits(pixels_per_step=pixels_per_step).load()
    recipe = dataset.preprocessing
    by_row = Digits().load().train.inputs.numpy()  # (n, 8, 8): a row a step is the image itself
    steps = recipe["height"] * recipe["width"] // recipe["pixels_per_step"]
    expected = (by_row * recipe["scale"]).reshape(len(by_row), steps, recipe["pixels_per_step"])
    assert recipe["scale"] == 1 / recipe["raw_max"]
    assert recipe["permutation"] is None
    assert dataset.input_size == pixels_per_step
    batch = dataset.train.batch(torch.arange(len(dataset.train)))
    np.testing.assert_allclose(batch.inputs.numpy(), expected, rtol=1e-7)
    assert float(batch.inputs.min()) == 0.0
    assert float(batch.inputs.max()) == 1.0


def test_a_permutation_moves_the_same_pixels_of_every_image() -> None:
    plain, mixed = Digits(pixels_per_step=1).load(), Digits(pixels_per_step=1, permutation_seed=3).load()
    # Fisher-Yates from torch's generator of that seed, as pmnist has it
    order = torch.randperm(64, generator=torch.Generator().manual_seed(3))
    for one, other in ((plain.train, mixed.train), (plain.test, mixed.test)):
        assert torch.equal(one.inputs[:, order], other.inputs)
        assert torch.equal(one.targets, other.targets)
    assert mixed.preprocessing["permutation"] == order.tolist()
    assert not torch.equal(mixed.train.inputs, Digits(pixels_per_step=1, permutation_seed=4).load().train.inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"permutation_seed": -1}, r"permutation_seed must be in \[0, 4294967295\], got -1"),
        ({"pixels_per_step": 3}, r"must be a divisor of 64 \(1, 2, 4, 8, 16, 32, 64\), got 3"),
        ({"pixels_per_step": 0}, "got 0"),
        ({"validation": 0}, r"'none' or a number in \[1, 1436\], got 0"),
        ({"validation": 1437}, "got 1437"),
        ({"validation": "half"}, "got 'half'"),
        ({"split_seed": -1}, r"split_seed must be in \[0, 4294967295\], got -1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Digits(**options)  # type: ignore[arg-type]


def test_a_damaged_or_absent_embedded_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / "digits.npz"
    content = bytearray(digits_module.FILE.read_bytes())
    content[20_000] ^= 1
    monkeypatch.setattr(digits_module, "FILE", damaged)
    with pytest.raises(DataError, match=r"digits\.npz: cannot be read .*; reinstall"):
        Digits().load()
    damaged.write_bytes(content)
    with pytest.raises(DataError, match=r"digits\.npz: damaged .*; reinstall"):
        Digits().load()


def test_the_licence_travels_with_the_file_and_with_the_data() -> None:
    text = digits_module.FILE.with_name("digits.LICENSE.txt").read_text(encoding="utf-8")
    for part in ("CC BY 4.0", "UCI", "10.24432/C50P49"):
        assert part in text
        assert part in Digits().load().licence
