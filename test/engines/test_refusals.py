"""Files that cannot be run here, each refused in one sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mambaseg_core.checkpoint import create_model, save_checkpoint
from mambaseg_core.engines.open import ENGINES
from mambaseg_core.inference import Segmenter
from mambaseg_ros import parameters


def test_the_node_offers_the_engines_that_there_are() -> None:
    assert parameters.ENGINES == ENGINES


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"engine": "tflite"}, "engine is 'tflite'; expected one of auto, torch, aoti"),
        ({"engine": "aoti"}, r"run by onnxruntime or openvino; expected a file in \.pt2"),
        ({"engine": "tensorrt"}, r"expected a file in \.engine or \.plan"),
        ({"device": "gpu"}, "device is 'gpu'; expected 'auto', 'cpu', 'cuda' or 'cuda:N'"),
        ({"device": "cuda"}, "no provider for a GPU; expected 'cpu', or the package onnxruntime-gpu"),
        ({"device": "cuda", "engine": "openvino"}, "OpenVINO here runs on 'cpu'"),
        ({"precision": "bfloat16"}, "has its own, which `mambaseg export` chose; expected 'float32'"),
    ],
)
def test_what_does_not_go_with_the_file(exported: dict[str, Path], how: dict[str, Any], said: str) -> None:
    if how.get("engine") == "openvino":
        pytest.importorskip("openvino", reason="needs openvino, which is not installed here: pip install openvino")
    if how == {"device": "cuda"} and "CUDAExecutionProvider" in _providers():
        pytest.skip("this ONNX Runtime has a provider for a GPU")
    with pytest.raises(ValueError, match=said) as raised:
        Segmenter(exported["logits"], **{"device": "cpu", **how})
    assert "\n" not in str(raised.value)


def _providers() -> list[str]:
    import onnxruntime

    providers: list[str] = onnxruntime.get_available_providers()
    return providers


def test_an_engine_for_a_checkpoint_asks_for_an_exported_file(tmp_path: Path) -> None:
    path = tmp_path / "nano.safetensors"
    save_checkpoint(path, create_model("mambaseg_nano", image_size=(32, 48)))
    with pytest.raises(ValueError, match=r"is run by torch; expected a file in \.onnx, of `mambaseg export`"):
        Segmenter(path, "cpu", engine="onnxruntime")
    Segmenter(path, "cpu", engine="torch")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_files_that_are_broken_or_of_others(exported: dict[str, Path], engine: str, tmp_path: Path) -> None:
    import onnx

    pytest.importorskip(engine, reason=f"needs {engine}, which is not installed here: pip install {engine}")

    def refused(name: str) -> str:
        with pytest.raises(ValueError, match=name) as raised:
            Segmenter(tmp_path / name, "cpu", engine=engine)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    whole = exported["logits"].read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[:5000])
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert "is no file that" in refused("cut.onnx")
    assert "is no file that" in refused("empty.onnx")
    assert "no such file" in refused("absent.onnx")
    model = onnx.load_model_from_string(whole)
    changes = {"newer.onnx": ("format", 2), "partial.onnx": ("model", {}), "other.onnx": ("format", None)}
    for name, (key, value) in changes.items():
        for entry in model.metadata_props:
            if entry.key == key:
                entry.value = json.dumps(value)
        onnx.save(model, tmp_path / name)
        model = onnx.load_model_from_string(whole)
    assert "has a description of format 2, where this mambaseg reads 1: export it again" in refused("newer.onnx")
    assert "has a description that cannot be used (KeyError: 'name')" in refused("partial.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    assert "has no description of its model and inputs in its metadata" in refused("foreign.onnx")


def test_an_absent_engine_is_named_and_another_takes_its_place(
    exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match="needs the package onnxruntime, which is not installed here"):
        Segmenter(exported["logits"], "cpu", engine="onnxruntime")
    with pytest.MonkeyPatch.context() as both:
        both.setitem(sys.modules, "openvino", None)
        with pytest.raises(ValueError, match="needs the package onnxruntime"):
            Segmenter(exported["logits"], "cpu")
    pytest.importorskip("openvino", reason="needs openvino, which is not installed here: pip install openvino")
    assert Segmenter(exported["logits"], "cpu").model.engine.name == "openvino"


def test_tensorrt_asks_for_its_package_and_the_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nano.engine").write_bytes(b"plan")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ValueError, match="needs the package tensorrt, which is not installed here"):
        Segmenter(tmp_path / "nano.engine")
    monkeypatch.setitem(sys.modules, "tensorrt", torch)  # stands for one that is installed
    with pytest.raises(ValueError, match=r"expected nano\.json in the same folder"):
        Segmenter(tmp_path / "nano.engine")
    (tmp_path / "nano.json").write_text("{}")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="TensorRT runs on a CUDA device, which torch must see"):
            Segmenter(tmp_path / "nano.engine")
