"""Small networks of every kind, for exports that take seconds."""

from __future__ import annotations

from dataclasses import replace

import torch

from mambaseg_core.models.layers import init_linear_by_width
from mambaseg_core.models.mambaseg.encoder import VMambaEncoder
from mambaseg_core.models.mambaseg.network import MambaSeg
from mambaseg_core.models.mambaseg.paper_fusion import JointCSIM, SharedCTIM
from mambaseg_core.models.mambaseg.presets import stage_sizes
from mambaseg_core.models.mambaseg.released_fusion import CSIM, CTIM, DDIM
from mambaseg_core.models.mambaseg.segformer_head import SegFormerHead
from mambaseg_core.models.mambaseg.sum_head import SumHead
from mambaseg_core.models.presets import Network
from mambaseg_core.models.reliability import Reliability
from mambaseg_core.models.rgbx.channel_aware_decoder import ChannelAwareDecoder
from mambaseg_core.models.rgbx.encoder import SiameseEncoder
from mambaseg_core.models.rgbx.rsgmamba import ReliableFusion, RSGMamba
from mambaseg_core.models.rgbx.sigma import Sigma, SigmaFusion
from mambaseg_core.preprocessing import DDD17, DSEC, RGB_THERMAL

SIZE = (50, 70)  # neither is a multiple of 4
WIDTHS = (32, 64)


def encoder(channels: int) -> VMambaEncoder:
    return VMambaEncoder(channels, widths=WIDTHS, depths=(1, 1), drop_path=0.0)


def paper_network(*, reliability: bool) -> MambaSeg:
    return MambaSeg(
        name="mambaseg_nano",
        num_classes=11,
        image_size=SIZE,
        any_size=True,
        image_encoder=encoder(3),
        event_encoder=encoder(10),
        ddims=[
            DDIM(
                width,
                ctim=SharedCTIM(width, steps=8, regions=(8, 8), state=4),
                csim=JointCSIM(width, inner=width, state=4),
            )
            for width in WIDTHS
        ],
        widths=WIDTHS,
        head=SumHead(WIDTHS, channels=32, num_classes=11),
        reliabilities=[Reliability(width) for width in WIDTHS] if reliability else (),
    )


def released_network() -> MambaSeg:
    sizes = stage_sizes(SIZE, len(WIDTHS))
    return MambaSeg(
        name="mambaseg_ddd17",
        num_classes=6,
        image_size=SIZE,
        any_size=False,
        image_encoder=encoder(1),
        event_encoder=encoder(10),
        ddims=[
            DDIM(width, ctim=CTIM(width, tokens=height_i * width_i), csim=CSIM(width))
            for width, (height_i, width_i) in zip(WIDTHS, sizes, strict=True)
        ],
        widths=WIDTHS,
        head=SegFormerHead(WIDTHS, channels=48, num_classes=6),
    )


def two_image_network(kind: str) -> Network:
    network, fusion = {"sigma_nano": (Sigma, SigmaFusion), "rsgmamba_nano": (RSGMamba, ReliableFusion)}[kind]
    return network(
        name=kind,
        num_classes=9,
        image_size=SIZE,
        encoder=SiameseEncoder(3, widths=WIDTHS, depths=(1, 1), drop_path=0.0),
        fusions=[fusion(width) for width in WIDTHS],
        head=ChannelAwareDecoder(WIDTHS, num_classes=9, drop_path=0.0, depth=1),
    )


def small_network(kind: str) -> Network:
    """Return a network by the name of the preset that it is a small form of; "reliable" weighs its inputs."""
    torch.manual_seed(0)
    if kind in ("mambaseg_nano", "reliable"):
        model: Network = paper_network(reliability=kind == "reliable")
    elif kind == "mambaseg_ddd17":
        model = released_network()
    else:
        model = two_image_network(kind)
    model.apply(init_linear_by_width)
    presets = {"mambaseg_ddd17": DDD17, "sigma_nano": RGB_THERMAL, "rsgmamba_nano": RGB_THERMAL}
    model.preprocessing = replace(presets.get(kind, DSEC), size=SIZE)
    return model.eval()
