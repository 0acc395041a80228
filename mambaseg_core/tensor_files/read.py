"""The tensors of a file, whatever its container; see `container` and `torch_file`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from mambaseg_core.tensor_files.container import AGAIN, container_of, refuse
from mambaseg_core.tensor_files.torch_file import read_torch


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file; that of a file of torch.save is empty.

    Raises:
        ValueError: As of `container_of`, or the file is cut or damaged.
    """
    if container_of(path) != "safetensors":
        return {}
    _require_whole(path)
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        refuse(path, f"a damaged safetensors file ({error})", AGAIN)


def read_tensors(path: str | Path) -> dict[str, Any]:
    """Return what a file of tensors holds: tensors by name, with torch.save also plain values and nested dicts.

    Raises:
        ValueError: The file is missing, cut or damaged, is no file of tensors, or holds objects of other classes.
    """
    path = Path(path)
    container = container_of(path)
    if container == "safetensors":
        return _read_safetensors(path)
    state = read_torch(path, container)
    if not isinstance(state, Mapping):
        raise ValueError(f"weights file {path} holds a {type(state).__name__}; expected a dict of tensors: save one")
    return dict(state)


def _read_safetensors(path: Path) -> dict[str, Any]:
    _require_whole(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        refuse(path, f"a damaged safetensors file ({error})", AGAIN)


def _require_whole(path: Path) -> None:
    """Refuse a safetensors file that is shorter than its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            rows = json.loads(file.read(length)) if 8 + length <= size else {}
            ends = [row["data_offsets"][1] for name, row in rows.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError):
            return  # safetensors' own reader says what is wrong
    whole = 8 + length + max(ends, default=0)
    if size < whole:
        refuse(path, f"cut: safetensors of at least {whole} bytes, of which {size} are there", AGAIN)
