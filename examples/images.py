"""Compare optimizers on pictures: learning rates, batch sizes and seeds, for any classifier of torchvision.

    python examples/images.py --optimizers sgd,sgd@heavy:momentum=0.9,ahb-sgd,adam,ahb-adam \
        --lr-grid 1e-3,1e-2,1e-1,1 --batch-sizes 128,512 --seeds 0-2 --out build/images

With the same seed, all runs have the same first weights and the same order of pictures; the pictures are always the
same. A run ends after `--epochs`; its learning rate falls to 0 along a cosine, without weight decay or augmentation.
Validation pictures choose the rate of an optimizer, and test pictures judge it.

Finished runs are kept in OUT/results.json, and the same command continues where it was stopped. It prints tables,
which are also in OUT/tables.txt, and draws OUT/images.png.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import torchvision
import yaml
from image_data import SOURCES, Data, Pictures, load
from image_results import draw, remarks, tables
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from momentum_cli.benchmark.plan.optimizers import OptimizerVariant, parse_optimizers, parse_rates, rate_text
from momentum_cli.benchmark.plan.planning import parse_seeds
from momentum_cli.benchmark.tables.comparison import split_columns
from momentum_cli.data import default_data_dir
from momentum_cli.errors import DataError, MomentumError, RecipeError
from momentum_cli.messages import refuse, unknown
from momentum_cli.optim import resolve
from momentum_cli.runs.files import write_json, write_text
from momentum_cli.runs.lock import locked
from momentum_cli.runs.output import make_output_folder

SMALL = "resnet8"
CLASSIFIERS = torchvision.models.list_models(module=torchvision.models)
EVALUATIONS_PER_EPOCH = 4
WIDTH = 100  # characters of a line of the tables


def build(name: str, channels: int, classes: int, width: int) -> nn.Module:
    """Return a classifier, initialised from torch's global generator.

    Args:
        name: ``resnet8``, or a classifier of torchvision, which is without its published weights and reads three
            channels; grey pictures are repeated then.
        channels: Channels of the pictures.
        classes: Number of classes.
        width: Channels of the first stage of ``resnet8``.

    Raises:
        RecipeError: torchvision has no such classifier.

    Reference for ``resnet8``: He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385, section 4.2
    with n = 1: three stages of one block each. To be cheap it begins as their larger networks do, with a stride of 2
    and a pooling; and a shortcut to more channels is a convolution.
    """
    if name == SMALL:
        widths = [width, width, 2 * width, 4 * width]
        stages = [_stage(*ends) for ends in itertools.pairwise(widths)]
        first = nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False)
        last = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))
        stem = first, nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
        return nn.Sequential(*stem, *stages, *last)
    if name not in CLASSIFIERS:
        raise RecipeError(f"--model: {unknown('classifier', name, [SMALL, *CLASSIFIERS])}")
    return torchvision.models.get_model(name, weights=None, num_classes=classes)  # type: ignore[no-any-return]


def _stage(inputs: int, outputs: int) -> nn.Module:
    if inputs == outputs:
        return BasicBlock(inputs, outputs)  # type: ignore[no-any-return]
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))
    return BasicBlock(inputs, outputs, 2, shortcut)  # type: ignore[no-any-return]


def build_optimizer(variant: OptimizerVariant, model: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Return an optimizer with the options of the command line.

    Raises:
        RecipeError: It has no such option, or refuses a value.
    """
    options = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in variant.options)}
    if variant.own_rate:
        raise RecipeError(f"--optimizers {variant.label}: the learning rates are those of --lr-grid; leave out lr")
    try:
        return resolve(variant.name)(model.parameters(), lr=rate, **options)  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise RecipeError(f"--optimizers {variant.label}: {error}") from error


