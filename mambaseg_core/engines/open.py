"""Which engine runs a file, and its network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mambaseg_core.engines import aoti, onnxruntime, openvino, tensorrt
from mambaseg_core.engines.engine import Description, Engine, UnfitFileError
from mambaseg_core.engines.network import EngineNetwork

ENGINES: Final = ("auto", "torch", "aoti", "onnxruntime", "openvino", "tensorrt")
"""What may run a network; auto: by the file's suffix."""

ONNX: Final[dict[str, Callable[..., Engine]]] = {"onnxruntime": onnxruntime.load, "openvino": openvino.load}
"""Engines of ONNX files, which take the file's content; of several the first that is installed."""

_BY_PATH: Final[dict[str, Callable[..., Engine]]] = {"aoti": aoti.load, "tensorrt": tensorrt.load}
_BY_SUFFIX: Final = {".onnx": tuple(ONNX), ".pt2": ("aoti",), ".engine": ("tensorrt",), ".plan": ("tensorrt",)}


def is_exported(path: str | Path) -> bool:
    """Return whether a name is that of a file for another engine, by its suffix."""
    return Path(path).suffix in _BY_SUFFIX


def check_engine(engine: str, path: str | Path) -> None:
    """Raise ValueError for an engine that is unknown, or that does not run a file of this name."""
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}; expected one of {', '.join(ENGINES)}")
    runs = _BY_SUFFIX.get(Path(path).suffix, ("torch",))
    if engine != "auto" and engine not in runs:
        suffixes = [suffix for suffix, engines in _BY_SUFFIX.items() if engine in engines]
        wanted = f"a file in {' or '.join(suffixes)}, of `mambaseg export`" if suffixes else "a checkpoint"
        raise ValueError(
            f"engine is {engine!r}, but {path} is run by {' or '.join(runs)}; expected {wanted}: use such a file, or "
            "engine auto"
        )


def open_network(
    path: str | Path, *, engine: str = "auto", device: str = "auto", warn: Callable[[str], Any]
) -> EngineNetwork:
    """Load a file of `mambaseg export`.

    Args:
        path: The file, for which `is_exported` is True.
        engine: One of `ENGINES`; auto takes ONNX Runtime for .onnx, or OpenVINO where that alone is installed.
        device: "auto", "cpu", "cuda" or "cuda:N".
        warn: Called with a sentence if the file takes one input only, or more than one frame in a call.

    Raises:
        ValueError: The file is missing or broken, `mambaseg export` did not write it, or its engine is missing or does
            not run it here; one sentence.
    """
    path = Path(path)
    check_engine(engine, path)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ValueError(f"device is {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if not path.is_file():
        raise ValueError(f"no such file: {path}; expected one of `mambaseg export`: check the path")
    try:
        loaded = _load(path, _BY_SUFFIX[path.suffix] if engine == "auto" else (engine,), device)
        description = Description.read(loaded.metadata)
    except UnfitFileError as error:
        raise ValueError(f"{path} {error}") from error
    network = EngineNetwork(loaded, description)
    for sentence in network.remarks():
        warn(f"{path} {sentence}")
    return network


def _load(path: Path, engines: tuple[str, ...], device: str) -> Engine:
    missing: list[ValueError] = []
    for engine in engines:
        try:
            if engine in ONNX:
                return ONNX[engine](path.read_bytes(), device=device)
            return _BY_PATH[engine](path, device=device)
        except ValueError as error:
            if not isinstance(error.__cause__, ModuleNotFoundError):
                raise
            missing.append(error)
    raise missing[0]
