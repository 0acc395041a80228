"""Nodes and constants of a part of an ONNX graph, written one operator a call."""

from __future__ import annotations

from typing import Any

import numpy as np

from mambaseg_core.engines.packages import need

Value = str
"""Name of a value in the graph."""


class Constants:
    """Constants that several parts of a graph share: an array is stored once, whoever asks for it.

    Attributes:
        tensors: TensorProtos to add to the graph's initializers.
    """

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self._names: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    def add(self, array: Any) -> Value:
        """Return the name of a constant with this content."""
        array = np.ascontiguousarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._names:
            self._names[key] = f"scan_constant_{len(self._names)}"
            self.tensors.append(need("onnx.numpy_helper").from_array(array, self._names[key]))
        return self._names[key]


class Emitter:
    """Writes nodes whose names begin with `prefix`; each method returns the name of its result.

    Attributes:
        nodes: NodeProtos in the order of their computation.
        softplus_operator: Whether softplus is one operator; else it is written out.
    """

    def __init__(self, prefix: str, constants: Constants, *, softplus_operator: bool = True) -> None:
        self.nodes: list[Any] = []
        self.softplus_operator = softplus_operator
        self._prefix = prefix
        self._constants = constants
        self._helper = need("onnx.helper")

    def constant(self, array: Any) -> Value:
        """Return a constant."""
        return self._constants.add(array)

    def node(self, op: str, *inputs: Value, **attributes: Any) -> Value:
        """Return the one result of an operator."""
        return self.split_node(op, 1, *inputs, **attributes)[0]

    def split_node(self, op: str, count: int, *inputs: Value, **attributes: Any) -> list[Value]:
        """Return the `count` results of an operator."""
        name = f"{self._prefix}/{len(self.nodes)}_{op}"
        outputs = [name] if count == 1 else [f"{name}_{i}" for i in range(count)]
        self.nodes.append(self._helper.make_node(op, list(inputs), outputs, name=name, **attributes))
        return outputs

    def name_result(self, value: Value, name: Value) -> None:
        """Give the result of the last node another name."""
        assert list(self.nodes[-1].output) == [value]
        self.nodes[-1].output[0] = name

    def zeros(self, *shape: int) -> Value:
        """Return float32 zeros, which are not stored."""
        return self.node("ConstantOfShape", self.constant(np.array(shape, np.int64)))

    def reshape(self, value: Value, *shape: int) -> Value:
        """Return a value in another shape; one axis may be -1."""
        return self.node("Reshape", value, self.constant(np.array(shape, np.int64)))

    def transpose(self, value: Value, *axes: int) -> Value:
        """Return a value with its axes in another order."""
        return self.node("Transpose", value, perm=list(axes))

    def gather_rows(self, value: Value, places: Any) -> Value:
        """Return rows [*places.shape, C] of a value [rows, C]."""
        return self.node("Gather", value, self.constant(places), axis=0)

    def sum(self, value: Value, axis: int, *, keep: bool) -> Value:
        """Return the sum over an axis."""
        return self.node("ReduceSum", value, self.constant(np.array([axis], np.int64)), keepdims=int(keep))

    def split(self, value: Value, axis: int, sizes: list[int]) -> list[Value]:
        """Return the parts of a value along an axis."""
        if len(sizes) == 1:
            return [value]
        return self.split_node("Split", len(sizes), value, self.constant(np.array(sizes, np.int64)), axis=axis)

    def softplus(self, value: Value) -> Value:
        """Return log(1 + exp(value)), which never overflows.

        Written out it is max(x, 0) + log(1 + e) with e = exp(-|x|). What the sum rounds away of a small e is added
        again, so that the result is exact to its last bits however small it is. The sum is a difference, 1 - (-e), as
        OpenVINO would put its own softplus in place of log(1 + e): that is wrong by 2e-6 whatever the result.
        """
        if self.softplus_operator:
            return self.node("Softplus", value)
        one = self.constant(np.float32(1))
        minus_e = self.node("Neg", self.node("Exp", self.node("Neg", self.node("Abs", value))))
        whole = self.node("Sub", one, minus_e)
        lost = self.node("Sub", self.node("Sub", one, whole), minus_e)
        return self.node("Add", self.node("Relu", value), self.node("Add", self.node("Log", whole), lost))
