"""The plan: which stages there are, in which order and call, and how long each may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CALLS: Final = ("first", "second")


@dataclass(frozen=True)
class Stage:
    """One stage: a function of its name in a module of this folder.

    Attributes:
        name: Name of the stage and of its function.
        call: "first" or "second".
        share_s: Seconds of its call that are kept for it. What earlier stages leave is added.
        module: Module of this folder.
        what: What its rows are, for the report.
    """

    name: str
    call: str
    share_s: float
    module: str
    what: str


STAGES: Final = (
    Stage("env", "first", 20, "machine", "the machine and its software"),
    Stage("build", "first", 50, "machine", "the compiled extension, which makes the reference on the CPU fast"),
    Stage(
        "smoke", "first", 45, "machine", "one scan and one voxel grid against float64, and why the back end was chosen"
    ),
    Stage("tests", "first", 110, "suites", "the tests that need a GPU"),
    Stage("agree", "first", 55, "agreement", "outputs on the device against float32 on the CPU"),
    Stage("speed", "first", 65, "whole_models", "a frame through the network, batch 1"),
    Stage("segmenter", "first", 60, "segmenting", "`Segmenter`: start, first frames, frames from image to mask"),
    Stage("profile", "first", 25, "whole_models", "the kernels that take longest; the whole tables are in profile.txt"),
    Stage("train", "second", 70, "training", "a training step: forward, backward, AdamW"),
    Stage("pipeline", "second", 45, "node_threads", "the node's threads without ROS at 20 Hz, two models, a reload"),
    Stage("cores", "second", 35, "cores", "SS2D with its projections, float32, batch 1"),
    Stage("sanitize", "second", 35, "suites", "compute-sanitizer on the kernels"),
    Stage("suite", "second", 65, "suites", "the other tests that need neither ROS nor a recording's format"),
    Stage("compile", "second", 50, "whole_models", "torch.compile of a whole network"),
    Stage("compare", "second", 60, "comparing", "mambaseg_compact and the released layout, trained side by side"),
)


def chosen(names: list[str]) -> list[Stage]:
    """Return the stages of calls and stages by name, in the plan's order.

    Raises:
        ValueError: A name is neither.
    """
    known = {stage.name for stage in STAGES}
    if unknown := [name for name in names if name not in known and name not in CALLS]:
        raise ValueError(f"unknown stage {unknown[0]!r}; expected one of {', '.join((*CALLS, *sorted(known)))}")
    return [stage for stage in STAGES if stage.name in names or stage.call in names]
