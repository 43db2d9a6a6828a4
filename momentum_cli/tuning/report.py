"""The report of a search as one HTML page, without external resources and scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from momentum_cli.messages import counted
from momentum_cli.pages.document import document, facts_list, table_of, where_and_how
from momentum_cli.pages.table import Table
from momentum_cli.runs.files import write_text
from momentum_cli.tuning.pictures import PICTURES, svg_pictures
from momentum_cli.tuning.results import values_text
from momentum_cli.tuning.tables import hosts_of, trial_rows
from momentum_cli.wording import seconds_text, target_text

_DEFINITIONS = {
    "score": "With the objective metric, the best value of the metric on the validation set during the trial. With a "
    "time to the target, the steps or training seconds of the first evaluation at or past it; a trial that misses has "
    "what it used, times 1 plus how far its best value is from the target as a part of the way, and comes after all "
    "that reach it.",
    "done, pruned, failed": "A trial is done when its budget or its target ended it; pruned when an evaluation showed "
    "it to be behind; failed when an error ended it, such as a loss that is not a number. Only done trials can be the "
    "best.",
    "one seed": "All trials have the recipe's own seed, so the best of many is in part the luckiest. Train it with "
    "other seeds, or compare it by momentumrnn bench, before relying on the difference.",
    "test": "The headline metric on the test set at the parameters of the best evaluation. It chose nothing.",
}
_SAMPLERS = {
    "tpe": "tree-structured Parzen estimator",
    "gp": "Gaussian process",
    "qmc": "quasi-random (Sobol)",
    "random": "random",
    "grid": "grid",
}


def page(content: Mapping[str, Any], recipe: str) -> str:
    """Return the page.

    Args:
        content: Content of ``tune.json``.
        recipe: The best recipe as YAML, or "".
    """
    title = f"momentumrnn tune: {content['name']}"
    return document(title, [f"<h1>{escape(title)}</h1>", *_body(content, recipe)])


def _body(content: Mapping[str, Any], recipe: str) -> Iterator[str]:
    counts, settings = content["counts"], content["settings"]
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    how = _SAMPLERS[settings["sampler"]] + (f", pruner {settings['pruner']}" if settings["pruner"] != "none" else "")
    trials = counted(sum(counts.values()), "trial")
    yield f"<p class='sub'>{escape(f'{trials} ({told}) · {how}')}</p>"
    yield f"<p class='sub'>{escape(_goal(content))}</p>"
    yield from _best(content)
    drawn = svg_pictures(content)
    for name, (wide, narrow) in drawn.items():
        picture = PICTURES[name]
        yield f"<h2>{escape(picture.title)}</h2>"
        yield (
            f'<figure><div class="wide">{wide}</div><div class="narrow">{narrow}</div>'
            f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        )
    columns, rows = trial_rows(content)
    table = table_of(Table("", columns, [list(row) for row in rows]))
    yield f"<h2>All trials</h2><details><summary>Every trial</summary>{table}</details>"
    if recipe:
        yield f"<details><summary>The best recipe</summary><pre>{escape(recipe.rstrip())}</pre></details>"
    yield "<h2>Where and how</h2>"
    environment = content["environment"]
    machine = {
        "cpu": environment["cpu"]["name"],
        "cores": environment["cpu"]["cores"],
        "threads": environment["threads"],
        "devices": [device["name"] for device in environment["devices"]],
    }
    facts = where_and_how(environment, machine)
    if len(hosts := hosts_of(content)) > 1:
        facts["machines of the runs"] = f"{', '.join(hosts)}; they differ in speed, so no times are shown"
    else:
        facts["time of all runs"] = f"{seconds_text(content['wall_seconds'])} with evaluations and checkpoints"
    facts["optimizer steps of all runs"] = f"{content['steps']:,}"
    yield facts_list(facts)
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in _DEFINITIONS.items())
    yield f"<h2>What the numbers mean</h2><dl>{items}</dl>"


def _goal(content: Mapping[str, Any]) -> str:
    target = content["target"]
    if content["settings"]["objective"] == "metric" or target is None:
        return f"looking for the best {content['metric']}"
    unit = "steps" if content["settings"]["objective"] == "steps_to_target" else "training seconds"
    return f"looking for the fewest {unit} to {target_text(target['metric'], target['value'])}"


def _best(content: Mapping[str, Any]) -> Iterator[str]:
    best, own = content["best"], content["own"]
    if best is None:
        yield "<p>No trial ended with a number.</p>"
        return
    values = values_text(best["values"], content["keys"])
    facts = {"best trial": f"{best['trial']}: {best['words']}", "its values": values}
    if own is not None:
        facts["the recipe as it is"] = own["words"] or own["status"]
    facts["train it"] = f"momentumrnn train {content['folder']}/best.yaml"
    yield facts_list(facts)


def write_report(folder: Path, content: Mapping[str, Any], recipe: str) -> None:
    """Write ``report.html`` into the folder of a search.

    Raises:
        RunError: A picture could not be drawn, or the disk is full.
    """
    write_text(folder / "report.html", page(content, recipe))