class Contest:
    """Pictures, a model and a budget that all runs share."""

    def __init__(self, data: Data, model: str, width: int, epochs: int) -> None:
        self.data, self.model, self.width, self.epochs = data, model, width, epochs

    def prepare(self, images: Tensor) -> Tensor:
        """Return pictures as a model reads them, (B, C, H, W) float32."""
        values = (images.float() - self.data.offset) / self.data.scale
        if self.model != SMALL and values.shape[1] == 1:
            values = values.expand(-1, 3, -1, -1)
        return values.contiguous(memory_format=torch.channels_last)

    def start(self, seed: int) -> nn.Module:
        """Return the model with the first weights of a seed."""
        torch.manual_seed(seed)
        model = build(self.model, self.data.train.images.shape[1], self.data.classes, self.width)
        return model.to(memory_format=torch.channels_last)

    def check(self, batch_size: int) -> None:
        """Train on two pictures once, so that a model that cannot read them is refused before all runs.

        Raises:
            RecipeError: It cannot, or there are fewer pictures than a batch.
        """
        if batch_size > (count := len(self.data.train.classes)):
            raise RecipeError(refuse("--batch-sizes", batch_size, f"be at most --train, {count}"))
        model, images = self.start(0), self.data.train.images[:2]
        try:
            outputs = model(self.prepare(images))
            if not isinstance(outputs, Tensor):
                raise ValueError("it has more than one output in training")
        except (RuntimeError, ValueError) as error:
            shape = " x ".join(str(size) for size in images.shape[2:])
            raise RecipeError(f"--model {self.model} cannot be trained on pictures of {shape}: {error}") from error

    def accuracy(self, model: nn.Module, pictures: Pictures) -> float:
        """Return the share of right answers, in [0, 1]; an answer that is not a number is wrong."""
        model.eval()
        right = 0
        with torch.inference_mode():
            for images, classes in zip(pictures.images.split(1000), pictures.classes.split(1000), strict=True):
                outputs = model(self.prepare(images))
                right += int((outputs.isfinite().all(1) & (outputs.argmax(1) == classes)).sum())
        model.train()
        return right / len(pictures.classes)

    def run(self, variant: OptimizerVariant, rate: float, batch_size: int, seed: int) -> dict[str, Any]:
        """Train once.

        Returns:
            ``validation``: pairs of an epoch and the accuracy then. ``test``, ``train``: accuracies at the end, of the
            training pictures the first ones, as many as are in the test split. ``finite``: False if the loss stopped
            being finite, which ends the run with accuracies of 0. ``loss``: the means of the training loss between
            validations. ``beta``: the momentum that the optimizer chose, at each validation, if it chooses one.
        """
        data, start = self.data, time.monotonic()
        model = self.start(seed)
        optimizer = build_optimizer(variant, model, rate)
        steps = len(data.train.classes) // batch_size
        total = steps * self.epochs
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / total)) / 2)
        generator = torch.Generator().manual_seed(seed)
        every = max(1, steps // EVALUATIONS_PER_EPOCH)
        validation: list[list[float]] = []
        losses: list[float] = []
        betas: list[float] = []
        finite = True
        for step in range(total):
            if step % steps == 0:
                order = torch.randperm(len(data.train.classes), generator=generator)
            chosen = order[step % steps * batch_size :][:batch_size]
            outputs = model(self.prepare(data.train.images[chosen]))
            loss = nn.functional.cross_entropy(outputs, data.train.classes[chosen])
            losses.append(loss.item())
            finite = math.isfinite(losses[-1])
            if not finite:
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if (step + 1) % every == 0 or step + 1 == total:
                validation.append([(step + 1) / steps, self.accuracy(model, data.validation)])
                told: dict[str, Tensor] = getattr(optimizer, "diagnostics", dict)()
                betas += [float(told["beta"])] if "beta" in told else []
        seen = Pictures(*(part[: len(data.test.classes)] for part in data.train))
        return {
            "optimizer": variant.label,
            "options": list(variant.options),
            "lr": rate,
            "batch_size": batch_size,
            "seed": seed,
            "finite": finite,
            "validation": validation if finite else [*validation, [len(losses) / steps, 0.0]],
            "test": self.accuracy(model, data.test) if finite else 0.0,
            "train": self.accuracy(model, seen) if finite else 0.0,
            "loss": [mean(losses[at : at + every]) for at in range(0, len(losses), every)],
            "beta": betas,
            "seconds": time.monotonic() - start,
        }


def _number(text: str, name: str, low: float, high: float = math.inf, kind: Callable[[str], Any] = int) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not low <= value < high:
        noun = "an integer" if kind is int else "a number"
        limit = f">= {low}" if high == math.inf else f"in [{low}, {high})"
        raise RecipeError(refuse(name, text, f"be {noun} {limit}"))
    return value


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read and check the command line.

    Raises:
        RecipeError: A value is wrong.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="mnist", help=f"{', '.join(SOURCES)}, or a folder with train and test in it")
    parser.add_argument("--data-dir", type=Path, help="folder of the data sets")
    parser.add_argument("--size", help="height and width of the pictures of a folder, by default 32")
    parser.add_argument("--train", default="10000", help="training pictures")
    parser.add_argument("--validation", default="1000", help="validation pictures")
    parser.add_argument("--model", default=SMALL, help=f"{SMALL}, or a classifier of torchvision such as resnet18")
    parser.add_argument("--width", help=f"channels of the first stage of {SMALL}, by default 8")
    parser.add_argument("--optimizers", default="sgd,sgd@heavy:momentum=0.9,ahb-sgd,adam,ahb-adam", help="as of bench")
    parser.add_argument("--lr-grid", default="1e-3,1e-2,1e-1,1", help="learning rates")
    parser.add_argument("--batch-sizes", default="128", help="one or more")
    parser.add_argument("--seeds", default="0-2", help="such as 0-2 or 0,3,7")
    parser.add_argument("--epochs", default="5", help="passes over the training pictures")
    parser.add_argument("--target", default="0.95", help="validation accuracy, for robustness and epochs")
    parser.add_argument("--out", type=Path, default=Path("build/images"), help="folder of the results")
    options = parser.parse_args(given)
    if options.width is not None and options.model in CLASSIFIERS:
        raise RecipeError(refuse("--width", options.width, f"be left out for a --model other than {SMALL}"))
    if options.size is not None and options.data in SOURCES:
        raise RecipeError(refuse("--size", options.size, f"be left out for {options.data}, whose pictures have a size"))
    options.width, options.size = options.width or "8", options.size or "32"
    for name in ("size", "train", "validation", "width", "epochs"):
        setattr(options, name, _number(getattr(options, name), f"--{name}", 1))
    options.target = _number(options.target, "--target", 0.0, 1.0, float)
    options.batch_sizes = sorted({_number(text, "--batch-sizes", 2) for text in options.batch_sizes.split(",")})
    options.optimizers = parse_optimizers([options.optimizers])
    options.rates, options.seeds = parse_rates(options.lr_grid), parse_seeds(options.seeds)
    options.data_dir = options.data_dir or default_data_dir()
    return options


