"""What a process says of its memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from momentum_cli import machine

BLOCK = 64 << 20


def test_the_peak_stays_and_can_be_forgotten() -> None:
    if machine.resident_bytes() is None or not machine.forget_peak():
        pytest.skip("this system does not tell the peak since a moment")
    before = machine.resident_bytes()
    assert before is not None
    block = bytearray(b"1") * BLOCK
    del block
    peak, now = machine.peak_resident_bytes(), machine.resident_bytes()
    assert peak is not None
    assert now is not None
    assert peak >= before + BLOCK // 2
    assert now < before + BLOCK // 2
    machine.forget_peak()
    assert (machine.peak_resident_bytes() or 0) < before + BLOCK // 2


def test_a_child_does_not_begin_with_the_peak_of_its_parent() -> None:
    block = bytearray(b"1") * (4 * BLOCK)
    code = "from momentum_cli.machine import peak_resident_bytes; print(peak_resident_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    del block
    assert int(done.stdout) < 4 * BLOCK
