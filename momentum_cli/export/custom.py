"""What can be exported of a cell from a plugin, whose step is a function of the user's."""

from __future__ import annotations

from momentum_cli.cells.plugins import plugins_of
from momentum_cli.errors import RecipeError

_REASONS = {
    "torchscript": "torch.jit.script compiles the steps that this package knows, and a function of yours may use what "
    "TorchScript has not",
    "onnx": "it is written node by node, and only this package's recurrences and dynamics have nodes",
}


def check_exportable(format: str, cell: str) -> None:
    """Raise RecipeError for a format that has no form for the cell of a plugin; pt2 traces it, safetensors needs none.

    Args:
        format: Of `momentum_cli.export.FORMATS`.
        cell: Name of the cell.
    """
    names = plugins_of([cell])
    if names and format in _REASONS:
        raise RecipeError(
            f"--format {format}: the cell {cell} is from the plugin {', '.join(names)}; {_REASONS[format]}. "
            "Export it as pt2 (traced, any length and batch size) or as safetensors"
        )
