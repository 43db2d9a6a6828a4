"""Speech: frames of the spectrum to predict, and recordings to classify.

`listing` (or `timit`) finds the files and reads their names, `splitting` divides them, `recordings` reads them,
`features` computes their frames, `cache` stores these, and `sequences` makes batches of them.
"""

from __future__ import annotations

from momentum_cli.data.speech.classification import SpeechClassify
from momentum_cli.data.speech.prediction import Speech

__all__ = ["Speech", "SpeechClassify"]
