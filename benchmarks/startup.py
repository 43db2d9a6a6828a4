"""Start-up time of the command line: processor time of `momentumrnn --version`, `--help` and `train --help`.

    python benchmarks/startup.py [--rounds 10]

The commands alternate with an interpreter that does nothing, and one that imports Typer and the modules with which it
formats help.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

COMMANDS = {
    "python": ["-c", "pass"],
    "import typer.rich_utils": ["-c", "import typer.rich_utils"],
    "momentumrnn --version": ["-m", "momentum_cli", "--version"],
    "momentumrnn --help": ["-m", "momentum_cli", "--help"],
    "momentumrnn train --help": ["-m", "momentum_cli", "train", "--help"],
}


def processor_seconds(arguments: list[str]) -> float:
    """Return the processor time of a new process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure, and print one line per command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            seconds[name].append(processor_seconds(arguments))
    base = statistics.median(seconds["import typer.rich_utils"])
    for name, found in seconds.items():
        median = statistics.median(found)
        print(f"{name:26}{median:7.3f} s (best {min(found):.3f}), {median / base:.2f} x importing Typer")


if __name__ == "__main__":
    main()
