#!/usr/bin/env bash
# Everything that a few minutes on a CUDA card can show about the library, in one command.
#
#   benchmarks/gpu.sh run OUT [--wheels DIR] [--seconds 360] [--data DIR] [--only "ITEM;…"] [--device cuda|cpu]
#       measures, most important first, and writes OUT/gpu.json and OUT/gpu.txt after each item. Needs torch with CUDA,
#       Triton and the packages of pyproject.toml, or their wheels in DIR; the library runs from this tree. --data names
#       a folder with MNIST/raw (the four files, as they are or with .gz). --device cpu rehearses it with tiny shapes
#       and Triton's interpreter: its times mean nothing.
#   benchmarks/gpu.sh pack DIR [--python 3.12] [--most-mib 16] [PACKAGE…]
#       downloads, for Linux on x86-64, wheels of what a machine with torch and numpy often lacks.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2; }

pack() {
  local folder=$1 version=3.12 most=16 target=() number
  shift
  while [[ ${1:-} == --* ]]; do
    case $1 in
      --python) version=$2 ;;
      --most-mib) most=$2 ;;
      *) usage ;;
    esac
    shift 2
  done
  target=(--only-binary=:all: --implementation cp --python-version "$version" --dest "$folder" --quiet)
  for number in 2_28 2_27 2_24 2_17 2014 1; do  # pip takes no newer one for an older
    case $number in
      2_*) target+=(--platform "manylinux_${number}_x86_64") ;;
      *) target+=(--platform "manylinux${number}_x86_64") ;;
    esac
  done
  mkdir -p "$folder"
  "$python" -m pip download "${target[@]}" pydantic typer pyyaml safetensors pytest packaging  # with what they need
  # Without what these need: torch, which is there already.
  "$python" -m pip download "${target[@]}" --no-deps lightning-fabric lightning-utilities "$@"
  local bytes
  bytes=$(cat "$folder"/*.whl | wc -c)
  printf '%s\n' "$folder"/*.whl "$((bytes / 1024)) KiB for Python $version"
  if ((bytes > most * 1024 * 1024)); then
    echo "$folder: the wheels take more than $most MiB (--most-mib)" >&2
    exit 1
  fi
}

run() {
  local out=$1 wheels="" seconds=360 rest=(--device cuda) site="" wheel name install
  shift
  while (($#)); do
    case $1 in
      --wheels) wheels=$2; shift 2 ;;
      --seconds) seconds=$2; shift 2 ;;
      --data | --only | --device) rest+=("$1" "$2"); shift 2 ;;
      *) usage ;;
    esac
  done
  if [[ -n $wheels ]]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    install=("$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site")
    # One that this Python cannot use must not cost the run. Then only what is missing is taken: pydantic beside a core of
    # another version would be none.
    "${install[@]}" "$wheels"/*.whl || for wheel in "$wheels"/*.whl; do
      name=$(basename "$wheel")
      "$python" -c "import importlib.metadata as m; m.version('${name%%-*}')" 2>/dev/null && continue
      "${install[@]}" --upgrade "$wheel" || echo "$name is left out" >&2
    done
  fi
  # Triton and others keep what they compiled below the home folder, which may be read-only.
  if ! mkdir -p "${HOME:-/nowhere}/.triton" 2>/dev/null || [[ ! -w $HOME/.triton ]]; then
    mkdir -p "$out/home"
    HOME=$(cd "$out/home" && pwd)
    export HOME
  fi
  # The script ends by itself; `timeout` is for a machine that has stopped answering.
  PYTHONUNBUFFERED=1 PYTHONPATH=$root${site:+:$site}${PYTHONPATH:+:$PYTHONPATH} \
    timeout --kill-after=5 "$((seconds + 20))" "$python" "$root/benchmarks/gpu.py" "$out" --seconds "$seconds" "${rest[@]}"
}

case ${1:-} in
  run | pack) [[ -n ${2:-} ]] || usage; "$@" ;;
  *) usage ;;
esac
