"""The storage files of a bag: which there are, and how each is opened."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import yaml

from mambaseg_core.files import disk_errors_of
from mambaseg_core.recordings.bag.storage import Storage
from mambaseg_core.recordings.errors import EventFileError, RecordingWarning, one_sentence
from mambaseg_core.recordings.zstd import zstd_library

EXPECTED: Final = "a bag of ROS 2 (mcap or sqlite3) or ROS 1"
REMEDY: Final = "repair it with `ros2 bag reindex` or `mcap recover` (`rosbag reindex` for ROS 1), or record it again"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"

_SUFFIXES: Final = (".mcap", ".db3", ".bag")
_PACKED: Final = (".zstd", ".zst")
_METADATA: Final = "metadata.yaml"


def _mcap(path: Path) -> Storage:
    from mambaseg_core.recordings.bag.mcap_storage import McapStorage

    return McapStorage(path)


def _sqlite(path: Path) -> Storage:
    from mambaseg_core.recordings.bag.sqlite_storage import SqliteStorage

    return SqliteStorage(path)


def _ros1(path: Path) -> Storage:
    from mambaseg_core.recordings.bag.ros1_storage import Ros1Storage

    return Ros1Storage(path)


_OPENERS: Final[dict[bytes, Callable[[Path], Storage]]] = {  # by how a file begins; each imports its library
    b"\x89MCAP0\r\n": _mcap,
    b"SQLite format 3\0": _sqlite,
    b"#ROSBAG V": _ros1,
}


class Metadata(NamedTuple):
    """What `metadata.yaml` alone can tell: the files, and the type of each topic."""

    files: list[str]
    types: dict[str, str]


def is_bag(path: Path) -> bool:
    """Return True if a folder or a file is a bag; it may still be damaged."""
    if path.is_file():
        head = _head(path)
        return head.startswith(tuple(_OPENERS)) or (head.startswith(ZSTD_MAGIC) and _stem(path).suffix in _SUFFIXES)
    return (path / _METADATA).is_file() or bool(_storage_files(path))


def read_metadata(folder: Path) -> Metadata | None:
    """Return the content of a folder's `metadata.yaml`; None, with a warning, if that is missing or damaged."""
    path = folder / _METADATA
    try:
        content: Any = yaml.safe_load(path.read_text())["rosbag2_bagfile_information"]
        topics = [topic["topic_metadata"] for topic in content["topics_with_message_count"]]
        return Metadata(
            [PurePosixPath(file).name for file in content["relative_file_paths"]],
            {str(topic["name"]): str(topic["type"]) for topic in topics},
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        warnings.warn(f"{path} is damaged; all storage files of the folder are read", RecordingWarning, stacklevel=2)
        return None


def storage_files(path: Path, metadata: Metadata | None) -> list[Path]:
    """Return the storage files of a bag.

    Args:
        path: the bag's folder, or one of its files, which then stands alone.
        metadata: of the folder.

    Raises:
        EventFileError: a file that the metadata list is missing, or there is none.
    """
    if path.is_file():
        beside = [file for file in _storage_files(path.parent) if file != path]
        if (path.parent / _METADATA).is_file() and beside:
            text = f"{path} is one of {len(beside) + 1} files of a bag and read alone; give the folder to read all"
            warnings.warn(text, RecordingWarning, stacklevel=2)
        return [path]
    found = _storage_files(path)
    if metadata is None or not metadata.files:
        return _one_bag(path, found)
    by_name = {_stem(file).name: file for file in found}
    names = [
        name if name in by_name else name.split("\\")[-1]
        for name in (_stem(Path(file)).name for file in metadata.files)
    ]
    listed = list(dict.fromkeys(names))
    if missing := [name for name in listed if name not in by_name]:
        raise EventFileError(
            f"bag {path} lacks {', '.join(missing)}, which its metadata.yaml lists (it has "
            f"{', '.join(sorted(by_name)) or 'no storage file'}), expected all of them; copy the missing ones, or run "
            "`ros2 bag reindex` to go on without"
        )
    if unlisted := sorted(set(by_name) - set(listed)):
        left_out = ", ".join(unlisted)
        text = f"metadata.yaml of bag {path} does not list {left_out}, which is left out; `ros2 bag reindex` adds it"
        warnings.warn(text, RecordingWarning, stacklevel=2)
    return [by_name[name] for name in listed]


def _one_bag(folder: Path, found: list[Path]) -> list[Path]:
    """Return the files of a folder without metadata; raise EventFileError if they are those of several bags."""
    if not found:
        raise EventFileError(f"bag {folder} has no storage file, expected .mcap, .db3 or .bag; check the path")
    if len({re.sub(r"\d+", "#", _stem(file).name) for file in found}) > 1:
        raise EventFileError(
            f"{folder} has no metadata.yaml, and its files {', '.join(file.name for file in found[:5])} are not "
            "numbered parts of one bag, expected one bag; give one of the files, or run `ros2 bag reindex`"
        )
    return found


def open_storage(path: Path, stack: ExitStack) -> Storage:
    """Open one file by its content, unpacked to a temporary folder if it is compressed as a whole.

    Raises:
        EventFileError: it is damaged, or of another format.
    """
    with one_sentence(path, EXPECTED, REMEDY):
        head = _head(path)
        if head.startswith(ZSTD_MAGIC):
            path = _unpack(path, Path(stack.enter_context(TemporaryDirectory())))
            head = _head(path)
        for magic, opener in _OPENERS.items():
            if head.startswith(magic):
                storage = opener(path)
                stack.callback(storage.close)
                return storage
        raise ValueError(f"it begins with {head!r}" if head else "it is empty")


def _storage_files(folder: Path) -> list[Path]:
    """Return the storage files of a folder, without those that macOS adds, `bag_10` after `bag_9`.

    A file that lies there packed and unpacked is returned once.
    """
    files = [file for file in folder.iterdir() if _stem(file).suffix in _SUFFIXES and not file.name.startswith(".")]
    packed_last = sorted((file for file in files if file.is_file()), key=lambda file: file.suffix in _PACKED)
    by_name: dict[str, Path] = {}
    for file in packed_last:
        by_name.setdefault(_stem(file).name, file)
    return sorted(by_name.values(), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _stem(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in _PACKED else path


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def unpack_message(data: bytes) -> bytes:
    """Return the bytes of a message that zstd packed."""
    return bytes(zstd_library().decompress(data))


def _unpack(path: Path, folder: Path) -> Path:
    target = folder / _stem(path).name
    with disk_errors_of(target), zstd_library().open(path, "rb") as packed, target.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)
    return target
