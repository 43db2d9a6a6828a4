"""The layer that every cell is: project, filter, recur; stacked, in one or both directions, padded or packed input.

Axes: T time, B batch, D input, H hidden, G gates * H, L layers * directions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from momentum_cli import kernels
from momentum_cli.dynamics.heavy_ball import HeavyBall
from momentum_cli.dynamics.protocol import Dynamics
from momentum_cli.dynamics.ragged import checked_lengths, clear_padding, keep_empty, reverse
from momentum_cli.dynamics.scan import autocast_type
from momentum_cli.dynamics.state import State
from momentum_cli.kernels.backend import Backend, Weights, Work
from momentum_cli.kernels.eager import transformed
from momentum_cli.kernels.fused import run as fused
from momentum_cli.layers import quick
from momentum_cli.layers.initialization import initialize
from momentum_cli.layers.parameters import LayerParameters
from momentum_cli.layers.precision import Precision, choose_precision
from momentum_cli.layers.quantization import QuantizationConfig
from momentum_cli.layers.state import LayerState, StateLayout, part, whole
from momentum_cli.layers.stream import Stream
from momentum_cli.messages import Said, counted, refuse
from momentum_cli.recurrence import RECURRENCES
from momentum_cli.recurrence.protocol import Recurrence


class RecurrentLayer(LayerParameters):
    """Base class of LSTM, GRU and RNN; build one of these.

    The state is that of `torch.nn` where there is no more to carry: (h, c) of an LSTM with `Identity`, the tensor h of
    the other layers. Else it is a `RecurrentState`, which unpacks as (h, c) and carries everything: a sequence run
    in chunks equals the sequence run whole. Every tensor has the batch in dimension 1 (no batch dimension for unbatched
    input). `state_names` gives their order:

    - the recurrent tensors as `torch.nn` has them, (L, B, H): ``h`` and, for an LSTM, ``c``;
    - linear dynamics keep the filtered input of each layer: ``velocity_l0``, ``velocity_l1``, … (directions, B,
      input size of that layer + 1), the last channel being the filtered constant 1 that stands for the input bias
      (absent with ``bias=False``); Nesterov and ScheduledRestart then keep the step number ``k``, (1, B) int64;
    - RMSProp and Adam keep their moments in gate space, (L, B, G).
    """

    recurrence: Recurrence
    dynamics: Dynamics
    qconfig = QuantizationConfig()
    has_weight_hh: ClassVar[bool] = True
    """True if ``weight_hh`` is a parameter, so that weight dropout can act on it."""

    def __init__(
        self,
        recurrence: Recurrence,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dynamics: Dynamics = HeavyBall(),
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(refuse(name, value, "be an integer >= 1"))
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(refuse("dropout", dropout, "be in [0, 1]"))
        if dropout > 0.0 and num_layers == 1:
            raise ValueError(refuse("dropout", dropout, "be 0 with num_layers=1: it acts between layers"))
        if proj_size and recurrence.torch_kernel != "lstm":
            raise ValueError(refuse("proj_size", proj_size, "be 0: only an LSTM has a projected output"))
        if isinstance(proj_size, bool) or not isinstance(proj_size, int) or not 0 <= proj_size < hidden_size:
            raise ValueError(refuse("proj_size", proj_size, f"be an integer in [0, hidden_size={hidden_size})"))
        if isinstance(dynamics, type) or not hasattr(dynamics, "scan"):
            got = Said(f"the class {dynamics.__name__}") if isinstance(dynamics, type) else dynamics
            raise ValueError(refuse("dynamics", got, "be an object of momentum_cli.dynamics, such as HeavyBall()"))
        if backend != "auto" and backend not in kernels.BACKENDS:
            raise ValueError(refuse("backend", backend, f"be one of auto, {', '.join(kernels.BACKENDS)}"))
        self.recurrence = recurrence
        self.dynamics = dynamics
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self.backend = backend
        self.chosen_backend: str | None = None if backend == "auto" else backend
        for suffix, size in self._directions():
            self._add_weights(suffix, size, device, dtype)
        self.reset_parameters()

    @property
    def options(self) -> dict[str, Any]:
        """Options of the recurrence, other than sizes and dynamics, that decide what the layer computes."""
        return {}

    def after_step(self) -> None:
        """Do what an optimizer step requires afterwards: nothing except in `OrthogonalRNN`. Training calls it."""

    @property
    def layout(self) -> StateLayout:
        """The tensors of the state."""
        sizes = tuple(self._layer_input_size(layer) for layer in range(self.num_layers))
        return StateLayout(
            self.recurrence, self.dynamics, sizes, self.hidden_size, self.num_directions, self.bias, self.proj_size
        )

    @property
    def state_names(self) -> tuple[str, ...]:
        """One name for each tensor of the state, in order."""
        return self.layout.names

    def reset_parameters(self, init: str = "torch", forget_bias: float | None = None) -> None:
        """Initialise the parameters.

        Args:
            init: ``"torch"``: uniform in ±1/sqrt(H), as `torch.nn`. ``"paper"``: orthogonal ``weight_ih``,
                ``weight_hh = eye_`` of the (G, H) matrix (identity in the first gate's block, zero elsewhere), zero
                biases except both forget-gate biases of an LSTM.
            forget_bias: Value of both forget-gate biases of an LSTM; default 1.0 for ``"paper"``, untouched for
                ``"torch"``.

        Raises:
            ValueError: ``init`` is unknown, or a forget bias was given to a layer without a forget gate or bias.

        Reference: arXiv 2006.06919, appendix, and the authors' code for ``"paper"``.
        """
        initialize(self, init, self.recurrence.forget_gate if self.bias else None, forget_bias)

    def zero_state(self, batch_size: int | None = None) -> LayerState:
        """Return the state at the start of a sequence, in the form in which `forward` returns it.

        Args:
            batch_size: B, or None for unbatched input.
        """
        tensors = self.zero_tensors(1 if batch_size is None else batch_size)
        return self.layout.returned(tensors if batch_size is not None else tuple(s.squeeze(1) for s in tensors))

    def zero_tensors(self, batch_size: int) -> State:
        """Return the tensors of `zero_state` in the order of `state_names`."""
        return self.layout.zeros(batch_size, self.tensor("weight_ih_l0"))

    def forward(
        self, input: Tensor | PackedSequence, hx: LayerState | None = None
    ) -> tuple[Tensor | PackedSequence, LayerState]:
        """Run the layer.

        Args:
            input: (T, B, D), (B, T, D) with ``batch_first``, (T, D) unbatched, or a `PackedSequence`.
            hx: The state that an earlier call returned, or its tensors in the order of `state_names`, or None for
                zeros.

        Returns:
            The outputs of the last layer at each step, as packed, batched or unbatched as the input, directions
            concatenated: (T, B, directions * H); and the state after the last step.

        Raises:
            ValueError: The input size, the state's shapes or dtypes are wrong, or the backend cannot serve.
        """
        layout = self.layout
        tensors = None if hx is None else layout.flat(hx)
        if isinstance(input, PackedSequence):
            x, lengths = pad_packed_sequence(input)
            output, after = self.run_tensors(x, tensors, lengths)
            packed = pack_padded_sequence(output, lengths, enforce_sorted=False)
            # Keep the caller's order, sorted or not.
            if input.sorted_indices is None:
                packed = PackedSequence(packed.data, packed.batch_sizes, None, None)
            return packed, layout.returned(after)
        if input.dim() not in (2, 3):
            raise ValueError(refuse("input", Said(f"{input.dim()}"), "have 2 (T, D) or 3 dimensions"))
        batched = input.dim() == 3
        x = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            x = x.transpose(0, 1)
        self._check_input(x)
        output, after = self._run(x, tensors, None, batched)
        if not batched:
            return output.squeeze(1), layout.returned(tuple(s.squeeze(1) for s in after))
        return output.transpose(0, 1) if self.batch_first else output, layout.returned(after)

    if TYPE_CHECKING:
        # `torch.nn.Module` declares its call as Any, so a typed program would know nothing about the outputs.

        @overload
        def __call__(self, input: Tensor, hx: LayerState | None = None) -> tuple[Tensor, LayerState]: ...
        @overload
        def __call__(
            self, input: PackedSequence, hx: LayerState | None = None
        ) -> tuple[PackedSequence, LayerState]: ...
        def __call__(self, input: Any, hx: LayerState | None = None) -> Any: ...

    def stream(self, batch_size: int | None = None) -> Stream:
        """Return the layer as a function that keeps its state, for one step or more at a time; see `Stream`.

        Args:
            batch_size: B, or None for unbatched input.
        """
        return Stream([self], batch_size, self.layout)

    def run_padded(
        self, x: Tensor, state: LayerState | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, LayerState]:
        """Run the layer on padded sequences without packing them.

        Args:
            x: (T, B, D), whatever ``batch_first`` says.
            state: As ``hx`` of `forward`.
            lengths: (B,) valid steps of any integer dtype, each in [0, T], or None for T.

        Returns:
            (T, B, directions * H), 0 beyond each sequence's end; and the state at that end, unchanged by length 0.

        Raises:
            ValueError: As `forward`, or lengths that are not integers, not one per sequence, or outside [0, T].
        """
        layout = self.layout
        output, after = self.run_tensors(x, None if state is None else layout.flat(state), lengths)
        return output, layout.returned(after)

    def run_tensors(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None, *, every: bool = True
    ) -> tuple[Tensor, State]:
        """Do the same as `run_padded`, with the state as one flat tuple in the order of `state_names`.

        Args:
            x, state, lengths: As for `run_padded`.
            every: False if only the state is wanted. The last layer's outputs are then not kept, which in both
                directions takes less memory and time, and the first result is a tensor of no steps, (0, B, …).
        """
        self._check_input(x)
        if lengths is None:
            return self._run(x, state, None, every=every)
        traced = torch.compiler.is_compiling()
        lengths = checked_lengths(lengths, len(x), x.shape[1], traced)
        x = clear_padding(x, lengths)
        if not traced and bool((lengths > 0).all()):
            return self._run(x, state, lengths, every=every)
        # Backends need at least one step; empty sequences get one of zeros, whose output and state are discarded.
        output, after = self._run(x, state, lengths.clamp(min=1), every=every)
        before = self.zero_tensors(x.shape[1]) if state is None else state
        ends = tuple(keep_empty(lengths, list(after), list(before)))
        return clear_padding(output, lengths) if every else output, ends

    def _run(
        self, x: Tensor, given: State | None, lengths: Tensor | None, batched: bool = True, every: bool = True
    ) -> tuple[Tensor, State]:
        if torch._C._get_tracing_state() is not None:
            must = "be made by torch.jit.script, because a trace would keep the number of steps of its example"
            remedy = "layer = torch.jit.script(layer), which a traced model may contain"
            raise RuntimeError(refuse("a TorchScript layer", Said("torch.jit.trace"), must, remedy))
        dtype = self.tensor("weight_ih_l0").dtype
        mixed = torch.is_autocast_enabled(autocast_type(x.device))
        if not mixed and x.dtype != dtype:
            raise ValueError(refuse("input", x.dtype, f"have the dtype of the parameters, {dtype}"))
        state = None if given is None else self.layout.checked(given, x, batched, None if mixed else dtype)
        precision = self._precision(x.device)
        if precision.state == dtype and not mixed:
            done = None if lengths is not None else quick.run(self, x, state)
            if done is None:
                return self._run_in(dtype, x, state, lengths, every)
            output, after, backend = done
            if backend != self.chosen_backend:
                self.chosen_backend = backend
            return output if every else output[:0], after
        if state is not None:
            state = tuple(s.to(precision.state) if s.is_floating_point() else s for s in state)
        with torch.autocast(autocast_type(x.device), enabled=False):
            output, after = self._run_in(precision.state, x.to(precision.input), state, lengths, every)
        return output.to(precision.output), tuple(s.to(dtype) if s.is_floating_point() else s for s in after)

    def _precision(self, device: torch.device) -> Precision:
        def can_narrow() -> bool:
            able = self.backend in ("auto", "fused") and not transformed()
            return able and fused.supports(self.work(device, torch.bfloat16)) is None

        return choose_precision(self.tensor("weight_ih_l0").dtype, device, can_narrow)

    def _run_in(
        self, dtype: torch.dtype, x: Tensor, state: State | None, lengths: Tensor | None, every: bool
    ) -> tuple[Tensor, State]:
        layout = self.layout
        places, recurrent = layout.places, len(self.recurrence.state_names)
        drive: State | None
        ends: list[list[Tensor]] = []
        outputs: list[Tensor] = []
        for index, (suffix, _) in enumerate(self._directions()):
            layer, backward = divmod(index, self.num_directions)
            if backward == 0 and layer > 0:
                x = torch.cat(outputs, 2) if self.bidirectional else outputs[0]
                x = nn.functional.dropout(x, self.dropout, self.training)
                outputs = []
            if state is None:
                before, drive = layout.begin(x[0].to(dtype)), None
            else:
                own = tuple(part(list(state), places[index]))
                before, drive = own[:recurrent], own[recurrent:]
            weights = self.weights(suffix, dtype)
            run = self._backend(x, weights).run
            if backward:  # the last direction to read x, which need not be kept as it was
                x = reverse(x, lengths)
            output, end, drive = run(self.recurrence, self.dynamics, x, weights, before, drive, lengths)
            ends.append([*end, *drive])
            if not every and layer == self.num_layers - 1:
                output = output[:0].clone()  # a view would keep all steps
            elif backward:
                output = reverse(output, lengths)
            outputs.append(output)
        output = torch.cat(outputs, 2) if self.bidirectional else outputs[0]
        return output, tuple(whole(ends, places, len(layout.names)))

    def backend_for(self, shape: tuple[int, int, int], *, training: bool) -> str:
        """Return the name of the backend that serves the first layer.

        Args:
            shape: (T, B, D) of the input.
            training: True if gradients are needed.
        """
        if self.backend != "auto":
            return self.backend
        device = self.tensor("weight_ih_l0").device
        work = self.work(device, self._precision(device).input)
        short = not training and quick.is_short(self, work, shape)
        return "fused" if short else kernels.choose(work, shape, training)

    def _backend(self, x: Tensor, weights: Weights) -> Backend:
        if self.backend != "auto":
            return kernels.require(self.backend, self.work(x.device, x.dtype))
        training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, *weights))
        steps, batch, size = x.shape
        chosen = kernels.choose(self.work(x.device, x.dtype), (steps, batch, size), training)
        # Setting an attribute of a module takes time, and a graph must not depend on its earlier value.
        if torch.compiler.is_compiling() or chosen != self.chosen_backend:
            self.chosen_backend = chosen
        return kernels.BACKENDS[chosen]

    def work(self, device: torch.device, dtype: torch.dtype) -> Work:
        """Return the work that a backend must support to run this layer on this device and in this dtype."""
        return Work(self.recurrence, self.dynamics, self.hidden_size, device, dtype, self.proj_size > 0)

    def _check_input(self, x: Tensor) -> None:
        if x.shape[2] != self.input_size:
            must = f"have input_size={self.input_size} channels"
            raise ValueError(refuse("input", Said(counted(x.shape[2], "channel")), must))
        if x.shape[0] < 1:
            raise ValueError(refuse("input", Said("a sequence of length 0"), "have at least one step"))

    def extra_repr(self) -> str:
        """Show the options that differ from the defaults, and always the dynamics."""
        parts = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        defaults |= {"proj_size": 0}
        parts += [f"{name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value]
        parts.append(f"dynamics={self.dynamics}")
        if self.backend != "auto":
            parts.append(f"backend={self.backend!r}")
        return ", ".join(parts)

    def __prepare_scriptable__(self) -> nn.Module:
        """Give `torch.jit.script` a module that it can compile; see `momentum_cli.layers.torchscript`."""
        from momentum_cli.layers.torchscript import scriptable_layer

        return scriptable_layer(self)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the recurrence by name, because a saved model must not depend on its step function."""
        state = self.__dict__.copy()
        if RECURRENCES.get(self.recurrence.name) is self.recurrence:
            state["recurrence"] = self.recurrence.name
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state of `__getstate__`."""
        if isinstance(state["recurrence"], str):
            state = state | {"recurrence": RECURRENCES[state["recurrence"]]}
        super().__setstate__(state)  # type: ignore[no-untyped-call]
