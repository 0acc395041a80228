"""What a processor can do, as far as native code depends on it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

_EXTENSIONS: Final = (
    "sse", "ssse", "avx", "fma", "bmi", "amx", "f16c", "abm", "popcnt", "movbe", "gfni", "vaes", "vpclmul", "adx",
    "aes", "sha", "pclmul", "cldemote", "movdir", "asimd", "sve", "sme", "bf16", "i8mm", "atomics",
)  # fmt: skip


def instruction_sets() -> tuple[str, list[str]]:
    """Return the machine's architecture and its processor's instruction sets, sorted, by the names that Linux has."""
    return platform.machine(), sorted(name for name in _flags() if name.startswith(_EXTENSIONS))


def _flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.is_file() else ():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()
