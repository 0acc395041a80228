"""Sigma, for RGB and a second image: a Siamese VMamba encoder, two fusions per stage, a channel-aware Mamba decoder.

Source: Wan et al., "Sigma: Siamese Mamba Network for Multi-Modal Semantic Segmentation", WACV 2025. The fusion works
on sequences [B, C, L], which is how the scans read them. Every pair is in the order image, second input.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core import ops
from mambaseg_core.models.rgbx.siamese import SiameseNetwork
from mambaseg_core.models.scans import DirectionalScan, SequenceScan

STATE = 4  # N of the fusion's scans


def to_sequence(linear: nn.Linear, x: Tensor) -> Tensor:
    """Multiply [B, H, W, C] by a layer's weights into channels first, [B, C', H, W], without copying the map."""
    return torch.unflatten(torch.matmul(linear.weight, x.flatten(1, 2).mT), 2, x.shape[1:3])


class CrossStream(nn.Module):
    """One input's half of CroMB: its projections, its scan and its norm.

    Args:
        channels: C of the scan.
        dt_rank: R, the rank of the step size's projection.
    """

    def __init__(self, channels: int, *, dt_rank: int) -> None:
        super().__init__()
        self.x_proj = nn.Linear(channels, dt_rank + 2 * STATE, bias=False)
        self.dt_proj = nn.Linear(dt_rank, channels, bias=False)
        self.scan = SequenceScan(channels, state=STATE)
        self.norm = nn.LayerNorm(channels)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map [B, C, L] to the step size before its bias [B, C, L], and to B and C [B, N, L]."""
        sizes = [self.dt_proj.in_features, STATE, STATE]
        low, b, c = torch.split(torch.matmul(self.x_proj.weight, x), sizes, dim=1)
        return torch.matmul(self.dt_proj.weight, low), b, c


class CroMB(nn.Module):
    """Cross Mamba: each input is scanned along its rows and read out with the other's C.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner, dt_rank = 2 * channels, math.ceil(channels / 16)
        self.in_image = nn.Linear(channels, inner, bias=False)
        self.in_second = nn.Linear(channels, inner, bias=False)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)  # for both inputs
        self.image = CrossStream(inner, dt_rank=dt_rank)
        self.second = CrossStream(inner, dt_rank=dt_rank)
        self.out_image = nn.Linear(inner, channels, bias=False)
        self.out_second = nn.Linear(inner, channels, bias=False)

    def forward(self, image: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return what two [B, H, W, C] gain: two [B, H, W, C]."""
        size = image.shape[1:3]
        x_i = F.silu(self.conv(to_sequence(self.in_image, image))).flatten(2)
        x_s = F.silu(self.conv(to_sequence(self.in_second, second))).flatten(2)
        delta_i, b_i, c_i = self.image.project(x_i)
        delta_s, b_s, c_s = self.second.project(x_s)
        y_i = self.image.norm(self.image.scan(x_i, delta_i, b_i, c_s).mT)
        y_s = self.second.norm(self.second.scan(x_s, delta_s, b_s, c_i).mT)
        return self.out_image(y_i).unflatten(1, size), self.out_second(y_s).unflatten(1, size)


class Squeeze(nn.Module):
    """One weight per channel from the mean over the map, squeeze and excite (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // 16, bias=False)
        self.fc2 = nn.Linear(channels // 16, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, 1, C], between 0 and 1."""
        return torch.sigmoid(self.fc2(F.silu(self.fc1(x.mean((2, 3)))))).unsqueeze(1)


class ConMB(nn.Module):
    """Concat Mamba: one scan, to and fro, over both inputs one after the other.

    Each input's part is scaled by channel with the weights of the other's squeeze.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 2 * channels
        self.in_image = nn.Linear(channels, inner, bias=False)
        self.in_second = nn.Linear(channels, inner, bias=False)
        self.conv_image = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.conv_second = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.scan = DirectionalScan(
            ops.bidirectional_scan, directions=2, channels=inner, state=STATE, dt_rank=math.ceil(channels / 16)
        )
        self.norm_image = nn.LayerNorm(inner)
        self.norm_second = nn.LayerNorm(inner)
        self.squeeze_image = Squeeze(inner)
        self.squeeze_second = Squeeze(inner)
        self.out = nn.Linear(2 * inner, channels, bias=False)

    def forward(self, image: Tensor, second: Tensor) -> Tensor:
        """Return what the sum of two [B, H, W, C] gains: [B, H, W, C]."""
        x_i, x_s = to_sequence(self.in_image, image), to_sequence(self.in_second, second)
        weight_i, weight_s = self.squeeze_image(x_i), self.squeeze_second(x_s)
        pair = torch.cat((self.conv_image(x_i).flatten(2), self.conv_second(x_s).flatten(2)), dim=2)
        forth, back = self.scan(F.silu(pair)).unbind(1)
        y_i, y_s = (forth + back.flip(-1)).chunk(2, dim=2)
        out_i, out_s = self.out.weight.chunk(2, dim=1)  # the halves of a concatenation that is never made
        y = F.linear(self.norm_image(y_i.mT) * weight_s, out_i) + F.linear(self.norm_second(y_s.mT) * weight_i, out_s)
        return torch.unflatten(y, 1, image.shape[1:3])


class SigmaFusion(nn.Module):
    """CroMB added to each input, then both and ConMB added up.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cross = CroMB(channels)
        self.concat = ConMB(channels)

    def forward(self, image: Tensor, second: Tensor) -> Tensor:
        """Map two [B, H, W, C] to [B, H, W, C]."""
        image_gain, second_gain = self.cross(image, second)
        image, second = image + image_gain, second + second_gain
        y: Tensor = image + second + self.concat(image, second)
        return y


class Sigma(SiameseNetwork):
    """Sigma: every fusion takes both inputs unweighed.

    Attributes:
        authors_inputs: True if the weights expect inputs normalized as the authors' are; see `unit_inputs`.
    """

    authors_inputs = False

    def _fuse(self, image: Tensor, second: Tensor) -> list[Tensor]:
        pairs = self.encoder(image, second)
        return [fusion(*pair) for fusion, pair in zip(self.fusions, pairs, strict=True)]
