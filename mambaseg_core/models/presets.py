"""Networks by name: each preset is a function of numbers, each look-up a literal dict."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from mambaseg_core.models.channel_aware_decoder import ChannelAwareDecoder
from mambaseg_core.models.ddim import CSIM, CTIM, DDIM
from mambaseg_core.models.fusion import JointCSIM, SharedCTIM
from mambaseg_core.models.layers import init_linear_by_width
from mambaseg_core.models.mambaseg import MambaSeg
from mambaseg_core.models.segformer_head import SegFormerHead
from mambaseg_core.models.sigma import Sigma, SigmaFusion
from mambaseg_core.models.sum_head import SumHead
from mambaseg_core.models.vmamba import VMambaEncoder
from mambaseg_core.models.vssm import SiameseEncoder
from mambaseg_core.weights import SHIPPED

BINS = 10  # T of every preset


def stage_sizes(image_size: tuple[int, int], stages: int) -> list[tuple[int, int]]:
    """(height, width) of the feature maps: a quarter of the image, then halved each time, rounded up."""
    sizes = [(-(-image_size[0] // 4), -(-image_size[1] // 4))]
    while len(sizes) < stages:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def _released_layout(
    *, name: str, num_classes: int, image_size: tuple[int, int], in_channels: int, bins: int
) -> MambaSeg:
    """The network whose checkpoints the authors published: two VMamba-T encoders, a head of width 768."""
    widths, depths = (96, 192, 384, 768), (2, 2, 8, 2)
    sizes = stage_sizes(image_size, len(widths))
    return MambaSeg(
        name=name,
        num_classes=num_classes,
        image_size=image_size,
        any_size=False,
        image_encoder=VMambaEncoder(in_channels, widths=widths, depths=depths, drop_path=0.2),
        event_encoder=VMambaEncoder(bins, widths=widths, depths=depths, drop_path=0.2),
        ddims=[
            DDIM(width, ctim=CTIM(width, tokens=height_i * width_i), csim=CSIM(width))
            for width, (height_i, width_i) in zip(widths, sizes, strict=True)
        ],
        widths=widths,
        head=SegFormerHead(widths, channels=768, num_classes=num_classes, dropout=0.1),
    )


def mambaseg_ddd17(
    *, num_classes: int = 6, image_size: tuple[int, int] = (200, 346), in_channels: int = 1
) -> MambaSeg:
    """MambaSeg as released for DDD17: grey image, 10 bins; 97.55 M parameters, 33.47 G multiply-adds."""
    return _released_layout(
        name="mambaseg_ddd17",
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        bins=BINS,
    )


def mambaseg_dsec(
    *, num_classes: int = 11, image_size: tuple[int, int] = (440, 640), in_channels: int = 3
) -> MambaSeg:
    """MambaSeg as released for DSEC: RGB image, 10 bins; 256.18 M parameters, 158.19 G multiply-adds."""
    return _released_layout(
        name="mambaseg_dsec",
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        bins=BINS,
    )


def _paper_layout(
    *,
    name: str,
    num_classes: int,
    image_size: tuple[int, int],
    in_channels: int,
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    drop_path: float,
    mlp_ratio: int,
    fusion_inner: int,
    fusion_state: int,
    head: SumHead,
) -> MambaSeg:
    """Two encoders with the fusion as the paper states it: any image size, drawn for training from scratch."""
    encoder = partial(VMambaEncoder, widths=widths, depths=depths, drop_path=drop_path, mlp_ratio=mlp_ratio)
    model = MambaSeg(
        name=name,
        num_classes=num_classes,
        image_size=image_size,
        any_size=True,
        image_encoder=encoder(in_channels),
        event_encoder=encoder(BINS),
        ddims=[
            DDIM(
                width,
                ctim=SharedCTIM(width, steps=8, regions=(8, 8), state=fusion_state),
                csim=JointCSIM(width, inner=fusion_inner * width, state=fusion_state),
            )
            for width in widths
        ],
        widths=widths,
        head=head,
    )
    model.apply(init_linear_by_width)
    return model


def mambaseg_compact(
    *, num_classes: int = 11, image_size: tuple[int, int] = (440, 640), in_channels: int = 3
) -> MambaSeg:
    """MambaSeg of the size that the paper reports: RGB image, 10 bins; 25.26 M parameters, 12.68 G at 200x346."""
    widths = (96, 192, 256, 320)
    return _paper_layout(
        name="mambaseg_compact",
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        widths=widths,
        depths=(3, 4, 7, 2),
        drop_path=0.1,
        mlp_ratio=4,
        fusion_inner=2,
        fusion_state=16,
        head=SumHead(widths, channels=256, num_classes=num_classes),
    )


def mambaseg_nano(
    *, num_classes: int = 11, image_size: tuple[int, int] = (240, 320), in_channels: int = 3
) -> MambaSeg:
    """A small MambaSeg for CPUs: RGB image, 10 bins; 3.67 M parameters, 1.12 G multiply-adds."""
    widths = (32, 64, 128, 192)
    return _paper_layout(
        name="mambaseg_nano",
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        widths=widths,
        depths=(2, 2, 4, 2),
        drop_path=0.0,
        mlp_ratio=2,
        fusion_inner=1,
        fusion_state=4,
        head=SumHead(widths, channels=64, num_classes=num_classes),
    )


def _sigma(
    *,
    name: str,
    num_classes: int,
    image_size: tuple[int, int],
    in_channels: int,
    width: int,
    depths: tuple[int, ...],
    drop_path: float,
) -> Sigma:
    """Sigma as the authors' code builds it; `width` is the first stage's."""
    widths = (width, 2 * width, 4 * width, 8 * width)
    return Sigma(
        name=name,
        num_classes=num_classes,
        image_size=image_size,
        encoder=SiameseEncoder(in_channels, widths=widths, depths=depths, drop_path=drop_path),
        fusions=[SigmaFusion(channels) for channels in widths],
        head=ChannelAwareDecoder(widths, num_classes=num_classes, drop_path=0.1),
    )


def sigma_tiny(
    *, num_classes: int = 9, image_size: tuple[int, int] = (480, 640), in_channels: int = 3
) -> Sigma:
    """Sigma on VMamba-T: two RGB-like images, the classes of MFNet; SIZE_T."""
    return _sigma(
        name="sigma_tiny",
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        width=96,
        depths=(2, 2, 9, 2),
        drop_path=0.2,
    )


def sigma_small(
    *, num_classes: int = 9, image_size: tuple[int, int] = (480, 640), in_channels: int = 3
) -> Sigma:
    """Sigma on VMamba-S: as `sigma_tiny`, deeper; SIZE_S."""
    return _sigma(
        name="sigma_small",
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        width=96,
        depths=(2, 2, 27, 2),
        drop_path=0.3,
    )


def sigma_base(
    *, num_classes: int = 9, image_size: tuple[int, int] = (480, 640), in_channels: int = 3
) -> Sigma:
    """Sigma on VMamba-B: as `sigma_small`, wider; SIZE_B."""
    return _sigma(
        name="sigma_base",
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        width=128,
        depths=(2, 2, 27, 2),
        drop_path=0.6,
    )


Network: TypeAlias = MambaSeg | Sigma

PRESETS: dict[str, Callable[..., Network]] = {
    "mambaseg_ddd17": mambaseg_ddd17,
    "mambaseg_dsec": mambaseg_dsec,
    "mambaseg_compact": mambaseg_compact,
    "mambaseg_nano": mambaseg_nano,
    "sigma_tiny": sigma_tiny,
    "sigma_small": sigma_small,
    "sigma_base": sigma_base,
}


def list_models() -> list[str]:
    """Names that `create_model` knows."""
    return list(PRESETS)


def shipped_weights(name: str) -> list[str]:
    """Names of the weights that come with the package for a model; `create_model(name, weights=...)` takes them."""
    return list(SHIPPED.get(name, {}))


def create_model(
    name: str,
    num_classes: int | None = None,
    image_size: tuple[int, int] | None = None,
    in_channels: int | None = None,
    weights: str | Path | None = None,
) -> Network:
    """Build a network by name.

    Args:
        name: One of `list_models()`.
        num_classes: Classes of the head; by default the preset's.
        image_size: (height, width) in pixels; by default the preset's.
        in_channels: Channels of the image; by default the preset's.
        weights: One of `shipped_weights(name)`, or a checkpoint: our safetensors or the authors' `.pth`; by
            default the weights are drawn at random.

    Returns:
        The network, in training mode and on the current default device.

    Raises:
        ValueError: An unknown name, a number that is not positive, or weights that do not fit.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown model {name!r}; known models: {', '.join(PRESETS)}")
    asked = {"num_classes": num_classes, "image_size": image_size, "in_channels": in_channels}
    numbers: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    _refuse_bad_numbers(numbers)
    if image_size is not None:
        numbers["image_size"] = tuple(image_size)
    model = PRESETS[name](**numbers)
    if weights is not None:
        from mambaseg_core.checkpoint import load_weights

        load_weights(model, _weights_file(name, weights))
    return model


def _weights_file(name: str, weights: str | Path) -> Path:
    """The file of shipped weights, or the file that was given."""
    shipped = SHIPPED.get(name, {}).get(str(weights))
    if shipped is None and not Path(weights).suffix:
        known = ", ".join(shipped_weights(name)) or "none"
        raise ValueError(f"unknown weights {str(weights)!r} of {name}; shipped are: {known}; pass one or a file's path")
    return shipped or Path(weights)


def _refuse_bad_numbers(numbers: dict[str, Any]) -> None:
    """Raise ValueError for a size that is not (height, width) and for anything below one."""
    for key, value in numbers.items():
        expected = 2 if key == "image_size" else 1
        parts = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        if len(parts) != expected or any(type(part) is not int or part < 1 for part in parts):
            shape = "(height, width) in pixels" if expected == 2 else "one whole number"
            raise ValueError(f"{key}={value!r}; expected {shape}, at least 1")
