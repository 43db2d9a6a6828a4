"""A first recipe for NPZ and NPY files: the roles of their arrays, by name, shape and type."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from momentum_cli.data.files.arrays import array_form, array_names, array_values, class_numbers
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.messages import Said, refuse, unknown
from momentum_cli.recipe.first.guess import SPLIT, TARGET, Guess, named

_TARGET = (*TARGET, "labels", "classes", "targets")
_LENGTHS = ("lengths", "length")
_PART = re.compile(r"(.*?)_?(train|training|test|testing|val|valid|validation)", re.IGNORECASE)
# Values that are looked at for missing ones.
_LOOKED_AT = 1 << 24


def guess_arrays(data: Path, found: str, target: list[str] | None, guess: Guess) -> None:
    """Guess the options of a file of arrays.

    Raises:
        DataError: It has no array of numbers, or cannot be read.
        RecipeError: The target is unknown or has to be named, or a split is an array of its own.
    """
    names = array_names(data) if found == "npz" else [""]
    forms = {name: array_form(data, name) for name in names}
    if target and len(target) > 1:
        raise RecipeError(refuse("--target", Said(", ".join(target)), "name one array"))
    if found == "npz" and target and target[0] not in names:
        raise RecipeError(f"--target: {unknown('array', target[0], names)}")
    _refuse_parts(data, names)
    wanted = target[0] if target else named(names, _TARGET)
    lengths, split = named(names, _LENGTHS), named(names, SPLIT)
    taken = (wanted, lengths, split)
    left = {name: shape for name, (shape, type) in forms.items() if name not in taken and type.kind in "buif"}
    if not left:
        raise DataError(f"{data}: no array of numbers remains as the features (arrays: {', '.join(names)})")
    inputs = max(left, key=lambda name: (len(left[name]), np.prod(left[name])))
    shape = left[inputs]
    others = [name for name in names if name not in (*taken, inputs)]
    if inputs:
        guess.options["features"] = [inputs]
    if wanted is None:
        _guess_forecast(data, inputs, shape, others, guess)
    else:
        guess.options["target"] = wanted
        guess.longest = shape[1] if len(shape) > 1 else 1
        if not guess.kind:
            guess.kind, why = _kind(data, wanted, forms[wanted][0], shape)
            guess.comments.append(f"kind: {wanted!r} {why}")
    if others:
        guess.comments.append(f"arrays that are not used: {', '.join(others)}")
    for option, name in (("lengths", lengths), ("split_column", split)):
        if name is not None:
            guess.options[option] = name
    if np.prod(shape) <= _LOOKED_AT and _lacks(array_values(data, inputs), guess.kind == "forecasting"):
        guess.missing = "forward_fill"
        guess.comments.append("missing: some values are missing; each takes the last value before it")


def _refuse_parts(data: Path, names: list[str]) -> None:
    """Refuse arrays such as x_train and x_test, of which one alone would be all data."""
    stems: dict[str, list[str]] = {}
    for name in names:
        part = _PART.fullmatch(name)
        if part is not None:
            stems.setdefault(part[1].lower(), []).append(name)
    parts = next((found for found in stems.values() if len(found) > 1), None)
    if parts is None:
        return
    joined = ", ".join(parts)
    words = " + ".join(f"[{_split(name)!r}] * len({name})" for name in parts)
    raise RecipeError(
        f"{data}: {joined} are parts of one array; join them, and those of the target, and name the split of each "
        f"sequence: numpy.savez('all.npz', x=numpy.concatenate([{joined}]), y=…, split={words})"
    )


def _split(name: str) -> str:
    lower = name.lower()
    return "train" if "train" in lower else "test" if "test" in lower else "validation"


def _guess_forecast(data: Path, inputs: str, shape: tuple[int, ...], others: list[str], guess: Guess) -> None:
    if guess.kind not in ("", "forecasting"):
        raise DataError(f"{data}: name the array of targets with --target")
    answers = [name for name in others if len(shape) > 1 and array_form(data, name)[0][:1] == shape[:1]]
    if answers and not guess.kind:
        raise RecipeError(
            f"{data}: name the array to predict with --target (arrays: {', '.join([inputs, *others])}), or forecast "
            f"{inputs!r} with --kind forecasting"
        )
    guess.kind = "forecasting"
    guess.longest = shape[0] if len(shape) < 3 else shape[1]
    guess.comments.append("no array of targets: all channels are forecast")


def _kind(data: Path, name: str, shape: tuple[int, ...], features: tuple[int, ...]) -> tuple[str, str]:
    """Return the kind of prediction that an array of targets is for, and why."""
    values = array_values(data, name)
    if values.dtype.kind not in "buif":
        return ("labelling" if values.ndim == 2 else "classification"), "holds words"
    whole = bool((values % 1 == 0).all()) if values.dtype.kind == "f" else True
    if class_numbers(values, 1) is not None:
        if whole:
            hot = ", as one-hot rows" if values.ndim == 2 and shape[1] > 1 else ""
            return "classification", f"holds one class per sequence{hot}; for values set kind to regression"
        return "regression", "holds a value per sequence"
    if len(features) > 1 and len(shape) > 1 and shape[1] == features[1] and whole:
        return "labelling", "holds a class for each step"
    return "regression", f"holds {shape[1]} values per sequence"


def _lacks(values: np.ndarray, forecasting: bool) -> bool:
    """Return True if a value is missing, not counting steps behind the last one of a sequence."""
    if values.dtype.kind != "f":
        return False
    absent = np.isnan(values)
    sequences = values.ndim == 3 or (values.ndim == 2 and not forecasting)
    if sequences and absent.any():
        # (n, T) or (n, T, D): a step counts if any of its channels, or one behind it, is there.
        known = ~(absent if values.ndim == 2 else absent.all(2))
        inside = np.logical_or.accumulate(known[:, ::-1], 1)[:, ::-1]
        absent &= inside if values.ndim == 2 else inside[:, :, None]
    return bool(absent.any())
