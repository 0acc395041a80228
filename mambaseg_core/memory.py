"""What this process keeps of the memory that it has freed (glibc; elsewhere nothing happens)."""

from __future__ import annotations

import ctypes
from collections import deque
from typing import Any, Final

BURST: Final = 64 << 20  # bytes: less is not worth the 6,000 to 20,000 pages that the next frame maps anew
LOOKS: Final = 5
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h


def keep_memory() -> None:
    """Have this process keep freed memory for its next frame.

    By default large results go back to the system, and each frame maps 6,000 to 20,000 pages anew. The threads share
    one arena, because that of a thread gives its memory back whatever its thresholds say.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, (1 << 31) - 1)):
            mallopt(option, value)


def give_back_memory() -> None:
    """Return all freed memory to the system; the next frame maps its pages anew."""
    malloc_trim = _of_glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


class BurstMemory:
    """Memory that a burst of messages has left behind, which `keep_memory` would keep for good."""

    def __init__(self) -> None:
        self._peak = 0
        self._recent: deque[int] = deque(maxlen=LOOKS)

    def look(self, held: int) -> bool:
        """Return freed memory to the system if the bytes held fell by `BURST` and stayed low for `LOOKS` calls.

        Returns:
            True if it did.
        """
        self._recent.append(held)
        self._peak = max(self._peak, held)
        lately = max(self._recent)
        if self._peak - lately < BURST:
            return False
        self._peak = lately
        give_back_memory()
        return True


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
