"""The packages that an export needs and the rest of mambaseg does not: the extra `export`."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Final

import torch

_TORCH: Final = (2, 8)  # the first with `torch.onnx.ops.symbolic`


def need(name: str) -> ModuleType:
    """Import a package of the extra `export`.

    Raises:
        ValueError: It is not installed; one sentence.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != name.split(".")[0]:
            raise
        package = name.split(".")[0]
        raise ValueError(
            f"the export needs the package {package}, which is not installed here; pip install {package}, or all that "
            "an export may need: pip install 'mambaseg[export]'"
        ) from error


def need_torch() -> None:
    """Raise ValueError where torch is older than the export."""
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < _TORCH:
        raise ValueError(
            f"torch is {torch.__version__}; an export expects {_TORCH[0]}.{_TORCH[1]} or later: install a newer torch "
            "to export with (the file runs without torch)"
        )
