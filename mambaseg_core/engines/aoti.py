"""AOTInductor: a package of native code for one class of processors and one version of torch.

A package is a program that runs with all rights of the process: open only those that you made.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambaseg_core import extension
from mambaseg_core.engines.aoti_code import CompiledCode
from mambaseg_core.engines.engine import Arrays, Description, Engine, UnfitFileError, one_line
from mambaseg_core.engines.processor import instruction_sets
from mambaseg_core.ops import selection

DESCRIPTION: Final = "extra/mambaseg.json"
"""Place of the description in the archive, below its only folder."""
_CODE: Final = "data/aotinductor/model/"
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)
"""What `zipfile` and `json` raise; RuntimeError for what is encrypted, or compressed in a way that they do not know."""


def load(path: Path, *, device: str = "auto") -> Engine:
    """Load a package, after its description was held against this machine, and run it once on zeros.

    Args:
        path: A file of `mambaseg export --format aoti`.
        device: "auto", "cpu", "cuda" or "cuda:N"; that of the package in any case.

    Raises:
        UnfitFileError: It is no such file, has changed, or is for another version of torch, another processor or
            another device.
    """
    values, entries = _read(path)
    description = Description.read(values)
    place = _place(values["aoti"], device)
    try:
        code = CompiledCode(_code(entries), len(description.outputs), _zeros(description, place))
    except Exception as error:  # of whatever the loader and the code find
        raise UnfitFileError(
            f"cannot be loaded by torch ({one_line(error)}); expected a package of this mambaseg, and a temporary "
            "folder whose files may be run: export it again, or set TMPDIR"
        ) from error

    def run(inputs: Arrays) -> Arrays:
        tensors = [_tensor(name, inputs[name], shape).to(place) for name, shape in description.inputs.items()]
        outputs = (output.cpu().numpy() for output in code(tensors))
        return dict(zip(description.outputs, outputs, strict=True))

    return Engine("aoti", torch.__version__, str(place), values, run)


def _place(made: Mapping[str, Any], device: str) -> torch.device:
    """Return where code runs, by what it was compiled for and the wish."""
    if made["torch"] != torch.__version__:
        raise UnfitFileError(
            f"was compiled for torch {made['torch']}, but this is {torch.__version__}: export it again"
        )
    kind = torch.device(made["device"]).type
    place = torch.device(kind if device == "auto" else device)
    if place.type != kind:
        raise UnfitFileError(f"was compiled for {kind!r}, but is asked for on {device!r}: set the device to {kind!r}")
    machine, available = instruction_sets()
    missing = sorted(set(made["instruction_sets"]) - set(available))
    if made["machine"] != machine or missing:
        lacks = f", which lacks {', '.join(missing)}" if made["machine"] == machine else f" ({machine})"
        raise UnfitFileError(
            f"was compiled for another processor ({made['machine']}) than this one{lacks}: export it again here"
        )
    if extension.MISSING:
        raise UnfitFileError(f"calls compiled operators, which do not work here: {extension.MISSING}")
    if kind == "cuda":
        _check_gpu(made, place)
    return place


def _check_gpu(made: Mapping[str, Any], place: torch.device) -> None:
    if not torch.cuda.is_available():
        raise UnfitFileError("was compiled for 'cuda', but torch sees no CUDA device here: export it again, for 'cpu'")
    if (place.index or 0) >= (count := torch.cuda.device_count()):
        raise UnfitFileError(f"is asked for on {str(place)!r}, but torch sees {count} CUDA devices: choose one of them")
    here = list(torch.cuda.get_device_capability(place))
    if made["capability"] != here:
        raise UnfitFileError(
            f"was compiled for a GPU of compute capability {made['capability']}, but {str(place)!r} has {here}: export "
            "it again here"
        )
    selection.choose(place, None)  # registers the kernels of the scans that the code calls


def _read(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return a package's description and its files, of which the code is what it was when it was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        described = [data for name, data in entries.items() if name.partition("/")[2] == DESCRIPTION]
        values: Any = json.loads(described[0]) if described else {}
    except _BROKEN as error:
        raise UnfitFileError(
            f"is no package of `mambaseg export --format aoti` ({one_line(error)}): export it again"
        ) from error
    if not isinstance(values, dict) or not isinstance(made := values.get("aoti"), dict):
        raise UnfitFileError("has no description of its model and inputs; expected a package of `mambaseg export`")
    if made.get("code_sha256") != code_hash(entries):
        raise UnfitFileError("holds other code than was written into it: copy or export it again")
    return values, entries


def code_hash(entries: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of a package's files by name, all but its description."""
    digest = hashlib.sha256()
    for name in sorted(entries):
        if (place := name.partition("/")[2]) != DESCRIPTION:
            digest.update(place.encode())
            digest.update(entries[name])
    return digest.hexdigest()


def _code(entries: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of the compiled model, without the sources that they came from."""
    parts = ((name.partition("/")[2], data) for name, data in entries.items())
    return {Path(part).name: data for part, data in parts if part.startswith(_CODE) and not part.endswith(".cpp")}


def _zeros(description: Description, place: torch.device) -> list[Tensor]:
    return [torch.zeros(shape, device=place) for shape in description.inputs.values()]


def _tensor(name: str, value: NDArray[Any], shape: tuple[int, ...]) -> Tensor:
    """Return an input as the code reads it: by address, without a look at its shape."""
    if value.shape != shape:
        raise ValueError(
            f"{name} has the shape {list(value.shape)}; expected {list(shape)}: the package is of fixed sizes"
        )
    return torch.from_numpy(np.require(value, np.float32, ("C", "W")))
