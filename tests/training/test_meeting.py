"""The name under which the processes of one attempt meet in a store that all attempts share."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from momentum_cli.errors import RunError
from momentum_cli.training.meeting import meet


def attempt(store: HashStore, delays: list[float]) -> set[str]:
    """Let one process per delay arrive; return the names that they agree on."""

    def arrive(rank: int) -> str:
        time.sleep(delays[rank])
        return meet(store, rank, len(delays), 30.0)

    with ThreadPoolExecutor(len(delays)) as pool:
        return set(pool.map(arrive, range(len(delays))))


@pytest.mark.parametrize("delays", [[0.2, 0.0, 0.1], [0.0, 0.2, 0.1], [0.0, 0.0, 0.0]])
def test_every_attempt_agrees_on_a_new_name(delays: list[float]) -> None:
    store = HashStore()
    names = [attempt(store, delays) for _ in range(3)]
    assert [len(each) for each in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3


def test_what_a_dead_process_left_is_not_taken_for_a_live_one() -> None:
    store = HashStore()
    with pytest.raises(RunError, match=r"first process .* did not arrive within 0.1 seconds"):
        meet(store, 1, 3, 0.1)
    with pytest.raises(RunError, match="2 of the 3 processes of this training did not arrive"):
        meet(store, 0, 3, 0.1)
    assert len(attempt(store, [0.0, 0.3, 0.1])) == 1


def test_one_process_meets_nobody() -> None:
    assert meet(HashStore(), 0, 1, 0.0)
