"""`mambaseg bag segment`: a mask for every image of a bag, or at a rate, without ROS, the same in every run."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rosbags.typesys.store import Typestore

from mambaseg_core.files import write_text
from mambaseg_core.inference import Segmenter
from mambaseg_core.pictures import read_label, write_png
from mambaseg_core.recordings.bag import Bag
from mambaseg_ros.bag.frames import find_topics
from mambaseg_ros.bag.mask_jobs import MaskJob, mask_jobs
from mambaseg_ros.bag.types import ImageWriter, make_header, new_bag, typestore
from mambaseg_ros.faults import kind_of
from mambaseg_ros.messages.images import image_from_message
from mambaseg_ros.messages.numbers import Numbers
from mambaseg_ros.messages.types import NUMBERED_TYPES
from mambaseg_ros.model import check_reach, make_segmenter, weights_hash
from mambaseg_ros.parameters import Parameters
from mambaseg_ros.pipeline.grid_worker import make_worker
from mambaseg_ros.pipeline.inbox import Inbox
from mambaseg_ros.pipeline.pipeline import make_source
from mambaseg_ros.pipeline.results import PublishedMask, Report
from mambaseg_ros.pipeline.worker import Worker
from mambaseg_ros.sources.source import Source

MASK_TOPIC = "/mambaseg/mask"


@dataclass(frozen=True)
class Segmented:
    """Counts of a run.

    Attributes:
        images: images of the bag.
        masks: masks written.
        resumed: of these, how many an interrupted run had made.
        complaints: sentences about images without a mask and masks without events, an example of each kind, and how
            often it was said.
        lost: messages of events that are missing by their `seq`; 0 for types without.
        outside: events that lie outside the sensor, or are not of their encoding.
        mask_times: mask times of the bag; 0 without a rate.
    """

    images: int
    masks: int
    resumed: int
    complaints: Counter[str]
    lost: int
    outside: int
    mask_times: int = 0


@dataclass
class _Folder:
    """Keeps masks as files until the bag is complete, so that an interrupted run goes on; the worker's `ResultSink`."""

    root: Path
    complaints: Counter[str] = field(default_factory=Counter)
    index: int = 0
    store: Typestore = field(default_factory=typestore)
    _examples: dict[str, str] = field(default_factory=dict)

    def path(self, index: int) -> Path:
        return self.root / f"{index:08d}.png"

    def mask(self, mask: PublishedMask) -> None:
        write_png(self.path(self.index), mask.ids)

    def report(self, report: Report) -> None:
        for sentence in report.sentences:
            self.warn(sentence)

    def heartbeat(self, report: Report) -> None:
        raise NotImplementedError("images of a bag are never missing")

    def warn(self, sentence: str) -> None:
        self.complaints[self._examples.setdefault(kind_of(sentence), sentence)] += 1

    def heard(self) -> bool:
        return True

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        return make_header(self.store, stamp_ns, frame_id)

    def now_ns(self) -> int:
        return 0

    def simulated(self) -> bool:
        return True


