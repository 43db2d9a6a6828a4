"""`momentumrnn export`: trained models in other formats, checked, stateful on request, with free sizes.

A format is a module with ``write(model, bundle, path)``, ``load(path) -> Program`` and ``SUFFIX``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from momentum_cli.errors import DataError, RecipeError, TargetError, system_error
from momentum_cli.formats import pt2, safetensors, torchscript
from momentum_cli.formats.archive import Content, look_into
from momentum_cli.formats.bundle import Bundle
from momentum_cli.formats.description import describe_model
from momentum_cli.formats.folder import STEM, model_file, write_folder
from momentum_cli.formats.onnx import format as onnx
from momentum_cli.formats.parity import INT8_TOLERANCE, Parity, case_text, check_parity
from momentum_cli.formats.program import Program
from momentum_cli.formats.score import program_function, score
from momentum_cli.formats.translation import package as translation
from momentum_cli.formats.translation.package import TranslationProgram
from momentum_cli.formats.translation.parity import check as check_translations
from momentum_cli.formats.translation.parity import compare_scores
from momentum_cli.layers.orthogonal_matrix import fold
from momentum_cli.messages import Said, refuse, unknown
from momentum_cli.metrics import METRICS
from momentum_cli.models.model import Model
from momentum_cli.models.translation.model import TranslationModel
from momentum_cli.progress import NullUi, Ui
from momentum_cli.recipe.building import load_data
from momentum_cli.runs.checkpoint import FORMAT as CHECKPOINT
from momentum_cli.runs.files import replacing
from momentum_cli.runs.output import check_output_file, ending_of
from momentum_cli.training.trained import Loaded, load_model

FORMATS: dict[str, Any] = {"torchscript": torchscript, "onnx": onnx, "pt2": pt2, "safetensors": safetensors}
_SUFFIXES = tuple(module.SUFFIX for module in (*FORMATS.values(), translation))


def export(
    run: Path,
    *,
    format: str,
    stateful: bool = False,
    out: Path | None = None,
    aoti: bool = False,
    as_torch_lstm: bool = False,
    quantize: str | None = None,
    which: str | None = None,
    data_dir: Path | None = None,
    check_accuracy: bool = True,
    ui: Ui | None = None,
) -> dict[str, Any]:
    """Write a trained model in a format of other programs, and check the written file against the checkpoint.

    Args:
        run: A run folder or a checkpoint.
        format: A key of `FORMATS`.
        stateful: The exported model takes and returns its state, so that a sequence can be fed in chunks of any length.
            The decoder of a translation model always does.
        out: The file; or a folder, existing or with a name without ending, for the file ``model.SUFFIX``,
            ``config.json`` and ``README.md``; digits after a point, as in ``model-1.0``, are no ending. None:
            ``export/TASK-CELL[-stateful].SUFFIX`` in the run folder, or the current folder for a checkpoint; for
            safetensors a folder of that name.
        aoti: Compile a pt2 file with AOTInductor.
        as_torch_lstm: Write the plain torch weights of a linear dynamics to a safetensors file.
        quantize: ``"int8"``: int8 weights in an onnx file. The file is checked in float32 first, then with int8 weights
            against `INT8_TOLERANCE`; its description has the difference, and its test metric is reported.
        which: Checkpoint of a run folder: ``"best"``, ``"last"``, or the number of a step that was kept; None: best.
        data_dir: Folder of the data sets; the parity check feeds real test samples.
        check_accuracy: Also evaluate the file and the checkpoint on the whole test set.
        ui: Where progress is shown; None shows nothing.

    Returns:
        ``file, folder (or None), bytes, format, stateful, checkpoint, cell, task, parity {max_abs, max_rel, tolerance,
        cases}, test {metric, file, checkpoint, samples} or None, seconds``.

    Raises:
        RecipeError: The options contradict each other or the model, or a package or compiler is missing.
        DataError: The model or its data are missing or damaged.
        TargetError: The file disagrees with the checkpoint; it does not get its final name.
    """
    shown: Ui = ui or NullUi()
    start = time.perf_counter()
    if format not in FORMATS:
        raise RecipeError(unknown("format", format, FORMATS))
    if which not in (None, "best", "last") and not str(which).isdecimal():
        raise RecipeError(refuse("--checkpoint", which, "be best, last or the number of a step that was kept"))
    if which is not None and run.is_file():
        raise RecipeError(refuse("--checkpoint", which, "be left out with a file", f"{run} is a checkpoint itself"))
    if aoti and format != "pt2":
        raise RecipeError(refuse("--aoti", format, "be used with --format pt2"))
    if as_torch_lstm and format != "safetensors":
        raise RecipeError(refuse("--as-torch-lstm", format, "be used with --format safetensors"))
    if quantize not in (None, "int8"):
        raise RecipeError(refuse("--quantize", quantize, "be int8"))
    if quantize is not None and format != "onnx":
        raise RecipeError(refuse("--quantize", format, "be used with --format onnx"))
    if out is not None and _is_folder(out):
        _check_folder(out, _SUFFIXES)
    elif out is not None:
        _check_target(out)
    source = load_model(run, which or "best")
    model = source.model.float().eval().requires_grad_(False)
    fold(model)
    if model.translator is not None:
        translation.check_format(format)
    suffix = translation.SUFFIX if model.translator is not None else FORMATS[format].SUFFIX
    if out is not None and _is_folder(out):
        _check_folder(out, (suffix,))
    elif out is not None and out.suffix.lower() in _SUFFIXES and out.suffix.lower() != suffix:
        raise RecipeError(refuse("--out", Said(out), f"end in {suffix} with --format {format}"))
    if model.translator is not None:
        given = {"--aoti": aoti, "--as-torch-lstm": as_torch_lstm, "--quantize": quantize}
        for name, value in given.items():
            if value:
                raise RecipeError(refuse(name, value, "be left out for a model that translates"))
        return _export_translation(source, format, out, run, data_dir, check_accuracy, shown)
    if stateful and model.bidirectional:
        raise RecipeError(
            "--stateful: the model is bidirectional, and its backward direction starts at the end of the sequence, so "
            "it cannot be fed in chunks; export it without --stateful"
        )
    if format == "torchscript":
        shown.note(
            "TorchScript is deprecated in PyTorch and still loads; for new consumers prefer --format pt2 or onnx"
        )
    dataset = load_data(source.recipe, data_dir, shown).unattacked
    options: dict[str, Any] = {"aoti": True} if aoti else {"as_torch_lstm": True} if as_torch_lstm else {}
    if quantize is not None:
        options = {"quantize": quantize}
    bundle = describe_model(source, format, stateful=stateful, **options)
    module = FORMATS[format]
    path, in_folder = _path(run, out, bundle, suffix)
    test = None
    with _final_name(path) as temporary:
        module.write(model, bundle, temporary)
        program = pt2.load_compiled(temporary) if aoti else module.load(temporary)
        parity = check_parity(program, model, dataset.test)
        if quantize is not None:
            program, parity = _quantized(temporary, bundle, model, dataset)
        for case in parity.cases:
            shown.note(f"parity: {case_text(case)}")
        if check_accuracy:
            test = _compare_scores(program, model, dataset, source, shown, exact=quantize is None)
        size = temporary.stat().st_size
    if in_folder:
        write_folder(path, bundle, source, dataset, run)
    return {
        "file": str(path),
        "folder": str(path.parent) if in_folder else None,
        "bytes": size,
        "format": format,
        "stateful": stateful,
        **options,
        "checkpoint": str(source.path),
        "cell": source.recipe.model.cell,
        "task": dataset.name,
        "parity": parity.dump(),
        "test": test,
        "seconds": time.perf_counter() - start,
    }


def _export_translation(
    source: Loaded, format: str, out: Path | None, run: Path, data_dir: Path | None, check_accuracy: bool, ui: Ui
) -> dict[str, Any]:
    """Write the archive of a translation model, and check it; see `momentum_cli.formats.translation`."""
    start = time.perf_counter()
    model = cast(TranslationModel, source.model)
    dataset = load_data(source.recipe, data_dir, ui).unattacked
    bundle = translation.describe(source, format)
    folder = run / "export" if run.is_dir() else Path()
    out = out or folder / f"{dataset.name}-{source.recipe.model.cell}.{format}{translation.SUFFIX}"
    path, in_folder = _path(run, out, bundle, translation.SUFFIX)
    test = None
    with _final_name(path) as temporary:
        translation.write(model, bundle, temporary)
        program = translation.load(temporary, format)
        parity = check_translations(program, model, dataset.test)
        for case in parity.cases:
            ui.note(f"parity: {case_text(case)}")
        if check_accuracy:
            test = compare_scores(program, model, dataset, source.recipe.train.eval_batch_size, ui)
        size = temporary.stat().st_size
    if in_folder:
        write_folder(path, bundle, source, dataset, run)
    return {
        "file": str(path),
        "folder": str(path.parent) if in_folder else None,
        "bytes": size,
        "format": format,
        "stateful": True,
        "checkpoint": str(source.path),
        "cell": source.recipe.model.cell,
        "task": dataset.name,
        "parity": parity.dump(),
        "test": test,
        "seconds": time.perf_counter() - start,
    }


def _quantized(path: Path, bundle: Bundle, model: Model, dataset: Any) -> tuple[Program, Parity]:
    """Round the weights of an ONNX file to int8, and write the resulting difference into its description."""
    from momentum_cli.formats.onnx.quantize import quantize

    proto = quantize(path)
    onnx.save(proto, bundle, path)
    parity = check_parity(onnx.load(path), model, dataset.test, tolerance=INT8_TOLERANCE)
    bundle.data["export"]["parity"] = {"max_abs": parity.max_abs, "max_rel": parity.max_rel}
    onnx.save(proto, bundle, path)
    return onnx.load(path), parity


def _check_target(path: Path) -> None:
    """Refuse to overwrite a file that is not an export, before any work is done."""
    check_output_file(path)
    try:
        other = path.exists() and not is_exported(path)
    except DataError:
        other = True
    if other:
        raise RecipeError(f"--out {path} exists and is not an exported model; name another file")


def _check_folder(out: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse a folder with anything but an earlier export in one of these formats, before any work is done."""
    if not out.is_dir():
        return
    models = [out / f"{STEM}{suffix}" for suffix in suffixes]
    for model in models:
        _check_target(model)
    if any(out.iterdir()) and not any(model.is_file() for model in models):
        raise RecipeError(f"--out {out} is a folder with other files; name a new or an empty one, or a file")


