"""Behavior common to all decoders: arguments, counters, sequence numbers; and the real recordings."""

from __future__ import annotations

import array
import ctypes
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from mambaseg_core import extension
from mambaseg_core.events import Decoder, Events, decode
from mambaseg_core.events.decode import ENCODINGS, compiled

DATA = Path(__file__).parent / "data"
SIZE = {"height": 4, "width": 4}
ON_MONO = bytes.fromhex("e803000001000280")  # at 1000 ns, column 1, row 2, ON


def words(*values: int) -> bytes:
    return np.array(values, "<u2").tobytes()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_bytes_and_half_a_word(encoding: str, backend: str) -> None:
    decoder = Decoder(encoding, height=480, width=640, backend=backend)
    assert len(decoder.decode(b"")) == 0
    assert len(decoder.decode(b"\x01", seq=0)) == 0
    assert decoder.counters.truncated_bytes == 1
    assert decoder.counters.packets == 2


@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        bytearray,
        memoryview,
        lambda d: np.frombuffer(d, np.uint8),
        lambda d: array.array("B", d),
        lambda d: np.repeat(np.frombuffer(d, np.uint8), 2)[::2],
        lambda d: memoryview(np.repeat(np.frombuffer(d, np.uint8), 2))[::2],
        lambda d: memoryview(b"." + d)[1:],
    ],
)
def test_every_kind_of_bytes(wrap: Callable[[bytes], Any], backend: str) -> None:
    events = Decoder("mono", backend=backend, **SIZE).decode(wrap(ON_MONO))
    assert (events.x.tolist(), events.y.tolist(), events.t_ns.tolist(), events.p.tolist()) == ([1], [2], [1000], [1])


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: Decoder("evt9", **SIZE), ValueError, "'evt9', expected one of evt3, evt2, evt21, evt21_legacy,"),
        (lambda: Decoder("mono", height=0, width=4), ValueError, "height is 0"),
        (lambda: Decoder("mono", backend="triton", **SIZE), ValueError, "'triton', expected cpu or reference"),
        (lambda: decode("mono", cast(Any, "text"), **SIZE), TypeError, "data is str"),
        (lambda: decode("mono", cast(Any, np.zeros(3)), **SIZE), TypeError, "float64 array"),
        (lambda: decode("mono", b"", time_base_ns=2**63, **SIZE), ValueError, str(2**63)),
        (lambda: decode("mono", b"", time_base_ns=-1, **SIZE), ValueError, "time_base_ns is -1"),
    ],
)
def test_what_is_refused(call: Callable[[], object], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()


WITHOUT = """
import pathlib, warnings
exists = pathlib.Path.exists
pathlib.Path.exists = lambda p: p.name != "_C.so" and exists(p)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    from mambaseg_core.events import Decoder
    for _ in range(2):
        events = Decoder("mono", height=4, width=4).decode(bytes.fromhex("e803000001000280"))
print(len(seen), events.t_ns.tolist(), seen[0].message)
try:
    Decoder("mono", height=4, width=4, backend="cpu")
except ValueError as error:
    print(error)
"""


def test_without_the_extension_one_warning_says_what_to_do() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=300, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("1 [1000] mambaseg runs")
    assert "in plain Python, a hundred times slower" in first
    assert "_C.so does not exist" in first
    assert second.startswith("backend is 'cpu', which does not work here")
    assert "pip install --no-build-isolation ." in second


@pytest.mark.parametrize(
    ("symbol", "sentence"),
    [
        (lambda name, arguments: lambda *_: 8, "of another version than this code (a state of 8 bytes)"),
        (lambda name, arguments: ctypes.CDLL(None)[name], "is older than this code"),
    ],
)
def test_an_old_library_is_not_used(symbol: Any, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiled.missing():
        pytest.skip(f"compiled decoders: {compiled.missing()}")
    caches = (compiled.missing, compiled._functions)
    with monkeypatch.context() as patch:
        patch.setattr(extension, "symbol", symbol)
        for cache in caches:
            cache.cache_clear()
        assert sentence in compiled.missing()
    for cache in caches:
        cache.cache_clear()
    assert compiled.missing() == ""


def test_columns_run_on_and_a_gap_ends_it(backend: str) -> None:
    decoder = Decoder("libcaer_cmp", height=260, width=346, backend=backend)
    decoder.decode(words(0x2009, 0x0001, 0x4805, 0x5001), seq=7)
    # column, base and polarity run on; the clock does not
    events = decoder.decode(words(0x3002, 0x5001), seq=8)
    assert (events.x.tolist(), events.y.tolist(), events.t_ns.tolist()) == ([9, 9], [2, 13], [0, 0])
    assert decoder.counters.seq_gaps == 0
    assert len(decoder.decode(words(0x3002, 0x5001), seq=11)) == 0
    assert (decoder.counters.seq_gaps, decoder.counters.lost_packets) == (1, 2)
    decoder.decode(b"", seq=11)  # repeated
    decoder.decode(b"", seq=0)  # the publisher restarts
    assert (decoder.counters.seq_gaps, decoder.counters.lost_packets) == (3, 2)


def test_evt3_finds_its_place_again_after_a_gap(backend: str) -> None:
    decoder = Decoder("evt3", height=720, width=1280, backend=backend)
    head = decoder.decode(words(0x8FF0, 0x6001, 0x0003, 0x3064, 0x2001), seq=1)
    assert head.t_ns.tolist() == [(0xFF0 << 12 | 1) * 1000]
    # row and clock run on; after the gap the events wait for TIME_HIGH, TIME_LOW, ADDR_Y and VECT_BASE_X
    assert len(decoder.decode(words(0x2001), seq=2)) == 1
    packet = words(0x2001, 0x6002, 0x2001, 0x8001, 0x2001, 0x6002, 0x2001, 0x4001, 0x0004, 0x4001, 0x2005)
    events = decoder.decode(packet, seq=9)
    assert (events.x.tolist(), events.y.tolist()) == ([5], [4])
    assert events.t_ns.tolist() == [((1 << 24) + (1 << 12) + 2) * 1000]  # the clock wrapped meanwhile
    assert decoder.counters.unplaced == 6
    assert (decoder.counters.seq_gaps, decoder.counters.lost_packets) == (1, 6)
    # a publisher that restarts: an earlier time is no wrap
    again = decoder.decode(words(0x8000, 0x6000, 0x0000, 0x2000), seq=0)
    assert again.t_ns.tolist() == [(1 << 24) * 1000]


def test_outside_is_dropped_and_counted(backend: str) -> None:
    decoder = Decoder("mono", height=3, width=1, backend=backend)
    assert len(decoder.decode(ON_MONO * 3)) == 0
    assert (decoder.counters.outside, decoder.counters.events) == (3, 0)


def test_threads_decode_side_by_side() -> None:
    data = (DATA / "davis346_libcaer_cmp.bin").read_bytes()
    expected = decode("libcaer_cmp", data, height=260, width=346)
    wrong: list[int] = []

    def work() -> None:
        decoder = Decoder("libcaer_cmp", height=260, width=346)
        for _ in range(50):
            wrong.extend([1] * (not np.array_equal(decoder.decode(data).y, expected.y)))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_one_real_packet_carried_here(backend: str) -> None:
    data, base_ns = (DATA / "davis346_libcaer_cmp.bin").read_bytes(), 1744227145722711000
    events = Decoder("libcaer_cmp", height=260, width=346, backend=backend).decode(data, base_ns)
    assert (len(events), int((events.p > 0).sum())) == (5022, 1757)
    assert (events.t_ns[0], events.t_ns[-1]) == (1744227145722711000, 1744227145732708000)


def decode_all(messages: list[Any], backend: str) -> tuple[Decoder, Events]:
    """Decode the packets of a recording; the decoder's fault counters must be 0."""
    first = messages[0]
    decoder = Decoder(first.encoding, height=first.height, width=first.width, backend=backend)
    events = Events.concatenate([decoder.decode(m.events, m.time_base, m.seq) for m in messages])
    counters = asdict(decoder.counters)
    assert (counters.pop("packets"), counters.pop("events")) == (len(messages), len(events))
    assert set(counters.values()) == {0}
    return decoder, events


def sums(events: Events) -> list[int]:
    """Return the sums of time (as Python's integers), column and row, and the number of ON events."""
    t_ns = sum(events.t_ns.tolist())
    return [t_ns, int(events.x.sum(dtype=np.int64)), int(events.y.sum(dtype=np.int64)), int((events.p > 0).sum())]


def test_recording_libcaer_cmp(packets: Callable[[str], list[Any]], backend: str) -> None:
    messages = packets("test_events_2")
    _, events = decode_all(messages, backend)
    alone = [decode("libcaer_cmp", m.events, height=260, width=346, time_base_ns=m.time_base) for m in messages]
    assert len(messages) == 100
    assert len(events) == sum(map(len, alone)) == 571_266
    assert (int((events.p < 0).sum()), int((events.p > 0).sum())) == (360_223, 211_043)
    assert (events.t_ns[0], events.t_ns[-1]) == (1744227144732712000, 1744227145732708000)


def test_recording_mono(packets: Callable[[str], list[Any]], backend: str) -> None:
    _, events = decode_all(packets("mono_cd"), backend)
    assert len(events) == 100
    assert sums(events) == [4_950_000, 34_450, 26_450, 50]


def test_recording_evt3(packets: Callable[[str], list[Any]], backend: str) -> None:
    decoder, events = decode_all(packets("evt3_trigger"), backend)
    assert decoder.counters.packets == 105
    assert len(events) == 82_469
    assert sums(events) == [1_222_326_831_810_000, 42_078_718, 31_656_267, 41_439]
    triggers = decoder.triggers()
    assert triggers.t_ns.tolist() == [14_547_491_000, 14_549_491_000]
    assert (triggers.channel.tolist(), triggers.edge.tolist()) == ([0, 0], [-1, 1])


def test_recording_libcaer_rolls_over(packets: Callable[[str], list[Any]], backend: str) -> None:
    messages = packets("libcaer_rollover")
    _, events = decode_all(messages, backend)
    assert len({m.time_base for m in messages}) == 2
    assert len(events) == 334_331
    t_ns, x, y, on = sums(events)
    assert t_ns % 2**64 == 15762826572202229126
    assert (x, y, on) == (111_651_612, 82_801_007, 181_908)


def test_recording_evt2(shared_data: Path, backend: str) -> None:
    data = (shared_data / "prophesee" / "gen3_vga_evt2.raw").read_bytes()
    start = 0
    while data[start : start + 1] == b"%":
        start = data.index(b"\n", start) + 1
    decoder = Decoder("evt2", height=480, width=640, backend=backend)
    events = decoder.decode(data[start:])
    assert len(events) == 521_252
    assert (events.t_ns[0], events.t_ns[-1]) == (913_716_224_000, 913_812_095_000)
    counters = asdict(decoder.counters)
    assert sum(counters.values()) == 1 + 521_252
    parts = Decoder("evt2", height=480, width=640, backend=backend)
    cut = [parts.decode(data[at : at + 99_996]) for at in range(start, len(data), 99_996)]
    assert np.array_equal(Events.concatenate(cut).t_ns, events.t_ns)
