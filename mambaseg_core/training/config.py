"""Configuration of a training run: frozen, read from YAML, and checked before anything else is loaded."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import yaml

from mambaseg_core.data.loading import TIMED
from mambaseg_core.labels import LABEL_SETS
from mambaseg_core.preprocessing import SECOND_INPUTS

DATA: Final = ("dsec", "ddd17", "rgbx", "pictures")
INPUTS: Final = ("both", "image", "second")
SCHEDULES: Final = ("constant", "linear", "cosine", "poly")
PRECISIONS: Final = ("32-true", "tf32", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class DataConfig:
    """Data of a run, and how samples are made from them.

    Attributes:
        layout: "dsec" (DSEC-Semantic and `mambaseg synth`), "ddd17", "rgbx" (MFNet, PST900, NYU Depth V2, SUN RGB-D
            and `mambaseg synth --second`), or "pictures" (images and label pictures; the events are blank).
        root: folder of the data set; may be given on the command line instead.
        size: (height, width) of the model's view, pixels.
        channels: channels of the image, 1 or 3.
        crop_bottom: rows cut from the bottom of the view, where a car's own bonnet is, of 480 rows (ddd17: 260, rgbx:
            those of `size`), and in proportion of other heights. The weights keep it, and masks are 255 there. null:
            40 for DSEC's own recordings and 60 for DDD17, as published, else 0.
        crop: (height, width) of the random crops used for training; null: the whole view.
        scale: smallest and largest factor of the random resize before the crop.
        flip: whether half of the samples are mirrored.
        photometric: strength of brightness and contrast noise on the image, 0 for none.
        class_colors: probability that a class of an image gets random colors, independently of the other classes.
        camera: strength of the effects of other cameras on the image, 0 to 1: haze, blur, vignetting, exposure, white
            balance, noise, gamma, saturation, hue, JPEG.
        misalignment_px: largest shift of the image against events and label, as by an error of the calibration, pixels;
            with the layout rgbx, of the second image against image and label.
        modality_dropout: probability that one of a sample's two inputs is blanked.
        cover: probability of a covered lens, that is, darkness and noise. It applies to the image; with the layout
            rgbx, to either camera.
        inputs: "both", or the one input that is not blanked in training and validation (an ablation): "image" or
            "second".
        labels: label set, such as "dsec_19"; null: the layout's own (dsec_11, ddd17_6, mfnet_9).
        second: kind of the second input: "events"; with the layout rgbx, "thermal" or "depth".
        second_range: values of the thermal or depth image that become 0 and 1 (depth: mm).
        second_channels: number of channels to which that image is repeated, as the model needs: 3 for Sigma, 10 for
            MambaSeg.
        window_ms: length of the event window before the image, milliseconds; 0: the published window (DSEC: 100,000
            events, DDD17: 50 ms).
        image_age_ms: largest age of the image at the time of label and events, milliseconds (1 ms more is allowed, as
            stamps jitter). Each sample's image is drawn evenly among the recording's images that are at most so old;
            0: always the labeled image.
        registered: whether images and events of the layout dsec have one view, so that there is no calibration.
        workers: processes that load data; 0 loads in the training process.
        cache: folder that keeps decoded images and rectified events from epoch to epoch; empty: none.
    """

    layout: str = "dsec"
    root: str = ""
    size: tuple[int, int] = (440, 640)
    channels: int = 3
    crop_bottom: int | None = None
    crop: tuple[int, int] | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    flip: bool = True
    photometric: float = 0.0
    class_colors: float = 0.0
    camera: float = 0.0
    misalignment_px: float = 0.0
    modality_dropout: float = 0.0
    cover: float = 0.0
    inputs: str = "both"
    labels: str | None = None
    second: str = "events"
    second_range: tuple[float, float] = (0.0, 255.0)
    second_channels: int = 3
    window_ms: int = 0
    image_age_ms: float = 0.0
    registered: bool = False
    workers: int = 2
    cache: str = ""

    def __post_init__(self) -> None:
        _one_of("data.layout", self.layout, DATA)
        _one_of("data.inputs", self.inputs, INPUTS)
        _one_of("data.channels", self.channels, (1, 3))
        _one_of("data.labels", self.labels, (None, *LABEL_SETS))
        for name in ("size", "crop"):
            value = getattr(self, name)
            if value is not None and min(value) < 1:
                raise ValueError(f"data.{name} is {list(value)}; expected [height, width], at least 1 each")
        if self.crop_bottom is not None:
            _within("data.crop_bottom", self.crop_bottom, 0, 100_000)
        _within("data.modality_dropout", self.modality_dropout, 0, 1)
        _within("data.cover", self.cover, 0, 1)
        for name in ("photometric", "class_colors", "camera"):
            _within(f"data.{name}", getattr(self, name), 0, 1)
        _within("data.misalignment_px", self.misalignment_px, 0, 100)
        _within("data.window_ms", self.window_ms, 0, 1000)
        _within("data.image_age_ms", self.image_age_ms, 0, 10_000)
        _within("data.second_channels", self.second_channels, 1, 1024)
        _one_of("data.second", self.second, SECOND_INPUTS[1:] if self.layout == "rgbx" else SECOND_INPUTS[:1])
        if not self.second_range[0] < self.second_range[1]:
            raise ValueError(f"data.second_range is {list(self.second_range)}; expected [lowest, highest] value")
        if self.image_age_ms and self.layout not in TIMED:
            raise ValueError(
                f"data.image_age_ms is {self.image_age_ms:g} with data.layout {self.layout!r}, whose images have no "
                "times; expected 0: leave it out"
            )
        if self.layout == "rgbx" and (self.cache or self.window_ms):
            raise ValueError(
                f"data.cache is {self.cache!r} and data.window_ms {self.window_ms} with data.layout 'rgbx', which has "
                "no events; expected '' and 0: leave them out"
            )
        if self.layout == "pictures":
            self._check_pictures()
        _within("data.workers", self.workers, 0, 1024)
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"data.scale is {list(self.scale)}; expected [smallest, largest] factor, both above 0")

    def _check_pictures(self) -> None:
        """Refuse keys that would blank the only input, or need events."""
        if self.inputs != "image":
            raise ValueError(
                f"data.inputs is {self.inputs!r} with data.layout 'pictures', which has no events; expected 'image'"
            )
        for name in ("modality_dropout", "cover", "misalignment_px", "cache"):
            if value := getattr(self, name):
                raise ValueError(
                    f"data.{name} is {value!r} with data.layout 'pictures', which has the image only; expected it off: "
                    "leave it out"
                )


@dataclass(frozen=True)
class ModelConfig:
    """Network of a run, and its initial weights.

    Attributes:
        name: one of `mambaseg_core.list_models()`.
        weights: checkpoint of the same model to start from (fine-tuning), or a name of `shipped_weights`.
        imagenet: VMamba's ImageNet checkpoint for the encoders.
        reliability: whether the network weighs each input by its reliability; `create_model` refuses this for
            networks without the option.
    """

    name: str
    weights: str | None = None
    imagenet: str | None = None
    reliability: bool = False

    def __post_init__(self) -> None:
        if self.weights and self.imagenet:
            raise ValueError(
                f"model.weights is {self.weights!r} and model.imagenet is {self.imagenet!r}; expected one of them"
            )


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its learning rate.

    Attributes:
        lr: highest learning rate.
        weight_decay: AdamW's weight decay, on matrices and kernels only.
        schedule: "constant"; or decay to 0: "linear", "cosine" or "poly" (power 0.9).
        warmup: steps in which the learning rate rises from 0.
        clip: largest norm of the gradient, 0 for no limit.
    """

    lr: float
    weight_decay: float = 0.01
    schedule: str = "linear"
    warmup: int = 0
    clip: float = 0.0

    def __post_init__(self) -> None:
        _one_of("optimizer.schedule", self.schedule, SCHEDULES)
        _within("optimizer.lr", self.lr, 1e-12, 10)
        for name in ("weight_decay", "warmup", "clip"):
            _within(f"optimizer.{name}", getattr(self, name), 0, float("inf"))


