"""A report as one HTML page, without external resources and scripts.

Its content security policy forbids both, so a browser would refuse them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from momentum_cli.benchmark.pictures.all import svg_pictures
from momentum_cli.benchmark.pictures.panels import places_of
from momentum_cli.benchmark.report.sources import Source
from momentum_cli.benchmark.results.definitions import DEFINITIONS
from momentum_cli.benchmark.tables.comparison import (
    aggregate_table,
    comparison_table,
    comparison_title,
    mean_text,
    range_text,
    remarks,
    timed,
    total_text,
    tuning_table,
)
from momentum_cli.benchmark.tables.conclusion import conclusion, verdicts
from momentum_cli.benchmark.tables.grid import grid_remarks, grid_tables
from momentum_cli.benchmark.tables.paper import paper_remarks, paper_table
from momentum_cli.benchmark.tables.rates import diagnostics_table, rates_remarks, rates_table
from momentum_cli.benchmark.tables.total_time import times_table
from momentum_cli.messages import counted
from momentum_cli.pages.document import document, facts_list, table_of, where_and_how
from momentum_cli.pages.table import Table
from momentum_cli.pictures.style import PALETTE
from momentum_cli.recipe.recipe import to_yaml
from momentum_cli.wording import NOTHING, count_text, metric_text, seconds_text, time_text

_NARROW_INCHES = 4.7
_CAPTIONS = {
    "curves": "Median over seeds and, shaded, the range. A run that has stopped is held at its last value.",
    "heat_map": "Each cell with its optimizer at every learning rate.",
    "rates": "Median over seeds and, shaded, the range; dashed the target. A rate at which the median run misses has "
    "no mark on the right.",
    "grid": "Each square one point of the grid, mean and median over seeds; framed where the median run reaches the "
    "target.",
    "diagnostics": "What the optimizers chose, as it was logged: median over seeds and, shaded, the range.",
    "figure2": "As figure 2 of the paper: median over seeds; shaded: the range; dotted: published values.",
    "figure3": "As figure 3 of the paper: median over seeds; shaded: the range; dotted: published values.",
    "figure4": "As figure 4 of the paper: medians as bars, one dot per seed; ours above, published ones below.",
    "time_to_target": "One mark per seed, a bar at the median.",
    "profile": "Higher is better: the part of the recipes on which a cell is within τ of the best one.",
}


def page(sources: Sequence[Source], warnings: Sequence[str] = ()) -> str:
    """Return the page.

    Args:
        sources: benchmarks and trainings.
        warnings: shown on top.
    """
    names = ", ".join(c["name"] for source in sources for c in source.summary["comparisons"])
    title = f"momentumrnn report: {names}"
    body = [f"<h1>{escape(title)}</h1>", _made(sources)]
    if warnings:
        body.append(f'<div class="note">{"".join(f"<p>{escape(text)}</p>" for text in warnings)}</div>')
    if len(sources) > 1:
        body += _overview(sources)
    for number, source in enumerate(sources):
        body += _source(source, number, several=len(sources) > 1)
    body += [_definitions()]
    return document(title, body)


def _made(sources: Sequence[Source]) -> str:
    facts = []
    for source in sources:
        where, seeds = source.machine, len(source.summary["seeds"])
        device = ", ".join(where.get("devices") or []) or where.get("cpu") or "unknown device"
        threads = counted(where.get("threads"), "thread")
        begun = str(source.environment.get("started", ""))[:10]
        named = [counted(seeds, "seed"), total_text(source.summary), device, threads]
        facts.append(" · ".join(escape(text) for text in [*named, f"torch {where.get('torch')}", begun] if text))
    return "".join(f'<p class="sub">{text}</p>' for text in dict.fromkeys(facts))


def _source(source: Source, number: int, *, several: bool) -> Iterator[str]:
    summary = source.summary
    if several:
        yield f"<h2>{escape(source.name)}</h2>"
    notes = paper_remarks(summary) + rates_remarks(summary) + grid_remarks(summary) + remarks(summary)
    if notes:
        yield f'<div class="note">{"".join(f"<p>{escape(text)}</p>" for text in notes)}</div>'
    pictures = _pictures(source, number)
    tuning = tuning_table(summary)
    if tuning is not None:
        yield f"<h2>Tuning</h2><p class='sub'>{escape(tuning.title)}</p>{table_of(tuning)}"
    total = aggregate_table(summary)
    if total is not None:
        yield f"<h2>Over {escape(total.title)}</h2>{table_of(total, keys=_keys(summary['comparisons'][0]))}"
        yield from pictures.pop("profile", [])
    for comparison in summary["comparisons"]:
        yield f"<h2>{escape(_title(comparison))}</h2>"
        if (found := conclusion(comparison, summary)) is not None:
            yield f"<p>{escape(found)}</p>"
        sentences = verdicts(comparison, summary)
        if sentences:
            yield f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in sentences)}</ul>"
        rates, chosen = rates_table(comparison), diagnostics_table(comparison)
        theirs, times = paper_table(comparison), times_table(comparison, summary)
        if theirs is not None:
            yield f"<h3>Ours and published</h3>{table_of(theirs, keys=_keys(comparison))}"
        if times is not None:
            yield f"<h3>Time to the accuracy of {escape(comparison['baseline'])}</h3>{table_of(times)}"
        if rates is not None:
            yield f"<h3>Over learning rates</h3>{table_of(rates, keys=_keys(comparison))}"
        grids = list(grid_tables(comparison))
        for grid in grids:
            yield f"<h3>{escape(grid.title)}</h3>{table_of(grid)}"
        if rates is not None or grids:
            yield f"<h3>At the best {'points' if grids else 'learning rates'}</h3>"
        elif theirs is not None or times is not None:
            yield "<h3>Ours</h3>"
        yield table_of(comparison_table(comparison, summary), keys=_keys(comparison))
        if chosen is not None:
            yield f"<h3>What optimizers chose</h3>{table_of(chosen, keys=_keys(comparison))}"
        yield from pictures.pop(comparison["name"], [])
        yield from _details(comparison, summary)
    yield "<h2>Where and how</h2>"
    yield _environment(source)


def _pictures(source: Source, number: int) -> dict[str, list[str]]:
    """Return figures by comparison, each in a wide and a narrow form, one of which a screen shows."""
    found: dict[str, list[str]] = {}
    comparisons = source.summary["comparisons"]
    for index, comparison in enumerate(comparisons):
        only = {**source.summary, "comparisons": [comparison], "aggregate": None}
        found[comparison["name"]] = _figures(only, source, f"s{number}c{index}")
    if source.summary["aggregate"] is not None:
        whole = _figures({**source.summary, "comparisons": []}, source, f"s{number}", only="profile")
        found["profile"] = whole
    return found


def _figures(summary: Mapping[str, Any], source: Source, prefix: str, only: str = "") -> list[str]:
    sizes = {
        size: svg_pictures(summary, source.points, f"{prefix}{size}", width, only, source.traces)
        for size, width in (("wide", None), ("narrow", _NARROW_INCHES))
    }
    return [
        f'<figure><div class="wide">{sizes["wide"][name]}</div><div class="narrow">{sizes["narrow"][name]}</div>'
        f"<figcaption>{escape(_CAPTIONS[name])}</figcaption></figure>"
        for name in sizes["wide"]
    ]


def _title(comparison: Mapping[str, Any]) -> str:
    return comparison_title(comparison).replace(">=", "≥").replace("<=", "≤")


def _keys(comparison: Mapping[str, Any]) -> dict[str, int]:
    """Return the colour of each row, by its label and by its name without the learning rate."""
    places = places_of(comparison)
    colors = {label: number % len(PALETTE) for label, number in places.items()}
    return colors | {cell["arm"]: colors[cell["label"]] for cell in comparison["cells"] if "arm" in cell}


def _details(comparison: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[str]:
    metric = comparison["metric"]
    columns = [
        "run",
        "reached",
        "steps",
        *timed(summary, "train s"),
        f"best {metric}",
        f"test {metric}",
        "ran to step",
        "remark",
    ]
    rows = []
    for run in comparison["runs"]:
        at = run["to_target"]
        reached = "–" if comparison["target"] is None else "yes" if run["reached"] else "no"
        step = NOTHING if run["ms_per_step"] is None else f"{run['ms_per_step']:.3g} ms/step"
        remark = " ".join(timed(summary, step))
        if "values" in (comparison["target"] or {}):
            remark = f"target {metric_text(metric, run['target'])} {remark}".strip()
        values = [metric_text(metric, run[name]) for name in ("best", "test")]
        rows.append(
            [
                *(run["id"], reached, count_text(at["steps"])),
                *timed(summary, time_text(at["train_seconds"])),
                *(*values, f"{run['steps']:,} ({run['stop_reason']})", run["miss"] or remark),
            ]
        )
    yield f"<details><summary>Every run</summary>{table_of(Table('', columns, rows))}</details>"
    options = [
        [
            *(
                cell["label"],
                cell["cell"],
                ", ".join(f"{k}={_option(v)}" for k, v in cell["dynamics"].items()) or NOTHING,
            ),
            *(" ".join(cell["options"]) or NOTHING, f"{cell['backend']} on {cell['device']}"),
        ]
        for cell in comparison["cells"]
    ]
    columns = ["label", "cell", "dynamics", "own options", "backend"]
    table = table_of(Table("", columns, options), words=True)
    yield f"<details><summary>Options and backends</summary>{table}</details>"
    # Entries at other learning rates differ only in the rate, and there may be hundreds.
    shown = {cell["label"] for cell in comparison["cells"]}
    recipes = "".join(
        f"<h3>{escape(label)}</h3><pre>{escape(to_yaml(recipe).rstrip())}</pre>"
        for label, recipe in comparison["recipes"].items()
        if label in shown
    )
    yield f"<details><summary>Recipes</summary>{recipes}</details>"


def _option(value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{value:g}"


def _overview(sources: Sequence[Source]) -> Iterator[str]:
    """Yield the cells of all sources in one table, for each task, metric and target of more than one source."""
    groups: dict[str, list[tuple[Source, Mapping[str, Any]]]] = {}
    for source in sources:
        for comparison in source.summary["comparisons"]:
            key = json.dumps([comparison[part] for part in ("task", "metric", "split", "target")])
            groups.setdefault(key, []).append((source, comparison))
    for group in groups.values():
        if len(group) < 2:
            continue
        comparison = group[0][1]
        metric = comparison["metric"]
        columns = ["cell", "from", "hits", "train s", "steps", f"best {metric}"]
        rows = [
            [
                *(cell["label"], source.name, f"{cell['hits']} of {cell['runs']}"),
                *(range_text(cell["train_seconds"], time_text), range_text(cell["steps"], count_text)),
                mean_text(metric, cell["best"]),
            ]
            for source, other in group
            for cell in other["cells"]
        ]
        yield f"<h2>Side by side: {escape(_title({**comparison, 'name': comparison['task']}))}</h2>"
        yield table_of(Table("", columns, rows))


def _environment(source: Source) -> str:
    spent = sum(run["wall_seconds"] for c in source.summary["comparisons"] for run in c["runs"])
    return facts_list(
        where_and_how(source.environment, source.machine)
        | {
            "seeds": ", ".join(map(str, source.summary["seeds"])),
            "time of all runs": f"{seconds_text(spent)} with evaluations and checkpoints",
        }
    )


def _definitions() -> str:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in DEFINITIONS.items())
    return f"<h2>What the numbers mean</h2><dl>{items}</dl>"
