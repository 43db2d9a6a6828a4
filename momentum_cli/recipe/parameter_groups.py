"""Parameter groups of an optimizer: parameters for which a recipe can set their own learning rate or other options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from momentum_cli.layers.orthogonal_matrix import orthogonal_parameters

# The parameters of a model in each group.
GROUPS: dict[str, Callable[[nn.Module], list[nn.Parameter]]] = {"orthogonal": orthogonal_parameters}


def parameter_groups(model: nn.Module, options: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the parameters of a model as groups for an optimizer.

    Args:
        model: The model to train.
        options: Options by group; a group without parameters in the model is left out, because one recipe serves every
            cell.

    Returns:
        First the parameters outside all named groups, with the key ``params`` only, then the groups in the order of
        ``options``, with ``params`` and their own options.
    """
    named = {name: GROUPS[name](model) for name in options}
    taken = {id(parameter) for parameters in named.values() for parameter in parameters}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
    groups: list[dict[str, Any]] = [{"params": rest}] if rest else []
    return groups + [{"params": named[name], **options[name]} for name in options if named[name]]


def unused_groups(model: nn.Module, options: Mapping[str, Any]) -> list[str]:
    """Return the names of groups without parameters in the model."""
    return [name for name in options if not GROUPS[name](model)]
