"""Feed a sequence to an ONNX file in chunks, with numpy and onnxruntime alone.

    momentumrnn export RUN --format onnx --stateful --out model.onnx
    python examples/onnx_streaming.py model.onnx inputs.npy [CHUNK]

inputs.npy is float32 (batch, time, channels), prepared as the file's own description says. Prints the outputs after the
last chunk.
"""

import json
import sys

import numpy as np
import onnxruntime


def zero_state(description: dict, batch: int) -> dict[str, np.ndarray]:
    """Return the state before the first step, by the names of the inputs."""
    return {
        entry["input"]: np.zeros([batch if size == "batch" else size for size in entry["shape"]], entry["dtype"])
        for entry in description["state"]
    }


def prepare(images: np.ndarray, preprocessing: dict) -> np.ndarray:
    """Return the inputs (batch, time, channels) for raw images (batch, height, width) of a pixel task."""
    flat = images.reshape(len(images), -1)
    if preprocessing["permutation"] is not None:
        flat = flat[:, preprocessing["permutation"]]
    scaled = flat.astype(np.float32) * np.float32(preprocessing["scale"])
    return scaled.reshape(len(images), -1, preprocessing["pixels_per_step"])


def stream(session: onnxruntime.InferenceSession, inputs: np.ndarray, chunk: int) -> np.ndarray:
    """Run the sequence ``chunk`` steps at a time and return the outputs of the last call."""
    description = json.loads(session.get_modelmeta().custom_metadata_map["momentumrnn"])
    state = zero_state(description, len(inputs))
    for start in range(0, inputs.shape[1], chunk):
        outputs, *after = session.run(None, {"inputs": inputs[:, start : start + chunk], **state})
        # The outputs come in the order of the description: state_out_h belongs to state_in_h.
        state = dict(zip(state, after, strict=True))
    return outputs


if __name__ == "__main__":
    model = onnxruntime.InferenceSession(sys.argv[1])
    sequence = np.load(sys.argv[2]).astype(np.float32)
    print(stream(model, sequence, int(sys.argv[3]) if len(sys.argv) > 3 else 1))
