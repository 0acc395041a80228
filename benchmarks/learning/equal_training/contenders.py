"""The networks that are compared, each as a preset: mambaseg_nano, and the same network with another fusion.

Encoders, head, the first weights' distribution and training are mambaseg_nano's; only the fusion differs. The released
fusion has weights for each position of the map, so its number of parameters holds for views of `SIZE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from torch import Tensor, nn

from mambaseg_core.models.layers import init_linear_by_width
from mambaseg_core.models.mambaseg.encoder import VMambaEncoder
from mambaseg_core.models.mambaseg.network import MambaSeg
from mambaseg_core.models.mambaseg.presets import BINS, stage_sizes
from mambaseg_core.models.mambaseg.released_fusion import CSIM, CTIM, DDIM
from mambaseg_core.models.mambaseg.sum_head import SumHead
from mambaseg_core.models.presets import Preset, register
from mambaseg_core.preprocessing import DSEC

SIZE: Final = (120, 160)
NANO: Final = (32, 64, 128, 192)
SLIM: Final = (22, 46, 92, 140)
"""Widths at which the network with the released fusion has as many parameters as mambaseg_nano, within 0.3 %."""


@dataclass(frozen=True)
class Contender:
    """One network of a comparison.

    Attributes:
        name: Name in the ledger.
        model: Name of its preset.
        what: Text for the table.
        inputs: `data.inputs` of its training.
    """

    name: str
    model: str
    what: str
    inputs: str = "both"


GROUPS: Final[dict[str, tuple[Contender, ...]]] = {
    "nano": (
        Contender("mambaseg_nano", "mambaseg_nano", "our fusion"),
        Contender("released_fusion", "nano_released_fusion", "released fusion, same widths"),
        Contender("released_fusion_slim", "nano_released_fusion_slim", "released fusion, same parameters"),
        Contender("addition", "nano_addition", "streams added, same widths"),
        Contender("image_only", "mambaseg_nano", "trained on the image only", "image"),
        Contender("events_only", "mambaseg_nano", "trained on the events only", "second"),
    ),
    "compact": (
        Contender("mambaseg_compact", "mambaseg_compact", "our design of the paper's size"),
        Contender("released_layout", "mambaseg_dsec", "released layout"),
    ),
}
"""The first of each group is compared with the others."""


class Addition(nn.Module):
    """The plainest fusion: both streams become their sum. It has no parameters."""

    def forward(self, image: Tensor, events: Tensor) -> tuple[Tensor, Tensor]:
        """Map two [B, H, W, C] to two [B, H, W, C]."""
        both = image + events
        return both, both


def _like_nano(
    name: str,
    fusions: Sequence[nn.Module],
    *,
    widths: tuple[int, ...],
    num_classes: int,
    image_size: tuple[int, int],
    in_channels: int,
    any_size: bool,
) -> MambaSeg:
    """Build mambaseg_nano with other fusions, and maybe other widths."""
    encoder = partial(VMambaEncoder, widths=widths, depths=(2, 2, 4, 2), drop_path=0.0, mlp_ratio=2)
    model = MambaSeg(
        name=name,
        num_classes=num_classes,
        image_size=image_size,
        any_size=any_size,
        image_encoder=encoder(in_channels),
        event_encoder=encoder(BINS),
        ddims=fusions,
        widths=widths,
        head=SumHead(widths, channels=64, num_classes=num_classes),
    )
    model.apply(init_linear_by_width)
    return model


def _released(
    name: str,
    widths: tuple[int, ...],
    *,
    num_classes: int = 11,
    image_size: tuple[int, int] = SIZE,
    in_channels: int = 3,
) -> MambaSeg:
    """Build mambaseg_nano with the released code's DDIM, CSIM and CTIM."""
    fusions = [
        DDIM(width, ctim=CTIM(width, tokens=rows * columns), csim=CSIM(width))
        for width, (rows, columns) in zip(widths, stage_sizes(image_size, len(widths)), strict=True)
    ]
    numbers = {"num_classes": num_classes, "image_size": image_size, "in_channels": in_channels}
    return _like_nano(name, fusions, widths=widths, any_size=False, **numbers)


def _addition(*, num_classes: int = 11, image_size: tuple[int, int] = SIZE, in_channels: int = 3) -> MambaSeg:
    """Build mambaseg_nano with sums in place of its fusion."""
    numbers = {"num_classes": num_classes, "image_size": image_size, "in_channels": in_channels}
    return _like_nano("nano_addition", [Addition() for _ in NANO], widths=NANO, any_size=True, **numbers)


PRESETS: Final = {
    "nano_released_fusion": Preset(partial(_released, "nano_released_fusion", NANO), DSEC),
    "nano_released_fusion_slim": Preset(partial(_released, "nano_released_fusion_slim", SLIM), DSEC),
    "nano_addition": Preset(_addition, DSEC),
}


def register_contenders() -> None:
    """Make the contenders' presets known to training and checkpoints of this process."""
    for name, preset in PRESETS.items():
        register(name, preset)
