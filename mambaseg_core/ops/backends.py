"""Which implementation runs: chosen here, once, and logged with the reason.

Order of precedence: the `backend=` argument, the environment variable `MAMBASEG_BACKEND`, the best that fits the tensor.
"""

from __future__ import annotations

import functools
import logging
import os

import torch

logger = logging.getLogger(__name__)

KNOWN = ("cpu", "reference")


@functools.cache
def backends() -> tuple[str, ...]:
    """Names of the back ends that work in this process, best first; "reference" is always the last."""
    return ("reference",)


def choose(device: torch.device, backend: str | None = None) -> str:
    """Name of the back end for tensors on `device`.

    Raises:
        ValueError: `backend` or `MAMBASEG_BACKEND` names one that is unknown or does not work here.
    """
    asked, source = (backend, "backend=") if backend else (os.environ.get("MAMBASEG_BACKEND"), "MAMBASEG_BACKEND=")
    if not asked:
        return backends()[0]
    if asked not in KNOWN:
        raise ValueError(f"{source}{asked!r} is unknown; known are {', '.join(KNOWN)}")
    if asked not in backends():
        raise ValueError(f"{source}{asked!r} does not work here; usable are {', '.join(backends())}")
    return asked
