"""The parameters of a layer under the names of `torch.nn`.

Axes: D input, H hidden, G gates * H.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from momentum_cli.kernels.backend import Weights
from momentum_cli.messages import refuse
from momentum_cli.recurrence.protocol import Recurrence


class LayerParameters(nn.Module):
    """Base class of `RecurrentLayer`: the parameters of its layers and directions."""

    recurrence: Recurrence
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    bidirectional: bool
    proj_size: int = 0  # for layers pickled before there was one
    weight_dropout: float = 0.0
    """Probability of zeroing an entry of ``weight_hh``, one mask per call, in training; `RecurrentStack` sets it."""

    def _add_weights(
        self, suffix: str, input_size: int, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        """Register the parameters of one layer in one direction, not yet initialised."""
        gates = self.recurrence.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, input_size), "weight_hh": (gates, self.output_size)}
        if self.bias:
            shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        for name, shape in shapes.items():
            self.register_parameter(name + suffix, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))

    def tensor(self, name: str) -> Tensor:
        """Return a parameter by its name, or the tensor in its place.

        That may be any tensor: the result of a parametrization or of pruning, an argument of
        `torch.func.functional_call`, or the output of a hypernetwork set after ``del layer.weight_hh_l0``.

        Raises:
            AttributeError: There is no such parameter or tensor.
            TypeError: The attribute is not a tensor.
        """
        value = getattr(self, name)
        if not isinstance(value, Tensor):
            raise TypeError(refuse(name, value, "be a tensor"))
        return value

    @property
    def num_directions(self) -> int:
        """2 when bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """Channels that one direction gives: H, or ``proj_size``."""
        return self.proj_size or self.hidden_size

    @property
    def mode(self) -> str:
        """The recurrence as `torch.nn` calls it, such as ``LSTM`` and ``RNN_TANH``; others by their own name."""
        return (self.recurrence.torch_kernel or self.recurrence.name).upper()

    @property
    def _all_weights(self) -> list[list[str]]:
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        names = [[kind + suffix for kind in kinds] for suffix, _ in self._directions()]
        return [[name for name in own if hasattr(self, name)] for own in names]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for own in self._all_weights for name in own]

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer and direction, as in `torch.nn.LSTM`."""
        return [[self.tensor(name) for name in own] for own in self._all_weights]

    @property
    def _flat_weights(self) -> list[Tensor]:
        return [self.tensor(name) for name in self._flat_weights_names]

    def flatten_parameters(self) -> None:
        """Do nothing, for code written for `torch.nn`: each call packs the parameters as its backend needs them."""

    def _directions(self) -> list[tuple[str, int]]:
        """Suffix of the parameter names and input size of every layer and direction, in the order of the state."""
        return [
            (f"_l{layer}{'_reverse' if backward else ''}", self._layer_input_size(layer))
            for layer in range(self.num_layers)
            for backward in range(self.num_directions)
        ]

    def _layer_input_size(self, layer: int) -> int:
        return self.input_size if layer == 0 else self.output_size * self.num_directions

    def weights(self, suffix: str, dtype: torch.dtype) -> Weights:
        """Return the parameters of one layer in one direction.

        Args:
            suffix: End of the parameters' names: ``_l0``, ``_l0_reverse``, ``_l1``, …
            dtype: Dtype of the computation.
        """

        def get(name: str) -> Tensor:
            tensor = self.tensor(name)
            return tensor if tensor.dtype == dtype else tensor.to(dtype)

        bias_ih, bias_hh = (get("bias_ih" + suffix), get("bias_hh" + suffix)) if self.bias else (None, None)
        weight_hh = get("weight_hh" + suffix)
        if self.weight_dropout:
            weight_hh = nn.functional.dropout(weight_hh, self.weight_dropout, self.training)
        projection = get("weight_hr" + suffix) if self.proj_size else None
        return Weights(get("weight_ih" + suffix), weight_hh, bias_ih, bias_hh, projection)

    def all_layers(self, dtype: torch.dtype) -> list[Weights]:
        """Return `weights` of each layer and direction, in the order of the state."""
        return [self.weights(suffix, dtype) for suffix, _ in self._directions()]

    def scripted_weights(self, suffix: str) -> tuple[str | None, ...]:
        """Return the attributes or calls that give `weights` in TorchScript, None for one that is absent."""
        biases = ("bias_ih" + suffix, "bias_hh" + suffix) if self.bias else (None, None)
        return "weight_ih" + suffix, "weight_hh" + suffix, *biases, "weight_hr" + suffix if self.proj_size else None