@dataclass(frozen=True)
class LoopConfig:
    """Length, batches, validation and checkpoints of a run. A step is one step of the optimizer.

    Attributes:
        epochs: passes over the training data; this or `steps`.
        steps: total number of steps.
        batch: samples per process and forward pass.
        accumulate: forward passes per step.
        precision: "32-true", "tf32", "bf16-mixed" or "16-mixed". A GPU computes products and convolutions in float32
            for "32-true", and rounds their factors to TF32 for "tf32".
        trust: weight of a loss that trains a model with reliability to distrust inputs covered by augmentation.
        seed: seed of weights, order and augmentation.
        validate_every: steps between validations; 0: only at the end.
        validate_samples: number of validation samples used, evenly spread; 0: all.
        checkpoint_every: steps between checkpoints; a killed run can lose this many.
        log_every: steps between lines of metrics.
    """

    epochs: int = 0
    steps: int = 0
    batch: int = 4
    accumulate: int = 1
    precision: str = "32-true"
    trust: float = 0.0
    seed: int = 0
    validate_every: int = 0
    validate_samples: int = 0
    checkpoint_every: int = 200
    log_every: int = 10

    def __post_init__(self) -> None:
        _one_of("loop.precision", self.precision, PRECISIONS)
        if (self.epochs > 0) == (self.steps > 0):
            raise ValueError(
                f"loop.epochs is {self.epochs} and loop.steps is {self.steps}; expected one of them above 0"
            )
        for name in ("batch", "accumulate", "checkpoint_every", "log_every"):
            _within(f"loop.{name}", getattr(self, name), 1, float("inf"))
        for name in ("epochs", "steps", "trust", "seed", "validate_every", "validate_samples"):
            _within(f"loop.{name}", getattr(self, name), 0, float("inf"))


