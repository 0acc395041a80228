"""Cost of a network: all parameters and multiply-adds, the scans included.

Profilers that hook known module types miss bare parameters and every scan: they report 25.44 M parameters for
a MambaSeg that has 97.55 M.

The count follows the layout as written, so that numbers compare with the paper's and with other implementations.
The decoder here runs in a cheaper order (`SegFormerHead.forward`): it does 22.54 G of the 32.42 G multiply-adds in
products that are counted for `mambaseg_ddd17`, and 113.06 G of the 154.02 G for `mambaseg_dsec`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mambaseg_core import ops
from mambaseg_core.models.mambaseg.segformer_head import SegFormerHead
from mambaseg_core.models.presets import Network
from mambaseg_core.models.scans import DirectionalScan, SequenceScan


@dataclass(frozen=True)
class Profile:
    """Cost of one forward pass of one image with its second input.

    Attributes:
        parameters: Number of learned values.
        product_macs: Multiply-adds in convolutions and matrix products, the scans' projections included.
        scan_macs: Multiply-adds in the scans, 3N + 2 per channel, direction and step.
    """

    parameters: int
    product_macs: int
    scan_macs: int

    @property
    def macs(self) -> int:
        """All multiply-adds."""
        return self.product_macs + self.scan_macs


def profile_model(model: Network, image_size: tuple[int, int] | None = None) -> Profile:
    """Count parameters and multiply-adds. Nothing is computed: the network runs without memory on `meta`.

    Products are half of the flops that torch's flop counter reports. Those of the scans' projections are counted
    apart, so that no back end changes the result.

    Args:
        model: The network; it is not changed.
        image_size: (height, width) in pixels; by default the model's.

    Returns:
        The cost at batch size 1.

    Raises:
        ValueError: The model does not take this image size.
    """
    height, width = image_size or model.image_size
    shadow = _without_memory(model).eval().float()
    scans = _replace_scans(shadow)
    _replace_heads(shadow)
    image = torch.empty(1, model.in_channels, height, width, device="meta")
    second = torch.empty(1, model.bins, height, width, device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        shadow(image, second)
    return Profile(
        parameters=sum(p.numel() for p in model.parameters()),
        product_macs=counter.get_total_flops() // 2 + sum(scan.product_macs for scan in scans),
        scan_macs=sum(scan.scan_macs for scan in scans),
    )


def _without_memory(model: Network) -> Network:
    """Return a copy of the network whose tensors have shapes only; the weights are never copied."""
    memo: dict[int, Any] = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=False) for p in model.parameters()
    }
    memo |= {id(buffer): torch.empty_like(buffer, device="meta") for buffer in model.buffers()}
    return copy.deepcopy(model, memo)


_RESULTS: dict[Callable[..., Tensor], Callable[[Tensor], Tensor]] = {
    ops.ss2d: torch.empty_like,  # [B, H, W, C] -> [B, H, W, C]
    ops.selective_scan: torch.empty_like,  # [B, C, L] -> [B, C, L]
    ops.bidirectional_scan: lambda x: torch.stack((x, x), dim=1),  # [B, C, L] -> [B, 2, C, L]
}


class _CountedScan(nn.Module):
    """Stand-in for a scan: returns a result of the right shape and adds up the cost of the scan."""

    def __init__(self, scan: DirectionalScan | SequenceScan) -> None:
        super().__init__()
        self.scan = scan
        self.product_macs = 0
        self.scan_macs = 0

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        """Count one call; `x` and the result have the shapes of the scan's op."""
        positions = x.numel() // self.scan.channels
        self.product_macs += self.scan.product_macs(positions)
        self.scan_macs += self.scan.scan_macs(positions)
        return _RESULTS[self.scan.op](x)


def _replace_scans(model: nn.Module) -> list[_CountedScan]:
    """Replace every scan with a stand-in, in place; return the stand-ins."""
    found = {name: part for name, part in model.named_modules() if isinstance(part, (DirectionalScan, SequenceScan))}
    stand_ins = {name: _CountedScan(scan) for name, scan in found.items()}
    for name, stand_in in stand_ins.items():
        model.set_submodule(name, stand_in)
    return list(stand_ins.values())


class _WrittenHead(nn.Module):
    """Stand-in for a decoder: the same layers in the order of the layout."""

    def __init__(self, head: SegFormerHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Run `SegFormerHead.as_written`."""
        return self.head.as_written(features)


def _replace_heads(model: nn.Module) -> None:
    """Replace every SegFormer decoder with a stand-in, in place."""
    found = {name: part for name, part in model.named_modules() if isinstance(part, SegFormerHead)}
    for name, head in found.items():
        model.set_submodule(name, _WrittenHead(head))
