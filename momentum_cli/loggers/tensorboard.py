"""TensorBoard: event files in the folder ``tensorboard`` of the run; ``tensorboard --logdir runs`` shows all."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from momentum_cli.loggers.protocol import LoggedRun

FOLDER = "tensorboard"


class TensorBoard:
    """Writes scalars, the recipe, hyperparameters with the result, and pictures; see `Logger`."""

    package: ClassVar[str] = "tensorboard"
    extra: ClassVar[str] = "tensorboard"

    def __init__(self, run: LoggedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Steps after the last checkpoint are repeated, and those of the first attempt do not count.
        purge = run.step + 1 if run.step else None
        self._parameters = run.parameters
        self._writer: Any = SummaryWriter(str(run.folder / FOLDER), purge_step=purge)
        lines = [f"| `{name}` | `{value}` |" for name, value in run.parameters.items()]
        self._writer.add_text("recipe", "\n".join(["| key | value |", "|---|---|", *lines]), run.step)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Write scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, result: Mapping[str, float], files: Sequence[Path]) -> None:
        """Write the hyperparameters with the numbers of the result, and PNG files as images."""
        from torch.utils.tensorboard.summary import hparams

        plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in self._parameters.items()}
        for summary in hparams(plain, dict(result)):  # type: ignore[no-untyped-call]
            self._writer.file_writer.add_summary(summary)
        for name, value in result.items():
            self._writer.add_scalar(name, value, 0)
        for file in files:
            if file.suffix == ".png":
                self._writer.add_image(file.stem, _pixels(file), dataformats="HWC")

    def close(self, finished: bool) -> None:
        """Close the event file."""
        self._writer.close()


def _pixels(file: Path) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(file.read_bytes())) as image:
        return np.asarray(image.convert("RGB"))
