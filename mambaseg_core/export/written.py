"""What an export tells of the file that it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mambaseg_core.export.agreement import Agreement

FRAMES: Final = 8
"""Frames of synthetic drives that a file is checked with."""


@dataclass(frozen=True)
class WrittenFile:
    """A file that was written.

    Attributes:
        path: The file; a description in JSON has the same name with the suffix .json.
        nodes: Operators in its graph; None where it is compiled code.
        bytes: Its size.
        checks: How well engines agree with PyTorch.
    """

    path: Path
    nodes: int | None
    bytes: int
    checks: tuple[Agreement, ...]
