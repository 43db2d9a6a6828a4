"""A parser of JSON without the extensions of Python's."""

from __future__ import annotations

import json
from typing import Any


def strict(text: str) -> Any:
    """`text` read by a parser that knows no NaN and no Infinity, as those of other languages."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)
