"""Checkpoints: safetensors with the model's configuration and preprocessing in the header.

Files of weights without that header, such as the authors' `.pth`, are known by their bytes (`tensor_files`).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from mambaseg_core.files import write_bytes
from mambaseg_core.models.presets import Network, build, find_preset, list_models, preprocessing_of
from mambaseg_core.models.released.load import (
    check_names,
    check_numbers,
    fit_state_dict,
    load_released_state_dict,
    shapes,
)
from mambaseg_core.models.released.unit_inputs import take_unit_inputs, with_unit_inputs
from mambaseg_core.preprocessing import Preprocessing
from mambaseg_core.tensor_files import read_metadata, read_tensors

HEADER = "mambaseg"


@dataclass(frozen=True)
class Architecture:
    """The arguments of `create_model` that build a network again; sizes are (height, width)."""

    name: str
    num_classes: int
    image_size: tuple[int, int]
    in_channels: int
    reliability: bool = False

    @classmethod
    def of(cls, model: nn.Module) -> Architecture:
        """Return the configuration of a model made by `create_model`."""
        return cls(
            name=str(model.name),
            num_classes=int(model.num_classes),  # type: ignore[arg-type]
            image_size=tuple(model.image_size),  # type: ignore[arg-type]
            in_channels=int(model.in_channels),  # type: ignore[arg-type]
            reliability=bool(getattr(model, "reliability_aware", False)),
        )


def shipped_weights(name: str) -> list[str]:
    """Return the names of the weights that come with the package for a model."""
    return list(find_preset(name).shipped)


def create_model(
    name: str,
    num_classes: int | None = None,
    image_size: tuple[int, int] | None = None,
    in_channels: int | None = None,
    weights: str | Path | None = None,
    *,
    reliability: bool = False,
    warn: Callable[[str], Any] = warnings.warn,
) -> Network:
    """Build a network by name.

    Args:
        name: One of `list_models()`.
        num_classes: Classes of the head; by default those of a checkpoint of ours, else the preset's.
        image_size: (height, width) in pixels; by default as for `num_classes`.
        in_channels: Channels of the image; by default as for `num_classes`.
        weights: One of `shipped_weights(name)`, or a file of weights as of `load_weights`. By default the weights are
            drawn at random.
        reliability: Whether each input is weighed by how far it can be trusted. A checkpoint of a network that does
            needs no asking.
        warn: As of `load_weights`.

    Returns:
        The network, in training mode and on the current default device. Its attribute `preprocessing` is the
        checkpoint's, for `image_size`, or None.

    Raises:
        ValueError: An unknown name, a number that is not positive, weights that do not fit, or `reliability` of a
            network that has none.
    """
    path = None if weights is None else weights_file(name, weights)
    file = None if path is None else _File.read(path)
    stored = None if file is None else file.config
    if stored is not None and stored.name == name:
        num_classes = stored.num_classes if num_classes is None else num_classes
        image_size = stored.image_size if image_size is None else image_size
        in_channels = stored.in_channels if in_channels is None else in_channels
        reliability = reliability or stored.reliability
    model = build(name, num_classes, image_size, in_channels, reliability=reliability)
    if file is not None:
        file.load_into(model, warn)
    return model


def weights_file(name: str, weights: str | Path) -> Path:
    """Return the file of a model's shipped weights, or the file that was given.

    Raises:
        ValueError: Neither a name of `shipped_weights(name)` nor a path that exists or has a suffix.
    """
    shipped = find_preset(name).shipped.get(str(weights))
    if shipped is None and not Path(weights).suffix and not Path(weights).exists():
        known = ", ".join(shipped_weights(name)) or "none"
        raise ValueError(f"unknown weights {str(weights)!r} of {name}; shipped are: {known}; pass one or a file's path")
    return shipped or Path(weights)


def names_model(path: Path) -> bool:
    """Return whether a file of weights names its model and carries its preprocessing, as a checkpoint of ours does.

    Raises:
        ValueError: As of `load_weights`, of the file alone.
    """
    return HEADER in read_metadata(path)


def save_checkpoint(path: str | Path, model: nn.Module, preprocessing: Preprocessing | None = None) -> None:
    """Write weights, configuration and preprocessing to `path`, as a whole or not at all.

    What is in a checkpoint takes inputs of 0 to 1: a Sigma with the authors' weights is written as one that does.

    Args:
        path: The file.
        model: A model of `create_model`.
        preprocessing: By default the model's own (`preprocessing_of`).

    Raises:
        WriteError: The file cannot be written; an old one is as it was.
    """
    model = with_unit_inputs(model)
    setup = preprocessing or preprocessing_of(model)
    header = {"model": asdict(Architecture.of(model)), "preprocessing": setup.to_dict()}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(Path(path), save(tensors, metadata={HEADER: json.dumps(header)}))


def load_checkpoint(path: str | Path, *, image_size: tuple[int, int] | None = None) -> tuple[nn.Module, Preprocessing]:
    """Build the model that a checkpoint describes, load its weights, and return it with its preprocessing.

    Args:
        path: A checkpoint of ours.
        image_size: (height, width) of the model's input, pixels; by default the checkpoint's.

    Raises:
        ValueError: Missing, not ours, or weights that do not fit.
    """
    file = _File.read(Path(path))
    if file.config is None:
        names = _fitting(file.tensors)
        found = f"it fits {' and '.join(names)}: " if names else ""
        raise ValueError(
            f"weights file {path} has no {HEADER!r} header, so it does not say its model and preprocessing; expected a "
            f"checkpoint written by mambaseg_core.checkpoint.save_checkpoint: {found}run `mambaseg convert checkpoint "
            f"{path} ours.safetensors --model {names[0] if names else 'NAME'}` first"
        )
    model = build(**asdict(file.config if image_size is None else replace(file.config, image_size=image_size)))
    file.load_into(model, warnings.warn)
    return model, preprocessing_of(model)


def load_weights(model: nn.Module, path: str | Path, *, warn: Callable[[str], Any] = warnings.warn) -> None:
    """Load weights into `model`, for inputs of 0 to 1.

    The model's attribute `preprocessing` becomes the checkpoint's, for the model's image size. It becomes None with
    a file that carries none.

    Args:
        model: A model of `create_model`.
        path: A checkpoint of ours, or a file of torch.save or safetensors with the authors' tensors or ours; the file
            is taken for what its bytes say, whatever its suffix.
        warn: As of `load_released_state_dict`.

    Raises:
        ValueError: Missing, not a tensor file, or of another model, number of classes or image size.
    """
    _File.read(Path(path)).load_into(model, warn)


@dataclass(frozen=True)
class _File:
    """A file of weights; where it is not ours, `config` and `preprocessing` are None and `tensors` may be nested."""

    path: Path
    tensors: dict[str, Any]
    config: Architecture | None = None
    preprocessing: Preprocessing | None = None

    @classmethod
    def read(cls, path: Path) -> _File:
        """Read a file.

        Raises:
            ValueError: Missing, no file of tensors, or with a header that cannot be used.
        """
        header, tensors = read_metadata(path).get(HEADER), read_tensors(path)
        if header is None:
            return cls(path, tensors)
        try:
            stored = json.loads(header)
            values = stored["model"]
            config = Architecture(**{**values, "image_size": tuple(values["image_size"])})
            return cls(path, tensors, config, Preprocessing.from_dict(stored["preprocessing"]))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"checkpoint {path} has no usable {HEADER!r} header ({error!r}); expected one written by "
                "mambaseg_core.checkpoint.save_checkpoint: convert the weights first"
            ) from error

    def load_into(self, model: nn.Module, warn: Callable[[str], Any]) -> None:
        """Load the weights, and give the model their preprocessing for its own image size.

        Raises:
            ValueError: They are of another model, number of classes or image size.
        """
        if self.config is None or self.preprocessing is None:
            _load_foreign(model, self.tensors, self.path, warn)
            return
        own, setup = Architecture.of(model), self.preprocessing
        self._refuse_other(own, any_size=bool(model.any_size))
        if own.image_size != self.config.image_size:
            setup = replace(setup, size=own.image_size)
        _load_strict(model, self.tensors, self.path)
        model.preprocessing = setup  # type: ignore[assignment]
        if hasattr(model, "authors_inputs"):
            model.authors_inputs = False  # type: ignore[assignment]

    def _refuse_other(self, own: Architecture, *, any_size: bool) -> None:
        for name, expected in asdict(own).items():
            got = getattr(self.config, name)
            if got != expected and not (name == "image_size" and any_size):
                raise ValueError(
                    f"checkpoint {self.path} has {name} {got!r}, but the model has {expected!r}: "
                    "create the model as the checkpoint says, or choose another checkpoint"
                )


def _load_foreign(model: nn.Module, state: dict[str, Any], path: Path, warn: Callable[[str], Any]) -> None:
    """Load weights that do not name their model; a refusal names the models that they fit."""
    try:
        load_released_state_dict(model, state, warn=lambda sentence: warn(f"{path}: {sentence}"))
    except ValueError as error:
        fitting = [name for name in _fitting(state) if name != model.name]
        if not fitting:
            raise ValueError(f"weights file {path} does not fit the model {model.name!r}: {error}") from error
        raise ValueError(
            f"weights file {path} is the authors' {' or '.join(fitting)}, but the model is {model.name!r}: "
            f"set the model to {fitting[0]!r}"
        ) from error
    take_unit_inputs(model)


def _fitting(state: dict[str, Any]) -> list[str]:
    """Return the names of the models that weights fit."""
    return [name for name in list_models() if _fits(name, state)]


def _fits(name: str, state: dict[str, Any]) -> bool:
    with torch.device("meta"):
        model = build(name)
    try:
        fit_state_dict(model, state, lambda sentence: None)
    except ValueError:
        return False
    return True


def _load_strict(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    own = model.state_dict()
    try:
        check_names(own.keys() - tensors.keys(), tensors.keys() - own.keys(), f"the model {model.name!r}")
        wrong = [name for name in own if own[name].shape != tensors[name].shape]
        if wrong:
            raise ValueError(f"{shapes(wrong, tensors, own)}; use the weights of this model")
        check_numbers(tensors, own)
    except ValueError as error:
        raise ValueError(f"weights file {path} does not fit the model: {error}") from error
    model.load_state_dict(tensors)
