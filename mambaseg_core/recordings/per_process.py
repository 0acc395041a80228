"""File handles that survive pickling and forking."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar


class Closable(Protocol):
    """An open file."""

    def close(self) -> None:
        """Close the file."""


T = TypeVar("T", bound=Closable)


class PerProcess(Generic[T]):
    """A file that each process opens for itself at its first use, so that no two processes share a file position.

    Args:
        opener: opens the file; can be pickled.
    """

    def __init__(self, opener: Callable[[], T]) -> None:
        self._opener = opener
        self._file: T | None = None
        self._pid = -1

    def __reduce__(self) -> tuple[Any, ...]:
        return PerProcess, (self._opener,)

    def get(self) -> T:
        """Return the open file."""
        if self._file is None or self._pid != os.getpid():
            self._file = self._opener()
            self._pid = os.getpid()
        return self._file

    def close(self) -> None:
        """Close the file; `get` opens it again."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None
