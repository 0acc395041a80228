"""The node's parameters: declared once, here; code, launch file, parameter file and docs/ros.md follow.

The launch file is run by ROS's own Python, so this module and `messages/types` import nothing that does not
come with ROS.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import yaml

from mambaseg_ros.messages.types import EVENT_TYPES, IMAGE_TYPES
from mambaseg_ros.overrides import nearest
from mambaseg_ros.policy import Limits

T = TypeVar("T", bool, int, float, str)


@dataclass(frozen=True)
class Parameter:
    """The declaration of one parameter.

    Attributes:
        name: as in `ros2 param`.
        default: its type is the parameter's.
        meaning: one sentence with the unit.
        bounds: smallest and largest value of a number, or None.
        choices: the allowed strings, or None for any.
        changes: when it may change: "always", "inactive" (not while active), "unconfigured" or "never".
    """

    name: str
    default: bool | int | float | str
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
            state: as the life cycle has it, such as "unconfigured", "active" or "configuring".

        Raises:
            ValueError: one sentence with what has to be done first.
        """
        if self.changes == "never":
            raise ValueError(f"parameter {self.name!r} is read when the node starts and cannot change: start it anew")
        allowed = CHANGES[self.changes]
        if state.endswith("ing"):
            raise ValueError(
                f"parameter {self.name!r} cannot change while the node is {state}; expected it {' or '.join(allowed)}: "
                "set it after the transition"
            )
        if state not in allowed:
            steps = "deactivate" if state == "active" else "cleanup"
            steps = "deactivate and cleanup" if state == "active" and "inactive" not in allowed else steps
            raise ValueError(
                f"parameter {self.name!r} cannot change while the node is {state}; expected it {' or '.join(allowed)}: "
                f"{steps}, set the parameter, and go back by the same steps"
            )

    def whole_or_float(self, value: Any) -> Any:
        """Return a number in the parameter's type where nothing is lost, 10 as 10.0 and 10.0 as 10, else the value."""
        kind = type(self.default)
        if (kind is float and type(value) is int) or (kind is int and type(value) is float and value.is_integer()):
            return kind(value)
        return value

    def check(self, value: object) -> None:
        """Refuse a value of another type or out of bounds.

        Raises:
            ValueError: one sentence: what, got, expected, do.
        """
        kind = type(self.default)
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(
                f"parameter {self.name!r} is {value!r} ({type(value).__name__}); expected a {kind.__name__}, such as "
                f"{_EXAMPLES[kind]}: correct it in the parameter file or the launch argument"
            )
        fits = self.bounds is None or self.bounds[0] <= float(value) <= self.bounds[1]
        if not fits or (self.choices is not None and value not in self.choices):
            raise ValueError(f"parameter {self.name!r} is {value!r}; expected {self.limits}: it is {self.meaning}")


_EXAMPLES: dict[type, str] = {bool: "true", int: "10", float: "10.0", str: "'10' in quotes"}
CHANGES = {
    "always": ("unconfigured", "inactive", "active"),
    "inactive": ("unconfigured", "inactive"),
    "unconfigured": ("unconfigured",),
}
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
ENGINES = ("auto", "torch", "aoti", "onnxruntime", "openvino", "tensorrt")
RANDOM = "random"  # the value of `weights` that asks for none
EVENT_CLOCKS = ("auto", "header", "sensor", "filtered")
RELIABILITIES = ("best_effort", "reliable")
EVENTS_MISSING = ("image_only", "hold", "drop")
IMAGES_MISSING = ("drop", "events_only", "hold")
MASK_SIZES = ("image", "model")


def _parameter(default: T, meaning: str, **limits: Any) -> T:
    """Declare a field of `Parameters`; the arguments are those of `Parameter`."""
    return field(default=default, metadata={"default": default, "meaning": meaning, **limits})


