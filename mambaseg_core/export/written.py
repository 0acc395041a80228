"""How a checked file is written, and what an export tells of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mambaseg_core.files import write_bytes, write_text

if TYPE_CHECKING:
    from mambaseg_core.export.agreement import Agreement  # slow, and the command asks for FRAMES only

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


def check_suffix(out: Path, suffix: str) -> None:
    """Raise ValueError if a name does not end in the suffix by which a file is known later."""
    if out.suffix != suffix:
        raise ValueError(f"out is {out}; expected a name that ends in {suffix}: change it")


def write_file(
    out: Path, data: bytes, description: Mapping[str, Any], checks: Sequence[Agreement], *, nodes: int | None = None
) -> WrittenFile:
    """Write an exported file, and its description in JSON beside it.

    Raises:
        WriteError: One of them cannot be written.
    """
    write_bytes(out, data)
    write_text(out.with_suffix(".json"), json.dumps(description, indent=1) + "\n")
    return WrittenFile(out, nodes, len(data), tuple(checks))