def is_exported(path: Path) -> bool:
    """Return True if a file was written by `export`, False for a checkpoint of a run.

    Raises:
        DataError: It is damaged or something else.
    """
    if file_format(path) != "safetensors":
        return True
    return bool(safetensors.describes_itself_as(path) != CHECKPOINT)


def file_format(path: Path) -> str:
    """Return the format of an exported file, a key of `FORMATS`, by its content.

    Raises:
        DataError: It is damaged, a pickle, or something else.
    """
    return _format_of(path, look_into(path))


def _format_of(path: Path, content: Content) -> str:
    if (packed := translation.recognised(content)) is not None:
        return packed
    for name, module in FORMATS.items():
        if module.recognises(content):
            return name
    if "data.pkl" in content.members:
        raise DataError(
            f"{path} is a pickle of torch.save, which can run code when it is loaded, and is not opened; give a "
            "checkpoint or a file of momentumrnn export"
        )
    raise DataError(
        f"{path} is cut short, damaged or of another kind; give a run folder, a checkpoint, or a file of momentumrnn "
        f"export ({', '.join(FORMATS)})"
    )


def open_program(path: Path, *, trust_native_code: bool = False) -> Program:
    """Load an exported file of any format, which is recognised by its content.

    Args:
        path: The file, or the folder of one.
        trust_native_code: Also load a package compiled by AOTInductor, which is machine code.

    Raises:
        DataError: It is missing, damaged, of another version, not an export, or could run code.
    """
    if path.is_dir():
        path = exported_in(path) or path
    if not path.is_file():
        raise DataError(f"{path}: file not found")
    content = look_into(path)
    found = _format_of(path, content)
    if pt2.is_compiled(content):
        if not trust_native_code:
            raise DataError(
                f"{path} is compiled machine code, which cannot be checked; load it in your own program with "
                "torch._inductor.aoti_load_package if you made it yourself, or use the file exported without --aoti"
            )
        return pt2.load_compiled(path)
    if translation.recognised(content):
        raise DataError(f"{path} is the archive of a model that translates; use it with eval, predict or generate")
    program: Program = FORMATS[found].load(path)
    return program


