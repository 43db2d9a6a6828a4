"""`momentumrnn bench --speed`: the cost of a pass through a cell for several shapes, as a ratio to torch's layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from momentum_cli import allocator
from momentum_cli.benchmark.speed import step_time
from momentum_cli.benchmark.speed.step_time import Shape, StepTime
from momentum_cli.benchmark.tables.comparison import split_columns
from momentum_cli.cells.find import canonical_name
from momentum_cli.errors import RecipeError, RunError
from momentum_cli.machine import environment
from momentum_cli.messages import refuse
from momentum_cli.pages.table import Table
from momentum_cli.pictures.style import PALETTE, drawing
from momentum_cli.progress import BenchUi, NullBenchUi
from momentum_cli.runs.files import write_json
from momentum_cli.runs.numbered import numbered
from momentum_cli.runs.output import require_out
from momentum_cli.wording import NOTHING, bytes_text

SPEED = "speed.json"
FEWEST_ROUNDS = 20
# Rows of an image, short pixel sequences, long pixel sequences: a minute or two each on two cores.
SHAPES = (Shape(28, 128, 28, 128), Shape(64, 128, 1, 64), Shape(784, 32, 1, 128))
_WORKS: tuple[step_time.Pass, ...] = ("forward", "training")
_PASS_NAMES = {"forward": "forward", "training": "forward + backward"}


def speed(
    *,
    cells: Sequence[str] | None = None,
    shapes: Sequence[str] = (),
    backends: Sequence[str] = ("auto",),
    precisions: Sequence[str] = step_time.PRECISIONS,
    rounds: int = FEWEST_ROUNDS,
    memory: bool = True,
    out: Path | None = None,
    overwrite: bool = False,
    ui: BenchUi | None = None,
) -> dict[str, Any]:
    """Measure passes, write ``speed.json`` and ``speed.png``, and show the table.

    Every cell is timed alternately with `torch.nn.LSTM` or `GRU` of the same shape and precision, in one run, after a
    warm-up; ratios are taken within each round. In a command torch is timed both with its memory kept and with glibc's
    default allocator.

    Args:
        cells: names of cells with 1, 3 or 4 gates; None: those of `step_time.CELLS`.
        shapes: texts ``T,B,D,N`` (steps, sequences, input channels, hidden units); none: `SHAPES`.
        backends: each is measured in a separate run; one that cannot run a cell is reported and skipped.
        precisions: names from `step_time.PRECISIONS`; in bf16 both sides run under autocast.
        rounds: repeats, >= 20.
        memory: also measure the growth of a new process's memory by a training step.
        out: folder; None: a new ``runs/speed-NNN``.
        overwrite: replace an earlier measurement in `out`.
        ui: where progress and the table are shown.

    Returns:
        The content of ``speed.json``.

    Raises:
        RecipeError: A cell, shape, backend or number is invalid, or `out` holds something else.
        RunError: No backend can run any of the cells.
    """
    from momentum_cli.kernels import BACKENDS

    shown: BenchUi = ui or NullBenchUi()
    names = [_comparable(cell) for cell in cells or step_time.CELLS]
    wanted = [_shape(text) for text in shapes] or list(SHAPES)
    for backend in backends:
        if backend not in ("auto", *BACKENDS):
            raise RecipeError(refuse("--backend", backend, f"be one of auto, {', '.join(BACKENDS)}"))
    if rounds < FEWEST_ROUNDS:
        raise RecipeError(refuse("--rounds", rounds, f"be at least {FEWEST_ROUNDS} for credible quartiles"))
    for precision in precisions:
        if precision not in step_time.PRECISIONS:
            raise RecipeError(refuse("--precision", precision, f"be {' or '.join(step_time.PRECISIONS)}"))
    folder = _folder(out, overwrite)
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for shape in wanted:
        for work in _WORKS:
            for backend in backends:
                served = [name for name in names if _serves(name, shape, backend, left_out)]
                if not served:
                    continue
                words = f"T={shape.steps} B={shape.batch} D={shape.inputs} N={shape.hidden}, {_PASS_NAMES[work]}"
                for precision in precisions:
                    shown.note(f"measuring {', '.join(served)}: {words}, {precision}, {backend}")
                    # The plain loop takes up to a minute per pass at these lengths, so it is not timed.
                    found = step_time.measure(
                        *(shape, served, work),
                        rounds=rounds,
                        loop_rounds=0,
                        backend=backend,
                        precision=precision,  # type: ignore[arg-type]
                    )
                    rows += [_row(result, backend, memory) for result in found]
    if not rows:
        raise RunError(f"no backend can run any of the cells: {'; '.join(dict.fromkeys(left_out))}")
    content = {
        "format": "momentumrnn speed",
        "format_version": 2,  # 1: only torch with the default allocator, in float32
        "folder": str(folder),
        "rounds": rounds,
        "measurements": rows,
        "left_out": list(dict.fromkeys(left_out)),
        "machine": step_time.environment(),
        "environment": environment(),
    }
    write_json(folder / SPEED, content)
    _draw(rows, folder / "speed.png")
    for table in tables(rows):
        for part in split_columns(table, 100):
            for line in part.lines():
                shown.note(line)
    for text in dict.fromkeys(left_out):
        shown.note(f"left out: {text}")
    shown.note(f"median and quartiles of {rounds} interleaved rounds; above 1 faster than torch; {folder}/{SPEED}")
    if allocator.kept():
        shown.note("torch: its layer in the same precision, memory kept; as it comes: with glibc's allocator untouched")
    return content


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Return one table per shape and pass."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((*row["shape"].values(), row["work"], row["precision"]), []).append(row)
    columns = ["cell", "backend", "ms", "quartiles", "torch ms", "times torch", "quartiles", "as it comes", "GFLOP/s"]
    columns += ["memory", "torch's"]
    return [
        Table(
            f"T={key[0]} B={key[1]} D={key[2]} N={key[3]}, {_PASS_NAMES[key[4]]}, {key[5]}",
            columns,
            [
                [
                    *(
                        row["cell"],
                        row["backend"],
                        f"{1000 * row['seconds']:.3g}",
                        _range(row["seconds_quartiles"], 1000),
                    ),
                    *(f"{1000 * row['torch_seconds']:.3g}", f"{row['torch_ratio']:.2f}×"),
                    *(_range(row["torch_ratio_quartiles"], 1), _times(row["untouched_ratio"])),
                    f"{row['gflops']:.3g}",
                    *(_size(row["peak_bytes"]), _size(row["torch_peak_bytes"])),
                ]
                for row in group
            ],
        )
        for key, group in groups.items()
    ]


def _row(result: StepTime, backend: str, memory: bool) -> dict[str, Any]:
    (row,) = step_time.as_json([result])
    if memory and result.work == "training" and backend == "auto" and result.precision == "fp32":
        row["peak_bytes"] = step_time.peak_bytes(result.cell, result.shape, result.work)
        row["torch_peak_bytes"] = step_time.peak_bytes(result.cell, result.shape, result.work, native=True)
    return row


def _serves(cell: str, shape: Shape, backend: str, left_out: list[str]) -> bool:
    """Return True if a backend can run a cell, by trying it."""
    import torch

    try:
        step_time.step(
            step_time.build(cell, shape, backend),
            torch.zeros(1, 1, shape.inputs),
            torch.zeros(1, 1, shape.hidden),
            "training",
        )
    except (ValueError, RuntimeError) as error:
        left_out.append(f"{cell} on {backend}: {str(error).splitlines()[0]}")
        return False
    return True


def _comparable(name: str) -> str:
    cell = canonical_name(name)
    gates, allowed = step_time.gates(cell), sorted(step_time.TORCH_LAYERS)
    if gates not in allowed:
        raise RecipeError(
            f"--cells {name}: a cell of {gates} gates cannot be compared; torch has layers of "
            f"{', '.join(map(str, allowed))} gates"
        )
    return cell


def _shape(text: str) -> Shape:
    try:
        numbers = [int(piece) for piece in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or min(numbers) < 1:
        raise RecipeError(refuse("--shape", text, "be T,B,D,N, four numbers >= 1, such as 784,128,1,128"))
    return Shape(*numbers)


def _folder(out: Path | None, overwrite: bool) -> Path:
    require_out(overwrite, out)
    if out is None:
        return numbered(Path("runs"), "speed")
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out} is a file; name a new or an empty folder")
    if out.is_dir() and any(out.iterdir()) and not (overwrite and (out / SPEED).is_file()):
        raise RecipeError(f"--out {out} is not empty; name a new folder, or --overwrite an earlier measurement")
    out.mkdir(parents=True, exist_ok=True)
    return out


def _draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw a dot at the median ratio and a line over the quartiles, one panel per shape, one row per cell and pass."""
    groups: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row["shape"].values()), []).append(row)
    with drawing(path, 7.2, sum(1.0 + 0.24 * len(group) for group in groups.values())) as figure:
        ratios = [len(group) + 3 for group in groups.values()]
        panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=ratios)[:, 0]
        for axes, (shape, group) in zip(panels, groups.items(), strict=True):
            for number, row in enumerate(group):
                color = PALETTE[_WORKS.index(row["work"])]
                low, high = row["torch_ratio_quartiles"]
                axes.plot([low, high], [number, number], color=color, linewidth=2.5, alpha=0.6)
                axes.plot([row["torch_ratio"]], [number], "os"[_WORKS.index(row["work"])], color=color)
            labels = [
                f"{row['cell']} ({row['backend']}), {_PASS_NAMES[row['work']]}, {row['precision']}" for row in group
            ]
            axes.set_yticks(range(len(group)), labels, fontsize=8)
            axes.set_ylim(len(group) - 0.4, -0.6)
            axes.axvline(1.0, color="#666666", linestyle=(0, (5, 3)), linewidth=1.2)
            axes.set_xlim(left=0)
            axes.set_title("T={} B={} D={} N={}".format(*shape))
        panels[-1].set_xlabel("speed relative to torch's layer in the same precision (dot: median, line: quartiles)")


def _range(pair: Sequence[float], factor: float) -> str:
    return "–".join(f"{factor * value:.3g}" for value in pair)


def _times(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}×"


def _size(value: int | None) -> str:
    return NOTHING if value is None or math.isnan(value) else bytes_text(value)
