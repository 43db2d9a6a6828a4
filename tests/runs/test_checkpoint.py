"""Checkpoint files: whole or refused with the reason, whatever was done to them."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from momentum_cli.errors import DataError, RecipeError, RunError
from momentum_cli.runs.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, pack_optimizer, save_checkpoint


def example() -> Checkpoint:
    tensors = {
        "model.weight": torch.arange(12.0).reshape(3, 4).T,
        "model.scalar": torch.tensor(2.5, dtype=torch.float64),
        "model.half": torch.ones(3, dtype=torch.bfloat16),
        "rng.cpu.0": torch.arange(5, dtype=torch.uint8),
        "optimizer.0.step": torch.tensor(3),
        "model.empty": torch.zeros(0, 2),
    }
    return Checkpoint(tensors, {"progress": {"best": None}, "value": float("inf"), "text": "µ"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "checkpoints" / "last.safetensors", example())
    return tmp_path / "checkpoints" / "last.safetensors"


def test_round_trip(path: Path) -> None:
    loaded = load_checkpoint(path)
    assert loaded.data["text"] == "µ"
    assert loaded.data["value"] == float("inf")
    assert loaded.tensors.keys() == example().tensors.keys()
    for name, tensor in example().tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)
    assert loaded.group("optimizer").keys() == {"0.step"}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="not a readable checkpoint"):
        load_checkpoint(path)


def test_every_flipped_bit_is_detected(path: Path) -> None:
    """In the header, too: a flipped digit of the recipe is still JSON."""
    content = path.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(bytes(damaged))
        with pytest.raises(DataError, match="checksum" if position >= end else "checksum|not a|format|version"):
            load_checkpoint(path)


def test_other_files_are_refused(path: Path) -> None:
    path.write_bytes(pickle.dumps({"model": 1}))
    with pytest.raises(DataError, match="not a readable checkpoint"):
        load_checkpoint(path)
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(DataError, match="a safetensors file, but not a checkpoint"):
        load_checkpoint(path)
    with pytest.raises(DataError, match="no such checkpoint"):
        load_checkpoint(path.with_name("nothing.safetensors"))


class Malicious:
    """Unpickling this would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def test_a_malicious_pickle_is_not_executed(path: Path, tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    for writer in (
        lambda: path.write_bytes(pickle.dumps(Malicious(proof))),
        lambda: torch.save(Malicious(proof), path),
    ):
        writer()
        with pytest.raises(DataError, match="not a readable checkpoint"):
            load_checkpoint(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("format_version", 99, "version 99"), ("format", "x", "the format must be .*, got 'x'")],
)
def test_an_unknown_version_or_format_is_named(path: Path, key: str, value: Any, message: str) -> None:
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    data = json.loads(header["__metadata__"]["momentumrnn"]) | {key: value}
    header["__metadata__"]["momentumrnn"] = json.dumps(data)
    changed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + size :])
    with pytest.raises(DataError, match=message):
        load_checkpoint(path)


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match="safetensors: No space left on device"):
        save_checkpoint(path, example())
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_folder_stands_for_its_best_or_last_checkpoint(path: Path) -> None:
    run = path.parent.parent
    assert find_checkpoint(run, "last") == path
    assert find_checkpoint(run) == path
    data = {"progress": {"best": {"file": "best-000000007.safetensors"}}}
    save_checkpoint(path, Checkpoint({}, data))
    best = path.with_name("best-000000007.safetensors")
    with pytest.raises(DataError, match="--checkpoint last"):
        find_checkpoint(run)
    save_checkpoint(best, example())
    assert find_checkpoint(run) == best
    assert find_checkpoint(path) == path


def test_an_optimizer_state_that_is_not_plain_is_refused() -> None:
    state = {"state": {0: {"buffers": [torch.ones(2)]}}, "param_groups": []}
    with pytest.raises(RecipeError, match="state 'buffers' is a list"):
        pack_optimizer(state)
