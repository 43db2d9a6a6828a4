"""Export every cell in every format, and print how far each file is from the checkpoint in float64.

    python benchmarks/export_matrix.py [--formats onnx,torchscript] [--cells lstm,adam] [--hidden 16]

Each entry is an export as the command makes it, with its parity check at lengths and batch sizes other than the
example's and on real test samples, from a checkpoint with random parameters. "refused" is an error by design.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

import torch

from momentum_cli.errors import MomentumError, RecipeError
from momentum_cli.formats.export import FORMATS, export
from momentum_cli.recipe.building import build_model, build_task
from momentum_cli.recipe.recipe import load_recipe
from momentum_cli.runs.checkpoint import Checkpoint, save_checkpoint
from momentum_cli.training.position import Progress
from momentum_cli.training.trained import describe

CELLS = ("lstm", "gru", "momentum", "adam", "rmsprop", "nesterov", "sr", "momentum-gru")
SHAPES = {
    "1 layer": [],
    "2 layers": ["model.num_layers=2"],
    "bidirectional": ["model.bidirectional=true"],
}


def untrained(path: Path, *overrides: str) -> Path:
    """Write a checkpoint of the digits task with random parameters."""
    recipe = load_recipe("digits", overrides)
    dataset = build_task(recipe).load(None)
    torch.manual_seed(0)
    model = build_model(recipe, dataset.input_size, dataset.output_size, dataset.output)
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    data = {"recipe": recipe.dump(), "dataset": describe(dataset), "progress": asdict(Progress())}
    save_checkpoint(path, Checkpoint(tensors, data))
    return path


def entry(checkpoint: Path, name: str, stateful: bool) -> str:
    """Export and return the largest absolute difference, or the reason for a refusal."""
    out = checkpoint.with_name(f"model{FORMATS[name].SUFFIX}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = export(checkpoint, format=name, stateful=stateful, out=out, check_accuracy=False)
    except RecipeError:
        return "refused"
    except MomentumError as error:
        return f"FAILED: {str(error).splitlines()[0]}"
    return f"{result['parity']['max_abs']:.1e}"


def main() -> None:
    """Print the table, a line as soon as it is complete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--hidden", type=int, default=16)
    arguments = parser.parse_args()
    formats = arguments.formats.split(",")
    print("| cell | model |", *(f"{name} | stateful |" for name in formats))
    print("|---|---|" + "---|---|" * len(formats), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for cell in arguments.cells.split(","):
            for shape, overrides in SHAPES.items():
                options = [f"model.cell={cell}", f"model.hidden_size={arguments.hidden}", *overrides]
                checkpoint = untrained(Path(folder) / "checkpoint.safetensors", *options)
                cells = [entry(checkpoint, name, stateful) for name in formats for stateful in (False, True)]
                print(f"| {cell} | {shape} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
