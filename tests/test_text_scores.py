"""BLEU and chrF: sums over sentences give the score that sacrebleu gives the corpus."""

from __future__ import annotations

import random

import pytest
from parallel_text import pairs

from momentum_cli.metrics import METRICS, signatures
from momentum_cli.text_scores import BLEU_SUMS, CHRF_SUMS, bleu, bleu_sums, chrf, chrf_sums

sacrebleu = pytest.importorskip("sacrebleu")


def corpus(count: int = 40) -> tuple[list[str], list[str]]:
    """References, and translations with some words left out, doubled or exchanged."""
    draw, references = random.Random(0), [target for _, target in pairs(count, 5)]
    written = []
    for line in references:
        words = line.split()
        place = draw.randrange(len(words))
        words = [*words[:place], *draw.choice([[], words[place : place + 1] * 2, ["Haus"]]), *words[place + 1 :]]
        written.append(" ".join(words))
    return written, references


def added(rows: list[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def test_added_sums_give_the_score_of_the_corpus() -> None:
    written, references = corpus()
    wanted = sacrebleu.metrics.BLEU().corpus_score(written, [references]).score
    assert 20 < wanted < 95
    assert bleu(added(bleu_sums(written, references))) == pytest.approx(wanted, rel=1e-12)
    wanted = sacrebleu.metrics.CHRF().corpus_score(written, [references]).score
    assert chrf(added(chrf_sums(written, references))) == pytest.approx(wanted, rel=1e-12)


def test_the_sums_have_the_names_of_their_order() -> None:
    sums = dict(zip(BLEU_SUMS, bleu_sums(["a b c d e"], ["a b c x e f"])[0], strict=True))
    assert (sums["bleu_words"], sums["bleu_reference_words"]) == (5, 6)
    assert [sums[f"bleu_matches_{n}"] for n in range(1, 5)] == [4, 2, 1, 0]
    assert [sums[f"bleu_ngrams_{n}"] for n in range(1, 5)] == [5, 4, 3, 2]
    sums = dict(zip(CHRF_SUMS, chrf_sums(["abc"], ["abd"])[0], strict=True))
    assert [sums[f"chrf_{what}_2"] for what in ("ngrams", "reference_ngrams", "matches")] == [2, 2, 1]


def test_perfect_and_empty_translations() -> None:
    _, references = corpus()
    assert bleu(added(bleu_sums(references, references))) == pytest.approx(100)
    assert chrf(added(chrf_sums(references, references))) == pytest.approx(100)
    assert bleu(added(bleu_sums([""], ["Ein Satz."]))) == 0
    assert chrf(added(chrf_sums([""], ["Ein Satz."]))) == 0


def test_case_counts_and_the_signature_says_so() -> None:
    assert bleu(added(bleu_sums(["ein satz ist das ."], ["Ein Satz ist das ."]))) < 100
    found = signatures(METRICS)
    assert found.keys() == {"bleu", "chrf"}
    assert found["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert found["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
