"""Check an installation without the test suite: ``python tests/installed.py`` of the environment that has the wheel.

It imports what is installed, never the source tree, holds the fused kernel against the reference loop, and trains the
recipe `digits` for one epoch. ``--without-kernel`` expects an installation that has no kernel.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import momentum_cli
from momentum_cli import LSTM, Adam, HeavyBall, Identity
from momentum_cli.kernels.fused.library import status

TARGET_MISSED = 4


def compare_with_reference() -> None:
    """Compare outputs and gradients of the kernel with those of the plain loop."""
    torch.manual_seed(0)
    for dynamics in (Identity(), HeavyBall(momentum=0.6), Adam(momentum=0.6, beta2=0.5, eps=1e-8)):
        results = []
        x, cotangent = torch.randn(7, 3, 5), torch.randn(7, 3, 11)
        weights = LSTM(5, 11).state_dict()
        for backend in ("fused", "reference"):
            layer = LSTM(5, 11, dynamics=dynamics, backend=backend)
            layer.load_state_dict(weights)
            output, _ = layer(x)
            (output * cotangent).sum().backward()
            results.append([output, *(parameter.grad for parameter in layer.parameters())])
        for ours, definition in zip(*results, strict=True):
            torch.testing.assert_close(ours, definition, rtol=1e-4, atol=1e-5)
        print(f"{type(dynamics).__name__}: the kernel agrees with the reference loop")


def main() -> None:
    """Run every check; an error ends the program."""
    found = Path(momentum_cli.__file__).resolve().parent
    print(found)
    if found == Path(__file__).resolve().parents[1] / "momentum_cli":
        sys.exit(f"{found}: this is the source tree, not an installation")
    kernel = status()
    if kernel["available"] == ("--without-kernel" in sys.argv):
        sys.exit(f"the kernel is not as expected: {kernel}")
    if kernel["available"]:
        compare_with_reference()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "momentum_cli", "train", "digits", "train.epochs=1", "--quiet"]
        code = subprocess.run([*command, "--out", f"{folder}/run"], cwd=folder, check=False).returncode
    # One epoch does not reach the target of the recipe.
    if code not in (0, TARGET_MISSED):
        sys.exit(f"training failed with exit code {code}")
    print("the recipe digits trains")


if __name__ == "__main__":
    main()
