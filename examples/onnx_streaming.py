"""Feed sequences to an ONNX file in chunks, with numpy and onnxruntime alone.

momentumrnn export RUN --format onnx --stateful --out model.onnx
python examples/onnx_streaming.py model.onnx FILE [CHUNK]
"""

import json
import sys

import numpy as np
import onnxruntime
from described_data import USAGE, answers, prepare, read


def describe(session: onnxruntime.InferenceSession) -> dict:
    """Return the JSON text that every exported file carries."""
    return json.loads(session.get_modelmeta().custom_metadata_map["momentumrnn"])


def zero_state(description: dict, batch: int) -> dict[str, np.ndarray]:
    """Return the state before the first step, by the names of the inputs."""
    return {
        entry["input"]: np.zeros([batch if size == "batch" else size for size in entry["shape"]], entry["dtype"])
        for entry in description["state"]
    }


def stream(session: onnxruntime.InferenceSession, inputs: np.ndarray, chunk: int) -> np.ndarray:
    """Run prepared sequences ``chunk`` steps at a time and return the outputs of the last call."""
    state = zero_state(describe(session), len(inputs))
    for start in range(0, inputs.shape[1], chunk):
        outputs, *after = session.run(None, {"inputs": inputs[:, start : start + chunk], **state})
        # The outputs come in the order of the description: state_out_h belongs to state_in_h.
        state = dict(zip(state, after, strict=True))
    return outputs


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__ + USAGE)
    model = onnxruntime.InferenceSession(sys.argv[1])
    dataset = describe(model)["dataset"]
    sequences = prepare(read(sys.argv[2], dataset["preprocessing"]), dataset)
    print(*answers(stream(model, sequences, int(sys.argv[3]) if len(sys.argv) > 3 else 1), dataset), sep="\n")