@dataclass(frozen=True)
class TrainConfig:
    """Configuration of a run. `data.root` may be empty in a file."""

    model: ModelConfig
    optimizer: OptimizerConfig
    loop: LoopConfig
    data: DataConfig = field(default_factory=DataConfig)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for YAML."""
        return {name: {key: _plain(value) for key, value in part.items()} for name, part in asdict(self).items()}


def read_config(path: str | Path, changes: dict[str, Any] | None = None) -> TrainConfig:
    """Read a configuration.

    Args:
        path: a YAML file.
        changes: values that replace the file's, by "section.key".

    Raises:
        ValueError: the file is missing or not YAML, a key is unknown (the message names the nearest known one) or
            missing, or a value has the wrong type or is out of range.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"configuration {path} does not exist; expected a YAML file such as config/train/dsec.yaml")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or no such date
        raise ValueError(f"configuration {path} is not YAML: {error}".replace("\n", " ")) from error
    try:
        return parse_config(values, changes or {})
    except ValueError as error:
        raise ValueError(f"configuration {path}: {error}") from error


def parse_config(values: Any, changes: dict[str, Any]) -> TrainConfig:
    """Build a configuration from nested plain values; see `read_config`."""
    if not isinstance(values, dict):
        raise ValueError(f"it holds a {type(values).__name__}; expected the sections {', '.join(_SECTIONS)}")
    _refuse_unknown("section", values, tuple(_SECTIONS))
    values = {name: dict(_mapping(name, values.get(name))) for name in _SECTIONS}
    for dotted, value in changes.items():
        section, _, key = dotted.partition(".")
        _refuse_unknown("section", {section: None}, tuple(_SECTIONS))
        values[section][key] = value
    return TrainConfig(**{name: _section(name, kind, values[name]) for name, kind in _SECTIONS.items()})


_SECTIONS: Final[dict[str, Any]] = {
    "model": ModelConfig,
    "data": DataConfig,
    "optimizer": OptimizerConfig,
    "loop": LoopConfig,
}


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"section {name} is {value!r}; expected keys and values")
    return value or {}


def _section(name: str, kind: Any, values: dict[str, Any]) -> Any:
    kinds = {item.name: str(item.type) for item in fields(kind)}
    _refuse_unknown(f"key {name}.", values, tuple(kinds))
    try:
        return kind(**{key: _value(f"{name}.{key}", value, kinds[key]) for key, value in values.items()})
    except TypeError as error:  # a required key is missing
        raise ValueError(f"section {name}: {str(error).split('__init__() ')[-1]}; add it") from error


def _refuse_unknown(what: str, values: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
            space = "" if what.endswith(".") else " "
            raise ValueError(f"{what}{space}{key} is unknown; did you mean {near[0]}? Known: {', '.join(known)}")


def _value(name: str, value: Any, kind: str) -> Any:
    """Convert a YAML value to the type of a field's annotation; raise ValueError if it does not fit."""
    if value is None and "None" in kind:
        return None
    if kind.startswith("tuple"):
        item = "float" if "float" in kind else "int"
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise ValueError(f"{name} is {value!r}; expected a list of two numbers")
        return tuple(_value(name, part, item) for part in value)
    base = kind.split(" ")[0]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = {"str": isinstance(value, str), "bool": isinstance(value, bool), "float": number}
    fits["int"] = number and isinstance(value, int)
    if not fits[base]:
        hint = " (YAML reads 1e-4 as text: write 1.0e-4)" if base == "float" and isinstance(value, str) else ""
        raise ValueError(f"{name} is {value!r}; expected {kind}{hint}")
    return float(value) if base == "float" else value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _one_of(name: str, value: Any, known: tuple[Any, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, known))}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; expected a number from {low} to {high}")
