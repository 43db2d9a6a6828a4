"""A saved model is data: a malicious, damaged or foreign file is refused with exit 3 and never run."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from untrained import write_checkpoint

from momentum_cli.errors import DataError
from momentum_cli.formats import bundle
from momentum_cli.formats.export import FORMATS, export, file_format, open_program
from momentum_cli.formats.onnx import format as onnx_format
from momentum_cli.inference.predict.predict import predict

FAST = ("torchscript", "onnx", "safetensors")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One exported file per format, and the checkpoint."""
    folder = tmp_path_factory.mktemp("files")
    checkpoint = write_checkpoint(folder / "checkpoint.safetensors", "model.hidden_size=4")
    found = {"checkpoint": checkpoint}
    for name in FORMATS:
        found[name] = folder / f"model{FORMATS[name].SUFFIX}"
        export(checkpoint, format=name, out=found[name], check_accuracy=False)
    return found


def refused(path: Path, message: str = ".") -> None:
    """Opening must fail with our error, one line long enough to act on, and exit code 3."""
    with pytest.raises(DataError, match=message) as caught:
        predict(path, ["nothing.npy"])
    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", [*FORMATS, "checkpoint"])
def test_truncated_files(files: dict[str, Path], name: str, tmp_path: Path) -> None:
    content = files[name].read_bytes()
    for length in (0, 1, 7, 100, len(content) // 2, len(content) - 1):
        path = tmp_path / f"cut-{length}"
        path.write_bytes(content[:length])
        refused(path)


@pytest.mark.parametrize("name", FORMATS)
def test_flipped_bits(files: dict[str, Path], name: str, tmp_path: Path) -> None:
    """A flipped bit is refused, or is in a byte that means nothing (padding, a date): then nothing else changes."""
    content = files[name].read_bytes()
    x = torch.rand(2, 5, 8)
    expected = open_program(files[name]).run(x)[0]
    description = open_program(files[name]).bundle.data
    refusals = 0
    places = np.random.default_rng(0).integers(0, len(content), 40 if name in FAST else 6)
    for place in places.tolist():
        damaged = bytearray(content)
        damaged[place] ^= 4
        path = tmp_path / "damaged"
        path.write_bytes(damaged)
        try:
            program = open_program(path)
        except DataError:
            refusals += 1
        else:
            assert program.bundle.data == description
            assert torch.equal(program.run(x)[0], expected)
    assert refusals > len(places) * 0.6


def test_a_flipped_bit_in_a_parameter_is_always_found(files: dict[str, Path], tmp_path: Path) -> None:
    """The last 35 bytes of ONNX are its checksum; tensors are at the end of safetensors and in members of the zips."""
    tensors = _tensors(files["safetensors"])
    needle = tensors["layer.weight_hh_l0"].numpy().tobytes()[:64]
    for name in ("torchscript", "safetensors", "pt2"):
        content = files[name].read_bytes()
        place = content.find(needle)
        assert place > 0, name
        for bit in (0, 3, 7):
            damaged = bytearray(content)
            damaged[place + 5] ^= 1 << bit
            (tmp_path / "damaged").write_bytes(damaged)
            refused(tmp_path / "damaged", "damaged")


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.witness),)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    for protocol in (2, 5):
        path = tmp_path / "plain.safetensors"
        path.write_bytes(pickle.dumps(Malice(witness), protocol))
        refused(path, "pickle")
    path = tmp_path / "old.pt"
    path.write_bytes(pickle.dumps(Malice(witness), 0))
    refused(path)
    torch.save({"model": Malice(witness)}, tmp_path / "torch.pt")
    refused(tmp_path / "torch.pt", "pickle")
    assert not witness.exists()


