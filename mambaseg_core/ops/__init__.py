"""Operators of the models and of the event path."""

from __future__ import annotations

from mambaseg_core.ops import fused_dense as _fused_dense  # noqa: F401  defines the operators
from mambaseg_core.ops import fused_maps as _fused_maps  # noqa: F401  the same
from mambaseg_core.ops.scan import bidirectional_scan, scan_macs, selective_scan, ss2d
from mambaseg_core.ops.selection import backends

__all__ = ["backends", "bidirectional_scan", "scan_macs", "selective_scan", "ss2d"]
