"""What an export to AOTInductor refuses; the packages themselves are tested with the engine that runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_networks import small_network

from mambaseg_core.export import aoti
from mambaseg_core.export.network import ExportForm

CPU = torch.device("cpu")


def refusal(folder: Path, *, name: str = "net.pt2", form: ExportForm | None = None) -> str:
    with pytest.raises(ValueError, match=r"expected|do not work") as raised:
        aoti.export_aoti(small_network("mambaseg_nano"), folder / name, form or ExportForm(), device=CPU, frames=2)
    assert "\n" not in str(raised.value)
    assert list(folder.iterdir()) == []
    return str(raised.value)


def test_names_and_numbers_that_a_package_cannot_have(tmp_path: Path) -> None:
    assert "net.onnx; expected a name that ends in .pt2: change it" in refusal(tmp_path, name="net.onnx")
    said = refusal(tmp_path, form=ExportForm(half=True))
    assert "half is set, but a package of AOTInductor is in float32; expected it unset: leave out --half" in said


def test_a_machine_without_compiler_or_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "compiles with no-such-compiler, which is not here; expected g++, or another" in refusal(tmp_path)
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    assert "compiles with g++, which is not here; expected g++, or another compiler that CXX names" in refusal(tmp_path)
    monkeypatch.setattr(aoti.extension, "MISSING", "no _C.so")
    assert "the compiled operators do not work here: no _C.so. Build them with" in refusal(tmp_path)


def test_a_network_that_does_not_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operator\nand a long report")

    monkeypatch.setattr(torch.export, "export", broken)
    monkeypatch.setattr(aoti.shutil, "which", lambda name: f"/usr/bin/{name}")
    said = refusal(tmp_path)
    assert "AOTInductor cannot compile mambaseg_nano (RuntimeError: no such operator); expected one of our" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--half",), "half is set, but a package of AOTInductor is in float32"),
        (("--device", "tpu"), "device is 'tpu'; expected"),
        (("--format", "tflite"), "--format is 'tflite'; expected one of onnx, aoti"),
    ],
)
def test_the_command_refuses_in_one_line(
    words: tuple[str, ...], said: str, tmp_path: Path, mambaseg: Callable[..., Any]
) -> None:
    result = mambaseg("export", "synthetic", tmp_path / "a.pt2", "--format", "aoti", *words)
    assert result.returncode == 1
    assert said in result.stdout
    assert result.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
