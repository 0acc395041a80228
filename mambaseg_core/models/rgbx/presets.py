"""The presets for an image and another modality's image: functions of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from mambaseg_core.models.layers import init_linear_by_width
from mambaseg_core.models.rgbx.channel_aware_decoder import ChannelAwareDecoder
from mambaseg_core.models.rgbx.encoder import SiameseEncoder
from mambaseg_core.models.rgbx.rsgmamba import ReliableFusion, RSGMamba
from mambaseg_core.models.rgbx.siamese import SiameseNetwork
from mambaseg_core.models.rgbx.sigma import Sigma, SigmaFusion

Network = TypeVar("Network", bound=SiameseNetwork)


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
    """Build Sigma as the authors' code builds it; `width` is the first stage's."""
    widths = (width, 2 * width, 4 * width, 8 * width)
    return Sigma(
        name=name,
        num_classes=num_classes,
        image_size=image_size,
        encoder=SiameseEncoder(in_channels, widths=widths, depths=depths, drop_path=drop_path),
        fusions=[SigmaFusion(channels) for channels in widths],
        head=ChannelAwareDecoder(widths, num_classes=num_classes, drop_path=0.1),
    )


def sigma_tiny(*, num_classes: int = 9, image_size: tuple[int, int] = (480, 640), in_channels: int = 3) -> Sigma:
    """Build Sigma on VMamba-T: two RGB-like images, the classes of MFNet; 48.29 M parameters, 98.46 G multiply-adds."""
    return _sigma(
        name="sigma_tiny",
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        width=96,
        depths=(2, 2, 9, 2),
        drop_path=0.2,
    )


def sigma_small(*, num_classes: int = 9, image_size: tuple[int, int] = (480, 640), in_channels: int = 3) -> Sigma:
    """Build Sigma on VMamba-S: as `sigma_tiny`, deeper; 69.81 M parameters, 154.23 G multiply-adds."""
    return _sigma(
        name="sigma_small",
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        width=96,
        depths=(2, 2, 27, 2),
        drop_path=0.3,
    )


def sigma_base(*, num_classes: int = 9, image_size: tuple[int, int] = (480, 640), in_channels: int = 3) -> Sigma:
    """Build Sigma on VMamba-B: as `sigma_small`, wider; 121.41 M parameters, 261.15 G multiply-adds."""
    return _sigma(
        name="sigma_base",
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        width=128,
        depths=(2, 2, 27, 2),
        drop_path=0.6,
    )


def rsgmamba(*, num_classes: int = 9, image_size: tuple[int, int] = (480, 640), in_channels: int = 3) -> RSGMamba:
    """Build RSGMamba on VMamba-T, as we read it: as `sigma_tiny`; 45.22 M parameters, 96.02 G multiply-adds."""
    widths = (96, 192, 384, 768)
    return RSGMamba(
        name="rsgmamba",
        num_classes=num_classes,
        image_size=image_size,
        encoder=SiameseEncoder(in_channels, widths=widths, depths=(2, 2, 9, 2), drop_path=0.2),
        fusions=[ReliableFusion(channels) for channels in widths],
        head=ChannelAwareDecoder(widths, num_classes=num_classes, drop_path=0.1),
    )


NANO_WIDTHS = (32, 64, 128, 256)


def sigma_nano(*, num_classes: int = 9, image_size: tuple[int, int] = (240, 320), in_channels: int = 3) -> Sigma:
    """Build a small Sigma for CPUs, ours and not the paper's; 4.23 M parameters, 2.41 G multiply-adds."""
    return _nano(
        Sigma, SigmaFusion, name="sigma_nano", num_classes=num_classes, image_size=image_size, in_channels=in_channels
    )


def rsgmamba_nano(*, num_classes: int = 9, image_size: tuple[int, int] = (240, 320), in_channels: int = 3) -> RSGMamba:
    """Build a small RSGMamba for CPUs, not the paper's: as `sigma_nano`; 3.94 M parameters, 2.40 G multiply-adds."""
    return _nano(
        RSGMamba,
        ReliableFusion,
        name="rsgmamba_nano",
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
    )


def _nano(
    network: type[Network],
    fusion: Callable[[int], nn.Module],
    *,
    name: str,
    num_classes: int,
    image_size: tuple[int, int],
    in_channels: int,
) -> Network:
    """Build either network at our small widths; `fusion` builds a stage's fusion from its channels."""
    model = network(
        name=name,
        num_classes=num_classes,
        image_size=image_size,
        encoder=SiameseEncoder(in_channels, widths=NANO_WIDTHS, depths=(2, 2, 2, 2), drop_path=0.0),
        fusions=[fusion(channels) for channels in NANO_WIDTHS],
        head=ChannelAwareDecoder(NANO_WIDTHS, num_classes=num_classes, drop_path=0.0, depth=2),
    )
    model.apply(init_linear_by_width)
    return model
