"""Writing ONNX nodes: fresh names, constants and a few idioms."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper


class Writer:
    """Collects the nodes and initializers of one graph.

    Args:
        outer: The writer of the enclosing graph, for the body of a Scan; names are then unique in both, and constants
            are kept outside.
    """

    def __init__(self, outer: Writer | None = None) -> None:
        self.nodes: list[NodeProto] = []
        self._outer = outer
        self.initializers: list[TensorProto] = [] if outer is None else outer.initializers
        self._counter: list[int] = [0] if outer is None else outer._counter
        self._constants: dict[tuple[Any, ...], str] = {} if outer is None else outer._constants

    def name(self, stem: str) -> str:
        """Return a name that no other value has."""
        self._counter[0] += 1
        return f"{stem.lower()}_{self._counter[0]}"

    def info(self, name: str, dtype: int = TensorProto.FLOAT) -> ValueInfoProto:
        """Describe an input or output of the body of a Scan, of any shape."""
        return helper.make_tensor_value_info(name, dtype, None)

    def constant(self, array: np.ndarray) -> str:
        """Return the name of an initializer; equal ones are stored once."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.name("constant")
            self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), self._constants[key]))
        return self._constants[key]

    def scalar(self, value: float, like: type[np.generic] = np.float32) -> str:
        """Return the name of a constant without dimensions."""
        return self.constant(np.array(value, like))

    def add(self, node_type: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """Append a node."""
        self.nodes.append(helper.make_node(node_type, inputs, outputs, **attributes))

    def op(self, node_type: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> str:
        """Append a node and return the name of its (first) output."""
        names = outputs or [self.name(node_type)]
        self.add(node_type, inputs, names, **attributes)
        return names[0]

    def size(self, x: str, axis: int) -> str:
        """Return the size of an axis as an int64 vector of one element."""
        return self.op("Shape", [x], start=axis, end=axis + 1)

    def ones(self, shape: str) -> str:
        """Return float32 ones of a shape."""
        return self.op("ConstantOfShape", [shape], value=helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0]))

    def zeros(self, shape: str) -> str:
        """Return float32 zeros of a shape."""
        return self.op("ConstantOfShape", [shape], value=helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0]))

    def shape(self, *sizes: str | int) -> str:
        """Return a shape from names of one-element vectors and numbers."""
        parts = [size if isinstance(size, str) else self.constant(np.array([size])) for size in sizes]
        return self.op("Concat", parts, axis=0)

    def reshape(self, x: str, *sizes: str | int) -> str:
        """Return x in another shape; -1 is inferred."""
        if all(isinstance(size, int) for size in sizes):
            return self.op("Reshape", [x, self.constant(np.array(sizes, np.int64))])
        return self.op("Reshape", [x, self.shape(*sizes)])

    def take(self, x: str, index: int) -> str:
        """Return x[index], without its first axis; -1 is the last."""
        return self.op("Gather", [x, self.constant(np.array(index))], axis=0)

    def slice(self, x: str, start: str | int, end: str | int, axis: int, step: int = 1) -> str:
        """Return a slice of one axis."""
        bounds = [b if isinstance(b, str) else self.constant(np.array([b])) for b in (start, end)]
        return self.op("Slice", [x, *bounds, self.constant(np.array([axis])), self.constant(np.array([step]))])

    def reverse(self, x: str) -> str:
        """Return x with its first axis reversed."""
        return self.slice(x, -1, np.iinfo(np.int64).min, 0, -1)

    def stack(self, tensors: list[str], output: str) -> None:
        """Write tensors under a new first axis as ``output``."""
        axis = self.constant(np.array([0]))
        if len(tensors) == 1:
            self.add("Unsqueeze", [tensors[0], axis], [output])
        else:
            self.add("Concat", [self.op("Unsqueeze", [tensor, axis]) for tensor in tensors], [output], axis=0)
