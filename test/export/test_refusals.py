"""What an export refuses, each in one sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mambaseg_core.engines.packages import need
from mambaseg_core.export.network import ExportForm, need_torch
from mambaseg_core.export.onnx_file import export_onnx


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime", "openvino"])
def test_an_absent_package_is_named(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mambaseg: Callable[..., Any]
) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, torch)  # stands for one that is installed
    monkeypatch.setitem(sys.modules, package, None)
    result = mambaseg("export", "synthetic", tmp_path / "a.onnx", "--for", "openvino")
    assert result.returncode == 1
    assert f"needs the package {package}, which is not installed here; pip install {package}" in result.stdout
    assert result.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_room_is_imported_where_every_package_is_absent() -> None:
    code = "import sys; sys.modules.update(dict.fromkeys(('onnx', 'onnxscript', 'onnxruntime', 'openvino')))\n"
    code += "import mambaseg_core.cli, mambaseg_core.export.onnx_file as module; print(module.FRAMES)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "8\n"), ended.stderr


def test_an_error_inside_a_package_is_not_an_absent_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        need("broken_package")


def test_an_old_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.7.1+cpu")
    with pytest.raises(ValueError, match=r"torch is 2\.7\.1\+cpu; an export expects 2\.8 or later"):
        need_torch()
    monkeypatch.setattr(torch, "__version__", "2.10.0")
    need_torch()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "tflite"), "--format is 'tflite'; expected one of onnx"),
        (("--inputs", "events"), "inputs is 'events'; expected one of both, image, second"),
        (("--outputs", "labels"), "outputs is 'labels'; expected one of logits, mask"),
        (("--for", "ncnn"), "engine is 'ncnn'; expected one of onnxruntime, openvino, tensorrt"),
        (("--size", "240"), "size is '240', expected height x width"),
        (("--model", "mambaseg_huge"), "unknown model 'mambaseg_huge'"),
    ],
)
def test_a_bad_option_is_refused(
    words: tuple[str, ...], said: str, tmp_path: Path, mambaseg: Callable[..., Any]
) -> None:
    result = mambaseg("export", "synthetic", tmp_path / "a.onnx", *words)
    assert result.returncode == 1
    assert said in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_other_suffixes_and_batches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a name that ends in \.onnx"):
        export_onnx(None, tmp_path / "net.pb", ExportForm())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch is 0; expected 1 or more"):
        ExportForm(batch=0)


def test_unknown_weights_list_those_that_ship(tmp_path: Path, mambaseg: Callable[..., Any]) -> None:
    result = mambaseg("export", "imagenet", tmp_path / "a.onnx")
    assert result.returncode == 1
    assert "shipped are: synthetic" in result.stdout