def open_translation(path: Path) -> TranslationProgram | None:
    """Load the archive of a translation model; None for another file.

    Raises:
        DataError: It is damaged, of another version, or could run code.
    """
    packed = translation.recognised(look_into(path))
    return None if packed is None else translation.load(path, packed)


def _compare_scores(
    program: Program, model: Model, dataset: Any, source: Any, ui: Ui, *, exact: bool = True
) -> dict[str, Any]:
    """Return the test metric of a program and of its checkpoint; they must agree if `exact`."""
    size, carried = source.recipe.train.eval_batch_size, program.bundle.stateful
    own_step = (lambda x, state: model(x, None, state)) if carried else None
    own = score(lambda x, lengths: model(x, lengths)[0], dataset, dataset.test, ui, size, own_step)
    got = score(program_function(program), dataset, dataset.test, ui, size, program.run if carried else None)
    metric = dataset.metric
    # One sequence in ten thousand (one in a small set) may lie on the border between two classes.
    allowed = max(1e-4, 1.0 / len(dataset.test)) if METRICS[metric].fraction else 1e-4 * max(1.0, abs(own[metric]))
    if exact and not abs(got[metric] - own[metric]) <= allowed:
        raise TargetError(
            f"test {metric}: the exported file has {got[metric]:.6g}, the checkpoint {own[metric]:.6g}; the file was "
            "not written"
        )
    return {"metric": metric, "file": got[metric], "checkpoint": own[metric], "samples": len(dataset.test)}


