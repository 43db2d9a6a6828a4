"""The files of a search, written when it ends: tables, best recipe, pictures, report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from momentum_cli.errors import MomentumError
from momentum_cli.progress import TuneUi
from momentum_cli.reading import read_text
from momentum_cli.tuning.importance import importance_of
from momentum_cli.tuning.pictures import draw_search
from momentum_cli.tuning.report import write_report
from momentum_cli.tuning.results import BEST, TABLE, summary_of, write_best, write_summary, write_table
from momentum_cli.tuning.study import Study


def finish(study: Study, folder: Path, plan: Mapping[str, Any], metric: str, ui: TuneUi) -> dict[str, Any]:
    """Write the files of a search and return the content of ``tune.json``.

    Args:
        study: The study, with all trials or, at a time limit, some of them.
        folder: Folder of the search.
        plan: Plan of the search.
        metric: The compared metric.
        ui: Shows a note on each file that could not be written.
    """
    rows = study.rows()
    content = summary_of(
        rows,
        study.space,
        study.objective,
        folder=folder,
        plan=plan,
        metric=metric,
        importance=importance_of(study),
        over=study.is_over,
    )
    write_table(folder / TABLE, rows, study.space.keys)
    if content["best"] is not None:
        write_best(folder / BEST, study.space, content["best"]["values"], content["best"], content["best"]["words"])
    content = write_summary(folder, content)
    try:
        draw_search(content, folder)
        best = folder / BEST
        write_report(folder, content, read_text(best) if best.is_file() else "")
    except MomentumError as error:
        ui.note(f"the report is not complete: {error}", "warning")
    study.optuna.set_user_attr("over", study.is_over)
    return content
