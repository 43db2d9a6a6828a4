"""Samplers and pruners of `momentumrnn tune` on equal terms: python benchmarks/tune_samplers.py OUT

Every method searches the same space of the recipe for the fewest steps to its target, on the recipe's own seed, several
times with different seeds of the sampler. Each search is cut where its trials, in order, have used the same number of
optimizer steps; so a method that ends trials early has more of them. What a search found by then is trained anew with
seeds that no trial used, and the table has the median of those. Searches continue after an interruption; OUT/table.json
holds every number.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from momentum_cli.benchmark.results.files import read_numbers
from momentum_cli.recipe.recipe import Recipe, load_recipe
from momentum_cli.training.train import train
from momentum_cli.tuning.objective import objective_of
from momentum_cli.tuning.space import Space, with_tune, without_tune
from momentum_cli.tuning.tune import tune

# Name in the table -> sampler, pruner, trials that are enough to use up the budget.
METHODS = {
    "random": ("random", "none", 20),
    "qmc": ("qmc", "none", 20),
    "tpe": ("tpe", "none", 26),
    "gp": ("gp", "none", 26),
    "tpe + hyperband": ("tpe", "hyperband", 60),
}


def within(rows: Sequence[Mapping[str, Any]], budget: int) -> list[Mapping[str, Any]]:
    """Return the first trials that together used at most `budget` steps."""
    kept, used = [], 0
    for row in rows:
        used += row["steps"]
        if used > budget:
            break
        kept.append(row)
    return kept


def steps_to_target(recipe: Recipe, seed: int, folder: Path, data_dir: Path | None) -> float:
    """Return the steps to the target of a training with a seed, infinite for a miss; one that is there is kept."""
    path = folder / f"seed{seed}.json"
    if not path.exists():
        seeded = recipe.override(f"train.seed={seed}", "train.stop_at_target=true")
        target = train(seeded, data_dir=data_dir, out=folder / f"seed{seed}", overwrite=True)["target"]
        path.write_text(json.dumps(target["steps"] if target["reached"] else None))
    found = json.loads(path.read_text())
    return math.inf if found is None else float(found)


def fresh(recipe: Recipe, seeds: Sequence[int], folder: Path, data_dir: Path | None) -> list[float]:
    """Return the steps to the target of a recipe for seeds that no trial used."""
    folder.mkdir(parents=True, exist_ok=True)
    return [steps_to_target(recipe, seed, folder, data_dir) for seed in seeds]


def found_before(out: Path, trials: int) -> dict[str, Any] | None:
    """Return the result of a search that has made its trials, by this version or another; None if it has not."""
    path = out / "tune.json"
    content: dict[str, Any] = read_numbers(path.read_text(encoding="utf-8")) if path.exists() else {"trials": []}
    return content if len(content["trials"]) >= trials else None


def main() -> None:
    """Make the searches and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--steps", type=int, default=9800, help="budget of a search in optimizer steps")
    parser.add_argument("--searches", type=int, default=1, help="searches of each method")
    parser.add_argument("--seeds", type=int, default=5, help="fresh seeds, from 100")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--data-dir", type=Path)
    given = parser.parse_args()
    recipe = load_recipe(given.recipe)
    seeds = range(100, 100 + given.seeds)
    objective = objective_of(with_tune(recipe, {}, objective="steps_to_target"), "")
    shipped = fresh(without_tune(recipe), seeds, given.out / "shipped", given.data_dir)
    path = given.out / "table.json"
    table: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"methods": {}}
    table |= {"shipped": shipped, "budget": given.steps}
    print(f"the recipe as it is: median {median(shipped):g} steps over {given.seeds} fresh seeds {shipped}")
    print("| method | trials | seconds | steps on the search's seed | median steps over fresh seeds |")
    print("|---|---|---|---|---|")
    for name in given.methods:
        sampler, pruner, trials = METHODS[name]
        searches = []
        for number in range(given.searches):
            out = given.out / f"{name.replace(' ', '')}-{number}"
            content = found_before(out, trials) or tune(
                given.recipe,
                objective="steps_to_target",
                sampler=sampler,
                pruner=pruner,
                trials=trials,
                overrides=[f"tune.seed={number}"],
                data_dir=given.data_dir,
                out=out,
            )
            kept = within(content["trials"], given.steps)
            best = min((row for row in kept if row["status"] == "done"), key=objective.key)
            space = Space(without_tune(recipe), with_tune(recipe, {}).tune.space)  # type: ignore[union-attr]
            found = fresh(space.recipe_of(best["values"]), seeds, out / f"fresh-{best['trial']}", given.data_dir)
            searches.append(
                {
                    "trials": len(kept),
                    "seconds": sum(row["elapsed"] for row in kept),
                    "used": sum(row["steps"] for row in kept),
                    "steps": (best["to_target"] or {"steps": math.inf})["steps"],
                    "values": best["values"],
                    "fresh": found,
                    "enough": len(kept) < len(content["trials"]),
                }
            )
        table["methods"][name] = searches
        path.write_text(json.dumps(table, indent=1))
        cells = [
            ", ".join(f"{search['trials']}" for search in searches),
            ", ".join(f"{search['seconds']:.0f}" for search in searches),
            ", ".join(f"{search['steps']:g}" for search in searches),
            ", ".join(f"{median(search['fresh']):g}" for search in searches),
        ]
        short = "" if all(search["enough"] for search in searches) else " (did not use up the budget)"
        print(f"| {name}{short} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
