"""A function of tensors as ONNX nodes: the decay of a filter or the step of a recurrence, including a user's.

The function is traced to ATen operations, whose few hundred overloads become a few dozen operations here. Values that
do not depend on an input are computed during translation and become constants.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor
from torch.fx import Interpreter
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves, tree_map_only

from momentum_cli.errors import RecipeError
from momentum_cli.formats.onnx.writer import Writer

TYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.float64: TensorProto.DOUBLE,
    torch.int64: TensorProto.INT64,
    torch.bool: TensorProto.BOOL,
}
_aten = torch.ops.aten


class Value(NamedTuple):
    """A value of the graph: its name, and its value for the example inputs."""

    name: str
    example: Tensor


def write_function(
    w: Writer, what: str, function: Callable[..., list[Tensor]], names: list[str], examples: list[Tensor]
) -> list[str]:
    """Write a function that is correct at any batch size.

    Args:
        w: Receives the nodes.
        what: The function, for messages.
        function: Takes as many tensors as there are names.
        names: Names of the inputs in the graph.
        examples: A tensor like each input, with a batch size other than 1.

    Returns:
        Names of the results.

    Raises:
        RecipeError: An operation of the function has no ONNX form here, or the function cannot be traced.
    """
    rules: Any = torch.export.default_decompositions()
    table = {op: rule for op, rule in rules.items() if op not in _WRITERS}
    try:
        graph = make_fx(function, decomposition_table=table)(*examples)
    except Exception as error:  # the function may raise anything while it is traced
        raise RecipeError(f"--format onnx: {what} cannot be traced ({error}); {_INSTEAD}") from error
    written = _Translator(graph, w, what).run(*(Value(n, e) for n, e in zip(names, examples, strict=True)))
    return [value.name if isinstance(value, Value) else w.constant(value.numpy()) for value in written]


_INSTEAD = "export it as pt2 or safetensors"


class _Translator(Interpreter):
    """Runs a traced graph on constants and `Value`s, and writes the operations on `Value`s."""

    def __init__(self, graph: torch.fx.GraphModule, w: Writer, what: str) -> None:
        super().__init__(graph)
        self.w = w
        self.what = what
        self.extra_traceback = False  # messages are for the author of the function

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Write one operation, or compute it if all its inputs are constants."""
        if not any(isinstance(leaf, Value) for leaf in tree_leaves((args, kwargs), is_leaf=_is_value)):
            return super().call_function(target, args, kwargs)
        if target is operator.getitem:
            return args[0][args[1]]
        if target not in _WRITERS:
            raise RecipeError(f"--format onnx: {self.what} uses {target}, which has no ONNX form here; {_INSTEAD}")
        plain = tree_map_only(Value, lambda value: value.example, (args, kwargs), is_leaf=_is_value)
        example = target(*plain[0], **plain[1])
        written = _WRITERS[target](self.w, example, *args, **kwargs)
        if isinstance(written, list):
            return [Value(name, one) for name, one in zip(written, example, strict=True)]
        return Value(written, example)


def _is_value(leaf: Any) -> bool:
    return isinstance(leaf, Value)


def _operand(w: Writer, x: Any, dtype: torch.dtype) -> str:
    """Return the name of an operand converted to a dtype: a value of the graph, a constant or a number."""
    if isinstance(x, Value):
        return x.name if x.example.dtype == dtype else w.op("Cast", [x.name], to=TYPES[dtype])
    constant = x.to(dtype) if isinstance(x, Tensor) else torch.tensor(x, dtype=dtype)
    return w.constant(constant.detach().numpy())


def _common(a: Any, b: Any) -> torch.dtype:
    one, two = (x.example if isinstance(x, Value) else x for x in (a, b))
    return torch.result_type(one, two)


Write = Callable[..., Any]


