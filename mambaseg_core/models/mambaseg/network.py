"""MambaSeg: two VMamba encoders that exchange features after every stage, and a decoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mambaseg_core.models.inputs import complete
from mambaseg_core.models.layers import init_linear, resize, to_channels_first
from mambaseg_core.models.mambaseg.encoder import Stage, VMambaEncoder
from mambaseg_core.models.reliability import Pair, Reliability, average, presence
from mambaseg_core.preprocessing import Preprocessing


class MambaSeg(nn.Module):
    """Semantic segmentation of an image and the second input: the events up to it. `presets` builds the parts.

    Source: MambaSeg (CQU-UISC).

    Args:
        name: Name of the preset.
        num_classes: K, classes of the head.
        image_size: (height, width) of both inputs, pixels.
        any_size: True if other sizes are accepted too: no part has weights for one size only.
        image_encoder: Encoder of the image; its stem sets `in_channels`.
        event_encoder: Encoder of the second input; its stem sets `bins`.
        ddims: The fusion after each stage, from a pair of [B, H_i, W_i, C_i] to such a pair.
        widths: C_i of each stage.
        head: The decoder: [B, H_i, W_i, C_i] of all stages -> [B, H_0, W_0, K].
        reliabilities: For each stage, the weights of both streams before they are fused (as in `rsgmamba`; our
            addition). Empty: nothing is weighed, as in the paper.

    Attributes:
        in_channels: Channels of the image.
        bins: T, channels of the second input: bins of a voxel grid.
        reliability_aware: True if there are `reliabilities`; then `reliability` and `with_reliability` work.
        preprocessing: The preprocessing of the loaded checkpoint; None: the preset's.
    """

    preprocessing: Preprocessing | None = None

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
        reliabilities: Sequence[Reliability] = (),
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
        self.reliabilities = nn.ModuleList(reliabilities)  # without tensors where empty
        self.reliability_aware = bool(reliabilities)
        self.apply(init_linear)

    def forward(self, image: Tensor | None, second: Tensor | None) -> Tensor:
        """Return the logits. A missing input is None, which is the same as zeros.

        Args:
            image: [B, in_channels, H, W], values 0..1, or None.
            second: [B, bins, H, W], a voxel grid (or a second camera's image), or None.

        Returns:
            Logits [B, num_classes, H, W].

        Raises:
            ValueError: Both are missing, or an input has another shape than the model expects.
        """
        image, second = complete(self, image, second)
        return self._segment(self._fuse(image, second)[0], image)

    def with_reliability(self, image: Tensor | None, second: Tensor | None) -> tuple[Tensor, Pair]:
        """Return the results of `forward` and `reliability` from one pass; arguments and errors as for these."""
        image, features, weights = self._fuse_weighed(image, second)
        return self._segment(features, image), average(weights, (image.shape[2], image.shape[3]))

    def reliability(self, image: Tensor | None, second: Tensor | None) -> Pair:
        """Return how far image and second input are trusted at each pixel; arguments and errors as for `forward`.

        Returns:
            A map [B, H, W] for the image and one for the second input, between 0 and 1: the mean of all stages'
            weights, resized. It is 0 everywhere for a sample that is missing or has one value everywhere.

        Raises:
            ValueError: Also if the network was built without reliability.
        """
        image, _, weights = self._fuse_weighed(image, second)
        return average(weights, (image.shape[2], image.shape[3]))

    def features(self, image: Tensor | None, second: Tensor | None) -> list[Tensor]:
        """Return the fused features of all stages, as the head takes them.

        Args:
            image: [B, in_channels, H, W], values 0..1, or None.
            second: [B, bins, H, W], a voxel grid (or a second camera's image), or None.

        Returns:
            [B, H_i, W_i, C_i] of stage i, finest first; H_0 = ceil(H / 4), then halved and rounded up.

        Raises:
            ValueError: Both are missing, or an input has another shape than the model expects.
        """
        return self._fuse(*complete(self, image, second))[0]

    def _fuse_weighed(self, image: Tensor | None, second: Tensor | None) -> tuple[Tensor, list[Tensor], list[Pair]]:
        """Return the complete image and the results of `_fuse`; raise ValueError if nothing is weighed."""
        if not self.reliability_aware:
            raise ValueError(
                f"this {self.name} has no reliability; expected a model that weighs its inputs: build it with "
                f"create_model({self.name!r}, reliability=True) and load weights that were trained so"
            )
        image, second = complete(self, image, second)
        return image, *self._fuse(image, second)

    def _fuse(self, image: Tensor, second: Tensor) -> tuple[list[Tensor], list[Pair]]:
        """Return the `features` of complete inputs, and each stage's weights of both streams, if any."""
        present = (presence(image), presence(second)) if self.reliability_aware else None
        image, second = self.image_encoder.stem(image), self.event_encoder.stem(second)
        features, weights = [], []
        for image_stage, event_stage, fuse, mix, reliability in self._stages():
            image, second = image_stage(image), event_stage(second)
            pair = image_stage.out_norm(image), event_stage.out_norm(second)
            if reliability is not None:
                weights.append(reliability(*pair, present))
            fused_image, fused_second = fuse(*pair, *weights[-1:])
            features.append(self._mix(mix, fused_image, fused_second))
            image = image_stage.downsample(image + fused_image)
            second = event_stage.downsample(second + fused_second)
        return features, weights

    def _mix(self, mix: nn.Module, image: Tensor, second: Tensor) -> Tensor:
        """Return both fused streams as the head takes them: two [B, H, W, C] to one."""
        mixed: Tensor = mix(torch.cat((image, second), dim=-1))
        return mixed

    def _segment(self, features: list[Tensor], image: Tensor) -> Tensor:
        """Return logits of the image's size."""
        return to_channels_first(resize(self.head(features), (image.shape[2], image.shape[3])))

    def _stages(self) -> Iterable[tuple[Stage, Stage, nn.Module, nn.Module, nn.Module | None]]:
        """Iterate over the stages: image stage, event stage, fusion, mix for the head, reliability or None."""
        reliabilities = self.reliabilities if self.reliability_aware else [None] * len(self.ddims)
        parts = self.image_encoder.stages, self.event_encoder.stages, self.ddims, self.mixes, reliabilities
        return cast("Iterable[tuple[Stage, Stage, nn.Module, nn.Module, nn.Module | None]]", zip(*parts, strict=True))
