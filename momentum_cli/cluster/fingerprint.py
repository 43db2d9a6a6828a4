"""A digest that tells data on one machine from other data on another one."""

from __future__ import annotations

import hashlib
import json

import torch

from momentum_cli.data import Dataset
from momentum_cli.training.trained import describe

# A sample of the sequences is enough to tell other data from these, and quick for large ones.
_SAMPLED = 64


def fingerprint(dataset: Dataset) -> str:
    """Return a digest of a data set: its description, sizes, and a sample of the sequences of each split."""
    digest = hashlib.sha256(json.dumps(describe(dataset), sort_keys=True, default=str).encode())
    for name in ("train", "validation", "test"):
        split = getattr(dataset, name)
        if split is None:
            continue
        digest.update(f"{name} {len(split)} {split.longest}".encode())
        index = torch.linspace(0, len(split) - 1, min(len(split), _SAMPLED)).long()
        batch = split.batch(index)
        for tensor in (batch.inputs, batch.targets, batch.lengths):
            if tensor is not None:
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
