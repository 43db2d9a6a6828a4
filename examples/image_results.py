"""What the comparison of optimizers on pictures shows: tables, their remarks and a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import Any

from momentum_cli.benchmark.pictures.panels import look
from momentum_cli.benchmark.plan.optimizers import rate_text
from momentum_cli.benchmark.results.rates import robustness
from momentum_cli.benchmark.tables.rates import robustness_text
from momentum_cli.pages.table import Table
from momentum_cli.pictures.style import drawing, literal, plain_log

LINES = ("-", "-.", "--")


def epochs_to(run: dict[str, Any], target: float) -> float:
    """Return the epochs after which a run first had a validation accuracy, infinite if it never had."""
    return next((epoch for epoch, accuracy in run["validation"] if accuracy >= target), math.inf)


def of_arm(runs: Sequence[dict[str, Any]], label: str, batch_size: int, rate: float) -> list[dict[str, Any]]:
    """Return the runs of all seeds of an optimizer at a learning rate."""
    return [run for run in runs if (run["optimizer"], run["batch_size"], run["lr"]) == (label, batch_size, rate)]


def best_rate(runs: Sequence[dict[str, Any]], label: str, batch_size: int, rates: Sequence[float]) -> float:
    """Return the learning rate with the best mean of the last validation accuracies; of equal ones the smallest."""
    return max(rates, key=lambda rate: mean(run["validation"][-1][1] for run in of_arm(runs, label, batch_size, rate)))


def tables(results: dict[str, Any], target: float) -> Iterator[Table]:
    """Yield two tables for each batch size: test accuracies at every rate, and every optimizer at its best rate."""
    runs, rates, labels = results["runs"], results["rates"], results["optimizers"]
    for size in results["batch_sizes"]:
        rows, best_rows = [], []
        for label in labels:
            arms = [of_arm(runs, label, size, rate) for rate in rates]
            rows.append([label, *(_mean_text([run["test"] for run in arm]) for arm in arms)])
            reached = [median(run["validation"][-1][1] for run in arm) >= target for arm in arms]
            best = of_arm(runs, label, size, chosen := best_rate(runs, label, size, rates))
            epochs = median(epochs_to(run, target) for run in best)
            betas = [beta for run in best for beta in run["beta"]]
            best_rows.append(
                [
                    label,
                    robustness_text(asdict(robustness(rates, reached))),
                    rate_text(chosen),
                    f"{epochs:.2f}",
                    _range_text([run["test"] for run in best]),
                    f"{100 * mean(run['train'] - run['test'] for run in best):.2f}",
                    f"{median(betas):.2f}" if betas else "",
                ]
            )
        title = f"batch size {size}: test accuracy in %, mean over seeds"
        yield Table(title, ["learning rate", *map(rate_text, rates)], rows)
        columns = ["", "robustness", "best lr", "epochs", "test, %", "train - test", "beta"]
        yield Table(f"batch size {size}: at the best rate", columns, best_rows)


def _mean_text(values: Sequence[float]) -> str:
    return f"{100 * mean(values):.1f}"


def _range_text(values: Sequence[float]) -> str:
    return f"{100 * mean(values):.2f} ({100 * min(values):.2f}–{100 * max(values):.2f})"


def remarks(results: dict[str, Any], target: float) -> Iterator[str]:
    """Yield what a reader of the tables needs."""
    runs = results["runs"]
    yield ""
    yield (
        f"{len(runs)} runs. Robustness is the width in decades of the widest range of learning rates whose median run "
        f"ends with a validation accuracy of at least {100 * target:g} %; >= where it ends with the grid. Epochs: "
        "median until a run first had that accuracy. Best rate: by validation. Train - test: accuracy at the end, in "
        "points. In brackets: lowest and highest seed."
    )
    if ended := sum(not run["finite"] for run in runs):
        yield f"The loss of {ended} runs stopped being finite; their accuracy counts as 0."


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw test accuracy against the learning rate: the mean over seeds and the range, a panel for each batch size."""
    runs, rates, sizes = results["runs"], results["rates"], results["batch_sizes"]
    with drawing(path, 7.2, 3.2 * len(sizes) + 0.5) as figure:
        panels = figure.subplots(len(sizes), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
        for axes, size in zip(panels, sizes, strict=True):
            for number, label in enumerate(results["optimizers"]):
                color, _, mark = look(number)
                values = [[100 * run["test"] for run in of_arm(runs, label, size, rate)] for rate in rates]
                middle = [mean(seeds) for seeds in values]
                # Optimizers that do the same lie on each other, and both are seen if the upper line has gaps.
                line = LINES[number % len(LINES)]
                axes.plot(rates, middle, line, color=color, marker=mark, markersize=4, label=literal(label))
                axes.fill_between(rates, [*map(min, values)], [*map(max, values)], color=color, alpha=0.13, linewidth=0)
            axes.set_xscale("log")
            plain_log(axes.xaxis, rates[-1] / rates[0])
            axes.set_ylim(0, 100)
            axes.set_ylabel("test accuracy, %")
            axes.set_title(f"batch size {size}")
        panels[-1].set_xlabel("learning rate")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=9, handlelength=3)
