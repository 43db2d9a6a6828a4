"""The training engine: a model, its data and its position, advanced a number of steps at a time.

`Trainer` neither writes files nor decides when to stop: `momentum_cli.training.session` keeps the files of a run,
`momentum_cli.training.run` and `momentum_cli.benchmark.running` decide. `momentum_cli.training.snapshot` saves
everything that determines the next step, so a restored trainer continues bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from momentum_cli.data import Batch, Dataset, Sequences
from momentum_cli.data.batching import Sharing
from momentum_cli.dynamics.state import State
from momentum_cli.errors import RunError
from momentum_cli.loggers.tracking import require_loggers
from momentum_cli.metrics import METRICS
from momentum_cli.models.model import Answered
from momentum_cli.recipe.building import build_model, build_optimizer, check_backends
from momentum_cli.training.accumulation import Accumulation
from momentum_cli.training.adversary import adversary_for
from momentum_cli.training.averaging import ParameterAverage, stopped_improving, swapped
from momentum_cli.training.batch_loss import BatchLoss
from momentum_cli.training.class_loss import training_loss
from momentum_cli.training.clock import Clock
from momentum_cli.training.compiling import compile_loss
from momentum_cli.training.evaluation import Watch, tally, unwatched
from momentum_cli.training.guard import Guard, guard_for
from momentum_cli.training.objective import Objective
from momentum_cli.training.position import Progress
from momentum_cli.training.precision import chosen_precision, scale_for
from momentum_cli.training.random_state import RandomState
from momentum_cli.training.readings import Readings, StepResult, diverged
from momentum_cli.training.schedule import scheduled
from momentum_cli.training.tally import Tally

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from momentum_cli.recipe.recipe import Recipe
from momentum_cli.recipe.sections import TrainOptions

# Ranks draw dropout masks from generators this far apart; rank 0 keeps the seed of the recipe.
_RANK_STRIDE = 1_000_003


class Trainer:
    """A model in training.

    Args:
        recipe: What to train.
        dataset: Its data.
        fabric: A launched Fabric: device, precision, processes.

    Attributes:
        progress: Position and best values.
        module: The model itself, not wrapped.
        carried: State after each part of the latest group, from which the next group continues; () where none is.
        precision: Precision of the training; never ``auto``.
        scale: Factor of the loss in float16.
        adversary: Changes the inputs that are learned from; see `momentum_cli.training.adversary`.
        average: Average of the parameters, once it has begun.
        random: Random state that dropout draws from.
        shifts: Calibration of the quantiles of the present parameters, after an evaluation of the validation split.
        guard: Keeps a step that is not finite from counting; see `momentum_cli.training.guard`.
        on_skipped: Called for each such step when its numbers are read, in order.

    A step takes ``batch_size`` sequences, ``accumulate`` times; its gradient is made by
    `momentum_cli.training.accumulation`. The order of an epoch depends on the seed and the epoch alone.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, fabric: Fabric) -> None:
        options = recipe.train
        require_loggers(options.loggers)
        self.recipe = recipe
        self.fabric = fabric
        self.device: torch.device = fabric.device
        self.dataset = dataset
        self.objective = Objective.of(dataset)
        sharing = Sharing(self.part_size, fabric.world_size)
        self._groups = dataset.train.training_groups(self.group_size, options.seed, options.bptt, sharing)
        self.carried: list[State] = []
        self.average: ParameterAverage | None = None
        self.random = RandomState(self.device)
        self._splits: dict[str, Sequences] = {
            "train": dataset.train.to(self.device),
            "test": dataset.test.to(self.device),
        }
        if dataset.validation is not None:
            self._splits["validation"] = dataset.validation.to(self.device)
        self.precision = chosen_precision(options.precision, self.device.type)
        with self.random.inside():
            torch.manual_seed(options.seed)
            self.module = build_model(recipe, dataset.input_size, dataset.output_size, dataset.output)
            check_backends(self.module, self.device)
            self.optimizer = build_optimizer(recipe, self.module)
            self._parameters = list(self.module.parameters())
            self._base_lrs = [float(group["lr"]) for group in self.optimizer.param_groups]
            loss_sum = training_loss(self.objective, options, dataset, self.device)
            loss = BatchLoss(self.module, loss_sum)
            if options.compile:
                compile_loss(loss, self.device)
            model, self._optimizer = fabric.setup(loss, self.optimizer)
            # Alone and in float32 there is nothing to exchange or to round, and the wrapper costs time in small steps.
            alone = fabric.world_size == 1 and self.precision == "fp32"
            self._model = loss if alone else model
            torch.manual_seed((options.seed + _RANK_STRIDE * fabric.global_rank) % 2**32)
        self.progress = Progress.start(recipe)
        self.scale = scale_for(self.precision, self.device)
        self.adversary = adversary_for(options, self.module, loss_sum, dataset, fabric, self.precision)
        self._accumulate = Accumulation(
            fabric, self._model, self._splits["train"], self.part_size, self.scale, self.adversary
        )
        self.clock = Clock.of(self.device)
        self.guard: Guard = guard_for(self.device, self.module)
        self.on_skipped: Callable[[StepResult], None] = lambda result: None
        self._readings = Readings()
        self._stopping = False
        self.shifts: list[list[float]] | None = None

    @property
    def selection_split(self) -> str:
        """The split that is evaluated on the grid and on which the best checkpoint is chosen."""
        return "test" if self.dataset.validation is None else "validation"

    @property
    def group_size(self) -> int:
        """Sequences per optimizer step, over all processes."""
        return self.part_size * self.recipe.train.accumulate

    @property
    def part_size(self) -> int:
        """Sequences that are in memory at one time, over all processes: the batch of the recipe, which they share."""
        options = self.recipe.train
        return options.batch_size * (self.fabric.world_size if options.scale_batch else 1)

    @property
    def backend(self) -> str:
        """The backend that serves the largest batch of a process in training."""
        rows = -(-min(self.part_size, self._groups.rows) // self.fabric.world_size)
        return self.module.backend_for(self._groups.longest, rows, training=True)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch; the last one may be smaller."""
        return self._groups.steps

    @property
    def total_steps(self) -> int | None:
        """Planned optimizer steps, or None when only time limits the run."""
        return self.planned_steps(self.recipe.train)

    def planned_steps(self, options: TrainOptions) -> int | None:
        """Return the optimizer steps of a budget, from the position of this run; None when only time limits it."""
        progress = self.progress
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
        """Names of the values that `diagnostics` returns after a step; () for most optimizers."""
        return tuple(getattr(self.optimizer, "diagnostic_names", ()))

    def diagnostics(self) -> dict[str, float]:
        """Return diagnostics of the optimizer's last step, such as the momentum it chose; waits for the device."""
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

        On a card the host does not wait for it: loss and gradient norm are read after the steps that `reads_now` names,
        those of all steps since the last reading at once. On the CPU every step is read.

        Args:
            stop_requested: This process wants to stop; every process learns of it at the next reading.

        Returns:
            The result of the step. Position and clock are in `progress`.

        Raises:
            RunError: Loss or gradient was not finite ``max_nonfinite`` + 1 times in a row.
        """
        progress = self.progress
        with self.random.inside():
            self.clock.start()
            self.shifts = None
            if not self.module.training:  # setting it again would take half a millisecond
                self._model.train()
            group = self._next_group()
            rate = self._set_learning_rate()
            if progress.step_in_epoch == 0:
                self.carried = []
            loss, carried = self._accumulate(group, self.carried, progress.step)
            parameters = [p for p in self._parameters if p.grad is not None]
            gradients = [p.grad for p in parameters if p.grad is not None]
            self.scale.reduce(gradients)
            norm = torch.nn.utils.get_total_norm(gradients)
            finite = torch.isfinite(loss) & torch.isfinite(norm)
            others = chain(self.module.buffers(), () if self.average is None else self.average.tensors)
            self.guard.step(lambda: self._change(parameters, norm), finite, self.optimizer, others)
            self.adversary.learn(self.guard)
            overflowed = self.scale.follow(loss, norm)
            if carried:
                # The state after a step that was not finite would spoil all later steps.
                self.carried = self.guard.carried(carried, self.carried, finite)
            for parameter in parameters:
                parameter.grad = None
            progress.step += 1
            progress.step_in_epoch += 1
            progress.samples += group.numel()
            if progress.step_in_epoch >= self.steps_per_epoch:
                progress.epoch += 1
                progress.step_in_epoch = 0
            seconds = self.clock.stop()
        self._readings.add(progress.step, rate, loss, norm, overflowed)
        self._stopping |= stop_requested
        if self.fabric.world_size == 1:
            progress.train_seconds = seconds
        result = self.read() if self.reads_now else None
        stop = self._stopping and self.fabric.world_size == 1
        return result or StepResult(progress.step, rate, stop=stop, train_seconds=progress.train_seconds)

    @property
    def logs_now(self) -> bool:
        """True if the step that was just made has a row in the metrics: every n-th, and the last of an epoch."""
        return self.progress.step % self.recipe.train.log_every_n_steps == 0 or self.progress.step_in_epoch == 0

    @property
    def reads_now(self) -> bool:
        """True if the numbers of the step that was just made are read at once."""
        return self.logs_now or self.guard.reads

    def read(self) -> StepResult | None:
        """Wait for the device, and bring clock and `progress` up to date. Every process must call it.

        Returns:
            The latest step, or None if every step has been read before.

        Raises:
            RunError: See `step`.
        """
        progress = self.progress
        results = self._readings.read()
        if not results:
            return None
        stop = self._agree(self.clock.read())
        progress.train_seconds = self.clock.seconds
        if self.average is not None:
            progress.averaged = int(self.average.count)
        for result in results:
            if result.overflowed:
                continue
            progress.nonfinite_steps = progress.nonfinite_steps + 1 if result.skipped else 0
            if progress.nonfinite_steps > self.recipe.train.max_nonfinite:
                raise RunError(diverged(result, progress.nonfinite_steps, self.recipe))
            if result.skipped:
                self.on_skipped(result)
        return replace(results[-1], stop=stop, train_seconds=progress.train_seconds)

    def _change(self, parameters: list[nn.Parameter], norm: Tensor) -> None:
        """Change the parameters by their gradients, and what depends on them."""
        if self.recipe.train.clip_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.recipe.train.clip_grad_norm, norm)
        self._optimizer.step()
        self.module.after_step()
        if self.average is not None:
            self.average.update()

    def _next_group(self) -> Tensor:
        return self._groups.group(self.progress.epoch, self.progress.step_in_epoch)

    def _set_learning_rate(self) -> float:
        progress, base = self.progress, self._base_lrs[0]
        factor = scheduled(self.recipe.schedule, progress.step, self.total_steps, base, progress.reductions)
        factor *= self._groups.rate(self.progress.epoch, self.progress.step_in_epoch)
        for group, base in zip(self.optimizer.param_groups, self._base_lrs, strict=True):
            group["lr"] = base * factor
        return self._base_lrs[0] * factor

    def _agree(self, seconds: float) -> bool:
        """Give the clocks of all processes the same time, and return whether one of them wants to stop."""
        stopping, self._stopping = self._stopping, False
        if self.fabric.world_size == 1:
            return stopping
        mine = torch.tensor([float(stopping), seconds], dtype=torch.float64, device=self.device)
        stops, total = self.fabric.all_reduce(mine, reduce_op="sum").tolist()  # type: ignore[union-attr]
        self.clock.seconds = total / self.fabric.world_size
        return bool(stops > 0)

    # Evaluation.

    def evaluate(
        self, split: str, on_progress: Watch = unwatched, parameters: dict[str, Tensor] | None = None
    ) -> dict[str, float]:
        """Return the metrics of a split, the same in every process; see `tally`."""
        found = self.tally(split, on_progress, parameters)
        self.shifts = found.shifts() if split == "validation" else None
        return found.metrics()

    def tally(
        self,
        split: str,
        on_progress: Watch = unwatched,
        parameters: dict[str, Tensor] | None = None,
        *,
        keep: bool = False,
        shifts: list[list[float]] | None = None,
    ) -> Tally:
        """Evaluate parameters; the scored clock does not run. Every process must call it.

        Args:
            split: ``"validation"``, ``"test"`` or ``"train"``.
            on_progress: Called with sequences done, their number, and the split.
            parameters: A state_dict of the model; None: the current parameters, or their average once there is one.
            keep: As for `Tally`.
            shifts: Calibration of the quantiles of these parameters.
        """
        self.read()
        self.module.eval()
        under_attack = any(METRICS[name].attacked for name in self.objective.metrics)

        def answer(batch: Batch, index: Tensor, state: Any) -> Answered:
            with self.fabric.autocast():
                found = self.module.answer(batch, state)
            if under_attack:
                found = found._replace(attacked=self.adversary.worst(batch, index, self.objective))
            return found

        with swapped(self.module, parameters or self.averaged()):
            return tally(
                answer,
                self._splits[split],
                self.objective.calibrated(shifts),
                size=self.recipe.train.eval_batch_size,
                device=self.device,
                keep=keep,
                calibrating=split == "validation",
                split=split,
                on_progress=on_progress,
                fabric=self.fabric,
            )

    def record(self, metrics: dict[str, float], split: str) -> bool:
        """Take an evaluation into `progress`, and return whether it is the best so far; see `Progress.take`."""
        progress, metric, options = self.progress, self.dataset.metric, self.recipe.train
        best = progress.take(metrics, split, metric, options.early_stopping)
        if self.recipe.schedule.name == "plateau":
            progress.take_plateau(metrics["loss"], self.recipe.schedule.patience)
        if options.averaging is not None:
            progress.values.append(metrics[metric])
            if self.average is None and stopped_improving(metric, progress.values, options.averaging.patience):
                progress.averaging_from = progress.step
                self.average = ParameterAverage(self.module)
        return best

    def averaged(self) -> dict[str, Tensor] | None:
        """Return the averaged parameters by name, or None before averaging begins."""
        return self.average.mean if self.average is not None and self.progress.averaged > 0 else None
