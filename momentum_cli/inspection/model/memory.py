"""Memory of a training step on the CPU, from the tensors that autograd keeps, without data.

Axes: T time, B batch, D input.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from momentum_cli.data import Sizes
from momentum_cli.models.sequence import SequenceModel
from momentum_cli.recipe.building import build_optimizer, build_sequence_model
from momentum_cli.recipe.recipe import Recipe
from momentum_cli.training.objective import Objective

# Steps instead of all T, at two lengths. In the loop they are multiples of the scan's block, beyond its first level.
# Before the fused kernel the input is filtered by blocks of steps, each of which takes its time with fake tensors too.
_LOOP = 96, 192
_FUSED = 5_000, 10_000


@dataclass(frozen=True)
class Memory:
    """Bytes of a training step.

    Args:
        parameters: Parameters and buffers of the model.
        gradients: Gradients of the trained parameters.
        optimizer: State of the recipe's optimizer after its first step.
        batch: Inputs (B, T, D).
        activations: Tensors that autograd keeps for the backward pass, without inputs and parameters.
        activations_from: ``"allocation"``: the shapes that the kernel allocates at the full length;
            ``"extrapolation"``: two passes over a part of the length, as the kept memory is linear in it.
    """

    parameters: int
    gradients: int
    optimizer: int
    batch: int
    activations: int
    activations_from: str

    @property
    def peak(self) -> int:
        """Their sum, all of which is allocated when the backward pass of the first layer begins."""
        return self.parameters + self.gradients + self.optimizer + self.batch + self.activations

    def as_json(self) -> dict[str, Any]:
        """Return all values and ``peak`` by name."""
        return asdict(self) | {"peak": self.peak}


def estimate(recipe: Recipe, sizes: Sizes, batch: int) -> Memory:
    """Estimate the memory of a training step.

    It does not include temporaries (buffers of operations, the optimizer's intermediate tensors, packed weights of the
    kernel), nor the process itself with Python and torch.

    Args:
        recipe: Model, optimizer and backend.
        sizes: Sizes of the task.
        batch: B.
    """
    model = build_sequence_model(recipe, sizes.input_size, sizes.output_size, sizes.output)
    trained = [p for p in model.parameters() if p.requires_grad]
    backend = model.layer.backend_for((sizes.length, batch, sizes.input_size), training=True)
    activations, origin = _activations(recipe, sizes, batch, backend)
    return Memory(
        parameters=_bytes([*model.parameters(), *model.buffers()]),
        gradients=_bytes(trained),
        optimizer=_optimizer_state(recipe, model),
        batch=4 * batch * sizes.length * sizes.input_size,
        activations=activations,
        activations_from=origin,
    )


def _activations(recipe: Recipe, sizes: Sizes, batch: int, backend: str) -> tuple[int, str]:
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

    if backend == "fused":
        # Fake tensors have a shape but no memory, so our kernel only allocates. A layer that reads the values of its
        # parameters, as the orthogonal one does, cannot be built from them.
        with suppress(DataDependentOutputException), FakeTensorMode():
            return _at_length(recipe, sizes, batch, backend, *_FUSED)
    # With fake tensors the time loop would be long too, and torch's kernels would not show their workspace.
    return _at_length(recipe, sizes, batch, backend, *_LOOP)


def _at_length(recipe: Recipe, sizes: Sizes, batch: int, backend: str, short: int, long: int) -> tuple[int, str]:
    """Return `_kept` at the length of the task and its origin; beyond a long one by the line through two lengths."""
    if sizes.length <= long:
        return _kept(recipe, sizes, batch, sizes.length, backend), "allocation"
    kept = _kept(recipe, sizes, batch, short, backend)
    slope = (_kept(recipe, sizes, batch, long, backend) - kept) / (long - short)
    return round(kept + slope * (sizes.length - short)), "extrapolation"


def _kept(recipe: Recipe, sizes: Sizes, batch: int, length: int, backend: str) -> int:
    """Return the bytes that a forward pass with loss keeps for its backward pass.

    Each part of a storage counts once, and the rest of the storage does not: the kernel keeps buffers for later passes.
    """
    model = build_sequence_model(
        recipe.override(f"model.backend={backend}"), sizes.input_size, sizes.output_size, sizes.output
    ).train()
    inputs = torch.zeros(batch, length, sizes.input_size)
    shape = (batch, length) if sizes.output == "every" else (batch,)
    values = sizes.loss == "mse"
    targets = torch.zeros((*shape, sizes.output_size)) if values else torch.zeros(shape, dtype=torch.int64)
    own = {_key(t) for t in (inputs, *model.parameters(), *model.buffers())}
    parts: dict[int, dict[Any, int]] = {}
    whole: dict[int, int] = {}
    alive: list[Tensor] = []  # keeps storages alive, because a freed one could pass its address to another

    def pack(tensor: Tensor) -> Tensor:
        if (key := _key(tensor)) not in own:
            parts.setdefault(key, {})[tensor.storage_offset(), tensor.shape] = _bytes([tensor])
            whole[key] = tensor.untyped_storage().nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.random.fork_rng(devices=[]):
        outputs, _ = model(inputs)
        Objective(sizes.loss, sizes.output).loss_sum(outputs, targets)
    return sum(min(whole[key], sum(parts[key].values())) for key in parts)


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _optimizer_state(recipe: Recipe, model: SequenceModel) -> int:
    """Return the bytes of the optimizer's state, from a real step, because only the optimizer knows them."""
    optimizer = build_optimizer(recipe, model)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer.step()
    tensors = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    return _bytes(tensors)


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
