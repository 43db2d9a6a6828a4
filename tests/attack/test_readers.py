"""Readers of this package on files made by chance, guided by the lines that they reach: refused in words, or read.

A file that reaches a line that none has reached before is kept, and the next ones are made from it.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import momentum_cli
from momentum_cli.data.files.arrays import read_header
from momentum_cli.data.speech.recordings import RecordingError, read_recording
from momentum_cli.errors import MomentumError
from momentum_cli.formats.bundle import _REQUIRED, FORMAT, FORMAT_VERSION, decode_bundle
from momentum_cli.formats.vetting import Unlisted, vet_program
from momentum_cli.recipe.document import Document
from momentum_cli.runs.metrics_log import read_metrics

PACKAGE = str(Path(momentum_cli.__file__).parent)


def sphere(content: bytes, folder: Path) -> None:
    (folder / "x.wav").write_bytes(content)
    read_recording(folder / "x.wav")


def bundle(content: bytes, folder: Path) -> None:
    decoded = decode_bundle(content, folder / "model.onnx", "onnx")
    assert set(decoded.zero_state(2)) == set(decoded.state_names)
    assert isinstance(decoded.encode(), str)


def metrics_lines(content: bytes, folder: Path) -> None:
    (folder / "metrics.jsonl").write_bytes(content)
    read_metrics(folder)


def metrics_table(content: bytes, folder: Path) -> None:
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    (folder / "metrics.csv").write_bytes(content)
    read_metrics(folder)


def recipe(content: bytes, folder: Path) -> None:
    text = content.decode("utf-8", "replace")
    try:
        document = Document(text, "r.yaml")
        document.override(["a.b=1", "c=[1, 2]"])
        problems = [str(problem) for problem in document.problems]
    except MomentumError as error:
        problems = [str(error)]
    for problem in problems:
        for line in re.findall(r"r\.yaml:(\d+)", problem):
            assert 1 <= int(line) <= len(re.split(r"\r\n|[\r\n\x85\u2028\u2029]", text)), problem


def program(content: bytes, folder: Path) -> None:
    vet_program(content)


def array(content: bytes, folder: Path) -> None:
    (folder / "x.npy").write_bytes(content)
    with (folder / "x.npy").open("rb") as file:
        read_header(file)


def _sphere_file() -> bytes:
    fields = {"sample_count -i": 8, "sample_rate -i": 8000, "channel_count -i": 1, "sample_n_bytes -i": 2}
    text = "".join(f"{name} {value}\n" for name, value in fields.items())
    header = f"NIST_1A\n   1024\n{text}sample_byte_format -s2 01\nsample_coding -s3 pcm\nend_head\n"
    return header.encode().ljust(1024) + bytes(16)


def _bundle_text() -> bytes:
    data: dict[str, Any] = {section: dict.fromkeys(keys, "x") for section, keys in _REQUIRED.items()}
    data |= {"format": FORMAT, "format_version": FORMAT_VERSION, "export": {"format": "onnx", "stateful": True}}
    data["state"] = [{"name": "h", "input": "a", "output": "b", "shape": [1, "batch", 4], "dtype": "float32"}]
    return json.dumps(data).encode()


def _npy() -> bytes:
    return (
        b"\x93NUMPY\x01\x00"
        + (118).to_bytes(2, "little")
        + (b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }".ljust(117) + b"\n")
    )


def _program() -> bytes:
    tensor = {"as_tensor": {"name": "x"}}
    node = {"target": "torch.ops.aten.add.Tensor", "inputs": [{"name": "self", "arg": tensor}], "outputs": [tensor]}
    signature = {
        "input_specs": [{"user_input": {"arg": tensor}}],
        "output_specs": [{"user_output": {"arg": tensor}}],
    }
    tree = json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": []}])
    call = {"fqn": "", "signature": {"in_spec": tree, "out_spec": tree}}
    graph = {"nodes": [node], "inputs": [tensor], "sym_int_values": {"s0": {"as_expr": {"expr_str": "s0 + 1"}}}}
    module = {"graph": graph, "signature": signature, "module_call_graph": [call]}
    return json.dumps({"graph_module": module, "guards_code": ["L['x'].size()[0] <= 4"]}).encode()


READERS: dict[str, tuple[Callable[[bytes, Path], None], list[bytes]]] = {
    "SPHERE": (sphere, [_sphere_file(), b"RIFF\x24\x00\x00\x00WAVEdata\x08\x00\x00\x00" + bytes(8)]),
    "bundle": (bundle, [_bundle_text()]),
    "metrics.jsonl": (metrics_lines, [b'{"kind": "train", "step": 1, "loss": 0.5}\n{"kind": "eval", "step": 2}\n']),
    "metrics.csv": (metrics_table, [b"kind,step,loss\ntrain,1,0.5\neval,2,Infinity\n"]),
    "YAML": (
        recipe,
        [
            b"a: {b: 1}\nc: [1, 2]\n# x\nd: &x 'text'\ne: *x\n",
            b"%YAML 1.2\n---\na: |\n  b\n? c\n: d\n",
            b'a: !!int 1\nb: !!float 1\nc: !!bool true\nd: !!null ""\ne: "\\x41\\u0041\\U00000041"\n',
        ],
    ),
    "pt2": (program, [_program()]),
    "NPY": (array, [_npy()]),
}
PIECES = [
    b"\0", b"\xff", b"\xb2", b"\n", b"\r", b"\x85", b"\xe2\x80\xa8", b"-1", b"0", b"9" * 25, b"1e999", b"NaN", b"null",
    b"[]", b"{}", b'"', b"'", b",", b":", b"[" * 50, b"true", b"shorten", b"end_head", b"*x", b"&x ", b"<<: ", b"- ",
    b"!!int x", b"!!set {a}", b"? ", b"\t", b"  ", b"1.5", b'"\\ud800"', b"2" * 5000, b"as_custom_obj",
    b"data", b"channel_count -i 0\n",
]  # fmt: skip
# Deeper than Python can recurse. Inserted rarely and never kept, because PyYAML takes a second to get there.
DEEP = b"[" * 2000


def mutated(corpus: list[bytes], draw: random.Random) -> bytes:
    """Return a file made from those in the corpus."""
    content = draw.choice(corpus)
    for _ in range(draw.choice([1, 1, 2, 4])):
        at, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
        kind = draw.randrange(6)
        if kind == 0:
            content = content[:at] + draw.choice(PIECES) + content[at:]
        elif kind == 1:
            content = content[:at] + draw.choice(PIECES) + content[min(end, at + 8) :]
        elif kind == 2:
            content = content[:at] + content[min(end, at + 40) :]
        elif kind == 3:
            content = content[:at] + draw.randbytes(1) + content[at + 1 :]
        elif kind == 4:
            content = content[:end] + content[at:]
        else:
            content = content[:at] + draw.choice(corpus)[at:]
    if draw.random() < 0.002:
        at = draw.randrange(len(content) + 1)
        content = content[:at] + DEEP + content[at:]
    return content[:20_000]


def reached(read: Callable[[bytes, Path], None], content: bytes, folder: Path) -> tuple[set[tuple[str, int]], str]:
    """Read a file; return the lines of the package that this reached, and what is wrong with how it ended."""
    lines: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        lines.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    fault, before = "", sys.gettrace()
    sys.settrace(trace)
    try:
        read(content, folder)
    except (MomentumError, RecordingError, Unlisted):
        pass
    except Exception as error:
        # A ValueError of `vet_program` says that it is no program, one of `read_header` that it is no array.
        named = isinstance(error, ValueError) and read in (program, array)
        fault = "" if named else f"{type(error).__name__}: {error}"[:300]
    finally:
        sys.settrace(before)
    return lines, fault


def fuzz(name: str, folder: Path, tries: int, seed: int) -> list[str]:
    """Return what is wrong with how a reader ends on files made by chance."""
    read, corpus = READERS[name]
    corpus, draw = list(corpus), random.Random(seed)
    seen: set[tuple[str, int]] = set()
    for content in corpus:
        lines, fault = reached(read, content, folder)
        assert not fault, fault
        seen |= lines
    faults: list[str] = []
    for _ in range(tries):
        content = mutated(corpus, draw)
        lines, fault = reached(read, content, folder)
        if fault:
            faults.append(f"{name}, {content[:300]!r}: {fault}")
        if lines - seen:
            seen |= lines
            corpus += [content] if len(content) < len(DEEP) else []
    print(f"{name}: {tries} tried, {len(faults)} failed; {len(seen)} lines, {len(corpus)} kept", *faults[:20], sep="\n")
    return faults


@pytest.mark.parametrize("name", READERS)
def test_a_reader_refuses_what_it_cannot_read(name: str, tmp_path: Path) -> None:
    assert fuzz(name, tmp_path, 150, seed=0) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", READERS)
def test_a_reader_refuses_what_it_cannot_read_in_many_files(name: str, tmp_path: Path) -> None:
    assert fuzz(name, tmp_path, 20_000, seed=1) == []


def test_the_arrays_of_numpy_are_read(tmp_path: Path) -> None:
    """The first file of the corpus is what numpy writes."""
    np.save(tmp_path / "a.npy", np.zeros((3, 4), np.float32))
    assert (tmp_path / "a.npy").read_bytes()[:128] == _npy()


def test_an_array_of_python_2_is_read_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(_npy().replace(b"(3, 4), }  ", b"(3L, 4L), }"))
    with (tmp_path / "a.npy").open("rb") as file:
        assert read_header(file)[0] == (3, 4)


@pytest.mark.parametrize("wrong", [None, 3, {"name": "h"}, {"shape": [1, "time"]}, {"shape": [True]}, {"dtype": "x"}])
def test_a_state_without_its_description_is_refused(wrong: Any, tmp_path: Path) -> None:
    data = json.loads(_bundle_text())
    data["state"][0] = data["state"][0] | wrong if isinstance(wrong, dict) and "name" not in wrong else wrong
    with pytest.raises(MomentumError, match="tensor 0 of the state"):
        decode_bundle(json.dumps(data), tmp_path / "model.onnx", "onnx")
