"""A folder with an exported model: the file, its description as JSON, and a README.md, as model hubs take it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from momentum_cli.data import Dataset
from momentum_cli.errors import DataError
from momentum_cli.formats.bundle import Bundle
from momentum_cli.messages import Said, refuse
from momentum_cli.reading import parse_json, read_text
from momentum_cli.runs.card import write_card
from momentum_cli.runs.files import write_text
from momentum_cli.training.card import Card
from momentum_cli.training.trained import Loaded

STEM = "model"
# How programs without this package load the file, by its ending.
_OTHERS = {
    ".onnx": "Without this package: ONNX Runtime, in any language; the metadata entry `momentumrnn` is `config.json`.",
    ".pt": "Without this package: `torch.jit.load`, or libtorch in C++; `model.prepare(raw)` makes the inputs.",
    ".pt2": "Without this package: `torch.export.load`.",
    ".zip": "Without this package: unpack the archive; `momentumrnn.json` in it, the same as `config.json`, describes "
    "its two programs.",
}


def model_file(folder: Path, suffixes: tuple[str, ...]) -> Path | None:
    """Return the exported file in a folder that `write_folder` completed, or None if it is another folder.

    Raises:
        DataError: There are several.
    """
    found = [folder / f"{STEM}{suffix}" for suffix in suffixes if (folder / f"{STEM}{suffix}").is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DataError(refuse(str(folder), Said(names), "hold one exported model", f"name one: {found[0]}"))
    return found[0] if found else None


def write_folder(path: Path, bundle: Bundle, source: Loaded, dataset: Dataset, run: Path) -> None:
    """Write what belongs next to an exported file.

    Args:
        path: The file, in its folder.
        bundle: Its description.
        source: The model and its checkpoint.
        dataset: Its data set.
        run: The exported run or checkpoint; for a finished run the README.md has the results of the best checkpoint.
    """
    data = bundle.data
    write_text(path.parent / "config.json", json.dumps(data, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
    splits = {"training": dataset.train, "validation": dataset.validation, "test": dataset.test}
    progress = source.checkpoint.data["progress"]
    format = str(data["export"]["format"])
    best = progress["best"]
    card = Card(
        source.recipe,
        data["dataset"],
        {name: len(split) for name, split in splits.items() if split is not None},
        sum(parameter.numel() for parameter in source.model.parameters()),
        best if best is not None and best["step"] == progress["step"] else progress["last"],
        _result_of(run, progress["step"]),
        {
            path.name: f"the model, {format}",
            "config.json": "its options, inputs, outputs, preparation, recipe, versions",
        },
        [_OTHERS[path.suffix]] if path.suffix in _OTHERS else [],
    )
    write_card(path.parent, card.text())


def _result_of(run: Path, step: int) -> dict[str, Any]:
    """Return the result of a finished run, {} if it belongs to another step.

    Raises:
        DataError: It is damaged.
    """
    path = run / "result.json"
    if not path.is_file():
        return {}
    try:
        result = parse_json(read_text(path))
        return dict(result) if result["best"]["step"] == step else {}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); export the checkpoint itself, or restore the file") from error
