"""The data set of gathered sequences: splits and windows, with inputs and targets scaled by the training data.

Axes: n sequences, S steps of all of them, D features, W channels of the model, K targets, h horizon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from momentum_cli.data.dataset import Dataset, Naive, Sequences
from momentum_cli.data.files.checking import find_constant
from momentum_cli.data.files.future import future_of
from momentum_cli.data.files.gathered import Gathered
from momentum_cli.data.files.groups import Groups, fitted, groups_of
from momentum_cli.data.files.naive import naive_errors, of_classes, of_forecasts, training_mean
from momentum_cli.data.files.normalisation import OTHER, Mixed, OneHot, Scaling
from momentum_cli.data.files.options import FileOptions
from momentum_cli.data.files.places import Places
from momentum_cli.data.files.schema import Schema
from momentum_cli.data.files.sequences import FileSplit, Windows
from momentum_cli.data.files.splitting import Part, read_blocks
from momentum_cli.errors import DataError
from momentum_cli.messages import Said, counted, refuse

if TYPE_CHECKING:
    from momentum_cli.data.problems import Problems


# Keys of the preprocessing that differ from file to file: numbers of characters and of words.
_WORDS = ("characters", "categories")


def assemble(
    task: FileOptions, schema: Schema, gathered: Gathered, parts: dict[str, Part], problems: Problems
) -> Dataset:
    """Return the splits, normalised by the training data.

    Raises:
        DataError: There are fewer than two classes, or scaled values lose their digits.
    """
    groups = groups_of(gathered, parts, schema.group_name, problems)
    prepare, description = _inputs(task, schema, gathered, parts["train"], groups, problems)
    names, target_scaling = _targets(task, gathered, parts["train"], groups, problems)
    future = None
    if schema.known_future and not isinstance(prepare, OneHot):
        future = future_of(task.steps_ahead, schema.known_future, gathered.feature_names, prepare)
    in_groups = None if groups is None else groups.places
    errors = None
    if task.kind == "forecasting":
        assert gathered.step_targets is not None
        lag = task.season or 1
        errors = naive_errors(gathered.step_targets, parts["train"], gathered.breaks, lag, len(gathered))
    places = Places(gathered.names, gathered.starts, gathered.lengths, gathered.clocks, in_groups, errors)
    channels = prepare.size + (0 if future is None else future.size)
    splits = {
        split: replace(split_of(task, gathered, part, prepare, channels, target_scaling, places), future=future)
        for split, part in parts.items()
    }
    for split in ("train", "test"):
        if not len(splits[split]):
            longest = int((parts[split].ends - parts[split].begins).max(initial=0))
            text = f"the split {split} is empty"
            if task.window is not None:
                ahead = f" + {task.reach}" if task.kind == "forecasting" else ""
                text += f": its longest series has {counted(longest, 'step')}, and {task.window}{ahead} are needed"
            problems.add("empty_split", text)
    naive = _naive(task, parts["train"], splits["train"], gathered, target_scaling)
    if groups is not None:
        description |= {"groups": groups.dump()}
    return finished(task, splits, channels, description, (names, target_scaling), gathered.labels, naive)


def finished(
    task: FileOptions,
    splits: Mapping[str, Sequences],
    channels: int,
    description: dict[str, Any],
    targets: tuple[list[str], Scaling | None],
    labels: tuple[str, ...],
    naive: tuple[Naive, ...],
) -> Dataset:
    """Return the data set of finished splits.

    Args:
        task: The options.
        splits: train, validation and test; the second may be empty.
        channels: W.
        description: The way from a file to the inputs.
        targets: Names and scaling of the predicted values; [] and None for classes.
        labels: Names of the classes.
        naive: Predictors without a model.
    """
    names, target_scaling = targets
    values, grouped = target_scaling is not None, "groups" in description
    levels, count = tuple(task.quantiles or ()), max(1, len(task.steps_ahead))
    preprocessing = description | {
        "horizon": task.horizon,
        "targets": None if target_scaling is None else {"names": names, **target_scaling.dump()},
        # Models of earlier versions have no such key.
        **({"quantiles": list(levels)} if levels else {}),
    }
    return Dataset(
        name="files",
        train=splits["train"],
        validation=splits["validation"] if len(splits["validation"]) else None,
        test=splits["test"],
        input_size=channels,
        output_size=len(names) * count * max(1, len(levels)) if values else len(labels),
        output="every" if task.kind == "labelling" else "last",
        loss="pinball" if levels else "mse" if values else "cross_entropy",
        metrics=task.metrics,
        labels=None if values else labels,
        preprocessing=preprocessing,
        licence="that of the data",
        naive=naive,
        # With groups every batch says what its own are.
        target_scale=None if target_scaling is None or grouped else tuple(target_scaling.scale.tolist()) * count,
        target_offset=None if target_scaling is None or grouped else tuple(target_scaling.offset.tolist()) * count,
        quantiles=levels,
        neighbours=1 if task.window is None else -(-(task.window + max(1, task.reach)) // task.stride),
    )


def _naive(
    task: FileOptions, part: Part, train: FileSplit, gathered: Gathered, target_scaling: Scaling | None
) -> tuple[Naive, ...]:
    times = len(task.quantiles or [0.5])
    if target_scaling is None:
        return of_classes(train, part, len(gathered.labels), every=task.kind == "labelling")
    if task.window is None or task.kind != "forecasting":
        return (training_mean(target_scaling, 1, times),)
    return of_forecasts(train, part, gathered.breaks, task.window, task.season, times)


def _inputs(
    task: FileOptions, schema: Schema, gathered: Gathered, train: Part, groups: Groups | None, problems: Problems
) -> tuple[Scaling | OneHot | Mixed, dict[str, Any]]:
    description = describe_inputs(task, schema, gathered)
    met = gathered.facts.get("characters")
    if met is not None:
        used = np.zeros(len(met), bool)
        for block in read_blocks(gathered.features, train):
            used[block[:, 0].astype(np.int64)] = True
        known = sorted(character for character, here in zip(met, used.tolist(), strict=True) if here)
        encoding = OneHot.of(met, known)
        return encoding, description | {"scaling": None, "tokens": [*known, OTHER]}
    columns = gathered.features.columns
    moments, scaling = fitted(lambda part: read_blocks(gathered.features, part), train, columns, task.normalise, groups)
    if len(gathered.feature_names) == gathered.features.columns:
        numbers = ~np.isin(gathered.feature_names, schema.categorical)
        find_constant(gathered.feature_names, moments.constant & numbers, moments.mean, problems)
    description |= {"scaling": scaling.dump(), "tokens": None}
    if not schema.categorical:
        return scaling, description
    categories = known_words(gathered, train, schema.categorical)
    return mixed_channels(scaling, gathered, categories), description | {"categories": categories}


def describe_inputs(task: FileOptions, schema: Schema, gathered: Gathered) -> dict[str, Any]:
    """Return the way from a file to stored steps, without their scaling."""
    return {
        "kind": "files",
        "schema": schema.with_features(gathered.columns).dump(),
        "missing": task.missing,
        "window": task.window if task.kind == "forecasting" else None,
        **({"windows": {"length": task.window, "stride": task.stride}} if schema.windowed else {}),
        "features": list(gathered.feature_names),
        "facts": {key: value for key, value in gathered.facts.items() if key not in _WORDS},
    }


def mixed_channels(scaling: Scaling, gathered: Gathered, categories: dict[str, list[str]]) -> Mixed:
    """Return the channels of a file whose categorical columns have known words."""
    met = gathered.facts["categories"]
    words = {gathered.feature_names.index(name): OneHot.of(met[name], known) for name, known in categories.items()}
    return Mixed(scaling, words)


def known_words(gathered: Gathered, train: Part, columns: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the words of each categorical column that the training data have, sorted."""
    places = {name: gathered.feature_names.index(name) for name in columns}
    used: dict[str, set[int]] = {name: set() for name in columns}
    for block in read_blocks(gathered.features, train):
        for name, place in places.items():
            codes = block[:, place]
            used[name].update(np.unique(codes[~np.isnan(codes)]).astype(int).tolist())
    met = gathered.facts["categories"]
    return {name: sorted(met[name][code] for code in codes) for name, codes in used.items()}