def segment(
    source: Path,
    out: Path,
    *,
    parameters: Parameters,
    image_topic: str = "",
    events_topic: str = "",
    registered: bool = False,
    warn: Callable[[str], Any],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Segmented:
    """Write a new bag with the mask of every image, made by the node's own worker.

    An image waits, in the bag's time, for events up to its stamp as it does in the node, at most `event_wait_ms`;
    nothing is replaced by newer images, so the masks do not depend on the machine's speed. With `mask_rate_hz` above 0
    each mask time gets a mask from the images and events that came before it was due, and none is skipped; they end
    with the last stamp of the bag.

    Args:
        source: folder of a ROS 2 bag (mcap or sqlite3).
        out: folder of the new bag with `/mambaseg/mask`.
        parameters: of the node; an interrupted run goes on only with the same.
        image_topic: topic of the images; as of `find_topics`.
        events_topic: topic of the second input: events, or the images of a second camera where the model takes such; as
            of `find_topics`.
        registered: whether images and events of different sizes have one view, so that there is no calibration.
        warn: as in `make_segmenter`.
        progress: called with images done and images in all.

    Raises:
        ValueError: no such bag or topic, `out` exists, an interrupted run was made with other settings, the masks
            would depend on earlier ones, or images and events have different sizes, no calibration, and are not said
            to be registered.
    """
    if parameters.when_events_missing == "hold":
        raise ValueError("when_events_missing is 'hold'; expected 'image_only' or 'drop', which need no earlier mask")
    if parameters.mask_rate_hz and parameters.when_images_missing != "drop":
        raise ValueError(
            f"when_images_missing is {parameters.when_images_missing!r}; expected 'drop': a mask of a bag has an image"
        )
    if parameters.mask_size != "image":
        raise ValueError("mask_size is 'model'; expected 'image': the masks of a bag have the size of its images")
    if parameters.roi:
        raise ValueError(f"roi is {parameters.roi!r}; expected it empty: masks of a bag have the size of its images")
    with Bag(source) as reader:
        segmenter = make_segmenter(parameters, warn, spare_cores=0)
        topics = find_topics(reader, image_topic, events_topic, kind=segmenter.preprocessing.second)
        check_reach(parameters, segmenter.preprocessing)
        settings = {**asdict(parameters), "bag": str(source.resolve()), "topics": [topic.name for topic in topics]}
        folder = _Folder(_resume(out, {**settings, "weights": weights_hash(parameters)}))
        worker = _worker(segmenter, parameters, folder)
        resumed = 0
        fit = registered or bool(parameters.calibration) or segmenter.preprocessing.second != "events"
        frames, images = list[tuple[int, Any]](), 0
        numbers = Numbers()
        add = _numbered(worker.source.add, numbers) if topics.second.type in NUMBERED_TYPES else worker.source.add
        wait_ns = round(parameters.event_wait_ms * 1e6)
        for job in mask_jobs(reader, topics, worker, add=add, wait_ns=wait_ns, warn=folder.warn):
            folder.index, images = len(frames), job.images
            try:
                fit = fit or job.image is None or _sizes_fit(job, worker.source)
            except ValueError:  # the next run has other settings
                shutil.rmtree(folder.root)
                raise
            if folder.path(folder.index).is_file():
                resumed += 1
                job.leave()
            else:
                job.make()
            frame_id = "" if job.image is None else job.image.header.frame_id
            frames.append((job.bag_ns, folder.header(job.end_ns, frame_id)))
            progress(images, reader.topics[topics.images])
        if parameters.mask_rate_hz:  # some may come after the last mask
            images = reader.topics[topics.images]
    masks = _write(out, folder, frames)
    shutil.rmtree(folder.root)
    lost = 0 if numbers.of_several else numbers.lost
    mask_times, outside = worker.counts()["mask_times"], worker.source.counts.events_refused
    return Segmented(images, masks, resumed, folder.complaints, lost, outside, mask_times)


def _numbered(add: Callable[[Any], None], numbers: Numbers) -> Callable[[Any], None]:
    """Return `add` that also notes the `seq` of each message."""

    def add_numbered(message: Any) -> None:
        numbers.missing(int(message.seq))
        add(message)

    return add_numbered


def _sizes_fit(job: MaskJob, source: Source) -> bool:
    """Return whether the sizes of an image and its events are known and one; raise ValueError if they differ."""
    second = source.beside(job.end_ns)
    if second is None:
        return False
    try:
        image_size = image_from_message(job.image).shape[:2]
    except ValueError:  # the worker complains of it
        return False
    if image_size != second.size:
        image, events = (f"{width}x{height}" for height, width in (image_size, second.size))
        raise ValueError(
            f"the bag's images are {image} and its events {events}, and there is no calibration; expected the two "
            "cameras' cam_to_cam.yaml: give it with --calibration, or --registered if both have one view"
        )
    return True


def _resume(out: Path, settings: dict[str, Any]) -> Path:
    """Return the folder of masks of this run, or of an interrupted one with the same settings."""
    if out.exists():
        raise ValueError(f"bag {out} exists already; expected a new name: remove it or choose another")
    root = out.parent / f".{out.name}.masks"
    root.mkdir(parents=True, exist_ok=True)
    file, text = root / "settings.json", json.dumps(settings, indent=1, sort_keys=True)
    if file.exists() and file.read_text() != text:
        raise ValueError(
            f"{root} is left from a run with other settings ({file}); expected the same: repeat that run, or remove it"
        )
    write_text(file, text)
    return root


def _worker(segmenter: Segmenter, parameters: Parameters, sink: _Folder) -> Worker:
    """Return the node's worker, driven by the bag in place of threads."""
    source: Source = make_source(
        segmenter.preprocessing, parameters, sink.warn, clock=lambda: (source.newest_ns or 0) / 1e9
    )
    parameters = replace(parameters, max_age_ms=0.0)
    if not parameters.mask_rate_hz:  # `read_frames` waits, in the bag's time
        parameters = replace(parameters, event_wait_ms=0.0)
    return make_worker(segmenter, Inbox(parameters.buffer_bytes), source, sink, parameters)


def _write(out: Path, folder: _Folder, frames: list[tuple[int, Any]]) -> int:
    masks = 0
    with new_bag(out) as bag:
        writer = ImageWriter(bag, folder.store, MASK_TOPIC)
        for index, (bag_ns, header) in enumerate(frames):
            if folder.path(index).is_file():
                writer.write(bag_ns, header, read_label(folder.path(index)))
                masks += 1
    return masks
