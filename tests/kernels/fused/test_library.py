"""The C++ library: its machine code contains the instructions that it claims to use."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from momentum_cli.kernels.fused import library

REGISTERS = {"avx2": "%ymm", "avx512": "%zmm", "avx512_bf16": "%zmm"}
built = pytest.mark.skipif(library.load()[0] is None, reason="the kernel library was not built")
x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="instruction sets of x86")


def said(isa: str) -> list[str]:
    function = library.load()[0].mrnn_instructions
    function.restype = ctypes.c_char_p
    return function(ctypes.c_int64(library.ISAS[isa])).decode().split()


@pytest.fixture(scope="module")
def machine_code() -> list[tuple[str, str]]:
    """Mnemonic and operands of every instruction of the library."""
    if shutil.which("objdump") is None:
        pytest.skip("there is no objdump")
    command = ["objdump", "--disassemble", "--no-show-raw-insn", "--no-addresses", library.load()[1]]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pairs = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("\t")]
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]


@built
@x86
@pytest.mark.parametrize("isa", REGISTERS)
def test_the_instructions_that_the_kernels_were_written_for_are_in_the_library(
    isa: str, machine_code: list[tuple[str, str]]
) -> None:
    wide = {mnemonic for mnemonic, operands in machine_code if REGISTERS[isa] in operands}
    assert len(said(isa)) >= 2
    assert [mnemonic for mnemonic in said(isa) if mnemonic not in wide] == []


@built
def test_the_portable_kernels_promise_no_instruction() -> None:
    assert said("generic") == []


@built
@x86
def test_a_layer_that_would_be_mostly_padding_takes_shorter_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOMENTUMRNN_ISA", raising=False)
    if library.chosen_isa() != "avx512":
        pytest.skip("no AVX-512")
    chosen = [library.chosen_isa(torch.float32, hidden) for hidden in (1, 16, 17, 32, 64, 96, 97, 256)]
    assert chosen == ["avx2", "avx2", *["avx512"] * 6]
    assert library.chosen_isa(torch.float64, 16) == "generic"
    monkeypatch.setenv("MOMENTUMRNN_ISA", "avx512")
    assert library.chosen_isa(torch.float32, 16) == "avx512"


@x86
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
@pytest.mark.parametrize("without", ["AVX512", "AVX2"])
def test_the_entry_points_compile_without_warnings_where_instruction_sets_are_left_out(without: str) -> None:
    """As the builds of `tests/sanitize_kernels.sh`, and those for other processors."""
    source = Path(library.__file__).parents[1] / "cpu" / "api.cpp"
    flags = ["-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-DMRNN_WITHOUT_{without}"]
    done = subprocess.run(["g++", *flags, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@built
@pytest.mark.parametrize("isa", ["generic", "avx2"])
def test_the_status_says_what_becomes_of_bfloat16(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTUMRNN_ISA", isa)
    try:
        text = library.status()["bfloat16"]
    except ValueError as problem:
        pytest.skip(str(problem))
    assert text.startswith("lstm and gru multiply" if isa == "generic" else "computed in float32: MOMENTUMRNN_ISA=avx2")


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")
def test_an_installation_with_a_compiler_has_the_library() -> None:
    """The build of the library is optional, so a mistake in it shows here alone."""
    loaded, _, reason = library.load()
    assert loaded is not None, reason
