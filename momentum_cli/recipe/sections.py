"""The sections of a recipe as typed data; those with fixed keys check their own values."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from momentum_cli.errors import RecipeError
from momentum_cli.messages import refuse
from momentum_cli.metrics import METRICS
from momentum_cli.options import (
    NaturalFloat,
    NaturalInt,
    Number,
    PositiveFloat,
    PositiveInt,
    UnitInterval,
    check_number,
)
from momentum_cli.recipe.axes import KINDS, read_axis
from momentum_cli.tables import table_names


def _cell_name(name: str) -> str:
    # Importing the cells imports torch, which completing the keys of a section in a shell must not wait for.
    from momentum_cli.cells.find import canonical_name

    try:
        return canonical_name(name)
    except RecipeError as error:
        raise ValueError(str(error)) from error


def _unique(names: list[str]) -> list[str]:
    if len(names) != len(set(names)):
        raise ValueError(refuse("", names, "name each only once"))
    return names


if TYPE_CHECKING:
    BackendName = str
    LoggerName = str
    AttackName = str
else:
    BackendName = Literal[("auto", *table_names("kernels/__init__.py", "BACKENDS"))]
    LoggerName = Literal[table_names("loggers/__init__.py", "LOGGERS")]
    AttackName = Literal[table_names("attacks/__init__.py", "ATTACKS")]
CellName = Annotated[str, AfterValidator(_cell_name)]
# Building a layer takes a while even where its weights are small; more than a thousand are a slip of the hand.
UpToThousand = Annotated[int, Field(ge=1, le=1000), BeforeValidator(check_number)]
# The ranges of `momentum_cli.models.translation.search.Search`, which would import torch for every recipe.
BeamSize = Annotated[int, Field(ge=1, le=100), BeforeValidator(check_number)]
LengthPenalty = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False), BeforeValidator(check_number)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1), BeforeValidator(check_number)]
# 1 would leave nothing of the labels.
Smoothing = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), BeforeValidator(check_number)]


def _class_weights(given: Any) -> Any:
    if given is None or given == "balanced":
        return given
    numbers = list(given.values()) if isinstance(given, dict) else []
    if not numbers or not all(isinstance(x, int | float) and not isinstance(x, bool) and 0 < x < inf for x in numbers):
        raise ValueError(refuse("", given, "be 'balanced', or a mapping of labels to numbers > 0"))
    # YAML reads the label 1 as a number.
    return {str(label): float(weight) for label, weight in given.items()}


@dataclass(frozen=True)
class TaskOptions:
    """A task by name, and the keyword arguments of its class."""

    name: str
    options: dict[str, Any]

    def dump(self) -> dict[str, Any]:
        """Return the section as it is written."""
        return {"name": self.name, **self.options}


@dataclass(frozen=True)
class OptimizerOptions:
    """An optimizer by name, the keyword arguments of its class, and those of parameter groups that differ.

    The groups are those of `momentum_cli.recipe.parameter_groups.GROUPS`.
    """

    name: str
    lr: float
    options: dict[str, Any]
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """Return the section as it is written; groups only where there are some."""
        groups = {"groups": self.groups} if self.groups else {}
        return {"name": self.name, "lr": self.lr, **groups, **self.options}


class Section(BaseModel):
    """A section with fixed keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LanguageModelOptions(Section):
    """The parts of a language model around its recurrent layers, see `momentum_cli.models.language`."""

    embedding_size: PositiveInt | None = None
    tied: bool = False
    embedding_dropout: UnitInterval = 0.0
    input_dropout: UnitInterval = 0.0
    hidden_dropout: UnitInterval = 0.0
    output_dropout: UnitInterval = 0.0
    weight_dropout: UnitInterval = 0.0
    cutoffs: list[PositiveInt] = []
    div_value: PositiveFloat = 4.0


class TranslationModelOptions(Section):
    """The parts of a translation model around its recurrent layers, see `momentum_cli.models.translation`."""

    embedding_size: PositiveInt | None = None
    tied: Literal["none", "target", "all"] = "none"
    input_feeding: bool = True
    embedding_dropout: UnitInterval = 0.0
    input_dropout: UnitInterval = 0.0
    memory_dropout: UnitInterval = 0.0
    output_dropout: UnitInterval = 0.0
    beam_size: BeamSize = 1
    length_penalty: LengthPenalty = 1.0


class ModelOptions(Section):
    """The model: which cell, how large, how initialised."""

    cell: CellName = "momentum"
    hidden_size: PositiveInt
    num_layers: UpToThousand = 1
    bidirectional: bool = False
    dropout: UnitInterval = 0.0
    bias: bool = True
    init: Literal["torch", "paper"] = "torch"
    forget_bias: Number | None = None
    backend: BackendName = "auto"
    language: LanguageModelOptions | None = None
    translation: TranslationModelOptions | None = None


class ScheduleOptions(Section):
    """The learning rate over optimizer steps, see `momentum_cli.training.schedule`."""

    name: Literal["constant", "cosine", "linear", "onecycle", "step", "exponential", "plateau"] = "constant"
    warmup_steps: NaturalInt = 0
    min_lr: NaturalFloat = 0.0
    every_n_steps: PositiveInt | None = None
    gamma: PositiveFloat = 0.1
    patience: NaturalInt = 10


SCHEDULE_OPTIONS: dict[str, frozenset[str]] = {
    "constant": frozenset(),
    "cosine": frozenset({"min_lr"}),
    "linear": frozenset({"min_lr"}),
    "onecycle": frozenset({"min_lr"}),
    "step": frozenset({"min_lr", "every_n_steps", "gamma"}),
    "exponential": frozenset({"min_lr", "every_n_steps", "gamma"}),
    "plateau": frozenset({"min_lr", "gamma", "patience"}),
}
"""Options that a schedule uses besides the warm-up."""
PLANNED_SCHEDULES = frozenset({"cosine", "linear", "onecycle"})
"""Schedules that end with the run, whose length must be known."""


