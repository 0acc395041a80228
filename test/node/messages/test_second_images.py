from __future__ import annotations

import struct
from array import array
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from mambaseg_core.preprocessing import Preprocessing, picture_preprocessing
from mambaseg_ros.messages.second_images import second_image_from_message

THERMAL = picture_preprocessing((4, 6))
COUNTS = picture_preprocessing((4, 6), second_range=(20_000.0, 40_000.0))  # of a radiometric camera
DEPTH = picture_preprocessing((4, 6), second="depth", second_range=(0.0, 10_000.0))
GREY = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
WIDE = np.array([[0, 1, 256], [1500, 40_000, 65_535]], np.uint16)
METRES = np.array([[0, 0.25, 1.5], [np.nan, np.inf, 9.75]], np.float32)


def raw(image_message: Any, picture: np.ndarray, encoding: str, *, big_endian: bool = False) -> Any:
    stored = picture.astype(picture.dtype.newbyteorder(">")) if big_endian else picture
    message = image_message(np.frombuffer(stored.tobytes(), np.uint8).reshape(2, -1), encoding, pad=3)
    message.width, message.is_bigendian = 3, int(big_endian)
    return message


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("setup", "encoding", "picture"),
    [
        (THERMAL, "mono8", GREY), (THERMAL, "8UC1", GREY), (THERMAL, "32FC1", METRES), (COUNTS, "16UC1", WIDE),
        (COUNTS, "mono16", WIDE), (DEPTH, "16UC1", WIDE), (DEPTH, "mono16", WIDE),
    ],
)  # fmt: skip
def test_values_are_those_of_the_camera(
    image_message: Any, setup: Preprocessing, encoding: str, picture: np.ndarray, big_endian: bool
) -> None:
    second = second_image_from_message(raw(image_message, picture, encoding, big_endian=big_endian), setup)
    assert second.dtype == picture.dtype
    np.testing.assert_array_equal(second, picture)


@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_in_metres_becomes_millimetres(image_message: Any, big_endian: bool) -> None:
    second = second_image_from_message(raw(image_message, METRES, "32FC1", big_endian=big_endian), DEPTH)
    np.testing.assert_array_equal(second, [[0, 250, 1500], [np.nan, np.inf, 9750]])
    scaled = DEPTH.second_tensor(second)[0, :, 0]
    np.testing.assert_allclose(scaled[[0, -1]], [0, 0], atol=1e-6)  # neither 0 nor NaN nor infinity is a measurement


def test_mono16_of_an_8_bit_model_is_scaled_and_colour_keeps_its_channels(image_message: Any) -> None:
    second = second_image_from_message(raw(image_message, GREY.astype(np.uint16) * 257, "mono16"), THERMAL)
    np.testing.assert_array_equal(second, GREY)
    colour = second_image_from_message(image_message(np.dstack([GREY, GREY, GREY + 1]), "bgr8"), THERMAL)
    np.testing.assert_array_equal(colour, np.dstack([GREY + 1, GREY, GREY]))


@pytest.mark.parametrize(
    ("setup", "encoding", "picture", "expected"),
    [
        (THERMAL, "16UC1", WIDE, "thermal image has encoding '16UC1', uint16 [2, 3]; expected mono8, because"),
        (COUNTS, "mono8", GREY, "expected 16UC1, because the model's values go from 20000 to 40000"),
        (DEPTH, "mono8", GREY, "expected 16UC1 in millimetres or 32FC1 in metres"),
        (DEPTH, "64FC1", GREY, "depth image has encoding '64FC1'; expected 16UC1 in millimetres or 32FC1 in metres"),
    ],
)
def test_other_encodings_are_refused(
    image_message: Any, setup: Preprocessing, encoding: str, picture: np.ndarray, expected: str
) -> None:
    with pytest.raises(ValueError, match="encoding") as refusal:
        second_image_from_message(raw(image_message, picture, encoding), setup)
    assert expected in str(refusal.value)


def compressed(picture: np.ndarray, form: str, *, before: bytes = b"") -> Any:
    return SimpleNamespace(format=form, data=array("B", before + cv2.imencode(".png", picture)[1].tobytes()))