@dataclass(frozen=True)
class Parameters:
    """The values of all parameters. Making one raises ValueError where a value is of another type or out of bounds."""

    # fmt: off
    autostart: bool = _parameter(True, "whether the node configures and activates itself; false leaves it to a lifecycle manager", changes="never")
    exit_on_failure: bool = _parameter(False, "whether the node ends with exit status 1 where it cannot configure or activate itself; false keeps it, to be corrected and configured again", changes="never")
    model: str = _parameter("mambaseg_nano", "the model's name, as `mambaseg info` lists them; unused where weights is the path of a checkpoint of ours")
    weights: str = _parameter("", "path of a checkpoint of ours, of the authors' file of weights or of a file of `mambaseg export`, or the name of weights that ship with `model`; empty: those that ship with it; random: random weights, for trials whose masks mean nothing")
    engine: str = _parameter("auto", "what runs the model; auto: by the suffix of `weights`: ONNX Runtime (.onnx; OpenVINO where that alone is installed), AOTInductor (.pt2) or TensorRT (.engine) for a file of `mambaseg export`, torch for all else", choices=ENGINES)
    image_height: int = _parameter(0, "rows of the model's input, pixels; 0: as the model was made", bounds=(0, 4096))
    image_width: int = _parameter(0, "columns of the model's input, pixels; 0: as the model was made", bounds=(0, 4096))
    device: str = _parameter("auto", "where the model runs: auto, cpu, cuda or cuda:N")
    precision: str = _parameter("float32", "number format of the model's weights and features; on the CPU bfloat16 rounds the factors of a network's products, which is fast on processors with AVX512-BF16 or AMX-BF16; on a GPU it is fast from compute capability 8.0 on; elsewhere it gains nothing or is slower than float32; tf32 (float32 whose products and convolutions round to TF32, compute capability 8.0 and later) and float16 need a GPU", choices=PRECISIONS)
    threads: int = _parameter(0, "threads of the model; 0: OMP_NUM_THREADS, or all cores that affinity and control group allow, but one where they are more than two", bounds=(0, 1024))
    calibration: str = _parameter("", "path of DSEC's cam_to_cam.yaml or of Kalibr's camchain.yaml, two files of camera_calibration as EVENT.yaml,IMAGE.yaml, or `camera_info` to wait for the topics camera_info and event_camera_info; empty: image and events are registered to one view")
    image_type: str = _parameter("auto", "type of the image topic; auto takes that of its publisher", choices=("auto", *IMAGE_TYPES), changes="inactive")
    image_reliability: str = _parameter("best_effort", "what is asked of the image's publisher; best_effort fits every one", choices=RELIABILITIES, changes="inactive")
    events_type: str = _parameter("auto", "type of the events topic; auto takes that of its publisher", choices=("auto", *EVENT_TYPES), changes="inactive")
    events_reliability: str = _parameter("best_effort", "what is asked of the events' publisher; best_effort fits every one", choices=RELIABILITIES, changes="inactive")
    second_type: str = _parameter("auto", "type of the topic second, the images of a second camera (thermal, depth), which models for these take in place of events; auto takes that of its publisher", choices=("auto", *IMAGE_TYPES), changes="inactive")
    second_reliability: str = _parameter("best_effort", "what is asked of that camera's publisher; best_effort fits every one", choices=RELIABILITIES, changes="inactive")
    event_clock: str = _parameter("auto", "how times in EventPackets become those of the header stamps; auto: sensor for libcaer, filtered for all others", choices=EVENT_CLOCKS, changes="inactive")
    hot_pixel_filter: bool = _parameter(False, "whether events of hot pixels are dropped: of those with more than ten times the events of the pixels around them, and at least 80 a second", changes="inactive")
    buffer_ms: float = _parameter(2000.0, "maximum age of the events, or second images, in the buffer, milliseconds", bounds=(10.0, 60_000.0), changes="inactive")
    buffer_mib: int = _parameter(256, "memory of the buffer of events, or of second images, MiB", bounds=(1, 65_536), changes="inactive")
    event_wait_ms: float = _parameter(50.0, "maximum wait for events up to an image's stamp, or for the second image nearest to it, milliseconds of wall-clock time", bounds=(0.0, 10_000.0), changes="always")
    events_stale_ms: float = _parameter(50.0, "maximum gap between an image and its newest event (or nearest second image), milliseconds; beyond it the second input counts as missing", bounds=(0.0, 60_000.0), changes="always")
    max_age_ms: float = _parameter(1000.0, "maximum age of a mask on the node's clock when it is published, milliseconds; beyond it, or where the stamp is of the future, the state is DEGRADED; stamps more than a day away are of another clock or a recording, which /diagnostics says; 0: any stamp, for cameras with a clock of their own", bounds=(0.0, 86_400_000.0), changes="always")
    events_refused_share: float = _parameter(0.5, "maximum share of the events of the last second that may be refused (outside the sensor, out of order, not decodable, of a time that jumps); beyond it events count as missing", bounds=(0.0, 1.0), changes="always")
    min_window_share: float = _parameter(0.5, "minimum share of a window's time (or of its number of events) that must be covered; below it the mask is made, and its state is DEGRADED", bounds=(0.0, 1.0), changes="always")
    min_window_events: int = _parameter(10, "minimum number of events in a window; below it the mask is made, and its state is DEGRADED; an empty window counts as missing events", bounds=(0, 1_000_000), changes="always")
    when_events_missing: str = _parameter("image_only", "what is published for an image without second input: a mask of the image alone, the last mask with its original stamp, or nothing", choices=EVENTS_MISSING, changes="always")
    images_stale_ms: float = _parameter(500.0, "maximum time without an image on the node's clock, milliseconds; beyond it images count as missing", bounds=(10.0, 60_000.0), changes="always")
    when_images_missing: str = _parameter("drop", "what is published while images are missing: nothing, masks of the second input alone, or the last mask with its original stamp", choices=IMAGES_MISSING, changes="always")
    timer_ms: float = _parameter(50.0, "period of the masks that are published while images are missing, milliseconds", bounds=(1.0, 10_000.0), changes="always")
    publish_classes: str = _parameter("", "classes that get a mono8 topic of their own, ~/classes/NAME, 255 where the mask has the class and 0 elsewhere: road, or merged and named, drivable=road+sidewalk")
    roi: str = _parameter("", "part of the image, and of the same view of the second input, that the model sees in place of all: x,y,width,height, pixels, such as 0,120,640,240; masks have its size; not with a calibration; empty: all but the rows that were cropped in training")
    mask_size: str = _parameter("image", "size of ~/mask and of what is made of it, but not of ~/overlay: that of the image, or that of the model's output, which is in the rectified event camera's view where there is a calibration", choices=MASK_SIZES, changes="always")
    max_rate_hz: float = _parameter(0.0, "maximum rate of masks by the machine's clock; images (or mask times) that come sooner are dropped and counted, without a status; 0: every one", bounds=(0.0, 1000.0), changes="always")
    mask_rate_hz: float = _parameter(0.0, "masks a second at whole numbers of its period in the time of the stamps, each from the newest image and the events up to then, with a stamp of its own; not for a second camera; 0: one mask for each image, with the image's stamp", bounds=(0.0, 1000.0), changes="inactive")
    image_age_max_ms: float = _parameter(150.0, "with mask_rate_hz above 0: maximum age of an image at a mask's time, milliseconds; without such an image when_images_missing says what is published; the period of the camera and the delay of its images must fit in", bounds=(0.0, 10_000.0), changes="always")
    only_if_heard: bool = _parameter(False, "whether the model rests while nobody subscribes to a mask or what is made of it; ~/status then comes once a second", changes="always")
    nice: int = _parameter(0, "how much the model's threads give way to others (niceness that is added); those that receive, decode and publish are not touched", bounds=(0, 19), changes="inactive")
    overlay_alpha: float = _parameter(0.5, "weight of the classes' colours in ~/overlay", bounds=(0.0, 1.0), changes="always")
    # fmt: on

    def __post_init__(self) -> None:
        for parameter in PARAMETERS:
            parameter.check(getattr(self, parameter.name))

    @property
    def buffer_bytes(self) -> int:
        """The memory of the buffer, bytes."""
        return self.buffer_mib << 20

    @property
    def events_stale_ns(self) -> int:
        """Maximum gap between an image and its second input, nanoseconds."""
        return int(self.events_stale_ms * 1e6)

    @property
    def limits(self) -> Limits:
        """Bounds of a second input that is fit for use."""
        return Limits(
            self.events_stale_ns,
            self.events_refused_share,
            self.min_window_share,
            self.min_window_events,
            "the mask's time" if self.mask_rate_hz else "the image's stamp",
        )

    @property
    def image_age_max_ns(self) -> int:
        """The greatest age of an image at a mask's time, nanoseconds."""
        return round(self.image_age_max_ms * 1e6)

    @property
    def images_stale_ns(self) -> int:
        """The longest time without an image before images count as missing, nanoseconds."""
        return int(self.images_stale_ms * 1e6)


