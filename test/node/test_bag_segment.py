"""`bag segment`: the node's masks of every image, without a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.data.synthetic import write_sequence
from mambaseg_ros.bag.convert import convert
from mambaseg_ros.bag.segment import MASK_TOPIC, segment
from mambaseg_ros.bag.types import open_bag
from mambaseg_ros.messages import image_from_message, stamp_to_ns
from mambaseg_ros.model import make_segmenter
from mambaseg_ros.parameters import read_values

SMALL = ["model=mambaseg_nano", "image_height=32", "image_width=48", "device=cpu"]


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> tuple[DsecSequence, Path, dict[str, Any]]:
    """A short drive, its bag, and the parameters of a small model."""
    folder = tmp_path_factory.mktemp("drive")
    sequence = DsecSequence(write_sequence(folder, seconds=0.2, image_size=(90, 120), event_size=(80, 100)).path)
    convert(sequence.root, folder / "bag", storage="sqlite3")
    calibration = sequence.root / "calibration" / "cam_to_cam.yaml"
    return sequence, folder / "bag", read_values([*SMALL, f"calibration={calibration}"])


def masks(bag: Path) -> dict[int, np.ndarray]:
    with open_bag(bag) as reader:
        assert {connection.topic for connection in reader.connections} == {MASK_TOPIC}
        messages = [reader.deserialize(data, connection.msgtype) for connection, _, data in reader.messages()]
    return {stamp_to_ns(message.header.stamp): image_from_message(message) for message in messages}


def test_every_image_gets_the_offline_mask(drive: Any, tmp_path: Path) -> None:
    sequence, bag, values = drive
    result = segment(bag, tmp_path / "out", values=values, warn=print)
    assert (result.images, result.masks, result.resumed) == (4, 4, 0)
    segmenter, got = make_segmenter(values, warn=print), masks(tmp_path / "out")
    setup = segmenter.preprocessing
    assert list(got) == sequence.image_times_ns.tolist()
    for index, stamp_ns in enumerate(got):
        events = sequence.window(stamp_ns, setup.window, setup.bins)
        edges_ns = setup.window.edges_ns(events, stamp_ns, bins=setup.bins, mode=setup.voxel_mode)
        ids = segmenter.segment(sequence.image(index), events, edges_ns if len(events) else None).ids
        np.testing.assert_array_equal(got[stamp_ns], segmenter.to_camera(ids, (90, 120)))
    assert not list(tmp_path.glob(".out*"))


def test_an_interrupted_run_goes_on_with_the_same_settings_only(drive: Any, tmp_path: Path) -> None:
    _, bag, values = drive

    def interrupt(done: int, total: int) -> None:
        assert total == 4
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(bag, tmp_path / "out", values=values, warn=print, progress=interrupt)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"\.out\.masks is left from a run with other settings"):
        segment(bag, tmp_path / "out", values={**values, "event_wait_ms": 1.0}, warn=print)
    result = segment(bag, tmp_path / "out", values=values, warn=print)
    assert (result.masks, result.resumed) == (4, 2)
    segment(bag, tmp_path / "whole", values=values, warn=print)
    whole = masks(tmp_path / "whole")
    for stamp_ns, mask in masks(tmp_path / "out").items():
        np.testing.assert_array_equal(mask, whole[stamp_ns])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_topic": "/camera"}, r"topic /camera is not in the bag \(it has /events, /image\)"),
        ({"image_topic": "/events"}, "topic /events is of type mambaseg_ros/msg/EventArray"),
    ],
)
def test_wrong_topics_are_refused(drive: Any, tmp_path: Path, change: dict[str, str], message: str) -> None:
    _, bag, values = drive
    with pytest.raises(ValueError, match=message):
        segment(bag, tmp_path / "out", values=values, warn=print, **change)


def test_masks_that_hang_on_earlier_ones_are_refused(drive: Any, tmp_path: Path) -> None:
    _, bag, values = drive
    with pytest.raises(ValueError, match="when_events_missing is 'hold'; expected 'image_only' or 'drop'"):
        segment(bag, tmp_path / "out", values={**values, "when_events_missing": "hold"}, warn=print)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("speed=1", "'speed=1' sets no parameter"),
        ("device", "'device' sets no parameter"),
        ("buffer_ms=-1", "parameter 'buffer_ms' is -1; expected 10 to 60000"),
    ],
)
def test_wrong_parameters_are_refused(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_values([word])
