"""Run a model of the tasks speech and speech-classify on a WAV file, with numpy and onnxruntime alone.

    momentumrnn export RUN --format onnx --out model.onnx
    python examples/onnx_speech.py model.onnx recording.wav

Everything that leads from samples to the model's inputs is in the file's own description. The recording has to have the
sample rate of the model, one channel and 16 bits.
"""

import json
import sys
import wave

import numpy as np
import onnxruntime


def frames(samples: np.ndarray, described: dict) -> np.ndarray:
    """Return the spectrum (time, channels) in dB of samples in [-1, 1]."""
    size, hop, edge = described["n_fft"], described["hop_length"], described["edge"]
    whole = -(-len(samples) // hop) * hop
    length = max(edge + whole + edge, size)
    padded = np.zeros(length)
    padded[edge : edge + len(samples)] = samples
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    starts = np.arange(0, length - size + 1, hop)
    power = np.abs(np.fft.rfft(padded[starts[:, None] + np.arange(size)] * window)) ** 2
    if described["features"] == "log-mel":
        power = power @ mel_filters(described).T
    return 10 * np.log10(power + described["floor"])


def mel_filters(described: dict) -> np.ndarray:
    """Return triangles (mel channels, bins), evenly spaced on the HTK mel scale."""
    highest = described["sample_rate"] / 2
    mels = np.linspace(0, 2595 * np.log10(1 + highest / 700), described["n_mels"] + 2)
    corners = 700 * (10 ** (mels / 2595) - 1)
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    bins = np.linspace(0, highest, described["n_fft"] // 2 + 1)
    return np.clip(np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)), 0, None)


def answer(model: str, recording: str) -> dict:
    """Return the label and its probability, or the mean squared error (dB²) of the predicted frames."""
    session = onnxruntime.InferenceSession(model)
    dataset = json.loads(session.get_modelmeta().custom_metadata_map["momentumrnn"])["dataset"]
    described = dataset["preprocessing"]
    with wave.open(recording) as file:
        assert file.getframerate() == described["sample_rate"], "resample the recording first"
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2), "one channel of 16 bits, please"
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    offset, scale = (np.array(described["scaling"][name]) for name in ("offset", "scale"))
    inputs = ((frames(samples, described) - offset) / scale).astype(np.float32)
    wanted = None
    if dataset["name"] == "speech":
        forward = described["predict"] == "next"
        inputs, wanted = (inputs[:-1], inputs[1:]) if forward else (inputs[1:], inputs[:-1])
    outputs = session.run(["outputs"], {"inputs": inputs[None]})[0][0]
    if wanted is not None:
        return {"frames": len(wanted), "mse": float(np.square((outputs - wanted) * scale).mean())}
    weights = np.exp(outputs - outputs.max())
    best = int(outputs.argmax())
    return {"label": dataset["labels"][best], "probability": float(weights[best] / weights.sum())}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(json.dumps(answer(sys.argv[1], sys.argv[2])))