PARAMETERS = tuple(Parameter(row.name, **row.metadata) for row in fields(Parameters))
TABLE = {parameter.name: parameter for parameter in PARAMETERS}


def read_parameters(words: list[str]) -> Parameters:
    """Read parameters from words such as "event_clock=sensor"; the others have their defaults.

    Raises:
        ValueError: a word without "=", an unknown parameter, or a value of another type or out of bounds.
    """
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in TABLE:
            raise ValueError(
                f"{word!r} sets no parameter; expected name=value with one of {', '.join(TABLE)}{nearest(name, TABLE)}"
            )
        values[name] = read_value(name, text)
    return Parameters(**values)


def read_value(name: str, text: str) -> Any:
    """Return a parameter's value from a word of a command line or a launch argument.

    Raises:
        ValueError: a value of another type or out of bounds.
    """
    row = TABLE[name]
    value = text if isinstance(row.default, str) else row.whole_or_float(_value(text))
    row.check(value)
    return value


def _value(text: str) -> Any:
    """Return a number or a truth value from a word of the command line; other text as it is."""
    with suppress(yaml.YAMLError):
        text = yaml.safe_load(text)
    with suppress(ValueError):  # YAML reads 1e3 as text
        return float(text) if isinstance(text, str) else text
    return text


def launch_arguments() -> dict[str, tuple[type, str]]:
    """Return the type and the description of the launch file's argument for each parameter."""
    arguments: dict[str, tuple[type, str]] = {}
    for parameter in PARAMETERS:
        kind = type(parameter.default)
        expected = ", ".join(filter(None, (kind.__name__, parameter.limits)))
        arguments[parameter.name] = kind, f"{parameter.meaning} ({expected}; not given: as in params_file)"
    return arguments


def markdown_table() -> str:
    """Return the table as docs/ros.md shows it."""
    rows = ["| parameter | type | default | bounds | changes | meaning |", "|---|---|---|---|---|---|"]
    for parameter in PARAMETERS:
        kind, default = type(parameter.default).__name__, json.dumps(parameter.default)
        cells = f"`{parameter.name}`", kind, f"`{default}`", parameter.limits, parameter.changes, parameter.meaning
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
