"""Damaged files: no crash, no hang, bounded memory; the result is events or one sentence that names the file."""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path

import event_recordings as recordings
import hdf5_recordings
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mambaseg_core.recordings import EventFileError, aedat4_frames, open_events, open_images

EXAMPLES = int(os.environ.get("MAMBASEG_FUZZ_EXAMPLES", "120"))
MOST_BYTES = 200 << 20  # of Python's and NumPy's memory, for files of 10 to 60 kB
damages = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8), st.booleans()), min_size=1, max_size=5)


def damaged(content: bytes, damage: list[tuple[float, bytes, bool]], cut: float) -> bytes:
    """Overwrite bytes, insert bytes, or cut off the end."""
    data = bytearray(content)
    for place, new, insert in damage:
        at = int(place * len(data))
        data[at : at if insert else at + len(new)] = new
    return bytes(data[: int(cut * len(data))])


def check_sentence(text: str, path: Path) -> None:
    assert str(path) in text
    assert "\n" not in text


def read_all(path: Path) -> None:
    """Call every method; an `EventFileError` that names the file in one line is a valid result."""
    try:
        with open_events(path, size=recordings.SIZE) as reader:
            total = sum(len(events) for events in reader.chunks(count=1 << 16))
            assert total == len(reader)
            middle = (reader.start_ns + reader.end_ns) // 2
            events = reader.last(100, middle).events
            assert (events.t_ns < middle).all()
            reader.between(middle - 1_000_000, middle)
    except EventFileError as error:
        check_sentence(str(error), path)


