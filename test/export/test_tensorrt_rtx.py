"""TensorRT-RTX's parser reads the files written for TensorRT, where `tools/tensorrt_rtx/run.sh` has been run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from small_networks import small_network

from mambaseg_core.export.network import ExportForm, to_onnx

if TYPE_CHECKING:
    import onnx

PROBE = Path(__file__).resolve().parents[2] / "out" / "tensorrt_rtx" / "probe"

pytestmark = [
    pytest.mark.usefixtures("engines"),
    pytest.mark.skipif(not PROBE.exists(), reason=f"{PROBE} does not exist: run tools/tensorrt_rtx/run.sh"),
]


def probe(proto: onnx.ModelProto, path: Path) -> subprocess.CompletedProcess[str]:
    path.write_bytes(proto.SerializeToString())
    return subprocess.run([str(PROBE), str(path)], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("mambaseg_nano", ExportForm(outputs="mask", half=True, engine="tensorrt")),
        ("mambaseg_ddd17", ExportForm(half=True, engine="tensorrt")),
        ("sigma_nano", ExportForm(batch=2, engine="tensorrt")),
        ("rsgmamba_nano", ExportForm(inputs="second", outputs="mask", half=True, engine="tensorrt")),
        ("reliable", ExportForm(inputs="image", half=True, engine="tensorrt")),
    ],
)
def test_the_parser_has_no_error(kind: str, form: ExportForm, tmp_path: Path) -> None:
    done = probe(to_onnx(small_network(kind), form), tmp_path / "net.onnx")
    assert done.returncode == 0, done.stdout
    assert "parsed whole, 0 errors" in done.stdout
    for name in (*form.input_names, *form.output_names):
        assert f" {name} [{form.batch}, " in done.stdout


def test_an_unknown_operator_is_an_error(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"}
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], domain="mambaseg")
    graph = helper.make_graph([node], "graph", [value["x"]], [value["y"]])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("mambaseg", 1)]
    done = probe(helper.make_model(graph, opset_imports=opsets), tmp_path / "net.onnx")
    assert done.returncode == 1
    assert "NoSuchOperator" in done.stdout
