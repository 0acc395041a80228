"""MambaSeg: two VMamba encoders that exchange what they see after every stage, and a SegFormer head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mambaseg_core.models.inputs import complete
from mambaseg_core.models.layers import init_linear, resize, to_channels_first
from mambaseg_core.models.vmamba import Stage, VMambaEncoder


class MambaSeg(nn.Module):
    """Semantic segmentation of an image and the events up to it. Its parts come from `presets`.

    Source: MambaSeg (CQU-UISC).

    Args:
        name: Name of the preset.
        num_classes: K, classes of the head.
        image_size: (height, width) in pixels of image and events.
        any_size: Whether other sizes are taken as well: no part's weights fit one size only.
        image_encoder: Encoder of the image; its stem says how many channels.
        event_encoder: Encoder of the events; its stem says how many bins.
        ddims: The fusion after each stage: takes and gives a pair of [B, H_i, W_i, C_i].
        widths: C_i of each stage.
        head: The decoder: [B, H_i, W_i, C_i] of all stages -> [B, H_0, W_0, K].

    Attributes:
        in_channels: Channels of the image.
        bins: T, bins of the events.
    """

    def __init__(
        self,
        *,
        name: str,
        num_classes: int,
        image_size: tuple[int, int],
        any_size: bool,
        image_encoder: VMambaEncoder,
        event_encoder: VMambaEncoder,
        ddims: Sequence[nn.Module],
        widths: Sequence[int],
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.name = name
        self.num_classes = num_classes
        self.image_size = image_size
        self.any_size = any_size
        self.in_channels = image_encoder.in_channels
        self.bins = event_encoder.in_channels
        self.image_encoder = image_encoder
        self.event_encoder = event_encoder
        self.ddims = nn.ModuleList(ddims)
        self.mixes = nn.ModuleList(nn.Linear(2 * width, width) for width in widths)
        self.head = head
        self.apply(init_linear)

    def forward(self, image: Tensor | None, events: Tensor | None) -> Tensor:
        """Segment. A modality that is missing is None, which is the same as zeros.

        Args:
            image: [B, in_channels, H, W], values 0..1, or None.
            events: [B, bins, H, W], a voxel grid, or None.

        Returns:
            Logits [B, num_classes, H, W].

        Raises:
            ValueError: Both are missing, or an input has another shape than the model takes.
        """
        image, events = complete(self, image, events)
        logits = self.head(self._fuse(image, events))
        return to_channels_first(resize(logits, (image.shape[2], image.shape[3])))

    def features(self, image: Tensor | None, events: Tensor | None) -> list[Tensor]:
        """Fused features of all stages, as the head takes them.

        Args:
            image: [B, in_channels, H, W], values 0..1, or None.
            events: [B, bins, H, W], a voxel grid, or None.

        Returns:
            [B, H_i, W_i, C_i] of stage i, finest first; H_0 = ceil(H / 4), then halved and rounded up.

        Raises:
            ValueError: Both are missing, or an input has another shape than the model takes.
        """
        return self._fuse(*complete(self, image, events))

    def _fuse(self, image: Tensor, events: Tensor) -> list[Tensor]:
        """`features` of complete inputs."""
        image, events = self.image_encoder.stem(image), self.event_encoder.stem(events)
        features = []
        for image_stage, event_stage, ddim, mix in self._stages():
            image, events = image_stage(image), event_stage(events)
            fused_image, fused_events = ddim(image_stage.out_norm(image), event_stage.out_norm(events))
            features.append(mix(torch.cat((fused_image, fused_events), dim=-1)))
            image = image_stage.downsample(image + fused_image)
            events = event_stage.downsample(events + fused_events)
        return features

    def _stages(self) -> Iterable[tuple[Stage, Stage, nn.Module, nn.Module]]:
        """What happens at each resolution: image stage, event stage, fusion, mix for the head."""
        parts = self.image_encoder.stages, self.event_encoder.stages, self.ddims, self.mixes
        return cast("Iterable[tuple[Stage, Stage, nn.Module, nn.Module]]", zip(*parts, strict=True))
