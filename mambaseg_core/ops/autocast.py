"""Autocast off inside the scans: they compute in float32, as torch's own exponentials and sums do."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def without_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Return a context that switches autocast off for a device type.

    Where autocast is off already, the context does nothing, so compiled graphs stay unchanged.
    """
    if device_type == "meta" or not torch.is_autocast_enabled(device_type):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)
