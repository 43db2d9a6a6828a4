"""Translate lines from standard input, greedily, with numpy, onnxruntime and sentencepiece alone.

momentumrnn export RUN --format onnx --out model.zip
echo "A dog runs." | python examples/onnx_translation.py model.zip
"""

import json
import sys
import zipfile

import numpy as np
import onnxruntime
import sentencepiece


class Translator:
    """An archive of `momentumrnn export`: an encoder, a step of the decoder, and the subwords of both languages."""

    def __init__(self, path: str) -> None:
        with zipfile.ZipFile(path) as archive:
            description = json.loads(archive.read("momentumrnn.json"))
            self.encoder = onnxruntime.InferenceSession(archive.read("encoder.onnx"))
            self.step = onnxruntime.InferenceSession(archive.read("step.onnx"))
            models = [archive.read("source.model")]
            # A joint vocabulary is there once.
            models += [archive.read("target.model")] if "target.model" in archive.namelist() else models
        self.subwords = [sentencepiece.SentencePieceProcessor(model_proto=model) for model in models]
        self.tokens = description["translation"]["tokens"]
        self.limit = description["translation"]["limit"]
        self.states = description["state"]

    def translate(self, line: str) -> str:
        """Return the translation of a sentence, the most probable token each time."""
        source = [*self.subwords[0].encode(line), self.tokens["end"]]
        if len(source) == 1:
            return ""
        values, keys, start = self.encoder.run(None, {"source": np.array([source])})
        state = {
            entry["input"]: np.zeros([1 if size == "batch" else size for size in entry["shape"]], entry["dtype"])
            for entry in self.states
        }
        state[self.states[0]["input"]] = start
        memory = {"values": values, "keys": keys, "there": np.ones(values.shape[:2], bool)}
        never = [self.tokens[name] for name in ("padding", "unknown", "start")]
        token, written = self.tokens["start"], []
        for _ in range(self.limit["for_each_token"] * len(source) + self.limit["more"] - 1):
            logits, *after = self.step.run(None, {"tokens": np.array([token]), **memory, **state})
            # The states come in the order of the description: state_out_h belongs to state_in_h.
            state = dict(zip(state, after, strict=True))
            logits[0, never] = -np.inf
            token = int(logits[0].argmax())
            if token == self.tokens["end"]:
                break
            written.append(token)
        return self.subwords[1].decode(written)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    translator = Translator(sys.argv[1])
    for line in sys.stdin:
        print(translator.translate(line.rstrip("\n")))
