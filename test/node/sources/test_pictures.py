"""Which image of a second camera belongs to an image, and when it is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mambaseg_core.preprocessing import picture_preprocessing
from mambaseg_ros.policy import Health, Limits
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
    assert beside(source, 0) == 0  # one image of a later time may be wrong
    add(source, image_message, 1052, 1053)
    assert beside(source, 0) == 100
    small = PictureSource(SETUP, max_age_ns=1000 * MS, max_bytes=50)
    add(small, image_message, 0, 10, 20)
    assert beside(small, 0) == 10


def test_a_jump_back_in_time_empties_it_at_the_third_image(source: PictureSource, image_message: Any) -> None:
    add(source, image_message, 0, 4950, 5000, 5050, 1000, 1010)
    assert (source.fill[0], beside(source, 5000), source.buffered.resets) == (3, 5000, 0)
    add(source, image_message, 1020)
    assert (source.fill[0], beside(source, 5000), source.buffered.resets) == (3, 1020, 1)
    assert not source.forget_after(START_NS + 1020 * MS)
    assert source.forget_after(START_NS + 1019 * MS)
    assert source.beside(START_NS) is None


@pytest.mark.parametrize("wrong_ms", [-50_000, -1000, 1500, 3_600_000])
def test_one_image_of_another_time_moves_nothing(image_message: Any, wrong_ms: int) -> None:
    said: list[str] = []
    source = PictureSource(SETUP, max_age_ns=1000 * MS, max_bytes=10_000, warn=said.append)
    for t in range(0, 500, 50):
        add(source, image_message, t)
    add(source, image_message, 500 + wrong_ms)
    for t in (550, 600, 650):
        add(source, image_message, t)
    assert (source.fill[0], source.newest_ns, source.buffered.resets) == (13, START_NS + 650 * MS, 0)
    assert (source.counts.packets_refused, source.counts.sensor_changes) == (1, 0)
    assert [f"thermal images whose times are {abs(wrong_ms + 50) / 1e3:.3f} s" in sentence for sentence in said] == [
        True
    ]


def test_an_image_of_the_other_time_is_a_second_witness(source: PictureSource, image_message: Any) -> None:
    add(source, image_message, 4950, 5000, 5050, 0)
    assert not source.agree(START_NS + 2000 * MS)
    assert source.agree(START_NS + 20 * MS)
    assert (source.fill[0], source.newest_ns, source.buffered.resets) == (1, START_NS, 1)


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
    judged = source.judge(stamp_ns, None, Limits(50 * MS))
    assert (judged[0], "no thermal images have come" in judged[1]) == (Health.SILENT, True)
    add(source, image_message, 100)
    judged = source.judge(stamp_ns, source.beside(stamp_ns), Limits(50 * MS))
    assert judged[0] == health
    assert sentence in judged[1]
    assert bool(judged[1]) == bool(sentence)
