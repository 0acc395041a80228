"""The error of event files, and the conversion of libraries' errors to one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PACKAGES: Final = {"backports": "backports.zstd"}  # by the module that is missing, where the names differ


class EventFileError(ValueError):
    """An event file is missing, is damaged or has an unknown layout; the text names the file and the remedy."""


class RecordingWarning(UserWarning):
    """A recording is read, but not all of it, or by a guess; the text is one sentence."""


@contextmanager
def one_sentence(path: Path, expected: str, remedy: str) -> Iterator[None]:
    """Turn any `Exception` of a library inside the block into an `EventFileError` that names the file.

    On damaged files, libraries raise almost any exception. KeyboardInterrupt and SystemExit pass through.
    """
    try:
        yield
    except EventFileError:
        raise
    except ModuleNotFoundError as error:
        package = _PACKAGES.get(error.name or "", error.name)
        raise EventFileError(
            f"event file {path} needs the package {package}, which is not installed here; pip install {package}"
        ) from error
    except Exception as error:
        if not path.exists():
            raise EventFileError(f"event file {path} is missing, expected {expected}; check the path") from error
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise EventFileError(f"event file {path} cannot be read ({reason}), expected {expected}; {remedy}") from error
