"""Runs the display with made-up events, to be looked at: `python tests/live_demo.py [SECONDS]`, also into `cat -v`."""

from __future__ import annotations

import math
import random
import sys
import time
import warnings

from momentum_cli.progress import Evaluation, RunStart, StepInfo
from momentum_cli.ui import make_ui

EPOCHS, STEPS, BATCH = 6, 40, 32


def main(seconds: float) -> None:
    pause = seconds / (EPOCHS * STEPS)
    run_dir = "runs/digits [weird] folder-momentum-001"
    begin = time.perf_counter()
    with make_ui(json="--json" in sys.argv) as ui:
        for part in range(0, 101, 5):
            ui.download("train-images-idx3-ubyte.gz", part * 99_000, 9_900_000)
            time.sleep(pause)
        ui.note("data from the cache folder [/tmp/x]")
        ui.start(
            RunStart(
                name="digits",
                run_dir=run_dir,
                cell="momentum",
                backend="native",
                device="cpu",
                precision="fp32",
                parameters=71_434,
                task="digits",
                train_samples=STEPS * BATCH,
                epochs=EPOCHS,
                total_steps=EPOCHS * STEPS,
                steps_per_epoch=STEPS,
                start_step=0,
                metric="accuracy",
                target=("accuracy", 0.8),
                seed=0,
                batch_size=BATCH,
            )
        )
        best: dict[str, object] = {"metric": "accuracy", "value": 0.0, "split": "validation"}
        target: dict[str, object] = {"metric": "accuracy", "value": 0.8, "reached": False}
        for step in range(1, EPOCHS * STEPS + 1):
            time.sleep(pause)
            epoch, inside = (step - 1) // STEPS + 1, (step - 1) % STEPS + 1
            loss = 2.3 * math.exp(-step / 90) * random.lognormvariate(0, 0.2)
            spent = time.perf_counter() - begin
            ui.step(
                StepInfo(step, epoch, inside, loss if step % 3 == 0 else None, 1.2, 1e-3, step * BATCH, spent, None)
            )
            if step == 50:
                ui.note("the loss was not finite at step 50 [skipped]; the step was left out", "warning")
            if step == 70:
                warnings.warn("a library complains", stacklevel=1)
            if inside == STEPS:
                for done in range(0, 361, 36):
                    ui.evaluation_progress(done, 360, "validation")
                    time.sleep(pause)
                accuracy = 1 - 0.9 * math.exp(-step / 80)
                reached = accuracy >= 0.8
                wall = time.perf_counter() - begin
                if reached and not target["reached"]:
                    target |= {"reached": True, "steps": step, "samples": step * BATCH, "train_seconds": spent}
                    target["wall_seconds"] = wall
                best |= {"value": accuracy, "step": step, "epoch": epoch}
                metrics = {"loss": loss, "accuracy": accuracy}
                ui.evaluated(Evaluation(step, epoch, step * BATCH, "validation", metrics, spent, wall, True, reached))
        wall = time.perf_counter() - begin
        ui.finish(
            {
                "cell": "momentum",
                "parameters": 71_434,
                "seed": 0,
                "device": "cpu",
                "backend": "native",
                "epochs": EPOCHS,
                "steps": EPOCHS * STEPS,
                "train_seconds": spent,
                "wall_seconds": wall,
                "validation": metrics,
                "test": {"loss": loss, "accuracy": accuracy},
                "best": best,
                "target": target,
                "stop_reason": "all epochs done",
                "run_dir": run_dir,
                "selected_on": "validation",
                "samples_per_second": EPOCHS * STEPS * BATCH / spent,
                "ms_per_step": 1000 * spent / (EPOCHS * STEPS),
            }
        )


if __name__ == "__main__":
    main(next((float(word) for word in sys.argv[1:] if not word.startswith("-")), 8.0))
