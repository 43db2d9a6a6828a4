"""Checkpoints: one safetensors file of plain tensors, with everything else as JSON in its header.

Loading one never unpickles anything. A file is written under a temporary name, flushed to the disk and renamed, so a
file under its final name is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from momentum_cli.errors import DataError, RecipeError, system_error
from momentum_cli.messages import refuse
from momentum_cli.reading import check_regular, parse_json
from momentum_cli.runs.files import replacing

FORMAT = "momentumrnn checkpoint"
FORMAT_VERSION = 1
SUFFIX = ".safetensors"
_HEADER = "momentumrnn"
_CHECKSUM = "checksum"


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file.

    Args:
        tensors: Tensors by name, with a prefix that says of what: ``model.``, ``optimizer.``, ``rng.``, ….
        data: JSON-able: recipe, progress, options of the optimizer, description of the data set, versions.
    """

    tensors: dict[str, Tensor]
    data: dict[str, Any]

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with ``prefix.``, by the rest of their names."""
        return {name[len(prefix) + 1 :]: t for name, t in self.tensors.items() if name.startswith(prefix + ".")}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint such that at any moment the file is the complete old one or the complete new one.

    Args:
        path: Final name.
        checkpoint: The content.

    Raises:
        RunError: The disk is full.
        DataError: The file cannot be written.
    """
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in sorted(checkpoint.tensors.items())}
    data = {"format": FORMAT, "format_version": FORMAT_VERSION, **checkpoint.data}
    text = json.dumps(data, allow_nan=True, sort_keys=True)
    payload = save(tensors, {_HEADER: text, _CHECKSUM: checksum(tensors, text)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise system_error(error, path.parent) from error
    with replacing(path) as temporary:
        temporary.write_bytes(payload)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and verify that it is complete and of a version that this program reads.

    Raises:
        DataError: The file is missing, damaged, of another kind or of an unknown version.
    """
    try:
        if path.exists():
            check_regular(path)
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such checkpoint") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"{path} is not a readable checkpoint ({error}); it may be damaged, partly copied or of another kind; "
            "give a *.safetensors file that momentumrnn wrote"
        ) from error
    try:
        data = parse_json(header[_HEADER])
    except (KeyError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is a safetensors file, but not a checkpoint of momentumrnn") from error
    if data.get("format") != FORMAT:
        raise DataError(f"{path}: {refuse('the format', data.get('format'), f'be {FORMAT!r}')}")
    if data.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{path}: format version {data.get('format_version')!r} is not {FORMAT_VERSION}, which this version of "
            "momentumrnn reads; use the version that wrote it"
        )
    if header.get(_CHECKSUM) != checksum(tensors, header[_HEADER]):
        raise DataError(f"{path} is damaged: its content does not match its checksum; use another checkpoint")
    # Copies, at addresses that torch chooses: those in the file are not aligned, which may change the rounding of
    # matrix products, and a resumed run would differ from an uninterrupted one.
    return Checkpoint({name: tensor.clone() for name, tensor in tensors.items()}, data)


def best_name(step: int) -> str:
    """Return the name of a best checkpoint."""
    return f"best-{step:09d}{SUFFIX}"


def step_name(step: int) -> str:
    """Return the name of a checkpoint that is kept because of its step."""
    return f"step-{step:09d}{SUFFIX}"


def save_in_order(last_path: Path, last: Checkpoint, others: Mapping[str, Checkpoint]) -> None:
    """Write the checkpoints of a run.

    New ones are first written under their own names. The last checkpoint names the best ones that belong to it, so
    those on the disk fit together even if the process is killed in between.

    Args:
        last_path: Path of the last checkpoint; the others are in the same folder.
        last: The last checkpoint.
        others: Other new checkpoints by their file names; a best one that `last` does not name is left out.
    """
    progress = last.data["progress"]
    for name, checkpoint in others.items():
        if name in _bests(progress) or name == step_name(progress["step"]):
            save_checkpoint(last_path.with_name(name), checkpoint)
    save_checkpoint(last_path, last)
    drop_others(last_path, progress)


def drop_others(last_path: Path, progress: Mapping[str, Any]) -> None:
    """Delete checkpoints that do not belong to the last one: former best ones, and leftovers of a killed process.

    Args:
        last_path: Path of the last checkpoint; the others are in the same folder.
        progress: Progress in the last checkpoint, or at the start.
    """
    named = _bests(progress)
    for path in last_path.parent.glob(f"best-*{SUFFIX}"):
        if path.name not in named:
            path.unlink(missing_ok=True)
    for path in last_path.parent.glob(f"step-*{SUFFIX}"):
        if path.name > step_name(progress["step"]):
            path.unlink(missing_ok=True)


def _bests(progress: Mapping[str, Any]) -> set[str]:
    """Return the files of the best evaluations."""
    best = progress["best"]
    return {
        entry["file"] for entry in (*progress.get("tops", ()), *([] if best is None else [best])) if "file" in entry
    }


def pack_optimizer(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimizer's state_dict into named tensors and JSON.

    Args:
        state: ``optimizer.state_dict()``.

    Returns:
        Tensors named ``PARAMETER.KEY``, and the param groups with the scalars of the state.

    Raises:
        RecipeError: The state holds something other than tensors, numbers and strings.
    """
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    plain = (bool, int, float, str, type(None))
    for index, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            elif isinstance(value, plain):
                scalars.setdefault(str(index), {})[key] = value
            else:
                raise RecipeError(
                    f"cannot checkpoint this optimizer: state {key!r} is a {type(value).__name__}, but only tensors "
                    "and numbers can be stored; choose another optimizer"
                )
    groups = [
        {key: value.item() if isinstance(value, Tensor) else value for key, value in group.items()}
        for group in state["param_groups"]
    ]
    return tensors, {"param_groups": groups, "scalars": scalars}


def unpack_optimizer(tensors: dict[str, Tensor], data: dict[str, Any]) -> dict[str, Any]:
    """Invert `pack_optimizer`; the result is for ``optimizer.load_state_dict``."""
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in data["scalars"].items()}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    return {"state": state, "param_groups": data["param_groups"]}


def find_checkpoint(path: Path, which: str = "best") -> Path:
    """Return the checkpoint file that a run folder, its checkpoints folder or a file refers to.

    Args:
        path: Run folder or checkpoint file.
        which: For a folder ``"best"``, ``"last"``, or the step of a checkpoint that was kept.

    Raises:
        DataError: It does not exist.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"{path}: no such run or checkpoint; give a run folder or a {SUFFIX} file")
    is_run = (path / "checkpoints").is_dir() or (path / "recipe.yaml").is_file()
    folder = path / "checkpoints" if is_run else path
    last = folder / f"last{SUFFIX}"
    if not is_run and not last.is_file():
        raise DataError(f"{path}: not a run, no checkpoint found (neither recipe.yaml nor {last.name} is in it)")
    if not last.is_file():
        raise DataError(f"{path}: no checkpoint found (expected {last}); the run may have stopped before its first one")
    if which == "last":
        return last
    if which != "best":
        return _kept(folder, which)
    best = load_checkpoint(last).data["progress"]["best"]
    if best is None:
        return last
    chosen = folder / str(best["file"])
    if not chosen.is_file():
        raise DataError(f"{chosen}: the best checkpoint is missing; use --checkpoint last")
    return chosen


def _kept(folder: Path, step: str) -> Path:
    """Return the checkpoint of a step that was kept, as one of the best or for its step."""
    steps = {path.stem.partition("-")[2].lstrip("0"): path for path in sorted(folder.glob(f"*-*{SUFFIX}"))}
    if step not in steps:
        must = (
            f"be best, last or the number of a step that was kept ({', '.join(sorted(steps, key=int)) or 'none was'})"
        )
        raise DataError(refuse("--checkpoint", step, must))
    return steps[step]


def checksum(tensors: dict[str, Tensor], text: str) -> str:
    """Return the SHA-256 of a text and of names, shapes and bytes of tensors, as hexadecimal digits.

    It detects a damaged file, which safetensors itself does not.
    """
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
