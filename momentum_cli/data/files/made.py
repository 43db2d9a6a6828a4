"""Inputs of a model that are more than the columns of a file, each scaled by its own offset and scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def made_inputs(preprocessing: Mapping[str, Any]) -> list[str]:
    """Return the options of the task that make such inputs; [] if each channel is a scaled column.

    Args:
        preprocessing: That of `momentum_cli.data.Dataset` for files.
    """
    schema = preprocessing["schema"]
    made = [name for name in ("categorical", "date_features", "resample", "known_future") if schema.get(name)]
    made += ["normalise: sequence"] if schema.get("each_scaled") else []
    made += ["normalise_by"] if preprocessing.get("groups") else []
    return made if preprocessing["scaling"] is not None else [*made, "text"]
