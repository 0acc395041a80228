"""Write files and folders that appear under their name only when they are complete and on disk."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_NO_FOLDER_SYNC: Final = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)  # from file systems that sync files only

_OF_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


class WriteError(OSError):
    """A file or folder could not be written; the text is one sentence that names it and the reason."""


@contextmanager
def atomic_path(path: Path, *, salvage: bool = False) -> Iterator[Path]:
    """Yield a temporary path, and rename the file or folder written there to `path` at the end.

    The temporary path has the same name and lies in a hidden folder next to `path`, one per writer. It is synced before
    it is renamed. So, even after a crash or a power failure, `path` has either the complete old content or the complete
    new one. After any exception, `path` is unchanged and the temporary content is removed.

    Args:
        path: path in an existing folder. An old file is replaced; an old folder only if it is empty.
        salvage: after an OSError, keep the temporary content, which cannot be made again.

    Raises:
        WriteError: an OSError in the block or here, unless it names another file.
    """
    folder: Path | None = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        part = folder / path.name
        yield part
        for written in (*part.rglob("*"), part):
            _sync(written)
        part.replace(path)
        _sync(path.parent)
    except OSError as error:
        if isinstance(error, WriteError) or not _is_about(path, error):
            raise
        rest = ""
        if salvage and folder is not None:
            rest, folder = f", and recover what is in {folder}", None
        raise WriteError(_sentence(path, error) + rest) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def disk_errors_of(path: Path) -> Iterator[None]:
    """Let an error of the disk in the block, which names no file, name `path`: what is written piece by piece.

    Raises:
        WriteError: the disk is full, damaged or read-only, or the file may not grow.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_THE_DISK or error.filename is not None:
            raise
        raise WriteError(_sentence(path, error)) from error


@contextmanager
def plain_path(path: Path) -> Iterator[Path]:
    """Yield a name for a path to be written that a library can put into a URI as it is.

    A path with ?, # or % is written through a link, as `written` in its folder, and renamed at the end.
    """
    if not set("?#%") & set(str(path.absolute())):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "link")
        link.symlink_to(path.parent.absolute())
        yield link / "written"
    (path.parent / "written").rename(path)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file; see `atomic_path`."""
    with atomic_path(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8; see `atomic_path`."""
    write_bytes(path, text.encode())


def _sentence(path: Path, error: OSError) -> str:
    """Return the sentence on a file that cannot be written."""
    reason = (error.strerror or str(error) or type(error).__name__).splitlines()[0]
    return f"{path} cannot be written ({reason}); expected a folder to write in and room on the disk: check both"


def _is_about(path: Path, error: OSError) -> bool:
    """Return whether an error names no file, or a temporary file of `path`."""
    return error.filename is None or f".{path.name}." in str(error.filename)


def _sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
