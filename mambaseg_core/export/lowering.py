"""The pass over an exported graph that replaces each scan's symbol by standard operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from mambaseg_core.engines.packages import need
from mambaseg_core.export.emitter import Constants, Emitter
from mambaseg_core.export.scans import WRITERS
from mambaseg_core.export.symbols import DOMAIN, SIZE


def lower(model: Any, *, softplus_operator: bool) -> None:
    """Replace the scans of an ONNX model, in place.

    Args:
        model: A ModelProto whose symbols of scans have their weights as initializers.
        softplus_operator: As of `Emitter`.
    """
    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    constants, nodes, count = Constants(), [], 0
    for node in model.graph.node:
        if node.domain != DOMAIN:
            nodes.append(node)
            continue
        emit = Emitter(f"scan_{count}", constants, softplus_operator=softplus_operator)
        _write(emit, node, arrays)
        nodes += emit.nodes
        count += 1
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(constants.tensors)
    _drop_unused(model)


def _write(emit: Emitter, node: Any, arrays: dict[str, Any]) -> None:
    """Write the operators that a symbol stands for; the last has the symbol's result."""
    to_array = need("onnx.numpy_helper").to_array
    writer = WRITERS[node.op_type]
    values, names = node.input[: writer.values], node.input[writer.values :]
    weights = [np.asarray(to_array(arrays[name]), np.float32) for name in names]
    (size,) = (tuple(attribute.ints) for attribute in node.attribute if attribute.name == SIZE)
    emit.name_result(writer.write(emit, size, *values, *weights), node.output[0])


def _drop_unused(model: Any) -> None:
    """Remove what nothing reads any more: initializers, shapes of values, and our domain."""
    graph = model.graph
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    made = {name for node in graph.node for name in node.output}
    for field, keep in (
        (graph.initializer, [tensor for tensor in graph.initializer if tensor.name in used]),
        (graph.value_info, [value for value in graph.value_info if value.name in made]),
        (model.opset_import, [opset for opset in model.opset_import if opset.domain == ""]),
    ):
        kept = [type(item).FromString(item.SerializeToString()) for item in keep]
        del field[:]
        field.extend(kept)