def test_compressed_images_keep_their_bits() -> None:
    header = struct.pack("<iff", 0, 100.0, 10.0)
    depth = second_image_from_message(compressed(WIDE, "16UC1; compressedDepth png", before=header), DEPTH)
    np.testing.assert_array_equal(depth, WIDE)
    np.testing.assert_array_equal(second_image_from_message(compressed(WIDE, "16UC1; png compressed"), DEPTH), WIDE)
    np.testing.assert_array_equal(second_image_from_message(compressed(GREY, "mono8; png compressed"), THERMAL), GREY)
    coloured = compressed(np.dstack([GREY, GREY, GREY + 1, GREY]), "bgra8; png compressed ")
    np.testing.assert_array_equal(second_image_from_message(coloured, THERMAL), np.dstack([GREY + 1, GREY, GREY]))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (SimpleNamespace(format="png", data=array("B", b"no picture")), "with 10 bytes cannot be read"),
        (SimpleNamespace(format="png", data=array("B")), "with 0 bytes cannot be read"),
        (compressed(WIDE, "32FC1; compressedDepth png", before=bytes(12)), "has the depth scale 0; expected a number"),
        (compressed(WIDE, "32FC1; compressedDepth png"), "holds no PNG; expected compressedDepth as PNG"),
        (compressed(WIDE, "16UC1; compressedDepth rvl", before=bytes(20)), "holds no PNG; expected compressedDepth"),
        (SimpleNamespace(format="16UC1; compressedDepth", data=array("B")), "with 0 bytes holds no PNG"),
        (compressed(GREY, "16UC1; png compressed "), "holds 1 channel of 8 bits; expected 16uc1 as the format says"),
        (compressed(GREY, "mono8; png compressed"), "expected 16UC1 in millimetres"),
        (compressed(np.dstack([WIDE] * 3), "16UC3; png compressed"), "uint16 [2, 3, 3]"),
    ],
)
def test_compressed_images_that_do_not_fit_are_refused(message: Any, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as refusal:
        second_image_from_message(message, DEPTH)
    assert expected in str(refusal.value)


def test_inverse_depth_is_depth() -> None:
    metres = np.array([[0.5, 1, 4], [9, np.inf, np.nan]], np.float32)
    a, b = 100 * 101.0, 1 - 100 * 101 / 10.0  # as of compressed_depth_image_transport: quantization 100, at most 10 m
    inverse = np.where(metres < 10, a / metres + b, 0).astype(np.uint16)
    header = struct.pack("<iff", 0, a, b)
    second = second_image_from_message(compressed(inverse, "32FC1; compressedDepth png", before=header), DEPTH)
    np.testing.assert_allclose(second[0], [500, 1000, 4000], rtol=2e-3)
    assert second[1, 0] == pytest.approx(9000, rel=2e-2)
    assert np.isnan(second[1, 1:]).all()


def test_depth_as_tiff_and_without_the_header() -> None:
    form = "32FC1; tiff compressed "
    message = SimpleNamespace(format=form, data=array("B", cv2.imencode(".tiff", METRES)[1].tobytes()))
    np.testing.assert_array_equal(second_image_from_message(message, DEPTH), METRES * 1000)
    bare = compressed(WIDE, "16UC1; compressedDepth")
    np.testing.assert_array_equal(second_image_from_message(bare, DEPTH), WIDE)


def test_thermal_counts_as_jpeg_are_scaled_as_the_transport_does() -> None:
    data = array("B", cv2.imencode(".jpg", np.full((8, 8), 120, np.uint8))[1].tobytes())
    for form in ("mono16; jpeg compressed mono8", "mono16; jpeg compressed "):
        second = second_image_from_message(SimpleNamespace(format=form, data=data), COUNTS)
        assert (second.dtype, int(second[0, 0])) == (np.uint16, 120 * 256)
    with pytest.raises(ValueError, match="depth image has encoding"):
        second_image_from_message(SimpleNamespace(format="mono16; jpeg compressed mono8", data=data), DEPTH)
