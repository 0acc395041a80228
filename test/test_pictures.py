"""Images and videos: decoding, encoding, drawing."""

from __future__ import annotations

import resource
import struct
import zlib
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
    list_pictures,
    new_film,
    read_image,
    read_label,
    read_picture,
    through_jpeg,
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


STRIPES = np.repeat(np.uint8([[0, 255]]), 8, axis=1).repeat(8, axis=0)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def tiff(order: str, orientation: int, picture: np.ndarray, *, big: bool = False) -> bytes:
    """Return an uncompressed gray TIFF, or BigTIFF, of 8 or 16 bits with an orientation."""
    height, width = picture.shape
    tags = [(256, width), (257, height), (258, 8 * picture.itemsize), (259, 1), (262, 1), (273, 0), (274, orientation)]
    tags += [(277, 1), (278, height), (279, picture.nbytes)]
    number = "Q" if big else "I"
    head = struct.pack(f"{order}2sHHHQ", order_name(order), 43, 8, 0, 16) if big else b""
    head = head or struct.pack(f"{order}2sHI", order_name(order), 42, 8)
    at = len(head) + struct.calcsize(f"={'Q' if big else 'H'}{number}") + len(tags) * (20 if big else 12)
    body = struct.pack(f"{order}{'Q' if big else 'H'}", len(tags))
    for tag, value in tags:
        short = tag == 274
        content = struct.pack(f"{order}H", value) if short else struct.pack(f"{order}I", value or at)
        body += struct.pack(f"{order}HH{number}", tag, 3 if short else 4, 1) + content.ljust(8 if big else 4, b"\0")
    pixels = picture.astype(picture.dtype.newbyteorder(order)).tobytes()
    return head + body + struct.pack(f"{order}{number}", 0) + pixels


def order_name(order: str) -> bytes:
    return b"MM" if order == ">" else b"II"


def exif(orientation: int, order: str) -> bytes:
    mark = order_name(order)
    return mark + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def jpeg_of(picture: np.ndarray, orientation: int, order: str) -> bytes:
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    tag = b"Exif\0\0" + exif(orientation, order)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag + data[2:]


def png_of(picture: np.ndarray, orientation: int, order: str) -> bytes:
    data = encode_png(picture)
    return data[:33] + chunk(b"eXIf", exif(orientation, order)) + data[33:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_no_picture_is_turned_whatever_its_orientation_says(orientation: int, order: str) -> None:
    stored = np.array([[0, 50, 100], [150, 200, 250]], np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    files = {
        "JPEG": jpeg_of(stored, orientation, order),
        "PNG": png_of(stored, orientation, order),
        "TIFF": tiff(order, orientation, stored),
        "BigTIFF": tiff(order, orientation, stored, big=True),
    }
    for name, data in files.items():
        read = decode(data, name)
        assert (name, read.shape) == (name, stored.shape)
        assert np.abs(read.astype(int) - stored).max() < 9
    deep = stored.astype(np.uint16) * 257
    np.testing.assert_array_equal(decode(tiff(order, orientation, deep), "TIFF of 16 bits"), deep)


def test_a_cut_or_false_tiff_is_refused() -> None:
    whole = tiff("<", 6, STRIPES)
    for data in (whole[:3], whole[:9], whole[:40], b"II*\0" + b"\xff" * 60, b"MM\0+" + b"\xff" * 60):
        with pytest.raises(ValueError, match=rf"^a with {len(data)} bytes cannot be read"):
            decode(data, "a")


def indexed(ids: np.ndarray, palette: list[tuple[int, int, int]], depth: int = 8, color: int = 3) -> bytes:
    """Return a PNG with a palette, with a transparent first color; or gray of `depth` bits (color 0)."""
    height, width = ids.shape
    bits = np.unpackbits(ids[..., None], axis=-1)[..., 8 - depth :].reshape(height, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))]
    if color == 3:
        parts += [chunk(b"PLTE", bytes(np.uint8(palette))), chunk(b"tRNS", b"\0")]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


PALETTES = {
    "colors": [(128, 64, 128), (244, 35, 232), (70, 70, 70), (0, 0, 142)],
    "grays": [(0, 0, 0), (80, 80, 80), (160, 160, 160), (240, 240, 240)],
    "one color twice": [(0, 0, 0), (0, 0, 0), (9, 9, 9), (9, 9, 9)],
}


