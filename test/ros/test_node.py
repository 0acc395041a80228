"""The main job over real DDS: image and events from this process, masks from the node's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import GetState
from mambaseg_ros.msg import EventArray, SegmentationStatus
from peer import stamp_of

from mambaseg_ros.cores import allowed_cores

pytestmark = pytest.mark.ros

SIZE = (52, 70)  # rows, columns of the test's sensors
START_NS = 1_700_000_000_000_000_000
FRAME_NS = 50_000_000
OK, DEGRADED, ERROR = SegmentationStatus.STATE_OK, SegmentationStatus.STATE_DEGRADED, SegmentationStatus.STATE_ERROR


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, SIZE, np.uint8)


def send_events_until(peer: Any, end_ns: int, count: int = 500) -> None:
    """`count` events in the 50 ms before end_ns, and one just after it, so that the node need not wait."""
    rng = np.random.default_rng(end_ns % 1000)
    t_ns = np.append(end_ns - FRAME_NS + np.arange(count) * (FRAME_NS // count), end_ns + 1000)
    x, y = rng.integers(0, SIZE[1], count + 1), rng.integers(0, SIZE[0], count + 1)
    peer.send_events(x, y, t_ns, rng.integers(0, 2, count + 1), height=SIZE[0], width=SIZE[1])


def exchange(peer: Any, stamp_ns: int, **image: Any) -> Any:
    """Send one image and return the status that answers it."""
    return peer.exchange(stamp_ns, image.pop("picture", picture()), **image)


def test_every_image_gets_a_mask_of_its_size_and_header(ready: Any) -> None:
    overlay = ready.listen("overlay")
    for index in range(4):
        stamp_ns = START_NS + index * FRAME_NS
        send_events_until(ready, stamp_ns)
        status = exchange(ready, stamp_ns)
        assert (status.state, status.message) == (OK, "")
        assert status.events_used == 500 + (index > 0)  # and the one just after the previous image
        assert status.window_end_ns == stamp_ns
        assert stamp_ns - FRAME_NS <= status.window_start_ns < stamp_ns
    ready.spin_until(lambda: len(ready.masks) == 4, "four masks")
    ready.spin_until(lambda: len(ready.seen["overlay"]) >= 3, "overlays")
    ready.node.destroy_subscription(overlay)
    for index, mask in enumerate(ready.masks):
        assert stamp_of(mask) == START_NS + index * FRAME_NS
        assert mask.header.frame_id == "camera"
        assert (mask.height, mask.width, mask.encoding, mask.step) == (*SIZE, "mono8", SIZE[1])
        ids = np.frombuffer(mask.data, np.uint8).reshape(SIZE)
        cropped = round(60 * SIZE[0] / 260)  # DDD17's bonnet: the model saw nothing there
        assert (ids[-cropped:] == 255).all()
        assert (ids[:-cropped] < 6).all()
    assert ready.seen["overlay"][-1].encoding == "rgb8"
    status = ready.statuses[-1]
    assert (status.images_received, status.masks_published, status.packets_received) == (4, 4, 4)
    assert (status.images_replaced, status.packets_lost, status.events_refused) == (0, 0, 0)
    assert status.total_ms >= status.inference_ms > 0


def test_newest_image_wins_and_replaced_ones_are_counted(ready: Any) -> None:
    for index in range(15):
        ready.send_image(START_NS + index, picture())
    last = START_NS + 14
    ready.spin_until(lambda: any(stamp_of(mask) == last for mask in ready.masks), "the mask of the newest image")
    ready.spin_until(lambda: any(stamp_of(status) == last for status in ready.statuses), "its status")
    status = ready.statuses[-1]
    assert status.images_received == 15
    assert status.images_received == status.masks_published + status.images_replaced
    assert status.masks_published < 15


def test_rows_may_be_padded(ready: Any) -> None:
    send_events_until(ready, START_NS)
    plain = exchange(ready, START_NS, picture=picture(3))
    padded = exchange(ready, START_NS, picture=picture(3), pad=10)
    assert (plain.state, padded.state) == (OK, OK)
    ready.spin_until(lambda: len(ready.masks) == 2, "both masks")
    assert bytes(ready.masks[0].data) == bytes(ready.masks[1].data)


def test_bad_images_are_refused_with_a_sentence_and_the_node_lives_on(ready: Any) -> None:
    status = exchange(ready, START_NS, encoding="32FC1")
    assert status.state == ERROR
    assert "'32FC1'" in status.message
    assert "mono8" in status.message
    status = exchange(ready, START_NS, encoding="rgb8")  # mono data under the name of rgb8
    assert status.state == ERROR
    assert f"step {SIZE[1]}" in status.message
    assert status.images_refused == 2
    send_events_until(ready, START_NS)
    assert exchange(ready, START_NS).state == OK


def test_image_without_events_says_so(ready: Any) -> None:
    status = exchange(ready, START_NS)
    assert status.state == DEGRADED
    assert "no events have come" in status.message
    assert (status.policy, status.events_health) == ("image_only", SegmentationStatus.HEALTH_SILENT)
    assert status.events_used == 0
    ready.spin_until(lambda: len(ready.masks) == 1, "a mask from the image alone")


def test_a_status_a_second_says_that_the_node_lives_while_images_are_missing(ready: Any) -> None:
    ready.heartbeats.clear()
    ready.spin_until(lambda: len(ready.heartbeats) >= 2, "two of them")
    first, second = ready.heartbeats[:2]
    assert (first.state, first.policy, first.images_received) == (ERROR, "drop", 0)
    assert (first.images_health, first.window_end_ns) == (SegmentationStatus.HEALTH_SILENT, 0)
    assert first.message.startswith(("no image for more than images_stale_ms = 500", "nothing comes on /image"))
    assert stamp_of(second) > stamp_of(first) > START_NS  # of the node's clock
    send_events_until(ready, START_NS)
    assert exchange(ready, START_NS).state == OK
    assert len(ready.statuses) == 1


def test_stale_events_are_named(ready: Any) -> None:
    assert ready.set_parameter("events_stale_ms", 30.0) == ""
    send_events_until(ready, START_NS)
    status = exchange(ready, START_NS + 40_000_000)
    assert status.state == DEGRADED
    assert "events end 40.0 ms before the image's stamp" in status.message
    assert ready.set_parameter("events_stale_ms", 50.0) == ""


def test_bad_event_messages_are_counted_and_the_rest_is_used(ready: Any) -> None:
    height, width = SIZE
    ready.send_events([], [], [], [], height=height, width=width)  # empty: fine
    ready.send_events([width, 0], [0, 0], [START_NS - 10, START_NS - 5], [1, 0], height=height, width=width)
    ready.send_events([0, 1], [0], [START_NS - 4, START_NS - 3], [1, 1], height=height, width=width)  # columns differ
    ready.send_events([0], [0], [START_NS - 2], [1], height=height + 1, width=width)  # another sensor
    ready.send_events([0], [0], [START_NS + 10], [1], height=height, width=width)
    status = exchange(ready, START_NS)
    assert status.events_refused == 1
    assert status.packets_refused == 2
    assert status.events_used == 1
    output = ready.process.output
    assert "columns of lengths" in output
    assert f"{height + 1}" in output


def test_event_packets_of_a_driver_are_found_by_their_type_and_decoded(ready: Any) -> None:
    messages = pytest.importorskip("event_camera_msgs.msg", reason="event_camera_msgs is not built: run `make test`")
    peer = ready
    peer.republish("events", messages.EventPacket)
    peer.wait_until_connected()
    packet = messages.EventPacket(height=SIZE[0], width=SIZE[1], encoding="mono", time_base=START_NS - FRAME_NS)
    x, y, dt = np.arange(20, dtype=np.uint64), np.arange(20, dtype=np.uint64), np.arange(20, dtype=np.uint64) * 10**6
    words = dt | (x << np.uint64(32)) | (y << np.uint64(48)) | np.uint64(1 << 63)
    packet.events.frombytes(words.astype("<u8").tobytes())
    for seq in (0, 3):  # two were lost between them
        packet.seq = seq
        packet.header.stamp.sec, packet.header.stamp.nanosec = divmod(packet.time_base, 10**9)
        peer.events.publish(packet)
        packet.time_base += FRAME_NS
    status = exchange(peer, START_NS)
    assert (status.state, status.events_used, status.packets_lost) == (OK, 20, 2), status.message
    packet.encoding, packet.seq = "evt9", 4
    peer.events.publish(packet)
    assert exchange(peer, START_NS).packets_refused == 1
    peer.process.wait_for_line("'evt9'")


def test_under_simulated_time_without_a_clock_it_still_finds_its_topics(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    peer.silence("events")
    peer.process = start(*node_command(use_sim_time="true"))
    peer.process.wait_for_line("nothing comes on /events (0 publishers: none)")
    peer.process.wait_for_line("nothing comes on /clock (0 publishers)")
    peer.node.create_publisher(EventArray, "/davis/events", 10)
    peer.process.wait_for_line(
        "is it /davis/events? Then launch with events_topic:=/davis/events, or run with -r events:="
    )
    peer.republish("events")
    peer.wait_until_connected()


def test_images_out_of_order_empty_nothing(ready: Any) -> None:
    send_events_until(ready, START_NS)
    assert exchange(ready, START_NS).state == OK
    status = exchange(ready, START_NS - 1)
    assert (status.state, status.events_used, status.resets) == (OK, 500, 0)


def test_parameters_are_refused_while_active_and_checked_again_when_activated(ready: Any) -> None:
    assert "deactivate" in ready.set_parameter("buffer_ms", 10.0)
    assert ready.change(Transition.TRANSITION_DEACTIVATE)
    assert ready.set_parameter("buffer_ms", 10.0) == ""
    assert not ready.change(Transition.TRANSITION_ACTIVATE)
    ready.process.wait_for_line("cannot activate: parameter 'buffer_ms' is 10; expected at least 2050")
    assert ready.set_parameter("buffer_ms", 2050.0) == ""
    assert ready.change(Transition.TRANSITION_ACTIVATE)
    ready.wait_until_connected()
    send_events_until(ready, START_NS)
    assert exchange(ready, START_NS).state == OK


def test_a_device_that_no_model_runs_on_is_refused_in_configure(
    start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    process = start(*node_command(device="meta"))
    process.wait_for_line("cannot configure: device is 'meta'")
    assert process.stop() == 0
    assert "Traceback" not in process.output


def test_a_missing_parameter_file_ends_the_node_with_a_sentence(
    start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    process = start(*node_command(), "--params-file", "/nowhere.yaml")
    assert process.child.wait(timeout=300) == 2
    process.stop()
    assert "/nowhere.yaml" in process.output
    assert "Traceback" not in process.output


def test_lost_packets_are_counted(ready: Any) -> None:
    send_events_until(ready, START_NS)
    ready.seq += 7
    send_events_until(ready, START_NS + FRAME_NS)
    assert exchange(ready, START_NS + FRAME_NS).packets_lost == 7


def test_a_looped_bag_starts_afresh(ready: Any) -> None:
    for _ in range(2):
        for index in range(3):
            stamp_ns = START_NS + index * 200_000_000
            send_events_until(ready, stamp_ns, count=300)
            status = exchange(ready, stamp_ns)
            assert (status.state, status.events_used) == (OK, 300), status.message
    assert status.resets == 1


def test_sigint_and_sigterm_end_the_node_cleanly(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    for sign in (signal.SIGINT, signal.SIGTERM):
        # slow enough to be met while it infers
        process = start(*node_command(image_height=200, image_width=346, weights="random"))
        peer.wait_until_connected()
        for index in range(5):
            peer.send_image(START_NS + index, picture())
        peer.spin_until(lambda: len(peer.statuses) > 0, "the first status")
        peer.statuses.clear()
        assert process.stop(sign) == 0, process.output
        assert "Traceback" not in process.output


def test_without_parameters_it_runs_the_weights_that_ship_and_says_what_they_are(
    peer: Any, start: Callable[..., Any]
) -> None:
    peer.process = start(sys.executable, "-m", "mambaseg_ros.node")
    peer.process.wait_for_line("mambaseg_nano has weights that were trained on synthetic drives only")
    peer.process.wait_for_line("active: model mambaseg_nano, weights synthetic (sha256 ")
    peer.wait_until_connected()
    assert peer.diagnosed("model").values["weights"] == "synthetic"
    send_events_until(peer, START_NS)
    peer.send_image(START_NS, picture())
    peer.spin_until(lambda: len(peer.masks) == 1, "a mask")


def test_a_node_may_end_where_it_cannot_be_configured(
    start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    process = start(*node_command(weights="/nowhere/best.safetensors", exit_on_failure="true"))
    assert process.child.wait(timeout=300) == 1
    process.stop()
    assert "cannot configure: " in process.output
    assert "Traceback" not in process.output


def test_missing_weights_are_named_and_can_be_corrected(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    process = start(*node_command(weights="/nowhere/best.safetensors"))
    process.wait_for_line("/nowhere/best.safetensors does not exist")
    assert state_of(peer) == State.PRIMARY_STATE_UNCONFIGURED
    assert peer.set_parameter("weights", "random") == ""
    assert peer.change(Transition.TRANSITION_CONFIGURE)
    assert peer.change(Transition.TRANSITION_ACTIVATE)
    peer.wait_until_connected()
    send_events_until(peer, START_NS)
    status = exchange(peer, START_NS)
    assert (status.state, status.events_used) == (DEGRADED, 500)
    assert "the weights are random, so the mask means nothing" in status.message
    assert peer.diagnosed("model").level == 2
    for transition in (
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    ):
        assert peer.change(transition)
    peer.wait_until_connected()
    send_events_until(peer, START_NS)
    assert exchange(peer, START_NS).masks_published == 1
    assert process.child.poll() is None


def test_a_parameter_out_of_bounds_is_refused_with_its_reason(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    process = start(*node_command(overlay_alpha=2.0))
    assert process.child.wait(timeout=300) == 2
    process.stop()
    assert "overlay_alpha" in process.output
    assert "Traceback" not in process.output


def state_of(peer: Any) -> int:
    return peer.call(GetState, "/mambaseg/get_state", GetState.Request()).current_state.id


@pytest.mark.parametrize(("given", "threads"), [({}, None), ({"OMP_NUM_THREADS": "1"}, 1)])
def test_of_more_than_two_cores_the_node_leaves_one_and_it_does_not_spin(
    given: dict[str, str], threads: int | None
) -> None:
    """In a process of its own: what counts is the environment in which torch is imported."""
    code = (
        "import sys, mambaseg_ros; assert 'torch' not in sys.modules\n"
        "import mambaseg_ros.node as node, os, torch\n"
        "node.use_threads(0); print(torch.get_num_threads(), os.environ['OMP_WAIT_POLICY'])"
    )
    clean = {name: value for name, value in os.environ.items() if name[:4] not in ("OMP_", "MKL_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **given}, capture_output=True, text=True, check=True
    )
    cores = allowed_cores()
    expected = threads or (cores - 1 if cores > 2 else cores)
    assert done.stdout.split() == [str(expected), "PASSIVE"]
