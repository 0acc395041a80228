from __future__ import annotations

import struct
from array import array
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mambaseg_ros.messages.compressed import fill_compressed_message
from mambaseg_ros.messages.images import fill_image_message, image_from_message

MALFORMED = 10_000
RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
ALPHA = np.full((2, 3, 1), 9, np.uint8)


@pytest.mark.parametrize("pad", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "stored"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("rgba8", np.concatenate([RGB, ALPHA], 2)),
        ("bgra8", np.concatenate([RGB[..., ::-1], ALPHA], 2)),
    ],
)
def test_colour_images_become_rgb(image_message: Any, encoding: str, stored: np.ndarray, pad: int) -> None:
    np.testing.assert_array_equal(image_from_message(image_message(stored, encoding, pad=pad)), RGB)


GREY = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40


@pytest.mark.parametrize("big_endian", [0, 1])
def test_mono16_is_scaled_to_8_bits(image_message: Any, big_endian: int) -> None:
    wide = (GREY.astype(np.uint16) * 257 + [[128, -128, 127]] * (GREY > 0)).astype(">u2" if big_endian else "<u2")
    message = image_message(np.frombuffer(wide.tobytes(), np.uint8).reshape(2, 6), "mono16", pad=3)
    message.width, message.is_bigendian = 3, big_endian
    np.testing.assert_array_equal(image_from_message(message), GREY)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_become_the_colour_they_were_taken_from(image_message: Any, pattern: str, bits: int) -> None:
    red_green_blue = (200, 120, 40)
    tile = np.array([red_green_blue["rgb".index(color)] for color in pattern], np.uint16).reshape(2, 2)
    mosaic = np.tile(tile, (4, 5))
    stored = (mosaic * 257).view(np.uint8) if bits == 16 else mosaic.astype(np.uint8)
    message = image_message(stored, f"bayer_{pattern}{bits}")
    message.width = 10
    picture = image_from_message(message)
    assert picture.shape == (8, 10, 3)
    np.testing.assert_array_equal(picture, np.broadcast_to(np.uint8(red_green_blue), picture.shape))


@pytest.mark.parametrize(("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv")])
def test_yuv422_becomes_rgb(image_message: Any, encoding: str, order: str) -> None:
    values = {"y": 81, "u": 90, "v": 240}  # pure red in BT.601
    message = image_message(np.tile(np.uint8([values[c] for c in order]), (2, 2)), encoding)
    message.width = 4
    picture = image_from_message(message).astype(int)
    assert abs(picture - (255, 0, 0)).max() <= 2


def test_yuv422_of_an_odd_width_is_refused(image_message: Any) -> None:
    message = image_message(np.zeros((2, 6), np.uint8), "yuv422")
    message.width = 3
    with pytest.raises(ValueError, match="2 x 3 yuv422 cannot be converted"):
        image_from_message(message)


def test_compressed_images_are_decompressed() -> None:
    for stored, expected in ((RGB[..., ::-1], RGB), (GREY, GREY)):
        data = array("B", cv2.imencode(".png", np.ascontiguousarray(stored))[1].tobytes())
        np.testing.assert_array_equal(image_from_message(SimpleNamespace(format="png", data=data)), expected)
    for data in (b"", b"no picture"):
        with pytest.raises(ValueError, match=f"format 'jpeg' with {len(data)} bytes"):
            image_from_message(SimpleNamespace(format="jpeg", data=array("B", data)))


TRUE = (200, 120, 30)
CODECS = {"png": ".png", "tiff": ".tiff", "jpeg": ".jpg"}


def compressed(form: str, channels: np.ndarray, ending: str) -> Any:
    """Return what compressed_image_transport makes of channels: it hands them to OpenCV in their own order."""
    return SimpleNamespace(format=form, data=array("B", cv2.imencode(ending, channels)[1].tobytes()))


def of_colour(encoding: str) -> np.ndarray:
    """Return a raw image of one colour, 8 x 10, in an encoding."""
    kind, bits = encoding.rstrip("0123456789"), int("16" if encoding.endswith("16") else "8")
    if kind.startswith("bayer_"):
        stored = np.tile(np.reshape([TRUE["rgb".index(c)] for c in kind[6:]], (2, 2)), (4, 5))
    else:
        stored = np.broadcast_to([255 if c == "a" else TRUE["rgb".index(c)] for c in kind], (8, 10, len(kind)))
    return stored.astype(np.uint8) if bits == 8 else (stored * 257).astype(np.uint16)


