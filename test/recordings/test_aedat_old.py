"""AEDAT 2.0 and 3.1: addresses by hand, chips, clocks, images, packets."""

from __future__ import annotations

import struct
from pathlib import Path

import event_recordings as recordings
import numpy as np
import numpy.typing as npt
import pytest
from event_recordings import columns

from mambaseg_core.recordings import EventFileError, open_events, open_images

DAVIS240 = "# AEChip: eu.seebetter.ini.chips.davis.DAVIS240C\r\n"


def aedat2(
    folder: Path, header: str, records: list[tuple[int, int]] | npt.NDArray[np.int64], more: bytes = b""
) -> Path:
    path = folder / "old.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n" + header.encode() + np.array(records, ">u4").tobytes() + more)
    return path


def test_addresses_of_a_davis_by_hand(tmp_path: Path) -> None:
    """Raw (0, 0) is the lower right pixel; samples, IMU and external events are no events."""
    records = [
        (1 << 11, 5),
        (179 << 22 | 239 << 12, 6),
        (0x8000_0000 | 10 << 12 | 77, 6),
        (0x8000_0C00, 7),
        (0x400, 8),
        (9 << 22 | 4 << 12 | 1 << 11 | 0x155, 9),  # lower bits carry nothing
    ]
    path = aedat2(tmp_path, DAVIS240, records)
    assert columns(path) == [(239, 179, 5, 1), (0, 0, 6, -1), (235, 170, 9, 1)]
    with open_events(path) as reader:
        assert (reader.format, reader.encoding, reader.height, reader.width) == ("aedat2", "DAVIS", 180, 240)


@pytest.mark.parametrize("header", ["# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n", "# created 2010\r\n", ""])
def test_addresses_of_a_dvs128_by_hand(tmp_path: Path, header: str) -> None:
    """Bit 0 clear is ON; addresses of 16 bits need no chip in the header."""
    records = [(0, 5), (127 << 8 | 127 << 1 | 1, 6), (0x8000 | 5, 7), (3 << 8 | 4 << 1, 8)]
    assert columns(aedat2(tmp_path, header, records)) == [(127, 127, 5, 1), (0, 0, 6, -1), (123, 124, 8, 1)]


@pytest.mark.parametrize(
    ("chip", "size"),
    [
        ("DAVIS240A", (180, 240)),
        ("eu.seebetter.ini.chips.davis.Davis346blue", (260, 346)),
        ("DAVI346", (260, 346)),
        ("Davis640", (480, 640)),
        ("eu.seebetter.ini.chips.davis.DAVIS128", (128, 128)),
    ],
)
def test_sizes_by_chip(tmp_path: Path, chip: str, size: tuple[int, int]) -> None:
    reader = open_events(aedat2(tmp_path, f"# AEChip: {chip}\r\n", [(1 << 22, 5)]))
    assert (reader.height, reader.width) == size


def test_a_davis_without_a_chip_needs_its_size(tmp_path: Path) -> None:
    path = aedat2(tmp_path, "# written by v2e\r\n", [(9 << 22 | 4 << 12, 5)])
    with pytest.raises(EventFileError, match=r"no chip in its header, .*--height and --width"):
        open_events(path)
    assert columns(path, size=(260, 346)) == [(341, 250, 5, -1)]
    path = aedat2(tmp_path, "# AEChip: CochleaAMS1c\r\n", [(9 << 22, 5)])
    with pytest.raises(EventFileError, match="the chip 'cochleaams1c'"):
        open_events(path, size=(260, 346))


def test_a_record_that_begins_like_a_comment(tmp_path: Path) -> None:
    """Row 141 from below: the first byte of the address is a `#`, and the time has a newline."""
    records = [(0x2340_0000, 10), (0x2340_0000, 0x0A0A)]
    for header in (DAVIS240, DAVIS240 + "#End Of ASCII Header\r\n", DAVIS240 + "# End of ASCII Header\r\n"):
        assert [row[1] for row in columns(aedat2(tmp_path, header, records))] == [179 - 141, 179 - 141]


def test_a_long_header_of_preferences(tmp_path: Path) -> None:
    preferences = '#<entry key="DAVIS240C.Bias" value="é false"/>\r\n' * 5000
    assert len(columns(aedat2(tmp_path, DAVIS240 + preferences, [(1 << 22, 5)] * 3))) == 3


def test_times_of_aedat2_that_wrap_and_that_are_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [2**31 - 1, 2**31 + 5, 2**32 - 2, 2**32 + 1]
    path = aedat2(tmp_path, DAVIS240, [(1 << 22, t % 2**32) for t in times])
    monkeypatch.setattr("mambaseg_core.recordings.aedat.aedat2.BLOCK", 2)
    assert [row[2] for row in columns(path)] == times
    path = aedat2(tmp_path, DAVIS240, [(1 << 22, t) for t in (9_000_000, 9_000_050, 3, 13, 23)])
    assert [row[2] for row in columns(path)] == [9_000_000, 9_000_050, 9_000_050, 9_000_060, 9_000_070]
    assert open_events(path).counters()["clock_resets"] == 1