class EarlyStoppingOptions(Section):
    """Stop after `patience` evaluations in which `metric` did not improve by more than `min_delta`.

    `metric` is one of the task's; null: the loss if the headline metric is one of classes, such as the accuracy, else
    the headline metric. `mode` may give its direction, ``"min"`` or ``"max"``, as in other tools.
    """

    patience: PositiveInt
    min_delta: NaturalFloat = 0.0
    metric: str | None = None
    mode: Literal["min", "max"] | None = None

    def metric_for(self, headline: str) -> str:
        """Return the metric that decides, given the headline one."""
        # An accuracy may not change while the loss still falls, so patience would run out.
        return self.metric or ("loss" if METRICS[headline].higher_is_better else headline)


class BpttOptions(Section):
    """Truncated back-propagation through time over a text, see `momentum_cli.data.batching`; AR and TAR penalties."""

    length: PositiveInt = 70
    variable: bool = False
    ar: NaturalFloat = 0.0
    tar: NaturalFloat = 0.0


class AveragingOptions(Section):
    """Average the parameters once the validation metric has not improved for `patience` evaluations (NT-ASGD)."""

    patience: PositiveInt = 5


class AdversarialOptions(Section):
    """Train on the inputs within `epsilon` that an attack finds, see `momentum_cli.training.adversary`.

    `epsilon` and `step_size` are in the unit of the inputs as the model gets them. `steps`: of each attack; null: 1 for
    fgsm, 7 for the others. `step_size`: null: that of the attack for so many steps.
    """

    attack: AttackName = "pgd"
    epsilon: PositiveFloat
    steps: PositiveInt | None = None
    step_size: PositiveFloat | None = None


class KeepOptions(Section):
    """Checkpoints that stay in the run folder: one every `every_n_steps`, and those of the `top` best evaluations."""

    every_n_steps: PositiveInt | None = None
    top: PositiveInt = 1


class TrainOptions(Section):
    """Budget, batches, seed, evaluation grid and checkpoints. The first budget that runs out ends the run."""

    epochs: PositiveInt | None = None
    max_steps: PositiveInt | None = None
    max_seconds: PositiveFloat | None = None
    batch_size: PositiveInt = 128
    scale_batch: bool = False
    accumulate: PositiveInt = 1
    recompute: PositiveInt | None = None
    clip_grad_norm: PositiveFloat | None = None
    seed: Seed = 0
    precision: Literal["auto", "fp32", "bf16-mixed", "fp16-mixed"] = "fp32"
    compile: bool = False
    deterministic: Literal["off", "warn", "strict"] = "off"
    eval_every_n_steps: PositiveInt | None = None
    eval_batch_size: PositiveInt = 1000
    checkpoint_every_n_steps: PositiveInt | None = None
    keep: KeepOptions = KeepOptions()
    early_stopping: EarlyStoppingOptions | None = None
    class_weights: Annotated[str | dict[str, float] | None, BeforeValidator(_class_weights)] = None
    label_smoothing: Smoothing = 0.0
    bptt: BpttOptions | None = None
    averaging: AveragingOptions | None = None
    adversarial: AdversarialOptions | None = None
    max_nonfinite: NaturalInt = 3
    stop_at_target: bool = False
    log_every_n_steps: PositiveInt = 10
    loggers: Annotated[list[LoggerName], AfterValidator(_unique)] = []


class TargetOptions(Section):
    """The value of the task's metric that counts as reached: accuracy from below, an error from above.

    In place of a value, `baseline` names a cell of a benchmark, which is trained to the end of its budget: the best
    value of its run is the target of all runs with the same seed; with `pooled`, the median of its best values over
    seeds is the target of all runs.
    """

    metric: str
    value: Number | None = None
    baseline: str | None = None
    pooled: bool = False


class PublishedOptions(Section):
    """Numbers of a paper or its authors' logs for a cell under this recipe; null where nothing is published.

    `std` is the standard deviation over `seeds` runs of `epochs` epochs each.
    """

    metric: str
    value: Number
    std: NaturalFloat | None = None
    seeds: PositiveInt | None = None
    epochs: PositiveInt | None = None
    split: Literal["validation", "test"] = "test"
    source: str


_AXIS_SCHEMA = {
    "anyOf": [
        {"type": "array", "minItems": 1},
        {
            "type": "object",
            "properties": {kind: {"type": "array", "minItems": 1} for kind in KINDS},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        },
    ]
}


AxisOption = Annotated[
    Any,
    BeforeValidator(read_axis),
    PlainSerializer(lambda axis: axis.dump()),
    WithJsonSchema(_AXIS_SCHEMA),
]


class TuneOptions(Section):
    """A search for better values of other keys of the recipe, by `momentumrnn tune`; other commands ignore it.

    `space` maps keys to axes, see `momentum_cli.recipe.axes`; empty: learning rate and options of the cell.
    `objective`: the best value of the headline metric, or steps or training seconds to the target. `seed` is that of
    the sampler; runs have the recipe's own.
    """

    space: dict[str, AxisOption] = {}
    trials: PositiveInt = 50
    objective: Literal["metric", "steps_to_target", "seconds_to_target"] = "metric"
    sampler: Literal["tpe", "gp", "qmc", "random", "grid"] = "tpe"
    pruner: Literal["none", "hyperband", "median", "extrapolate"] = "none"
    seed: NaturalInt = 0
