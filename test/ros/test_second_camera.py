"""A thermal or depth camera in place of events, and how far the model trusts either sensor, over real DDS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drive import DEGRADED, OK, START_NS, named
from mambaseg_ros.msg import SegmentationStatus
from peer import Peer, stamp_of

from mambaseg_core.checkpoint import create_model, save_checkpoint
from mambaseg_core.inference import Segmenter
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_core.preprocessing import picture_preprocessing

pytestmark = pytest.mark.ros
INPUT = (32, 48)
SIZE, SECOND_SIZE = (48, 64), (30, 40)
MS = 1_000_000
PERIOD_NS = 50 * MS


def checkpoint(folder: Path, kind: str, bounds: tuple[float, float] = (0.0, 255.0)) -> Path:
    """A small network that weighs its inputs, as it was made."""
    torch.manual_seed(0)
    model = create_model("mambaseg_nano", num_classes=6, image_size=INPUT, in_channels=3, reliability=True)
    setup = preset_preprocessing("mambaseg_nano", size=INPUT, channels=3)
    if kind != "events":
        setup = picture_preprocessing(INPUT, second=kind, second_range=bounds, repeat=10)
    path = folder / f"{kind}.safetensors"
    save_checkpoint(path, model, setup)
    return path


@pytest.fixture
def drive(domain: int, start: Callable[..., Any], node_command: Callable[..., list[str]]) -> Any:
    """Starts a node with a checkpoint, and gives a peer that is connected with it."""
    peers: list[Peer] = []

    def run(weights: Path, second: str, entry: str) -> Peer:
        peers.append(Peer(domain, second=second))
        peers[-1].process = start(*node_command(weights=weights))
        peers[-1].wait_until_connected(entry)
        return peers[-1]

    yield run
    for peer in peers:
        peer.close()


def scene(number: int, size: tuple[int, int]) -> np.ndarray:
    """Another picture each time: uint8."""
    rng = np.random.default_rng(number)
    return np.kron(rng.integers(0, 256, (size[0] // 2, size[1] // 2)), np.ones((2, 2))).astype(np.uint8)


def test_masks_are_those_of_the_image_and_the_thermal_image_nearest_to_it(drive: Any, tmp_path: Path) -> None:
    weights = checkpoint(tmp_path, "thermal")
    peer, segmenter = drive(weights, "second", "thermal"), Segmenter(weights, "cpu")
    assert peer.set_parameter("images_stale_ms", 60_000.0) == ""  # or /diagnostics shows no mask's reliability any more
    for number in range(6):
        stamp_ns = START_NS + number * PERIOD_NS
        for turn, offset_ns in enumerate((-7 * MS, 25 * MS)):  # the second one is nearer to no image
            peer.send_image(stamp_ns + offset_ns, scene(100 * number + turn, SECOND_SIZE), topic="second")
        image = np.dstack([scene(1000 + number, SIZE)] * 3)
        status = peer.exchange(stamp_ns, image, encoding="rgb8")
        assert (status.state, status.message) == (OK, "")
        assert (status.window_start_ns, status.window_end_ns) == (stamp_ns - 7 * MS, stamp_ns)
        peer.spin_until(lambda n=number: len(peer.masks) > n, "the mask")
        mask = peer.masks[-1]
        assert (stamp_of(mask), mask.height, mask.width) == (stamp_ns, *SIZE)
        expected = segmenter.segment(image, scene(100 * number, SECOND_SIZE))
        np.testing.assert_array_equal(
            np.frombuffer(mask.data, np.uint8).reshape(SIZE), segmenter.to_camera(expected.ids, SIZE)
        )
        assert (status.image_reliability, status.second_reliability) == pytest.approx(expected.reliability, rel=1e-4)

    peer.send_image(stamp_ns + 200 * MS, scene(0, SECOND_SIZE).view(np.uint16), encoding="16UC1", topic="second")
    status = peer.exchange(stamp_ns + 200 * MS, image, encoding="rgb8")
    assert (status.state, status.policy) == (DEGRADED, "image_only")
    assert status.events_health == SegmentationStatus.HEALTH_BAD
    assert (status.packets_received, status.packets_refused) == (13, 1)
    named(peer, "thermal image has encoding '16UC1'")
    entry = peer.diagnosed("thermal")
    assert (entry.values["topic"], entry.values["type"]) == ("/second", "sensor_msgs/msg/Image")
    assert entry.values["reliability"] == "0.000"

    peer.republish("second")  # its driver comes back, with another size
    peer.wait_until_connected("thermal")
    stamp_ns += 400 * MS
    peer.send_image(stamp_ns, scene(1, SIZE), topic="second")
    assert peer.exchange(stamp_ns, image, encoding="rgb8").state == OK


def test_depth_in_millimetres_and_in_metres_gives_the_same_mask(drive: Any, tmp_path: Path) -> None:
    peer = drive(checkpoint(tmp_path, "depth", (0.0, 10_000.0)), "second", "depth")
    depth = (scene(0, SIZE).astype(np.uint16) + 1) * 40
    depth[:9] = 0
    metres = depth.astype(np.float32) / 1000
    metres[:9] = np.nan
    image = np.dstack([scene(1, SIZE)] * 3)
    for number, (picture, encoding) in enumerate(((depth, "16UC1"), (metres, "32FC1"), (depth[::-1].copy(), "16UC1"))):
        stamp_ns = START_NS + number * PERIOD_NS
        peer.send_image(stamp_ns, picture, encoding=encoding, topic="second")
        status = peer.exchange(stamp_ns, image, encoding="rgb8")
        assert (status.state, status.message) == (OK, "")
        peer.spin_until(lambda n=number: len(peer.masks) > n, "the mask")
    in_millimetres, in_metres, of_another = (bytes(mask.data) for mask in peer.masks)
    assert in_millimetres == in_metres
    assert in_millimetres != of_another


def test_a_covered_camera_and_a_dead_event_sensor_show_in_the_status(drive: Any, tmp_path: Path) -> None:
    peer = drive(checkpoint(tmp_path, "events"), "events", "events")
    rng = np.random.default_rng(0)

    def frame(number: int, image: np.ndarray, *, alive: bool) -> Any:
        stamp_ns = START_NS + number * PERIOD_NS
        t_ns = np.sort(rng.integers(stamp_ns - PERIOD_NS, stamp_ns, 2000))
        x, y = rng.integers(SIZE[1], size=2000), rng.integers(SIZE[0], size=2000)
        if alive:
            peer.send_events(x, y, np.append(t_ns[:-1], stamp_ns), x % 2, height=SIZE[0], width=SIZE[1])
        return peer.exchange(stamp_ns, image, encoding="rgb8")

    image = np.dstack([scene(1, SIZE)] * 3)
    good = [frame(number, image, alive=True) for number in range(3)]
    covered = [frame(number, np.full_like(image, 3), alive=True) for number in range(3, 6)]
    back = frame(6, image, alive=True)
    assert peer.set_parameter("event_wait_ms", 100.0) == ""
    dead = [frame(number, image, alive=False) for number in range(8, 11)]
    for status in (*good, back):
        assert status.state == OK
        assert min(status.image_reliability, status.second_reliability) > 0.5
    assert [status.image_reliability for status in covered] == [0, 0, 0]
    assert min(status.second_reliability for status in covered) > 0.5
    assert [status.second_reliability for status in dead] == [0, 0, 0]
    assert min(status.image_reliability for status in dead) > 0.5
    assert {status.events_health for status in dead} == {SegmentationStatus.HEALTH_STALE}
