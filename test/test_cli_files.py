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


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Write three events as microseconds, polarity, column, row."""
    path = tmp_path / "events.txt"
    path.write_text("1000 1 5 7\n1001 0 6 7\n1500 1 5 8\n")
    return path


def test_info_says_what_was_guessed_of_a_table(mambaseg: Callable[..., Any], table: Path) -> None:
    size = ("--height", 480, "--width", 640)
    result = mambaseg("info", table, *size, "--columns", "tpxy")
    assert result.returncode == 0, result.stdout
    for text in ("text, columns tpxy, time in us (guessed)", "1000000 ns, 1500000 ns", "2, 1 (66.7% ON)"):
        assert text in result.stdout
    result = mambaseg("info", table, *size, "--columns", "tpxy", "--time-unit", "ns")
    assert "1000 ns, 1500 ns" in result.stdout
    assert "--columns txyp" in mambaseg("info", table, *size).stdout


def test_an_encoding_by_hand(mambaseg: Callable[..., Any], recording: Path, tmp_path: Path) -> None:
    recording.write_bytes(recording.read_bytes().replace(b"% evt 2.0\n", b""))
    result = mambaseg("info", recording)
    assert result.returncode == 1
    assert "--encoding evt2" in result.stdout
    assert "raw, evt2" in mambaseg("info", recording, "--encoding", "evt2").stdout
    out = tmp_path / "film.mp4"
    result = mambaseg("convert", "events-to-video", recording, out, "--slowdown", 40_000, "--encoding", "evt2")
    assert result.returncode == 0, result.stdout
    bag = tmp_path / "bag"
    result = mambaseg("bag", "convert", recording, bag, "--encoding", "EVT2")
    assert result.returncode == 0, result.stdout
    assert "0 images, 2 events in 1 packets" in result.stdout
    assert "640x480" in mambaseg("info", bag).stdout


def test_a_table_with_pictures_as_a_bag(mambaseg: Callable[..., Any], table: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), np.zeros((480, 640), np.uint8))
    arguments = ("bag", "convert", table, tmp_path / "bag", "--height", 480, "--width", 640, "--columns", "tpxy")
    result = mambaseg(*arguments, "--images", tmp_path / "pictures")
    assert result.returncode == 1
    assert "has no timestamps.txt" in result.stdout
    (tmp_path / "pictures" / "timestamps.txt").write_text("1200\n")
    result = mambaseg(*arguments, "--images", tmp_path / "pictures")
    assert "1 images, 3 events in 1 packets" in result.stdout, result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--sensor", "dvs128"), "sensor is 'dvs128', expected one of davis346, gen3"),
        (("--sensor", "gen3", "--benchmark"), "sensor is 'gen3', expected none with --benchmark, which has all"),
        (("--sensor", "gen3", "--second", "depth"), "expected none with --second depth, which has no events"),
    ],
)
def test_a_sensor_that_synth_cannot_use(
    mambaseg: Callable[..., Any], tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    result = mambaseg("synth", tmp_path, *options, "--seconds", 0.1, "--image-size", "48x64", "--sequences", 0, 0)
    assert result.returncode == 1
    assert words in result.stdout.replace("\n", " ")
    assert list(tmp_path.iterdir()) == []