# The label and the options of an optimizer, because a user may give one name to other options; its learning rate, the
# batch size and the seed.
Key = tuple[str, tuple[str, ...], float, int, int]


def key_of(run: dict[str, Any]) -> Key:
    """Return what tells a run from the others."""
    return run["optimizer"], tuple(run["options"]), run["lr"], run["batch_size"], run["seed"]


def kept(path: Path, settings: dict[str, Any]) -> dict[Key, dict[str, Any]]:
    """Return the finished runs of a file of results by their keys, or none if there is no file.

    Raises:
        DataError: It is damaged.
        RecipeError: Its runs had other settings.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before = content["settings"]
        runs = {key_of(run): run for run in content["runs"]}
        changed = [key for key in settings if before.get(key) != settings[key]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is not a file of results ({error}); delete it, or name another --out") from error
    if changed:
        told = ", ".join(f"{key} was {before.get(key)!r} and is {settings[key]!r}" for key in changed)
        raise RecipeError(f"{path}: its runs had other settings ({told}); name another --out")
    return runs


def compare(given: Sequence[str] | None = None) -> dict[str, Any]:
    """Make all runs that are not made yet, print the tables and draw the picture; return the results.

    Raises:
        MomentumError: An option or the data are wrong.
    """
    options = arguments(given)
    data = load(options.data, options.data_dir, options.train, options.validation, options.size)
    contest = Contest(data, options.model, options.width, options.epochs)
    for size in options.batch_sizes:
        contest.check(size)
    probe = nn.Linear(1, 1)
    for variant in options.optimizers:
        build_optimizer(variant, probe, options.rates[0])
    names = ("data", "size", "train", "validation", "model", "width", "epochs")
    settings = {name: getattr(options, name) for name in names} | {"torch": torch.__version__}
    make_output_folder(options.out)
    with locked(options.out, "comparison"):
        return _compare(options, contest, settings)


def _compare(options: argparse.Namespace, contest: Contest, settings: dict[str, Any]) -> dict[str, Any]:
    file = options.out / "results.json"
    done = kept(file, settings)
    # Seeds are the outer loop: a comparison that is stopped early has all optimizers and rates, with fewer seeds.
    order = itertools.product(options.seeds, options.batch_sizes, options.rates, options.optimizers)
    plan = {(variant.label, variant.options, rate, size, seed): variant for seed, size, rate, variant in order}
    for number, (key, variant) in enumerate(plan.items(), start=1):
        if key in done:
            continue
        label, _, rate, size, seed = key
        run = contest.run(variant, rate, size, seed)
        done[key] = run
        write_json(file, {"settings": settings, "runs": list(done.values())})
        what = f"{label} lr={rate_text(rate)} batch size {size} seed {seed}"
        print(f"{number}/{len(plan)} {what}: test {100 * run['test']:.2f} %, {run['seconds']:.0f} s", file=sys.stderr)
    results = {
        "settings": settings,
        "optimizers": [variant.label for variant in options.optimizers],
        "rates": list(options.rates),
        "batch_sizes": options.batch_sizes,
        "runs": [done[key] for key in plan],
    }
    parts = [part for table in tables(results, options.target) for part in split_columns(table, WIDTH)]
    lines = [line for part in parts for line in part.lines()]
    lines += [line for remark in remarks(results, options.target) for line in (textwrap.wrap(remark, WIDTH) or [""])]
    text = "\n".join(lines).lstrip("\n")
    print(text)
    write_text(options.out / "tables.txt", f"{text}\n")
    draw(results, options.out / "images.png")
    return results


if __name__ == "__main__":
    try:
        compare()
    except MomentumError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        sys.exit(130)