def _targets(
    task: FileOptions, gathered: Gathered, train: Part, groups: Groups | None, problems: Problems
) -> tuple[list[str], Scaling | None]:
    """Return the names of the predicted values and their scaling; [] and None for classes."""
    if task.kind in ("classification", "labelling"):
        require_classes(task, gathered.labels)
        return [], None
    given = [task.target] if isinstance(task.target, str) else list(task.target or gathered.feature_names)
    values, steps = gathered.targets, gathered.step_targets
    columns = values.shape[1] if values is not None else 1 if steps is None else steps.columns

    def blocks(part: Part) -> Iterable[np.ndarray]:
        if values is not None:
            return [values[part.sequences]]
        return [] if steps is None else read_blocks(steps, part)

    moments, scaling = fitted(blocks, train, columns, task.normalise, groups)
    names = given if len(given) == columns else [f"{given[0]}[{index}]" for index in range(columns)]
    if task.target is None and len(given) > gathered.features.columns:
        names = ["value"]  # the columns of a table whose rows are series are steps
    find_constant(names, moments.constant, moments.mean, problems, target=True)
    return names, scaling


def require_classes(task: FileOptions, labels: tuple[str, ...]) -> None:
    """Refuse a target without two classes.

    Raises:
        DataError: There are fewer.
    """
    if len(labels) < 2:
        raise DataError(f"{task.path}: {refuse('the target', Said(f'{len(labels)}'), 'have two or more classes')}")


