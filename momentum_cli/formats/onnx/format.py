"""ONNX: written node by node, so that every size is dynamic and linear dynamics run on ordinary recurrent nodes.

The file carries its description under the metadata key ``momentumrnn``, and ends with the SHA-256 of everything before
it in a protobuf field that other programs skip.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.formats.archive import Content
from momentum_cli.formats.bundle import KEY, Bundle, decode_bundle
from momentum_cli.models.model import Model
from momentum_cli.reading import read_bytes

SUFFIX = ".onnx"
# Field 1000 of ModelProto, length-delimited, 32 bytes: not used by ONNX, and kept or skipped by every reader.
_TRAILER = bytes([0xC2, 0x3E, 32])
# The key of the path of external data. The byte before a text is the last one of its length, 8 or, written longer than
# necessary, 0; no label or name in the model has one of them before it.
_ELSEWHERE = re.compile(rb"[\x00\x08]location")


def write(model: Model, bundle: Bundle, path: Path) -> None:
    """Write the model to ``path``; see `momentum_cli.formats.export`.

    Raises:
        RecipeError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise RecipeError(missing("onnx")) from error
    from momentum_cli.formats.onnx.graph import build

    proto = build(model, bundle)
    onnx.checker.check_model(proto, full_check=True)
    save(proto, bundle, path)


def save(proto: Any, bundle: Bundle, path: Path) -> None:
    """Write an ``onnx.ModelProto`` with its description and its checksum."""
    import onnx

    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, {KEY: bundle.encode()})
    content = proto.SerializeToString()
    path.write_bytes(content + _TRAILER + hashlib.sha256(content).digest())


def missing(package: str) -> str:
    """Return the message for a package of the extra that is not installed."""
    return f"the onnx format needs {package}, which is not installed; pip install 'momentumrnn[export]'"


class OnnxProgram:
    """A loaded ONNX file in ONNX Runtime; see `Program`.

    Args:
        bundle: Its description.
        session: An ``onnxruntime.InferenceSession``.
    """

    def __init__(self, bundle: Bundle, session: Any) -> None:
        self.bundle = bundle
        self.session = session

    def run(self, inputs: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the program, see `Program.run`."""
        self.bundle.check(inputs, state)
        feed = {"inputs": inputs.detach().numpy()}
        names = self.bundle.state_names
        if names:
            state = state or self.bundle.zero_state(len(inputs))
            feed |= {f"state_in_{name}": state[name].detach().numpy() for name in names}
        outputs, *after = (torch.from_numpy(array) for array in self.session.run(None, feed))
        return outputs, dict(zip(names, after, strict=True))


def recognises(content: Content) -> bool:
    """Return True if a file begins with field 1 of a message, the version that ONNX models begin with."""
    # The length of the header of a safetensors file may begin with the same byte; four of its eight are 0.
    return content.head[:1] == b"\x08" and content.head[4:8] != bytes(4)


def load(path: Path) -> OnnxProgram:
    """Load a file that `write` wrote into ONNX Runtime, with as many threads as torch uses.

    Raises:
        DataError: The file is damaged, not ours, or names another file.
        RecipeError: onnxruntime is not installed.
    """
    content = read_bytes(path)
    body, trailer = content[:-35], content[-35:]
    if trailer != _TRAILER + hashlib.sha256(body).digest():
        raise DataError(
            f"{path} is cut short, damaged, or not as momentumrnn export wrote it: it does not end with the checksum "
            "of what is before; copy or export it again"
        )
    if _ELSEWHERE.search(body):
        raise DataError(f"{path} keeps numbers in another file, which is not opened; save the model in one file")
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise RecipeError(missing("onnxruntime")) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes, one for each status code
        first = str(error).strip().splitlines()[0]
        raise DataError(f"{path} is not an ONNX file that ONNX Runtime can run ({first})") from error
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    return OnnxProgram(decode_bundle(text, path, "onnx"), session)
