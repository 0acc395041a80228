"""Which image of a second camera belongs to an image, and when it is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mambaseg_core.preprocessing import picture_preprocessing
from mambaseg_ros.policy import Health
from mambaseg_ros.sources.pictures import PictureSource

MS = 1_000_000
START_NS = 10**18
SETUP = picture_preprocessing((4, 6))


@pytest.fixture
def source() -> PictureSource:
    return PictureSource(SETUP, max_age_ns=1000 * MS, max_bytes=10_000)


def add(source: PictureSource, message: Any, *times_ms: int) -> None:
    for time_ms in times_ms:
        source.add(message(np.full((4, 6), time_ms % 251, np.uint8), "mono8", stamp_ns=START_NS + time_ms * MS))


def beside(source: PictureSource, time_ms: float) -> float:
    second = source.beside(START_NS + round(time_ms * MS))
    assert second is not None
    assert (second.events, second.edges_ns, second.size) == (0, None, (4, 6))
    assert (second.data == (second.start_ns - START_NS) // MS % 251).all()
    return (second.start_ns - START_NS) / MS


def test_the_nearest_in_time_belongs_to_an_image(source: PictureSource, image_message: Any) -> None:
    assert source.beside(START_NS) is None
    add(source, image_message, 0, 111, 222)
    assert [beside(source, t) for t in (-50, 0, 55, 55.5, 56, 111, 200, 900)] == [0, 0, 0, 111, 111, 111, 222, 222]


def test_it_is_known_once_the_next_one_would_be_farther_away(source: PictureSource, image_message: Any) -> None:
    assert not source.reaches(START_NS)
    add(source, image_message, 0)
    assert [source.reaches(START_NS + t * MS) for t in (-1, 0, 1)] == [True, True, False]  # no period is known yet
    add(source, image_message, 100, 200)
    assert [source.reaches(START_NS + t * MS) for t in (150, 200, 250, 251)] == [True, True, True, False]


def test_images_out_of_order_are_sorted_in_and_old_ones_go(source: PictureSource, image_message: Any) -> None:
    add(source, image_message, 100, 0, 50)
    assert beside(source, 40) == 50
    assert source.newest_ns == START_NS + 100 * MS
    assert source.fill == (3, 100 * 3 * 24 / 10_000)
    add(source, image_message, 1051)
    assert beside(source, 0) == 100
    small = PictureSource(SETUP, max_age_ns=1000 * MS, max_bytes=50)
    add(small, image_message, 0, 10, 20)
    assert beside(small, 0) == 10


def test_a_jump_back_in_time_empties_it(source: PictureSource, image_message: Any) -> None:
    add(source, image_message, 0, 5000, 5100, 1000)
    assert (source.fill[0], beside(source, 5000), source.buffered.resets) == (1, 1000, 1)
    assert not source.forget_after(START_NS + 1000 * MS)
    assert source.forget_after(START_NS + 999 * MS)
    assert source.beside(START_NS) is None


def test_what_cannot_be_read_is_counted(source: PictureSource, image_message: Any) -> None:
    with pytest.raises(ValueError, match="'rgb9'"):
        source.add(image_message(np.zeros((4, 6), np.uint8), "rgb9"))
    assert (source.counts.packets_refused, source.last_refused) == (1, True)
    add(source, image_message, 0)
    assert not source.last_refused


@pytest.mark.parametrize(
    ("time_ms", "health", "sentence"),
    [
        (100, Health.GOOD, ""),
        (150, Health.GOOD, ""),
        (151, Health.STALE, "the nearest thermal image is -51.0 ms from the image's stamp"),
        (49, Health.STALE, "the nearest thermal image is +51.0 ms from the image's stamp; expected less than events"),
    ],
)  # fmt: skip
def test_it_is_judged_by_its_distance(
    source: PictureSource, image_message: Any, time_ms: int, health: Health, sentence: str
) -> None:
    stamp_ns = START_NS + time_ms * MS
    judged = source.judge(stamp_ns, None, 50 * MS)
    assert (judged[0], "no thermal images have come" in judged[1]) == (Health.SILENT, True)
    add(source, image_message, 100)
    judged = source.judge(stamp_ns, source.beside(stamp_ns), 50 * MS)
    assert judged[0] == health
    assert sentence in judged[1]
    assert bool(judged[1]) == bool(sentence)
