"""The node's parameters: declared once, here; code, launch file, parameter file and docs/ros.md follow this table.

The launch file is run by ROS's own Python, so this module imports nothing that does not come with ROS.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import yaml

Value = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """One parameter of the node.

    Attributes:
        name: as in `ros2 param`.
        default: its type is the parameter's type.
        meaning: one sentence with the unit.
        bounds: smallest and largest value of a number, or None.
        choices: the allowed strings, or None for any.
        changes: when it may change: "always", "inactive" (not while active), "unconfigured" or "never".
    """

    name: str
    default: Value
    meaning: str
    bounds: tuple[float, float] | None = None
    choices: tuple[str, ...] | None = None
    changes: str = "unconfigured"

    @property
    def limits(self) -> str:
        """The bounds or the choices as text; empty where any value is allowed."""
        if self.bounds is not None:
            return f"{self.bounds[0]:g} to {self.bounds[1]:g}"
        return "" if self.choices is None else "one of " + ", ".join(self.choices)

    def check_change(self, state: str) -> None:
        """Refuse a change that the node could not follow in its present state.

        Args:
            state: "unconfigured", "inactive" or "active", as the life cycle has it.

        Raises:
            ValueError: one sentence with what has to be done first.
        """
        if self.changes == "never":
            raise ValueError(f"parameter {self.name!r} is read when the node starts and cannot change: start it anew")
        allowed = CHANGES[self.changes]
        if state not in allowed:
            steps = "deactivate" if state == "active" else "cleanup"
            steps = "deactivate and cleanup" if state == "active" and "inactive" not in allowed else steps
            raise ValueError(
                f"parameter {self.name!r} cannot change while the node is {state}; expected it {' or '.join(allowed)}: "
                f"{steps}, set the parameter, and go back by the same steps"
            )

    def check(self, value: object) -> None:
        """Refuse a value of another type or out of bounds.

        Raises:
            ValueError: one sentence: what, got, expected, do.
        """
        kind = type(self.default)
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(
                f"parameter {self.name!r} is {value!r} ({type(value).__name__}); expected a {kind.__name__}: "
                "correct it in the parameter file or the launch argument"
            )
        fits = self.bounds is None or self.bounds[0] <= float(value) <= self.bounds[1]
        if not fits or (self.choices is not None and value not in self.choices):
            raise ValueError(f"parameter {self.name!r} is {value!r}; expected {self.limits}: it is {self.meaning}")


CHANGES = {
    "always": ("unconfigured", "inactive", "active"),
    "inactive": ("unconfigured", "inactive"),
    "unconfigured": ("unconfigured",),
}
PRECISIONS = ("float32", "bfloat16", "float16")
IMAGE_TYPES = ("auto", "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
EVENTS_TYPES = (
    "auto", "mambaseg_ros/msg/EventArray", "event_camera_msgs/msg/EventPacket",
    "dvs_msgs/msg/EventArray", "prophesee_event_msgs/msg/EventArray",
)  # fmt: skip
EVENT_CLOCKS = ("auto", "header", "sensor", "filtered")
RELIABILITIES = ("best_effort", "reliable")
EVENTS_MISSING = ("image_only", "hold", "drop")
IMAGES_MISSING = ("drop", "events_only", "hold")

PARAMETERS = (
    Parameter("autostart", True, "whether the node configures and activates itself; false leaves it to a lifecycle manager", changes="never"),
    Parameter("model", "mambaseg_nano", "the model's name, as `mambaseg info` lists them; unused where weights is the path of a checkpoint of ours"),
    Parameter("weights", "", "path of a .safetensors checkpoint or of the authors' .pth, or the name of weights that ship with `model`; empty: those that ship with it; random: none, for trials whose masks mean nothing"),
    Parameter("image_height", 0, "rows of the model's input, pixels; 0: as the model was made", bounds=(0, 4096)),
    Parameter("image_width", 0, "columns of the model's input, pixels; 0: as the model was made", bounds=(0, 4096)),
    Parameter("device", "auto", "where the model runs: auto, cpu, cuda or cuda:N"),
    Parameter("precision", "float32", "number format of the model's weights and features; bfloat16 is fast on processors with AVX512-BF16 or AMX-BF16 and on GPUs of compute capability 8.0 and later, elsewhere slower than float32; float16 needs a GPU", choices=PRECISIONS),
    Parameter("calibration", "", "path of DSEC's cam_to_cam.yaml, or `camera_info` to wait for the topics camera_info and event_camera_info; empty: image and events are registered to one view"),
    Parameter("image_type", "auto", "type of the image topic; auto takes that of its publisher", choices=IMAGE_TYPES, changes="inactive"),
    Parameter("image_reliability", "best_effort", "what is asked of the image's publisher; best_effort fits every one", choices=RELIABILITIES, changes="inactive"),
    Parameter("events_type", "auto", "type of the events topic; auto takes that of its publisher", choices=EVENTS_TYPES, changes="inactive"),
    Parameter("events_reliability", "best_effort", "what is asked of the events' publisher; best_effort fits every one", choices=RELIABILITIES, changes="inactive"),
    Parameter("second_type", "auto", "type of the topic second, the images of a second camera (thermal, depth) in place of events, where the model takes such; auto takes that of its publisher", choices=IMAGE_TYPES, changes="inactive"),
    Parameter("second_reliability", "best_effort", "what is asked of that camera's publisher; best_effort fits every one", choices=RELIABILITIES, changes="inactive"),
    Parameter("event_clock", "auto", "how times in EventPackets become those of the header stamps; auto: sensor for libcaer, filtered for all others", choices=EVENT_CLOCKS, changes="inactive"),
    Parameter("buffer_ms", 2000.0, "age of the oldest event, or picture of the second camera, that the buffer keeps, milliseconds", bounds=(10.0, 60_000.0), changes="inactive"),
    Parameter("buffer_mib", 256, "memory of the buffer of events, or of pictures, MiB", bounds=(1, 65_536), changes="inactive"),
    Parameter("event_wait_ms", 50.0, "longest wait for events up to an image's stamp, or for the picture nearest to it, milliseconds", bounds=(0.0, 10_000.0), changes="always"),
    Parameter("events_stale_ms", 50.0, "events that end longer than this before an image's stamp, and pictures farther than this from it, are missing, milliseconds", bounds=(0.0, 60_000.0), changes="always"),
    Parameter("when_events_missing", "image_only", "what an image without events (or a picture) gives: a mask of the image alone, the last mask with its old stamp, or none", choices=EVENTS_MISSING, changes="always"),
    Parameter("images_stale_ms", 500.0, "images are missing when none came for this long on the node's clock, milliseconds", bounds=(10.0, 60_000.0), changes="always"),
    Parameter("when_images_missing", "drop", "what happens then: nothing, masks of the events (or pictures) alone, or the last mask with its old stamp", choices=IMAGES_MISSING, changes="always"),
    Parameter("timer_ms", 50.0, "period of the masks that are published while images are missing, milliseconds", bounds=(1.0, 10_000.0), changes="always"),
    Parameter("overlay_alpha", 0.5, "weight of the classes' colours in ~/overlay", bounds=(0.0, 1.0), changes="always"),
)  # fmt: skip

TABLE = {parameter.name: parameter for parameter in PARAMETERS}


def read_values(words: list[str]) -> dict[str, Value]:
    """The parameters' values from words such as "event_clock=sensor"; the others have their defaults.

    Raises:
        ValueError: a word without "=", an unknown parameter, or a value of another type or out of bounds.
    """
    values = {parameter.name: parameter.default for parameter in PARAMETERS}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in TABLE:
            raise ValueError(f"{word!r} sets no parameter; expected name=value with one of {', '.join(TABLE)}")
        value = text if isinstance(TABLE[name].default, str) else yaml.safe_load(text)
        TABLE[name].check(value)
        values[name] = value
    return values


def launch_arguments() -> dict[str, tuple[type, str]]:
    """Return the type and the description of the launch file's argument for each parameter."""
    arguments: dict[str, tuple[type, str]] = {}
    for parameter in PARAMETERS:
        kind = type(parameter.default)
        expected = ", ".join(filter(None, (kind.__name__, parameter.limits)))
        arguments[parameter.name] = kind, f"{parameter.meaning} ({expected}; not given: as in params_file)"
    return arguments


def markdown_table() -> str:
    """The table as docs/ros.md shows it."""
    rows = ["| parameter | type | default | bounds | changes | meaning |", "|---|---|---|---|---|---|"]
    for parameter in PARAMETERS:
        kind, default = type(parameter.default).__name__, json.dumps(parameter.default)
        cells = f"`{parameter.name}`", kind, f"`{default}`", parameter.limits, parameter.changes, parameter.meaning
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
