"""Stage `pipeline`: the node's threads without ROS, models in several threads, and the memory that goes back."""

from __future__ import annotations

import gc
import statistics
import threading
import time
from array import array
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from gpu_stages.results import Run
from gpu_stages.street import random_events
from gpu_stages.subjects import make_network
from gpu_stages.timing import used_mib
from mambaseg_core import Events, Segmenter
from mambaseg_ros.model import free_memory, make_segmenter
from mambaseg_ros.parameters import Parameters
from mambaseg_ros.pipeline.pipeline import Pipeline
from mambaseg_ros.pipeline.results import PublishedMask, Report

MS = 1_000_000  # nanoseconds
PERIOD_S = 0.05


def pipeline(run: Run) -> None:
    """Run the node's pipeline at 20 Hz, then several threads with models of their own; memory must go back."""
    before = used_mib(run.device)
    with run.part("node's threads"):
        _node(run)
    free_memory()
    run.add(what="GPU memory before the node and after its cleanup, MiB", found=[before, used_mib(run.device)])
    with run.part("two models in two threads"):
        _two_threads(run)
    with run.part("a reload while frames are in hand"):
        _reload(run)
    gc.collect()
    free_memory()
    run.add(what="GPU memory after all models are gone, MiB", found=used_mib(run.device))


class Sink:
    """Takes masks and reports in place of the node's publishers."""

    def __init__(self) -> None:
        self.masks: list[PublishedMask] = []
        self.reports: list[Report] = []
        self.warnings: list[str] = []
        self.mask, self.report, self.warn = self.masks.append, self.reports.append, self.warnings.append

    def heartbeat(self, report: Report) -> None:
        """Ignore that no image came."""

    def heard(self) -> bool:
        """Return True: somebody listens."""
        return True

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """Return a header."""
        return _header(stamp_ns, frame_id)

    def now_ns(self) -> int:
        """Return the system's time."""
        return time.time_ns()

    def simulated(self) -> bool:
        """Return False: there is no /clock."""
        return False


def _node(run: Run) -> None:
    size = {"image_height": 32, "image_width": 48} if run.tiny else {}
    precision = "float16" if run.on_gpu else "float32"
    # no mask is late here, however slow the machine is
    parameters = Parameters(device=run.device, precision=precision, max_age_ms=0.0, events_stale_ms=1000.0, **size)
    start = time.perf_counter()
    segmenter, sink = make_segmenter(parameters, print), Sink()
    run.add(what="configure, s", found=round(time.perf_counter() - start, 2))
    run.add(what="GPU memory of the model, MiB", found=used_mib(run.device))
    threads = Pipeline(segmenter, parameters, sink)
    threads.name_topics("image", "events")
    threads.start()
    images = 6 if run.tiny else 60
    try:
        _feed(threads, segmenter.preprocessing.view_size, images, events=500 if run.tiny else 100_000)
        deadline = time.monotonic() + 20
        while len(sink.reports) + threads.inbox.images_replaced < images and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        ended = threads.stop(10)
    _write_node(run, threads, sink, images)
    if not (ended and sink.masks):
        raise RuntimeError(f"{len(sink.masks)} masks of {images} images, threads ended: {ended}")


def _feed(threads: Pipeline, size: tuple[int, int], images: int, events: int) -> None:
    """Put an image every 50 ms with the packet of events before it, as the node's callbacks do."""
    rng, due = np.random.default_rng(0), time.monotonic()
    pictures = [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(4)]
    packets = [random_events(size, events, seed) for seed in range(4)]
    for number in range(images):
        now_ns = time.time_ns()
        packet = _event_array(packets[number % 4], now_ns - 50 * MS, number)
        threads.inbox.put_packet(packet, 9 * events)
        threads.put_image(_image(pictures[number % 4], now_ns - 5 * MS))  # its events are there: no wait
        due += PERIOD_S
        time.sleep(max(0.0, due - time.monotonic()))


