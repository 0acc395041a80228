"""DDIM, the fusion of MambaSeg: CTIM mixes the streams along their channels, CSIM over the image plane.

Source: MambaSeg (CQU-UISC); the released code computes this, and its checkpoints need it. Every pair
of streams is in the order image, events. B batch, H and W the feature map's size, C channels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambaseg_core import ops
from mambaseg_core.models.layers import convolve
from mambaseg_core.models.mambaseg.encoder import SS2D
from mambaseg_core.models.scans import DirectionalScan

STATE = 16  # N of the fusion's scans


class ChannelGate(nn.Module):
    """Squeeze and excite without the multiplication: one weight per channel (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // 4, bias=False)
        self.fc2 = nn.Linear(channels // 4, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, 1, 1, C], between 0 and 1."""
        return torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((1, 2), keepdim=True)))))


class ChannelAttention(nn.Module):
    """One weight per channel from average and maximum (CBAM, Woo et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // 16, bias=False)
        self.fc2 = nn.Linear(channels // 16, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, 1, 1, C], between 0 and 1."""
        average, highest = x.mean((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
        return torch.sigmoid(self.fc2(F.relu(self.fc1(average))) + self.fc2(F.relu(self.fc1(highest))))


class SpatialGate(nn.Module):
    """One weight per pixel for each of two streams, from both streams' mean and maximum over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 16)
        self.fc2 = nn.Linear(16, 2)

    def forward(self, image: Tensor, events: Tensor) -> tuple[Tensor, Tensor]:
        """Map two [B, H, W, C] to two [B, H, W, 1], between 0 and 1."""
        maps = torch.cat((mean_and_max(image), mean_and_max(events)), dim=-1)
        gates = torch.sigmoid(self.fc2(F.relu(self.fc1(maps))))  # [B, H, W, 2]: for events, for image
        return gates[..., 1:], gates[..., :1]


class SpatialAttention(nn.Module):
    """One weight per pixel from mean and maximum over channels (CBAM, Woo et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, 1], between 0 and 1."""
        return torch.sigmoid(convolve(self.conv, mean_and_max(x)))


def mean_and_max(x: Tensor) -> Tensor:
    """Return mean and maximum over the channels: [B, H, W, C] to [B, H, W, 2]."""
    return torch.stack((x.mean(-1), x.amax(-1)), dim=-1)


class TemporalSSM(nn.Module):
    """Scan along the channels: every pixel is a channel of the scan, so the weights fit one map size only.

    Args:
        channels: C.
        tokens: H*W.
    """

    def __init__(self, channels: int, *, tokens: int) -> None:
        super().__init__()
        inner = 2 * channels
        self.in_proj = nn.Linear(channels, inner, bias=False)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.scan = DirectionalScan(
            ops.bidirectional_scan, directions=2, channels=tokens, state=STATE, dt_rank=math.ceil(tokens / 16)
        )
        self.norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        height, width = x.shape[1:3]
        x = F.silu(convolve(self.conv, self.in_proj(x)))
        y = reread_merge(self.scan(x.flatten(1, 2)), height, width)
        out: Tensor = self.out_proj(self.norm(y))
        return out


def reread_merge(y: Tensor, height: int, width: int) -> Tensor:
    """Merge both directions of a temporal scan as the released code does; its weights were trained with it.

    The scan's memory is reread with other axes instead of being transposed. So a pixel of the result mixes values
    of other pixels and channels. Kept for the released weights only: new designs should not use it.

    Args:
        y: [B, 2, H*W, L], direction 1 in scan order.
        height: H.
        width: W.

    Returns:
        [B, H, W, L].
    """
    batch, _, _, length = y.shape
    forth, back = y.reshape(batch, 2, length * height, width).unbind(1)
    merged = (forth + back.flip(-1)).transpose(1, 2)  # [B, W, L*H]
    return merged.reshape(batch, length, height, width).permute(0, 2, 3, 1)


class Stream(nn.Module):
    """One stream of a path: `y = mixer(x) + skip(x)`, then `y * attention(y)`."""

    def __init__(self, channels: int, *, mixer: nn.Module, attention: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer
        self.skip = nn.Linear(channels, channels)
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, C] to [B, H, W, C]."""
        y: Tensor = self.mixer(x) + self.skip(x)
        weighted: Tensor = y * self.attention(y)
        return weighted


class CTIM(nn.Module):
    """The temporal path: streams exchange their odd channels, gate each other, and are scanned along channels.

    Args:
        channels: C.
        tokens: H*W of the feature map.
    """

    def __init__(self, channels: int, *, tokens: int) -> None:
        super().__init__()
        self.gate = ChannelGate(channels)
        self.image, self.events = (
            Stream(
                channels,
                mixer=TemporalSSM(channels, tokens=tokens),
                attention=ChannelAttention(channels),
            )
            for _ in range(2)
        )

    def forward(self, image: Tensor, events: Tensor) -> tuple[Tensor, Tensor]:
        """Map two [B, H, W, C] to two [B, H, W, C]."""
        image, events = swap_odd_channels(image, events)
        gated_image, gated_events = image * self.gate(events), events * self.gate(image)
        return self.image(gated_image), self.events(gated_events)


def swap_odd_channels(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Exchange channels 1, 3, 5, ... of two [..., C] with even C."""
    new_a = torch.stack((a[..., 0::2], b[..., 1::2]), dim=-1).flatten(-2)
    new_b = torch.stack((b[..., 0::2], a[..., 1::2]), dim=-1).flatten(-2)
    return new_a, new_b


class CSIM(nn.Module):
    """The spatial path: weights from both streams gate the pixels, then each is scanned over the image plane.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = SpatialGate()
        self.image, self.events = (
            Stream(
                channels,
                mixer=SS2D(channels, inner=2 * channels, state=STATE, conv_bias=True),
                attention=SpatialAttention(),
            )
            for _ in range(2)
        )

    def forward(self, image: Tensor, events: Tensor) -> tuple[Tensor, Tensor]:
        """Map two [B, H, W, C] to two [B, H, W, C]."""
        image_gate, events_gate = self.gate(image, events)
        return self.image(image * image_gate), self.events(events * events_gate)


class DDIM(nn.Module):
    """Dual-dimensional interaction: each stream plus the merged results of both paths.

    Args:
        channels: C, even.
        ctim: The temporal path.
        csim: The spatial path.
    """

    def __init__(self, channels: int, *, ctim: nn.Module, csim: nn.Module) -> None:
        super().__init__()
        self.norm_image = nn.LayerNorm(channels)
        self.norm_events = nn.LayerNorm(channels)
        self.ctim = ctim
        self.csim = csim
        self.merge_image = nn.Linear(2 * channels, channels)
        self.merge_events = nn.Linear(2 * channels, channels)

    def forward(
        self, image: Tensor, events: Tensor, weights: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map two [B, H, W, C] to two [B, H, W, C]; `weights`, two [B, H, W, 1], scale the streams first."""
        pair = self.norm_image(image), self.norm_events(events)
        if weights is not None:
            pair = pair[0] * weights[0], pair[1] * weights[1]
            image, events = image * weights[0], events * weights[1]
        temporal_image, temporal_events = self.ctim(*pair)
        spatial_image, spatial_events = self.csim(*pair)
        fused_image = image + self.merge_image(torch.cat((temporal_image, spatial_image), dim=-1))
        fused_events = events + self.merge_events(torch.cat((temporal_events, spatial_events), dim=-1))
        return fused_image, fused_events
