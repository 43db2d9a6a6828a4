"""Large files are read in pieces: memory does not grow with their size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def peak_growth(path: Path, extra: str, folder: Path) -> int:
    """Return the bytes by which loading and drawing every batch grows a fresh process."""
    code = f"""
import sys, resource, torch
import pyarrow.parquet
from momentum_cli.data import Files
from momentum_cli.data.files import cache
{extra}
def status(key):
    return 1024 * int(next(l for l in open('/proc/self/status') if l.startswith(key)).split()[1])
before = status('VmRSS')
data = Files(path={str(path)!r}, kind='classification', sequence='id', target='label').load()
for group in torch.split(torch.arange(len(data.train)), 64):
    data.train.batch(group)
print(status('VmHWM') - before)
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return int(done.stdout)


def write_large(path: Path, sequences: int, steps: int, columns: int) -> int:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    names = [f"f{index}" for index in range(columns)]
    schema = pa.schema([("id", pa.int64()), *((name, pa.float32()) for name in names), ("label", pa.string())])
    random_values = np.random.default_rng(0)
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=["label", "id"]) as writer:
        for start in range(0, sequences, 100):
            count = min(100, sequences - start)
            ids = np.repeat(np.arange(start, start + count), steps)
            values = random_values.standard_normal((columns, len(ids))).astype(np.float32)
            labels = pa.array(np.where(ids % 2, "odd", "even"))
            writer.write_table(pa.table([pa.array(ids), *map(pa.array, values), labels], schema=schema))
    return path.stat().st_size


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_size_of_a_large_parquet_file(tmp_path: Path) -> None:
    sizes, growths = [], []
    for sequences in (500, 2500):
        path = tmp_path / f"{sequences}.parquet"
        sizes.append(write_large(path, sequences, steps=200, columns=64))
        growths.append(peak_growth(path, "cache.LARGE = 1", tmp_path))
        path.unlink()
    # A block is 8 MB as numbers, and a few copies of one are alive at a time, with what an import brings.
    assert sizes[1] - sizes[0] > 90e6
    assert growths[1] - growths[0] < 0.4 * (sizes[1] - sizes[0])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_gigabytes_train_within_one_gigabyte(tmp_path: Path) -> None:
    size = write_large(tmp_path / "a.parquet", sequences=40_000, steps=200, columns=64)
    assert size > 2e9
    assert peak_growth(tmp_path / "a.parquet", "", tmp_path) < 1e9
