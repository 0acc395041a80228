"""The fusion as the paper states it, for any image size: six maps, three weights, a shared temporal scan.

Source: MambaSeg (arXiv:2512.24243), sections on CSIM and CTIM. `released_fusion` computes what the released code does
instead. Both modules here go into `released_fusion.DDIM`. Every pair of streams is in the order image, events.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core import ops
from mambaseg_core.models.layers import convolve, resize, to_channels_first, to_channels_last
from mambaseg_core.models.mambaseg.encoder import SS2D
from mambaseg_core.models.mambaseg.released_fusion import ChannelAttention, SpatialAttention, mean_and_max
from mambaseg_core.models.scans import DirectionalScan


class ThreeWeights(nn.Module):
    """Three weights per pixel, for image, events and their mean, from six maps: mean and maximum over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(6, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 3, 1)

    def forward(self, image: Tensor, events: Tensor, both: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map three [B, H, W, C] to three [B, H, W, 1], between 0 and 1."""
        maps = torch.cat([mean_and_max(x) for x in (image, events, both)], dim=-1)
        weights = torch.sigmoid(convolve(self.conv2, F.relu(convolve(self.conv1, maps))))
        return weights[..., 0:1], weights[..., 1:2], weights[..., 2:3]


class JointCSIM(nn.Module):
    """The spatial path: three weights select pixels of both streams and their mean, one scan reads them all.

    Args:
        channels: C.
        inner: Width of the scan.
        state: N of the scan.
    """

    def __init__(self, channels: int, *, inner: int, state: int) -> None:
        super().__init__()
        self.weights = ThreeWeights()
        self.join = nn.Linear(3 * channels, channels)
        self.scan = SS2D(channels, inner=inner, state=state, conv_bias=True)
        self.attend_image = SpatialAttention()
        self.attend_events = SpatialAttention()

    def forward(self, image: Tensor, events: Tensor) -> tuple[Tensor, Tensor]:
        """Map two [B, H, W, C] to two [B, H, W, C]."""
        both = 0.5 * (image + events)
        of_image, of_events, of_both = self.weights(image, events, both)
        image, events = image * of_image, events * of_events
        joint = self.join(torch.cat((image, events, both * of_both), dim=-1))
        joint = joint + self.scan(joint)
        image, events = image + joint, events + joint
        return image * self.attend_image(image), events * self.attend_events(events)


class SharedCTIM(nn.Module):
    """The temporal path: one scan, shared by all regions of the map, runs to and fro over both streams' steps.

    A stream's channels form `steps` consecutive groups. Both streams are weighted by channel and averaged over
    `regions`. Their steps are interleaved (image 0, events 0, image 1, ...) and scanned. The result is resized and
    added to the map. The parameters depend on neither image size nor regions.

    Args:
        channels: C, a multiple of `steps`.
        steps: Length of one stream's sequence.
        regions: Rows and columns of the grid that the map is averaged over.
        state: N of the scan.
    """

    def __init__(self, channels: int, *, steps: int, regions: tuple[int, int], state: int) -> None:
        super().__init__()
        self.steps, self.regions = steps, regions
        width = channels // steps
        self.attention = ChannelAttention(2 * channels)
        self.in_image = nn.Linear(channels, channels)
        self.in_events = nn.Linear(channels, channels)
        self.scan = DirectionalScan(
            ops.bidirectional_scan, directions=2, channels=width, state=state, dt_rank=math.ceil(width / 16)
        )
        self.norm = nn.LayerNorm(channels)
        self.out_image = nn.Linear(channels, channels)
        self.out_events = nn.Linear(channels, channels)

    def forward(self, image: Tensor, events: Tensor) -> tuple[Tensor, Tensor]:
        """Map two [B, H, W, C] to two [B, H, W, C]."""
        size = (image.shape[1], image.shape[2])
        image_weight, events_weight = self.attention(torch.cat((image, events), dim=-1)).chunk(2, dim=-1)
        image, events = image * image_weight, events * events_weight
        image_steps, events_steps = self._scan_steps(self._pool(image), self._pool(events))
        return image + resize(image_steps, size), events + resize(events_steps, size)

    def _pool(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, *regions, C]."""
        return to_channels_last(F.adaptive_avg_pool2d(to_channels_first(x), self.regions))

    def _scan_steps(self, image: Tensor, events: Tensor) -> tuple[Tensor, Tensor]:
        """Map two [B, *regions, C] to two [B, *regions, C]."""
        pair = torch.stack((self.in_image(image), self.in_events(events)), dim=-1)  # [B, *regions, C, 2]
        x = F.silu(pair.reshape(-1, self.steps, pair.shape[-2] // self.steps, 2))
        x = x.permute(0, 2, 1, 3).flatten(2)  # [B * regions, C / steps, 2 * steps]
        forth, back = self.scan(x).unbind(1)
        y = (forth + back.flip(-1)).unflatten(-1, (self.steps, 2))
        y = y.permute(3, 0, 2, 1).reshape(2, *image.shape)
        new_image, new_events = self.norm(y)
        return self.out_image(new_image), self.out_events(new_events)
