"""Whole files: small networks of every kind, in each form, checked by the engines and described for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import SIZE, small_network

from mambaseg_core.engines.open import ONNX
from mambaseg_core.export import agreement
from mambaseg_core.export.frames import street_frames
from mambaseg_core.export.network import ExportedNetwork, ExportForm
from mambaseg_core.export.onnx_file import export_onnx
from mambaseg_core.labels import DSEC_11

pytestmark = pytest.mark.usefixtures("engines")

FORBIDDEN = {"Scan", "Loop", "If", "CumSum"}
SCANS = {"mambaseg_ddd17": 12, "reliable": 8}


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("mambaseg_ddd17", ExportForm(outputs="mask", engine="tensorrt")),
        ("sigma_nano", ExportForm(batch=2)),
        ("rsgmamba_nano", ExportForm(inputs="second", outputs="mask")),
        ("reliable", ExportForm(inputs="image", half=True, engine="tensorrt")),
    ],
)
def test_each_kind_of_network_agrees_with_torch(kind: str, form: ExportForm, tmp_path: Path) -> None:
    import onnx

    model = small_network(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    written = export_onnx(model, tmp_path / "a.onnx", form, frames=3)
    (check,) = written.checks
    assert check.engine == "onnxruntime"
    assert check.pixels == (4 if form.batch == 2 else 3) * SIZE[0] * SIZE[1]
    assert check.same >= (0.995 if form.half else 1.0)
    assert check.largest <= (3e-2 if form.half else 1e-5)
    proto = onnx.load(written.path)
    assert {opset.domain: opset.version for opset in proto.opset_import} == {"": 20}
    assert {node.op_type for node in proto.graph.node}.isdisjoint(FORBIDDEN)
    assert {node.domain for node in proto.graph.node} == {""}
    assert [value.name for value in proto.graph.input] == list(form.input_names)
    assert [value.name for value in proto.graph.output] == list(form.output_names)
    dims = [len(value.type.tensor_type.shape.dim) for value in proto.graph.value_info]
    assert max(dims) <= 6
    assert len(dims) >= 0.9 * len(proto.graph.node)
    halves = {tensor.data_type for tensor in proto.graph.initializer if tensor.name.startswith("model.")}
    assert (onnx.TensorProto.FLOAT16 in halves) == form.half
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert ("Softplus" in {node.op_type for node in proto.graph.node}) == (form.engine == "tensorrt")
    if form.engine == "tensorrt":
        _tensorrt_takes(proto, SCANS[kind])


def _tensorrt_takes(proto: Any, scans: int) -> None:
    """Assert what TensorRT's parser asks for beyond the standard, and that softplus is one operator a scan."""
    import onnx

    names = [node.op_type for node in proto.graph.node]
    assert names.count("Softplus") == scans
    assert "Log" not in names
    constants = {tensor.name for tensor in proto.graph.initializer}
    sized = [node for node in proto.graph.node if node.op_type in ("ReduceSum", "ReduceMean", "ReduceMax", "Slice")]
    assert len(sized) > 50
    assert all(name in constants for node in sized for name in node.input[1:] if name)
    norms = [node for node in proto.graph.node if node.op_type == "LayerNormalization"]
    assert {onnx.helper.get_node_attr_value(node, "stash_type") for node in norms} == {onnx.TensorProto.FLOAT}
    makers = {name: node for node in proto.graph.node for name in node.output}
    if "ids" in makers:
        cast = makers["ids"]
        assert (cast.op_type, onnx.helper.get_node_attr_value(cast, "to")) == ("Cast", onnx.TensorProto.UINT8)
        before = makers[cast.input[0]]
        assert (before.op_type, onnx.helper.get_node_attr_value(before, "to")) == ("Cast", onnx.TensorProto.FLOAT)


def test_a_file_says_all_that_a_program_needs(tmp_path: Path) -> None:
    import onnx

    pytest.importorskip("openvino", reason="needs openvino, which is not installed here: pip install openvino")
    model, source = small_network("mambaseg_nano"), tmp_path / "w.safetensors"
    source.write_bytes(b"weights")
    form = ExportForm(outputs="mask", engine="openvino")
    written = export_onnx(model, tmp_path / "net.onnx", form, source=source, frames=2)
    about = json.loads((tmp_path / "net.json").read_text())
    stored = {entry.key: json.loads(entry.value) for entry in onnx.load(written.path).metadata_props}
    assert stored == about
    assert [check["engine"] for check in about["check"]] == ["onnxruntime", "openvino"]
    assert all(check["same"] == 1.0 and check["largest"] < 1e-5 for check in about["check"])
    assert about["inputs"] == [
        {"name": "image", "shape": [1, 3, *SIZE], "type": "float32", "values": "RGB in 0..1"},
        {"name": "second", "shape": [1, 10, *SIZE], "type": "float32", "values": "events"},
    ]
    assert about["outputs"] == [
        {"name": "ids", "shape": [1, *SIZE], "type": "uint8"},
        {"name": "confidence", "shape": [1, *SIZE], "type": "float32"},
    ]
    assert (about["opset"], about["precision"], about["written_for"]) == (20, "float32", "openvino")
    assert about["labels"]["classes"] == list(DSEC_11.classes)
    assert about["labels"]["colors"][3] == [220, 20, 60]
    assert about["preprocessing"]["window"]["count"] == 100_000
    digest = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"  # sha256sum's
    assert about["source"] == {"file": "w.safetensors", "sha256": digest}
    _mask_is_that_of_the_network(written.path.read_bytes(), model, form)


def _mask_is_that_of_the_network(data: bytes, model: Any, form: ExportForm) -> None:
    image, second = street_frames(model.preprocessing, 1, seed=7)
    with torch.no_grad():
        ids, confidence = ExportedNetwork(model, form)(image, second)
    for load in ONNX.values():
        got = load(data).run({"image": image.numpy(), "second": second.numpy()})
        assert got["ids"].dtype == np.uint8
        assert (got["ids"] == ids.numpy()).all()
        assert np.abs(got["confidence"] - confidence.numpy()).max() < 1e-5


def test_a_file_that_does_not_agree_is_refused_with_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mambaseg_core.export.onnx_file.to_onnx", another_network)
    with pytest.raises(
        ValueError, match=r"onnxruntime: \d+\.\d+ % of 7000 pixels have torch's class .* at least 99.99"
    ):
        export_onnx(small_network("mambaseg_ddd17"), tmp_path / "a.onnx", ExportForm(inputs="image"), frames=2)
    assert list(tmp_path.iterdir()) == []


def another_network(model: Any, form: ExportForm) -> Any:
    """Return a graph whose logits are the image's first channel times a number a class."""
    from onnx import TensorProto, helper

    slopes = helper.make_tensor("slopes", TensorProto.FLOAT, (1, 6, 1, 1), np.linspace(-1, 1, 6))
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Mul", ["image", "slopes"], ["logits"])],
            "another",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, *SIZE))],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 6, *SIZE))],
            [slopes],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )


def test_what_is_not_finite_is_refused() -> None:
    check = agreement.Agreement("onnxruntime", 1, 100, 0, float("inf"))
    with pytest.raises(ValueError, match="largest difference inf"):
        check.refuse_below("float16")
    agreement.Agreement("onnxruntime", 1, 100_000, 1, 1e-5).refuse_below("float32")
