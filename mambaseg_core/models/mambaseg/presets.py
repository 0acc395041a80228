"""The presets of MambaSeg: functions of numbers."""

from __future__ import annotations

from functools import partial

from mambaseg_core.models.layers import init_linear_by_width
from mambaseg_core.models.mambaseg.encoder import VMambaEncoder
from mambaseg_core.models.mambaseg.network import MambaSeg
from mambaseg_core.models.mambaseg.paper_fusion import JointCSIM, SharedCTIM
from mambaseg_core.models.mambaseg.released_fusion import CSIM, CTIM, DDIM
from mambaseg_core.models.mambaseg.segformer_head import SegFormerHead
from mambaseg_core.models.mambaseg.sum_head import SumHead
from mambaseg_core.models.reliability import Reliability

BINS = 10  # T of every preset


def stage_sizes(image_size: tuple[int, int], stages: int) -> list[tuple[int, int]]:
    """Return (height, width) of the feature maps: a quarter of the image, then halved each time, rounded up."""
    sizes = [(-(-image_size[0] // 4), -(-image_size[1] // 4))]
    while len(sizes) < stages:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def _released_layout(
    *, name: str, num_classes: int, image_size: tuple[int, int], in_channels: int, bins: int
) -> MambaSeg:
    """Build the network whose checkpoints the authors published: two VMamba-T encoders, a head of width 768."""
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


def mambaseg_ddd17(*, num_classes: int = 6, image_size: tuple[int, int] = (200, 346), in_channels: int = 1) -> MambaSeg:
    """Build MambaSeg as released for DDD17: grey image, 10 bins; 97.55 M parameters, 33.47 G multiply-adds."""
    return _released_layout(
        name="mambaseg_ddd17",
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        bins=BINS,
    )


def mambaseg_dsec(*, num_classes: int = 11, image_size: tuple[int, int] = (440, 640), in_channels: int = 3) -> MambaSeg:
    """Build MambaSeg as released for DSEC: RGB image, 10 bins; 256.18 M parameters, 158.19 G multiply-adds."""
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
    reliability: bool,
) -> MambaSeg:
    """Build two encoders with the fusion as the paper states it: any image size, to be trained from scratch."""
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
        reliabilities=[Reliability(width) for width in widths] if reliability else (),
    )
    model.apply(init_linear_by_width)
    return model


def mambaseg_compact(
    *,
    num_classes: int = 11,
    image_size: tuple[int, int] = (440, 640),
    in_channels: int = 3,
    reliability: bool = False,
) -> MambaSeg:
    """Build MambaSeg of the size that the paper reports: RGB image, 10 bins; 25.26 M parameters, 12.68 G at 200x346.

    With `reliability` both streams are weighed: 25.34 M, 12.79 G.
    """
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
        reliability=reliability,
    )


def mambaseg_nano(
    *,
    num_classes: int = 11,
    image_size: tuple[int, int] = (240, 320),
    in_channels: int = 3,
    reliability: bool = False,
) -> MambaSeg:
    """Build a small MambaSeg for CPUs: RGB image, 10 bins; 3.67 M parameters, 1.12 G multiply-adds.

    With `reliability` both streams are weighed: 3.74 M, 1.22 G.
    """
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
        reliability=reliability,
    )
