"""Commands keep the memory that a step frees; an import changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from momentum_cli import allocator

BLOCKS = """
import resource
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    block = bytearray(64 << 20)
    del block
use()
before = faults()
for _ in range(4):
    use()
print(faults() - before)
"""
GLIBC = allocator.reason() != "the C library is not glibc"
pytestmark = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")


def python(code: str, **variables: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != allocator.SETTING}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=inherited | variables
    )
    return done.stdout


def test_memory_that_is_kept_costs_no_page_faults() -> None:
    """Four blocks of 16,384 pages; what is counted does not depend on the load of the machine."""
    given_back = int(python("import momentum_cli" + BLOCKS))
    kept = int(python("from momentum_cli.allocator import keep_memory; assert keep_memory()" + BLOCKS))
    assert given_back > 4 * 100  # with pages of 2 MB it would be 128
    assert kept < given_back / 20


@pytest.mark.parametrize(
    ("arguments", "variables", "kept", "reason"),
    [
        ([], {}, True, None),
        (["--release-memory"], {}, False, "MOMENTUMRNN_KEEP_MEMORY=0"),
        ([], {"MOMENTUMRNN_KEEP_MEMORY": "0"}, False, "MOMENTUMRNN_KEEP_MEMORY=0"),
        ([], {"MALLOC_TRIM_THRESHOLD_": "1000000"}, False, "MALLOC_TRIM_THRESHOLD_ is set"),
    ],
)
def test_a_command_keeps_memory_unless_it_is_told_not_to(
    arguments: list[str], variables: dict[str, str], kept: bool, reason: str | None
) -> None:
    """`cells list` is a command; what it has set is asked of its process."""
    code = (
        "import json; from momentum_cli import allocator; from momentum_cli.cli import app\n"
        "assert not allocator.kept()\n"
        f"try:\n    app(['cells', 'list', '-h', *{arguments}])\nexcept SystemExit:\n    pass\n"
        f"try:\n    app(['recipes', *{arguments}, 'list'])\nexcept SystemExit:\n    pass\n"
        "print(json.dumps([allocator.kept(), allocator.reason()]))"
    )
    assert json.loads(python(code, **variables).splitlines()[-1]) == [kept, reason]
