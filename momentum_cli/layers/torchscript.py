"""Stand-ins that `torch.jit.script` compiles in place of a layer or a model: the same parameters, mathematics, state.

TorchScript can neither call a dataclass nor look up a parameter by name, so layers and models give it these stand-ins
(``__prepare_scriptable__``). They share the parameters of the original under the same names. A state that is more than
that of `torch.nn` is a named tuple (`momentum_cli.layers.scripted_state`); ``lengths`` replace a `PackedSequence`.

`torch.jit.script` puts the stand-in of a child into the user's own eager container. It therefore behaves there like the
original: outside TorchScript it calls the original, and pickling or copying it gives the original.

Axes: T time, B batch, C channels, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import linecache
from functools import cache
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from momentum_cli.dynamics.filter import Filter
from momentum_cli.dynamics.moments import Moments, normalize
from momentum_cli.dynamics.ragged import at_end, checked_lengths, clear_padding, keep_empty, reverse
from momentum_cli.kernels.torchscript import filter_blocks, run_native, traced
from momentum_cli.layers.scripted_state import HiddenState, LSTMState, ScriptedForm, scripted_form, scripted_source
from momentum_cli.layers.state import part, whole


class StandIn(nn.Module):
    """A module that TorchScript compiles, and that everywhere else behaves like the original."""

    def stand_for(self, original: nn.Module) -> None:
        """Act as the original outside TorchScript; the last call of a constructor."""
        self.training = original.training
        # Not a child: its parameters would be counted twice.
        self.__dict__["_original"] = (original,)

    def original(self) -> Any:
        """Return the module it stands for, set to the training mode of this one."""
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
        for name, parameter in layer.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, child in layer.named_children():
            self.add_module(name, child.__prepare_scriptable__())
        layout, recurrence, form = layer.layout, layer.recurrence, layer.dynamics.form
        self.names = list(layout.names)
        self.shapes = [list(shape) for shape in layout.shapes(1)]
        self.counters = [name == "k" for name in layout.names]
        self.places = layout.places
        self.states = len(self.shapes)
        self.recurrent = len(recurrence.state_names)
        self.input_size = layer.input_size
        self.directions = layer.num_directions
        self.bias = layer.bias
        self.batch_first = layer.batch_first
        self.dropout = layer.dropout
        self.kernel: str | None = recurrence.torch_kernel
        # TorchScript compiles every branch, so the numbers of each form must exist.
        self.filters = isinstance(form, Filter) and not form.is_identity
        self.adapts = isinstance(form, Moments)
        self.remembers = self.filters and form.decay is not None
        self.counts = self.remembers and callable(form.decay)
        self.gain = float(form.gain) if isinstance(form, Filter) else 1.0
        moments = form if isinstance(form, Moments) else Moments(None, 1.0, 0.0, 0.0)
        self.has_velocity = moments.momentum is not None
        self.momentum = float(moments.momentum or 0.0)
        self.step_size, self.beta2, self.eps = float(moments.step_size), float(moments.beta2), float(moments.eps)
        self.decay = _scripted_decay(layer)
        self.step = _scripted_step(layer)
        self.stand_for(layer)

    def _apply(self, fn: Any, recurse: bool = True) -> ScriptableLayer:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # Parameters are shared with the original, but buffers are replaced: give the original the new ones.
        for name, child in self.original().named_children():
            child._buffers.update(self.get_submodule(name)._buffers)
        return self

    def weights(self, index: int) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Return the weights and biases of one layer in one direction; `scriptable_layer` generates the method."""
        raise NotImplementedError

    def run(self, input: Tensor, state: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Run an input (T, B, D), (B, T, D) with ``batch_first``, or (T, D), with its tensors of the state."""
        batched = input.dim() == 3
        x = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            x = x.transpose(0, 1)
        if state is not None and not batched:
            state = [s.unsqueeze(1) for s in state]
        output, after = self.run_tensors(x, state, None)
        if not batched:
            return output.squeeze(1), [s.squeeze(1) for s in after]
        return output.transpose(0, 1) if self.batch_first else output, after

    def zero_tensors(self, batch_size: int) -> list[Tensor]:
        """Return the tensors of the state at the start of ``batch_size`` sequences."""
        like = self.weight_ih_l0
        state: list[Tensor] = []
        for number in range(self.states):
            shape = self.shapes[number]
            dtype = torch.int64 if self.counters[number] else like.dtype
            state.append(torch.zeros([shape[0], batch_size] + shape[2:], dtype=dtype, device=like.device))  # noqa: RUF005
        return state

    def checked(self, state: list[Tensor], batch_size: int) -> list[Tensor]:
        """Return a state that has the names, shapes and types of `zero_state`; torch's kernels do not look at them."""
        if len(state) != self.states:
            raise ValueError(f"`state` must have {self.states} tensors, got {len(state)}; see zero_state(batch_size)")
        for number in range(self.states):
            shape = self.shapes[number]
            expected = [shape[0], batch_size] + shape[2:]  # noqa: RUF005
            tensor = state[number]
            if list(tensor.size()) != expected:
                raise ValueError(
                    f"state '{self.names[number]}' must have the shape {expected}, got {tensor.size()}; "
                    "see zero_state(batch_size)"
                )
            if tensor.is_floating_point() == self.counters[number]:
                raise ValueError(f"state '{self.names[number]}' must have the dtype that zero_state(batch_size) gives")
        return state

    def run_tensors(
        self, x: Tensor, state: list[Tensor] | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run padded sequences x (T, B, D) with lengths (B,) of integers; see `RecurrentLayer.run_tensors`."""
        if x.dim() != 3 or x.size(2) != self.input_size or x.size(0) < 1:
            raise ValueError(f"`input` must have {self.input_size} channels and at least one step, got {x.size()}")
        before = self.zero_tensors(x.size(1)) if state is None else self.checked(state, x.size(1))
        dtype = self.weight_ih_l0.dtype
        # No state below float32, as in `choose_precision`; TorchScript's own loops have no products below it either.
        compute = torch.float32 if dtype in [torch.bfloat16, torch.float16] and not x.is_cuda else dtype
        x = x.to(compute)
        given = lengths
        if lengths is not None:
            given = checked_lengths(lengths, x.size(0), x.size(1))
            x = clear_padding(x, given)
            lengths = given.clamp(min=1)
        ends: list[list[Tensor]] = []
        outputs: list[Tensor] = []
        for index in range(len(self.places)):
            backward = index % self.directions
            if backward == 0 and index > 0:
                x = nn.functional.dropout(torch.cat(outputs, 2), self.dropout, self.training)
                outputs = []
            source = reverse(x, lengths) if backward == 1 else x
            own = as_type(part(before, self.places[index]), compute)
            output, end = self.run_direction(source, index, own, lengths)
            outputs.append(reverse(output, lengths) if backward == 1 else output)
            ends.append(end)
        y, end = torch.cat(outputs, 2).to(dtype), as_type(whole(ends, self.places, self.states), dtype)
        if given is not None:
            return clear_padding(y, given), keep_empty(given, end, before)
        return y, end

    def run_direction(
        self, x: Tensor, index: int, state: list[Tensor], lengths: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run one layer in one direction; see `momentum_cli.kernels.backend.Backend.run`."""
        weight_ih, weight_hh, bias_ih, bias_hh, projection = self.weights(index)
        weight_ih, weight_hh = weight_ih.to(x.dtype), weight_hh.to(x.dtype)
        if bias_ih is not None:
            bias_ih = bias_ih.to(x.dtype)
        if bias_hh is not None:
            bias_hh = bias_hh.to(x.dtype)
        if projection is not None:
            projection = projection.to(x.dtype)
        recurrent, drive = state[: self.recurrent], state[self.recurrent :]
        if self.adapts:
            d, drive = self.adapt(linear(x, weight_ih, bias_ih), drive, lengths)
            output, end = self.run_steps(d, weight_hh, bias_hh, projection, recurrent, lengths)
            return output, end + drive
        if self.filters:
            if bias_ih is not None:
                # The last channel is the filtered constant 1; its weight is the input bias.
                x = pad(x, [0, 1], value=1.0)
                weight_ih = torch.cat([weight_ih, bias_ih.unsqueeze(1)], 1)
                bias_ih = None
            x, drive = self.filter(x, drive, lengths)
        if self.kernel is not None:
            weights = [weight_ih, weight_hh]
            if bias_hh is not None:
                # torch's kernels have both biases or none.
                weights += [torch.zeros_like(bias_hh) if bias_ih is None else bias_ih, bias_hh]
            if projection is not None:
                weights.append(projection)
            output, end = run_native(self.kernel, x, weights, bias_hh is not None, recurrent, lengths)
        else:
            d = linear(x, weight_ih, bias_ih)
            output, end = self.run_steps(d, weight_hh, bias_hh, projection, recurrent, lengths)
        return output, end + drive

    def filter(self, x: Tensor, state: list[Tensor], lengths: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Run the `Filter` of the dynamics over the input x (T, B, C)."""
        x = self.gain * x
        if not self.remembers:
            return x, state
        count = torch.arange(1, x.size(0) + 1, device=x.device).unsqueeze(1)
        if self.counts:
            count = count + state[1]
        y = filter_blocks(self.decay(count.double()), x, state[0])
        after = [at_end(y, lengths)]
        if self.counts:
            after.append(state[1] + x.size(0) if lengths is None else state[1] + lengths.to(x.device))
        return y, after

    def adapt(self, u: Tensor, state: list[Tensor], lengths: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Run the `Moments` of the dynamics over the projected input u (T, B, G)."""
        every = torch.ones([u.size(0), 1], dtype=torch.float64, device=u.device)
        second = filter_blocks(self.beta2 * every, (1.0 - self.beta2) * u * u, state[-1])
        d = self.step_size * u
        after: list[Tensor] = []
        if self.has_velocity:
            d = filter_blocks(self.momentum * every, d, state[0])
            after.append(at_end(d, lengths))
        after.append(at_end(second, lengths))
        return normalize(d, second, self.eps), after

    def run_steps(
        self,
        d: Tensor,
        weight_hh: Tensor,
        bias_hh: Tensor | None,
        projection: Tensor | None,
        state: list[Tensor],
        lengths: Tensor | None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the recurrence on a driven input d (T, B, G), step by step."""
        weights = [weight_hh]
        if bias_hh is not None:
            weights.append(bias_hh)
        outputs: list[Tensor] = []
        for t in range(d.size(0)):
            after = self.step(d[t], state, weights)
            if projection is not None:
                after[0] = linear(after[0], projection)
            output = after[0]
            if lengths is not None:
                running = (t < lengths).to(d.device)
                output = torch.where(running.unsqueeze(1), output, torch.zeros_like(output))
                for number in range(len(after)):
                    row = running if after[number].dim() == 1 else running.unsqueeze(1)
                    after[number] = torch.where(row, after[number], state[number])
            state = after
            outputs.append(output)
        return torch.stack(outputs), state


def as_type(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Convert the floating-point tensors; step numbers stay integers."""
    return [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors]


def scriptable_layer(layer: Any) -> ScriptableLayer:
    """Return a module that `torch.jit.script` compiles and that shares the parameters of ``layer``.

    Raises:
        TypeError: The dynamics has only a step, or a function of the user cannot be traced.
    """
    if layer.dynamics.form is None:
        raise TypeError(f"TorchScript has no form for {type(layer.dynamics).__name__}, which has only a step")
    suffixes = [name.removeprefix("weight_ih") for name, _ in layer.named_parameters() if name.startswith("weight_ih")]
    weights = tuple(layer.scripted_weights(suffix) for suffix in suffixes)
    return _class_for(weights, scripted_form(layer.layout))(layer)


@cache
def _class_for(weights: tuple[tuple[str | None, ...], ...], form: ScriptedForm) -> type[ScriptableLayer]:
    """Return the subclass whose `weights` gives these parameters or calls, and whose state has this form.

    TorchScript has no getattr by a computed name, and a list of parameters kept as an attribute would stay behind when
    the module moves to another device. It compiles from source, which it reads from linecache.
    """
    types = ", ".join(["Tensor"] * 2 + ["Optional[Tensor]"] * 3)
    lines = [f"def weights(self, index: int) -> tuple[{types}]:"]
    for index, own in enumerate(weights):
        lines += [f"    if index == {index}:"] if index < len(weights) - 1 else []
        indent = "        " if index < len(weights) - 1 else "    "
        lines.append(f"{indent}return {', '.join('None' if name is None else f'self.{name}' for name in own)}")
    source = "\n".join(lines) + "\n" + scripted_source(form)
    file = f"<momentum_cli.layers.torchscript {weights} {form.type}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names = {"Tensor": Tensor, "Optional": Optional, "torch": torch, "LSTMState": LSTMState, "HiddenState": HiddenState}
    made: dict[str, Any] = {}
    exec(compile(source, file, "exec"), names, made)
    for name in ("run_padded", "zero_state"):
        made[name] = torch.jit.export(made[name])
    return type("ScriptableLayer", (ScriptableLayer,), {**made, "__module__": __name__})


def _scripted_decay(layer: Any) -> Any:
    """Return the decay of a filter at step numbers (float64) as a module of TorchScript."""
    form = layer.dynamics.form
    decay = form.decay if isinstance(form, Filter) and form.decay is not None else 0.0
    function = decay if callable(decay) else lambda k: torch.full_like(k, decay)
    steps = torch.arange(1.0, 7.0, dtype=torch.float64)
    what = f"the decay of {type(layer.dynamics).__name__}"
    return traced(what, function, (steps.view(6, 1),), (steps.view(2, 3) + 40.0,))


def _scripted_step(layer: Any) -> Any:
    """Return the step of the recurrence as a module of TorchScript; it takes d, the state and the recurrent weights."""
    recurrence, hidden = layer.recurrence, layer.hidden_size

    def step(d: Tensor, state: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
        return list(recurrence.step(d, tuple(state), weights[0], weights[1] if len(weights) > 1 else None))

    gates = recurrence.gates * hidden
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(gates, layer.output_size, generator=generator)]
    if layer.scripted_weights("_l0")[3] is not None:
        weights.append(torch.randn(gates, generator=generator))

    def example(batch: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        d = torch.randn(batch, gates, generator=generator)
        return d, [s + 1 for s in layer.layout.begin(d)], weights

    return traced(f"the step of the recurrence {recurrence.name!r}", step, example(2), example(3))
