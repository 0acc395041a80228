"""Random and hostile packets: the compiled decoders return the same as the Python references, bit for bit."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mambaseg_core.events import Decoder, Events
from mambaseg_core.events.decode import ENCODINGS, compiled
from mambaseg_core.events.decode.reference import WORD_BYTES

pytestmark = pytest.mark.skipif(bool(compiled.missing()), reason=f"compiled decoders: {compiled.missing()}")

# Types of words with content, so that the packets are more than noise: (bits of a word, position of the type, types)
_SPEAKING = {
    "evt3": (16, 12, (0, 2, 3, 4, 5, 6, 8, 0xA, 9)),
    "evt2": (32, 28, (0, 1, 8, 0xA, 9)),
    "evt21": (64, 60, (0, 1, 8, 0xA, 9)),
    "evt21_legacy": (64, 28, (0, 1, 8, 0xA, 9)),
    "libcaer": (64, 0, (1, 3)),
    "libcaer_cmp": (16, 12, (0, 1, 2, 3, 4, 5, 9)),
    "mono": (64, 60, range(16)),
}


def speaking(encoding: str) -> st.SearchStrategy[bytes]:
    """Draw packets of words that have content and often a small payload."""
    bits, shift, types = _SPEAKING[encoding]
    payload = st.one_of(st.integers(0, 2**bits - 1), st.integers(0, 15))
    mask = (3 if encoding == "libcaer" else 15) << shift
    word = st.builds(lambda kind, value: (value & ~mask) | kind << shift, st.sampled_from(types), payload)
    return st.lists(word, max_size=60).map(lambda values: np.array(values, f"<u{bits // 8}").tobytes())


def same(a: Events, b: Events) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("x", "y", "t_ns", "p"))


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=200)
@given(data=st.data())
def test_compiled_is_the_reference(encoding: str, data: st.DataObject) -> None:
    packet = st.one_of(st.binary(max_size=200), speaking(encoding))
    packets = data.draw(st.lists(st.tuples(packet, st.integers(0, 3)), max_size=4), label="packets, seq")
    base_ns = data.draw(st.one_of(st.just(0), st.integers(0, 2**63 - 2**43 - 1)), label="time base")
    size = data.draw(st.sampled_from([(1500, 1800), (4, 4), (65536, 65536)]), label="size")
    decoders = [Decoder(encoding, height=size[0], width=size[1], backend=name) for name in ("cpu", "reference")]
    seq = 0
    for octets, ahead in packets:
        seq += ahead
        a, b = (decoder.decode(octets, base_ns, seq) for decoder in decoders)
        assert same(a, b)
    assert asdict(decoders[0].counters) == asdict(decoders[1].counters)
    for a_column, b_column in zip(*(decoder.triggers() for decoder in decoders), strict=True):
        assert np.array_equal(a_column, b_column)


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name.startswith("evt")])
@settings(max_examples=100)
@given(data=st.data())
def test_a_cut_between_words_changes_nothing(encoding: str, data: st.DataObject) -> None:
    octets = data.draw(speaking(encoding), label="bytes")
    step = WORD_BYTES[encoding]
    cut = step * data.draw(st.integers(0, len(octets) // step), label="cut after words")
    whole, parts = (Decoder(encoding, height=1500, width=1800) for _ in range(2))
    expected = whole.decode(octets)
    got = [parts.decode(octets[:cut]), parts.decode(octets[cut:])]
    order = np.argsort(np.concatenate([part.t_ns for part in got]), kind="stable")
    for name in ("x", "y", "t_ns", "p"):
        column = np.concatenate([getattr(part, name) for part in got])[order]
        assert np.array_equal(column, getattr(expected, name))
    assert whole.counters.unplaced == parts.counters.unplaced
    assert whole.counters.unknown_words == parts.counters.unknown_words


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=50)
@given(octets=st.binary(max_size=64), offset=st.integers(0, 7))
@example(octets=b"\xff" * 33, offset=1)
def test_bytes_at_any_address(encoding: str, octets: bytes, offset: int) -> None:
    shifted = memoryview(b"\xff" * offset + octets + b"\xff" * 8)[offset : offset + len(octets)]
    a = Decoder(encoding, height=1500, width=1800).decode(shifted)
    b = Decoder(encoding, height=1500, width=1800).decode(octets)
    assert same(a, b)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("small", [False, True])
def test_long_packets(encoding: str, small: bool) -> None:
    bits, shift, types = _SPEAKING[encoding]
    random = np.random.default_rng(3)
    kinds = random.choice(np.array(types, np.uint64), 20_000) << np.uint64(shift)
    mask = np.uint64((3 if encoding == "libcaer" else 15) << shift)
    payload = random.integers(0, 2**bits, 20_000, np.uint64, endpoint=False)
    if small:  # the clock advances slowly and vectors stay inside
        payload &= np.uint64(0x000000FF_000000FF)
    octets = (payload & ~mask | kinds).astype(f"<u{bits // 8}").view(np.uint8)
    a, b = (Decoder(encoding, height=1500, width=1800, backend=name) for name in ("cpu", "reference"))
    for at in (0, 7 * bits, 30_000):  # in three packets
        end = {0: 7 * bits, 7 * bits: 30_000, 30_000: len(octets)}[at]
        assert same(a.decode(octets[at:end]), b.decode(octets[at:end]))
    assert asdict(a.counters) == asdict(b.counters)
    assert a.counters.events > 10
