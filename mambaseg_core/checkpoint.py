"""Checkpoints: safetensors with the model's configuration and preprocessing in the header.

Nothing here unpickles code: the authors' `.pth` files are read with `weights_only=True`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mambaseg_core.files import write_bytes
from mambaseg_core.models.presets import Network, build, list_models
from mambaseg_core.models.released.load import load_released_state_dict, released_tensors
from mambaseg_core.models.released.unit_inputs import take_unit_inputs, with_unit_inputs
from mambaseg_core.preprocessing import Preprocessing
from mambaseg_core.weights import SHIPPED

HEADER = "mambaseg"


@dataclass(frozen=True)
class Architecture:
    """What `create_model` needs to build the network again; sizes are (height, width)."""

    name: str
    num_classes: int
    image_size: tuple[int, int]
    in_channels: int
    reliability: bool = False

    @classmethod
    def of(cls, model: nn.Module) -> Architecture:
        """The configuration of a model made by `create_model`."""
        return cls(
            name=str(model.name),
            num_classes=int(model.num_classes),  # type: ignore[arg-type]
            image_size=tuple(model.image_size),  # type: ignore[arg-type]
            in_channels=int(model.in_channels),  # type: ignore[arg-type]
            reliability=bool(getattr(model, "reliability_aware", False)),
        )

    def create(self) -> nn.Module:
        """A new model with this configuration and fresh weights."""
        return build(
            self.name,
            num_classes=self.num_classes,
            image_size=self.image_size,
            in_channels=self.in_channels,
            reliability=self.reliability,
        )


def shipped_weights(name: str) -> list[str]:
    """Names of the weights that come with the package for a model; `create_model(name, weights=...)` takes them."""
    return list(SHIPPED.get(name, {}))


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
        num_classes: Classes of the head; by default the preset's.
        image_size: (height, width) in pixels; by default the preset's.
        in_channels: Channels of the image; by default the preset's.
        weights: One of `shipped_weights(name)`, or a checkpoint: our safetensors or the authors' `.pth`; by
            default the weights are drawn at random.
        reliability: Whether each modality is weighed by how far it can be trusted; one of `RELIABLE`.

    Returns:
        The network, in training mode and on the current default device.

    Raises:
        ValueError: An unknown name, a number that is not positive, weights that do not fit, or `reliability` of a
            network that has none.
    """
    model = build(name, num_classes, image_size, in_channels, reliability=reliability)
    if weights is not None:
        load_weights(model, weights_file(name, weights))
    return model


def weights_file(name: str, weights: str | Path) -> Path:
    """The file of a model's shipped weights, or the file that was given; the one place where names become files.

    Raises:
        ValueError: neither a name of `shipped_weights(name)` nor a path with a suffix.
    """
    shipped = SHIPPED.get(name, {}).get(str(weights))
    if shipped is None and not Path(weights).suffix:
        known = ", ".join(shipped_weights(name)) or "none"
        raise ValueError(f"unknown weights {str(weights)!r} of {name}; shipped are: {known}; pass one or a file's path")
    return shipped or Path(weights)


def save_checkpoint(path: str | Path, model: nn.Module, preprocessing: Preprocessing) -> None:
    """Write weights, configuration and preprocessing to `path`, as a whole or not at all.

    What is in a checkpoint takes inputs of 0 to 1: a Sigma with the authors' weights is written as one that does.

    Raises:
        WriteError: the file cannot be written; an old one is as it was.
    """
    model = with_unit_inputs(model)
    header = {"model": Architecture.of(model).__dict__, "preprocessing": preprocessing.to_dict()}
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(Path(path), save(tensors, metadata={HEADER: json.dumps(header)}))


def load_checkpoint(path: str | Path) -> tuple[nn.Module, Preprocessing]:
    """Build the model that a checkpoint describes, load its weights, and give its preprocessing.

    Raises:
        ValueError: missing, not safetensors, not ours, or weights that do not fit.
    """
    header, tensors = _read_safetensors(Path(path))
    try:
        values = header["model"]
        config = Architecture(**{**values, "image_size": tuple(values["image_size"])})
        preprocessing = Preprocessing.from_dict(header["preprocessing"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"checkpoint {path} has no usable {HEADER!r} header ({error!r}); expected one written by "
            "mambaseg_core.checkpoint.save_checkpoint: convert the weights first"
        ) from error
    model = config.create()
    _load_strict(model, tensors, path)
    return model, preprocessing


def load_weights(model: nn.Module, path: str | Path) -> Preprocessing | None:
    """Load weights into `model` from our safetensors or the authors' `.pth`, for inputs of 0 to 1.

    Returns:
        the checkpoint's preprocessing; None for a `.pth`, which carries none.

    Raises:
        ValueError: missing, not a tensor file, or of another model, number of classes or image size.
    """
    path = Path(path)
    if path.suffix in (".pth", ".pt"):
        _load_released(model, path)
        take_unit_inputs(model)
        return None
    header, tensors = _read_safetensors(path)
    _check_config(header.get("model", {}), model, path)
    _load_strict(model, tensors, path)
    return Preprocessing.from_dict(header["preprocessing"]) if "preprocessing" in header else None


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


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    _require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"weights file {path} is not a safetensors file ({error}); expected one written by "
            "mambaseg_core.checkpoint.save_checkpoint, or the authors' .pth"
        ) from error


def read_pth(path: str | Path) -> dict[str, Any]:
    """The tensors of a file saved by torch; code in it is never run.

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


def _check_config(stored: dict[str, Any], model: nn.Module, path: Path) -> None:
    for name, expected in Architecture.of(model).__dict__.items():
        if name == "image_size" and model.any_size:
            continue
        got = stored.get(name, expected)
        got = tuple(got) if isinstance(got, list) else got
        if got != expected:
            raise ValueError(
                f"checkpoint {path} has {name} {got!r}, but the model has {expected!r}: "
                "create the model as the checkpoint says, or choose another checkpoint"
            )


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
