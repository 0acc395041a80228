"""The main job: a synthetic drive, its bag, the player, the node, the recorder; and the same masks offline."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.recordings.bag import Bag
from mambaseg_core.synth.dsec_drive import write_sequence
from mambaseg_ros.messages.images import image_from_message
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.model import make_segmenter
from mambaseg_ros.parameters import Parameters

pytestmark = pytest.mark.ros
MAMBASEG = (sys.executable, "-m", "mambaseg_ros")
MODEL = {"model": "mambaseg_nano", "weights": "random", "image_height": 32, "image_width": 48, "device": "cpu"}
CALIBRATION = "calibration/cam_to_cam.yaml"


@pytest.fixture
def sequence(tmp_path: Path) -> DsecSequence:
    """A short drive with an event camera of 120x160 and a frame camera of 135x180 that looks elsewhere."""
    summary = write_sequence(tmp_path, seconds=0.3, image_size=(135, 180), event_size=(120, 160))
    assert summary.images == 6
    return DsecSequence(summary.path)


def recorded_masks(bag: Path) -> dict[int, np.ndarray]:
    with Bag(bag) as reader:
        messages = [reader.deserialize(topic, data) for topic, _, data in reader.messages()]
    return {stamp_to_ns(message.header.stamp): image_from_message(message) for message in messages}


def offline_masks(sequence: DsecSequence) -> dict[int, np.ndarray]:
    """The masks of the node's own model, with windows cut from the sequence's file."""
    parameters = Parameters(**MODEL, calibration=str(sequence.root / CALIBRATION))
    segmenter = make_segmenter(parameters, warn=print)
    setup = segmenter.preprocessing
    masks = {}
    for index, stamp_ns in enumerate(sequence.image_times_ns.tolist()):
        events = sequence.events.between(setup.window.start_ns(stamp_ns, setup.bins), stamp_ns).events
        events = setup.window.cut(events, stamp_ns, setup.bins)
        edges_ns = setup.window.edges_ns(events, stamp_ns, bins=setup.bins, mode=setup.voxel_mode)
        ids = segmenter.segment(sequence.image(index), events, edges_ns).ids
        masks[stamp_ns] = segmenter.to_camera(ids, sequence.image(index).shape[:2])
    return masks


def test_a_replayed_drive_gives_the_masks_of_the_offline_model_bit_for_bit(
    sequence: DsecSequence, tmp_path: Path, start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    bag, masks = tmp_path / "drive", tmp_path / "masks"
    converted = start(*MAMBASEG, "bag", "convert", sequence.root, bag)
    assert converted.child.wait(timeout=300) == 0, converted.output
    recorder = start(*MAMBASEG, "bag", "record", masks, "/mambaseg/mask", "--idle", 8)
    node = start(*node_command(**MODEL, calibration=sequence.root / CALIBRATION))
    recorder.wait_for_line("recording /mambaseg/mask")  # which may be late where the machine is busy
    player = start(*MAMBASEG, "bag", "play", bag, "--rate", "0.05", "--wait", "90")
    assert player.child.wait(timeout=500) == 0, player.output
    assert recorder.child.wait(timeout=300) == 0, recorder.output + node.output

    expected, got = offline_masks(sequence), recorded_masks(masks)
    assert list(got) == list(expected), node.output
    for stamp_ns, mask in expected.items():
        assert mask.shape == (135, 180)
        np.testing.assert_array_equal(got[stamp_ns], mask)
    assert any((mask == 255).any() and (mask < 11).any() for mask in expected.values())
