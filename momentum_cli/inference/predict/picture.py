"""The first forecasts of `momentumrnn predict` as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from momentum_cli.errors import RecipeError
from momentum_cli.inference.predict.files import FileReader
from momentum_cli.inference.predict.reader import Reader
from momentum_cli.inspection.data import PICTURES
from momentum_cli.pictures.forecasts import Forecast, Words, forecasts, interval_name, short_time
from momentum_cli.runs.output import check_output_file


def check_picture(path: Path, reader: Reader) -> None:
    """Refuse a picture that cannot be drawn, before anything is predicted.

    Raises:
        RecipeError: The model makes no forecasts, or the file cannot be written, or its ending is not a known format.
    """
    if not isinstance(reader, FileReader) or not reader.forecasts:
        raise RecipeError(
            "--picture shows forecasts, and this model makes none; momentumrnn eval draws other predictions"
        )
    check_output_file(path, "--picture", PICTURES)


def draw_forecasts(records: list[dict[str, Any]], reader: Reader, path: Path) -> None:
    """Draw forecasts of the first target, each behind its past.

    Args:
        records: The first predictions, at most `momentum_cli.inference.predict.files.SHOWN`.
        reader: The reader that made them.
        path: A file that `check_picture` allows.

    Raises:
        RunError: Drawing failed.
    """
    assert isinstance(reader, FileReader)
    name = reader.forecasts[0]
    panels = []
    for record, past in zip(records, reader.pasts, strict=True):
        after = short_time(str(record.get("after", "")))
        where = [str(record["sequence"])] if len(records) > 1 else []
        title = ", ".join([*where, *([f"after {after}"] if after else [])]) or name
        known = past.get(name, ())
        quantiles = list(record.get("quantiles", {}).values())
        low, high = (quantiles[0][name], quantiles[-1][name]) if quantiles else ((), ())
        panels.append(
            Forecast(
                record["values"][name],
                known,
                low=low,
                high=high,
                times=[*[None] * (len(known) - 1), record.get("after"), *record.get("times", ())] if known else (),
                title=title,
                ahead=record.get("steps", ()),
            )
        )
    levels = [float(level) for level in records[0].get("quantiles", {})]
    forecasts([], panels, {}, Words(name, interval=interval_name(levels)), path)
