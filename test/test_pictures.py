"""Images and videos: decoding, encoding, drawing."""

from __future__ import annotations

import resource
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mambaseg_core.files import WriteError
from mambaseg_core.pictures import (
    EVENT_LEGEND,
    OFF_COLOR,
    ON_COLOR,
    decode,
    encode_png,
    event_picture,
    in_8_bits,
    in_rgb,
    new_film,
    read_image,
    read_label,
    read_picture,
    with_legend,
    write_png,
)

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5)
DEEP = np.arange(20, dtype=np.uint16).reshape(4, 5) * 3000
RGB = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
WHITE = (255, 255, 255)


@pytest.mark.parametrize("picture", [GREY, DEEP, RGB[:, ::-1], np.dstack([DEEP, DEEP + 1, DEEP + 2])])
def test_what_is_written_is_read(picture: np.ndarray, tmp_path: Path) -> None:
    for _ in range(2):  # the second replaces the first
        write_png(tmp_path / "a.png", picture)
    read = read_picture(tmp_path / "a.png")
    assert read.dtype == picture.dtype
    np.testing.assert_array_equal(read, picture)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_file_has_its_channels_in_the_common_order(tmp_path: Path) -> None:
    write_png(tmp_path / "red.png", np.full((2, 2, 3), (255, 0, 0), np.uint8))
    assert cv2.imread(str(tmp_path / "red.png"))[0, 0].tolist() == [0, 0, 255]  # OpenCV's blue, green, red
    jpeg = cv2.imencode(".jpg", np.full((8, 8, 3), (0, 0, 255), np.uint8))[1].tobytes()
    assert np.abs(decode(jpeg, "a")[0, 0].astype(int) - (255, 0, 0)).max() < 5


def test_transparency_is_dropped() -> None:
    data = cv2.imencode(".png", np.dstack([RGB, GREY])[..., [2, 1, 0, 3]])[1].tobytes()
    np.testing.assert_array_equal(decode(data, "a"), RGB)


def test_a_picture_is_turned_as_its_orientation_says() -> None:
    stored = np.zeros((8, 16), np.uint8)
    stored[:, 8:] = 255
    jpeg = cv2.imencode(".jpg", stored)[1].tobytes()
    tag = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)  # 6: rotate to the right
    turned = decode(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag + jpeg[2:], "a")
    assert turned.shape == (16, 8)
    assert turned[0, 0] < 10 < 245 < turned[-1, 0]


def test_16_bits_become_8_by_rounding(tmp_path: Path) -> None:
    deep = np.array([[0, 128, 129, 257, 65535]], np.uint16)
    assert in_8_bits(deep).tolist() == [[0, 0, 1, 1, 255]]
    assert in_8_bits(GREY) is GREY
    write_png(tmp_path / "deep.png", deep)
    assert read_image(tmp_path / "deep.png").tolist() == [[0, 0, 1, 1, 255]]


def test_ids_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_png(path, GREY)
    np.testing.assert_array_equal(read_label(path), GREY)
    for picture, form in ((RGB, r"uint8 \[4, 5, 3\]"), (DEEP, r"uint16 \[4, 5\]")):
        write_png(path, picture)
        with pytest.raises(ValueError, match=rf"label .*a\.png is {form}, expected class ids, uint8 \[H, W\]"):
            read_label(path)


@pytest.mark.parametrize(
    "data", [b"", b"no picture", encode_png(GREY)[:30], cv2.imencode(".tiff", GREY.astype(np.float32))[1].tobytes()]
)
def test_what_is_no_picture_is_named(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^frame 7 with {len(data)} bytes cannot be read; expected .*: turn back$"):
        decode(data, "frame 7", "turn back")
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.png with \d+ bytes cannot be read; expected PNG .*: check the file$"):
        read_image(tmp_path / "a.png")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.png cannot be read \(No such file or directory\); expected PNG or JPEG"):
        read_picture(tmp_path / "a.png")


def test_gray_becomes_rgb() -> None:
    np.testing.assert_array_equal(in_rgb(GREY), np.dstack([GREY] * 3))
    np.testing.assert_array_equal(in_rgb(GREY[..., None]), np.dstack([GREY] * 3))
    assert in_rgb(RGB) is RGB


def test_events_are_blue_and_vermilion_on_white() -> None:
    assert (ON_COLOR, OFF_COLOR) == ((0, 114, 178), (213, 94, 0))
    polarity = np.array([[1, 0, -1]], np.int8)
    assert event_picture(polarity).tolist() == [[list(ON_COLOR), list(WHITE), list(OFF_COLOR)]]
    beyond = np.array([[7.0, 1 / 127, -1 / 127, -0.5]])
    assert event_picture(beyond)[0, 0].tolist() == list(ON_COLOR)
    assert event_picture(beyond)[0, 1].tolist() == [253, 254, 254]
    assert np.abs(event_picture(beyond)[0, 3] - np.array([234, 174, 127])).max() <= 2


@pytest.mark.parametrize(("width", "rows"), [(100, 2), (346, 1), (1440, 1)])
def test_a_legend_shows_each_color_below_the_picture(width: int, rows: int) -> None:
    picture = np.full((30, width, 3), 200, np.uint8)
    drawn = with_legend(picture, EVENT_LEGEND)
    np.testing.assert_array_equal(drawn[:30], picture)
    strip = drawn[30:].reshape(-1, 3)
    assert len(drawn) - 30 == rows * round(18 * max(1, width / 1000))
    assert all((strip == color).all(axis=1).sum() >= 100 for color in (ON_COLOR, OFF_COLOR))
    assert (strip < 100).all(axis=1).sum() > 50  # the names


@pytest.mark.parametrize("ending", [".mp4", ".AVI"])
def test_a_film_has_every_picture_and_an_even_size(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"film{ending}"
    with new_film(path, 20) as film:
        for value in (0, 120, 240):
            film.write(np.full((31, 45), value, np.uint8))
            film.write(np.full((31, 45, 3), value, np.uint8))
        assert not path.exists()
    video = cv2.VideoCapture(str(path))
    frames = np.array([video.read()[1] for _ in range(6)])
    assert not video.read()[0]
    assert frames.shape == (6, 32, 46, 3)
    assert np.abs(frames[:, 10, 10, 0].astype(int) - (0, 0, 120, 120, 240, 240)).max() < 8
    assert list(tmp_path.iterdir()) == [path]


def test_a_film_that_cannot_be_leaves_nothing(tmp_path: Path) -> None:
    def write(path: Path, count: int, most_bytes: int = 10_000_000) -> None:
        noise = np.random.default_rng(0)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
        try:
            with new_film(path, 20) as film:
                for _ in range(count):
                    film.write(noise.integers(0, 256, (120, 160, 3), np.uint8))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    cases: list[tuple[Any, type[Exception], str]] = [
        ((tmp_path / "a.gif", 1), ValueError, r"a\.gif ends in '\.gif', expected \.mp4 or \.avi"),
        ((tmp_path / "a.mp4", 0), ValueError, r"a\.mp4 has no frames"),
        ((tmp_path / "none" / "a.mp4", 1), WriteError, r"a\.mp4 cannot be written \(No such file or directory\)"),
        ((tmp_path / "a.mp4", 20, 20_000), WriteError, r"a\.mp4 cannot be written \(0 of its 20 frames"),
        ((tmp_path / "a.avi", 20, 20_000), WriteError, r"a\.avi cannot be written \(\d of its 20 frames"),
    ]
    for arguments, kind, sentence in cases:
        with pytest.raises(kind, match=sentence):
            write(*arguments)
        assert list(tmp_path.iterdir()) == []
