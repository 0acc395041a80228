"""The faults of `fault_table`: of images, of events, and of the people who run the node."""

from __future__ import annotations

import os
import signal
import time
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from drive import DEGRADED, ERROR, FRAME_NS, OK, SIZE, exchange, send_events, times
from fault_table import Fault
from lifecycle_msgs.msg import Transition
from mambaseg_ros.msg import EventArray
from peer import Process
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

S = 1_000_000_000

# -- images ------------------------------------------------------------------------------------------------------------


def answer_to(peer: Any, message: Any, stamp_ns: int | None = None) -> Any:
    """Send events up to the stamp and the image message with it; return the status that answers it."""
    stamp_ns = next(times) if stamp_ns is None else stamp_ns
    send_events(peer, stamp_ns)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, S)
    return answer_as_it_is(peer, message)


def answer_as_it_is(peer: Any, message: Any) -> Any:
    before = len(peer.statuses)
    peer.publish("image", message)

    def answers() -> list[Any]:
        return [status for status in peer.statuses[before:] if status.header.stamp == message.header.stamp]

    peer.spin_until(lambda: bool(answers()), "a status")
    return answers()[0]


def image(height: int = SIZE[0], width: int = SIZE[1], encoding: str = "mono8", *, size: int | None = None) -> Any:
    """An image message of one byte a pixel, or with `size` bytes of data."""
    message = Image(height=height, width=width, step=width, encoding=encoding)
    message.header.frame_id = "camera"
    message.data.frombytes(b"\x64" * (height * width if size is None else size))
    return message


def changed(**fields: Any) -> Callable[[Any], Any]:
    """An injector of a good image with some fields changed."""

    def inject(peer: Any) -> Any:
        message = image()
        for name, value in fields.items():
            setattr(message, name, value)
        return answer_to(peer, message)

    return inject


def picture(*size: int, encoding: str = "mono8", fill: int = 100) -> Callable[[Any], Any]:
    """An injector of a whole image of another size or encoding."""

    def inject(peer: Any) -> Any:
        stamp_ns = next(times)
        send_events(peer, stamp_ns)
        return exchange(peer, stamp_ns, picture=np.full(size, fill, np.uint8), encoding=encoding)

    return inject


def stamped(offset_ns: int | None) -> Callable[[Any], Any]:
    """An injector of an image whose stamp alone is wrong by an offset; None: it is 0. The next one is right."""

    def inject(peer: Any) -> Any:
        stamp_ns = next(times)
        send_events(peer, stamp_ns)
        wrong = image()
        wrong_ns = 0 if offset_ns is None else stamp_ns + offset_ns
        wrong.header.stamp.sec, wrong.header.stamp.nanosec = divmod(wrong_ns, S)
        answer_as_it_is(peer, wrong)
        return exchange(peer, stamp_ns)

    return inject


def wild_nanoseconds(peer: Any) -> Any:
    stamp_ns = next(times)
    send_events(peer, stamp_ns)
    message = image()
    message.header.stamp.sec, message.header.stamp.nanosec = stamp_ns // S, 2**32 - 1
    return answer_as_it_is(peer, message)


def old_images(seconds: int) -> Callable[[Any], Any]:
    """An injector of frames of another time than now."""

    def inject(peer: Any) -> Any:
        for _ in range(3):
            stamp_ns = time.time_ns() - seconds * S
            send_events(peer, stamp_ns)
            status = exchange(peer, stamp_ns)
        return status

    return inject


def burst_of_images(peer: Any) -> Any:
    for _ in range(30):
        stamp_ns = next(times)
        send_events(peer, stamp_ns)
        peer.send_image(stamp_ns, np.full(SIZE, 100, np.uint8))
    return None


def many_images_of_a_second_publisher(peer: Any) -> Any:
    other = peer.node.create_publisher(Image, "image", qos_profile_sensor_data)
    peer.spin_until(lambda: other.get_subscription_count() > 0, "the node hears the second publisher")
    end = time.monotonic() + 8.0
    while time.monotonic() < end:
        status = answer_to(peer, message := image())
        peer.images_sent += 1
        other.publish(message)
        peer.executor.spin_once(timeout_sec=0.05)
    peer.node.destroy_publisher(other)
    return status