@pytest.mark.parametrize("depth", [2, 4, 8])
@pytest.mark.parametrize("palette", PALETTES)
def test_a_label_with_a_palette_is_its_indices(tmp_path: Path, palette: str, depth: int) -> None:
    ids = np.array([[0, 1, 2, 3, 3], [3, 2, 1, 0, 0]], np.uint8)
    (tmp_path / "a.png").write_bytes(indexed(ids, PALETTES[palette], depth))
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), ids)
    assert read_picture(tmp_path / "a.png")[0, 1].tolist() == list(PALETTES[palette][1])  # an image has its colors


def test_an_index_beyond_the_palette_is_an_id(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(indexed(np.uint8([[0, 255, 3]]), PALETTES["colors"]))
    assert read_label(tmp_path / "a.png").tolist() == [[0, 255, 3]]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_ids_of_few_bits_are_not_stretched(tmp_path: Path, depth: int) -> None:
    ids = np.arange(2**depth, dtype=np.uint8)[None].repeat(3, axis=0)
    (tmp_path / "a.png").write_bytes(indexed(ids, [], depth, color=0))
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), ids)


def test_ids_of_16_bits_are_ids(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.uint16([[0, 18, 255]]))
    ids = read_label(tmp_path / "a.png")
    assert (ids.dtype, ids.tolist()) == (np.uint8, [[0, 18, 255]])
    write_png(tmp_path / "a.png", np.uint16([[0, 18, 256]]))
    with pytest.raises(ValueError, match=r"a\.png is uint16 \[1, 3\], expected class ids"):
        read_label(tmp_path / "a.png")


def test_labels_that_are_none_are_refused(tmp_path: Path) -> None:
    alpha = cv2.imencode(".png", np.dstack([GREY, GREY, GREY, GREY]))[1].tobytes()
    damaged = indexed(np.uint8([[0, 1, 2]]), PALETTES["colors"])[:-20]
    for data, words in (
        (jpeg_of(GREY, 1, "<"), "is a JPEG, which changes class ids"),
        (alpha, r"uint8 \[4, 5, 3\], expected class ids"),
        (damaged, "cannot be read"),
        (indexed(np.uint8([[0]]), PALETTES["colors"])[:40], "cannot be read"),
    ):
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(ValueError, match=words):
            read_label(tmp_path / "a.png")


def test_a_folder_lists_its_pictures_and_nothing_else(tmp_path: Path) -> None:
    for name in ("10.png", "9.PNG", "b.Jpeg", "a.JPG", "._9.PNG", ".DS_Store", "Thumbs.db", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "lost.png").symlink_to(tmp_path / "nothing")
    assert [path.name for path in list_pictures(tmp_path)] == ["9.PNG", "10.png", "a.JPG", "b.Jpeg", "lost.png"]
    assert [path.name for path in list_pictures(tmp_path, (".png",))] == ["9.PNG", "10.png", "lost.png"]


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


def test_films_are_in_codecs_that_browsers_play_or_say_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, picture = tmp_path / "film.mp4", np.full((32, 48, 3), 90, np.uint8)

    def write() -> None:
        with new_film(path, 20) as film:
            film.write(picture)

    write()
    data = path.read_bytes()
    assert b"vp09" in data or b"avc1" in data  # the sample entry of the track
    assert b"mp4v" not in data
    asked = []

    class NoEncoder:
        def __init__(self, _: str, codec: int, *__: Any) -> None:
            asked.append(codec.to_bytes(4, "little"))

        fourcc = staticmethod(cv2.VideoWriter.fourcc)
        isOpened = staticmethod(lambda: False)  # noqa: N815

    monkeypatch.setattr(cv2, "VideoWriter", NoEncoder)
    with pytest.raises(
        WriteError, match=r"encodes none of vp09, avc1; install opencv-python-headless, or name .*\.avi"
    ):
        write()
    assert asked == [b"vp09", b"avc1"]


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


def test_jpeg_keeps_colors_and_loses_more_the_lower_its_quality() -> None:
    patches = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    assert np.abs(through_jpeg(patches, 95).astype(int) - patches).max() <= 3
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    lost = [np.abs(through_jpeg(noise, quality).astype(int) - noise).mean() for quality in (95, 50, 20)]
    assert through_jpeg(noise, 50).shape == noise.shape
    assert lost[0] < lost[1] < lost[2]
