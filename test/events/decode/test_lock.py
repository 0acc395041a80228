"""What is done to events runs without Python's lock (the GIL): another thread goes on meanwhile."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from mambaseg_core.events import Events, Window
from mambaseg_core.events.buffer import EventBuffer
from mambaseg_core.events.decode import ENCODINGS, compiled
from mambaseg_core.events.decode.state import DecoderState
from mambaseg_core.ops import schemas, selection  # noqa: F401  load the operators

pytestmark = pytest.mark.skipif(bool(compiled.missing()), reason=f"no compiled decoders: {compiled.missing()}")

EVENTS = 4_000_000
TURNS = 20_000  # in one of them the other thread gets a core, however busy the machine is


class Counter:
    """A thread that counts, and takes the lock only while nobody holds it."""

    def __init__(self) -> None:
        self.count, self.ended = 0, False
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self.ended:
            self.count += 1
            time.sleep(0)  # gives the lock away, which it would never be asked for

    def goes_on_during(self, work: Callable[[], object], turns: int = TURNS) -> bool:
        """Return whether it counts at least ten times during one of the calls."""
        for _ in range(turns):
            before = self.count
            work()
            if self.count - before > 10:
                return True
        return False


@pytest.fixture
def counter() -> Iterator[Counter]:
    counter, interval = Counter(), sys.getswitchinterval()
    sys.setswitchinterval(1e6)  # a thread that does not give the lock away keeps it
    counter.thread.start()
    try:
        yield counter
    finally:
        counter.ended = True
        counter.thread.join()
        sys.setswitchinterval(interval)


def test_the_counter_stands_while_the_lock_is_held(counter: Counter) -> None:
    assert not counter.goes_on_during(lambda: sum(range(10_000)), turns=200)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_decoder_does_not_hold_the_lock(counter: Counter, encoding: str) -> None:
    octets, state = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8), DecoderState(480, 640)
    bound, decode = compiled._functions(encoding)  # without what NumPy does beside it, which gives the lock away
    # long enough for the other thread to get a core in the meantime
    octets = np.tile(octets, max(1, EVENTS // bound(octets.ctypes.data, len(octets))))
    room = bound(octets.ctypes.data, len(octets))
    columns = [np.empty(room, kind) for kind in (np.uint16, np.uint16, np.int64, np.int8)]
    places = [column.ctypes.data for column in columns]
    assert counter.goes_on_during(lambda: decode(octets.ctypes.data, len(octets), 0, state, *places))


def test_windows_and_voxel_grids_do_not_hold_the_lock(counter: Counter) -> None:
    rng = np.random.default_rng(0)
    x, y, p = (rng.integers(0, below, 2_000_000) for below in (640, 480, 2))
    events = Events.from_arrays(x, y, np.sort(rng.integers(0, 50_000_000, len(x))), p, height=480, width=640)
    buffer = EventBuffer(480, 640)
    for part in range(0, len(events), 100_000):
        buffer.push(events.part(part, part + 100_000))
    window = Window(duration_ns=50_000_000)
    assert counter.goes_on_during(lambda: buffer.window(50_000_000, window))
    columns = [torch.from_numpy(column.copy()) for column in (events.x, events.y, events.t_ns, events.p)]
    edges, operators = torch.tensor([0, 50_000_000]), torch.ops.mambaseg
    whole, small = torch.empty(10, 480, 640), torch.empty(10, 240, 320)
    assert counter.goes_on_during(lambda: operators.voxel_grid_(whole, *columns, edges, True))
    assert counter.goes_on_during(lambda: operators.voxel_grid_resized_(small, *columns, edges, True, 440, 640))
