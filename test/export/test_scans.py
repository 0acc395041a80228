"""Each scan in standard operators, in ONNX Runtime, against the reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mambaseg_core.engines import openvino as openvino_engine
from mambaseg_core.export import digits, recursion
from mambaseg_core.export.lowering import lower
from mambaseg_core.export.symbols import DOMAIN, SIZE
from mambaseg_core.ops import reference

onnx = pytest.importorskip("onnx", reason="the export needs onnx")
runtime = pytest.importorskip("onnxruntime", reason="the files are run in ONNX Runtime")

BOUND = 2e-5  # of the largest value of the result
DECAYS = {"strong": (-16.0, 3.0), "weak": (-1e-3, -6.0), "mixed": (-4.0, 0.0)}
"""Least rate of a state, and the mean of the step size before softplus."""


def run(op: str, size: tuple[int, ...], values: dict[str, Tensor], weights: dict[str, Tensor], **how: Any) -> Any:
    """Return what ONNX Runtime computes for an operator, lowered, and the model."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    arrays = {name: weight.float().numpy() for name, weight in weights.items()}
    node = helper.make_node(op, [*values, *weights], ["y"], domain=DOMAIN, **{SIZE: size})
    graph = helper.make_graph(
        [node],
        op,
        [helper.make_tensor_value_info(name, kind, list(value.shape)) for name, value in values.items()],
        [helper.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    lower(model, **{"softplus_operator": False, **how})
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model, strict_mode=True), full_check=True)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.float().numpy() for name, value in values.items()})[0], model


def run_in_openvino(model: Any, values: dict[str, Tensor]) -> Any:
    pytest.importorskip("openvino", reason="needs openvino, which is not installed here: pip install openvino")
    return openvino_engine.load(model.SerializeToString()).run(
        {name: value.float().numpy() for name, value in values.items()}
    )["y"]


def weights_of(directions: int, channels: int, state: int, rank: int, decay: str) -> dict[str, Tensor]:
    least, mean = DECAYS[decay]
    groups = directions * channels
    return {
        "weight": torch.randn(directions, channels, rank, dtype=torch.float64),
        "bias": mean + torch.randn(directions, channels, dtype=torch.float64),
        "A": least * torch.rand(groups, state, dtype=torch.float64),
        "D": torch.randn(groups, dtype=torch.float64),
    }


def assert_close(got: Any, expected: Tensor) -> None:
    assert got.shape == tuple(expected.shape)
    assert np.abs(got - expected.numpy()).max() <= BOUND * float(expected.abs().max())


