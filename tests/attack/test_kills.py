"""SIGKILL at any moment of a training, a benchmark or a search: what is resumed ends as what was left alone."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from small_bench import write_recipe

# With these options a run makes 10 steps, and 16 files take their names: recipe, environment, twice the two metrics
# files, seven checkpoints on the way (two of them the best so far), the picture of the curves and the result.
EVERY_STEP = [f"step:{n}" for n in range(1, 11)]
EVERY_NAME = [f"replace:{n}:{when}" for n in range(1, 17) for when in ("before", "after")]


DATA = os.environ.get("MOMENTUMRNN_DATA")
# Sizes of the recipe multi30k with which a training takes half a minute, and its 704 steps per epoch begin 8 times.
FEW_STEPS = [
    "task.vocabulary_size=1000",
    "model.hidden_size=32",
    "model.translation.embedding_size=16",
    "model.translation.beam_size=2",
    "schedule.warmup_steps=2",
    "train.batch_size=1024",
    "train.eval_batch_size=1024",
    "train.max_steps=8",
    "train.eval_every_n_steps=4",
    "train.checkpoint_every_n_steps=3",
    "train.log_every_n_steps=1",
]
VALIDATION, TEST = 26, 25  # batches of an evaluation


def driven(driver: str, arguments: list[str], seconds: float) -> tuple[dict[str, Any], str]:
    """Return the report of a driver beside this folder, and what it wrote to standard error."""
    command = [sys.executable, str(Path(__file__).parents[1] / driver), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def kills(folder: Path, moments: list[str], seconds: float, overrides: Sequence[str] = ()) -> list[str]:
    """Kill a training at moments of `killed_runs`, a run for each; return what differs from the run left alone."""
    report, errors = driven("killed_runs.py", [str(folder), "none", *moments, *overrides], seconds)
    alone = report.pop("none")
    assert not alone["killed"]
    faults = []
    for moment, entry in report.items():
        # At a moment of the clock the run may be over, or not have begun: then there is no folder to resume.
        if not moment.startswith("time:"):
            faults += [] if entry["killed"] else [f"{moment}: not killed, status {entry['status']}"]
        elif "digest" not in entry and not (folder / moment.replace(":", "-") / "recipe.yaml").exists():
            continue
        differing = [key for key in ("digest", "metrics", "result", "files") if entry.get(key) != alone[key]]
        if entry["resume_status"] != 0 or differing:
            status = entry["resume_status"]
            faults.append(f"{moment}: resumed with {status}, differs in {differing}: {errors[-500:]}")
    print(f"kills: {len(report)} tried, {len(faults)} failed", *faults, sep="\n")
    return faults


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("all_moments", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_killed_at_any_moment_a_resumed_run_is_the_run_left_alone(tmp_path: Path, all_moments: bool) -> None:
    """In the middle of a step and around files that take their names: three, two drawn at random, or every one.

    Before its first file, the recipe, a run does not exist. The fixed moment is that after the last checkpoint, when
    the best one before it has not gone yet and no later checkpoint will see to it.
    """
    draw = random.Random()
    fixed = "replace:14:after"
    names = [name for name in EVERY_NAME[2:] if name != fixed]  # each moment has a folder of its own
    few = [fixed, draw.choice(EVERY_STEP), draw.choice(names)]
    assert kills(tmp_path, EVERY_STEP + EVERY_NAME[1:] if all_moments else few, 1800) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("attack", ["learned", pytest.param("pgd", marks=pytest.mark.slow)])
def test_a_run_that_is_attacked_resumes_as_well(tmp_path: Path, attack: str) -> None:
    """With dropout, between two checkpoints: starts, and what the attack has learned, are those of the run alone."""
    overrides = [f"train.adversarial={{attack: {attack}, epsilon: 0.1, steps: 2}}", "train.max_steps=6"]
    assert kills(tmp_path, ["step:5"], 600, overrides) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(DATA is None, reason="MOMENTUMRNN_DATA is not set: multi30k")
def test_multi30k_killed_five_times_in_an_epoch_and_five_times_in_an_evaluation(tmp_path: Path) -> None:
    """One run, killed at moments drawn at random in each part of it, and resumed after each."""
    draw = random.Random()
    steps = [*sorted(draw.choices(range(1, 5), k=2)), *sorted(draw.choices(range(5, 9), k=3))]
    first, second, third = (draw.randint(1, VALIDATION) for _ in range(3))
    before, alone = VALIDATION + draw.randint(1, TEST), draw.randint(1, TEST)
    moments = [f"step:{number}" for number in steps]
    moments[2:2] = [f"evaluation:{first}"]
    # The evaluation of step 8 twice, then the test after it, and the test alone: the run has ended but for its result.
    moments += [f"evaluation:{number}" for number in (second, third, before, alone)]
    assert kills(tmp_path, ["+".join(moments)], 3600, [*FEW_STEPS, "--recipe", "multi30k"]) == []


@pytest.mark.slow
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("hundred", range(10))
def test_killed_a_thousand_times_by_the_clock(tmp_path: Path, hundred: int) -> None:
    draw = random.Random(hundred)
    moments = {f"time:{draw.uniform(0.01, 1.5):.5f}" for _ in range(100)}
    assert kills(tmp_path, sorted(moments), 14_000) == []


SHORT = "{max_steps: 24, batch_size: 16, eval_every_n_steps: 4, seed: 0}"
SEARCH = "{space: {optimizer.lr: {log: [1e-3, 1e-1]}, model.cell: [lstm, momentum]}, trials: 3, pruner: median}"
# Driver, parts of its report that must not depend on kills, and the longest time to one, in seconds.
SEVERAL = {
    "bench": ("killed_benches.py", ("runs",), 2.0),
    "tune": ("killed_tunes.py", ("trials", "best"), 3.0),
}


@pytest.mark.slow
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("what", SEVERAL)
def test_a_benchmark_and_a_search_killed_fifty_times_by_the_clock(what: str, tmp_path: Path) -> None:
    driver, kept, longest = SEVERAL[what]
    recipe = Path(write_recipe(tmp_path, train=SHORT))
    if what == "tune":
        recipe.write_text(f"{recipe.read_text(encoding='utf-8')}\ntune: {SEARCH}\n", encoding="utf-8")
    draw = random.Random(what)
    # Killed over its first file, what it leaves is no content of the folder.
    moments = ["replace:1:before", *(f"time:{draw.uniform(0.01, longest):.5f}" for _ in range(50))]
    report, errors = driven(driver, [str(tmp_path), str(recipe), "none", *moments], 14_000)
    alone = report.pop("none")
    faults = [
        f"{moment}: ended with {entry['status']}, differs in {differing}: {errors[-500:]}"
        for moment, entry in report.items()
        if (differing := [key for key in kept if entry.get(key) != alone[key]]) or entry["status"] != 0
    ]
    killed = sum(bool(entry.get("killed", entry.get("kills"))) for entry in report.values())
    print(f"kills of {what}: {len(report)} tried, {killed} before its end, {len(faults)} failed", *faults, sep="\n")
    assert faults == []
    assert killed > 10