def readout(level: npt.NDArray[np.int64], kind: int, first_us: int) -> npt.NDArray[np.int64]:
    """Return the samples of an image [H, W], column after column from the lower left."""
    height, width = level.shape
    x, y = np.meshgrid(np.arange(width), np.arange(height), indexing="ij")
    address = 0x8000_0000 | kind << 10 | y << 22 | x << 12 | level[::-1].T
    return np.stack([address.ravel(), first_us + np.arange(height * width) // 100], -1)


def test_images_of_a_davis_among_its_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images of a DAVIS240 with events between their samples; a third lacks its last column."""
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (2, 180, 240))
    parts = [np.array([[1 << 22, 10]])]  # (address, us)
    for number, picture in enumerate(pictures):
        at = 10_000 * (number + 1)
        reset = rng.integers(0, 3, picture.shape) + 1020
        parts += [readout(reset, 0, at), np.array([[1 << 22, at + 500]])]
        signal = readout(np.clip(reset - 4 * picture, 0, 1023), 1, at + 1000)
        parts += [signal[:9000], np.array([[1 << 22, at + 1090]]), signal[9000:]]
    parts += [readout(pictures[0] * 0 + 900, 0, 40_000), readout(pictures[0], 1, 41_000)[:-180]]
    path = aedat2(tmp_path, DAVIS240, np.concatenate(parts))
    for block in (1 << 16, 1000):
        monkeypatch.setattr("mambaseg_core.recordings.aedat.aedat2.BLOCK", block)
        images = open_images(path)
        assert images is not None
        assert images.times_ns.tolist() == [11_000_000, 21_000_000]
        for index, picture in enumerate(pictures):
            np.testing.assert_array_equal(images.image(index), picture)
        assert [row[2] for row in columns(path)] == [10, 10_500, 11_090, 20_500, 21_090]


def test_a_dvs128_has_no_images(tmp_path: Path) -> None:
    images = open_images(aedat2(tmp_path, "", [(0, 5)]))
    assert images is not None
    assert len(images.times_ns) == 0


def aedat3(folder: Path, content: bytes, source: str = "#Source 1: DAVIS240C\r\n") -> Path:
    path = folder / "new.aedat"
    head = f"#!AER-DAT3.1\r\n#Format: RAW\r\n{source}#Start-Time: 2016-11-20 10:40:45 (TZ+0100)\r\n#!END-HEADER\r\n"
    path.write_bytes(head.encode() + content)
    return path


def polarity(rows: list[tuple[int, int, int, int]], **options: int) -> bytes:
    """Pack (valid, x, y, on) at 5, 6, ... us."""
    words = [(valid | on << 1 | y << 2 | x << 17, 5 + number) for number, (valid, x, y, on) in enumerate(rows)]
    return recordings.aedat3_packet(1, 8, len(rows), np.array(words, "<u4").tobytes(), **options)


def test_a_packet_by_hand(tmp_path: Path) -> None:
    path = aedat3(tmp_path, polarity([(1, 239, 179, 1), (0, 3, 4, 1), (1, 7, 8, 0), (1, 240, 0, 1)]))
    assert columns(path) == [(239, 179, 5, 1), (7, 8, 7, -1)]
    reader = open_events(path)
    counts = reader.counters()
    assert (reader.format, reader.encoding, counts["invalid"], counts["outside"]) == ("aedat3", "DAVIS240C", 1, 1)


def test_the_overflow_counts_upper_bits_of_the_time(tmp_path: Path) -> None:
    path = aedat3(tmp_path, polarity([(1, 0, 0, 1)]) + polarity([(1, 0, 0, 1)], overflow=3))
    assert [row[2] for row in columns(path)] == [5, 3 * 2**31 + 5]


def test_packets_that_are_padded_to_their_capacity(tmp_path: Path) -> None:
    padded = polarity([(1, 1, 1, 1)] * 2 + [(0, 0, 0, 0)])
    padded = padded[:20] + struct.pack("<ii", 2, 2) + padded[28:]  # number and valid events: 2 of 3
    assert len(columns(aedat3(tmp_path, padded + polarity([(1, 2, 2, 1)])))) == 3


def test_events_of_a_second_camera_are_counted(tmp_path: Path) -> None:
    source = "#Source 1: DVS128\r\n#Source 2: DAVIS346\r\n#-Source 1: DVS128\r\n"
    path = aedat3(tmp_path, polarity([(1, 345, 2, 1)], source=2) + polarity([(1, 1, 1, 1)] * 3, source=1), source)
    assert columns(path) == [(345, 2, 5, 1)]
    assert open_events(path).counters()["other_cameras"] == 3


def test_packets_of_another_number_than_the_only_camera_s(tmp_path: Path) -> None:
    assert columns(aedat3(tmp_path, polarity([(1, 239, 179, 1)], source=0))) == [(239, 179, 5, 1)]


def test_a_camera_of_unknown_size(tmp_path: Path) -> None:
    path = aedat3(tmp_path, polarity([(1, 1, 2, 1)]), "#Source 1: Test\r\n")
    with pytest.raises(EventFileError, match=r"cameras \['Test'\] .*--height and --width"):
        open_events(path)
    assert columns(path, size=(10, 10)) == [(1, 2, 5, 1)]


def test_a_reset_clock_of_aedat3_goes_on(tmp_path: Path) -> None:
    path = aedat3(tmp_path, polarity([(1, 0, 0, 1)] * 2, overflow=1) + polarity([(1, 0, 0, 1)] * 2))
    assert [row[2] - 2**31 for row in columns(path)] == [5, 6, 6, 7]
    assert open_events(path).counters()["clock_resets"] == 1


def frame(pixels: npt.NDArray[np.uint16], exposure: tuple[int, int], info: int) -> bytes:
    head = struct.pack("<I8i", info, 0, 0, *exposure, pixels.shape[1], pixels.shape[0], 0, 0)
    return recordings.aedat3_packet(2, 36 + pixels.nbytes, 1, head + pixels.astype("<u2").tobytes())


def test_frames(tmp_path: Path) -> None:
    """Gray, invalid, RGB and RGBA; the stamp is the middle of the exposure."""
    gray = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    color = np.arange(48, dtype=np.uint16).reshape(3, 4, 4) * 1000
    content = frame(gray, (10, 20), 1 | 1 << 1) + frame(gray, (30, 40), 1 << 1) + polarity([(1, 0, 0, 1)])
    content += frame(color[..., :3].copy(), (50, 61), 1 | 3 << 1) + frame(color, (70, 80), 1 | 4 << 1)
    path = aedat3(tmp_path, content)
    images = open_images(path)
    assert images is not None
    assert images.times_ns.tolist() == [15_000, 55_000, 75_000]
    np.testing.assert_array_equal(images.image(0), gray >> 8)
    for index in (1, 2):
        np.testing.assert_array_equal(images.image(index), color[..., :3] >> 8)
    assert len(columns(path)) == 1


@pytest.mark.parametrize(("color_filter", "red"), [(1, (0, 0)), (2, (0, 1)), (3, (1, 0)), (4, (1, 1))])
def test_a_frame_under_a_color_filter_is_demosaiced(tmp_path: Path, color_filter: int, red: tuple[int, int]) -> None:
    """Only the red pixels of each 2x2 block are lit: red everywhere, without green and blue."""
    pixels = np.zeros((8, 8), np.uint16)
    pixels[red[0] :: 2, red[1] :: 2] = 200 << 8
    images = open_images(aedat3(tmp_path, frame(pixels, (0, 0), 1 | 1 << 1 | color_filter << 4)))
    assert images is not None
    np.testing.assert_array_equal(images.image(0)[3:5, 3:5], np.broadcast_to([200, 0, 0], (2, 2, 3)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (frame(np.zeros((2, 2), np.uint16), (0, 0), 1 | 2 << 1), "2x2 pixels and 2 channels"),
        (frame(np.zeros((2, 2), np.uint16), (0, 0), 1 | 1 << 1 | 7 << 4), "color filter 7"),
        (frame(np.zeros((2, 2), np.uint16), (0, 0), 1 | 3 << 1), "2x2 pixels and 3 channels"),
        (struct.pack("<hhiiiiii", 1, 1, 12, 4, 0, 1, 1, 1) + bytes(12), "events of 12 bytes"),
        (struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, 1, 2, 1) + bytes(16), "with 2 of 1 events"),
        (struct.pack("<hhiiiiii", 1, 1, 8, 4, -1, 1, 1, 1) + bytes(8), "type 1 with 1 of 1"),
        (struct.pack("<hhiiiiii", 7, 1, 0, 4, 0, 0, 0, 0), "events of 0 bytes"),
    ],
)
def test_damaged_packets(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(EventFileError, match=words):
        open_images(aedat3(tmp_path, content))


def test_a_packet_that_is_cut_off_is_left_out(tmp_path: Path) -> None:
    path = aedat3(tmp_path, polarity([(1, 0, 0, 1)] * 3) + polarity([(1, 0, 0, 1)] * 3)[:-1])
    assert len(columns(path)) == 3


@pytest.mark.parametrize("version", ["1.0", "3.0", "5.0"])
def test_other_versions_of_aedat(tmp_path: Path, version: str) -> None:
    path = tmp_path / "x.aedat"
    path.write_bytes(f"#!AER-DAT{version}\r\n".encode() + bytes(100))
    with pytest.raises(EventFileError, match=rf"#!AER-DAT{version}.* expected .*2\.0, 3\.1 or 4\.0"):
        open_events(path)
