"""/diagnostics: once a second, in every state of the life cycle."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from mambaseg_ros.faults import FaultLog
from mambaseg_ros.model import MIB, memory
from mambaseg_ros.pipeline.pipeline import Pipeline
from mambaseg_ros.pipeline.results import Report
from mambaseg_ros.policy import Health
from mambaseg_ros.topics.advice import why_not_alone
from mambaseg_ros.topics.diagnostic_entries import (
    Entry,
    Latencies,
    Rates,
    faults_entry,
    model_entry,
    state_entry,
    topic_entry,
)
from mambaseg_ros.topics.subscriptions import InputSubscription, Subscriptions, publishers_of

OWN_TOPICS = ("~/mask", "~/status")
RIVAL_LOOKS = 4  # a node that ended well is gone from the graph by then


@dataclass
class Condition:
    """State of the node itself.

    Attributes:
        enabled: whether the `~/enable` service lets it run.
        rival: what is wrong while another node has this one's name or publishes its outputs, or empty.
        reason: why the last transition failed, or empty.
        model: what runs and where (`model.describe`), empty where none is loaded.
        task: long work that is done now, or empty.
        task_since: when it began, seconds of the monotonic clock.
    """

    enabled: bool = True
    reason: str = ""
    rival: str = ""
    model: dict[str, str] = field(default_factory=dict)
    task: str = ""
    task_since: float = 0.0

    def begin_task(self, task: str) -> None:
        """Begin long work; an empty string ends it."""
        self.task, self.task_since = task, time.monotonic()


class Diagnostics:
    """Collect latencies and rates, and publish them with the faults and the state.

    Args:
        node: the lifecycle node.
        faults: what went wrong.
        condition: kept up to date by the node.
    """

    def __init__(self, node: Any, faults: FaultLog, condition: Condition) -> None:
        self._node, self._faults, self._condition = node, faults, condition
        self._looks_with_rival = 0
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.begin()

    def begin(self) -> None:
        """Forget rates and latencies of the last activation."""
        self._rates, self._latencies = Rates(), Latencies()

    def add(self, report: Report) -> None:
        """Take the latencies of a published mask."""
        if report.inference_ms > 0:
            self._latencies.add(
                total=report.total_ms,
                wait=report.wait_ms,
                prepare=report.stages.prepare_ms,
                inference=report.inference_ms,
                publish=report.stages.publish_ms,
                own=report.total_ms - report.wait_ms - report.inference_ms,
                age=report.age_ms,
                **{f"stage {name.replace('_', ' ')}": ms for name, ms in vars(report.stages).items()},
            )

    def publish(self, state: str, pipeline: Pipeline | None, subscriptions: Subscriptions | None) -> None:
        """Publish one DiagnosticArray, after the memory of a burst that is over went back to the system."""
        if pipeline is not None:
            pipeline.give_back_memory()
        if (condition := self._condition).task:
            state = f"{state}: {condition.task}, {time.monotonic() - condition.task_since:.0f} s"
        self._look_for_rivals(pipeline)
        entries = [state_entry(state, self._condition.enabled, self._condition.reason, self._condition.rival)]
        entries.append(faults_entry(self._faults.all(), time.monotonic()))
        if self._condition.model:
            used = memory(torch.device(self._condition.model["device"]))
            entries.append(model_entry(self._condition.model, used | self._latencies.summary()))
        if pipeline is not None and subscriptions is not None:
            entries += self._inputs(pipeline, subscriptions)
        array = DiagnosticArray(status=[self._message(entry) for entry in entries])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _look_for_rivals(self, pipeline: Pipeline | None) -> None:
        """Note other nodes of this name, and other publishers of its outputs, once they were there for some seconds."""
        node = self._node
        own, nodes = (node.get_name(), node.get_namespace()), node.get_node_names_and_namespaces()
        topics = [node.resolve_topic_name(topic) for topic in OWN_TOPICS]
        publishers = {topic: [publisher.node for publisher in publishers_of(node, topic)] for topic in topics}
        rival = why_not_alone(node.get_fully_qualified_name(), nodes.count(own), publishers)
        self._looks_with_rival = self._looks_with_rival + 1 if rival else 0
        self._condition.rival = rival if self._looks_with_rival >= RIVAL_LOOKS else ""
        if self._condition.rival and self._faults.note(rival):
            node.get_logger().error(rival)
        if pipeline is not None:
            pipeline.doubt("rival", self._condition.rival)

    def _inputs(self, pipeline: Pipeline, subscriptions: Subscriptions) -> list[Entry]:
        counts = pipeline.counts()
        rates = self._rates.per_second(counts | {"bytes_received": pipeline.inbox.bytes_received})
        worker, kind = pipeline.worker, pipeline.worker.segmenter.preprocessing.second

        def entry(
            name: str,
            source: InputSubscription,
            health: Health,
            reliability: float,
            *,
            counted: tuple[str, ...],
            faults: Sequence[str] = (),
        ) -> Entry:
            own = {name: count for name, count in counts.items() if name.startswith(counted)}
            own_rates = {name: rates[name] for name in own if name.endswith(("received", "published"))}
            found = topic_entry(
                name, health=health, topic=source.describe(), counts=own, rates=own_rates, faults=faults
            )
            if not math.isnan(reliability):
                found.values["reliability"] = f"{reliability:.3f}"
            return found

        of_image, of_second = worker.reliability
        of_images = [sentence for sentence in (worker.age_fault, subscriptions.image.wrong) if sentence]
        counted: tuple[str, ...] = ("images", "mask")
        image = entry("images", subscriptions.image, worker.images_health, of_image, counted=counted, faults=of_images)
        counted = ("events", "packets", "resets", "qos")
        values, wrong = pipeline.source.diagnose()
        faults = [sentence for sentence in (subscriptions.second.wrong, wrong) if sentence]
        second = entry(kind, subscriptions.second, worker.events_health, of_second, counted=counted, faults=faults)
        held, fill = pipeline.source.fill
        second.values |= {
            "bytes_received [MiB/s]": f"{rates['bytes_received'] / MIB:.2f}",
            f"buffer [{'events' if kind == 'events' else 'images'}]": str(held),
            "buffer fill [%]": f"{fill:.1f}",
            **values,
        }
        return [image, second]

    def _message(self, entry: Entry) -> Any:
        pairs = [KeyValue(key=key, value=value) for key, value in entry.values.items()]
        name = self._node.get_fully_qualified_name()
        return DiagnosticStatus(
            level=bytes([entry.level]),
            name=f"{name.strip('/')}: {entry.name}",
            message=entry.message,
            hardware_id=name,
            values=pairs,
        )