COLOURS = [f"{order}{bits}" for order in ("rgb", "bgr", "rgba", "bgra") for bits in (8, 16)]
MOSAICS = [f"bayer_{pattern}{bits}" for pattern in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16)]


@pytest.mark.parametrize("encoding", [*COLOURS, *MOSAICS])
def test_a_tiff_has_the_order_of_the_raw_image(encoding: str) -> None:
    picture = image_from_message(compressed(f"{encoding}; tiff compressed ", of_colour(encoding), ".tiff"))
    np.testing.assert_array_equal(picture, np.broadcast_to(np.uint8(TRUE), (8, 10, 3)))


@pytest.mark.parametrize("codec", ["png", "jpeg"])
@pytest.mark.parametrize("encoding", COLOURS)
def test_png_and_jpeg_have_the_order_that_is_said(encoding: str, codec: str) -> None:
    bits = "16" if encoding.endswith("16") and codec == "png" else "8"
    for said in ("bgr", "rgb"):  # rgb: of old publishers
        message = compressed(f"{encoding}; {codec} compressed {said}{bits}", of_colour(f"{said}{bits}"), CODECS[codec])
        assert np.abs(image_from_message(message).astype(int) - TRUE).max() <= 2


@pytest.mark.parametrize("codec", ["png", "jpeg"])
@pytest.mark.parametrize("encoding", MOSAICS)
def test_a_compressed_mosaic_becomes_its_colour(encoding: str, codec: str) -> None:
    mosaic = of_colour(encoding if codec == "png" else encoding.replace("16", "8"))
    for said in ("", encoding):
        picture = image_from_message(compressed(f"{encoding}; {codec} compressed {said}", mosaic, CODECS[codec]))
        assert picture.shape == (8, 10, 3)
        assert np.abs(picture.astype(int) - TRUE).max() <= 6


def test_a_mosaic_that_its_publisher_made_gray_or_colour_is_no_mosaic() -> None:
    gray = image_from_message(compressed("bayer_rggb8; jpeg compressed mono8", np.full((8, 8), 90, np.uint8), ".jpg"))
    assert (gray.shape, int(gray[3, 3])) == ((8, 8), 90)
    colour = compressed("bayer_grbg8; jpeg compressed bgr8", of_colour("bgr8"), ".jpg")
    assert np.abs(image_from_message(colour).astype(int) - TRUE).max() <= 2


@pytest.mark.parametrize("form", ["jpeg", "jpg", "", "png", "; jpeg compressed rgb8", "yuv422; jpeg compressed bgr8"])
def test_a_format_that_says_no_order_leaves_the_file_as_it_is(form: str) -> None:
    message = compressed(form, of_colour("bgr8"), ".jpg")
    assert np.abs(image_from_message(message).astype(int) - TRUE).max() <= 2


def test_compressed_images_of_16_bits_are_scaled_to_8() -> None:
    deep = GREY.astype(np.uint16) * 257
    for form, stored in (("mono16; png compressed ", deep), ("16UC1; png compressed ", deep), ("png", deep)):
        np.testing.assert_array_equal(image_from_message(compressed(form, stored, ".png")), GREY)
    lossy = image_from_message(compressed("mono16; jpeg compressed ", np.full((8, 8), 200, np.uint8), ".jpg"))
    assert (lossy == 200).all()


@pytest.mark.parametrize(
    ("form", "encoding", "ending", "words"),
    [
        ("rgb8; tiff compressed ", "rgb8", ".png", r"; expected TIFF as the format says"),
        ("bgr8; png compressed bgr8", "bgr8", ".jpg", "expected PNG as the format says"),
        ("bayer_rggb8; png compressed ", "bgr8", ".png", "holds 3 channels of 8 bits; expected bayer_rggb8 as the"),
        ("mono8; png compressed ", "rgb8", ".png", "holds 3 channels of 8 bits; expected mono8"),
        ("bayer_rggb8; tiff compressed ", "bayer_rggb16", ".tiff", "holds 1 channel of 16 bits; expected bayer_rggb8"),
        ("rgb16; png compressed bgr16", "bgr8", ".png", "holds 3 channels of 8 bits; expected bgr16"),
    ],
)
def test_bytes_that_contradict_the_format_are_refused(form: str, encoding: str, ending: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^compressed image of format .*{words}.*: check its publisher$"):
        image_from_message(compressed(form, of_colour(encoding), ending))


@pytest.mark.parametrize("cut", [slice(None), slice(None, None, 2)])
def test_a_compressed_mask_is_a_png_that_loses_nothing(cut: slice) -> None:
    ids = np.kron(np.arange(256, dtype=np.uint8).reshape(16, 16), np.ones((60, 90), np.uint8))[:, cut]
    empty = SimpleNamespace(header=None, format="", data=array("B"))
    message = fill_compressed_message(empty, ids, header="of the mask")
    assert (message.header, message.format) == ("of the mask", "mono8; png compressed ")
    assert message.data[:4].tobytes() == b"\x89PNG"
    assert len(message.data) < ids.size / 50
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED), ids)
    np.testing.assert_array_equal(image_from_message(message), ids)


