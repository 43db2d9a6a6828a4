"""Recipes: everything that decides a training run, typed and checked before any of it starts.

Options of tasks, dynamics and optimizers are those of the objects in `TASKS`, `DYNAMICS` and `OPTIMIZERS`; this module
adds the sections that belong to no object. Every mistake of a recipe is reported in one `RecipeError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, model_validator

from momentum_cli.cells.find import canonical_name, parse_cell
from momentum_cli.document import Document, visible
from momentum_cli.errors import RecipeError
from momentum_cli.options import (
    NaturalFloat,
    NaturalInt,
    Number,
    PositiveFloat,
    PositiveInt,
    Problem,
    UnitInterval,
)
from momentum_cli.shipped import find_recipe, shipped_recipes

if TYPE_CHECKING:
    import torch

    from momentum_cli.data import Task
    from momentum_cli.dynamics.protocol import Dynamics
    from momentum_cli.language_model import LanguageModel
    from momentum_cli.layers.recurrent import RecurrentLayer

__all__ = [
    "AveragingOptions",
    "BpttOptions",
    "EarlyStoppingOptions",
    "InvalidRecipeError",
    "LanguageModelOptions",
    "ModelOptions",
    "Named",
    "OptimizerOptions",
    "PublishedOptions",
    "Recipe",
    "ScheduleOptions",
    "TargetOptions",
    "TrainOptions",
    "find_recipe",
    "load_recipe",
    "recipe_schema",
    "shipped_recipes",
    "to_yaml",
]


class InvalidRecipeError(RecipeError):
    """A recipe with mistakes.

    Attributes:
        problems: All of them.
        entries: The same, JSON-able: where, path, message.
    """

    def __init__(self, problems: Sequence[Problem], document: Document | None = None) -> None:
        self.problems = list(problems)
        self.entries = [
            {
                "where": document.origin(problem.path) if document else "",
                "path": visible(problem.path),
                "message": problem.message,
            }
            for problem in problems
        ]
        lines = [": ".join(part for part in entry.values() if part) for entry in self.entries]
        super().__init__(lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} mistakes in the recipe", *lines]))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Named(_Section):
    """An object of a family by name, with its options as further fields: a task or an optimizer."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the object: every key that is not a field of this class."""
        return dict(self.model_extra or {})


class OptimizerOptions(Named):
    """An optimizer by name; `lr`, the options of its class, and options of parameter groups that differ.

    The groups are those of `momentum_cli.training.parameter_groups.GROUPS`.
    """

    lr: float
    groups: dict[str, dict[str, Any]] = {}


class LanguageModelOptions(_Section):
    """What a language model has beside its recurrent layers, see `momentum_cli.language_model`."""

    embedding_size: PositiveInt | None = None
    tied: bool = False
    embedding_dropout: UnitInterval = 0.0
    input_dropout: UnitInterval = 0.0
    hidden_dropout: UnitInterval = 0.0
    output_dropout: UnitInterval = 0.0
    weight_dropout: UnitInterval = 0.0
    cutoffs: list[PositiveInt] = []
    div_value: PositiveFloat = 4.0


class ModelOptions(_Section):
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


class ScheduleOptions(_Section):
    """The learning rate over optimizer steps, see `momentum_cli.training.schedule`."""

    name: Literal["constant", "cosine", "linear", "step", "exponential"] = "constant"
    warmup_steps: NaturalInt = 0
    min_lr: NaturalFloat = 0.0
    every_n_steps: PositiveInt | None = None
    gamma: PositiveFloat = 0.1


class EarlyStoppingOptions(_Section):
    """Stop after `patience` evaluations without an improvement of more than `min_delta`."""

    patience: PositiveInt
    min_delta: NaturalFloat = 0.0


class BpttOptions(_Section):
    """Truncated back-propagation through time over a text, see `momentum_cli.data.groups`; AR and TAR penalties."""

    length: PositiveInt = 70
    variable: bool = False
    ar: NaturalFloat = 0.0
    tar: NaturalFloat = 0.0


