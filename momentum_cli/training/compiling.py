"""The loss of a batch, compiled."""

from __future__ import annotations

import warnings

import torch

from momentum_cli.errors import RecipeError
from momentum_cli.messages import refuse
from momentum_cli.training.batch_loss import BatchLoss


def compile_loss(loss: BatchLoss, device: torch.device) -> None:
    """Compile forward and backward pass at the first batch, for batches of any size.

    Args:
        loss: The loss, compiled in place; its parameters keep their names.
        device: Device of the model.

    Raises:
        RecipeError: There is no C++ compiler, which the CPU needs.
    """
    if device.type == "cpu":
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            get_cpp_compiler()
        except InvalidCxxCompiler as error:
            remedy = "it needs a C++ compiler (g++ or clang++), and none was found"
            raise RecipeError(refuse("train.compile", True, "be false here", remedy)) from error
    # Tracing skips the caches of plain Python functions, which is harmless, but torch warns about it at length.
    warnings.filterwarnings("ignore", message="Dynamo detected a call to a `functools.lru_cache`")
    loss.compile(dynamic=True)
