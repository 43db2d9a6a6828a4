"""`momentumrnn predict`: run a trained or exported model on files.

Samples are read, run and written batch by batch, so memory does not grow with the length of the input; only a file of
the task `files` whose sequences cannot be read in parts (`momentum_cli.data.files.parts`) is read as a whole first.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from momentum_cli.errors import DataError, RecipeError
from momentum_cli.inference.opened import Subject, open_subject, with_search
from momentum_cli.inference.predict.arrays import ArrayReader
from momentum_cli.inference.predict.files import SHOWN, FileReader
from momentum_cli.inference.predict.parquet import ParquetWriter
from momentum_cli.inference.predict.picture import check_picture, draw_forecasts
from momentum_cli.inference.predict.reader import Reader, find_sources, ranks_classes
from momentum_cli.inference.predict.samples import Broken
from momentum_cli.inference.predict.speech import SpeechReader
from momentum_cli.inference.predict.text import TextReader
from momentum_cli.inference.predict.translation import TranslationReader
from momentum_cli.inference.predict.writers import CsvWriter, JsonlWriter, LineWriter, NpzWriter, Stream, Writer
from momentum_cli.messages import Said, refuse, unknown
from momentum_cli.progress import NullUi, Ui
from momentum_cli.runs.files import replacing
from momentum_cli.runs.output import check_output_file, ending_of
from momentum_cli.temporary import temporary_folder
from momentum_cli.ui.terminal import Output

# By the kind of preprocessing that the data set of the model describes.
READERS: dict[str, type[Reader]] = {
    "none": ArrayReader,
    "one-hot": ArrayReader,
    "pixels": ArrayReader,
    "files": FileReader,
    "speech": SpeechReader,
    "tokens": TextReader,
    "translation": TranslationReader,
}
OUTPUT_FORMATS = ("jsonl", "csv", "npz", "parquet", "txt")
_ENDINGS = {f".{name}": name for name in OUTPUT_FORMATS} | {".ndjson": "jsonl", ".pq": "parquet"}
BINARY = ("npz", "parquet")
"""Formats that cannot go to standard output."""
BATCH = 256
TOP = 3
# Broken samples shown one by one; the others are counted.
_SHOWN = 20


def predict(
    model: Path,
    inputs: list[str],
    *,
    format: str | None = None,
    out: Path | None = None,
    batch_size: int | None = None,
    top: int | None = None,
    picture: Path | None = None,
    writer: Writer | None = None,
    beam_size: int | None = None,
    length_penalty: float | None = None,
    ui: Ui | None = None,
) -> dict[str, Any]:
    """Predict every sample of some files.

    Args:
        model: A run folder, a checkpoint or an exported file.
        inputs: Files, folders, globs, or ``-`` for standard input: images for pixel tasks, NPY, NPZ and CSV
            arrays; text files for language models, one prediction per line; recordings for speech models.
        format: One of `OUTPUT_FORMATS`; None: that of the ending of `out`, jsonl without one.
        out: File to write, completely or not at all; None: standard output, except for binary formats.
        batch_size: Samples at a time, >= 1; None: 256. Not for a language model, which reads line by line.
        top: Classes, or next tokens, to list for each sample, >= 1; None: 3. Only for a model that ranks them.
        picture: File for a picture of a forecasting model's first forecasts, ending in png, svg or pdf.
        writer: Receives the predictions in place of `out` and standard output.
        beam_size, length_penalty: Options of the beam search of a translation model; None: those of the recipe.
        ui: Where progress and broken files are shown; None shows nothing.

    Returns:
        ``predicted`` and ``broken`` (counts of samples), ``problems`` (the first ones), ``out``, ``picture``.

    Raises:
        RecipeError: An option is wrong.
        DataError: The model cannot be opened, or inputs were broken; the others have been predicted and written.
    """
    shown: Ui = ui or NullUi()
    format = _format_of(format, out)
    if format in BINARY and out is None and writer is None:
        raise RecipeError(f"--format {format} is binary and needs --out FILE")
    if out is not None:
        check_output_file(out)
    for name, value in (("--batch-size", batch_size), ("--top", top)):
        if value is not None and value < 1:
            raise RecipeError(refuse(name, value, "be at least 1"))
    subject = with_search(open_subject(model), beam_size, length_penalty)
    if top is not None and not ranks_classes(subject.trained_on):
        raise RecipeError(refuse("--top", top, "be left out for a model that ranks no classes"))
    reader = reader_of(subject, top or TOP)
    if batch_size is not None and isinstance(reader, TextReader):
        raise RecipeError(
            refuse("--batch-size", batch_size, "be left out for a language model", "it reads line by line")
        )
    if format == "txt" and reader.line is None:
        *others, last = (name for name in OUTPUT_FORMATS if name != "txt")
        must = f"be {', '.join(others)} or {last} for a model that writes no lines of text"
        raise RecipeError(refuse("--format", format, must))
    if picture is not None:
        check_picture(picture, reader)
    sources = find_sources(inputs, reader.endings)
    problems: list[str] = []
    broken = predicted = 0
    first: list[dict[str, Any]] = []
    with ExitStack() as stack:
        if writer is None:
            target = stack.enter_context(replacing(out)) if out is not None else None
            writer = _open_writer(format, target, stack, reader)
        for item in reader.predictions(sources, batch_size or BATCH, shown):
            if isinstance(item, Broken):
                broken += 1
                writer.leave_out(item.row)
                if broken <= _SHOWN:
                    problems.append(str(item))
                    shown.note(str(item), "error")
            else:
                writer.write(item)
                if picture is not None:
                    first += itertools.islice(item.records(), SHOWN - len(first))
                predicted += len(item)
        writer.close()
        if broken and not predicted:
            raise DataError(_failure(broken, predicted, problems))  # here, so that no file is written
    if picture is not None and first:
        draw_forecasts(first, reader, picture)
    result = {
        "model": str(model),
        "predicted": predicted,
        "broken": broken,
        "problems": problems,
        "out": None if out is None else str(out),
        "picture": None if picture is None else str(picture),
    }
    if broken:
        raise DataError(_failure(broken, predicted, problems))
    return result


def _failure(broken: int, predicted: int, problems: list[str]) -> str:
    rest = f"the other {predicted} were" if predicted else "no prediction was made"
    return f"{broken} of {broken + predicted} inputs could not be predicted (first: {problems[0]}); {rest}"


def _format_of(format: str | None, out: Path | None) -> str:
    """Return the format to write.

    Raises:
        RecipeError: There is no such format, or none can be told from the ending of the file, or it is another one's.
    """
    ending = "" if out is None else ending_of(out)
    if format is None:
        if ending and ending not in _ENDINGS:
            must = f"end in {', '.join(_ENDINGS)}"
            raise RecipeError(
                refuse("--out", Said(str(out)), must, "for another ending add the format: --format jsonl")
            )
        return _ENDINGS.get(ending, OUTPUT_FORMATS[0])
    if format not in OUTPUT_FORMATS:
        raise RecipeError(unknown("format", format, OUTPUT_FORMATS))
    if _ENDINGS.get(ending, format) != format:
        must = f"end in .{format} with --format {format}"
        raise RecipeError(refuse("--out", Said(str(out)), must, "leave out --format, or name another file"))
    return format


def reader_of(subject: Subject, top: int) -> Reader:
    """Return the reader for the inputs of a model.

    Args:
        subject: The model.
        top: Classes to list for each sample, >= 1.

    Raises:
        DataError: Its data are of a kind that this program does not know.
    """
    kind = subject.trained_on["preprocessing"].get("kind", "none")
    if kind not in READERS:
        raise DataError(f"{subject.path}: {unknown('kind of preprocessing', kind, READERS)}")
    return READERS[kind](subject, top)


def _open_writer(format: str, path: Path | None, stack: ExitStack, reader: Reader) -> Writer:
    if format in BINARY:
        assert path is not None
        if format == "parquet":
            return ParquetWriter(path)
        return NpzWriter(path, stack.enter_context(temporary_folder(path)))
    stream: Stream = Output() if path is None else stack.enter_context(path.open("w", encoding="utf-8", newline=""))
    if format == "txt":
        return LineWriter(stream, str(reader.line))
    return JsonlWriter(stream) if format == "jsonl" else CsvWriter(stream)
