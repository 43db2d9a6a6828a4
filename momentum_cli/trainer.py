"""The training engine: a model, its data and its position, advanced a number of steps at a time.

`Trainer` neither writes files nor decides when to stop; `momentum_cli.train` does that for one run, and
`momentum_cli.benchmark` for several at once. Everything that decides the next step is in `checkpoint`, so a restored
trainer continues bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from momentum_cli import kernels
from momentum_cli.averaging import ParameterAverage, stopped_improving, swapped
from momentum_cli.checkpoint import Checkpoint, pack_optimizer, unpack_optimizer
from momentum_cli.data import (
    Batch,
    Dataset,
    Groups,
    Sequences,
    ShuffledGroups,
    TokenText,
    WindowGroups,
    evaluation_groups,
)
from momentum_cli.errors import RecipeError, RunError
from momentum_cli.language_model import LanguageModel
from momentum_cli.layer_state import State
from momentum_cli.models import SequenceModel
from momentum_cli.objective import Objective, better, reaches
from momentum_cli.recurrent_layer import RecurrentLayer
from momentum_cli.schedule import learning_rate_factor

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from momentum_cli.recipe import Recipe

# Ranks draw dropout masks from generators this far apart; rank 0 keeps the seed of the recipe.
_RANK_STRIDE = 1_000_003


@dataclass
class Progress:
    """Where a run is; the numbers of design section "What every number means".

    Attributes:
        step: Optimizer steps done.
        epoch: Epochs completed.
        step_in_epoch: Steps done in the current epoch.
        samples: Training sequences seen.
        train_seconds: The scored clock: data, forward, backward and step.
        wall_seconds: Everything since the start, earlier sessions of a resumed run included.
        best: ``{metric, value, step, epoch, split, metrics, file}`` or None.
        target: ``{metric, value, reached, step, …}`` as in result.json, or None without a target.
        last: The latest evaluation ``{step, epoch, split, metrics}`` or None.
        bad_evaluations: Evaluations since the headline metric improved by more than min_delta.
        stopping_value: Value that early stopping compares with.
        nonfinite_steps: Steps in a row that were skipped because loss or gradient was not finite.
        values: The headline metric of each evaluation, kept with ``train.averaging`` only.
        averaging_from: Step after which parameters are averaged, or None.
        averaged: Steps in the average.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    samples: int = 0
    train_seconds: float = 0.0
    wall_seconds: float = 0.0
    best: dict[str, Any] | None = None
    target: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    bad_evaluations: int = 0
    stopping_value: float | None = None
    nonfinite_steps: int = 0
    values: list[float] = field(default_factory=list)
    averaging_from: int | None = None
    averaged: int = 0


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step reports.

    Args:
        loss: Mean training loss of the step, over all processes.
        grad_norm: Norm of the gradient before clipping.
        lr: Learning rate of the first parameter group.
        skipped: Loss or gradient was not finite and the parameters were left alone.
        stop: Some process asked to stop.
        train_seconds: The scored clock, on which all processes agree, so that they stop together.
    """

    loss: float
    grad_norm: float
    lr: float
    skipped: bool
    stop: bool
    train_seconds: float


def _check_backends(module: nn.Module, device: torch.device) -> None:
    """Refuse a backend that was asked for by name and cannot serve, before a run folder is made."""
    for layer in module.modules():
        if isinstance(layer, RecurrentLayer) and layer.backend != "auto":
            try:
                kernels.require(layer.backend, layer.work(device, torch.float32))
            except ValueError as error:
                raise RecipeError(f"model.backend: {error}") from error


def build_model(recipe: Recipe, input_size: int, output_size: int, output: str) -> SequenceModel | LanguageModel:
    """Build the model of a recipe, initialised from torch's global generator.

    Args:
        recipe: What to build; with ``model.language`` a `LanguageModel`.
        input_size: D.
        output_size: Classes or values; of a language model the size of the vocabulary.
        output: ``"last"`` or ``"every"``.
    """
    if recipe.model.language is None:
        return build_sequence_model(recipe, input_size, output_size, output)
    model = recipe.build_language_model(output_size)
    model.reset_parameters(recipe.model.init, recipe.model.forget_bias)
    return model


def build_sequence_model(recipe: Recipe, input_size: int, output_size: int, output: str) -> SequenceModel:
    """Build the model of a recipe that is not one of language; see `build_model`."""
    model = SequenceModel(recipe.build_layer(input_size), output_size, output)  # type: ignore[arg-type]
    model.reset_parameters(recipe.model.init, recipe.model.forget_bias)
    return model


@dataclass
class Clock:
    """Seconds between `start` and `stop`, with the device synchronised at both ends, pauses left out."""

    device: torch.device
    seconds: float = 0.0
    now: Callable[[], float] = time.perf_counter
    _since: float | None = field(default=None, repr=False)

    def start(self) -> None:
        """Begin or continue counting."""
        self._synchronize()
        self._since = self.now()

    def stop(self) -> float:
        """Stop counting and return the total."""
        if self._since is not None:
            self._synchronize()
            self.seconds += self.now() - self._since
            self._since = None
        return self.seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens inside."""
        running = self._since is not None
        self.stop()
        yield
        if running:
            self.start()

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class Trainer:
    """A model in training.

    Args:
        recipe: What to train.
        dataset: Its data.
        fabric: A launched Fabric: device, precision, processes.

    Attributes:
        progress: Position and best values.
        module: The model itself, not wrapped.

    A step takes ``batch_size`` sequences a process, ``accumulate`` times. The order of an epoch depends on the seed
    and the epoch alone; the processes share each group of sequences among them, and every loss is divided by the
    number of scored terms of the whole group, so the gradient is that of one process with the whole group, also when
    the last group of an epoch does not divide evenly.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, fabric: Fabric) -> None:
        options = recipe.train
        self.recipe = recipe
        self.fabric = fabric
        self.device: torch.device = fabric.device
        self.dataset = dataset
        self.objective = Objective.of(dataset)
        self._scored = dataset.train.scored
        self._groups = training_groups(recipe, dataset.train, self.group_size)
        # State of each part of a group, where it goes on from a group to the next.
        self._carried: list[State] = []
        self._average: ParameterAverage | None = None
        self._random_state: dict[str, Tensor] = {}
        self._splits: dict[str, Sequences] = {
            "train": dataset.train.to(self.device),
            "test": dataset.test.to(self.device),
        }
        if dataset.validation is not None:
            self._splits["validation"] = dataset.validation.to(self.device)
        with self._own_random_state(fresh=True):
            torch.manual_seed(options.seed)
            self.module = build_model(recipe, dataset.input_size, dataset.output_size, dataset.output)
            _check_backends(self.module, self.device)
            self.optimizer = recipe.build_optimizer(self.module)
            self._base_lrs = [float(group["lr"]) for group in self.optimizer.param_groups]
            self._model, self._optimizer = fabric.setup(self.module, self.optimizer)
            torch.manual_seed((options.seed + _RANK_STRIDE * fabric.global_rank) % 2**32)
        self.progress = Progress()
        if recipe.target is not None:
            target = {"metric": recipe.target.metric, "value": recipe.target.value, "reached": False}
            self.progress.target = target | dict.fromkeys(("steps", "samples", "train_seconds", "wall_seconds"))
        self.clock = Clock(self.device)

    # What the run consists of.

    @property
    def selection_split(self) -> str:
        """The split that is evaluated on the grid and on which the best checkpoint is chosen."""
        return "test" if self.dataset.validation is None else "validation"

    @property
    def group_size(self) -> int:
        """Sequences an optimizer step, over all processes."""
        return self.recipe.train.batch_size * self.recipe.train.accumulate * self.fabric.world_size

    @property
    def batch_shape(self) -> tuple[int, int, int]:
        """(T, B, D) that the recurrent layer sees of the largest batch of a process."""
        rows = min(self.recipe.train.batch_size, len(self.dataset.train))
        return self._groups.longest, rows, self.module.layer.input_size

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps an epoch; the last one may be smaller."""
        return self._groups.steps

    @property
    def total_steps(self) -> int | None:
        """Planned optimizer steps, or None when only time limits the run."""
        options, progress = self.recipe.train, self.progress
        # From the start of this epoch on: a resumed run may have had other batches in the epochs before.
        started = progress.step - progress.step_in_epoch
        planned = [] if options.epochs is None else [started + (options.epochs - progress.epoch) * self.steps_per_epoch]
        planned += [] if options.max_steps is None else [options.max_steps]
        return min(planned, default=None)

    @property
    def parameter_count(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.module.parameters() if p.requires_grad)

    @property
    def diagnostic_names(self) -> tuple[str, ...]:
        """What `diagnostics` returns after a step; () for most optimizers."""
        return tuple(getattr(self.optimizer, "diagnostic_names", ()))

    def diagnostics(self) -> dict[str, float]:
        """Return what the optimizer tells of its last step, such as the momentum it chose; waits for the device."""
        if not self.diagnostic_names:
            return {}
        found: dict[str, Tensor] = self.optimizer.diagnostics()  # type: ignore[attr-defined]
        return {name: float(value) for name, value in found.items()}

    def next_evaluation(self) -> int:
        """Return the next step of the evaluation grid, the end of the run included."""
        every = self.recipe.train.eval_every_n_steps or self.steps_per_epoch
        step = (self.progress.step // every + 1) * every
        return step if self.total_steps is None else max(min(step, self.total_steps), self.progress.step + 1)

    # Training.

    def step(self, stop_requested: bool = False) -> StepResult:
        """Make one optimizer step, with the scored clock running.

        Args:
            stop_requested: This process wants to stop; every process learns of it with the result.

        Returns:
            What happened. Position and clock are in `progress`.

        Raises:
            RunError: Loss or gradient was not finite ``max_nonfinite`` + 1 times in a row.
        """
        progress = self.progress
        with self._own_random_state():
            self.clock.start()
            self._model.train()
            group = self._next_group()
            rate = self._set_learning_rate()
            if progress.step_in_epoch == 0:
                self._carried = []
            loss, carried = self._backward(group)
            parameters = [p for p in self.module.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            grad_norm = float(norm)
            finite = math.isfinite(loss) and math.isfinite(grad_norm)
            if finite:
                # The state of a step that was not finite would spoil all that follow.
                self._carried = carried
                if self.recipe.train.clip_grad_norm is not None:
                    torch.nn.utils.clip_grads_with_norm_(parameters, self.recipe.train.clip_grad_norm, norm)
                self._optimizer.step()
                self.module.layer.after_step()
                if self._average is not None:
                    self._average.update()
                    progress.averaged = self._average.count
            self._optimizer.zero_grad(set_to_none=True)
            progress.step += 1
            progress.step_in_epoch += 1
            progress.samples += group.numel()
            if progress.step_in_epoch >= self.steps_per_epoch:
                progress.epoch += 1
                progress.step_in_epoch = 0
            stop = self._agree(stop_requested)
            progress.train_seconds = self.clock.seconds
        progress.nonfinite_steps = 0 if finite else progress.nonfinite_steps + 1
        if progress.nonfinite_steps > self.recipe.train.max_nonfinite:
            in_a_row = f" {progress.nonfinite_steps} steps in a row" if progress.nonfinite_steps > 1 else ""
            raise RunError(
                f"step {progress.step}: loss {loss}, gradient norm {grad_norm}: not finite{in_a_row} (learning rate "
                f"{rate:g}); try {self._calmer()}"
            )
        return StepResult(loss, grad_norm, rate, not finite, stop, progress.train_seconds)

    def _calmer(self) -> str:
        """Return the changes of the recipe that can keep it from diverging, of those it does not have yet."""
        recipe = self.recipe
        changes = [f"optimizer.lr={recipe.optimizer.lr / 10:g}"]
        if recipe.train.clip_grad_norm is None:
            changes.append("train.clip_grad_norm=1.0")
        eps = recipe.cells.get(recipe.model.cell, {}).get("eps")
        if eps is not None:
            changes.append(f"cells.{recipe.model.cell}.eps={10 * eps:g}")
        return " or ".join(changes)

    def _next_group(self) -> Tensor:
        return self._groups.group(self.progress.epoch, self.progress.step_in_epoch)

    def _set_learning_rate(self) -> float:
        options = self.recipe.schedule
        factor = learning_rate_factor(
            options.name,
            self.progress.step,
            warmup_steps=options.warmup_steps,
            total_steps=self.total_steps,
            every_n_steps=options.every_n_steps,
            gamma=options.gamma,
            minimum=options.min_lr / self._base_lrs[0],
        )
        factor *= self._groups.rate(self.progress.epoch, self.progress.step_in_epoch)
        for group, base in zip(self.optimizer.param_groups, self._base_lrs, strict=True):
            group["lr"] = base * factor
        return self._base_lrs[0] * factor

    def _backward(self, group: Tensor) -> tuple[float, list[State]]:
        """Accumulate the gradient of the mean loss over a group of all processes.

        Returns:
            That loss, and the state after each part of the group, for the next one.
        """
        fabric, rank, world = self.fabric, self.fabric.global_rank, self.fabric.world_size
        count = int(self._scored[group].sum())
        parts = torch.split(group, self.recipe.train.batch_size * world)
        goes_on = bool(self._carried)
        carried: list[State] = []
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for number, part in enumerate(parts):
            mine = part[rank::world]
            # A process without a sequence still takes part in the exchange of gradients, with weight 0.
            weight = 1.0 if len(mine) else 0.0
            batch = self._splits["train"].batch(mine if len(mine) else part[:1])
            with fabric.no_backward_sync(self._model, enabled=number + 1 < len(parts)):
                before = self._carried[number] if goes_on else None
                summed, penalty, after = self._loss(batch, before)
                loss = summed * (weight / count)
                whole = loss if penalty is None else loss + penalty * (len(mine) / len(group))
                # Processes average their gradients, and the sum over them is wanted.
                fabric.backward(whole * world if world > 1 else whole)
            total += loss.detach()
            if self._groups.carried:
                carried.append(tuple(tensor.detach() for tensor in after))
        if world > 1:
            total = fabric.all_reduce(total, reduce_op="sum")  # type: ignore[assignment]
        return float(total), carried

    def _loss(self, batch: Batch, state: State | None) -> tuple[Tensor, Tensor | None, State]:
        """Return the sum of the loss, the penalty on activations or None, and the state after the batch."""
        if not isinstance(self.module, LanguageModel):
            outputs, after = self._model(batch.inputs, batch.lengths)
            return self.objective.loss_sum(outputs, batch.targets), None, after
        # Through the wrapper, which exchanges gradients; the targets go in so that an adaptive softmax need not
        # compute all of the distribution.
        terms, after = self._model(batch.inputs, None, state, batch.targets)
        options = self.recipe.train.bptt
        if options is None or (options.ar == 0.0 and options.tar == 0.0):
            return terms.loss, None, after
        return terms.loss, options.ar * terms.activation + options.tar * terms.slowness, after

    def _agree(self, stop_requested: bool) -> bool:
        """Stop the clock, and give all processes the same time and the same answer to whether to stop."""
        self.clock.stop()
        if self.fabric.world_size == 1:
            return stop_requested
        mine = torch.tensor([float(stop_requested), self.clock.seconds], dtype=torch.float64, device=self.device)
        stops, seconds = self.fabric.all_reduce(mine, reduce_op="sum").tolist()  # type: ignore[union-attr]
        self.clock.seconds = seconds / self.fabric.world_size
        return bool(stops > 0)

    # Evaluation.

    def evaluate(
        self,
        split: str,
        on_progress: Callable[[int, int, str], None] = lambda done, total, split: None,
        parameters: dict[str, Tensor] | None = None,
    ) -> dict[str, float]:
        """Evaluate parameters; the scored clock does not run.

        Args:
            split: ``"validation"``, ``"test"`` or ``"train"``.
            on_progress: Called with sequences done, their number, and the split.
            parameters: A state_dict of the model; None: the current parameters, or their average once there is one.

        Returns:
            Metrics over the whole split, the same in every process.
        """
        data = self._splits[split]
        size, rank, world = self.recipe.train.eval_batch_size, self.fabric.global_rank, self.fabric.world_size
        totals = torch.zeros(4, dtype=torch.float64, device=self.device)
        self.module.eval()
        state: State | None = None
        done = 0
        with swapped(self.module, parameters or self._averaged()), torch.no_grad(), self.fabric.autocast():
            for group in evaluation_groups(data, size * world):
                mine = group[rank::world]
                if len(mine):
                    batch = data.batch(mine)
                    outputs, after = self.module(batch.inputs, batch.lengths, state)
                    state = after if self._groups.carried else None
                    totals += self.objective.totals(outputs, batch.targets)
                done = min(done + group.numel(), len(data))
                on_progress(done, len(data), split)
        if world > 1:
            totals = self.fabric.all_reduce(totals, reduce_op="sum")  # type: ignore[assignment]
        return self.objective.results(totals)

    def record(self, metrics: dict[str, float], split: str) -> bool:
        """Take an evaluation into `progress`: best, target, early stopping.

        Returns:
            Whether the headline metric is the best so far.
        """
        progress, metric = self.progress, self.dataset.metric
        value = metrics[metric]
        here = {"step": progress.step, "epoch": progress.epoch, "split": split, "metrics": metrics}
        progress.last = here
        best = progress.best is None or better(metric, value, progress.best["value"])
        # A first value that is not a number must not keep a later one from being better.
        best = best and not math.isnan(value)
        if best:
            progress.best = {"metric": metric, "value": value, **here}
        target = progress.target
        if target is not None and not target["reached"]:
            name = target["metric"]
            if name in metrics and reaches(name, metrics[name], target["value"]):
                position = {"steps": progress.step, "samples": progress.samples}
                clocks = {"train_seconds": progress.train_seconds, "wall_seconds": progress.wall_seconds}
                progress.target = target | {"reached": True} | position | clocks
        averaging = self.recipe.train.averaging
        if averaging is not None:
            progress.values.append(value)
            if self._average is None and stopped_improving(metric, progress.values, averaging.patience):
                progress.averaging_from = progress.step
                self._average = ParameterAverage(self.module)
        stopping = self.recipe.train.early_stopping
        if stopping is not None:
            margin = stopping.min_delta if better(metric, 1.0, 0.0) else -stopping.min_delta
            if progress.stopping_value is None or better(metric, value, progress.stopping_value + margin):
                progress.stopping_value, progress.bad_evaluations = value, 0
            else:
                progress.bad_evaluations += 1
        return best

    # Saving and restoring.

    def checkpoint(self) -> Checkpoint:
        """Return everything that decides how the run goes on. Every process must call it."""
        optimizer_tensors, optimizer_data = pack_optimizer(self.optimizer.state_dict())
        tensors = {f"model.{name}": t for name, t in self.module.state_dict().items()}
        averaged = self._averaged()
        if averaged is not None:
            # A consumer of the checkpoint takes the average, the training goes on from what it had.
            tensors |= {f"training.{name}": t for name, t in self.module.named_parameters()}
            with swapped(self.module, averaged):
                tensors |= {f"model.{name}": t.clone() for name, t in self.module.state_dict().items()}
        for number, part in enumerate(self._carried if self.progress.step_in_epoch > 0 else []):
            for index, state in enumerate(part):
                everyone = self.fabric.all_gather(state) if self.fabric.world_size > 1 else state[None]
                tensors |= {f"carried.{rank}.{number}.{index}": row for rank, row in enumerate(everyone)}
        tensors |= {f"optimizer.{name}": t for name, t in optimizer_tensors.items()}
        for name, state in self._random_state.items():
            everyone = self.fabric.all_gather(state.to(self.device)) if self.fabric.world_size > 1 else state[None]
            tensors |= {f"rng.{name}.{rank}": row.cpu() for rank, row in enumerate(everyone)}
        data = {
            "recipe": self.recipe.dump(),
            "progress": asdict(self.progress),
            "optimizer": optimizer_data,
            "dataset": describe(self.dataset),
            "processes": self.fabric.world_size,
            "group_size": self.group_size,
            "torch": torch.__version__,
        }
        return Checkpoint(tensors, data)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of the same model and data.

        Raises:
            RecipeError: The run had other processes or, in the middle of an epoch, another batch size; or the
                parameters do not fit the recipe.
        """
        data, options = checkpoint.data, self.recipe.train
        progress = Progress(**data["progress"])
        for name, planned, done in (
            ("epochs", options.epochs, progress.epoch),
            ("max_steps", options.max_steps, progress.step),
        ):
            if planned is not None and planned < done:
                raise RecipeError(
                    f"train.{name}: got {planned}, but the run has made {done} already; give a larger one"
                )
        if data["processes"] != self.fabric.world_size:
            raise RecipeError(
                f"the run was trained by {data['processes']} processes and is resumed by {self.fabric.world_size}; "
                f"give --devices and --nodes so that there are {data['processes']}"
            )
        if data["group_size"] != self.group_size and progress.step_in_epoch > 0:
            raise RecipeError(
                f"the run stopped in the middle of an epoch with {data['group_size']} sequences a step; "
                f"got {self.group_size}: resume with the same batch_size and accumulate"
            )
        own, saved_options = self.recipe.train.bptt, data["recipe"]["train"].get("bptt")
        if progress.step_in_epoch > 0 and own is not None and saved_options is not None:
            windows = {"length": own.length, "variable": own.variable}
            if windows != {key: saved_options[key] for key in windows}:
                raise RecipeError(
                    f"the run stopped in the middle of an epoch with other windows; got {windows}: resume with the "
                    "same train.bptt.length and train.bptt.variable"
                )
        try:
            self.module.load_state_dict(checkpoint.group("model"))
            if progress.averaging_from is not None:
                self._average = ParameterAverage(self.module, progress.averaged)
            if progress.averaged > 0:
                self.module.load_state_dict(checkpoint.group("training"), strict=False)
            self.optimizer.load_state_dict(unpack_optimizer(checkpoint.group("optimizer"), data["optimizer"]))
        except (RuntimeError, ValueError, KeyError) as error:
            raise RecipeError(f"the checkpoint does not fit the recipe: {error}") from error
        if progress.target is None or self.progress.target is None or not _same_target(progress, self.progress):
            progress.target = self.progress.target
        self.progress = progress
        self.clock.seconds = progress.train_seconds
        rank = self.fabric.global_rank
        carried: dict[int, dict[int, Tensor]] = {}
        for name, tensor in checkpoint.group(f"carried.{rank}").items():
            number, index = map(int, name.split("."))
            carried.setdefault(number, {})[index] = tensor.to(self.device)
        self._carried = [tuple(part[i] for i in sorted(part)) for _, part in sorted(carried.items())]
        saved = checkpoint.group("rng")
        self._random_state = {name: saved[f"{name}.{rank}"] for name in self._random_state}

    def _averaged(self) -> dict[str, Tensor] | None:
        """Return the averaged parameters by name, or None as long as there are none."""
        return self._average.mean if self._average is not None and self._average.count > 0 else None

    @contextmanager
    def _own_random_state(self, fresh: bool = False) -> Iterator[None]:
        """Run with this trainer's random state, so that interleaved trainers do not disturb each other."""
        outside = self._capture_random_state()
        if not fresh:
            self._apply_random_state(self._random_state)
        try:
            yield
        finally:
            self._random_state = self._capture_random_state()
            self._apply_random_state(outside)

    def _capture_random_state(self) -> dict[str, Tensor]:
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _apply_random_state(self, state: dict[str, Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)


def training_groups(recipe: Recipe, train: Sequences, size: int) -> Groups:
    """Return what each optimizer step of a recipe looks at.

    Args:
        recipe: For the seed and the windows of a text.
        train: The training split.
        size: Sequences, or streams of a text, of an optimizer step over all processes.
    """
    if isinstance(train, TokenText):
        options = recipe.train.bptt
        assert options is not None
        return WindowGroups(train, size, options.length, options.variable, recipe.train.seed)
    return ShuffledGroups(train, size, recipe.train.seed)


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return what a consumer of the model needs to know of its data, JSON-able."""
    steps = dataset.metric_steps
    return {
        "name": dataset.name,
        "input_size": dataset.input_size,
        "output_size": dataset.output_size,
        "output": dataset.output,
        "loss": dataset.loss,
        "metric": dataset.metric,
        "metric_steps": None if steps is None else [steps.start, steps.stop, steps.step],
        "labels": None if dataset.labels is None else list(dataset.labels),
        "preprocessing": dataset.preprocessing,
        "licence": dataset.licence,
    }


def _same_target(one: Progress, other: Progress) -> bool:
    assert one.target is not None
    assert other.target is not None
    return all(one.target[key] == other.target[key] for key in ("metric", "value"))