def split_of(
    task: FileOptions,
    gathered: Gathered,
    part: Part,
    prepare: Scaling | OneHot | Mixed,
    channels: int,
    target_scaling: Scaling | None,
    places: Places,
) -> FileSplit:
    """Return the sequences of a part of a file.

    Args:
        task: The options.
        gathered: The file.
        part: The part.
        prepare: Conversion of stored steps to channels.
        channels: W.
        target_scaling: That of predicted values; None for classes.
        places: Names of the sequences.
    """
    shared: dict[str, Any] = {"target_scaling": target_scaling, "places": places}
    if task.window is not None:
        ahead = task.steps_ahead
        windows = _windows(task.window, task.reach, task.stride, part, gathered.breaks)
        steps = gathered.step_targets
        assert steps is not None
        return FileSplit(gathered.features, windows, prepare, channels, steps, ahead, at_end=not ahead, **shared)
    count = np.ones(len(part.sequences), np.int64)
    windows = Windows(part.begins, count, 1, part.ends - part.begins)
    if gathered.targets is None:
        assert gathered.step_targets is not None
        return FileSplit(gathered.features, windows, prepare, channels, gathered.step_targets, **shared)
    chosen = gathered.targets[part.sequences]
    if target_scaling is not None:
        groups = None if places.groups is None else places.groups[part.sequences]
        chosen = target_scaling.chosen(groups)(chosen[:, None])[:, 0]
    return FileSplit(gathered.features, windows, prepare, channels, torch.from_numpy(chosen), **shared)


def _windows(window: int, reach: int, stride: int, part: Part, breaks: np.ndarray) -> Windows:
    """Return the windows whose forecasts, or with reach 0 last steps, are in a part of each series.

    None spans a break. `reach` is the last forecast step after a window.
    """
    begins, ends, back = part.begins, part.ends, part.reaches_back
    if len(breaks):
        # Each part is cut at its breaks; windows before the first one reach back as before.
        inner = [breaks[(breaks > begin) & (breaks < end)] for begin, end in zip(begins, ends, strict=True)]
        before = [breaks[(breaks > low) & (breaks <= begin)] for low, begin in zip(back, begins, strict=True)]
        starts = [np.concatenate(([begin], own)) for begin, own in zip(begins, inner, strict=True)]
        stops = [np.concatenate((own, [end])) for end, own in zip(ends, inner, strict=True)]
        lows = [
            np.concatenate(([own[-1] if len(own) else low], cut))
            for low, own, cut in zip(back, before, inner, strict=True)
        ]
        begins, ends, back = (np.concatenate(one).astype(np.int64) for one in (starts, stops, lows))
    first = np.maximum(back, begins - window + (reach == 0))
    room = ends - reach - window - first
    counts = np.where(room >= 0, room // stride + 1, 0)
    return Windows(first, counts, stride, np.full(len(first), window, np.int64))
