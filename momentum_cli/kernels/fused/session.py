"""Stacked layers over a stream of steps: weights packed once, states kept inside and updated in place, one C call.

Axes: T time, B batch, D input, H hidden, G gates * H.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from momentum_cli.dynamics.filter import Decay, Filter
from momentum_cli.dynamics.moments import Moments
from momentum_cli.dynamics.protocol import Dynamics, Form
from momentum_cli.dynamics.state import State
from momentum_cli.kernels.backend import Weights
from momentum_cli.kernels.driven import ADAM, take_in
from momentum_cli.kernels.fused.library import ABI, ISAS, Arguments, Stage, chosen_isa, load
from momentum_cli.kernels.fused.ops import DTYPES, RECURRENCES
from momentum_cli.messages import Said, refuse
from momentum_cli.recurrence.protocol import Recurrence

# Steps per call: enough to outweigh its fixed cost, few enough for a small buffer of their outputs.
_STEPS, _ROWS = 256, 8192
# Decays that depend on the step number are computed for this many steps ahead.
_AHEAD = 1024


class Session:
    """One direction of stacked layers on the CPU, without autograd. One thread may use it at a time.

    Args:
        recurrence: One of `momentum_cli.kernels.fused.ops.RECURRENCES`.
        dynamics: One that has a form.
        weights: Parameters of each layer, all float32 or all float64. They are copied.
        sizes: D and H of each layer.
        batch: B, >= 1.
        short: Length of the longest sequence if all are short, so that one thread runs them; None for any length.

    Raises:
        RuntimeError: There is no library.
        ValueError: The shape, dtype or device of a parameter is wrong.
    """

    # Buffers made in inference mode could not be written outside it.
    @torch.inference_mode(False)
    def __init__(
        self,
        recurrence: Recurrence,
        dynamics: Dynamics,
        weights: Sequence[Weights],
        sizes: Sequence[tuple[int, int]],
        batch: int,
        short: int | None = None,
    ) -> None:
        library, _, reason = load()
        if library is None:
            raise RuntimeError(reason)
        self._library, self._batch = library, batch
        self._dtype = weights[0].w_hh.dtype
        self._sizes = sizes[0][0], sizes[-1][1]
        self._longest = short or max(1, min(_STEPS, _ROWS // batch))
        self._parts = 1 if short else min(torch.get_num_threads(), batch)
        self._ahead = 1 if short else _AHEAD
        self._stages = (Stage * len(weights))()
        room = self._longest, self._parts
        self._layers = [
            _Layer(stage, recurrence, dynamics, own, size, batch, *room)
            for stage, own, size in zip(self._stages, weights, sizes, strict=True)
        ]
        for before, after in zip(self._layers, self._layers[1:], strict=False):
            buffer = torch.empty((self._longest, batch, before.hidden_size), dtype=self._dtype, device="cpu")
            before.write_to(buffer)
            after.read_from(buffer)
            after.buffers.append(buffer)
        self._counting = [layer for layer in self._layers if layer.k is not None]
        self._steps = self._threads = 0
        self.prepare(dynamics.form, weights)

    def prepare(self, form: Form | None, weights: Sequence[Weights]) -> None:
        """Take new constants and parameters of the kind and shapes that the session was made for.

        Raises:
            ValueError: The shape, dtype or device of a parameter is wrong.
        """
        for layer, own in zip(self._layers, weights, strict=True):
            layer.set_form(form)
            layer.set_weights(own)
            code = self._library.mrnn_pack(ctypes.byref(layer.stage.layer))
            if code:
                raise RuntimeError(f"mrnn_pack refused its arguments (code {code})")

    @property
    def state(self) -> list[list[Tensor]]:
        """The state of each layer, that of the recurrence and then that of the dynamics; the next call changes it."""
        return [layer.state for layer in self._layers]

    def reset(self) -> None:
        """Go back to the start of a sequence."""
        for layer in self._layers:
            for tensor in layer.state:
                tensor.zero_()
            layer.recount()

    def set_state(self, state: Sequence[State]) -> None:
        """Copy the state of each layer, in the order of `state`."""
        for layer, tensors in zip(self._layers, state, strict=True):
            layer.set_state(tensors)

    def run(self, x: Tensor) -> Tensor:
        """Advance by the steps of x (T, B, D), T >= 1; return the outputs of the last layer, (T, B, H).

        Raises:
            ValueError: The shape, dtype or device of x is wrong.
        """
        steps, given = x.shape[0], x.shape
        if given != (steps, self._batch, self._sizes[0]) or steps < 1:
            must = f"have the shape (T, {self._batch}, {self._sizes[0]}) with T >= 1"
            raise ValueError(refuse("input", tuple(given), must))
        if x.dtype != self._dtype or not x.is_cpu:
            raise ValueError(refuse("input", Said(f"{x.dtype} on {x.device}"), f"be {self._dtype} on the CPU"))
        if not x.is_contiguous() or x.is_neg():
            x = x.detach().contiguous().resolve_neg()
        output = torch.empty((steps, self._batch, self._sizes[1]), dtype=self._dtype, device="cpu")
        # Read now, not when the session was made: a forked process has lost the other threads.
        threads = min(self._parts, torch.get_num_threads())
        if threads != self._threads:
            for layer in self._layers:
                layer.set_threads(threads)
            self._threads = threads
        for at in range(0, steps, self._longest):
            count = min(self._longest, steps - at)
            if count != self._steps:
                self._steps = 0  # of no layer, in case this is interrupted
                for layer in self._layers:
                    layer.set_steps(count)
                self._steps = count
            self._layers[0].read_from(x if at == 0 else x[at:])
            self._layers[-1].write_to(output if at == 0 else output[at:])
            for layer in self._counting:
                layer.count(count, self._ahead)
            code = self._library.mrnn_stream(self._stages, len(self._layers))
            if code:
                raise RuntimeError(f"mrnn_stream refused its arguments (code {code}; {tuple(given)})")
        return output


class _Layer:
    """One layer of a session, with the memory that its stage points to."""

    def __init__(
        self,
        stage: Any,
        recurrence: Recurrence,
        dynamics: Dynamics,
        weights: Weights,
        sizes: tuple[int, int],
        batch: int,
        longest: int,
        parts: int,
    ) -> None:
        self.dtype = dtype = weights.w_hh.dtype
        size, self.hidden_size = sizes
        self._biases = weights.b_ih is not None
        gates = recurrence.gates * self.hidden_size
        self._shapes = ((gates, size), (gates, self.hidden_size), (gates,), (gates,))
        self._check(weights)
        driven = take_in(dynamics, torch.zeros((1, batch, size), dtype=dtype, device="cpu"), weights, None, None)
        isa = ISAS[chosen_isa(dtype, self.hidden_size)]
        channels = driven.x.shape[2]
        shape = (1, batch, channels, self.hidden_size)
        number = RECURRENCES[str(recurrence.kernel)]
        plan = (number, driven.dynamics, parts, parts, longest)
        arguments = Arguments(ABI, isa, DTYPES[dtype], *plan, *shape, driven.folded, *[0.0] * 4)
        self.stage, self.batch, self.longest = stage, batch, longest
        stage.layer = arguments
        self._arguments = stage.layer  # a view: reading the field makes one each time
        self.buffers: list[Tensor] = []  # kept alive, because the stage has only their addresses
        hidden = [torch.zeros((batch, self.hidden_size), dtype=dtype, device="cpu") for _ in recurrence.state_names]
        self.state: list[Tensor] = list(hidden)
        for name, tensor in zip("hc", hidden, strict=False):
            setattr(self._arguments, f"{name}0", tensor.data_ptr())
            setattr(self._arguments, f"{name}n", tensor.data_ptr())
        self.k: Tensor | None = None
        self._decay: Decay
        self._decays: Tensor | None = None  # of the next steps, the first of them in row _next
        self._next = 0
        self._number = ctypes.c_double()  # a decay that is the same at all steps
        form = dynamics.form
        self.filters = isinstance(form, Filter) and not form.is_identity
        if isinstance(form, Filter):
            if self.filters:
                self._filter(form, channels, channels - size)
        else:
            for name in "vm" if driven.dynamics == ADAM else "m":
                moment = torch.zeros((batch, gates), dtype=dtype, device="cpu")
                self.state.append(moment)
                setattr(self._arguments, f"{name}0", moment.data_ptr())
                setattr(self._arguments, f"{name}n", moment.data_ptr())
        room = load()[0].mrnn_packed_bytes(ctypes.byref(self._arguments))
        if room < 0:
            raise RuntimeError(f"mrnn_packed_bytes refused its arguments (code {room}; {shape})")
        self._arguments.packed = self._own(torch.empty(room, dtype=torch.uint8, device="cpu"))

    def set_form(self, form: Form | None) -> None:
        """Take the constants of a form of the kind that the layer was made for."""
        if isinstance(form, Moments):
            arguments = self._arguments
            arguments.momentum, arguments.step_size = form.momentum or 0.0, form.step_size
            arguments.beta2, arguments.eps = form.beta2, form.eps
        elif isinstance(form, Filter) and self.filters:
            self.stage.filter.gain = form.gain
            if callable(form.decay):
                self._decay = form.decay
                self.recount()
            elif form.decay is not None:
                self._number.value = form.decay

    def set_weights(self, weights: Weights) -> None:
        """Point to parameters, which the library reads when it packs them."""
        self._check(weights)
        self._weights = [
            None if tensor is None else tensor.detach().contiguous().resolve_neg() for tensor in weights[:4]
        ]
        for name, tensor in zip(Weights._fields, self._weights, strict=False):
            setattr(self._arguments, name, None if tensor is None else tensor.data_ptr())

    def _check(self, weights: Weights) -> None:
        dtype = self.dtype
        for name, tensor, shape in zip(Weights._fields, weights, self._shapes, strict=False):
            if tensor is None and name.startswith("b_") and not self._biases:
                continue
            if tensor is None or tensor.shape != shape or tensor.dtype != dtype or not tensor.is_cpu:
                got = None if tensor is None else Said(f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}")
                raise ValueError(refuse(name, got, f"be {dtype} {shape} on the CPU"))

    def _own(self, tensor: Tensor) -> int:
        self.buffers.append(tensor)
        return tensor.data_ptr()

    def _filter(self, form: Filter, channels: int, constant: int) -> None:
        """Make the stage filter its input before the layer reads it."""
        dtype, shape = self.state[0].dtype, (self.batch, channels)
        self._arguments.x = self._own(torch.empty((self.longest, *shape), dtype=dtype, device="cpu"))
        scan = self.stage.filter
        scan.real_bytes, scan.threads, scan.batch, scan.channels = DTYPES[dtype], 1, *shape
        scan.decay_steps = scan.decay_columns = 1
        scan.constant, scan.gain = constant, form.gain
        if form.decay is None:
            return
        velocity = torch.zeros(shape, dtype=dtype, device="cpu")
        self.state.append(velocity)
        scan.start = velocity.data_ptr()
        if callable(form.decay):
            self.k = torch.zeros(self.batch, dtype=torch.int64, device="cpu")
            self.state.append(self.k)
            scan.decay_columns = self.batch
        else:
            scan.decays = ctypes.addressof(self._number)

    def read_from(self, x: Tensor) -> None:
        """Take the input (T, B, D) from here."""
        if self.filters:
            self.stage.input = x.data_ptr()
        else:
            self._arguments.x = x.data_ptr()

    def write_to(self, output: Tensor) -> None:
        """Write the output (T, B, H) here."""
        self._arguments.out = output.data_ptr()

    def set_threads(self, threads: int) -> None:
        """Set the number of threads that may run."""
        self._arguments.threads = threads

    def set_steps(self, steps: int) -> None:
        """Set the number of steps of each call."""
        self._arguments.steps = self.stage.filter.steps = steps
        if self.k is not None:
            self.stage.filter.decay_steps = steps

    def count(self, steps: int, ahead: int) -> None:
        """Count steps that are about to run, of a filter whose decay depends on their number.

        Args:
            steps: Their number.
            ahead: Steps for which decays are computed at once.
        """
        assert self.k is not None
        if self._decays is None or self._next + steps > len(self._decays):
            numbers = torch.arange(1, max(ahead, steps) + 1, device="cpu").unsqueeze(1) + self.k
            self._decays, self._next = self._decay(numbers.double()).contiguous(), 0
        self.stage.filter.decays = self._decays.data_ptr() + self._next * self.batch * 8
        self._next += steps
        self.k += steps

    def set_state(self, state: State) -> None:
        """Copy a state."""
        for own, tensor in zip(self.state, state, strict=True):
            own.copy_(tensor)
        self.recount()

    def recount(self) -> None:
        """Compute decays that depend on the step number anew."""
        self._decays = None