class AveragingOptions(_Section):
    """Average the parameters once the validation metric has not improved for `patience` evaluations (NT-ASGD)."""

    patience: PositiveInt = 5


class TrainOptions(_Section):
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


class TargetOptions(_Section):
    """The value of the task's metric that counts as reached: accuracy from below, an error from above."""

    metric: str
    value: Number


class PublishedOptions(_Section):
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


class Recipe(_Section):
    """A checked recipe with all defaults filled in; build one with `load_recipe` or `Recipe.model_validate(mapping)`.

    Raises:
        RecipeError: Something in it is wrong; the message lists every mistake.
    """

    task: Named
    model: ModelOptions
    cells: dict[str, dict[str, Any]] = {}
    optimizer: OptimizerOptions
    schedule: ScheduleOptions = ScheduleOptions()
    train: TrainOptions
    target: TargetOptions | None = None
    published: dict[str, PublishedOptions] = {}
    plugins: list[str] = []

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, data: Any, handler: ModelWrapValidatorHandler[Recipe]) -> Recipe:
        if isinstance(data, Recipe):
            return data
        from momentum_cli.recipe_checks import check_recipe

        checked, problems = check_recipe(data)
        if problems:
            raise InvalidRecipeError(problems)
        return handler(checked)

    def build_task(self) -> Task:
        """Return the task object, not yet loaded."""
        from momentum_cli.data import TASKS

        return TASKS[self.task.name](**self.task.options)

    def build_dynamics(self, cell: str | None = None) -> Dynamics:
        """Return the dynamics of a cell, `model.cell` when none is named, with its options under `cells`."""
        return self._cell_objects(cell)[0]

    def recurrence(self, cell: str | None = None) -> str:
        """Return the name of the recurrence of a cell, `model.cell` when none is named."""
        return parse_cell(cell or self.model.cell).recurrence

    def build_layer(self, input_size: int) -> RecurrentLayer:
        """Return the recurrent layer of `model` with the options of its cell, for inputs of `input_size` channels."""
        from momentum_cli.cells.catalogue import build_layer

        options = self.model
        return build_layer(
            parse_cell(options.cell),
            self._cell_objects(options.cell),
            input_size,
            options.hidden_size,
            options.num_layers,
            bias=options.bias,
            dropout=options.dropout,
            bidirectional=options.bidirectional,
            backend=options.backend,
        )

    def build_language_model(self, vocabulary_size: int) -> LanguageModel:
        """Return the language model of `model`, whose last layer has the size of a tied embedding.

        Raises:
            RecipeError: The vocabulary is too small for the cutoffs.
        """
        from momentum_cli.cells.catalogue import build_layer
        from momentum_cli.language_model import LanguageModel
        from momentum_cli.layers.stack import RecurrentStack

        options, language = self.model, self.model.language or LanguageModelOptions()
        embedding = language.embedding_size or options.hidden_size
        inner = [options.hidden_size] * (options.num_layers - 1)
        sizes = [embedding, *inner, embedding if language.tied else options.hidden_size]
        cell, objects = parse_cell(options.cell), self._cell_objects(options.cell)
        shared: dict[str, Any] = {"bias": options.bias, "backend": options.backend}
        layers = [build_layer(cell, objects, size, sizes[i + 1], **shared) for i, size in enumerate(sizes[:-1])]
        try:
            return LanguageModel(
                RecurrentStack(layers, language.hidden_dropout, language.weight_dropout),
                vocabulary_size,
                tied=language.tied,
                embedding_dropout=language.embedding_dropout,
                input_dropout=language.input_dropout,
                output_dropout=language.output_dropout,
                cutoffs=language.cutoffs,
                div_value=language.div_value,
            )
        except ValueError as error:
            raise RecipeError(f"model.language.{error}") from error

    def build_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer over the parameters of a model; a group has a learning rate of its own if given one."""
        from momentum_cli.optim import resolve
        from momentum_cli.training.parameter_groups import parameter_groups

        options = self.optimizer
        groups = parameter_groups(model, options.groups)
        return resolve(options.name)(groups, lr=options.lr, **options.options)  # type: ignore[call-arg]

    def _cell_objects(self, cell: str | None) -> tuple[Dynamics, Any]:
        from momentum_cli.cells.catalogue import cell_objects

        name = canonical_name(cell or self.model.cell)
        return cell_objects(name, self.cells.get(name, {}))

    def override(self, *overrides: str) -> Recipe:
        """Return this recipe with `key.path=value` texts applied.

        Raises:
            RecipeError: A text or what becomes of the recipe is wrong.
        """
        return _from_document(Document(to_yaml(self.dump()), ""), overrides)

    def dump(self) -> dict[str, Any]:
        """Return the whole recipe as plain mappings, lists, texts and numbers, which `Recipe.model_validate` takes."""
        content = self.model_dump(mode="json")
        if not content["optimizer"]["groups"]:
            del content["optimizer"]["groups"]
        for section in ("published", "plugins"):
            if not content[section]:
                del content[section]
        return content

    def save(self, path: Path) -> None:
        """Write the whole recipe as YAML, in one piece or not at all; `load_recipe` gives an equal recipe."""
        from momentum_cli.run_folder import write_text

        write_text(path, to_yaml(self.dump()))


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe file, or a shipped recipe by its name, and apply overrides.

    Args:
        name_or_path: A path, or a name of `shipped_recipes()` with or without ``.yaml``.
        overrides: ``key.path=value`` texts, values typed as YAML; the last one wins.

    Raises:
        RecipeError: There is no such recipe, or it has mistakes; each is given with file, line and path.
    """
    path = find_recipe(name_or_path)
    # A path below the current folder is shown the way the user would type it.
    try:
        shown = str(path.relative_to(Path.cwd())) if path.is_absolute() else str(path)
    except ValueError:
        shown = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RecipeError(f"{shown}: cannot be read: {reason}{_if_data(path)}") from error
    try:
        document = Document(text, shown)
    except RecipeError as error:
        raise RecipeError(f"{error}{_if_data(path)}") from error
    return _with_paths(_from_document(document, overrides), path.parent)


