"""AOTInductor: a package of native code for one class of processors and one version of torch.

A package is a program that runs with all rights of the process: open only those that you made.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any, Final

import torch

from mambaseg_core import extension
from mambaseg_core.engines.engine import Arrays, Engine, UnfitFileError, one_line
from mambaseg_core.engines.processor import instruction_sets

DESCRIPTION: Final = "extra/mambaseg.json"
"""Place of the description in the archive, below its only folder."""


def load(path: Path, *, device: str = "auto") -> Engine:
    """Load a package, after its description was held against this machine.

    Args:
        path: A file of `mambaseg export --format aoti`.
        device: "auto", "cpu", "cuda" or "cuda:N"; that of the package in any case.

    Raises:
        UnfitFileError: It is no such file, has changed, or is for another version of torch, another processor or
            another device.
    """
    values = _read(path)
    made = values["aoti"]
    if made["torch"] != torch.__version__:
        raise UnfitFileError(
            f"was compiled for torch {made['torch']}, but this is {torch.__version__}: export it again"
        )
    kind = torch.device(made["device"]).type
    if device != "auto" and torch.device(device).type != kind:
        raise UnfitFileError(f"was compiled for {kind!r}, but is asked for on {device!r}: set the device to {kind!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UnfitFileError("was compiled for 'cuda', but torch sees no CUDA device here: export it again, for 'cpu'")
    machine, available = instruction_sets()
    missing = sorted(set(made["instruction_sets"]) - set(available))
    if made["machine"] != machine or missing:
        lacks = f", which lacks {', '.join(missing)}" if made["machine"] == machine else f" ({machine})"
        raise UnfitFileError(
            f"was compiled for another processor ({made['machine']}) than this one{lacks}: export it again here"
        )
    if extension.MISSING:
        raise UnfitFileError(f"calls compiled operators, which do not work here: {extension.MISSING}")
    try:
        package = torch._inductor.aoti_load_package(str(path))
    except Exception as error:  # of whatever the loader finds
        raise UnfitFileError(f"is no package that torch loads ({one_line(error)}): export it again") from error
    place = torch.device(made["device"] if device == "auto" else device)
    names = [entry["name"] for entry in values["outputs"]]
    order = [entry["name"] for entry in values["inputs"]]

    @torch.inference_mode()
    def run(inputs: Arrays) -> Arrays:
        outputs: Any = package(*(torch.from_numpy(inputs[name]).to(place) for name in order))
        outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        return {name: output.cpu().numpy() for name, output in zip(names, outputs, strict=True)}

    return Engine("aoti", torch.__version__, str(place), values, run)


def _read(path: Path) -> dict[str, Any]:
    """Return the description of a package whose code is what it was when it was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            places = [name for name in names if name.partition("/")[2] == DESCRIPTION]
            values: dict[str, Any] = json.loads(archive.read(places[0])) if places else {}
            code = code_hash(archive)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UnfitFileError(
            f"is no package of `mambaseg export --format aoti` ({one_line(error)}): export it again"
        ) from error
    if "aoti" not in values:
        raise UnfitFileError("has no description of its model and inputs; expected a package of `mambaseg export`")
    if values["aoti"]["code_sha256"] != code:
        raise UnfitFileError("holds other code than was written into it: copy or export it again")
    return values


def code_hash(archive: zipfile.ZipFile) -> str:
    """Return the SHA-256 of all files of a package but its description."""
    digest = hashlib.sha256()
    for name in sorted(archive.namelist()):
        if name.partition("/")[2] != DESCRIPTION:
            digest.update(name.partition("/")[2].encode())
            digest.update(archive.read(name))
    return digest.hexdigest()
