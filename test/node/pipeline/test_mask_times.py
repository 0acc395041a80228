"""Mask times, the images that masks are made of, and the clock of the stamps: pure, with numbers written by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mambaseg_ros.pipeline.kept_images import MOST_IMAGES, KeptImage, KeptImages
from mambaseg_ros.pipeline.mask_times import MaskGrid, StampClock, covered

MS = 1_000_000
S = 1_000_000_000


@pytest.mark.parametrize(
    ("rate_hz", "times"),
    [
        (30.0, [0, 33_333_333, 66_666_667, 100_000_000]),
        (29.97, [0, 33_366_700, 66_733_400, 100_100_100]),
        (0.1, [0, 10 * S, 20 * S, 30 * S]),
        (1000.0, [0, MS, 2 * MS, 3 * MS]),
    ],
)
def test_mask_times_are_whole_numbers_of_the_rate_to_the_nanosecond(rate_hz: float, times: list[int]) -> None:
    grid = MaskGrid(rate_hz)
    assert [grid.time_ns(index) for index in range(4)] == times
    third = round(rate_hz) * 1_700_000_000  # of today's stamps: no error grows
    assert MaskGrid(30.0).time_ns(30 * 1_700_000_000 + 1) == 1_700_000_000 * S + 33_333_333
    for index in (0, 1, 2, 3, third, third + 1, third + 2):
        at = grid.time_ns(index)
        assert (grid.up_to(at - 1), grid.up_to(at), grid.up_to(at + 1)) == (index - 1, index, index)


def test_mask_times_with_an_image_are_those_within_its_age() -> None:
    grid = MaskGrid(100.0)  # every 10 ms

    def number(*stamps_ms: float, age_ms: int = 50) -> int:
        return covered(grid, range(1, 21), [round(ms * MS) for ms in stamps_ms], age_ms * MS)  # 10 ms to 200 ms

    assert number() == 0
    assert number(-50) == 0
    assert number(-40) == 1  # 10
    assert number(10) == 6  # 10 to 60
    assert number(10.1) == 5
    assert number(10, 40) == 9  # 10 to 90
    assert number(40, 10, 40) == 9
    assert number(10, 150) == 12  # 10 to 60 and 150 to 200
    assert number(300) == 0
    assert number(10, 15, age_ms=0) == 1
    assert covered(grid, range(0), [0], 50 * MS) == 0


def test_the_time_of_the_stamps_goes_on_with_the_nodes_clock_whatever_that_says() -> None:
    clock = StampClock()
    assert clock.at(5 * S) is None
    clock.see(100 * S, 5 * S)
    assert clock.at(5 * S + 3) == 100 * S + 3
    clock.see(100 * S, 6 * S)  # nothing new came
    assert clock.at(7 * S) == 102 * S
    clock.see(101 * S, 7 * S)
    assert clock.at(7 * S) == 101 * S
    clock.see(101 * S, 2 * S)  # the node's clock was set back
    assert clock.at(2 * S + 1) == 101 * S + 1
    clock.see(50 * S, 2 * S + 1)  # a bag is looped
    assert clock.at(2 * S + 1) == 50 * S


def test_the_wait_begins_with_the_first_tick_of_a_clock_that_stood_at_0() -> None:
    clock = StampClock()
    clock.see(100 * S, 0)
    clock.see(100 * S, 1_700_000_000 * S)
    assert clock.at(1_700_000_000 * S + 5) == 100 * S + 5


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def images(warnings: list[str]) -> KeptImages:
    return KeptImages(warnings.append)


def put(images: KeptImages, *stamps_ms: float) -> list[bool]:
    return [images.put(KeptImage(SimpleNamespace(), round(S + ms * MS))) for ms in stamps_ms]


def at(images: KeptImages, time_ms: float) -> Any:
    image = images.newest_up_to(round(S + time_ms * MS))
    return None if image is None else (image.stamp_ns - S) / MS


def fates(images: KeptImages) -> tuple[int, int, int, int]:
    """Used, replaced, dropped, and kept without a mask so far."""
    waiting = sum(not image.used for image in images._kept) + len(images._jumps.held)
    return images.used, images.replaced, images.dropped, waiting


def test_the_newest_image_up_to_a_time_is_chosen_by_its_stamp(images: KeptImages, warnings: list[str]) -> None:
    assert at(images, 0) is None
    put(images, 10, 30, 20)  # one comes late
    assert [at(images, ms) for ms in (9, 10, 19.9, 20, 29, 30, 1000)] == [None, 10, 10, 20, 20, 30, 30]
    assert not warnings


def test_every_image_has_one_fate(images: KeptImages) -> None:
    put(images, 0, 10, 20)
    image = images.newest_up_to(S + 10 * MS)
    assert image is not None
    images.use(image)
    images.use(image)  # several masks of one image
    assert fates(images) == (1, 1, 0, 1)
    put(images, 5)  # came too late for any mask: the one in use is newer
    newest = images.newest_up_to(S + 30 * MS)
    assert newest is not None
    images.use(newest)
    assert fates(images) == (2, 2, 0, 0)
    put(images, 30)
    images.close()
    assert fates(images) == (2, 2, 1, 0)


def test_images_ahead_of_the_events_do_not_fill_the_memory(images: KeptImages) -> None:
    put(images, *range(0, 10 * (MOST_IMAGES + 3), 10))
    assert (len(images), fates(images)) == (MOST_IMAGES, (0, 3, 0, MOST_IMAGES))


def test_one_image_of_a_wrong_time_is_dropped_and_said(images: KeptImages, warnings: list[str]) -> None:
    assert put(images, 0, 100, -900, 200) == [False] * 4
    assert (at(images, 300), fates(images)) == (200, (0, 0, 1, 3))
    assert put(images, 3_600_000, 300) == [False] * 2  # from the future
    assert (at(images, 10**9), images.settled_ns, fates(images)) == (300, S + 300 * MS, (0, 0, 2, 4))
    assert [sentence.split(" s ")[0] for sentence in warnings] == [
        "images whose times are 1.000", "images whose times are 3599.800",
    ]  # fmt: skip


def test_a_jump_back_is_believed_at_the_third_image_or_with_the_events(images: KeptImages) -> None:
    put(images, 5000)
    assert put(images, 0, 100, 200) == [False, False, True]
    assert (at(images, 9000), images.first_ns, fates(images)) == (200, S, (0, 0, 1, 3))
    assert put(images, -3000) == [False]
    assert not images.agree(S)
    assert images.agree(S - 2990 * MS)
    assert (at(images, 9000), fates(images)) == (-3000, (0, 0, 4, 1))
    put(images, -6000)
    images.close()
    assert fates(images) == (0, 0, 6, 0)