def _rewritten(path: Path, out: Path, change: Any) -> Path:
    """Copy a zip archive; ``change(name, content)`` returns the new content of a member, or None to leave it out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            content = change(entry.filename.split("/", 1)[-1], old.read(entry))
            if content is not None:
                new.writestr(entry.filename, content)
    return out


def test_pt2_archives_that_would_run_code(files: dict[str, Path], tmp_path: Path) -> None:
    """torch.export.load unpickles tensors, constants and example inputs, and evaluates expressions."""
    witness = tmp_path / "witness"
    saved = io.BytesIO()
    torch.save(Malice(witness), saved)

    def pickled_weight(name: str, content: bytes) -> bytes:
        if name.endswith("weights_config.json"):
            config = json.loads(content)
            for entry in config["config"].values():
                entry["use_pickle"] = True
            return json.dumps(config).encode()
        return saved.getvalue() if "weights/weight_0" in name else content

    def inputs(name: str, content: bytes) -> bytes:
        return saved.getvalue() if name.startswith("data/sample_inputs/") else content

    def expression(name: str, content: bytes) -> bytes:
        if not name.startswith("models/"):
            return content
        evil = f"__import__('os').mkdir({str(witness)!r})"
        return content.replace(b"Symbol(", evil.replace('"', "'").encode() + b"+Symbol(")

    for change in (pickled_weight, inputs, expression):
        path = _rewritten(files["pt2"], tmp_path / f"{change.__name__}.pt2", change)
        refused(path, "can run code")
    with zipfile.ZipFile(files["pt2"]) as archived:
        root = archived.namelist()[0].split("/")[0]
    path = tmp_path / "legacy.pt2"
    path.write_bytes(files["pt2"].read_bytes())
    with zipfile.ZipFile(path, "a") as archived:
        archived.writestr(f"{root}/data/weights/model.pt", saved.getvalue())
    refused(path, "can run code")
    assert not witness.exists()


def _changed_program(path: Path, out: Path, change: Any) -> Path:
    """Copy a pt2 archive; ``change(program)`` alters its program, as a dictionary."""

    def rewrite(name: str, content: bytes) -> bytes:
        if not name.startswith("models/"):
            return content
        program = json.loads(content)
        change(program)
        return json.dumps(program).encode()

    return _rewritten(path, out, rewrite)


def test_pt2_programs_of_more_than_arithmetic(files: dict[str, Path], tmp_path: Path) -> None:
    """Operators that map files, and every text that torch puts into the Python code that it generates."""
    witness = tmp_path / "witness"
    evil = f"__import__('os').mkdir({str(witness)!r})"

    def operator(program: Any) -> None:
        node = program["graph_module"]["graph"]["nodes"][0]
        node["target"] = "torch.ops.aten.from_file.default"

    def python(program: Any) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = "math.sqrt"

    def guard(program: Any) -> None:
        program["guards_code"] = [evil]

    def guard_behind_ours(program: Any) -> None:
        program["guards_code"] = [f"L['inputs'].size()[0] == L['inputs'].size()[0] or {evil}"]

    def constant(program: Any) -> None:
        spec = {"constant_input": {"name": "x", "value": {"as_string": f"' + {evil} + '"}}}
        program["graph_module"]["signature"]["input_specs"].append(spec)

    def text(program: Any) -> None:
        argument = {"name": "mode", "arg": {"as_string": f"' + {evil} + '"}, "kind": 1}
        program["graph_module"]["graph"]["nodes"][0]["inputs"].append(argument)

    def name(program: Any) -> None:
        program["graph_module"]["graph"]["nodes"][0]["outputs"] = [{"as_tensor": {"name": f"a\n{evil}"}}]

    def class_object(program: Any) -> None:
        program["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"] = {"as_custom_obj": {"name": "x"}}

    def container(program: Any) -> None:
        program["graph_module"]["treespec_namedtuple_fields"] = {"os.system": {"fields": ["a"]}}

    def part(program: Any) -> None:
        program["hooks"] = [evil]

    changes = (operator, python, guard, guard_behind_ours, constant, text, name, class_object, container, part)
    for change in changes:
        refused(_changed_program(files["pt2"], tmp_path / f"{change.__name__}.pt2", change), "can run code")
    path = tmp_path / "member.pt2"
    path.write_bytes(files["pt2"].read_bytes())
    with zipfile.ZipFile(path, "a") as archived:
        archived.writestr("m/data/weights/other", b"")
    refused(path, "the member")
    assert not witness.exists()
    # The same way back, without a change, opens.
    open_program(_changed_program(files["pt2"], tmp_path / "same.pt2", lambda program: None))


class Writer(torch.nn.Module):
    """Writes a file when it is called."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        torch.save(inputs, self.target)
        return inputs


