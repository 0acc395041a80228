"""`mambaseg info FILE` and `mambaseg convert` as a user types them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Write EVT2 words by hand: time 64 us, then ON at (5, 7) 3 us later and OFF at (6, 7) 9 us later."""
    path = tmp_path / "tiny.raw"
    words = [0x8 << 28 | 1, 1 << 28 | 3 << 22 | 5 << 11 | 7, 9 << 22 | 6 << 11 | 7]
    path.write_bytes(b"% evt 2.0\n% geometry 640x480\n% end\n" + np.array(words, "<u4").tobytes())
    return path


def test_info_of_a_file(mambaseg: Callable[..., Any], recording: Path) -> None:
    result = mambaseg("info", recording)
    assert result.returncode == 0, result.stdout
    for text in ("raw, evt2", "640x480", "0.000006 s", "67000 ns, 73000 ns", "1, 1 (50.0% ON)"):
        assert text in result.stdout


def test_info_of_a_file_without_a_size(mambaseg: Callable[..., Any], recording: Path) -> None:
    recording.write_bytes(recording.read_bytes().replace(b"% geometry 640x480\n", b""))
    result = mambaseg("info", recording)
    assert result.returncode == 1
    assert "has no size of the sensor" in result.stdout
    assert "--height" in result.stdout
    assert mambaseg("info", recording, "--height", 480, "--width", 640).returncode == 0
    assert "give both" in mambaseg("info", recording, "--height", 480).stdout


def test_info_of_a_file_that_is_not_there(mambaseg: Callable[..., Any]) -> None:
    result = mambaseg("info", "nowhere.raw")
    assert result.returncode == 1
    assert "nowhere.raw is missing" in result.stdout
    assert result.stdout.count("\n") == 1


def test_events_to_video(mambaseg: Callable[..., Any], recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    result = mambaseg("convert", "events-to-video", recording, out, "--slowdown", 40_000, "--window", 0.1)
    assert result.returncode == 0, result.stdout
    assert "film.mp4: 6 frames of 640x480" in result.stdout
    assert cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FRAME_COUNT) == 6


def test_ev_inf_twice(mambaseg: Callable[..., Any], tmp_path: Path) -> None:
    assert mambaseg("synth", tmp_path, "--seconds", 0.1).returncode == 0
    root = tmp_path / "synthetic_00_a"
    first, second = (mambaseg("convert", "ev-inf", root) for _ in range(2))
    number = len(list((root / "images/left/ev_inf").glob("*.png")))
    assert number == len(list((root / "images/left/rectified").glob("*.png"))) > 0
    assert f"{number} images written, 0 kept" in first.stdout
    assert f"0 images written, {number} kept" in second.stdout
