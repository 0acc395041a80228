"""Files of torch.save, read without running code in them.

torch reads them with `weights_only=True`; of all classes only numpy's scalars and arrays are added.
"""

from __future__ import annotations

import re
import struct
import warnings
import zipfile
import zlib
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch.serialization import get_safe_globals, get_unsafe_globals_in_checkpoint, safe_globals

from mambaseg_core.tensor_files.container import AGAIN, Container, refuse

# What zipfile raises on a damaged archive.
_BROKEN: Final = (
    *(zipfile.BadZipFile, zlib.error, struct.error, UnicodeDecodeError),
    *(EOFError, OSError, NotImplementedError, RuntimeError),
)


def read_torch(path: Path, container: Container) -> Any:
    """Return what a file of torch.save holds.

    Raises:
        ValueError: The file is cut or damaged, or holds objects of other classes than tensors and plain values.
    """
    if container == "zip":
        _require_archive(path)
    added = [entry for entry in _NUMPY if entry not in get_safe_globals()]
    with path.open("rb") as file, warnings.catch_warnings(), safe_globals(added):  # torch goes by a path's suffix
        warnings.simplefilter("ignore")
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # the restricted unpickler raises whatever hostile bytes lead it to
            if "EOF" in f"{type(error).__name__}{error}":
                refuse(path, f"cut: it ends after {path.stat().st_size} bytes", AGAIN)
            if "Unsupported operand" in str(error):
                refuse(
                    path,
                    "of a pickle protocol that torch reads only by running code",
                    "save it without the argument pickle_protocol",
                )
            classes = _foreign_classes(path, container, str(error))
            if not classes:
                refuse(path, f"damaged, or not a file of tensors ({type(error).__name__})", AGAIN)
            raise ValueError(_strip(path, classes)) from error


def _foreign_classes(path: Path, container: Container, message: str) -> list[str]:
    """Return the names of the classes and functions that keep torch from reading a file."""
    named = re.findall(r"GLOBAL ([\w.]+)", message)
    if container == "zip" and named:
        with suppress(Exception):  # as torch.load on hostile bytes
            named = get_unsafe_globals_in_checkpoint(path) or named
    others = sorted({name for name in named if not name.startswith("builtins.")})
    return others or sorted(set(named))


def _require_archive(path: Path) -> None:
    """Refuse a zip archive that is cut or damaged, or that torch.save did not write; torch checks no checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
            if "data.pkl" not in entries:
                inside = ", ".join(archive.namelist()[:3])
                refuse(path, f"a zip archive of {inside}", "unpack it, and give the file of weights")
            if "constants.pkl" in entries:
                refuse(path, "a TorchScript program", "save its state_dict() with torch.save")
            damaged = next((name for name, entry in entries.items() if not _is_whole(archive, entry)), None)
    except _BROKEN:
        refuse(path, f"cut: a zip archive of {path.stat().st_size} bytes without the directory at its end", AGAIN)
    if damaged:
        refuse(path, f"damaged: {damaged} in it does not match its checksum", AGAIN)


def _is_whole(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Return whether an entry matches its checksum; 0 stands for none (torch.serialization.set_crc32_options)."""
    try:
        with archive.open(entry) as file:
            while entry.CRC and file.read(1 << 20):
                pass
    except _BROKEN:
        return False
    return True


def _strip(path: Path, classes: list[str]) -> str:
    """Return the sentence on a file with objects of other classes, and how to be rid of them."""
    load, hint = f"torch.load({path.name!r}, weights_only=False)", ""
    if any(name.startswith("torch.nn.modules.") for name in classes):
        kind, tensors = "a whole model", f"{load}.state_dict()"
    else:
        kind, tensors, hint = "more", f"{load}['state_dict']", " (or the key that holds them, such as 'model')"
    names = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
    return (
        f"weights file {path} is not a file of tensors alone: it holds {kind} ({names}), and code in a file is never "
        f"run; expected tensors and plain values: where you trust the file, save its tensors alone, "
        f"torch.save({tensors}, 'tensors.pth'){hint}"
    )


def _numpy_globals() -> list[Any]:
    """Return what numpy's scalars and arrays need; object arrays pass through the same restricted unpickler."""
    module = import_module("numpy._core.multiarray" if hasattr(np, "_core") else "numpy.core.multiarray")
    functions = [
        (getattr(module, name), f"numpy.{core}.multiarray.{name}")
        for name in ("scalar", "_reconstruct")
        for core in ("core", "_core")  # before numpy 2, and since
    ]
    return [np.ndarray, np.dtype, *{type(np.dtype(code)) for code in np.typecodes["All"]}, *functions]


_NUMPY: Final = _numpy_globals()
