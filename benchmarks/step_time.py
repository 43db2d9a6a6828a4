"""Measure the grid of docs/performance.md: ``benchmarks/step_time.py --out DIR`` writes JSON, a table and a picture.

torch is timed with its memory kept, which gives the ratio that counts, and with glibc's default allocator; in bf16 all
run under autocast.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib as mpl
import torch

from momentum_cli import allocator
from momentum_cli.benchmark.speed.step_time import (
    CELLS,
    CLOCKS,
    GRID,
    PRECISIONS,
    Shape,
    StepTime,
    as_json,
    environment,
    machine_gflops,
    measure,
    peak_bytes,
)

mpl.use("Agg")
from matplotlib import pyplot


def table(results: list[StepTime], roof: float) -> str:
    """Return a Markdown table with one row per measurement."""
    lines = [
        "| T, B, D, N | work | cell | backend | ms | x torch, memory kept (quartiles) | x torch as it comes "
        "(quartiles) | x loop | GFLOP/s (of roof) | peak memory |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        kept, untouched = (
            ratio_text(r.torch_ratio, r.torch_ratio_quartiles),
            ratio_text(r.untouched_ratio, r.untouched_ratio_quartiles),
        )
        loop = "-" if r.loop_ratio is None else f"{r.loop_ratio:.1f}"
        memory = "-"
        if r.peak_bytes is not None and r.torch_peak_bytes:
            memory = f"{r.peak_bytes / 2**20:.0f} MiB ({r.peak_bytes / r.torch_peak_bytes:.2f} x torch)"
        lines.append(
            f"| {', '.join(map(str, r.shape))} | {r.work}, {r.precision} | {r.cell} | {r.backend} "
            f"| {r.seconds * 1e3:.1f} | {kept} | {untouched} | {loop} "
            f"| {r.gflops:.0f} ({r.gflops / roof:.0%}) | {memory} |"
        )
    return "\n".join(lines)


def ratio_text(ratio: float | None, quartiles: tuple[float, float] | None) -> str:
    """Return a ratio with its quartiles."""
    return "-" if ratio is None or quartiles is None else f"{ratio:.2f} ({quartiles[0]:.2f}-{quartiles[1]:.2f})"


def picture(results: list[StepTime], path: Path) -> None:
    """Draw the ratios to torch with their quartiles, one panel for each kind of work, on a scale with base 2."""
    works = list(dict.fromkeys((r.work, r.precision) for r in results))
    cells = list(dict.fromkeys(r.cell for r in results))
    figure, panels = pyplot.subplots(len(works), 1, figsize=(11, 3.6 * len(works)), squeeze=False, layout="constrained")
    for panel, work in zip(panels[:, 0], works, strict=True):
        shapes = list(dict.fromkeys(r.shape for r in results if (r.work, r.precision) == work))
        for number, cell in enumerate(cells):
            own = [r for r in results if (r.work, r.precision) == work and r.cell == cell]
            places = [shapes.index(r.shape) + (number - (len(cells) - 1) / 2) * 0.8 / len(cells) for r in own]
            ratios = [r.torch_ratio for r in own]
            below = [max(r.torch_ratio - r.torch_ratio_quartiles[0], 0.0) for r in own]
            above = [max(r.torch_ratio_quartiles[1] - r.torch_ratio, 0.0) for r in own]
            # Bars begin at 1, the speed of torch: upwards is faster, downwards slower.
            heights = [ratio - 1 for ratio in ratios]
            style = {"linewidth": 0.8, "color": "0.3"}
            panel.bar(places, heights, 0.8 / len(cells), 1.0, yerr=[below, above], label=cell, error_kw=style)
        panel.set_yscale("log", base=2)
        panel.yaxis.set_major_formatter("{x:g}x")
        panel.set_ylim(bottom=0.5)
        panel.grid(axis="y", linewidth=0.5, color="0.85")
        panel.set_axisbelow(True)
        panel.axhline(1.0, color="black", linewidth=1)
        panel.set_xticks(range(len(shapes)), [f"T {s.steps}, B {s.batch}\nD {s.inputs}, N {s.hidden}" for s in shapes])
        panel.set_ylabel("times faster than torch")
        passes = "forward" if work[0] == "forward" else "forward and backward"
        panel.set_title(f"{passes}, {work[1]}", loc="left", fontsize="medium")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(cells), loc="outside upper center", frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure what the arguments name and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for step_time.json, .md and .png")
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--shapes", default="", help="T,B,D,N[;T,B,D,N…]; default is the whole grid")
    parser.add_argument("--work", default="forward,training")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--loop-rounds", type=int, default=3, help="times of the plain loop; 0 leaves it out")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default=",".join(PRECISIONS))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--clock", default="wall", choices=CLOCKS, help="cpu: processor time, for one thread")
    parser.add_argument("--memory", action="store_true", help="peak memory too, on the CPU a fresh process each")
    options = parser.parse_args()
    if options.device != "cpu" and options.clock == "cpu":
        parser.error("--clock cpu: the processor does not see the work of another device")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(f"--device {options.device}: no CUDA device was found")
    shapes = [Shape(*map(int, text.split(","))) for text in options.shapes.split(";") if text] or list(GRID)
    cells = options.cells.split(",")
    allocator.keep_memory()
    options.out.mkdir(parents=True, exist_ok=True)
    roof = machine_gflops(device=options.device)
    results: list[StepTime] = []
    for shape in shapes:
        for work, precision in itertools.product(options.work.split(","), options.precision.split(",")):
            found = measure(
                shape,
                cells,
                work,
                rounds=options.rounds,
                loop_rounds=options.loop_rounds,
                backend=options.backend,
                device=options.device,
                precision=precision,
                clock=options.clock,
            )
            if options.memory and precision == "fp32":
                peak = partial(peak_bytes, shape=shape, work=work, device=options.device)
                found = [
                    replace(
                        r,
                        peak_bytes=peak(r.cell, backend=options.backend),
                        torch_peak_bytes=peak(r.cell, native=True),
                    )
                    for r in found
                ]
            results += found
            document = {"environment": environment(options.device), "machine_gflops": roof, "results": as_json(results)}
            (options.out / "step_time.json").write_text(json.dumps(document, indent=1))
            print(table(found, roof), flush=True)
    (options.out / "step_time.md").write_text(table(results, roof) + "\n")
    picture(results, options.out / "step_time.png")


if __name__ == "__main__":
    main()
