"""`bag segment --rate`: masks between the images of a bag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mambaseg_core.events import Events
from mambaseg_core.recordings.bag import Bag
from mambaseg_ros.bag.drawn_masks import image_stamps, images_of_masks
from mambaseg_ros.bag.frames import find_topics
from mambaseg_ros.bag.pictures import draw_pictures
from mambaseg_ros.bag.segment import segment
from mambaseg_ros.bag.types import ImageWriter, make_header, new_bag, typestore
from mambaseg_ros.messages.images import image_from_message
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.messages.types import COLUMNS_TYPE
from mambaseg_ros.model import make_segmenter
from mambaseg_ros.parameters import read_parameters

SIZE = (60, 80)
START_NS = 10**18
MS = 1_000_000
SMALL = ["model=mambaseg_nano", "weights=random", "image_height=32", "image_width=48", "device=cpu"]
AT_30_HZ = read_parameters([*SMALL, "mask_rate_hz=30", "min_window_share=0"])


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3), np.uint8)


def packet_of(index: int) -> tuple[np.ndarray, ...]:
    """Columns x, y, t_offset_ns, p of the packet of 5 ms with this number."""
    rng = np.random.default_rng(1000 + index)
    x, y = (rng.integers(0, below, 200, dtype=np.uint16) for below in SIZE[::-1])
    t = np.sort(rng.integers(0, 5 * MS, 200)).astype(np.uint32)
    return x, y, t, rng.integers(0, 2, 200).astype(np.uint8)


def rate_bag(
    path: Path, images: Sequence[tuple[float, float]], *, length_ms: int = 500, silent: range = range(0)
) -> Path:
    """Write a bag of images, each (stamp, arrival) in milliseconds, and packets of 5 ms but for the silent ones."""
    store = typestore()
    kind = store.types[COLUMNS_TYPE]
    sent: list[tuple[float, str, Any]] = [
        (came, "/image", (number, stamp)) for number, (stamp, came) in enumerate(images)
    ]
    sent += [(5 * n + 5, "/events", n) for n in range(length_ms // 5) if n not in silent]
    with new_bag(path) as bag:
        writer = ImageWriter(bag, store, "/image")
        events = bag.add_connection("/events", COLUMNS_TYPE, typestore=store)
        for came_ms, topic, what in sorted(sent, key=lambda each: each[0]):
            bag_ns = START_NS + round(came_ms * MS)
            if topic == "/image":
                stamp_ns = START_NS + round(what[1] * MS)
                writer.write(bag_ns, make_header(store, stamp_ns, "camera"), picture(what[0]))
            else:
                header = make_header(store, START_NS + what * 5 * MS, "events")
                message = kind(header, *SIZE, what, *packet_of(what))
                bag.write(events, bag_ns, store.serialize_cdr(message, COLUMNS_TYPE))
    return path


def read_masks(bag: Path) -> dict[int, Any]:
    with Bag(bag) as reader:
        messages = [(bag_ns, reader.deserialize(topic, data)) for topic, bag_ns, data in reader.messages()]
    assert [bag_ns for bag_ns, _ in messages] == sorted(bag_ns for bag_ns, _ in messages)
    assert {message.header.frame_id for _, message in messages} <= {"camera"}
    return {stamp_to_ns(message.header.stamp): image_from_message(message) for _, message in messages}


def expected_mask(image: int, time_ns: int, packets: int, segmenter: Any) -> np.ndarray:
    """The mask of an image and the events before a time, from arrays alone."""
    columns = [packet_of(index) for index in range(packets)]
    x, y, p = (np.concatenate([packet[at] for packet in columns]) for at in (0, 1, 3))
    t_ns = np.concatenate([START_NS + 5 * MS * n + packet[2].astype(np.int64) for n, packet in enumerate(columns)])
    setup = segmenter.preprocessing
    events = setup.window.cut(Events.from_arrays(x, y, t_ns, p, height=SIZE[0], width=SIZE[1]), time_ns, setup.bins)
    edges_ns = setup.window.edges_ns(events, time_ns, bins=setup.bins, mode=setup.voxel_mode)
    return segmenter.to_camera(segmenter.segment(picture(image), events, edges_ns).ids, SIZE)


def times_between(first_ms: float, last_ms: float) -> list[int]:
    return [
        time_ns
        for k in range(20)
        if START_NS + first_ms * MS <= (time_ns := START_NS + round(k * 10**9 / 30)) <= START_NS + last_ms * MS
    ]


TEN_HZ = [(12 + 100 * n, 20 + 100 * n) for n in range(5)]


@pytest.fixture(scope="module")
def ten_hz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rate_bag(tmp_path_factory.mktemp("rate") / "bag", TEN_HZ)


def test_masks_lie_on_the_grid_and_are_those_of_the_newest_image_and_the_events_before(
    ten_hz: Path, tmp_path: Path
) -> None:
    result = segment(ten_hz, tmp_path / "out", parameters=AT_30_HZ, warn=print)
    assert (result.images, result.masks, result.mask_times, dict(result.complaints)) == (5, 14, 14, {})
    found, segmenter = read_masks(tmp_path / "out"), make_segmenter(AT_30_HZ, warn=print)
    assert list(found) == times_between(12, 499)
    for time_ns, mask in found.items():
        image = (time_ns - START_NS - 12 * MS) // (100 * MS)
        np.testing.assert_array_equal(mask, expected_mask(image, time_ns, 100, segmenter))


def test_an_image_that_came_late_serves_only_masks_that_were_not_made_yet(tmp_path: Path) -> None:
    bag = rate_bag(tmp_path / "bag", [(12, 20), (112, 190), (212, 220)], length_ms=250)
    segment(bag, tmp_path / "out", parameters=replace(AT_30_HZ, image_age_max_ms=200.0), warn=print)
    found, segmenter = read_masks(tmp_path / "out"), make_segmenter(AT_30_HZ, warn=print)
    assert list(found) == times_between(12, 249)
    for time_ns, image in zip(found, (0, 0, 0, 0, 0, 1, 2), strict=True):  # 133 and 167 ms came before it
        np.testing.assert_array_equal(found[time_ns], expected_mask(image, time_ns, 50, segmenter))


def test_images_after_the_last_mask_are_counted_too(tmp_path: Path) -> None:
    bag = rate_bag(tmp_path / "bag", [(12, 20), (240, 245)], length_ms=250)
    parameters = replace(AT_30_HZ, image_age_max_ms=300.0)
    result = segment(bag, tmp_path / "out", parameters=parameters, warn=print)
    assert (result.images, result.masks) == (2, 7)


def test_where_images_end_masks_end_with_their_age(tmp_path: Path) -> None:
    bag = rate_bag(tmp_path / "bag", TEN_HZ[:2], length_ms=400)
    result = segment(bag, tmp_path / "out", parameters=AT_30_HZ, warn=print)
    assert list(read_masks(tmp_path / "out")) == times_between(12, 262)
    assert (result.mask_times, result.masks) == (11, 7)
    ((sentence, times),) = result.complaints.items()
    assert sentence.startswith(
        "the newest image is 154.7 ms old at the mask's time; expected one of at most image_age_max"
    )
    assert times == 4


def test_a_clock_that_was_set_after_the_first_image_makes_no_endless_run(tmp_path: Path) -> None:
    bag = rate_bag(tmp_path / "bag", [(-START_NS / MS, 1), *TEN_HZ])  # the first stamp is 0
    result = segment(bag, tmp_path / "out", parameters=AT_30_HZ, warn=print)
    begin = [round(k * 10**9 / 30) for k in range(5)]  # up to 150 ms after it
    assert list(read_masks(tmp_path / "out")) == [*begin, *times_between(12, 499)]
    assert result.mask_times == 30 * 10**9 + 15  # from 0 to 10^9 s and 499 ms
    (sentence,) = [said for said in result.complaints if "in a row" in said]
    assert sentence.startswith("29999999996 mask times in a row were passed over, since no image of at most image_age_")


def test_events_that_pause_are_waited_for_in_the_bags_time(tmp_path: Path) -> None:
    bag = rate_bag(tmp_path / "bag", TEN_HZ, silent=range(30, 80))  # of 150 to 400 ms
    parameters = replace(AT_30_HZ, when_events_missing="drop")
    result = segment(bag, tmp_path / "out", parameters=parameters, warn=print)
    assert result.mask_times == 14
    # up to 50 ms after the last event the mask has those before it
    assert list(read_masks(tmp_path / "out")) == [*times_between(12, 199), *times_between(401, 499)]
    assert sum(result.complaints.values()) == 7
    assert all("before the mask's time; expected less than events_stale_ms = 50" in said for said in result.complaints)


def test_a_mask_that_was_waited_for_does_not_know_an_image_that_came_later(tmp_path: Path) -> None:
    bag = rate_bag(tmp_path / "bag", [(12, 20), (112, 120), (152, 225)], length_ms=250, silent=range(30, 50))
    segment(bag, tmp_path / "out", parameters=AT_30_HZ, warn=print)
    time_ns = START_NS + 166_666_667  # due 50 ms after it by the bag's clock, since events end at 150 ms
    expected = expected_mask(1, time_ns, 30, make_segmenter(AT_30_HZ, warn=print))
    np.testing.assert_array_equal(read_masks(tmp_path / "out")[time_ns], expected)


def test_an_interrupted_run_goes_on_with_the_same_masks(ten_hz: Path, tmp_path: Path) -> None:
    made: list[int] = []

    def interrupt(done: int, total: int) -> None:
        assert total == 5
        made.append(done)
        if len(made) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(ten_hz, tmp_path / "out", parameters=AT_30_HZ, warn=print, progress=interrupt)
    assert made == [1, 1, 1, 2, 2, 2]
    result = segment(ten_hz, tmp_path / "out", parameters=AT_30_HZ, warn=print)
    assert (result.masks, result.resumed) == (14, 6)
    segment(ten_hz, tmp_path / "whole", parameters=AT_30_HZ, warn=print)
    whole = read_masks(tmp_path / "whole")
    for time_ns, mask in read_masks(tmp_path / "out").items():
        np.testing.assert_array_equal(mask, whole[time_ns])


@pytest.mark.parametrize("policy", ["events_only", "hold"])
def test_masks_without_an_image_are_refused(ten_hz: Path, tmp_path: Path, policy: str) -> None:
    with pytest.raises(ValueError, match=f"when_images_missing is '{policy}'; expected 'drop'"):
        segment(ten_hz, tmp_path / "out", parameters=replace(AT_30_HZ, when_images_missing=policy), warn=print)
    assert not list(tmp_path.iterdir())


def test_masks_between_images_are_drawn_over_the_newest_image(ten_hz: Path, tmp_path: Path) -> None:
    segment(ten_hz, tmp_path / "masks", parameters=AT_30_HZ, warn=print)
    summary = draw_pictures(ten_hz, tmp_path / "masks", tmp_path / "out")
    assert (summary.images, summary.masks) == (5, 14)
    stamps = [int(file.stem.split("_")[1]) for file in sorted((tmp_path / "out").glob("overlay_*.png"))]
    assert stamps == times_between(12, 499)


def test_masks_of_another_size_or_of_another_time_are_not_drawn(ten_hz: Path, tmp_path: Path) -> None:
    store = typestore()
    with new_bag(tmp_path / "masks") as bag:
        time_ns = START_NS + 450 * MS
        writer = ImageWriter(bag, store, "/mambaseg/mask")
        writer.write(time_ns, make_header(store, time_ns, "camera"), np.zeros((32, 48), np.uint8))
    with pytest.raises(ValueError, match=r"450000000 ns in \S+ is 48x32 and the image 80x60; expected one size"):
        draw_pictures(ten_hz, tmp_path / "masks", tmp_path / "out")
    with Bag(ten_hz) as reader:
        stamps_ns = image_stamps(reader, find_topics(reader))
        image_of = images_of_masks([START_NS + 450 * MS, START_NS - 1, START_NS + 10**11], stamps_ns)
        assert image_of == {START_NS + 450 * MS: START_NS + 412 * MS}
