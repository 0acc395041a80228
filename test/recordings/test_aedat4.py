"""AEDAT4: the real recording, and false headers."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import event_recordings as recordings
import numpy as np
import pytest

from mambaseg_core.recordings import aedat4_frames, open_events


def test_the_recording_is_its_export(shared_data: Path) -> None:
    path = shared_data / "davis" / "davis346_street.aedat4"
    export = shared_data / "davis" / "davis346_street_export"
    table = np.load(export / "events_txyp.npy")
    with open_events(path) as reader:
        assert (reader.format, reader.height, reader.width, len(reader)) == ("aedat4", 260, 346, 6676)
        events = reader.between(0, 2**62).events
    np.testing.assert_array_equal(events.t_ns, table["t"].astype(np.int64) * 1000)
    np.testing.assert_array_equal(events.x, table["x"])
    np.testing.assert_array_equal(events.y, table["y"])
    np.testing.assert_array_equal(events.p > 0, table["p"])
    frames = list(aedat4_frames(path))
    lines = [line.split() for line in (export / "frames.txt").read_text().splitlines()[1:]]
    assert [frame.stamp_ns for frame in frames] == [int(line[1]) * 1000 for line in lines]
    assert len(frames) == 4
    for frame, line in zip(frames, lines, strict=True):
        np.testing.assert_array_equal(frame.picture, cv2.imread(str(export / line[0]), cv2.IMREAD_GRAYSCALE))


def frame_file(folder: Path, *, code: int, shape: tuple[int, ...], pixels: bytes) -> Path:
    path = recordings.aedat4(0)(folder, recordings.some_events(10))
    fields = {0: struct.pack("<q", 5), 5: struct.pack("<b", code), 6: struct.pack("<h", shape[1])}
    fields |= {7: struct.pack("<h", shape[0]), 10: (len(pixels), pixels)}
    packet = recordings.flatbuffer(b"FRME", fields)
    path.write_bytes(path.read_bytes() + struct.pack("<ii", 1, len(packet)) + packet)
    return path


@pytest.mark.parametrize(("code", "channels"), [(0, 1), (16, 3), (24, 4)])
def test_images_are_gray_or_rgb(tmp_path: Path, code: int, channels: int) -> None:
    pixels = np.arange(2 * 3 * channels, dtype=np.uint8)
    (frame,) = aedat4_frames(frame_file(tmp_path, code=code, shape=(2, 3), pixels=pixels.tobytes()))
    assert frame.stamp_ns == 5000
    shaped = pixels.reshape(2, 3) if channels == 1 else pixels.reshape(2, 3, channels)[..., [2, 1, 0]]
    np.testing.assert_array_equal(frame.picture, shaped)


@pytest.mark.parametrize(("code", "size", "words"), [(0, 5, "3x2 pixels, format 0 and 5 bytes"), (5, 6, "format 5")])
def test_a_frame_that_lies_is_refused(tmp_path: Path, code: int, size: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(aedat4_frames(frame_file(tmp_path, code=code, shape=(2, 3), pixels=bytes(size))))


def test_a_frame_without_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0x0 pixels, format 0 and 0 bytes"):
        list(aedat4_frames(frame_file(tmp_path, code=0, shape=(0, 0), pixels=b"")))


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("<dv/>", r"has streams \[\]"),
        ("<dv", "cannot be read"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><dv/>', "declares entities"),
        (
            '<dv><node name="outInfo"><node name="0"><attr key="typeIdentifier">EVTS</attr></node></node></dv>',
            "0x0 pixels",
        ),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, xml: str, words: str) -> None:
    path = recordings.aedat4(1, xml)(tmp_path, recordings.some_events(10))
    with pytest.raises(ValueError, match=words) as caught:
        open_events(path)
    assert str(path) in str(caught.value)


def test_an_older_aedat_is_named(tmp_path: Path) -> None:
    path = tmp_path / "old.aedat"
    path.write_bytes(b"#!AER-DAT3.0\r\n")
    with pytest.raises(ValueError, match=r"AER-DAT3\.0.*expected AEDAT 2\.0, 3\.1 or 4\.0"):
        open_events(path)


@pytest.mark.parametrize("size", [2**31 - 1, -5])
def test_a_packet_longer_than_the_file_ends_it_and_a_negative_one_is_refused(tmp_path: Path, size: int) -> None:
    path = recordings.aedat4()(tmp_path, recordings.some_events(700))
    path.write_bytes(path.read_bytes() + struct.pack("<ii", 0, size) + b"abc")
    if size > 0:  # as where a recording was cut off
        assert len(open_events(path)) == 700
    else:
        with pytest.raises(ValueError, match="-5 bytes"):
            len(open_events(path))


def test_a_cut_off_recording_gives_its_whole_packets(tmp_path: Path) -> None:
    path = recordings.aedat4()(tmp_path, recordings.some_events(1200))
    path.write_bytes(path.read_bytes()[:-10])
    assert len(open_events(path)) == 1000


def test_a_bomb_stays_small(tmp_path: Path) -> None:
    import lz4.frame

    path = recordings.aedat4()(tmp_path, recordings.some_events(10))
    packet = lz4.frame.compress(recordings.flatbuffer(b"EVTS", {0: (1 << 24, bytes(1 << 28))}))
    path.write_bytes(path.read_bytes() + struct.pack("<ii", 0, len(packet)) + packet)
    with pytest.raises(ValueError, match=r"more than the block holds"):
        len(open_events(path))
