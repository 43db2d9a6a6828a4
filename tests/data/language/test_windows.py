"""Windows of a text: streams, lengths that are drawn, and evaluations that score every token once."""

from __future__ import annotations

import pytest
import torch

from momentum_cli.data import NOT_SCORED
from momentum_cli.data.language.text import TokenText
from momentum_cli.data.language.windows import WindowGroups
from momentum_cli.errors import DataError


def text(n: int = 103) -> TokenText:
    return TokenText(torch.arange(n, dtype=torch.int16), n)


def test_windows_read_the_streams_side_by_side_once() -> None:
    data = text()
    groups = WindowGroups(len(data), streams=4, length=10, variable=False, seed=0)
    assert groups.steps == 3
    windows = [data.batch(groups.group(0, step)) for step in range(groups.steps)]
    inputs, targets = (torch.cat([getattr(w, name) for w in windows], 1) for name in ("inputs", "targets"))
    # 102 predictions, 25 a stream, two left out
    assert torch.equal(inputs, torch.arange(100).view(4, 25))
    assert torch.equal(targets, inputs + 1)
    assert [groups.rate(0, step) for step in range(3)] == [1.0] * 3


def test_variable_windows_cover_the_text_and_the_rate_follows_their_length() -> None:
    data = text(20_001)
    groups = WindowGroups(len(data), streams=2, length=50, variable=True, seed=1)
    lengths = []
    for epoch in range(2):
        windows = [groups.group(epoch, step) for step in range(groups.steps)]
        assert torch.equal(torch.cat(windows, 1), torch.arange(20_000).view(2, -1))
        lengths.append([window.shape[1] for window in windows])
        assert [groups.rate(epoch, step) for step in range(groups.steps)] == [n / 50 for n in lengths[-1]]
    assert lengths[0] != lengths[1]
    assert lengths[0] == [
        WindowGroups(len(data), 2, 50, True, 1).group(0, step).shape[1] for step in range(groups.steps)
    ]
    both = torch.tensor(lengths[0] + lengths[1]).double()
    long = both[both > 37]
    assert 0.01 < 1 - len(long) / len(both) < 0.12
    assert long.mean() == pytest.approx(50, abs=1.5)
    assert long.std() == pytest.approx(5, abs=1.2)


def test_a_text_shorter_than_its_streams_is_refused() -> None:
    with pytest.raises(DataError, match=r"too few for 8 parallel streams.*train\.batch_size"):
        WindowGroups(len(text(8)), 8, 5, False, 0)


@pytest.mark.parametrize("streams", [1, 3, 8, 500])
def test_an_evaluation_scores_every_token_once(streams: int) -> None:
    data = text()
    targets = torch.cat([data.batch(group).targets.flatten() for group in data.evaluation_groups(streams)])
    scored = targets[targets != NOT_SCORED]
    assert sorted(scored.tolist()) == list(range(1, 103))


def test_windows_that_are_not_given_are_refused() -> None:
    with pytest.raises(ValueError, match="`windows` must be given, to cut the text, got none"):
        text().training_groups(4, seed=0)
