"""Parameter groups of an optimizer: parameters that a recipe may give a learning rate or other options of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from momentum_cli.layers.orthogonal_matrix import orthogonal_parameters

# What each group takes out of a model.
GROUPS: dict[str, Callable[[nn.Module], list[nn.Parameter]]] = {"orthogonal": orthogonal_parameters}


def parameter_groups(model: nn.Module, options: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the parameters of a model as groups for an optimizer.

    Args:
        model: Whose parameters are trained.
        options: Options of each group that has some of its own; a group that the model has no parameters for is left
            out, because one recipe serves every cell.

    Returns:
        First the parameters that belong to no named group, with the key ``params`` alone, then the groups in the order
        of ``options``, with ``params`` and their own options.
    """
    named = {name: GROUPS[name](model) for name in options}
    taken = {id(parameter) for parameters in named.values() for parameter in parameters}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
    groups: list[dict[str, Any]] = [{"params": rest}] if rest else []
    return groups + [{"params": named[name], **options[name]} for name in options if named[name]]


def unused_groups(model: nn.Module, options: Mapping[str, Any]) -> list[str]:
    """Return the names of groups for which the model has no parameters."""
    return [name for name in options if not GROUPS[name](model)]
