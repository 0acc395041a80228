"""What a process keeps of freed memory, and gives back after a burst."""

from __future__ import annotations

import itertools
import platform
import subprocess
import sys

import pytest

from mambaseg_core.memory import BURST, LOOKS, BurstMemory

HELD = """
import sys, torch
from mambaseg_core.memory import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
parts = [torch.ones(5_000_000) for _ in range(4)]
size = lambda: int(open("/proc/self/statm").read().split()[0]) * 4096
full = size()
del parts
print(full - size())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="keep_memory speaks to glibc")
def test_memory_kept_is_not_mapped_again() -> None:
    """Four results of 20 MB stay in the process after keep_memory; without it, they are unmapped when freed."""
    returned = {
        word: int(subprocess.run([sys.executable, "-c", HELD, word], check=True, capture_output=True).stdout)
        for word in ("keep", "return")
    }
    assert returned["keep"] < 20e6 < 79e6 < returned["return"]


def looks(*bursts: int) -> list[int]:
    """Return the numbers of the looks at which memory went back; each number of `BURST`s is held for one look."""
    memory = BurstMemory()
    return [number for number, held in enumerate(bursts) if memory.look(held * BURST)]


def test_memory_goes_back_once_a_burst_is_over_for_some_looks() -> None:
    assert looks(0, 3, *[1] * 20) == [1 + LOOKS]
    assert looks(0, 3, *[2] * 20, *[1] * 20) == [1 + LOOKS, 21 + LOOKS]
    assert looks(0, 1, *[0] * 20, 1, *[0] * 20) == [1 + LOOKS, 22 + LOOKS]


def test_memory_stays_while_bursts_come_again() -> None:
    assert looks(*[3, 0] * 20) == []
    assert looks(*itertools.chain.from_iterable([3, *[0] * (LOOKS - 1)] for _ in range(9))) == []
    assert looks(*range(20)) == []
    memory = BurstMemory()
    assert not any(memory.look(held) for held in (BURST - 1, *[0] * 20))


BURST_OF_EVENTS = """
import sys
import numpy as np
from mambaseg_core.events import EventBuffer, Events
from mambaseg_core.memory import BurstMemory, keep_memory

resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
keep_memory()
buffer, memory = EventBuffer(240, 320, max_age_ns=10**9, max_bytes=256 << 20), BurstMemory()
column, t_ns = np.zeros(100_000, np.uint16), np.arange(100_000) * 10
packet = lambda number: Events(column, column, t_ns + number * 10**6, np.ones(100_000, np.int8), 240, 320)
before = resident()
for number in range(300):
    buffer.push(packet(number))
memory.look(buffer.nbytes)
full = resident()
for number in range(10_000, 10_005):
    buffer.push(packet(number))
for _ in range(10 if sys.argv[1] == "look" else 0):
    memory.look(buffer.nbytes)
print(full - before, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="keep_memory speaks to glibc")
@pytest.mark.parametrize(("word", "kept"), [("look", 0.1), ("do not look", 0.9)])
def test_the_memory_of_a_burst_of_events_goes_back(word: str, kept: float) -> None:
    done = subprocess.run([sys.executable, "-c", BURST_OF_EVENTS, word], check=True, capture_output=True)
    full, left = map(int, done.stdout.split())
    assert full > 200e6
    assert left < kept * full if word == "look" else left > kept * full
