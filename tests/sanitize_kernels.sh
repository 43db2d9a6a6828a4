#!/usr/bin/env bash
# Builds the CPU kernels with the address and undefined-behaviour sanitizers and runs their tests on that build.
# Usage: tests/sanitize_kernels.sh [pytest options]; PYTHON names the interpreter (default that of .venv), CXX the compiler (g++).
# WIDE=1 builds the portable kernels in the shape of AVX-512 instead: 64-byte vectors and tiles of 12 rows.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
flags=(-std=c++17 -O1 -g -fPIC -fno-math-errno -fvisibility=hidden -pthread -Wall -Wextra -Werror)
flags+=(-fsanitize=address,undefined -fno-sanitize-recover=undefined)
if [[ ${WIDE:-0} == 1 ]]; then
    flags+=(-DMRNN_GENERIC_VECTOR_BYTES=64 -DMRNN_GENERIC_ROWS=12 -DMRNN_WITHOUT_AVX2)
    export MOMENTUMRNN_ISA=generic
elif ! grep -qs avx512f /proc/cpuinfo; then
    flags+=(-DMRNN_WITHOUT_AVX512) # could not run here, and takes the longest to compile
fi
compilers=()
for source in momentum_cli/kernels/cpu/*.cpp; do
    "${CXX:-g++}" "${flags[@]}" -c "$source" -o "$folder/$(basename "$source").o" &
    compilers+=($!)
done
for compiler in "${compilers[@]}"; do wait "$compiler"; done
"${CXX:-g++}" "${flags[@]}" -shared "$folder"/*.o -o "$folder/_cpu.so"
# The sanitizers' runtime must be the first library of the process; torch and Python themselves leak and are not our business.
LD_PRELOAD="$("${CXX:-g++}" -print-file-name=libasan.so) $("${CXX:-g++}" -print-file-name=libstdc++.so)" \
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 MOMENTUMRNN_KERNEL_LIBRARY="$folder/_cpu.so" \
    "${PYTHON:-.venv/bin/python}" -m pytest tests/kernels/fused/test_run.py tests/kernels/fused/test_bfloat16.py \
    tests/kernels/fused/test_update.py tests/kernels/fused/test_ops.py tests/kernels/fused/test_wrong_calls.py tests/layers/test_stream.py \
    tests/layers/test_quick.py tests/kernels/fused/test_pointer_ranges.py -q "$@"
