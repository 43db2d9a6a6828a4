"""The encoder and a step of the decoder as programs of `torch.export`.

Axes: B batch, S tokens of a source, E embedding, H hidden, L layers, M memory, R readout, V vocabulary.
"""

from __future__ import annotations

import inspect
import io
import math
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from momentum_cli.formats import pt2
from momentum_cli.formats.pt2_scan import ScanModel
from momentum_cli.layers.recurrent import RecurrentLayer
from momentum_cli.models.translation.model import TranslationModel
from momentum_cli.models.translation.search import Tensors


def write(model: TranslationModel) -> tuple[bytes, bytes]:
    """Return the files of the encoder and of the step."""
    batch, steps = torch.export.Dim("batch", min=1), torch.export.Dim("steps", min=1)
    # Sizes of 0 and 1 are specialised by the tracer, so the examples have others.
    source = torch.zeros(3, 5, dtype=torch.int64)
    first = torch.export.export(
        Encoder(model).eval(), (source,), dynamic_shapes={"source": {0: batch, 1: steps}}, strict=False
    )
    values, keys, _ = Encoder(model).eval()(source).values()
    state = {f"state_in_{name}": t for name, t in zip(model.state_names, model.zero_state(3), strict=True)}
    inputs = (source[:, 0], values, keys, torch.ones(3, 5, dtype=torch.bool))
    shapes: dict[str, Any] = {"tokens": {0: batch}, **{name: {0: batch, 1: steps} for name in _MEMORY}}
    second = torch.export.export(
        Step(model).eval(), inputs, state, dynamic_shapes=shapes | {name: {1: batch} for name in state}, strict=False
    )
    found = []
    for program in (first, second):
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        found.append(buffer.getvalue())
    return found[0], found[1]


def load(encoder: bytes, step: bytes, states: list[str]) -> tuple[Any, Any]:
    """Return both as functions of tensors, see `momentum_cli.formats.translation.package.TranslationProgram`.

    Raises:
        DataError: One cannot be read, or holds something that could run code.
    """
    first, second = (pt2.read(content, "the program") for content in (encoder, step))

    def encode(source: Tensor) -> Tensors:
        return tuple(first(source).values())

    def advance(tokens: Tensor, context: Tensors, state: Tensors) -> tuple[Tensor, Tensors]:
        named = {f"state_in_{name}": tensor for name, tensor in zip(states, state, strict=True)}
        found = second(tokens, *context, **named)
        return found["logits"], tuple(found[f"state_out_{name}"] for name in states)

    return encode, advance


_NEVER = -1e30
_MEMORY = ("values", "keys", "there")


class Encoder(nn.Module):
    """From ``source`` (B, S) to ``values``, ``keys`` and ``start``, see `TranslationModel.read`.

    Args:
        model: The model to compute.
    """

    def __init__(self, model: TranslationModel) -> None:
        super().__init__()
        self.embedding, self.key, self.begin = model.source_embedding, model.key, model.start
        self.scale = math.sqrt(model.source_embedding.embedding_dim)
        self.core = _core(model.encoder, [])
        self.directions, self.layers = model.encoder.num_directions, model.layer.num_layers
        self.size = model.encoder.output_size

    def forward(self, source: Tensor) -> dict[str, Tensor]:
        """Return the tensors by name."""
        values = self.core.run(self.embedding(source) * self.scale)["outputs"]
        # The output is h: the last one of the forward direction, the first one of the backward direction.
        last = values[:, -1, : self.size]
        if self.directions == 2:
            last = torch.cat((last, values[:, 0, self.size :]), 1)
        begin = torch.tanh(self.begin(last)).view(-1, self.layers, self.size).transpose(0, 1)
        return {"values": values, "keys": self.key(values), "start": begin.contiguous()}


class Step(nn.Module):
    """From ``tokens`` (B,), the memory and ``state_in_…`` to ``logits`` (B, V) and ``state_out_…``.

    Args:
        model: The model to compute.
    """

    def __init__(self, model: TranslationModel) -> None:
        super().__init__()
        self.embedding, self.readout, self.head = model.target_embedding, model.readout, model.head
        self.scale = math.sqrt(model.target_embedding.embedding_dim)
        self.feeding = model.input_feeding
        self.own = list(model.layer.state_names)
        self.core = _core(model.layer, self.own)
        # torch.export names inputs after parameters.
        names = ["tokens", *_MEMORY, *(f"state_in_{name}" for name in model.state_names)]
        either = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self.signature = inspect.Signature([inspect.Parameter(name, either) for name in names])

        def forward(*args: Tensor, **kwargs: Tensor) -> dict[str, Tensor]:
            return self.run(**self.signature.bind(*args, **kwargs).arguments)

        forward.__signature__ = self.signature  # type: ignore[attr-defined]
        self.forward = forward

    def run(self, tokens: Tensor, values: Tensor, keys: Tensor, there: Tensor, **state: Tensor) -> dict[str, Tensor]:
        """Return the tensors by name."""
        x = self.embedding(tokens).unsqueeze(1) * self.scale
        if self.feeding:
            x = torch.cat((x, state["state_in_readout"].transpose(0, 1)), 2)
        found = self.core.run(x, **{f"state_in_{name}": state[f"state_in_{name}"] for name in self.own})
        query = found.pop("outputs")
        # Not minus infinity, which the JSON of the program cannot hold; the attention weight is 0 all the same.
        scores = torch.bmm(query, keys.transpose(1, 2)).masked_fill(~there.unsqueeze(1), _NEVER)
        context = torch.bmm(scores.softmax(2), values)
        read = torch.tanh(self.readout(torch.cat((context, query), 2)))
        fed = {"state_out_readout": read.transpose(0, 1).contiguous()} if self.feeding else {}
        return {"logits": self.head(read.squeeze(1)), **found, **fed}


def _core(layer: RecurrentLayer, names: list[str]) -> ScanModel:
    plain = SimpleNamespace(layer=layer, head=nn.Identity(), output="every")
    return ScanModel(cast(Any, plain), cast(Any, SimpleNamespace(state_names=names)))