def _elementwise(op_type: str) -> Write:
    """Return the writer of an operation on one or two operands in the dtype of the result."""

    def write(w: Writer, result: Tensor, *operands: Any, alpha: float = 1) -> str:
        names = [_operand(w, x, result.dtype) for x in operands]
        if alpha != 1:
            names[1] = w.op("Mul", [names[1], _operand(w, alpha, result.dtype)])
        return w.op(op_type, names)

    return write


def _compare(op_type: str, opposite: bool = False) -> Write:
    def write(w: Writer, result: Tensor, a: Any, b: Any) -> str:
        dtype = _common(a, b)
        found = w.op(op_type, [_operand(w, a, dtype), _operand(w, b, dtype)])
        return w.op("Not", [found]) if opposite else found

    return write


def _remainder(w: Writer, result: Tensor, a: Any, b: Any) -> str:
    """Write the remainder with the sign of b, as in Python; that of ONNX for real numbers has the sign of a."""
    a, b = (_operand(w, x, result.dtype) for x in (a, b))
    if not result.dtype.is_floating_point:
        return w.op("Mod", [a, b])
    rest = w.op("Mod", [a, b], fmod=1)
    other = w.op("Less", [w.op("Mul", [rest, b]), _operand(w, 0, result.dtype)])
    return w.op("Where", [other, w.op("Add", [rest, b]), rest])


def _divide(w: Writer, result: Tensor, a: Any, b: Any, rounding_mode: str | None = None) -> str:
    quotient = w.op("Div", [_operand(w, x, result.dtype) for x in (a, b)])
    if rounding_mode is None or not result.dtype.is_floating_point:
        return quotient
    if rounding_mode == "floor":
        return w.op("Floor", [quotient])
    return w.op("Mul", [w.op("Sign", [quotient]), w.op("Floor", [w.op("Abs", [quotient])])])


def _where(w: Writer, result: Tensor, condition: Any, a: Any, b: Any) -> str:
    return w.op("Where", [_operand(w, condition, torch.bool), *(_operand(w, x, result.dtype) for x in (a, b))])


def _clamp(w: Writer, result: Tensor, x: Any, low: Any = None, high: Any = None) -> str:
    name = _operand(w, x, result.dtype)
    if low is not None:
        name = w.op("Max", [name, _operand(w, low, result.dtype)])
    return name if high is None else w.op("Min", [name, _operand(w, high, result.dtype)])


def _log1p(w: Writer, result: Tensor, x: Any) -> str:
    return w.op("Log", [w.op("Add", [_operand(w, x, result.dtype), _operand(w, 1, result.dtype)])])


def _lerp(w: Writer, result: Tensor, start: Any, end: Any, weight: Any) -> str:
    start, end, weight = (_operand(w, x, result.dtype) for x in (start, end, weight))
    return w.op("Add", [start, w.op("Mul", [weight, w.op("Sub", [end, start])])])


def _full(w: Writer, result: Tensor, x: Value, value: float | None = None, **_: Any) -> str:
    assert value is not None
    return w.op("Expand", [_operand(w, value, result.dtype), w.op("Shape", [x.name])])


def _addmm(w: Writer, result: Tensor, bias: Any, a: Any, b: Any) -> str:
    return w.op("Gemm", [_operand(w, x, result.dtype) for x in (a, b, bias)])


def _split(w: Writer, result: list[Tensor], x: Value, size: Any, dim: int = 0) -> list[str]:
    names = [w.name("part") for _ in result]
    widths = w.constant(np.array([one.shape[dim] for one in result]))
    w.add("Split", [x.name, widths], names, axis=dim % x.example.dim())
    return names


def _slice(w: Writer, result: Tensor, x: Value, dim: int = 0, start: Any = 0, end: Any = None, step: int = 1) -> str:
    largest = np.iinfo(np.int64).max
    return w.slice(x.name, start or 0, largest if end is None else min(end, largest), dim % x.example.dim(), step)


