"""Tests run in several processes at once (`pytest -n auto`): each then computes on one thread, or starve each other."""

from __future__ import annotations

import os

# Read by OpenMP when torch is first imported, which no test module does before this one.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Before a test module imports Fabric itself, and with it half of the packages that are installed.
    from momentum_cli.training.launch import import_fabric

    import_fabric()
# A command that a test runs in this process must not change the memory that other tests measure here.
os.environ.setdefault("MOMENTUMRNN_KEEP_MEMORY", "0")
