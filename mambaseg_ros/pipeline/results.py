"""The worker's results: masks, and a report on each image."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from mambaseg_ros.messages.camera_infos import MaskView
from mambaseg_ros.messages.images import Image
from mambaseg_ros.policy import Health

NO_RELIABILITY = (math.nan, math.nan)  # of a model that does not say how far it trusts its inputs


class State(IntEnum):
    """Outcome for an image. The numbers are the STATE_ constants of SegmentationStatus."""

    OK = 0
    DEGRADED = 1
    ERROR = 2


@dataclass
class Stages:
    """Parts of a report's times, milliseconds.

    Attributes:
        image_ahead: reading, warping and resizing the image while its second input was awaited: part of `wait_ms`.
        image: the same after that had come: part of `prepare_ms`, like the next two.
        window: cutting and judging the window of events, or choosing the second image.
        second: rectification, voxel grid, resizing; or resizing the second image.
        mapping: mapping the mask back: part of `publish_ms`, like the next.
        publishing: making the messages and handing them to DDS.
    """

    image_ahead: float = 0.0
    image: float = 0.0
    window: float = 0.0
    second: float = 0.0
    mapping: float = 0.0
    publishing: float = 0.0

    @property
    def prepare_ms(self) -> float:
        """Time between wait and model."""
        return self.image + self.window + self.second

    @property
    def publish_ms(self) -> float:
        """Time after the model."""
        return self.mapping + self.publishing


@dataclass
class Report:
    """Outcome for one image, one mask time, or one turn of the timer.

    The fields are those of SegmentationStatus, `stages` and `doubts`.

    Attributes:
        image_age_ns: age of the image at the mask's time; 0 for a mask of the image's own time, -1 without an image.
        doubts: sentences on what is wrong with a mask that was published all the same; part of the status's message.
    """

    header: Any
    state: State = State.OK
    policy: str = ""
    message: str = ""
    images_health: Health = Health.GOOD
    events_health: Health = Health.GOOD
    wait_ms: float = 0.0
    stages: Stages = field(default_factory=Stages)
    inference_ms: float = 0.0
    total_ms: float = 0.0
    age_ms: float = 0.0
    image_reliability: float = math.nan
    second_reliability: float = math.nan
    events_used: int = 0
    window_start_ns: int = 0
    window_end_ns: int = 0
    image_age_ns: int = -1
    class_shares: Callable[[], list[float]] = list  # counted only for a status that somebody reads
    doubts: list[str] = field(default_factory=list)

    def doubt(self, sentence: str) -> None:
        """Lower the state to DEGRADED unless it is worse, and say why."""
        self.state = max(self.state, State.DEGRADED)
        self.doubts.append(sentence)

    @property
    def sentences(self) -> list[str]:
        """All that is wrong, a sentence each."""
        return [sentence for sentence in (self.message, *self.doubts) if sentence]

    def fields(self) -> dict[str, Any]:
        """Return the fields of SegmentationStatus by name, with plain integers for enums, as messages take them."""
        values = {name: int(value) if isinstance(value, IntEnum) else value for name, value in self.__dict__.items()}
        del values["doubts"], values["stages"]
        stages = {"prepare_ms": self.stages.prepare_ms, "publish_ms": self.stages.publish_ms}
        return {**values, **stages, "message": "; ".join(self.sentences), "class_shares": self.class_shares()}


class Stopwatch:
    """Times of steps that follow each other."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def lap_ms(self) -> float:
        """Return the milliseconds since the last call, or since it was made."""
        before, self._at = self._at, time.monotonic()
        return 1e3 * (self._at - before)


class PublishedMask(NamedTuple):
    """A mask, ready to be published.

    Attributes:
        header: of the image, or made from the second input.
        image: the camera's image, None where the mask is of the second input alone.
        ids: uint8 [H, W] class ids in the camera's view, or in the second input's view without an image; or as they
            left the model (parameter `mask_size`).
        over_image: returns the ids at the size of the image, or of the second input without one.
        view: what the mask shows.
        confidence: returns uint8 [H, W]: 254 times the class's probability, 255 where the model saw nothing.
        class_shares: returns the share of each class among the pixels with a class.
    """

    header: Any
    image: Image | None
    ids: Image
    over_image: Callable[[], Image]
    view: MaskView
    confidence: Callable[[], Image]
    class_shares: Callable[[], list[float]]


class ResultSink(Protocol):
    """Takes the worker's results."""

    def mask(self, mask: PublishedMask) -> None:
        """Publish a mask and what is drawn from it."""

    def report(self, report: Report) -> None:
        """Publish what became of an image."""

    def heartbeat(self, report: Report) -> None:
        """Publish that the node lives, though no image does; nothing is logged."""

    def warn(self, sentence: str) -> None:
        """Report a fault that belongs to no image; never raise."""

    def heard(self) -> bool:
        """Return True if somebody listens to masks or to what is made of them."""

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """Return a std_msgs/Header."""

    def now_ns(self) -> int:
        """Return the time of the node's clock, nanoseconds."""

    def simulated(self) -> bool:
        """Return True if the node's clock is /clock."""
