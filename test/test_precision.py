"""Slow precisions: the result for injected CPU flags, and the warnings that users read."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mambaseg_core import precision
from mambaseg_core.checkpoint import create_model, save_checkpoint
from mambaseg_core.cli import app
from mambaseg_core.inference import Segmenter
from mambaseg_core.precision import choose_precision, read_cpu_flags, why_slow
from mambaseg_core.preprocessing import picture_preprocessing
from mambaseg_ros.model import describe, make_segmenter
from mambaseg_ros.parameters import read_parameters

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SIZE = (32, 48)
SLOW = "precision is 'bfloat16', but this processor has no units for it"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model = create_model("sigma_nano", image_size=SIZE)
    save_checkpoint(tmp_path / "nano.safetensors", model, picture_preprocessing(SIZE))
    return tmp_path / "nano.safetensors"


@pytest.fixture(params=["avx2", "amx_bf16"])
def flag(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Replace the processor's flags by ones without or with units for bfloat16; return the name of the flag."""
    monkeypatch.setattr(precision, "read_cpu_flags", lambda: frozenset({"fpu", request.param}))
    return str(request.param)


def test_precisions_are_chosen_or_refused() -> None:
    assert choose_precision("float16", GPU) == torch.float16
    with pytest.raises(ValueError, match=r"precision is 'int8'.*'bfloat16'"):
        choose_precision("int8", CPU)
    assert choose_precision("tf32", GPU) == torch.float32
    for name in ("float16", "tf32"):
        with pytest.raises(ValueError, match=rf"precision is '{name}' on the device 'cpu'.*'bfloat16'"):
            choose_precision(name, CPU)


@pytest.mark.parametrize(
    ("name", "flags", "slow"),
    [
        ("float32", (), False),
        ("bfloat16", (), True),
        ("bfloat16", ("avx2", "fma"), True),
        ("bfloat16", ("avx2", "avx512f", "avx512_vnni"), True),
        ("bfloat16", ("avx512f", "avx512_bf16"), False),
        ("bfloat16", ("amx_tile", "amx_bf16"), False),
        ("bfloat16", ("asimd", "bf16"), False),
        ("bfloat16", ("asimd", "fphp"), True),
    ],
)
def test_a_processor_is_slow_without_units(name: str, flags: tuple[str, ...], slow: bool) -> None:
    reason = why_slow(name, CPU, cpu_flags=flags)
    assert reason.startswith("this processor has no units for it") == bool(reason) == slow


@pytest.mark.parametrize(
    ("name", "capability", "needed"),
    [
        ("float32", (5, 0), ""),
        ("tf32", (7, 5), "8.0"),
        ("tf32", (8, 6), ""),
        ("bfloat16", (7, 5), "8.0"),
        ("bfloat16", (8, 0), ""),
        ("bfloat16", (9, 0), ""),
        ("float16", (6, 1), "7.0"),
        ("float16", (7, 0), ""),
    ],
)
def test_a_gpu_is_slow_below_a_capability(name: str, capability: tuple[int, int], needed: str) -> None:
    reason = why_slow(name, GPU, gpu_capability=capability)
    assert bool(reason) == bool(needed)
    assert f"from {needed} on" in reason or not needed


def test_flags_are_those_that_linux_lists(tmp_path: Path) -> None:
    for text in ("processor\t: 0\nflags\t\t: fpu bf16\nbugs\t\t: none\n", "BogoMIPS\t: 50\nFeatures\t: fpu bf16\n"):
        (tmp_path / "cpuinfo").write_text(text)
        assert read_cpu_flags(tmp_path / "cpuinfo") == {"fpu", "bf16"}
    assert not read_cpu_flags(tmp_path / "nowhere")


def test_a_segmenter_warns(flag: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        segmenter = Segmenter(create_model("sigma_nano", image_size=SIZE), "cpu", precision="bfloat16")
        Segmenter(segmenter.model, "cpu")
    said = [str(warning.message) for warning in caught]
    assert said == ([segmenter.warning] if flag == "avx2" else [])
    assert segmenter.warning.startswith(SLOW) == bool(segmenter.warning) == (flag == "avx2")
    assert segmenter.warning.endswith("use 'float32'") or flag == "amx_bf16"


def test_the_node_and_bag_segment_warn_and_diagnostics_show_it(flag: str, checkpoint: Path) -> None:
    said: list[str] = []
    parameters = read_parameters([f"weights={checkpoint}", "device=cpu", "precision=bfloat16"])
    shown = describe(make_segmenter(parameters, warn=said.append), parameters)
    assert [sentence[: len(SLOW)] for sentence in said] == ([SLOW] if flag == "avx2" else [])
    assert [shown[key] for key in shown if key == "warning"] == said


def test_predict_warns(flag: str, checkpoint: Path, tmp_path: Path) -> None:
    for folder in ("RGB", "Thermal"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "0.png"), np.full((*SIZE, 3), 99, np.uint8))
    words = ["predict", str(checkpoint), str(tmp_path), str(tmp_path / "out"), "--precision", "bfloat16"]
    result = CliRunner().invoke(app, [*words, "--device", "cpu"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert (f"warning: {SLOW}" in result.output) == (flag == "avx2")
