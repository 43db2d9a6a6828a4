"""`momentumrnn predict`: run a trained or exported model on files.

Samples are read, run in batches and written as they come, so that the length of the input does not matter for memory.

Axes: B batch, T time, D input, O outputs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from momentum_cli.data.speech.recordings import ENDINGS as SOUND_ENDINGS
from momentum_cli.errors import DataError, RecipeError
from momentum_cli.inference.opened import Subject, open_subject
from momentum_cli.inference.predict.files import ENDINGS, FileInputs
from momentum_cli.inference.predict.inputs import Broken, Sample, find_inputs, read_samples
from momentum_cli.inference.predict.preparation import Preparation
from momentum_cli.inference.predict.speech import SpeechInputs
from momentum_cli.inference.predict.text import ENDINGS as TEXT_ENDINGS
from momentum_cli.inference.predict.text import text_predictions
from momentum_cli.inference.predict.writers import CsvWriter, JsonlWriter, NpzWriter, Writer
from momentum_cli.messages import unknown
from momentum_cli.progress import NullUi, Ui
from momentum_cli.runs.files import replacing
from momentum_cli.runs.output import check_output_file

OUTPUT_FORMATS = ("jsonl", "csv", "npz")
# Broken samples shown one by one; the rest is counted.
_SHOWN = 20


def predict(
    model: Path,
    inputs: list[str],
    *,
    format: str = "jsonl",
    out: Path | None = None,
    batch_size: int = 256,
    top: int = 3,
    ui: Ui | None = None,
) -> dict[str, Any]:
    """Predict every sample of some files.

    Args:
        model: A run folder, a checkpoint or an exported file.
        inputs: Files, folders, globs, or ``-`` for standard input: images for pixel tasks, NPY, NPZ and CSV
            arrays; text files for language models, a prediction a line; recordings for models of speech.
        format: One of `OUTPUT_FORMATS`.
        out: Where to write, whole or not at all; None: standard output, for jsonl and csv.
        batch_size: Samples at a time, >= 1.
        top: Classes to list for each sample, >= 1.
        ui: Where progress and broken files are shown; None shows nothing.

    Returns:
        ``predicted`` and ``broken`` (numbers of samples), ``problems`` (the first of them), ``out``.

    Raises:
        RecipeError: An option is wrong.
        DataError: The model cannot be opened, or inputs were broken: the rest has been predicted and written then.
    """
    shown: Ui = ui or NullUi()
    if format not in OUTPUT_FORMATS:
        raise RecipeError(unknown("format", format, OUTPUT_FORMATS))
    if format == "npz" and out is None:
        raise RecipeError("--format npz is binary and needs --out FILE")
    if out is not None:
        check_output_file(out)
    for name, value in (("--batch-size", batch_size), ("--top", top)):
        if value < 1:
            raise RecipeError(f"{name}: got {value}, allowed is at least 1")
    subject = open_subject(model)
    dataset = subject.trained_on
    text = dataset["preprocessing"].get("kind") == "tokens"
    files: FileInputs | None = None
    speech: SpeechInputs | None = None
    read: Callable[[str], Iterator[Sample | Broken]]
    if dataset["preprocessing"].get("kind") == "files":
        files = FileInputs(dataset["preprocessing"])
        read, sources = files.read, find_inputs(inputs, ENDINGS)
    elif text:
        sources = find_inputs(inputs, TEXT_ENDINGS)
    elif dataset["preprocessing"].get("kind") == "speech":
        speech = SpeechInputs(dataset["preprocessing"])
        read, sources = speech.read, find_inputs(inputs, SOUND_ENDINGS)
    else:
        preparation = Preparation(dataset["preprocessing"], dataset["input_size"])
        read, sources = lambda source: read_samples(source, preparation), find_inputs(inputs)
    problems: list[Broken] = []
    broken = predicted = 0
    with ExitStack() as stack:
        target = stack.enter_context(replacing(out)) if out is not None else None
        writer = _open_writer(format, target, stack)
        for item in _lines(subject, sources, top) if text else ():
            if isinstance(item, Broken):
                broken += 1
                if broken <= _SHOWN:
                    problems.append(item)
                    shown.note(_problem_text(item), "error")
                continue
            writer.write(*item)
            predicted += 1
        for batch in () if text else _batches(sources, read, batch_size, shown):
            if isinstance(batch, Broken):
                broken += 1
                if broken <= _SHOWN:
                    problems.append(batch)
                    shown.note(_problem_text(batch), "error")
                continue
            outputs = _run(subject.call, batch, subject.device)
            for sample, output in zip(batch, outputs, strict=True):
                if files is not None and dataset["loss"] == "mse":
                    restored, named = files.restore(output)
                    writer.write(_who(sample) | {"values": named}, restored)
                elif speech is not None and sample.wanted is not None:
                    restored, said = speech.restore(output, sample.wanted)
                    writer.write(_who(sample) | said, restored)
                else:
                    writer.write(_record(sample, output, dataset, top), output)
            predicted += len(batch)
        writer.close()
    result = {
        "model": str(model),
        "predicted": predicted,
        "broken": broken,
        "problems": [_problem_text(problem) for problem in problems],
        "out": None if out is None else str(out),
    }
    if broken:
        rest = f"the other {predicted} were" if predicted else "no prediction was made"
        first = _problem_text(problems[0])
        raise DataError(f"{broken} of {broken + predicted} inputs could not be predicted (first: {first}); {rest}")
    return result


def _batches(
    sources: list[str], read: Callable[[str], Iterator[Sample | Broken]], batch_size: int, ui: Ui
) -> Iterator[list[Sample] | Broken]:
    """Yield samples of one length, in order, `batch_size` at a time; what is broken as soon as it is met."""
    waiting: list[Sample] = []
    done = 0
    for number, source in enumerate(sources):
        for item in read(source):
            done += 1
            if isinstance(item, Broken):
                yield item
                continue
            if waiting and len(waiting[0].inputs) != len(item.inputs):
                yield waiting
                waiting = []
            waiting.append(item)
            if len(waiting) == batch_size:
                yield waiting
                waiting = []
                # How many rows the files hold is not known before they are read.
                ui.evaluation_progress(number if len(sources) > 1 else done, max(len(sources), done), "inputs")
    if waiting:
        yield waiting


def _lines(subject: Subject, sources: list[str], top: int) -> Iterator[tuple[dict[str, Any], np.ndarray] | Broken]:
    """Yield the prediction of every line of some text files."""
    for source in sources:
        yield from text_predictions(subject, source, top)


def _run(call: Callable[[Tensor, Tensor | None], Tensor], batch: list[Sample], device: torch.device) -> np.ndarray:
    stacked = torch.from_numpy(np.stack([sample.inputs for sample in batch]))
    with torch.inference_mode():
        return call(stacked.to(device), None).float().cpu().numpy()


def _who(sample: Sample) -> dict[str, Any]:
    """Return where a prediction is from."""
    named = {} if sample.sequence is None else {"sequence": sample.sequence}
    return {"source": sample.source, "row": sample.row, **named}


def _record(sample: Sample, outputs: np.ndarray, dataset: dict[str, Any], top: int) -> dict[str, Any]:
    """Return what people read of one prediction: labels with probabilities, labels of each step, or values."""
    record = _who(sample)
    if dataset["loss"] != "cross_entropy":
        return record | {"values": outputs.tolist()}
    labels = dataset["labels"] or [str(index) for index in range(outputs.shape[-1])]
    if outputs.ndim == 2:
        return record | {"labels": [labels[index] for index in outputs.argmax(-1)]}
    # In float64 and from the largest down, so that nothing overflows.
    weights = np.exp(outputs.astype(np.float64) - outputs.max())
    shares = weights / weights.sum()
    order = np.argsort(-shares, kind="stable")[:top]
    best = [{"label": labels[index], "probability": float(shares[index])} for index in order]
    return record | {**best[0], "top": best}


def _open_writer(format: str, path: Path | None, stack: ExitStack) -> Writer:
    if format == "npz":
        assert path is not None
        return NpzWriter(path)
    stream = sys.stdout if path is None else stack.enter_context(path.open("w", encoding="utf-8", newline=""))
    return JsonlWriter(stream) if format == "jsonl" else CsvWriter(stream)


def _problem_text(problem: Broken) -> str:
    where = "" if problem.row is None else f", row {problem.row}"
    return f"{problem.source}{where}: {problem.reason}"