def _is_folder(out: Path) -> bool:
    """Return True if an output is a folder: an existing one, or a name without an ending."""
    return out.is_dir() or (not ending_of(out) and not os.path.lexists(out))


def _path(run: Path, out: Path | None, bundle: Bundle, suffix: str) -> tuple[Path, bool]:
    """Return the path of the file, and whether it has a folder of its own."""
    format = bundle.data["export"]["format"]
    if out is None:
        out = _default_path(run, bundle)
        # A hub's library loads a folder, and safetensors is what hubs are for.
        out = out if format == "safetensors" else out.with_name(out.name + suffix)
    return (out / f"{STEM}{suffix}", True) if _is_folder(out) else (out, False)


def exported_in(folder: Path) -> Path | None:
    """Return the model in a folder of `export`, or None if it is another folder.

    Raises:
        DataError: There are several models in it.
    """
    return model_file(folder, _SUFFIXES)


def _default_path(run: Path, bundle: Bundle) -> Path:
    """Return the path without an ending."""
    described = bundle.data["export"]
    parts = [bundle.dataset["name"], bundle.data["model"]["cell"]]
    parts += [word for word, given in (("stateful", described["stateful"]), ("aoti", described.get("aoti"))) if given]
    parts += [described["quantize"]] if described.get("quantize") else []
    parts += ["plain"] if described.get("as_torch_lstm") else []
    folder = run / "export" if run.is_dir() else Path()
    return folder / "-".join(parts)


@contextmanager
def _final_name(path: Path) -> Iterator[Path]:
    """Yield a temporary name with the same suffix, which is renamed when the block ends without an error."""
    made = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise system_error(error, path.parent) from error
    try:
        with replacing(path) as temporary:
            yield temporary
    finally:
        if made:
            # Nothing is left of a failed export: the folder is removed if it is empty.
            with suppress(OSError):
                path.parent.rmdir()
