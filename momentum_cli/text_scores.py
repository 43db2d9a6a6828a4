"""BLEU and chrF by sacrebleu, as functions of sums over sentences, so that batches and processes add up exactly.

References: Papineni et al., BLEU, ACL 2002; Popović, chrF, WMT 2015; Post, A Call for Clarity in Reporting BLEU Scores,
WMT 2018, whose tokenizer 13a is used here: texts as they are, cased, with their punctuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

BLEU_SUMS = (
    "bleu_words",
    "bleu_reference_words",
    *(f"bleu_matches_{n}" for n in range(1, 5)),
    *(f"bleu_ngrams_{n}" for n in range(1, 5)),
)
"""Sums of BLEU, in sacrebleu's order: words of the translations and the references, n-grams that match, n-grams."""
CHRF_SUMS = tuple(f"chrf_{what}_{n}" for n in range(1, 7) for what in ("ngrams", "reference_ngrams", "matches"))
"""Sums of chrF, in sacrebleu's order: for each n the n-grams of characters in the translations, in the references, in
both."""


def sacrebleu_is_installed() -> bool:
    """Return True if sacrebleu is installed; the other functions need it."""
    try:
        import sacrebleu.metrics
    except ImportError:
        return False
    return sacrebleu is not None


def bleu_sums(translations: Sequence[str], references: Sequence[str]) -> list[list[int]]:
    """Return the `BLEU_SUMS` of each pair."""
    return _sums(_metric("BLEU"), translations, references)


def chrf_sums(translations: Sequence[str], references: Sequence[str]) -> list[list[int]]:
    """Return the `CHRF_SUMS` of each pair."""
    return _sums(_metric("CHRF"), translations, references)


def bleu(sums: Sequence[float]) -> float:
    """Return BLEU in [0, 100] for added `BLEU_SUMS`; 0 without a word."""
    return _score(_metric("BLEU"), sums)


def chrf(sums: Sequence[float]) -> float:
    """Return chrF in [0, 100] for added `CHRF_SUMS`; 0 without a character."""
    return _score(_metric("CHRF"), sums)


def bleu_signature() -> str:
    """Return sacrebleu's signature of BLEU, such as ``nrefs:1|case:mixed|eff:no|tok:13a|…``."""
    return _signature("BLEU")


def chrf_signature() -> str:
    """Return sacrebleu's signature of chrF."""
    return _signature("CHRF")


@cache
def _metric(name: str) -> Any:
    import sacrebleu.metrics

    # `force` suppresses the remark about texts that look tokenized, which a bad model may well write.
    options = {"BLEU": {"force": True}, "CHRF": {}}[name]
    return getattr(sacrebleu.metrics, name)(**options)


def _sums(metric: Any, translations: Sequence[str], references: Sequence[str]) -> list[list[int]]:
    # The public functions return scores of whole corpora only, and the score of a corpus is not a mean over sentences.
    found: list[list[int]] = metric._extract_corpus_statistics(list(translations), [list(references)])
    return found


def _score(metric: Any, sums: Sequence[float]) -> float:
    return float(metric._compute_score_from_stats([round(one) for one in sums]).score)


def _signature(name: str) -> str:
    metric = _metric(name)
    _sums(metric, ["a"], ["a"])  # which counts the references
    return str(metric.get_signature())