def _write_node(run: Run, threads: Pipeline, sink: Sink, images: int) -> None:
    made = [report.fields() for report in sink.reports if report.inference_ms]
    run.add(
        what="images, masks, replaced by newer ones", found=[images, len(sink.masks), threads.inbox.images_replaced]
    )
    states = Counter(report.state.name for report in sink.reports)
    run.add(what="states", found=", ".join(f"{count} {name}" for name, count in states.items()))
    sentences = {sentence for report in sink.reports for sentence in report.sentences} | set(sink.warnings)
    run.add(what="sentences", found="; ".join(sorted(sentences)) or "none")
    for name in ("wait_ms", "prepare_ms", "inference_ms", "publish_ms", "total_ms"):
        values = [fields[name] for fields in made]
        if values:
            run.add(what=f"{name.replace('_', ', ')}: median, largest", found=[statistics.median(values), max(values)])
    run.add(what="events in the last window", found=made[-1]["events_used"] if made else 0)


def _two_threads(run: Run) -> None:
    """Segment in two threads, each with its own model, and compare with the masks of one thread."""
    one, other = (_segmenter(run, seed) for seed in range(2))
    frames = [_frame(one, seed) for seed in range(2 if run.tiny else 10)]
    alone = [[made.segment(*frame).ids for frame in frames] for made in (one, other)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda made: [made.segment(*frame).ids for frame in frames], (one, other)))
    _require_same(run, "masks of two models in two threads against one thread", alone, together)


def _reload(run: Run) -> None:
    """Load another model, and drop it, while a thread segments."""
    made = _segmenter(run, 0)
    frames = [_frame(made, seed) for seed in range(3)]
    alone = [made.segment(*frame).ids for frame in frames]
    stop, together, failures = threading.Event(), [], []

    def work() -> None:
        try:
            while not stop.is_set() or not together:
                together.append([made.segment(*frame).ids for frame in frames])
        except Exception as error:  # raised again below, in the stage's thread
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for seed in range(1 if run.tiny else 3):
            _segmenter(run, seed + 1)
            free_memory()
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]
    _require_same(run, "masks while other models are loaded", [alone] * len(together), together)


def _require_same(run: Run, what: str, alone: list[Any], together: list[Any]) -> None:
    pairs = [(a, b) for one, two in zip(alone, together, strict=True) for a, b in zip(one, two, strict=True)]
    same = sum(np.array_equal(a, b) for a, b in pairs)
    run.add(what=f"{what}: the same, of all", found=[same, len(pairs)])
    if same < len(pairs):
        raise RuntimeError(f"{len(pairs) - same} of {len(pairs)} masks differ")


def _segmenter(run: Run, seed: int) -> Segmenter:
    model, _ = make_network("mambaseg_nano", (32, 48) if run.tiny else (440, 640))
    if seed:  # another model: its masks must not be mistaken for those of the first
        torch.manual_seed(seed)
        for weight in model.parameters():
            weight.data += 0.01 * torch.randn(weight.shape)
    made = Segmenter(model, run.device, precision="float16" if run.on_gpu else "float32", warn=print)
    made.warm_up()
    return made


def _frame(made: Segmenter, seed: int) -> tuple[np.ndarray[Any, Any], Events]:
    size = made.preprocessing.view_size
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8), random_events(size, 20_000, seed)


def _header(stamp_ns: int, frame_id: str) -> Any:
    second, nanosecond = divmod(stamp_ns, 1_000_000_000)
    return SimpleNamespace(stamp=SimpleNamespace(sec=second, nanosec=nanosecond), frame_id=frame_id)


def _image(picture: np.ndarray[Any, Any], stamp_ns: int) -> Any:
    """Return what the node's functions read of a sensor_msgs/Image."""
    height, width, channels = picture.shape
    return SimpleNamespace(
        header=_header(stamp_ns, "camera"),
        height=height,
        width=width,
        step=width * channels,
        encoding="rgb8",
        is_bigendian=0,
        data=array("B", picture.tobytes()),
    )


def _event_array(events: Events, stamp_ns: int, number: int) -> Any:
    """Return what the node's functions read of an EventArray whose times begin at the stamp."""
    times = (events.t_ns - 10**18).astype(np.uint32)
    return SimpleNamespace(
        header=_header(stamp_ns, "event_camera"),
        height=events.height,
        width=events.width,
        seq=number,
        x=array("H", events.x.tobytes()),
        y=array("H", events.y.tobytes()),
        t_offset_ns=array("I", times.tobytes()),
        p=array("B", (events.p > 0).astype(np.uint8).tobytes()),
    )