def _cat(w: Writer, result: Tensor, tensors: list[Any], dim: int = 0) -> str:
    return w.op("Concat", [_operand(w, x, result.dtype) for x in tensors], axis=dim % result.dim())


def _permute(w: Writer, result: Tensor, x: Value, order: list[int]) -> str:
    return w.op("Transpose", [x.name], perm=[axis % x.example.dim() for axis in order])


def _axis(op_type: str) -> Write:
    def write(w: Writer, result: Tensor, x: Value, dim: int) -> str:
        rank = x.example.dim() + (1 if op_type == "Unsqueeze" else 0)
        return w.op(op_type, [x.name, w.constant(np.array([dim % rank]))])

    return write


def _cast(w: Writer, result: Tensor, x: Value, *_: Any, **__: Any) -> str:
    return _operand(w, x, result.dtype)


_UNARY = "abs ceil cos cosh erf exp floor log neg reciprocal relu round sigmoid sign sin sinh sqrt tan tanh"
_WRITERS: dict[Any, Write] = {
    **{getattr(_aten, name).default: _elementwise(name.capitalize()) for name in _UNARY.split()},
    **{
        getattr(getattr(_aten, name), overload): _elementwise(op_type)
        for name, op_type in (("add", "Add"), ("sub", "Sub"), ("mul", "Mul"))
        for overload in ("Tensor", "Scalar")
    },
    **{
        getattr(getattr(_aten, name), overload): _compare(op_type, opposite)
        for name, op_type, opposite in (
            ("eq", "Equal", False),
            ("ne", "Equal", True),
            ("lt", "Less", False),
            ("le", "LessOrEqual", False),
            ("gt", "Greater", False),
            ("ge", "GreaterOrEqual", False),
        )
        for overload in ("Tensor", "Scalar")
    },
    **{getattr(_aten.pow, overload): _elementwise("Pow") for overload in ("Tensor_Tensor", "Tensor_Scalar", "Scalar")},
    **{getattr(_aten.remainder, overload): _remainder for overload in ("Tensor", "Scalar")},
    **{getattr(_aten.div, name): _divide for name in ("Tensor", "Scalar", "Tensor_mode", "Scalar_mode")},
    _aten.maximum.default: _elementwise("Max"),
    _aten.minimum.default: _elementwise("Min"),
    _aten.logical_and.default: _elementwise("And"),
    _aten.logical_or.default: _elementwise("Or"),
    _aten.logical_not.default: _elementwise("Not"),
    _aten.bitwise_and.Tensor: _elementwise("And"),
    _aten.bitwise_or.Tensor: _elementwise("Or"),
    _aten.bitwise_not.default: _elementwise("Not"),
    _aten.where.self: _where,
    _aten.clamp.default: _clamp,
    _aten.hardtanh.default: lambda w, result, x, low=-1.0, high=1.0: _clamp(w, result, x, low, high),
    _aten.log1p.default: _log1p,
    _aten.lerp.Tensor: _lerp,
    _aten.lerp.Scalar: _lerp,
    _aten.full_like.default: _full,
    _aten.zeros_like.default: lambda w, result, x, **_: _full(w, result, x, 0.0),
    _aten.ones_like.default: lambda w, result, x, **_: _full(w, result, x, 1.0),
    _aten.addmm.default: _addmm,
    _aten.mm.default: _elementwise("MatMul"),
    _aten.split.Tensor: _split,
    _aten.split_with_sizes.default: _split,
    _aten.slice.Tensor: _slice,
    _aten.cat.default: _cat,
    _aten.t.default: lambda w, result, x: _permute(w, result, x, [1, 0]),
    _aten.permute.default: _permute,
    _aten.unsqueeze.default: _axis("Unsqueeze"),
    _aten.squeeze.dim: _axis("Squeeze"),
    _aten._to_copy.default: _cast,
    _aten.clone.default: _cast,
    _aten.detach.default: _cast,
    _aten.alias.default: _cast,
}
