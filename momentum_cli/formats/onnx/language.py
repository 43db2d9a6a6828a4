"""Language models as ONNX nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from torch import Tensor, nn

from momentum_cli.formats.bundle import Bundle
from momentum_cli.models.language import LanguageModel

if TYPE_CHECKING:
    from momentum_cli.formats.onnx.writer import Writer


def write_language(w: Writer, model: LanguageModel, bundle: Bundle) -> None:
    """Write the nodes from ``inputs`` (B, T) int64 to ``outputs`` and, when stateful, ``state_out_…``."""
    from momentum_cli.formats.onnx.direction import write_direction, write_state

    inputs = {entry["name"]: entry["input"] for entry in bundle.data["state"]}
    outputs = {entry["name"]: entry["output"] for entry in bundle.data["state"]}
    table = w.constant(model.embedding.weight.detach().numpy())
    # A negative index would count from the end; a number past the end is refused by every runtime.
    past = w.scalar(model.embedding.num_embeddings, np.int64)
    negative = w.op("Less", ["inputs", w.scalar(0, np.int64)])
    tokens = w.op("Where", [negative, past, "inputs"])
    x = w.op("Gather", [table, w.op("Transpose", [tokens], perm=[1, 0])], axis=0)
    for number in range(len(model.layer)):
        layer = model.layer[number]
        whole = {name: f"{name.removesuffix('_l0')}_l{number}" for name in layer.state_names}
        state = {name: inputs[of] for name, of in whole.items()} if inputs else {}
        x, end, drive = write_direction(w, layer, "_l0", x, 0, state)
        if outputs:
            write_state(w, layer, [end], [drive], {name: outputs[of] for name, of in whole.items()})
    read = w.op("Transpose", [x], perm=[1, 0, 2])
    if isinstance(model.head, nn.AdaptiveLogSoftmaxWithLoss):
        _write_adaptive(w, model.head, read)
        return
    weight = table if model.tied else w.constant(model.head.weight.detach().numpy())
    product = w.op("MatMul", [read, w.op("Transpose", [weight], perm=[1, 0])])
    w.op("Add", [product, w.constant(model.head.bias.detach().numpy())], outputs=["outputs"])


def _write_adaptive(w: Writer, head: nn.AdaptiveLogSoftmaxWithLoss, read: str) -> None:
    """Write `AdaptiveDistribution`."""

    def product(x: str, weight: Tensor) -> str:
        return w.op("MatMul", [x, w.constant(weight.detach().t().contiguous().numpy())])

    first = w.op("LogSoftmax", [product(read, head.head.weight)], axis=-1)
    parts = [w.slice(first, 0, head.shortlist_size, 2)]
    for index, cluster in enumerate(head.tail):
        start = head.shortlist_size + index
        narrow, wide = cast(nn.Sequential, cluster)
        own = w.op(
            "LogSoftmax", [product(product(read, cast(Tensor, narrow.weight)), cast(Tensor, wide.weight))], axis=-1
        )
        parts.append(w.op("Add", [own, w.slice(first, start, start + 1, 2)]))
    w.op("Concat", parts, outputs=["outputs"], axis=2)
