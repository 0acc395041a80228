"""The node's parameters: declared once, here; code, config/mambaseg.param.yaml and docs/ros.md follow this table."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    name: str
    default: Value
    meaning: str
    bounds: tuple[float, float] | None = None
    choices: tuple[str, ...] | None = None

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
        if self.bounds is not None and not self.bounds[0] <= float(value) <= self.bounds[1]:
            raise ValueError(
                f"parameter {self.name!r} is {value!r}; expected {self.bounds[0]:g} to {self.bounds[1]:g}: "
                f"it is {self.meaning}"
            )
        if self.choices is not None and value not in self.choices:
            raise ValueError(
                f"parameter {self.name!r} is {value!r}; expected one of {', '.join(map(repr, self.choices))}: "
                f"it is {self.meaning}"
            )


PRECISIONS = ("float32", "bfloat16", "float16")
EVENTS_TYPES = ("auto", "mambaseg_ros/msg/EventArray", "event_camera_msgs/msg/EventPacket")

PARAMETERS = (
    Parameter("autostart", True, "whether the node configures and activates itself; false leaves it to a lifecycle manager"),
    Parameter("model", "mambaseg_dsec", "the model's name, as `mambaseg info` lists them; unused where weights is a checkpoint of ours"),
    Parameter("weights", "", "path of a .safetensors checkpoint or of the authors' .pth; empty: random weights, for tests only"),
    Parameter("image_height", 0, "rows of the model's input, pixels; 0: as the model was made", bounds=(0, 4096)),
    Parameter("image_width", 0, "columns of the model's input, pixels; 0: as the model was made", bounds=(0, 4096)),
    Parameter("device", "auto", "where the model runs: auto, cpu, cuda or cuda:N"),
    Parameter("precision", "float32", "number format of the model's weights and features; float16 needs a GPU", choices=PRECISIONS),
    Parameter("calibration", "", "path of DSEC's cam_to_cam.yaml; empty: image and events are registered to one view"),
    Parameter("events_type", "auto", "type of the events topic; auto takes that of its first publisher", choices=EVENTS_TYPES),
    Parameter("event_wait_ms", 50.0, "longest wait for events up to an image's stamp, milliseconds", bounds=(0.0, 10_000.0)),
    Parameter("buffer_ms", 2000.0, "age of the oldest event that the buffer keeps, milliseconds", bounds=(10.0, 60_000.0)),
    Parameter("buffer_mib", 256, "memory of the event buffer, MiB", bounds=(1, 65_536)),
    Parameter("overlay_alpha", 0.5, "weight of the classes' colours in ~/overlay, 0 to 1", bounds=(0.0, 1.0)),
)  # fmt: skip

TABLE = {parameter.name: parameter for parameter in PARAMETERS}


def markdown_table() -> str:
    """The table as docs/ros.md shows it."""
    rows = ["| parameter | type | default | bounds | meaning |", "|---|---|---|---|---|"]
    for parameter in PARAMETERS:
        bounds = ""
        if parameter.bounds is not None:
            bounds = f"{parameter.bounds[0]:g} to {parameter.bounds[1]:g}"
        elif parameter.choices is not None:
            bounds = ", ".join(f"`{choice}`" for choice in parameter.choices)
        default = str(parameter.default).lower() if isinstance(parameter.default, bool) else parameter.default
        kind = type(parameter.default).__name__
        rows.append(f"| `{parameter.name}` | {kind} | `{default!r}` | {bounds} | {parameter.meaning} |")
    return "\n".join(rows)
