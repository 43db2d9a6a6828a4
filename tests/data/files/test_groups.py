"""A scale for each group: by independent computation, in original units, in runs and in `predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from momentum_cli.data import Files
from momentum_cli.errors import DataError
from momentum_cli.inference.evaluate import evaluate
from momentum_cli.inference.predict.predict import predict
from momentum_cli.inspection.data import describe_data
from momentum_cli.recipe.recipe import parse_recipe
from momentum_cli.training.train import train

LEVELS = {"a": 10.0, "b": 5000.0, "c": -3.0}
SECTIONS = {"model": {"hidden_size": 4}, "optimizer": {"name": "adam", "lr": 0.02}, "train": {"epochs": 2}}


def series(steps: int = 80) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(5)
    return {name: level + abs(level) * 0.1 * draw.normal(size=steps).cumsum() for name, level in LEVELS.items()}


def write(path: Path, found: dict[str, np.ndarray]) -> Path:
    lines = ["shop,day,sales"]
    lines += [f"{name},{day},{value!r}" for name, values in found.items() for day, value in enumerate(values.tolist())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def options(path: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "kind": "forecasting", "sequence": "shop", "order": "day", "target": "sales",
            "window": 4, "horizon": 2, "normalise_by": "shop", **more}  # fmt: skip


@pytest.mark.parametrize("how", ["standard", "range"])
def test_each_series_is_scaled_by_its_own_training_part(tmp_path: Path, how: str) -> None:
    found = series()
    data = Files(**options(write(tmp_path / "t.csv", found), normalise=how)).load()
    train_steps = 80 - 12 - 12
    per_series = train_steps - 4 - 2 + 1
    assert len(data.train) == 3 * per_series
    for number, values in enumerate(found.values()):
        part = values[:train_steps]
        offset, scale = (part.mean(), part.std()) if how == "standard" else (part.min(), np.ptp(part))
        batch = data.train.batch(torch.tensor([number * per_series + 3]))
        np.testing.assert_allclose(batch.inputs[0, :, 0], (values[3:7] - offset) / scale, atol=1e-5)
        np.testing.assert_allclose(batch.targets[0], (values[7:9] - offset) / scale, atol=1e-5)
        assert batch.units is not None
        np.testing.assert_allclose(batch.units[:, 0], [[scale] * 2, [offset] * 2])
        index = torch.tensor([number * per_series])
        naive = {one.name: one.outputs(data.train, index, batch)[0] for one in data.naive}
        np.testing.assert_allclose(naive["last value"], (values[[3, 3]] - offset) / scale, atol=1e-5)
        np.testing.assert_allclose(naive["training mean"], [(part.mean() - offset) / scale] * 2, atol=1e-5)
    assert data.preprocessing["groups"] == {"column": "shop", "names": ["a", "b", "c"]}


def test_metrics_and_predictions_are_in_the_units_of_the_file(tmp_path: Path) -> None:
    found = series()
    path = write(tmp_path / "t.csv", found)
    recipe = parse_recipe({"task": {"name": "files", **options(path)}, **SECTIONS})
    result = train(recipe, out=tmp_path / "run")
    data = Files(**options(path)).load()
    # The error of the last value, from the file alone.
    errors = [values[end : end + 2] - values[end - 1] for values in found.values() for end in range(68, 79)]
    evaluated = evaluate(tmp_path / "run")
    last = next(one for one in evaluated["baselines"] if one["name"] == "last value")
    assert last["metrics"]["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    assert last["metrics"]["mse"] == pytest.approx(np.square(errors).mean(), rel=1e-5)
    # Those of the model, from its predictions.
    from momentum_cli.inference.opened import open_subject

    subject = open_subject(tmp_path / "run")
    batch = data.test.batch(torch.arange(len(data.test)))
    with torch.no_grad():
        outputs = subject.call(batch.inputs, None).double().numpy()
    own = np.repeat(list(found), len(data.test) // 3)
    scale = {name: values[:56].std() for name, values in found.items()}
    misses = [scale[name] * (out - want) for name, out, want in zip(own, outputs, batch.targets.numpy(), strict=True)]
    assert result["test"]["mae"] == pytest.approx(np.abs(misses).mean(), rel=1e-4)
    rows = evaluated["targets"][0]["steps"]
    assert [row["mae"] for row in rows] == pytest.approx(np.abs(misses).mean(0).tolist(), rel=1e-4)
    predict(tmp_path / "run", [str(path)], out=tmp_path / "o.jsonl")
    lines = (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {one["sequence"]: one["values"]["sales"] for one in map(json.loads, lines)}
    for name, values in found.items():
        mean = values[:56].mean()
        inputs = torch.from_numpy(((values[-4:] - mean) / scale[name]).astype(np.float32))[None, :, None]
        with torch.no_grad():
            wanted = subject.call(inputs, None)[0].double().numpy() * scale[name] + mean
        assert answers[name] == pytest.approx(wanted.tolist(), rel=1e-5)


def test_a_group_that_is_not_known_is_refused(tmp_path: Path) -> None:
    found = series()
    path = write(tmp_path / "t.csv", found)
    train(parse_recipe({"task": {"name": "files", **options(path)}, **SECTIONS}), out=tmp_path / "run")
    new = write(tmp_path / "new.csv", {"a": found["a"], "z": found["b"]})
    with pytest.raises(DataError, match="the group 'z' of 'shop' has no training data, so its mean and scale") as error:
        predict(tmp_path / "run", [str(new)], out=tmp_path / "o.jsonl")
    assert "the other 1 were" in str(error.value)
    lines = (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == ["a"]
    # Whole series in the test split have no part to fit a scale to.
    with pytest.raises(DataError, match=r"column 'shop': the group '.' has no training data"):
        Files(**options(path, split="fraction")).load()
    with pytest.raises(ValueError, match="`normalise_by` must be left out unless normalise is 'standard' or 'range'"):
        Files(**options(path, normalise="none"))
    with pytest.raises(DataError, match="column 'region'"):
        Files(**options(path, normalise_by="region")).load()


@pytest.mark.parametrize("form", ["csv", "jsonl", "npz"])
def test_whole_sequences_have_the_scale_of_their_group(tmp_path: Path, form: str) -> None:
    draw = np.random.default_rng(1)
    groups = ["warm" if number % 2 else "cold" for number in range(40)]
    x = np.array([draw.normal(size=6) + (100 if group == "warm" else 0) for group in groups])
    y = x.mean(1) * 2
    path = tmp_path / f"t.{form}"
    if form == "npz":
        np.savez(path, x=x, y=y, g=np.array(groups))
    elif form == "jsonl":
        lines = [json.dumps({"x": x[n].tolist(), "y": y[n], "g": groups[n]}) for n in range(40)]
        path.write_text("\n".join(lines), encoding="utf-8")
    else:
        lines = ["id,x,y,g"] + [
            f"{n},{value!r},{float(y[n])!r},{groups[n]}" for n in range(40) for value in x[n].tolist()
        ]
        path.write_text("\n".join(lines), encoding="utf-8")
    task = {"path": str(path), "kind": "regression", "target": "y", "features": ["x"], "normalise_by": "g"}
    task |= {"sequence": "id"} if form == "csv" else {}
    data = Files(**task).load()  # type: ignore[arg-type]
    batch = data.train.batch(torch.arange(len(data.train)))
    assert batch.units is not None
    restored = batch.targets.double() * batch.units[0] + batch.units[1]
    assert {round(value, 3) for value in restored[:, 0].tolist()} <= {round(value, 3) for value in y.tolist()}
    for group in (0, 1):
        # 5 x 5 times the usual spread is far from 100.
        assert abs(float(batch.inputs[batch.units[1, :, 0].gt(50) == bool(group)].mean())) < 1e-5
    recipe = parse_recipe({"task": {"name": "files", **task}, **SECTIONS})
    picture = tmp_path / "p.png"
    assert describe_data(recipe, picture=picture)["splits"]["train"]["sequences"] == len(data.train)
    train(recipe, out=tmp_path / "run")
    predict(tmp_path / "run", [str(path)], out=tmp_path / "o.jsonl")
    values = [json.loads(line)["values"]["y"] for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert all((value > 100) == (group == "warm") for value, group in zip(values, groups, strict=True))


def test_a_group_must_be_that_of_the_whole_sequence(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "id,t,g,x,y\n" + "".join(f"{n},{t},{'uv'[t % 2]},{t},{n % 2}\n" for n in range(9) for t in range(4))
    )
    task = Files(path=str(path), kind="classification", sequence="id", order="t", target="y", normalise_by="g")
    with pytest.raises(DataError, match="sequence '0' is in two groups, u and v"):
        task.load()


def test_a_name_that_holds_what_joins_names_is_refused(tmp_path: Path) -> None:
    """Else ``x / y`` with ``z`` and ``x`` with ``y / z`` would be one series."""
    rows = [{"a": "x", "b": "y / z", "v": list(range(60))}, {"a": "x / y", "b": "z", "v": list(range(1000, 1060))}]
    path = tmp_path / "two.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    task = Files(path=str(path), kind="forecasting", sequence=["a", "b"], target="v", features=["v"], window=8)
    with pytest.raises(DataError, match=r"column 'b': 'y / z' holds ' / '"):
        task.load()


@pytest.mark.parametrize("options", [{"known_future": ["p", "p"]}, {"sequence": ["a", "a"]}, {"horizon": [True, 2]}])
def test_names_given_twice_and_truths_as_numbers_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"once|rising"):
        Files(path=str(tmp_path / "a.csv"), kind="forecasting", order="t", target="y", window=8, **options)


def test_a_table_whose_rows_are_series_knows_no_future(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    names = [f"d_{step}" for step in range(1, 31)]
    rows = [f"i{row}," + ",".join(str(row + step) for step in range(30)) for row in range(4)]
    path.write_text("item," + ",".join(names) + "\n" + "\n".join(rows), encoding="utf-8")
    task = Files(path=str(path), kind="forecasting", sequence="item", features=names, window=8, known_future=["d_3"])
    with pytest.raises(DataError, match="known_future"):
        task.load()