def broken_jpeg(peer: Any) -> Any:
    peer.republish("image", CompressedImage, qos_profile_sensor_data)
    peer.wait_until_connected()
    message = CompressedImage(format="jpeg")
    message.data.frombytes(b"\xff\xd8\xff\xe0 not a JPEG after all" * 5)
    status = answer_to(peer, message)
    peer.republish("image")
    peer.wait_until_connected()
    return status


IMAGES = [
    Fault("image of an unknown encoding", changed(encoding="evil"), "'evil'", (ERROR,)),
    Fault("image without an encoding", changed(encoding=""), "encoding", (ERROR,)),
    Fault("image whose step is less than a row", changed(step=1), "step", (ERROR,)),
    Fault("image of step 0", changed(step=0), "step", (ERROR,)),
    Fault("image with too few bytes", changed(data=array("B", bytes(100))), "bytes", (ERROR,)),
    Fault("image without data", changed(data=array("B")), "bytes|empty", (ERROR,)),
    Fault("image of 0 x 0", changed(height=0, width=0, data=array("B")), "size|0", (ERROR,)),
    Fault("image of 65535 rows of 100 bytes in all", changed(height=65535, data=array("B", bytes(100))), "byte",
          (ERROR,)),
    Fault("image of 1 x 1", picture(1, 1), "view|size|calibration", (ERROR,)),
    Fault("image 1 row high", picture(1, 4000), "view|calibration", (ERROR,)),
    Fault("image 16:9, events 4:3, no calibration", picture(180, 320), "calibration|view", (ERROR,)),
    Fault("image in portrait", picture(70, 52), "calibration|view", (ERROR,)),
    Fault("image ten times as large as before", picture(520, 700)),
    Fault("image twice as large as before", picture(104, 140)),
    Fault("black image", picture(*SIZE, fill=0)),
    Fault("16-bit image, big endian", lambda peer: answer_to(peer, big_endian())),
    Fault("image with a frame_id of 100 kB", lambda peer: answer_to(peer, named_at_length())),
    Fault("one image stamped 0", stamped(None)),
    Fault("one image stamped 1 s back", stamped(-S)),
    Fault("one image stamped an hour ahead", stamped(3600 * S)),
    Fault("stamp whose nanoseconds are above a second", wild_nanoseconds, "stamp|events", (DEGRADED, ERROR, OK)),
    Fault("images an hour old", old_images(3600), "behind .* use_sim_time", (DEGRADED,)),
    Fault("images an hour in the future", old_images(-3600), "ahead of the node's clock", (DEGRADED,)),
    Fault("30 images at once", burst_of_images),
    Fault("two publishers of images", many_images_of_a_second_publisher, "several publishers send on /image",
          (DEGRADED,)),
    Fault("compressed image that is no JPEG", broken_jpeg, "jpeg", (ERROR,), counted=False),
]  # fmt: skip


def big_endian() -> Any:
    message = image(encoding="mono16", size=2 * SIZE[0] * SIZE[1])
    message.step, message.is_bigendian = 2 * SIZE[1], 1
    return message


def named_at_length() -> Any:
    message = image()
    message.header.frame_id = "c" * 100_000
    return message


# -- events ------------------------------------------------------------------------------------------------------------


def events(t_ns: Any, *, size: tuple[int, int] = SIZE, x: Any = None, y: Any = None, p: Any = None) -> Any:
    """An EventArray; what is not given is inside the sensor."""
    number, first = np.arange(len(t_ns)), int(t_ns[0]) if len(t_ns) else 0
    message = EventArray(height=size[0], width=size[1])
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(first, S)
    columns = (
        ("x", "H", np.uint16, number % SIZE[1] if x is None else x),
        ("y", "H", np.uint16, number % SIZE[0] if y is None else y),
        ("t_offset_ns", "I", np.uint32, np.asarray(t_ns, np.int64) - first),
        ("p", "B", np.uint8, number % 2 if p is None else p),
    )
    for name, kind, dtype, values in columns:
        setattr(message, name, array(kind, np.asarray(values).astype(dtype).tobytes()))
    return message


