"""The sections of a recipe that belong to no object: model, schedule, training, target, published numbers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from momentum_cli.options import NaturalFloat, NaturalInt, Number, PositiveFloat, PositiveInt, UnitInterval


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Named(Section):
    """An object of a family by name, with its options as further fields: a task or an optimizer."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the object: every key that is not a field of this class."""
        return dict(self.model_extra or {})


class OptimizerOptions(Named):
    """An optimizer by name; `lr`, the options of its class, and options of parameter groups that differ.

    The groups are those of `momentum_cli.recipe.parameter_groups.GROUPS`.
    """

    lr: float
    groups: dict[str, dict[str, Any]] = {}


class LanguageModelOptions(Section):
    """What a language model has beside its recurrent layers, see `momentum_cli.models.language`."""

    embedding_size: PositiveInt | None = None
    tied: bool = False
    embedding_dropout: UnitInterval = 0.0
    input_dropout: UnitInterval = 0.0
    hidden_dropout: UnitInterval = 0.0
    output_dropout: UnitInterval = 0.0
    weight_dropout: UnitInterval = 0.0
    cutoffs: list[PositiveInt] = []
    div_value: PositiveFloat = 4.0


class ModelOptions(Section):
    """The model: which cell, how large, how initialised."""

    cell: str = "momentum"
    hidden_size: PositiveInt
    num_layers: PositiveInt = 1
    bidirectional: bool = False
    dropout: UnitInterval = 0.0
    bias: bool = True
    init: Literal["torch", "paper"] = "torch"
    forget_bias: Number | None = None
    backend: Literal["auto", "reference", "native", "fused", "triton"] = "auto"
    language: LanguageModelOptions | None = None


class ScheduleOptions(Section):
    """The learning rate over optimizer steps, see `momentum_cli.training.schedule`."""

    name: Literal["constant", "cosine", "linear", "step", "exponential"] = "constant"
    warmup_steps: NaturalInt = 0
    min_lr: NaturalFloat = 0.0
    every_n_steps: PositiveInt | None = None
    gamma: PositiveFloat = 0.1


class EarlyStoppingOptions(Section):
    """Stop after `patience` evaluations without an improvement of more than `min_delta`."""

    patience: PositiveInt
    min_delta: NaturalFloat = 0.0


class BpttOptions(Section):
    """Truncated back-propagation through time over a text, see `momentum_cli.data.batching`; AR and TAR penalties."""

    length: PositiveInt = 70
    variable: bool = False
    ar: NaturalFloat = 0.0
    tar: NaturalFloat = 0.0


class AveragingOptions(Section):
    """Average the parameters once the validation metric has not improved for `patience` evaluations (NT-ASGD)."""

    patience: PositiveInt = 5


class TrainOptions(Section):
    """Budget, batches, seed, evaluation grid and checkpoints. The first budget that runs out ends the run."""

    epochs: PositiveInt | None = None
    max_steps: PositiveInt | None = None
    max_seconds: PositiveFloat | None = None
    batch_size: PositiveInt = 128
    accumulate: PositiveInt = 1
    clip_grad_norm: PositiveFloat | None = None
    seed: Annotated[NaturalInt, Field(le=2**32 - 1)] = 0
    precision: Literal["fp32", "bf16-mixed"] = "fp32"
    deterministic: Literal["off", "warn", "strict"] = "off"
    eval_every_n_steps: PositiveInt | None = None
    eval_batch_size: PositiveInt = 1000
    checkpoint_every_n_steps: PositiveInt | None = None
    early_stopping: EarlyStoppingOptions | None = None
    bptt: BpttOptions | None = None
    averaging: AveragingOptions | None = None
    max_nonfinite: NaturalInt = 3
    stop_at_target: bool = False
    log_every_n_steps: PositiveInt = 10


class TargetOptions(Section):
    """The value of the task's metric that counts as reached: accuracy from below, an error from above."""

    metric: str
    value: Number


class PublishedOptions(Section):
    """What a paper or its authors' logs report for a cell under this recipe: only what is published, the rest is null.

    `std` is the standard deviation over `seeds` runs of `epochs` epochs each.
    """

    metric: str
    value: Number
    std: NaturalFloat | None = None
    seeds: PositiveInt | None = None
    epochs: PositiveInt | None = None
    split: Literal["validation", "test"] = "test"
    source: str
