"""How the processes that torchrun started find each other, also after a restart.

torchrun's first agent keeps one store for all attempts of a training, and torch writes the addresses of the processes
under the same keys in each. A process that starts again may so read the address of one that was killed, and waits for
it in vain. Nothing in the environment tells attempts apart, because every agent counts only its own restarts. So the
processes of an attempt first agree on a name that no earlier attempt had, and put all keys under it.

Reference: github.com/pytorch/pytorch/issues/135712 and 167288, the same with NCCL.
"""

from __future__ import annotations

import atexit
import os
import time
import uuid
from typing import TYPE_CHECKING

import torch
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from momentum_cli.errors import RunError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# torchrun starts the processes of an attempt together; this is also how long its agents wait for each other.
LONGEST_SECONDS = 600.0
_POLL_SECONDS = 0.05


def connect(fabric: Fabric) -> None:
    """Make the process group of a training before `Fabric.launch`, if torchrun's agents keep the store.

    Otherwise the first process makes a store for each attempt, and Fabric connects to it.

    Raises:
        RunError: Not all processes arrive.
    """
    if fabric.world_size == 1 or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    distributed, device = torch.distributed, fabric.device
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    own = PrefixStore(meet(store, rank, processes), store)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        distributed.init_process_group("nccl", store=own, rank=rank, world_size=processes, device_id=device)
        # torch warns about a group of NCCL that is left at the end.
        atexit.register(distributed.destroy_process_group)
    else:
        distributed.init_process_group("gloo", store=own, rank=rank, world_size=processes)


def meet(store: Store, rank: int, processes: int, longest_seconds: float = LONGEST_SECONDS) -> str:
    """Return a new name on which all live processes agree, whatever earlier attempts left in the store.

    Every process but the first writes a word that only it knows. The first answers each word that it finds with the
    name, those of dead processes too, until all others have taken it. Nothing waits outside Python, where a signal
    would not be noticed.

    Args:
        store: Store of all attempts.
        rank: Rank of this process, in [0, processes).
        processes: Number of processes, >= 1.
        longest_seconds: Time limit.

    Raises:
        RunError: Not all processes arrive in time.
    """
    end = time.monotonic() + longest_seconds
    own = uuid.uuid4().hex
    if rank > 0:
        store.set(f"here/{rank}", own)
        while not store.check([f"name/{own}"]):
            _wait(end, "the first process of this training", longest_seconds)
        name: str = store.get(f"name/{own}").decode()
        store.add(f"taken/{name}", 1)
        return name
    answered: dict[int, bytes] = {}
    while (taken := store.add(f"taken/{own}", 0)) < processes - 1:
        for other in range(1, processes):
            if store.check([f"here/{other}"]) and (word := store.get(f"here/{other}")) != answered.get(other):
                store.set(f"name/{word.decode()}", own)
                answered[other] = word
        _wait(end, f"{processes - 1 - taken} of the {processes} processes of this training", longest_seconds)
    return own


def _wait(end: float, missing: str, longest_seconds: float) -> None:
    if time.monotonic() > end:
        raise RunError(
            f"{missing} did not arrive within {longest_seconds:g} seconds; see the errors of the other processes, then "
            "start the training again"
        )
    time.sleep(_POLL_SECONDS)
