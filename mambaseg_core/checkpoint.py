"""Checkpoints: safetensors with the model's configuration and preprocessing in the header.

Nothing here unpickles code: the authors' `.pth` files are read with `weights_only=True`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mambaseg_core.files import write_bytes
from mambaseg_core.models.presets import Network, build, find_preset, list_models, preprocessing_of
from mambaseg_core.models.released.load import load_released_state_dict, released_tensors
from mambaseg_core.models.released.unit_inputs import take_unit_inputs, with_unit_inputs
from mambaseg_core.preprocessing import Preprocessing

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
) -> Network:
    """Build a network by name.

    Args:
        name: One of `list_models()`.
        num_classes: Classes of the head; by default those of a checkpoint of ours, else the preset's.
        image_size: (height, width) in pixels; by default as for `num_classes`.
        in_channels: Channels of the image; by default as for `num_classes`.
        weights: One of `shipped_weights(name)`, or a checkpoint: our safetensors or the authors' `.pth`. By default
            the weights are drawn at random.
        reliability: Whether each input is weighed by how far it can be trusted. A checkpoint of a network that does
            needs no asking.

    Returns:
        The network, in training mode and on the current default device. Its attribute `preprocessing` is the
        checkpoint's, for `image_size`, or None.

    Raises:
        ValueError: An unknown name, a number that is not positive, weights that do not fit, or `reliability` of a
            network that has none.
    """
    path = None if weights is None else weights_file(name, weights)
    file = None if path is None or is_released(path) else _File.read(path)
    stored = None if file is None else file.config
    if stored is not None and stored.name == name:
        num_classes = stored.num_classes if num_classes is None else num_classes
        image_size = stored.image_size if image_size is None else image_size
        in_channels = stored.in_channels if in_channels is None else in_channels
        reliability = reliability or stored.reliability
    model = build(name, num_classes, image_size, in_channels, reliability=reliability)
    if file is not None:
        file.load_into(model)
    elif path is not None:
        load_weights(model, path)
    return model


def weights_file(name: str, weights: str | Path) -> Path:
    """Return the file of a model's shipped weights, or the file that was given.

    Raises:
        ValueError: Neither a name of `shipped_weights(name)` nor a path with a suffix.
    """
    shipped = find_preset(name).shipped.get(str(weights))
    if shipped is None and not Path(weights).suffix:
        known = ", ".join(shipped_weights(name)) or "none"
        raise ValueError(f"unknown weights {str(weights)!r} of {name}; shipped are: {known}; pass one or a file's path")
    return shipped or Path(weights)


def is_released(path: Path) -> bool:
    """Return whether a file of weights is the authors' by its suffix."""
    return path.suffix in (".pth", ".pt")


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
        ValueError: Missing, not safetensors, not ours, or weights that do not fit.
    """
    file = _File.read(Path(path))
    if file.config is None:
        raise ValueError(
            f"checkpoint {path} has no {HEADER!r} header; expected one written by "
            "mambaseg_core.checkpoint.save_checkpoint: convert the weights first"
        )
    model = build(**asdict(file.config if image_size is None else replace(file.config, image_size=image_size)))
    file.load_into(model)
    return model, preprocessing_of(model)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load weights into `model` from our safetensors or the authors' `.pth`, for inputs of 0 to 1.

    The model's attribute `preprocessing` becomes the checkpoint's, for the model's image size. It becomes None with
    a `.pth`, which carries none.

    Raises:
        ValueError: Missing, not a tensor file, or of another model, number of classes or image size.
    """
    path = Path(path)
    if is_released(path):
        _load_released(model, path)
        take_unit_inputs(model)
    else:
        _File.read(path).load_into(model)


@dataclass(frozen=True)
class _File:
    """A safetensors file; `config` and `preprocessing` are None where it is not ours."""

    path: Path
    tensors: dict[str, Tensor]
    config: Architecture | None = None
    preprocessing: Preprocessing | None = None

    @classmethod
    def read(cls, path: Path) -> _File:
        """Read a file.

        Raises:
            ValueError: Missing, not safetensors, or with a header that cannot be used.
        """
        _require_file(path)
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get(HEADER, "null"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(
                f"weights file {path} is not a safetensors file ({error}); expected one written by "
                "mambaseg_core.checkpoint.save_checkpoint, or the authors' .pth"
            ) from error
        if header is None:
            return cls(path, tensors)
        try:
            values = header["model"]
            config = Architecture(**{**values, "image_size": tuple(values["image_size"])})
            return cls(path, tensors, config, Preprocessing.from_dict(header["preprocessing"]))
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"checkpoint {path} has no usable {HEADER!r} header ({error!r}); expected one written by "
                "mambaseg_core.checkpoint.save_checkpoint: convert the weights first"
            ) from error

    def load_into(self, model: nn.Module) -> None:
        """Load the weights, and give the model their preprocessing for its own image size.

        Raises:
            ValueError: They are of another model, number of classes or image size.
        """
        setup = self.preprocessing
        if self.config is not None and setup is not None:
            own = Architecture.of(model)
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


def _load_released(model: nn.Module, path: Path) -> None:
    """Load the authors' `.pth`, which does not name its model; a refusal names the one that it fits."""
    state = read_pth(path)
    try:
        load_released_state_dict(model, state)
    except ValueError as error:
        fitting = [name for name in list_models() if name != model.name and _fits(name, state)]
        if not fitting:
            raise ValueError(f"weights file {path} does not fit the model {model.name!r}: {error}") from error
        raise ValueError(
            f"weights file {path} is the authors' {' or '.join(fitting)}, but the model is {model.name!r}: "
            f"set the model to {fitting[0]!r}"
        ) from error


def _fits(name: str, state: dict[str, Any]) -> bool:
    with torch.device("meta"):
        model = create_model(name)
    try:
        released_tensors(model, state)
    except ValueError:
        return False
    return True


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"weights file {path} does not exist; expected a .safetensors or .pth file: check the path")


def read_pth(path: str | Path) -> dict[str, Any]:
    """Read the tensors of a file saved by torch; code in it is never run.

    Raises:
        ValueError: missing, or anything but a dict of tensors.
    """
    path = Path(path)
    _require_file(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted unpickler raises whatever hostile bytes lead it to
        raise ValueError(
            f"weights file {path} is not a file of tensors ({type(error).__name__}); expected a state dict "
            "saved by torch: code in it is never run, so save plain tensors only"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"weights file {path} holds a {type(state).__name__}; expected a dict of tensors")
    return state


def _load_strict(model: nn.Module, tensors: dict[str, Tensor], path: str | Path) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [name for name in {**own, **got} if own.get(name) != got.get(name)]
    if wrong:
        first = wrong[0]
        raise ValueError(
            f"weights file {path} does not fit the model: {len(wrong)} of {len(own)} tensors differ, first {first!r}: "
            f"got {got.get(first, 'nothing')}, expected {own.get(first, 'nothing')}; use the weights of this model"
        )
    model.load_state_dict(tensors)
