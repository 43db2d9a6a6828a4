"""The subjects of the attacks: recipes, runs, a benchmark, exports and data, made once by the commands themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from attacked import RECIPE, Warm

DIGITS = """
task: {name: digits, pixels_per_step: 8}
model: {cell: momentum, hidden_size: 6}
optimizer: {name: adam, lr: 0.01}
train: {max_steps: 4, batch_size: 64, seed: 0, eval_every_n_steps: 2}
"""
SEARCH = ["tune", "small.yaml", "--trials", "2", "--space", "optimizer.lr=log:1e-3..1e-1", "--out", "search"]
BENCH = ["bench", "small.yaml", "--cells", "lstm", "--seeds", "0", "--out", "bench"]
FORMATS = {"pt2": "model.pt2", "onnx": "model.onnx", "torchscript": "model.pt", "safetensors": "model.safetensors"}


def make_subjects(warm: Warm, folder: Path) -> None:
    """Fill a folder: recipes, table.csv and .parquet, images.npz, runs run, drun, trun and bench, no pt2 export."""
    import pyarrow.csv
    import pyarrow.parquet

    (folder / "small.yaml").write_text(RECIPE, encoding="utf-8")
    (folder / "digits.yaml").write_text(DIGITS, encoding="utf-8")
    rows = "\n".join(f"{row % 7},{row * 0.5},{'u' if row % 2 else 'v'}" for row in range(60))
    (folder / "table.csv").write_text(f"a,b,y\n{rows}\n", encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(folder / "table.csv"), folder / "table.parquet")
    np.savez(folder / "images.npz", images=np.arange(128.0).reshape(2, 8, 8) % 16)
    commands = [
        ["init", "table.csv", "--out", "table.yaml"],
        ["train", "small.yaml", "--out", "run"],
        ["train", "digits.yaml", "--out", "drun"],
        ["train", "table.yaml", "train.epochs=1", "--out", "trun"],
        BENCH,
        *(["export", "run", "--format", name, "--out", file] for name, file in FORMATS.items() if name != "pt2"),
    ]
    for arguments in commands:
        _run(warm, folder, arguments)


def add_pt2(warm: Warm, folder: Path) -> None:
    """Add the export as pt2 to the subjects."""
    _run(warm, folder, ["export", "run", "--format", "pt2", "--out", FORMATS["pt2"]])


def add_search(warm: Warm, folder: Path) -> None:
    """Add a search of two trials to the subjects; needs Optuna."""
    _run(warm, folder, SEARCH)


def _run(warm: Warm, folder: Path, arguments: list[str]) -> None:
    ended = warm.run(*arguments, folder=folder, seconds=200)
    assert ended.code == 0, (arguments, ended.error)