def check(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    tracemalloc.start()
    try:
        read_all(path)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", recordings.FORMATS)
def test_damaged_files(tmp_path: Path, name: str) -> None:
    original = recordings.FORMATS[name](tmp_path, recordings.some_events(1500))
    files = [original] if original.is_file() else sorted(file for file in original.rglob("*") if file.is_file())

    @settings(
        max_examples=EXAMPLES,
        derandomize=EXAMPLES == 120,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.sampled_from(files), damages, st.one_of(st.just(1.0), st.floats(0, 1)))
    def fuzz(file: Path, damage: list[tuple[float, bytes, bool]], cut: float) -> None:
        content = file.read_bytes()
        try:
            file.write_bytes(damaged(content, damage, cut))
            tracemalloc.start()
            read_all(original)
            assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
        finally:
            tracemalloc.stop()
            file.write_bytes(content)

    fuzz()


@settings(max_examples=EXAMPLES, derandomize=EXAMPLES == 120, database=None)
@given(
    st.binary(max_size=300),
    st.sampled_from(
        [
            b"",
            b"% evt 3.0\n",
            b"% Version 2\n% Height 9\n% Width 9\n\x0c\x08",
            b"#!AER-DAT2.0\r\n# AEChip: DAVIS240C\r\n",
            b"#!AER-DAT3.1\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n",
            b"#!AER-DAT4.0\r\n",
            b"\x93NUMPY\x01\x00",
            b"PK\x03\x04",
            b"t,x,y,p\n1,2,3,1\n",
            b"0.5 2 3 1\n",
            b"\x89MCAP0\r\n",
            b"\x89HDF\r\n\x1a\n",
        ]
    ),
)
def test_garbage_under_a_known_beginning(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes, magic: bytes
) -> None:
    check(tmp_path_factory.getbasetemp() / "garbage", magic + garbage)


def test_damaged_frames(tmp_path: Path) -> None:
    path = recordings.aedat4(0)(tmp_path, recordings.some_events(10))
    fields = {0: struct.pack("<q", 5), 6: struct.pack("<h", 30), 7: struct.pack("<h", 20), 10: (600, bytes(600))}
    packet = recordings.flatbuffer(b"FRME", fields)
    content = path.read_bytes() + struct.pack("<ii", 1, len(packet)) + packet

    @settings(max_examples=EXAMPLES, derandomize=EXAMPLES == 120, database=None)
    @given(damages, st.one_of(st.just(1.0), st.floats(0, 1)))
    def fuzz(damage: list[tuple[float, bytes, bool]], cut: float) -> None:
        path.write_bytes(damaged(content, damage, cut))
        try:
            assert all(frame.picture.size for frame in aedat4_frames(path))
        except EventFileError as error:
            check_sentence(str(error), path)

    fuzz()


@pytest.mark.parametrize("name", hdf5_recordings.WITH_IMAGES)
def test_damaged_images_in_hdf5(tmp_path: Path, name: str) -> None:
    path = hdf5_recordings.WITH_IMAGES[name](tmp_path, recordings.some_events(50))
    content = path.read_bytes()

    @settings(max_examples=EXAMPLES, derandomize=EXAMPLES == 120, database=None, deadline=None)
    @given(damages, st.one_of(st.just(1.0), st.floats(0, 1)))
    def fuzz(damage: list[tuple[float, bytes, bool]], cut: float) -> None:
        path.write_bytes(damaged(content, damage, cut))
        try:
            images = open_images(path)
            if images is not None:
                assert (np.diff(images.times_ns) >= 0).all()
                for index in range(min(3, len(images.times_ns))):
                    assert images.image(index).dtype == np.uint8
        except EventFileError as error:
            check_sentence(str(error), path)

    fuzz()


def check_images(path: Path) -> None:
    try:
        images = open_images(path, size=recordings.SIZE)
        if images is None:  # now it begins as a file of another format
            return
        for index in range(len(images.times_ns)):
            assert images.image(index).size
        assert (images.times_ns[1:] >= images.times_ns[:-1]).all()
    except EventFileError as error:
        check_sentence(str(error), path)


def davis_samples(height: int, width: int) -> bytes:
    """Return reset levels and signals of an image, column after column, as jAER writes them."""
    x, y = np.meshgrid(np.arange(width), np.arange(height), indexing="ij")
    place = (y << 22 | x << 12).ravel()
    address = np.concatenate([place | 0x8000_0000 | 1000, place | 0x8000_0400 | 77])
    return np.stack([address, np.full(len(address), 16_800_000)], -1).astype(">u4").tobytes()


@pytest.mark.parametrize("name", ["aedat2", "aedat3"])
def test_damaged_images(tmp_path: Path, name: str) -> None:
    if name == "aedat2":
        path = recordings.aedat2("DAVIS128", davis_samples(128, 128))(tmp_path, recordings.some_events(10).part(0, 0))
    else:
        head = struct.pack("<I8i", 3, 0, 0, 5, 9, 30, 20, 0, 0)
        frame = recordings.aedat3_packet(2, 36 + 1200, 1, head + bytes(1200))
        path = recordings.aedat3(tmp_path, recordings.some_events(10), more=frame * 3)
    content = path.read_bytes()
    images = open_images(path)
    assert images is not None
    assert len(images.times_ns) == {"aedat2": 1, "aedat3": 3}[name]

    @settings(max_examples=EXAMPLES, derandomize=EXAMPLES == 120, database=None)
    @given(damages, st.one_of(st.just(1.0), st.floats(0, 1)))
    def fuzz(damage: list[tuple[float, bytes, bool]], cut: float) -> None:
        path.write_bytes(damaged(content, damage, cut))
        check_images(path)

    fuzz()


def test_a_record_of_an_mcap_file_that_would_take_gigabytes(tmp_path: Path) -> None:
    """The first record after the header claims 7 GB."""
    original = recordings.FORMATS["bag_columns"](tmp_path, recordings.some_events(1500))
    (file,) = original.glob("*.mcap")
    content = bytearray(file.read_bytes())
    second = 8 + 9 + struct.unpack_from("<Q", content, 9)[0]
    struct.pack_into("<Q", content, second + 1, 7 << 30)
    check(file, bytes(content))