def send(peer: Any, message: Any) -> None:
    message.seq, peer.seq = peer.seq, peer.seq + 1
    peer.publish("events", message)


def frame_times(end_ns: int, number: int = 99) -> Any:
    """Times of events that fill the 50 ms before an image's stamp."""
    return end_ns - FRAME_NS + np.arange(number) * (FRAME_NS // number)


def amid(make: Callable[[int], Any]) -> Callable[[Any], Any]:
    """An injector of one wrong message between the good ones of a frame, made from the frame's stamp."""

    def inject(peer: Any) -> Any:
        stamp_ns = next(times)
        t_ns = np.append(frame_times(stamp_ns), stamp_ns + 1000)
        for part in (t_ns[:20], None, t_ns[20:60], t_ns[60:]):
            send(peer, make(stamp_ns) if part is None else events(part))
        return exchange(peer, stamp_ns)

    return inject


def instead(make: Callable[[int], list[Any]], frames: int = 12) -> Callable[[Any], Any]:
    """An injector of frames whose events are all wrong, made from the frame's stamp."""

    def inject(peer: Any) -> Any:
        for _ in range(frames):
            stamp_ns = next(times)
            for message in make(stamp_ns):
                send(peer, message)
            send(peer, events([stamp_ns + 1000]))
            status = exchange(peer, stamp_ns)
        return status

    return inject


def ragged(stamp_ns: int) -> Any:
    message = events([stamp_ns - 1000])
    message.x.append(3)
    return message


def backwards(stamp_ns: int) -> list[Any]:
    """2000 events in ten messages, the newest first."""
    return [events(part) for part in np.split(frame_times(stamp_ns, 2000), 10)[::-1]]


def evt3(stamp_ns: int, name: str, number: int = 200, *, span_ns: int = FRAME_NS) -> Any:
    """A packet of evt3, under that or another name; without events where number is 0."""
    from event_camera_msgs.msg import EventPacket

    us = np.linspace(stamp_ns - span_ns, stamp_ns + span_ns // 50, number).astype(np.int64) // 1000 % 2**24
    words = np.zeros((number, 4), "<u2")
    words[:, 0], words[:, 1] = 0x8000 | us >> 12, 0x6000 | us & 0xFFF
    words[:, 2], words[:, 3] = np.arange(number) % SIZE[0], 0x2000 | np.arange(number) % SIZE[1]
    packet = EventPacket(height=SIZE[0], width=SIZE[1], encoding=name)
    packet.header.stamp.sec, packet.header.stamp.nanosec = divmod(stamp_ns - span_ns, S)
    packet.events.frombytes(words.tobytes())
    return packet


def packets(name: str, number: int = 200) -> Callable[[Any], Any]:
    """An injector of a driver whose packets are named `name` and hold evt3."""

    def inject(peer: Any) -> Any:
        from event_camera_msgs.msg import EventPacket

        peer.republish("events", EventPacket)
        peer.wait_until_connected()
        for _ in range(12):
            stamp_ns = next(times)
            send(peer, evt3(stamp_ns, name, number))
            status = exchange(peer, stamp_ns)
        peer.republish("events")
        peer.wait_until_connected()
        return status

    return inject


BEFORE, AFTER = (f"{side} those already held were refused" for side in ("before", "after"))


def nobody_sends_events(peer: Any) -> Any:
    return exchange(peer, next(times) + 10 * S)


def two_publishers_of_events(peer: Any) -> Any:
    other = peer.node.create_publisher(EventArray, "events", 1000)
    peer.spin_until(lambda: other.get_subscription_count() > 0, "the node hears the second publisher")
    end = time.monotonic() + 8.0
    while time.monotonic() < end:
        stamp_ns = next(times)
        for part in np.split(np.append(frame_times(stamp_ns), stamp_ns + 1000), [50]):
            send(peer, message := events(part))
            other.publish(message)
        status = exchange(peer, stamp_ns)
    peer.node.destroy_publisher(other)
    return status


def an_image_on_the_events_topic(peer: Any) -> Any:
    peer.republish("events", Image)
    since = len(peer.process.lines)
    peer.change(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE)
    peer.spin_until(
        lambda: any("they publish sensor_msgs/msg/Image, expected" in line for line in peer.process.lines[since:]),
        "a sentence on the type",
    )
    peer.republish("events", EventArray)
    peer.wait_until_connected()
    return None


def restarted_driver(peer: Any) -> Any:
    peer.republish("events")
    peer.wait_until_connected()
    peer.seq = 0
    return None


def sequence(step: int) -> Callable[[Any], Any]:
    def inject(peer: Any) -> Any:
        peer.seq = max(0, peer.seq + step)
        return None

    return inject


EVENTS = [
    Fault("columns of different lengths", amid(ragged), "columns of lengths"),
    Fault("sensor of 0 x 0", amid(lambda t: events([t - 1000], size=(0, 0))), "size|0"),
    Fault("one message of another sensor", amid(lambda t: events([t - 1000], size=(40, 66))), "66x40|40x66"),
    Fault("one message stamped 0", amid(lambda t: events([0, 1000])), BEFORE),
    Fault("one message stamped 1 s back", amid(lambda t: events([t - S, t - S + 1000])), BEFORE),
    Fault("one message stamped an hour back", amid(lambda t: events([t - 3600 * S])), BEFORE),
    Fault("one message stamped 1 s ahead", amid(lambda t: events([t + S, t + S + 1000])), AFTER),
    Fault("one message stamped an hour ahead", amid(lambda t: events([t + 3600 * S])), AFTER),
    Fault("empty messages between good ones", amid(lambda t: EventArray(height=SIZE[0], width=SIZE[1]))),
    Fault("all events outside of the sensor", instead(lambda t: [
        events(frame_times(t, 2000), x=np.arange(2000) % 400 + SIZE[1])]), "outside", (DEGRADED,)),
    Fault("98 % of the events outside of the sensor", instead(lambda t: [
        events(frame_times(t, 2000), x=np.arange(2000) * 7 % 3500)]), "outside", (DEGRADED,)),
    Fault("messages in the wrong order", instead(backwards), "order|late", (DEGRADED,)),
    Fault("only empty messages", instead(lambda t: [EventArray(height=SIZE[0], width=SIZE[1])] * 5),
          "messages of the last second hold",          (DEGRADED,)),
    Fault("a single event in the window", instead(lambda t: [events([t - FRAME_NS // 2])]), "event", (DEGRADED,)),
    Fault("no events", nobody_sends_events, "events", (DEGRADED,)),
    Fault("50,000 events in one message", instead(lambda t: [events(frame_times(t, 50_000))], 2)),
    Fault("polarities that are neither 0 nor 1", instead(lambda t: [events(frame_times(t), p=[7] * 99)], 1), "",
          (OK, DEGRADED)),
    Fault("all events at one pixel", instead(lambda t: [events(frame_times(t, 2000), x=[5] * 2000, y=[5] * 2000)], 40),
          "pixel", (OK, DEGRADED)),
    Fault("only ON events", instead(lambda t: [events(frame_times(t, 2000), p=[1] * 2000)], 40), "ON|polarity",
          (OK, DEGRADED)),
    Fault("two publishers of events", two_publishers_of_events, "several publishers send on /events", (DEGRADED,)),
    Fault("driver of events starts anew", restarted_driver),
    Fault("sequence numbers that go back", sequence(-50)),
    Fault("sequence numbers that jump by 10^12", sequence(10**12)),
    Fault("packets without an event", packets("evt3", 0), "event", (DEGRADED,)),
    Fault("evt3 under the name mono", packets("mono"), "encoding|mono", (DEGRADED,)),
    Fault("evt3 under the name evt2", packets("evt2"), "encoding|evt2", (DEGRADED,)),
    Fault("evt3 under the name libcaer_cmp", packets("libcaer_cmp"), "encoding|libcaer", (DEGRADED,)),
    Fault("packets of an encoding that does not exist", packets("evt9"), "'evt9'", (DEGRADED,)),
    Fault("images on the topic of the events", an_image_on_the_events_topic, "expected mambaseg_ros", counted=False),
]  # fmt: skip

# -- people ------------------------------------------------------------------------------------------------------------


def parameter(name: str, value: object, peer: Any) -> str:
    return str(peer.set_parameter(name, value))


def storm(peer: Any) -> Any:
    """Up and down the life cycle, with images coming."""
    down, up = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE
    for _ in range(5):
        peer.send_image(next(times), np.full(SIZE, 100, np.uint8))
        peer.change(down, up)
    peer.wait_until_connected()
    return None


def wrong_transition(peer: Any) -> Any:
    """Activate a node that is active, clean up one that is: refused, and nothing changes."""
    assert not peer.change(Transition.TRANSITION_ACTIVATE)
    assert not peer.change(Transition.TRANSITION_CLEANUP)
    return None


def rest(peer: Any) -> Any:
    from std_srvs.srv import SetBool

    for data in (False, True):
        peer.call(SetBool, "/mambaseg/enable", SetBool.Request(data=data))
    peer.wait_until_connected()
    return None


def stopped(peer: Any) -> Any:
    """The process stands still for a second, as on a machine that swaps, while images come."""
    peer.process.child.send_signal(signal.SIGSTOP)
    for _ in range(40):
        peer.send_image(next(times), np.full(SIZE, 100, np.uint8))
        time.sleep(0.02)
    peer.process.child.send_signal(signal.SIGCONT)
    return None


def misfit_subscriber(peer: Any) -> Any:
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    subscription = peer.listen("mask", qos=latched)
    peer.process.wait_for_line("asks for a QoS that it cannot have")
    peer.node.destroy_subscription(subscription)
    return None


def crowd(peer: Any) -> Any:
    """Subscribers of every output come and go."""
    heard = [peer.listen(topic) for topic in ("mask", "color_mask", "overlay", "confidence") for _ in range(5)]
    stamp_ns = next(times)
    send_events(peer, stamp_ns)
    status = exchange(peer, stamp_ns)
    for subscription in heard:
        peer.node.destroy_subscription(subscription)
    return status


PEOPLE = [
    Fault("parameter out of bounds", partial(parameter, "event_wait_ms", -1.0), "0"),
    Fault("parameter that is not a number", partial(parameter, "event_wait_ms", float("nan")), "nan"),
    Fault("parameter of another type", partial(parameter, "event_wait_ms", "soon"), "type"),
    Fault("parameter that contradicts another", partial(parameter, "event_wait_ms", 9000.0), "buffer_ms"),
    Fault("parameter that cannot change now", partial(parameter, "model", "mambaseg_dsec"), "deactivate and cleanup"),
    Fault("parameter of no known choice", partial(parameter, "when_events_missing", "panic"), "one of"),
    Fault("parameter that does not exist", partial(parameter, "event_clok", "sensor"), "."),
    Fault("transitions that do not fit the state", wrong_transition),
    Fault("up and down the life cycle", storm, counted=False),
    Fault("disabled and enabled", rest, counted=False),
    Fault("the process stands still for a second", stopped),
    Fault("a subscriber whose QoS does not fit", misfit_subscriber, "QoS"),
    Fault("twenty subscribers that come and go", crowd),
]  # fmt: skip

# -- nodes of their own ------------------------------------------------------------------------------------------------


def good_frame(peer: Any) -> Any:
    stamp_ns = next(times)
    send_events(peer, stamp_ns)
    return exchange(peer, stamp_ns)


def nothing(peer: Any) -> Any:
    return None


def second_node(peer: Any) -> Any:
    """Start another node with the words of this one; both say it."""
    other = Process(peer.process.child.args, {**os.environ, "ROS_DOMAIN_ID": str(peer.domain)})
    other.wait_for_line("nothing comes on")
    deadline = time.monotonic() + 60
    while "nodes have the name" not in other.output and time.monotonic() < deadline:
        peer.executor.spin_once(timeout_sec=0.1)
    other.stop()
    return None


def signals(*numbers: signal.Signals) -> Callable[[Any], Any]:
    """An injector of signals in a row."""

    def inject(peer: Any) -> str:
        status = Path(f"/proc/{peer.process.child.pid}/status")
        while not int(status.read_text().split("SigCgt:")[1].split()[0], 16) >> signal.SIGTERM - 1 & 1:
            time.sleep(0.001)  # Python itself is starting
        for number in numbers:
            peer.process.child.send_signal(number)
            time.sleep(0.01)
        peer.process.child.wait(timeout=60)
        return "ended"

    return inject


def clock_step(peer: Any) -> Any:
    """Three seconds of evt3 packets in real time, then the computer's clock is set 80 ms ahead."""
    from event_camera_msgs.msg import EventPacket

    peer.republish("events", EventPacket)
    peer.wait_until_connected()
    begun = time.monotonic()
    for number in range(1500):
        time.sleep(max(0.0, begun + number * 0.004 - time.monotonic()))
        sensor_ns = int((time.monotonic() - begun) * 1e9) + S
        packet = evt3(sensor_ns, "evt3", 20, span_ns=3_900_000)
        step_ns = 80_000_000 if number > 750 else 0
        packet.header.stamp.sec, packet.header.stamp.nanosec = divmod(time.time_ns() + step_ns, S)
        send(peer, packet)
    return None


def answers_while_it_loads(peer: Any) -> str:
    """Ask for /diagnostics while a large model is loaded."""
    return str(peer.diagnosed("state").message)


def between_images(*steps_ms: int) -> Callable[[Any], Any]:
    """An injector of one image at a mask time, and events up to these times after it; returns the last status."""

    def inject(peer: Any) -> Any:
        stamp_ns = next(times) // S * S
        peer.send_image(stamp_ns, np.full(SIZE, 100, np.uint8))
        first_ns = stamp_ns - FRAME_NS
        for step_ms in (0, *steps_ms):
            end_ns = stamp_ns + step_ms * 1_000_000
            t_ns = np.linspace(first_ns, end_ns, 100).astype(np.int64)
            peer.send_events(
                np.arange(100) % SIZE[1], np.arange(100) % SIZE[0], t_ns, t_ns % 2, height=SIZE[0], width=SIZE[1]
            )
            reached = partial(has_status, peer, end_ns - 33_333_333)
            peer.spin_until(reached, "the status of a mask time")
            first_ns = end_ns + 1
        return peer.statuses[-1]

    return inject


def has_status(peer: Any, after_ns: int) -> bool:
    return any(status.window_end_ns > after_ns for status in peer.statuses)


ALONE = [
    Fault("images end while masks go on", between_images(34, 67, 100, 134, 167), "ms old at the mask's time", (ERROR,),
          node=["mask_rate_hz:=30.0"]),
    Fault("events in packets of 140 ms, 30 masks a second", between_images(140), "mask times were skipped",
          node=["mask_rate_hz:=30.0"]),
    Fault("random weights", good_frame, "random", (DEGRADED,), node=["weights:=random"]),
    Fault("misspelt name of weights", nothing, "cannot configure", node=["weights:=syntetic"], waits=False),
    Fault("misspelt parameter", nothing, "nearest is 'event_clock'", node=["event_clok:=sensor"]),
    Fault("whole number for milliseconds", good_frame, node=["event_wait_ms:=400"]),
    Fault("use_sim_time without /clock", nothing, "nothing comes on /clock", node=["use_sim_time:=true"]),
    Fault("a second node of the name", second_node, "nodes have the name", node=[]),
    Fault("two signals in a row", signals(signal.SIGINT, signal.SIGINT), "ended", node=[]),
    Fault("SIGINT, SIGTERM", signals(signal.SIGINT, signal.SIGTERM), "ended", node=[]),
    Fault("three signals while it starts", signals(signal.SIGTERM, signal.SIGINT, signal.SIGINT), "ended", node=[],
          waits=False),
    Fault("the computer's clock is set 80 ms ahead", clock_step, "stepped by [+]?(7|8)[0-9]\\.", node=[]),
    Fault("a large model is loaded", answers_while_it_loads, "configuring", node=[
        "model:=mambaseg_dsec", "weights:=random", "image_height:=0", "image_width:=0"], waits=False),
]  # fmt: skip

FAULTS = [*IMAGES, *EVENTS, *PEOPLE]