class Reader(Writer):
    """Maps a file into memory when it is called."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.from_file(self.target, True, 10)


class Restored(torch.nn.Module):
    """Runs something while it is loaded."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.target, self.training = state
        torch.save(torch.zeros(1), self.target)


@pytest.mark.filterwarnings("ignore:.torch.jit.* is deprecated")
@pytest.mark.parametrize("kind", [Writer, Reader, Restored])
def test_torchscript_of_more_than_arithmetic(kind: Any, files: dict[str, Path], tmp_path: Path) -> None:
    witness, path = tmp_path / "witness", tmp_path / "theirs.pt"
    extra = {"momentumrnn.json": ""}
    torch.jit.load(files["torchscript"], _extra_files=extra)
    torch.jit.save(torch.jit.script(kind(str(witness))), path, _extra_files=extra)
    refused(path, "is not opened")
    assert not witness.exists()


def test_compiled_code_is_not_run(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "compiled.pt2"
    with zipfile.ZipFile(path, "w") as archived:
        archived.writestr("m/data/aotinductor/model/x.so", b"\x7fELF")
    refused(path, "machine code")


@pytest.mark.parametrize("name", FAST)
def test_other_versions(files: dict[str, Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "FORMAT_VERSION", 2)
    refused(files[name], "got format version 1, this program reads 2")


@pytest.mark.parametrize("name", FAST)
def test_files_of_other_programs(files: dict[str, Path], name: str, tmp_path: Path) -> None:
    """A readable file of the format without our description."""
    path = tmp_path / "foreign"
    if name == "torchscript":
        _rewritten(files[name], path, lambda member, content: None if member.startswith("extra/") else content)
    elif name == "safetensors":
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(2)}, path)
    else:
        onnx = pytest.importorskip("onnx")
        proto = onnx.load(str(files[name]))
        del proto.metadata_props[:]
        path.write_bytes(proto.SerializeToString())
    refused(path, "did not write it|not as momentumrnn export wrote it|not a checkpoint of momentumrnn")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n0000", "another kind"),
        (b"hello", "another kind"),
        (b"PK\x03\x04 not a zip", "cut short or damaged"),
        (b"\x08\x09ONNX", "does not end with the checksum|does not end"),
    ],
)
def test_other_kinds(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    refused(path, message)
    refused(tmp_path / "absent", "no such")


def test_formats_are_read_from_the_content(files: dict[str, Path]) -> None:
    formats = {name: file_format(path) for name, path in files.items()}
    assert formats == {name: name for name in FORMATS} | {"checkpoint": "safetensors"}


def test_onnx_with_a_right_checksum_but_no_model(tmp_path: Path) -> None:
    import hashlib

    body = b"\x08\x08 not a model"
    path = tmp_path / "bad.onnx"
    path.write_bytes(body + onnx_format._TRAILER + hashlib.sha256(body).digest())
    refused(path, "ONNX Runtime")


def test_a_safetensors_file_is_one_whatever_the_length_of_its_header(tmp_path: Path) -> None:
    for length in (8, 0x108, 0x10008):  # ONNX files begin with 8, too
        path = tmp_path / f"{length}"
        path.write_bytes(length.to_bytes(8, "little") + b"{}".ljust(length))
        assert file_format(path) == "safetensors"
