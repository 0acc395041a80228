"""The scans compute in float32 under autocast too, as torch's own exponentials and sums do."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def without_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Switch autocast off for a kind of device; nothing happens where it is off, so that graphs stay as they are."""
    if device_type == "meta" or not torch.is_autocast_enabled(device_type):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)
