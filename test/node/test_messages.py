from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mambaseg_ros.messages import events_from_message, fill_image_message, image_from_message

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


def test_event_columns_become_events(event_message: Any) -> None:
    events, refused = events_from_message(event_message([5, 0], [3, 1], [0, 7], [1, 0], stamp_ns=10**18))
    assert refused == 0
    assert events.t_ns.tolist() == [10**18, 10**18 + 7]
    assert (events.x.tolist(), events.y.tolist(), events.p.tolist()) == ([5, 0], [3, 1], [1, -1])
    assert (events.height, events.width) == (4, 6)


def test_events_outside_are_dropped_and_counted(event_message: Any) -> None:
    events, refused = events_from_message(event_message([6, 0, 0], [0, 4, 3], [0, 1, 2], [1, 1, 1]))
    assert refused == 2
    assert events.y.tolist() == [3]


def test_empty_columns_are_no_events(event_message: Any) -> None:
    events, refused = events_from_message(event_message([], [], [], []))
    assert (len(events), refused) == (0, 0)


def test_columns_of_different_lengths_are_refused(event_message: Any) -> None:
    with pytest.raises(ValueError, match="'y': 1"):
        events_from_message(event_message([1, 2], [1], [0, 0], [0, 0]))


def test_times_that_decrease_are_sorted(event_message: Any) -> None:
    events, _ = events_from_message(event_message([1, 2], [1, 1], [5, 4], [0, 0]))
    assert (events.t_ns.tolist(), events.x.tolist()) == ([4, 5], [2, 1])
