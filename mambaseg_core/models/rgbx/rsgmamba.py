"""RSGMamba: what either modality adds is weighed by how far it can be trusted, for RGB and another modality.

Source: the abstract of "RSGMamba: Reliability-Aware Self-Gated State Space Model for Multimodal Semantic Segmentation"
(2026). Neither the paper's details nor its code are public, so this is a reading of it:

- The paper's: each modality's reliability is modelled explicitly; it regulates by a self-gating mechanism, inside a
  Mamba block (RSGMB), which features are selected and what the modalities exchange; a light Local Cross-Gated
  Modulation (LCGM) refines fine spatial detail beside that block's global view; 48.6 M parameters.
- Ours: everything else. The encoder and the decoder are Sigma's. The reliability is a map (`reliability`), learnt from
  the segmentation loss alone, and 0 where an input has one value everywhere. It weighs what of each modality enters
  the one scan of both, how far either modulates the other locally, and what of either goes to the decoder. The gate
  of a modality is made of its own features, as in Mamba.

So a modality of reliability 0 leaves no trace in the result: an image with a constant in place of the second input
gives the very logits of the image alone. Every pair is in the order image, second input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core import ops
from mambaseg_core.models.inputs import complete
from mambaseg_core.models.layers import Mlp, convolve
from mambaseg_core.models.reliability import Pair, Reliability, average, presence
from mambaseg_core.models.rgbx.siamese import SiameseNetwork
from mambaseg_core.models.scans import DirectionalScan

STATE = 4  # N of the fusion's scans


class SelfGatedBlock(nn.Module):
    """RSGMB: one scan reads both modalities as far as they can be trusted; each takes in what its own gate lets pass.

    Args:
        channels: C; the scan is 2C wide.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 2 * channels
        self.in_image = nn.Linear(channels, 2 * inner, bias=False)  # rows of the scan, then of the gate
        self.in_second = nn.Linear(channels, 2 * inner, bias=False)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.scan = DirectionalScan(
            ops.ss2d, directions=4, channels=inner, state=STATE, dt_rank=math.ceil(channels / 16)
        )
        self.norm = nn.LayerNorm(inner)
        self.out_image = nn.Linear(inner, channels, bias=False)
        self.out_second = nn.Linear(inner, channels, bias=False)

    def forward(self, image: Tensor, second: Tensor, weights: Pair) -> Pair:
        """Two [B, H, W, C] and two weights [B, H, W, 1] -> two [B, H, W, C], what each is to gain."""
        scan_image, gate_image = self.in_image(image).chunk(2, dim=-1)
        scan_second, gate_second = self.in_second(second).chunk(2, dim=-1)
        both = scan_image * weights[0] + scan_second * weights[1]
        context = self.norm(self.scan(F.silu(convolve(self.conv, both))))
        return self.out_image(context * F.silu(gate_image)), self.out_second(context * F.silu(gate_second))


class LocalCrossGate(nn.Module):
    """LCGM: what a modality shows in a 3x3 neighbourhood counts as far as the other, if trusted, points to it.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_image = nn.LayerNorm(channels)
        self.norm_second = nn.LayerNorm(channels)
        self.local_image = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.local_second = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.gate_image = Mlp(channels, hidden=channels // 4)
        self.gate_second = Mlp(channels, hidden=channels // 4)

    def forward(self, image: Tensor, second: Tensor, weights: Pair) -> Pair:
        """Two [B, H, W, C] and two weights [B, H, W, 1] -> two [B, H, W, C], what each is to gain."""
        local_image = convolve(self.local_image, self.norm_image(image))
        local_second = convolve(self.local_second, self.norm_second(second))
        from_image = torch.sigmoid(self.gate_image(local_image)) * weights[0]
        from_second = torch.sigmoid(self.gate_second(local_second)) * weights[1]
        return local_image * from_second, local_second * from_image


class ReliableFusion(nn.Module):
    """RSGMB, then LCGM, then the sum of both modalities, all weighed by the same two maps.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reliability = Reliability(channels)
        self.block = SelfGatedBlock(channels)
        self.local = LocalCrossGate(channels)

    def forward(self, image: Tensor, second: Tensor, weights: Pair) -> Tensor:
        """Two [B, H, W, C] and their weights, as `reliability` gives them -> [B, H, W, C]."""
        image_gain, second_gain = self.block(image, second, weights)
        image, second = image + image_gain, second + second_gain
        image_gain, second_gain = self.local(image, second, weights)
        y: Tensor = (image + image_gain) * weights[0] + (second + second_gain) * weights[1]
        return y


class RSGMamba(SiameseNetwork):
    """RSGMamba: each modality is weighed by its reliability; `fusions` are `ReliableFusion`s.

    Attributes:
        reliability_aware: True: `reliability` and `with_reliability` work.
    """

    reliability_aware = True

    def with_reliability(self, image: Tensor | None, second: Tensor | None) -> tuple[Tensor, Pair]:
        """The results of `forward` and of `reliability` in one pass; arguments and errors as of these."""
        image, second = complete(self, image, second, least=4)
        pairs, weights = self._weigh(image, second)
        logits = self._segment(self._fuse_weighed(pairs, weights), image)
        return logits, average(weights, (image.shape[2], image.shape[3]))

    def reliability(self, image: Tensor | None, second: Tensor | None) -> Pair:
        """How far image and second input are trusted at each pixel; arguments and errors as of `forward`.

        Returns:
            Of the image and of the second input a map [B, H, W] each, between 0 and 1: the mean of the weights of all
            stages, resized. 0 everywhere for a sample that is missing or has one value everywhere.
        """
        image, second = complete(self, image, second, least=4)
        return average(self._weigh(image, second)[1], (image.shape[2], image.shape[3]))

    def _fuse(self, image: Tensor, second: Tensor) -> list[Tensor]:
        return self._fuse_weighed(*self._weigh(image, second))

    def _weigh(self, image: Tensor, second: Tensor) -> tuple[list[Pair], list[Pair]]:
        """Of each stage the features of both modalities and their weights."""
        present = presence(image), presence(second)
        pairs = self.encoder(image, second)
        fusions = cast("Sequence[ReliableFusion]", self.fusions)
        weights = [fusion.reliability(*pair, present) for fusion, pair in zip(fusions, pairs, strict=True)]
        return pairs, weights

    def _fuse_weighed(self, pairs: list[Pair], weights: list[Pair]) -> list[Tensor]:
        """The fused features of each stage."""
        parts = zip(self.fusions, pairs, weights, strict=True)
        return [fusion(*pair, weight) for fusion, pair, weight in parts]