def rounded(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return values that float32 has, in float64."""
    return {name: tensor.float().double() for name, tensor in tensors.items()}


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("state", [1, 4, 16])
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 13, 11), (2, 7, 5), (1, 1, 3), (1, 31, 37)])
def test_ss2d(batch: int, height: int, width: int, state: int, decay: str) -> None:
    torch.manual_seed(state)
    channels, rank = 6, 3
    weights = rounded(weights_of(4, channels, state, rank, decay))
    values = rounded(
        {
            "x": torch.randn(batch, height, width, channels, dtype=torch.float64),
            "proj": torch.randn(batch, height, width, 4, rank + 2 * state, dtype=torch.float64),
        }
    )
    expected = reference.ss2d_projected(*values.values(), *weights.values())
    got, model = run("ss2d", (batch, height, width, channels), values, weights)
    assert_close(got, expected)
    assert {node.op_type for node in model.graph.node}.isdisjoint({"Scan", "Loop", "If", "CumSum", "Div"})


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("state", [1, 4, 16])
@pytest.mark.parametrize(("batch", "length"), [(1, 97), (3, 16), (2, 1), (1, 1536)])
def test_bidirectional_scan(batch: int, length: int, state: int, decay: str) -> None:
    torch.manual_seed(state)
    channels, rank = 5, 2
    weights = rounded(weights_of(2, channels, state, rank, decay))
    values = rounded(
        {
            "x": torch.randn(batch, channels, length, dtype=torch.float64),
            "proj": torch.randn(batch, 2, rank + 2 * state, length, dtype=torch.float64),
        }
    )
    expected = reference.bidirectional_scan_projected(*values.values(), *weights.values())
    assert_close(run("bidirectional_scan", (batch, channels, length), values, weights)[0], expected)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("state", [1, 4, 16])
@pytest.mark.parametrize(("batch", "directions", "length"), [(1, 1, 85), (2, 2, 33), (1, 4, 10), (1, 1, 2401)])
def test_selective_scan(batch: int, directions: int, length: int, state: int, decay: str) -> None:
    torch.manual_seed(state)
    channels, least, mean = 3, *DECAYS[decay]
    groups = directions * channels
    values = rounded(
        {
            "u": torch.randn(batch, groups, length, dtype=torch.float64),
            "delta": torch.randn(batch, groups, length, dtype=torch.float64),
            "B": torch.randn(batch, directions, state, length, dtype=torch.float64),
            "C": torch.randn(batch, directions, state, length, dtype=torch.float64),
        }
    )
    weights = rounded(
        {
            "A": least * torch.rand(groups, state, dtype=torch.float64),
            "D": torch.randn(groups, dtype=torch.float64),
            "bias": mean + torch.randn(groups, dtype=torch.float64),
        }
    )
    u, delta, B, C = values.values()
    A, D, bias = weights.values()
    expected = reference.selective_scan(u, delta, A, B, C, D, bias, delta_softplus=True)
    assert_close(run("selective_scan", (batch, directions, channels, length), values, weights)[0], expected)


def test_states_are_computed_in_groups_where_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    weights = rounded(weights_of(4, 3, 5, 2, "mixed"))
    values = rounded({"x": torch.randn(1, 9, 9, 3).double(), "proj": torch.randn(1, 9, 9, 4, 12).double()})
    expected = reference.ss2d_projected(*values.values(), *weights.values())
    whole, model = run("ss2d", (1, 9, 9, 3), values, weights)
    monkeypatch.setattr(recursion, "LARGEST_BYTES", 5_000)
    parts, larger = run("ss2d", (1, 9, 9, 3), values, weights)
    assert len(larger.graph.node) > 2 * len(model.graph.node)
    assert_close(whole, expected)
    assert_close(parts, expected)


def test_both_forms_of_softplus_survive_any_step_size() -> None:
    torch.manual_seed(0)
    weights = rounded(weights_of(2, 2, 4, 1, "mixed"))
    weights["bias"] = torch.tensor([[-300.0, 300.0], [-20.0, 20.0]], dtype=torch.float64)
    values = rounded({"x": torch.randn(1, 2, 40).double(), "proj": torch.randn(1, 2, 9, 40).double()})
    expected = reference.bidirectional_scan_projected(*values.values(), *weights.values())
    for operator in (False, True):
        got, model = run("bidirectional_scan", (1, 2, 40), values, weights, softplus_operator=operator)
        assert ("Softplus" in {node.op_type for node in model.graph.node}) == operator
        assert_close(got, expected)


@pytest.mark.parametrize("decay", DECAYS)
def test_openvino_is_as_exact_where_steps_are_small(decay: str) -> None:
    """Its own softplus is wrong by 2e-6, whatever the step, and it puts that where it finds log(1 + exp(x))."""
    torch.manual_seed(0)
    weights = weights_of(4, 6, 4, 3, decay)
    weights["bias"] -= 6
    weights = rounded(weights)
    values = rounded({"x": torch.randn(1, 31, 37, 6).double(), "proj": 0.1 * torch.randn(1, 31, 37, 4, 11).double()})
    weights["D"] = torch.zeros_like(weights["D"])  # the result is that of the states alone
    expected = reference.ss2d_projected(*values.values(), *weights.values())
    got, model = run("ss2d", (1, 31, 37, 6), values, weights)
    assert_close(got, expected)
    assert_close(run_in_openvino(model, values), expected)


@pytest.mark.parametrize("length", [1, 2, 9, 10, 97, 300, 1200, 4800, 17600, 19200])
def test_digits_hold_the_length_with_little_padding(length: int) -> None:
    chosen = digits.choose_digits(length)
    assert length <= np.prod(chosen) <= 1.12 * length + 1
    assert sum(chosen) <= 42
    order, places = digits.step_order(length, chosen), digits.step_places(length, chosen)
    assert (order[places] == np.arange(length)).all()


def test_a_scan_has_few_nodes_and_no_tensor_of_more_than_six_dimensions() -> None:
    weights = weights_of(4, 32, 1, 2, "mixed")
    values = {"x": torch.randn(1, 60, 80, 32), "proj": torch.randn(1, 60, 80, 4, 4)}
    _, model = run("ss2d", (1, 60, 80, 32), values, weights, softplus_operator=True)
    assert len(model.graph.node) <= 155
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    dims = [len(value.type.tensor_type.shape.dim) for value in inferred.graph.value_info]
    assert len(dims) >= len(model.graph.node) - 1
    assert max(dims) <= 6
