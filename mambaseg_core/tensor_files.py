"""Files of tensors, known by their bytes: archives and older pickles of torch.save, and safetensors.

No code in a file is ever run: torch reads with `weights_only=True`, to which numpy's scalars and arrays are added.
"""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch.serialization import get_safe_globals, get_unsafe_globals_in_checkpoint, safe_globals

Container: TypeAlias = Literal["zip", "pickle", "safetensors"]

_ZIP: Final = b"PK\x03\x04"
_TORCH_PICKLE: Final = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the number that opens a file of torch before 1.6
_HEAD: Final = 512  # bytes that tell what a file is
_AGAIN: Final = "copy or download it again"

# What a file begins with that is not one of tensors: what it is, and what to do.
_OTHERS: Final = (
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull` where it was cloned"),
    (rb"/annex/objects|\.\./.*annex/objects", "a git-annex pointer, not the file itself", "run `git annex get` on it"),
    (
        rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)",
        "a web page (HTML)",
        "download the file behind it",
    ),
    (rb"(\xef\xbb\xbf)?\s*<", "an XML page, as a server answers an error with", "download the file itself"),
    (rb"\x1f\x8b", "a gzip archive", "unpack it (gunzip, or tar -xzf)"),
    (rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", "a packed archive (bzip2, xz, zstd, 7z or rar)", "unpack it"),
    (rb"(?s).{257}ustar", "a tar archive", "unpack it (tar -xf)"),
    (rb"\x80[\x02-\x05]", "a Python pickle that torch.save did not write", "save its tensors with torch.save"),
    (rb"\x89HDF", "an HDF5 file", "give the file of weights"),
    (rb"\x93NUMPY", "a numpy array", "give the file of weights"),
    (rb"\x00{64}", "zeros, as an interrupted download leaves them", _AGAIN),
)


def container_of(path: Path) -> Container:
    """Return what a file is: an archive of torch.save, one of its older pickles, or safetensors.

    Raises:
        ValueError: It is missing, cannot be read, or is anything else; the sentence says what it is.
    """
    head, size = _read_head(path), path.stat().st_size
    if head.startswith(_ZIP):
        return "zip"
    if _TORCH_PICKLE in head[:32]:
        return "pickle"
    if not head:
        _refuse(path, "empty", _AGAIN)
    for pattern, what, remedy in _OTHERS:
        if re.match(pattern, head):
            _refuse(path, what, remedy)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < max(size, 1 << 27):
        return "safetensors"
    if head.lstrip()[:1] in (b"{", b"["):
        parts = b'"weight_map"' in path.read_bytes()
        what = "the index of weights in several files" if parts else f"JSON that begins with {_shown(head)}"
        _refuse(path, what, "give the file of weights, or merge its parts" if parts else "download the file itself")
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        _refuse(path, f"text that begins with {_shown(head)}", "give the file of weights")
    _refuse(path, f"of an unknown format (it begins with the bytes {head[:8].hex(' ')})", "give the file of weights")


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
        _refuse(path, f"a damaged safetensors file ({error})", _AGAIN)


def read_tensors(path: str | Path) -> dict[str, Any]:
    """Return what a file of tensors holds: tensors by name, with torch.save also plain values and nested dicts.

    Raises:
        ValueError: The file is missing, cut or damaged, is no file of tensors, or holds objects of other classes.
    """
    path = Path(path)
    container = container_of(path)
    if container == "safetensors":
        return _read_safetensors(path)
    if container == "zip":
        _require_archive(path)
    state = _read_torch(path, container)
    if not isinstance(state, Mapping):
        raise ValueError(f"weights file {path} holds a {type(state).__name__}; expected a dict of tensors: save one")
    return dict(state)


def _read_head(path: Path) -> bytes:
    if path.is_symlink() and not path.exists():
        raise ValueError(f"weights file {path} is a link to {path.readlink()}, which does not exist: {_AGAIN}")
    if path.is_dir():
        inside = sorted(file.name for file in path.iterdir() if file.suffix in (".safetensors", ".pth", ".pt", ".ckpt"))
        found = f" (it has {', '.join(inside[:3])})" if inside else ""
        raise ValueError(f"weights file {path} is a folder; expected a file: give one{found}")
    if not path.is_file():
        raise ValueError(f"weights file {path} does not exist; expected a .safetensors or .pth file: check the path")
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise ValueError(
            f"weights file {path} cannot be read ({error.strerror}); expected a file to read: check its owner and mode"
        ) from error


def _refuse(path: Path, what: str, remedy: str) -> NoReturn:
    raise ValueError(
        f"weights file {path} is {what}; expected tensors in a file of torch.save or in safetensors: {remedy}"
    )


def _shown(head: bytes) -> str:
    line = head.decode(errors="replace").strip().splitlines()[0]
    return repr(line[:60] + ("..." if len(line) > 60 else ""))


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
        _refuse(path, f"cut: safetensors of at least {whole} bytes, of which {size} are there", _AGAIN)


def _read_safetensors(path: Path) -> dict[str, Any]:
    _require_whole(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        _refuse(path, f"a damaged safetensors file ({error})", _AGAIN)


def _require_archive(path: Path) -> None:
    """Refuse a zip archive that is cut or damaged, or that torch.save did not write; torch checks no checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
            if "data.pkl" not in entries:
                inside = ", ".join(archive.namelist()[:3])
                _refuse(path, f"a zip archive of {inside}", "unpack it, and give the file of weights")
            if "constants.pkl" in entries:
                _refuse(path, "a TorchScript program", "save its state_dict() with torch.save")
            damaged = next((name for name, entry in entries.items() if not _is_whole(archive, entry)), None)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
        _refuse(path, f"cut or damaged: a zip archive of {path.stat().st_size} bytes ({error})", _AGAIN)
    if damaged:
        _refuse(path, f"damaged: {damaged} in it does not match its checksum", _AGAIN)


def _is_whole(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Return whether an entry matches its checksum; 0 stands for none (torch.serialization.set_crc32_options)."""
    try:
        with archive.open(entry) as file:
            while entry.CRC and file.read(1 << 20):
                pass
    except zipfile.BadZipFile:
        return False
    return True


def _read_torch(path: Path, container: Container) -> Any:
    added = [entry for entry in _NUMPY if entry not in get_safe_globals()]
    with warnings.catch_warnings(), safe_globals(added):
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # the restricted unpickler raises whatever hostile bytes lead it to
            if "EOF" in f"{type(error).__name__}{error}":
                _refuse(path, f"cut: it ends after {path.stat().st_size} bytes", _AGAIN)
            if "Unsupported operand" in str(error):
                _refuse(
                    path,
                    "of a pickle protocol that torch reads only by running code",
                    "save it without the argument pickle_protocol",
                )
            classes = _foreign_classes(path, container, str(error))
            if not classes:
                _refuse(path, f"damaged, or not a file of tensors ({type(error).__name__})", _AGAIN)
            raise ValueError(_strip(path, classes)) from error


def _foreign_classes(path: Path, container: Container, message: str) -> list[str]:
    """Return the names of the classes and functions that keep torch from reading a file."""
    named = re.findall(r"GLOBAL ([\w.]+)", message)
    if container == "zip" and named:
        named = get_unsafe_globals_in_checkpoint(path) or named
    others = sorted({name for name in named if not name.startswith("builtins.")})
    return others or sorted(set(named))


def _strip(path: Path, classes: list[str]) -> str:
    """Return the sentence on a file with objects of other classes, and how to be rid of them."""
    load = f"torch.load({path.name!r}, weights_only=False)"
    names = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
    if any(name.startswith("torch.nn.modules.") for name in classes):
        kind, tensors = "a whole model", f"{load}.state_dict()"
    else:
        kind, tensors = "more", f"{load}['state_dict']"  # or 'model', ...
    return (
        f"weights file {path} is not a file of tensors alone: it holds {kind} ({names}), and code in a file is never "
        f"run; expected tensors and plain values: where you trust the file, save its tensors alone, "
        f"torch.save({tensors}, 'tensors.pth')"
        + ("" if kind == "a whole model" else " (or the key that holds them, such as 'model')")
    )


def _numpy_globals() -> list[Any]:
    """Return what numpy's scalars and arrays need; object arrays pass through the same restricted unpickler."""
    core = np._core if hasattr(np, "_core") else np.core
    functions = {"scalar": core.multiarray.scalar, "_reconstruct": core.multiarray._reconstruct}
    return [
        np.ndarray,
        np.dtype,
        *{type(np.dtype(code)) for code in np.typecodes["All"]},
        *(
            (function, f"numpy.{core}.multiarray.{name}")
            for name, function in functions.items()
            for core in ("core", "_core")
        ),
    ]


_NUMPY: Final = _numpy_globals()
