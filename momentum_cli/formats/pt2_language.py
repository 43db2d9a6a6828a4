"""Language models for `torch.export`.

Axes: T time, B batch, E embedding, H hidden, V vocabulary.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from torch import Tensor, nn

from momentum_cli.formats.bundle import Bundle
from momentum_cli.formats.pt2_scan import ScanModel, named_forward
from momentum_cli.models.language import LanguageModel
from momentum_cli.models.torchscript import distribution


class LanguageScanModel(nn.Module):
    """A language model for `torch.export`: a `ScanModel` for each layer between embedding and head.

    Args:
        model: The model to compute.
        bundle: Names of the state, if stateful.
    """

    def __init__(self, model: LanguageModel, bundle: Bundle) -> None:
        super().__init__()
        self.embedding = model.embedding
        self.distribution = distribution(model.head)
        self.names = bundle.state_names
        stateful = bool(self.names)
        cores = []
        self.layer_names: list[list[str]] = []
        for number in range(len(model.layer)):
            layer = model.layer[number]
            names = list(layer.state_names) if stateful else []
            plain = SimpleNamespace(layer=layer, head=nn.Identity(), output="every")
            cores.append(ScanModel(cast(Any, plain), cast(Any, SimpleNamespace(state_names=names))))
            self.layer_names.append(names)
        self.cores = nn.ModuleList(cores)
        self.forward = named_forward(self.run, self.names)

    def run(self, inputs: Tensor, **state: Tensor) -> dict[str, Tensor]:
        """Return ``outputs`` (B, T, V) for tokens (B, T) and, when ``state_in_…`` are given, ``state_out_…``."""
        x = self.embedding(inputs)
        result: dict[str, Tensor] = {}
        for number, (core, names) in enumerate(zip(self.cores, self.layer_names, strict=True)):
            whole = {name: f"{name.removesuffix('_l0')}_l{number}" for name in names}
            before = {f"state_in_{name}": state[f"state_in_{of}"] for name, of in whole.items()}
            part = cast(ScanModel, core).run(x, **before)
            x = part["outputs"]
            result |= {f"state_out_{of}": part[f"state_out_{name}"] for name, of in whole.items()}
        return {"outputs": self.distribution(x), **result}
