"""RSGMamba, for RGB and a second image: each input is weighed by how far it can be trusted.

Source: the abstract of "RSGMamba: Reliability-Aware Self-Gated State Space Model for Multimodal Semantic Segmentation"
(2026). Neither the paper's details nor its code are public, so this is our reading of it:

- The paper's: each modality's reliability is modeled explicitly; it regulates by a self-gating mechanism, inside a
  Mamba block (RSGMB), which features are selected and what the modalities exchange; a light Local Cross-Gated
  Modulation (LCGM) refines fine spatial detail beside that block's global view; 48.6 M parameters.
- Ours: everything else. The encoder and the decoder are Sigma's. The reliability is a map (`reliability`), learned
  from the segmentation loss alone, and 0 where an input has one value everywhere. It weighs three things: what of each
  input enters the joint scan, how far each input modulates the other locally, and what of each goes to the decoder.
  The gate of an input is computed from its own features, as in Mamba.

So an input of reliability 0 leaves no trace in the result: with a constant second input, the logits are exactly those
of the image alone. Every pair is in the order image, second input.
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
    """RSGMB: one scan reads both inputs, weighed by reliability; each input takes in what its own gate passes.

    Args:
        channels: C; the scan is 2C wide.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 2 * channels
        self.in_image = nn.Linear(channels, 2 * inner, bias=False)  # rows for the scan, then for the gate
        self.in_second = nn.Linear(channels, 2 * inner, bias=False)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.scan = DirectionalScan(
            ops.ss2d, directions=4, channels=inner, state=STATE, dt_rank=math.ceil(channels / 16)
        )
        self.norm = nn.LayerNorm(inner)
        self.out_image = nn.Linear(inner, channels, bias=False)
        self.out_second = nn.Linear(inner, channels, bias=False)

    def forward(self, image: Tensor, second: Tensor, weights: Pair) -> Pair:
        """Return what two [B, H, W, C] with weights [B, H, W, 1] gain: two [B, H, W, C]."""
        scan_image, gate_image = self.in_image(image).chunk(2, dim=-1)
        scan_second, gate_second = self.in_second(second).chunk(2, dim=-1)
        both = scan_image * weights[0] + scan_second * weights[1]
        context = self.norm(self.scan(F.silu(convolve(self.conv, both))))
        return self.out_image(context * F.silu(gate_image)), self.out_second(context * F.silu(gate_second))


class LocalCrossGate(nn.Module):
    """LCGM: an input's 3x3 features pass a gate from the other input, scaled by that input's reliability.

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
        """Return what two [B, H, W, C] with weights [B, H, W, 1] gain: two [B, H, W, C]."""
        local_image = convolve(self.local_image, self.norm_image(image))
        local_second = convolve(self.local_second, self.norm_second(second))
        from_image = torch.sigmoid(self.gate_image(local_image)) * weights[0]
        from_second = torch.sigmoid(self.gate_second(local_second)) * weights[1]
        return local_image * from_second, local_second * from_image


class ReliableFusion(nn.Module):
    """RSGMB, then LCGM, then the sum of both inputs, all weighed by the same two maps.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reliability = Reliability(channels)
        self.block = SelfGatedBlock(channels)
        self.local = LocalCrossGate(channels)

    def forward(self, image: Tensor, second: Tensor, weights: Pair) -> Tensor:
        """Map two [B, H, W, C] and their weights from `reliability` to [B, H, W, C]."""
        image_gain, second_gain = self.block(image, second, weights)
        image, second = image + image_gain, second + second_gain
        image_gain, second_gain = self.local(image, second, weights)
        y: Tensor = (image + image_gain) * weights[0] + (second + second_gain) * weights[1]
        return y


class RSGMamba(SiameseNetwork):
    """RSGMamba: each input is weighed by its reliability; `fusions` are `ReliableFusion`s.

    Attributes:
        reliability_aware: True; `reliability` and `with_reliability` work.
    """

    reliability_aware = True

    def with_reliability(self, image: Tensor | None, second: Tensor | None) -> tuple[Tensor, Pair]:
        """Return the results of `forward` and `reliability` from one pass; arguments and errors as for these."""
        image, second = complete(self, image, second, least=4)
        pairs, weights = self._weigh(image, second)
        logits = self._segment(self._fuse_weighed(pairs, weights), image)
        return logits, average(weights, (image.shape[2], image.shape[3]))

    def reliability(self, image: Tensor | None, second: Tensor | None) -> Pair:
        """Return how far image and second input are trusted at each pixel; arguments and errors as for `forward`.

        Returns:
            A map [B, H, W] for the image and one for the second input, between 0 and 1: the mean of all stages'
            weights, resized. It is 0 everywhere for a sample that is missing or has one value everywhere.
        """
        image, second = complete(self, image, second, least=4)
        return average(self._weigh(image, second)[1], (image.shape[2], image.shape[3]))

    def _fuse(self, image: Tensor, second: Tensor) -> list[Tensor]:
        return self._fuse_weighed(*self._weigh(image, second))

    def _weigh(self, image: Tensor, second: Tensor) -> tuple[list[Pair], list[Pair]]:
        """Return for each stage the features of both inputs and their weights."""
        present = presence(image), presence(second)
        pairs = self.encoder(image, second)
        fusions = cast("Sequence[ReliableFusion]", self.fusions)
        weights = [fusion.reliability(*pair, present) for fusion, pair in zip(fusions, pairs, strict=True)]
        return pairs, weights

    def _fuse_weighed(self, pairs: list[Pair], weights: list[Pair]) -> list[Tensor]:
        """Return the fused features of each stage."""
        parts = zip(self.fusions, pairs, weights, strict=True)
        return [fusion(*pair, weight) for fusion, pair, weight in parts]
