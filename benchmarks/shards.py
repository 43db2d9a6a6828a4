"""Memory and time of streamed training data: python benchmarks/shards.py OUT

Writes 100,000 and 600,000 sequences of 100 steps to Parquet files, with 1,000 sequences in each row group. A process
for each then surveys them and reads the batches of up to 2,000 training steps, as training does, without a model.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from momentum_cli.data.files import Files
from momentum_cli.machine import peak_resident_bytes

SIZES = (5, 30)
SEQUENCES, STEPS, BATCH, HELD = 20_000, 100, 100, 8


def write(folder: Path, shards: int) -> None:
    """Write the files of a size, if they are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(shards):
        path = folder / f"{number:03}.parquet"
        if not path.exists():
            values = np.random.default_rng(number).normal(size=(SEQUENCES, STEPS)).astype(np.float32)
            labels = np.where(values.mean(1) > 0, "high", "low")
            steps = pa.ListArray.from_arrays(np.arange(0, SEQUENCES * STEPS + 1, STEPS, np.int32), values.ravel())
            pq.write_table(pa.table({"x": steps, "label": pa.array(labels)}), path, row_group_size=1_000)


def measure(folder: Path) -> None:
    """Print a row of the table: size of the files, sequences, seconds, peak memory."""
    torch.zeros(1)  # so that the library is loaded
    before = peak_resident_bytes() or 0
    size = sum(path.stat().st_size for path in folder.iterdir())
    begin = time.process_time()
    task = Files(path=str(folder), format="parquet", kind="classification", target="label", streamed=HELD)
    train = task.load().train
    surveyed = time.process_time()
    groups = train.training_groups(BATCH, 0)
    steps = min(groups.steps, 2_000)
    for step in range(steps):
        train.batch(groups.group(0, step))
    each = (time.process_time() - surveyed) / (steps * BATCH)
    grown = (peak_resident_bytes() or 0) - before
    print(
        f"| {size / 1e6:.0f} MB | {len(train):,} | {surveyed - begin:.0f} | {1e6 * each:.0f} | {grown / 1e6:.0f} MB |"
    )


def main() -> None:
    """Write the files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", type=Path, help="measure one folder, in this process")
    given = parser.parse_args()
    if given.only is not None:
        measure(given.only)
        return
    # A survey that is there already would take no time.
    shutil.rmtree(given.out / "cache", ignore_errors=True)
    print("| files | training sequences | seconds of the survey | microseconds per sequence | growth of memory |")
    print("|---|---|---|---|---|", flush=True)
    for shards in SIZES:
        folder = given.out / f"{shards}-files"
        write(folder, shards)
        command = [sys.executable, __file__, str(given.out), "--only", str(folder)]
        subprocess.run(command, check=True, env={**os.environ, "XDG_CACHE_HOME": str(given.out / "cache")})


if __name__ == "__main__":
    main()