def _if_data(path: Path) -> str:
    """Return what to do when the file that was given as a recipe is data."""
    if path.suffix in (".yaml", ".yml"):
        return ""
    return f". If it is data of your own, momentumrnn init {path} writes a recipe for it"


def _with_paths(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with ``task.path`` absolute when the file stands beside the recipe, so that a run finds it."""
    given = recipe.task.options.get("path")
    if not isinstance(given, str) or not given or Path(given).expanduser().is_absolute():
        return recipe
    place = (folder / given).resolve()
    if not place.exists():
        return recipe
    task = Named(name=recipe.task.name, **{**recipe.task.options, "path": str(place)})
    return recipe.model_copy(update={"task": task})


def to_yaml(content: dict[str, Any]) -> str:
    """Return the content of a recipe as YAML; flow style where a mapping or list holds plain values only."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of recipes, with the options of every task, cell and optimizer."""
    from momentum_cli.recipe_checks import describe_families

    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for section, description in describe_families().items():
        schema["properties"][section] = description
    cells = list(schema["properties"]["cells"]["properties"])
    schema["$defs"]["ModelOptions"]["properties"]["cell"]["enum"] = cells
    schema["properties"]["published"]["propertyNames"] = {"enum": cells}
    for unused in ("Named", "OptimizerOptions"):
        del schema["$defs"][unused]
    return schema


def _from_document(document: Document, overrides: Sequence[str]) -> Recipe:
    document.override(overrides)
    try:
        recipe = Recipe.model_validate(document.data)
    except InvalidRecipeError as error:
        raise InvalidRecipeError([*document.problems, *error.problems], document) from None
    if document.problems:
        raise InvalidRecipeError(document.problems, document)
    return recipe
