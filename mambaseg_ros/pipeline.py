"""What runs while the node is active: inbox, feeder, intake and worker, and the counts of all of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from mambaseg_core.inference import Segmenter
from mambaseg_ros.feeder import Feeder
from mambaseg_ros.intake import EventIntake
from mambaseg_ros.model import MIB
from mambaseg_ros.pairing import Inbox
from mambaseg_ros.policy import Policy
from mambaseg_ros.worker import Outputs, Worker


@dataclass
class Reported:
    """What the middleware tells of itself."""

    images_lost: int = 0
    packets_lost_reported: int = 0
    qos_incompatible: int = 0


class Pipeline:
    """From messages to masks, from activation to deactivation.

    Args:
        segmenter: ready to run.
        values: parameter values by name.
        outputs: where masks and reports go.
    """

    def __init__(self, segmenter: Segmenter, values: dict[str, Any], outputs: Outputs) -> None:
        max_bytes, max_age_ms = int(values["buffer_mib"]) * MIB, float(values["buffer_ms"])
        self.reported = Reported()
        self.inbox = Inbox(max_packet_bytes=max_bytes, max_packet_age_s=max_age_ms / 1e3)
        self.intake = EventIntake(
            max_age_ns=int(max_age_ms * 1e6), max_bytes=max_bytes, clock_mode=str(values["event_clock"])
        )
        self.worker = Worker(segmenter, self.inbox, self.intake, outputs, Policy.of(values))
        self._feeder = Feeder(self.inbox, self.intake, outputs.warn)

    def start(self) -> None:
        """Start both threads."""
        self._feeder.start()
        self.worker.start()

    def stop(self, timeout: float | None = None) -> bool:
        """End both threads after the image in hand; whether they have ended within `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self.inbox.close()
        ended = self.worker.join(timeout)
        self._feeder.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return ended

    def counts(self) -> dict[str, int]:
        """The counts of SegmentationStatus by name."""
        inbox, worker, taken, held = self.inbox, self.worker, self.intake.counts, self.intake.buffered
        return {
            "images_received": inbox.images_received,
            "images_replaced": inbox.images_replaced,
            "images_refused": worker.images_refused,
            "images_failed": worker.images_failed,
            "images_dropped": worker.images_dropped,
            "masks_published": worker.masks_published,
            "masks_from_events": worker.masks_from_events,
            "masks_held": worker.masks_held,
            "events_received": taken.events_received,
            "events_refused": taken.events_refused + held.late,
            "events_overwritten": held.dropped_bytes,
            "packets_received": inbox.packets_received,
            "packets_refused": taken.packets_refused,
            "packets_overwritten": inbox.packets_overwritten,
            "packets_lost": taken.packets_lost,
            "resets": worker.resets + held.resets + taken.sensor_changes,
            **self.reported.__dict__,
        }

    @property
    def buffer_fill(self) -> tuple[int, float]:
        """Events held, and the memory in use, per cent of its bound."""
        buffer = self.intake.buffer
        return (0, 0.0) if buffer is None else (len(buffer), 100.0 * buffer.nbytes / buffer.max_bytes)
