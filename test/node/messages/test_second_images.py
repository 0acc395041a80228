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
        (compressed(WIDE, "32FC1; compressedDepth png", before=bytes(12)), "'32FC1; compressedDepth png'"),
        (compressed(GREY, "mono8; png compressed"), "expected 16UC1 in millimetres"),
        (compressed(np.dstack([WIDE] * 3), "16UC3; png compressed"), "uint16 [2, 3, 3]"),
    ],
)
def test_compressed_images_that_do_not_fit_are_refused(message: Any, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as refusal:
        second_image_from_message(message, DEPTH)
    assert expected in str(refusal.value)
