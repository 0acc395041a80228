"""HDF5 files: opened in one place, where each failure gets the remedy that fits it."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import Any, Final

import h5py

from mambaseg_core.recordings.errors import EventFileError, one_sentence

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""

LAYOUTS: Final = (
    "DSEC's /events/{x,y,t,p}, /events/{xs,ys,ts,ps}, Metavision's /CD/events, MVSEC's /davis/left/events, "
    "M3ED's /prophesee/left or DDD17's /dvs/data"
)
"""The layouts of events that are read here, for error messages."""

MOST_EVENTS_PER_BYTE: Final = 10_000
"""Far above any compression of events; a damaged header may claim any length."""

_NO_EVENTS: Final = f"{LAYOUTS}; use the file as its data set publishes it, or write its events in one of these layouts"
_MOST_LISTED: Final = 8  # members of a file in an error message
_ECF: Final = 0x8ECF  # Prophesee's event compression
_NO_LOCKS: Final = tuple(f"errno = {code}" for code in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP))
_SYSTEM_REMEDIES: Final = {
    errno.EACCES: "change its permissions",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.EISDIR: "give the file in this folder",
}
_ECF_REMEDY: Final = (
    "set HDF5_PLUGIN_PATH to the folder of Prophesee's hdf5_ecf plug-in, which OpenEB and the Metavision SDK install, "
    "or use the .raw file"
)


def open_hdf5(path: Path, expected: str) -> h5py.File:
    """Open an HDF5 file for reading.

    Args:
        path: the file.
        expected: what it should be, for error messages.

    Raises:
        EventFileError: the file is missing, locked, damaged or not HDF5.
    """
    _register_filters()
    with hdf5_errors(path, expected):
        return h5py.File(path, "r")


@contextmanager
def hdf5_errors(path: Path, expected: str) -> Iterator[None]:
    """Turn any `Exception` inside the block into an `EventFileError` whose remedy fits it; see `one_sentence`."""
    try:
        yield
    except Exception as error:
        expected, remedy = _advice(path, str(error), expected)
        with one_sentence(path, expected, remedy):
            raise


@contextmanager
def kept_open(path: Path, expected: str) -> Iterator[h5py.File]:
    """Open an HDF5 file that stays open after the block, unless that raises; see `open_hdf5` and `hdf5_errors`."""
    file = open_hdf5(path, expected)
    try:
        with hdf5_errors(path, expected):
            yield file
    except BaseException:
        file.close()
        raise


def get_dataset(
    file: h5py.File, name: str, path: Path, kinds: str, dimensions: int, *, missing: str = _NO_EVENTS
) -> h5py.Dataset:
    """Return a dataset after checks of its type and its compression.

    Args:
        file: the open file.
        name: of the dataset, without the first slash.
        path: of the file, for error messages.
        kinds: NumPy's kinds of dtype that it may have, such as "iu"; "V" is a compound type.
        dimensions: number of its dimensions.
        missing: what is expected in its place and what to do, for error messages.

    Raises:
        EventFileError: it is missing, has another type or shape, or the filter that unpacks it is not installed.
    """
    found = file.get(name)
    if found is None:
        raise EventFileError(f"{path} has no /{name} (it has {', '.join(_members(file))}), expected {missing}")
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in kinds or found.ndim != dimensions:
        got = f"{found.dtype} {list(found.shape or ())}" if isinstance(found, h5py.Dataset) else "a group"
        numbers = {"i": "integers", "f": "floats", "V": "a table"}
        wanted = " or ".join(word for kind, word in numbers.items() if kind in kinds)
        shape = ", ".join(["N", "*", "*", "*"][:dimensions])
        raise EventFileError(
            f"/{name} of {path} is {got}, expected {wanted} [{shape}]; use the file as its data set publishes it"
        )
    _require_filters(found, name, path)
    return found


def choose_camera(path: Path, groups: tuple[str, ...], camera: str | None) -> str:
    """Return the group of a camera, given by the last part of its name; the first group without a name.

    Raises:
        EventFileError: there is no such camera.
    """
    for group in groups:
        if camera is None or camera.rstrip("/").rpartition("/")[2] == group.rpartition("/")[2]:
            return group
    raise EventFileError(f"{path} has no camera {camera!r}, expected one of {', '.join(groups)}; give one as the topic")


def has_members(path: Path, *names: str) -> bool:
    """Return whether an HDF5 file has all these members; False if it cannot be opened."""
    try:
        with h5py.File(path, "r") as file:
            return all(name in file for name in names)
    except Exception:  # the format that takes the file raises the error
        return False


def _register_filters() -> bool:
    """Register the filters of hdf5plugin; return whether it is installed."""
    try:
        import hdf5plugin  # noqa: F401
    except ImportError:
        return False
    return True


def _require_filters(dataset: h5py.Dataset, name: str, path: Path) -> None:
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, word = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            remedy = "pip install hdf5plugin"
            if code == _ECF:
                remedy = _ECF_REMEDY
            elif _register_filters():  # it has other filters
                remedy = "install the filter's plug-in and set HDF5_PLUGIN_PATH to its folder"
            raise EventFileError(
                f"/{name} of {path} is packed with HDF5 filter {code} ({'ECF' if code == _ECF else word.decode()}), "
                f"which is not installed, expected one that h5py finds; {remedy}"
            )


def _advice(path: Path, reason: str, expected: str) -> tuple[str, str]:
    """Return what was expected of a file that cannot be read for a reason, and the remedy."""
    unwritten = "a file that no program has open for writing"
    if "already open for" in reason:  # a flag in the file, which a killed writer leaves behind
        clear = f"h5clear -s {quote(str(path))}"
        return unwritten, f"end that program, or, if it was killed, run h5clear (package hdf5-tools): {clear}"
    if "unable to lock file" in reason:
        if any(number in reason for number in _NO_LOCKS):
            return "a file system with locks", "set HDF5_USE_FILE_LOCKING=FALSE"
        return unwritten, "end that program; if there is none, set HDF5_USE_FILE_LOCKING=FALSE"
    found = re.search(r"errno = ([1-9]\d*)", reason)
    if found is None:
        return expected, "it is damaged: copy, download or record it again"
    return expected, _SYSTEM_REMEDIES.get(int(found[1]), "check the disk and the network, and try again")


def _members(file: h5py.File) -> list[str]:
    """Return the file's first datasets, or its groups if it has no dataset."""
    names: list[str] = []

    def visit(name: str, member: Any) -> bool | None:
        if isinstance(member, h5py.Dataset):
            names.append(f"/{name} {member.dtype} {list(member.shape or ())}")
        return len(names) >= _MOST_LISTED or None

    with suppress(Exception):  # a damaged member
        file.visititems(visit)
    return names or [f"/{name}" for name in file] or ["nothing"]
