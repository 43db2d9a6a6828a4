"""What `torch.jit.script` compiles in place of a layer or a model: the same parameters, mathematics, state.

TorchScript can neither call a dataclass nor look a parameter up by name, so `RecurrentLayer` and `SequenceModel` hand
these stand-ins over (``__prepare_scriptable__``). They share the parameters of the original under the same names. The
state is a list instead of a tuple, in the order of ``layer.state_names``; ``lengths`` replace a `PackedSequence`.

`torch.jit.script` puts the stand-in of a child into the user's own eager container. It therefore behaves there as the
original: outside TorchScript it calls the original, and pickling or copying it gives the original.

Axes: T time, B batch, C channels, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import linecache
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from momentum_cli.dynamics.adam import Adam
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.identity import Identity
from momentum_cli.dynamics.nesterov import Nesterov, ScheduledRestart, nesterov_coefficient
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.ragged import at_end, reverse
from momentum_cli.dynamics.rmsprop import RMSProp, normalize
from momentum_cli.kernels.torchscript import filter_blocks, run_driven, run_native
from momentum_cli.recurrence import RECURRENCES

if TYPE_CHECKING:
    pass

# Which filter; TorchScript compares integers, not types.
_KINDS: dict[type[Dynamics], int] = {
    Identity: 0,
    HeavyBall: 1,
    Nesterov: 2,
    ScheduledRestart: 2,
    RMSProp: 3,
    Adam: 4,
}


class StandIn(nn.Module):
    """A module that TorchScript compiles and that everywhere else is the original."""

    def stand_for(self, original: nn.Module) -> None:
        """Become the original outside TorchScript; the last line of a constructor."""
        self.training = original.training
        # Not a child: its parameters would be counted twice.
        self.__dict__["_original"] = (original,)

    def original(self) -> Any:
        """Return the module it stands for, in the mode of this one."""
        module = self.__dict__["_original"][0]
        return module if module.training == self.training else module.train(self.training)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "_original" not in self.__dict__:
                raise
            return getattr(self.__dict__["_original"][0], name)

    def __reduce__(self) -> Any:
        return _identity, (self.original(),)

    def __prepare_scriptable__(self) -> Any:
        return self.original().__prepare_scriptable__()


def _identity(module: nn.Module) -> nn.Module:
    return module


class ScriptableLayer(StandIn):
    """`RecurrentLayer` for TorchScript; built by `scriptable_layer`."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        dynamics = layer.dynamics
        if type(dynamics) not in _KINDS or layer.recurrence.name not in RECURRENCES:
            raise TypeError(
                f"torch.jit.script: got {type(dynamics).__name__} with the recurrence {layer.recurrence.name!r}; "
                f"allowed are {', '.join(kind.__name__ for kind in _KINDS)} with {', '.join(RECURRENCES)}"
            )
        for name, parameter in layer.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, child in layer.named_children():
            self.add_module(name, child.__prepare_scriptable__())
        self.kind = _KINDS[type(dynamics)]
        self.filters = self.kind in (1, 2)
        self.momentum = float(getattr(dynamics, "momentum", 0.0))
        self.step_size = float(getattr(dynamics, "step_size", 1.0))
        self.beta2 = float(getattr(dynamics, "beta2", 0.0))
        self.eps = float(getattr(dynamics, "eps", 0.0))
        self.restart_every = int(getattr(dynamics, "restart_every", 0))
        self.recurrence_name = layer.recurrence.name
        self.recurrent = len(layer.recurrence.state_names)
        self.states = len(layer.state_names)
        self.input_size = layer.input_size
        self.hidden_size = layer.hidden_size
        self.num_layers = layer.num_layers
        self.directions = layer.num_directions
        self.bias = layer.bias
        self.gates = layer.recurrence.gates
        # modReLU has a bias of its own, and no other.
        self.per = 3 if self.recurrence_name == "modrelu" else 4 if self.bias else 2
        self.batch_first = layer.batch_first
        self.dropout = layer.dropout
        self.stand_for(layer)

    def _apply(self, fn: Any, recurse: bool = True) -> ScriptableLayer:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # Parameters are shared with the original, buffers are replaced: hand them over.
        for name, child in self.original().named_children():
            child._buffers.update(self.get_submodule(name)._buffers)
        return self

    def weights(self) -> list[Tensor]:
        """Return all weights in order; `scriptable_layer` writes the method."""
        raise NotImplementedError

    def forward(self, input: Tensor, state: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Run the layer.

        Args:
            input: (T, B, D), (B, T, D) with ``batch_first``, or (T, D).
            state: What an earlier call returned, or None for zeros.

        Returns:
            The output, and the state in the order of ``layer.state_names``.
        """
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            batched = input.dim() == 3
            x = input if batched else input.unsqueeze(1)
            if batched and self.batch_first:
                x = x.transpose(0, 1)
            if state is not None and not batched:
                state = [s.unsqueeze(1) for s in state]
            output, after = self.run_padded(x, state, None)
            if not batched:
                return output.squeeze(1), [s.squeeze(1) for s in after]
            return output.transpose(0, 1) if self.batch_first else output, after
        return self.original()(input, state)  # type: ignore[no-any-return]

    @torch.jit.export
    def zero_state(self, batch_size: int) -> list[Tensor]:
        """Return the state at the start of ``batch_size`` sequences."""
        gates = self.gates * self.hidden_size
        layers = self.num_layers * self.directions
        options = self.weight_ih_l0.new_zeros(0)
        state = [options.new_zeros([layers, batch_size, self.hidden_size]) for _ in range(self.recurrent)]
        if self.filters:
            for layer in range(self.num_layers):
                size = (self.input_size if layer == 0 else self.hidden_size * self.directions) + int(self.bias)
                state.append(options.new_zeros([self.directions, batch_size, size]))
        if self.kind == 2:
            state.append(torch.zeros([1, batch_size], dtype=torch.int64, device=options.device))
        if self.kind >= 3:
            for _ in range(self.kind - 2):
                state.append(options.new_zeros([layers, batch_size, gates]))
        return state

    @torch.jit.export
    def run_padded(
        self, x: Tensor, state: list[Tensor] | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run padded sequences x (T, B, D) with lengths (B,) int64 on the CPU; see `RecurrentLayer.run_padded`."""
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            return self.original().run_padded(x, state, lengths)  # type: ignore[no-any-return]
        if x.size(2) != self.input_size or x.size(0) < 1:
            raise ValueError(f"input: got {x.size()}, allowed is at least one step of {self.input_size} channels")
        before = self.zero_state(x.size(1)) if state is None else state
        if len(before) != self.states:
            raise ValueError(f"state: got {len(before)} tensors, allowed are {self.states}; see zero_state(batch_size)")
        weights = self.weights()
        dtype = weights[1].dtype
        # As the eager layer: no state below float32, and no kernels below float32 on most processors.
        compute = torch.float32 if dtype in [torch.bfloat16, torch.float16] and not x.is_cuda else dtype
        x = x.to(compute)
        per, directions, recurrent = self.per, self.directions, self.recurrent
        ends: list[list[Tensor]] = [[] for _ in range(recurrent)]
        drives: list[list[Tensor]] = []
        k = before[-1] if self.kind == 2 else torch.zeros(0)
        outputs: list[Tensor] = []
        for index in range(self.num_layers * directions):
            layer, backward = index // directions, index % directions
            if backward == 0 and layer > 0:
                x = nn.functional.dropout(torch.cat(outputs, 2), self.dropout, self.training)
                outputs = []
            own = [w.to(compute) for w in weights[index * per : index * per + per]]
            h = [s[index].to(compute) for s in before[:recurrent]]
            drive: list[Tensor] = []
            if self.filters:
                drive.append(before[recurrent + layer][backward].to(compute))
                if self.kind == 2:
                    drive.append(k[0])
            elif self.kind >= 3:
                drive = [s[index].to(compute) for s in before[recurrent:]]
            source = reverse(x, lengths) if backward == 1 else x
            output, end, drive = self.run_direction(source, own, h, drive, lengths)
            outputs.append(reverse(output, lengths) if backward == 1 else output)
            for j in range(recurrent):
                ends[j].append(end[j])
            drives.append(drive)
        after = [torch.stack(tensors).to(dtype) for tensors in ends]
        if self.filters:
            for layer in range(self.num_layers):
                both = [drives[layer * directions + j][0] for j in range(directions)]
                after.append(torch.stack(both).to(dtype))
            if self.kind == 2:
                after.append(drives[0][1].unsqueeze(0))
        elif self.kind >= 3:
            for j in range(len(drives[0])):
                after.append(torch.stack([drive[j] for drive in drives]).to(dtype))
        return torch.cat(outputs, 2).to(dtype), after

    def run_direction(
        self, x: Tensor, weights: list[Tensor], state: list[Tensor], drive: list[Tensor], lengths: Tensor | None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Run one layer in one direction; see `momentum_cli.kernels.backend.Backend.run`."""
        steps = x.size(0)
        if self.kind >= 3:
            bias_ih: Tensor | None = None
            if self.bias:
                bias_ih = weights[2]
            u = linear(x, weights[0], bias_ih)
            decay = torch.full([steps, 1], self.beta2, dtype=torch.float64, device=x.device)
            second = filter_blocks(decay, (1.0 - self.beta2) * u * u, drive[-1])
            d = self.step_size * u
            moments: list[Tensor] = []
            if self.kind == 4:
                decay = torch.full([steps, 1], self.momentum, dtype=torch.float64, device=x.device)
                d = filter_blocks(decay, d, drive[0])
                moments.append(at_end(d, lengths))
            moments.append(at_end(second, lengths))
            d = normalize(d, second, self.eps)
            output, end = run_driven(self.recurrence_name, d, weights, state, lengths)
            return output, end, moments
        if self.kind == 0:
            output, end = self.run_plain(x, weights, state, lengths)
            return output, end, drive
        if self.bias:
            # The last channel is the filtered constant 1; its weight is the input bias.
            x = pad(x, [0, 1], value=1.0)
            extended = torch.cat([weights[0], weights[2].unsqueeze(1)], 1)
            weights = [extended, weights[1], torch.zeros_like(weights[2]), weights[3]]
        decay = torch.full([steps, 1], self.momentum, dtype=torch.float64, device=x.device)
        if self.kind == 2:
            count = torch.arange(1, steps + 1, device=x.device).unsqueeze(1) + drive[1]
            decay = nesterov_coefficient(count, self.restart_every)
        y = filter_blocks(decay, self.step_size * x, drive[0])
        after = [at_end(y, lengths)]
        if self.kind == 2:
            done = drive[1] + steps if lengths is None else drive[1] + lengths.to(x.device)
            after.append(done)
        output, end = self.run_plain(y, weights, state, lengths)
        return output, end, after

    def run_plain(
        self, y: Tensor, weights: list[Tensor], state: list[Tensor], lengths: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the recurrence on the filtered input y (T, B, D)."""
        if self.recurrence_name == "modrelu":
            return run_driven(self.recurrence_name, linear(y, weights[0]), weights, state, lengths)
        return run_native(self.recurrence_name, y, weights, state, lengths)


def scriptable_layer(layer: Any) -> ScriptableLayer:
    """Return a module that `torch.jit.script` compiles and that shares the parameters of ``layer``.

    Raises:
        TypeError: The dynamics or recurrence of the layer is not one of this package.
    """
    names = [name for name, _ in layer.named_parameters(recurse=False)]
    if layer.recurrence.name == "modrelu":
        suffixes = [name.removeprefix("weight_ih") for name in names if name.startswith("weight_ih")]
        names = [name for s in suffixes for name in (f"weight_ih{s}", f"orthogonal_hh{s}()", f"bias_hh{s}")]
    return _class_for(tuple(names))(layer)


@cache
def _class_for(names: tuple[str, ...]) -> type[ScriptableLayer]:
    """Return the subclass whose `weights` lists these parameters or calls.

    TorchScript has no getattr by a computed name, and a list of parameters kept as an attribute would stay behind when
    the module moves to another device. It compiles from source, which linecache provides as for any module.
    """
    listed = ", ".join(f"self.{name}" for name in names)
    source = f"def weights(self) -> list[Tensor]:\n    return [{listed}]\n"
    file = f"<momentum_cli.layers.torchscript {listed}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"Tensor": Tensor}
    exec(compile(source, file, "exec"), namespace)
    return type("ScriptableLayer", (ScriptableLayer,), {"weights": namespace["weights"], "__module__": __name__})