def test_a_gray_picture_under_a_colour_format_is_gray() -> None:
    message = compressed("rgb8; jpeg compressed bgr8", np.full((8, 8), 77, np.uint8), ".jpg")
    assert image_from_message(message).shape == (8, 8)


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_a_camera_s_picture_is_not_turned(orientation: int) -> None:
    data = cv2.imencode(".jpg", np.repeat(np.uint8([[0, 255]]), 8, axis=1).repeat(8, axis=0))[1].tobytes()
    tag = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag + data[2:]
    picture = image_from_message(SimpleNamespace(format="rgb8; jpeg compressed bgr8", data=array("B", data)))
    assert picture.shape == (8, 16)
    assert picture[0, 0] < 10 < 245 < picture[-1, -1]


@given(st.text(max_size=40) | st.from_regex(r"[a-z]{3,5}(8|16); ?(png|jpeg|tiff) ?(compressed)? ?(bgr|rgb|mono)?8?"))
def test_any_format_is_read_or_refused(form: str) -> None:
    data = array("B", cv2.imencode(".png", of_colour("bgr8"))[1].tobytes())
    try:
        assert image_from_message(SimpleNamespace(format=form, data=data)).shape == (8, 10, 3)
    except ValueError as refusal:
        assert "as the format says: check its publisher" in str(refusal)  # noqa: PT017


def test_mono8_stays_grey(image_message: Any) -> None:
    np.testing.assert_array_equal(image_from_message(image_message(RGB[..., 0], "mono8", pad=1)), RGB[..., 0])


def test_unknown_encoding_lists_the_known(image_message: Any) -> None:
    with pytest.raises(ValueError, match=r"'32FC1'; expected one of rgb8, bgr8"):
        image_from_message(image_message(RGB, "32FC1"))


def test_a_step_shorter_than_the_row_is_refused(image_message: Any) -> None:
    with pytest.raises(ValueError, match="step 3; expected a size above 0 and a step of at least 9"):
        image_from_message(image_message(RGB[..., 0], "rgb8"))


def test_too_few_bytes_are_refused(image_message: Any) -> None:
    message = image_message(RGB, "rgb8")
    message.data = message.data[:-1]
    with pytest.raises(ValueError, match=r"holds 17 bytes; expected height x step = 18"):
        image_from_message(message)


def test_fill_image_message_is_what_image_from_message_reads() -> None:
    message = fill_image_message(SimpleNamespace(data=array("B")), RGB[:, ::-1], header="the header", encoding="rgb8")
    assert message.header == "the header"
    np.testing.assert_array_equal(image_from_message(message), RGB[:, ::-1])


def test_malformed_images_are_read_or_refused() -> None:
    rng = np.random.default_rng(0)
    encodings = ("rgb8", "mono8", "mono16", "bayer_rggb8", "bayer_grbg16", "yuv422", "yuv422_yuy2", "bgra8", "evil")
    seen = {"read": 0, "refused": 0}
    for index in range(MALFORMED):
        data = array("B", rng.bytes(int(rng.integers(120))))
        if index % 5 == 0:
            form = ("jpeg", "bayer_rggb8; jpeg compressed ", "rgb8; tiff compressed ")[index % 3]
            message = SimpleNamespace(format=form, data=array("B", b"\xff\xd8\xff\xe0" + bytes(data)))
        else:
            height, width = rng.integers(0, 6, 2).tolist()
            step = int(rng.integers(2**32)) if index % 7 == 0 else int(rng.integers(25))
            message = SimpleNamespace(height=height, width=width, step=step, data=data, is_bigendian=index % 2)
            message.encoding = encodings[index % 9]
        try:
            assert image_from_message(message).dtype == np.uint8
            seen["read"] += 1
        except ValueError:
            seen["refused"] += 1
    assert min(seen.values()) > MALFORMED / 20, seen
