"""HDF5 recordings of other tools: sizes, cameras, clocks and images, and files that are not as they should be."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import event_recordings as recordings
import h5py
import hdf5_recordings as files
import numpy as np
import pytest

from mambaseg_core.events import Events
from mambaseg_core.recordings import EventFileError, open_events, open_images

US = 1000


@pytest.fixture(scope="module")
def events() -> Events:
    return recordings.some_events()


def change(path: Path, name: str, data: Any) -> None:
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if data is not None:
            file[name] = data


def read(path: Path, **options: Any) -> Events:
    with open_events(path, **options) as reader:
        return reader.between(-(2**62), 2**62).events


def same(got: Events, expected: Events) -> None:
    for name in ("t_ns", "x", "y", "p"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def gray(value: int, shape: tuple[int, ...] = recordings.SIZE) -> np.ndarray:
    image = np.full(shape, value, np.uint8)
    image[:, :5] = np.arange(5, dtype=np.uint8).reshape(5, *([1] * (len(shape) - 2)))
    return image


@pytest.mark.parametrize("name", ["metavision", "mvsec", "m3ed", "e2vid", "ddd20"])
def test_the_name_of_the_format_and_of_the_camera(tmp_path: Path, events: Events, name: str) -> None:
    with open_events(files.FORMATS[name](tmp_path, events)) as reader:
        camera = {"mvsec": "davis/left", "m3ed": "prophesee/left", "ddd20": "libcaer"}.get(name, "hdf5")
        assert (reader.format, reader.encoding) == (name, camera)


@pytest.mark.parametrize("geometry", [None, "", "346", "0x260", "99999x1", "346x260;", 7, b"346x260", np.bytes_("1x1")])
def test_metavision_without_a_size(tmp_path: Path, events: Events, geometry: Any) -> None:
    path = files.metavision()(tmp_path, events)
    with h5py.File(path, "r+") as file:
        del file.attrs["geometry"]
        if geometry is not None:
            file.attrs["geometry"] = geometry
    if isinstance(geometry, bytes):
        assert open_events(path).width == int(geometry.split(b"x")[0])
        with pytest.raises(EventFileError, match="leave the size out"):
            open_events(path, size=(720, 1280))
    else:
        with pytest.raises(EventFileError, match="no size of the sensor"):
            open_events(path)
        same(read(path, size=recordings.SIZE), events)


def test_metavision_needs_no_indexes_and_believes_none(tmp_path: Path, events: Events) -> None:
    path = files.metavision()(tmp_path, events)
    for indexes in (np.zeros(3, [("id", "<u8"), ("ts", "<i8")]), None):
        change(path, "CD/indexes", indexes)
        with open_events(path) as reader:
            middle = int(events.t_ns[1500])
            same(reader.between(middle, middle + 10**7).events, events.between(middle, middle + 10**7))


@pytest.mark.parametrize("dtype", [[("x", "<u2")], [("x", "f4"), ("y", "f4"), ("p", "i2"), ("t", "i8")], "u2"])
def test_metavision_with_other_columns(tmp_path: Path, events: Events, dtype: Any) -> None:
    path = files.metavision()(tmp_path, events)
    change(path, "CD/events", np.zeros(5, dtype))
    with pytest.raises(EventFileError, match=r"/CD/events of .*, expected (integers x, y, p, t|a table \[N\])"):
        read(path)


def test_the_other_camera_of_mvsec(tmp_path: Path, events: Events) -> None:
    path = files.mvsec(tmp_path, events)
    for name in ("right", "davis/right", "/davis/right/"):
        got = read(path, topic=name)
        np.testing.assert_array_equal(got.x, recordings.SIZE[1] - 1 - events.x[:10].astype(int))
    same(read(path, topic="left"), events)
    with pytest.raises(EventFileError, match="no camera 'middle', expected one of davis/left, davis/right"):
        open_events(path, topic="middle")


def test_times_of_mvsec_are_those_of_its_floats(tmp_path: Path) -> None:
    """Seconds since 1970 as float64 have steps of 0.24 us; every microsecond comes back."""
    events = recordings.some_events(first_us=1_504_645_177_000_001)
    same(read(files.mvsec(tmp_path, events)), events)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([0.5, 0, 20, 1], "not whole numbers"),
        ([np.nan, 0, 20, 1], "not whole numbers"),
        ([0, 0, np.nan, 1], "expected finite seconds"),
        ([0, 0, np.inf, 1], "expected finite seconds"),
        ([0, 0, 1e12, 1], "expected finite seconds"),
        ([0, 0, 20, 0.5], "not whole numbers"),
        ([0, 0, 20, 3], "p reaches from -1 to 3"),
        ([346, 0, 20, 1], "outside the sensor"),
        ([-1, 0, 20, 1], "outside the sensor"),
        ([0, 0, 1, 1], "run backwards"),
    ],
)
def test_mvsec_with_a_bad_event(tmp_path: Path, events: Events, row: list[float], words: str) -> None:
    path = files.mvsec(tmp_path, events)
    with h5py.File(path, "r+") as file:
        file["davis/left/events"][-1] = row
    with pytest.raises(EventFileError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_mvsec_of_another_shape_or_without_events(tmp_path: Path, events: Events) -> None:
    path = files.mvsec(tmp_path, events)
    change(path, "davis/left/events", np.zeros((5, 3)))
    with pytest.raises(EventFileError, match=r"is \[5, 3\], expected \[N, 4\]"):
        read(path)
    change(path, "davis/left/events", None)  # as in the files of ground truth
    change(path, "davis/left/depth_image_raw", np.zeros((2, 3, 4)))
    with pytest.raises(EventFileError, match=r"no /davis/left/events .*depth_image_raw"):
        read(path)


def test_images_of_mvsec(tmp_path: Path, events: Events) -> None:
    first_s = events.t_ns[0] / 1e9
    stamps_s = [first_s + 0.1, first_s, first_s + 0.02]  # sorted by the reader
    path = files.mvsec(tmp_path, events, [gray(3), gray(1), gray(2)], stamps_s)
    images = open_images(path)
    assert images is not None
    np.testing.assert_array_equal(images.times_ns, events.t_ns[0] + np.array([0, 20_000_000, 100_000_000]))
    for index in range(3):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(images)).image(index), gray(index + 1))
    with pytest.raises(EventFileError, match="no /davis/right/image_raw"):
        open_images(path, topic="right")


def test_images_of_mvsec_without_their_times(tmp_path: Path, events: Events) -> None:
    path = files.mvsec(tmp_path, events, [gray(3), gray(1), gray(2)], [1.0, 2.0])
    with pytest.raises(EventFileError, match=r"3 images in /davis/left/image_raw and 2 times"):
        open_images(path)


@pytest.mark.parametrize("shape", [(2, 5, 7, 2), (2, 5, 7, 1, 1), (2, 5)])
def test_images_of_another_shape(tmp_path: Path, events: Events, shape: tuple[int, ...]) -> None:
    path = files.mvsec(tmp_path, events)
    change(path, "davis/left/image_raw_ts", np.zeros(2))
    change(path, "davis/left/image_raw", np.zeros(shape, np.uint8))
    with pytest.raises(EventFileError, match=r"/davis/left/image_raw of .* is uint8 \[2, 5"):
        open_images(path)
    change(path, "davis/left/image_raw", np.zeros((2, 5, 7), np.uint16))
    with pytest.raises(EventFileError, match=r"is uint16 \[2, 5, 7\], expected uint8"):
        open_images(path)


def test_images_of_m3ed(tmp_path: Path, events: Events) -> None:
    path = files.m3ed(tmp_path, events)
    with pytest.raises(EventFileError, match="no /ovc/rgb/data"):
        open_images(path)
    color = np.stack([gray(10), gray(20), gray(30)], -1)  # blue, green, red
    for name, image in (("left", gray(1)[..., None]), ("right", gray(2)[..., None]), ("rgb", color)):
        change(path, f"ovc/{name}/data", np.array([image, image]))
    change(path, "ovc/ts", events.t_ns[[5, 700]] // US)
    for name, image in ((None, color[..., ::-1]), ("left", gray(1)), ("right", gray(2)), ("rgb", color[..., ::-1])):
        images = open_images(path, topic=name)
        assert images is not None
        np.testing.assert_array_equal(images.times_ns, events.t_ns[[5, 700]])
        np.testing.assert_array_equal(images.image(1), image)


@pytest.mark.parametrize("resolution", [[1280, 720], None, [0, 5], [1280.5, 720.0], [1, 2, 3]])
def test_the_size_of_m3ed(tmp_path: Path, events: Events, resolution: list[int] | None) -> None:
    path = files.m3ed(tmp_path, events)
    change(path, "prophesee/left/calib/resolution", resolution)
    if resolution in ([1280, 720], None):
        reader = open_events(path)
        assert (reader.height, reader.width) == (720, 1280)
        if resolution is not None:
            with pytest.raises(EventFileError, match="leave the size out"):
                open_events(path, size=(480, 640))
    else:
        with pytest.raises(EventFileError, match=r"calib/resolution of .*expected \(width, height\)"):
            open_events(path)


def test_a_wrong_ms_map_idx_changes_no_window(tmp_path: Path, events: Events) -> None:
    path = files.m3ed(tmp_path, events)
    for table in (np.zeros(20_000, "u8"), np.arange(5), None):
        change(path, "prophesee/left/ms_map_idx", table)
        with open_events(path) as reader:
            for number in (0, 10, 1500, 2999):
                start = int(events.t_ns[number])
                same(reader.between(start, start + 10**7).events, events.between(start, start + 10**7))


def test_e2vid_without_a_size_and_with_times_of_integers(tmp_path: Path, events: Events) -> None:
    path = files.e2vid(tmp_path, events)
    with h5py.File(path, "r+") as file:
        del file.attrs["sensor_resolution"]
    with pytest.raises(EventFileError, match="no size of the sensor"):
        open_events(path)
    change(path, "events/ts", events.t_ns // US)  # of which unit?
    with pytest.raises(EventFileError, match=r"/events/ts of .* is int64 \[3000\], expected floats"):
        read(path, size=recordings.SIZE)


def test_images_of_ddd20_are_on_the_clock_of_its_events(tmp_path: Path, events: Events) -> None:
    first_us = int(events.t_ns[0]) // US
    image = np.arange(260 * 346, dtype=np.uint16).reshape(260, 346)
    rows = [
        files.caer_frame(image, first_us + 3),
        files.caer_events(events.part(0, 2000)),
        files.caer_frame(image[::-1], first_us + 40_000),
        files.caer_frame(image * 0, first_us + 41_000, valid=False),
        files.caer_events(events.part(2000, 3000)),
        files.caer_frame(image[:100, :200], first_us + 20_000),  # late, and a part of the sensor
    ]
    path = files.caer_file(tmp_path, rows)
    same(read(path), events)
    images = open_images(path)
    assert images is not None
    np.testing.assert_array_equal(images.times_ns, (first_us + np.array([3, 20_000, 40_000])) * US)
    for index, expected in enumerate((image, image[:100, :200], image[::-1])):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(images)).image(index), expected >> 8)


def test_a_wrap_of_the_clock_of_ddd20(tmp_path: Path) -> None:
    events = recordings.some_events(first_us=2**31 - 70_000)
    cut = int(np.searchsorted(events.t_ns, 2**31 * US))
    parts = [events.part(0, 500), events.part(500, cut), events.part(cut, 3000)]
    rows = [files.caer_events(part) for part in parts]
    rows.insert(2, files.caer_special(0))
    rows.append(files.caer_frame(np.zeros((4, 6), np.uint16), 2**31 + 12))
    path = files.caer_file(tmp_path, rows)
    same(read(path), events)
    images = open_images(path)
    assert images is not None
    assert images.times_ns.tolist() == [(2**31 + 12) * US]


def test_a_reset_of_the_clock_of_ddd20(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The camera's clock begins anew at event 1800; events and images go on at the host's time."""
    monkeypatch.setattr("mambaseg_core.recordings.hdf5.caer_packets.ROWS", 2)
    events = recordings.some_events(span_us=10**7)
    first_us, again_us = (int(t) // US for t in events.t_ns[[0, 1800]])
    rows = [files.caer_special(1), files.caer_events(events.part(0, 1800))]
    rows.append(files.caer_special(1, host_us=again_us - first_us))
    rows += [files.caer_events(events.part(at, at + 300), first_us=again_us) for at in range(1800, 3000, 300)]
    rows.insert(5, files.caer_frame(np.zeros((4, 6), np.uint16), 7700))
    path = files.caer_file(tmp_path, rows)
    same(read(path), events)
    with open_events(path) as reader:
        middle = int(events.t_ns[2500])
        same(reader.between(middle, middle + 10**9).events, events.between(middle, middle + 10**9))
        assert reader.counters()["raised"] == 0
    images = open_images(path)
    assert images is not None
    assert images.times_ns.tolist() == [(again_us + 7700) * US]


def test_faults_of_ddd20_are_counted(tmp_path: Path, events: Events) -> None:
    row = files.caer_events(events.part(0, 1000))
    words = np.frombuffer(row[2], "<u4").copy()
    words[0] &= ~np.uint32(1)  # the recorder marked it invalid
    words[2] |= np.uint32(0x7FFF << 17)  # outside
    row[2] = words.tobytes()
    late = files.caer_events(events.part(500, 510))
    with open_events(files.caer_file(tmp_path, [row, late])) as reader:
        assert len(reader) == 1008
        counters = reader.counters()
    assert (counters["unknown_words"], counters["outside"], counters["stepped_back"]) == (1, 1, 10)


HEADER = struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, 1, 1, 1)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([b"1", HEADER[:20], bytes(8)], "row 1 of /dvs/data of .* has the packet header"),
        ([b"1", struct.pack("<hhiiiiii", 1, 1, 0, 0, 0, 1, 1, 1), bytes(8)], "has the packet header"),
        ([b"1", struct.pack("<hhiiiiii", 1, 1, 8, 9, 0, 1, 1, 1), bytes(8)], "has the packet header"),
        ([b"1", struct.pack("<hhiiiiii", 1, 1, 8, 4, -1, 1, 1, 1), bytes(8)], "has the packet header"),
        ([b"1", struct.pack("<hhiiiiii", 1, 1, 8, 4, 1 << 30, 1, 1, 1), bytes(8)], "has the packet header"),
        ([b"1", struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, 2, -2, 2), bytes(8)], "has the packet header"),
        ([b"1", struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, 2, 2, 2), bytes(8)], "has 8 bytes, expected 2 events of 8"),
        ([b"1", struct.pack("<hhiiiiii", 1, 1, 16, 4, 0, 1, 1, 1), bytes(16)], "events of 16 bytes, expected 8"),
        (files.caer_packet(2, 36, 12, np.array([1, 0, 0, 0, 0, 9, 9, 0, 0], "<i4").tobytes()), "frame of 9x9 pixels"),
        (files.caer_packet(2, 8, 4, b"\1" * 8), "frame of 0x0 pixels in 8 bytes"),
    ],
)
def test_damaged_packets_of_ddd20(tmp_path: Path, events: Events, row: list[bytes], words: str) -> None:
    path = files.caer_file(tmp_path, [files.caer_events(events), row])
    with pytest.raises(EventFileError, match=words) as caught:  # noqa: PT012
        len(open_events(path))
        open_images(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("host", [b"soon", b"-5", b"9" * 30])
def test_a_host_time_of_ddd20_that_is_no_number_or_absurd(tmp_path: Path, events: Events, host: bytes) -> None:
    rows = [files.caer_events(events.part(0, 100)), files.caer_special(1), files.caer_events(events.part(100, 200))]
    rows[1][0] = host
    path = files.caer_file(tmp_path, rows)
    if host == b"soon":
        with pytest.raises(EventFileError, match=r"invalid literal .*soon"):
            len(open_events(path))
    else:
        assert len(open_events(path)) == 200


def test_ddd20_of_another_type(tmp_path: Path) -> None:
    path = tmp_path / "recording.hdf5"
    for data, words in (
        (np.zeros((5, 3)), r"is float64 \[5, 3\]"),
        (np.array([[b"a", b"b"]], object), r"is object \[1, 2\]"),
    ):
        with h5py.File(path, "w") as file:
            dtype = h5py.string_dtype() if data.dtype == object else None
            file.create_dataset("dvs/data", data=data, dtype=dtype)
        with pytest.raises(EventFileError, match=words):
            len(open_events(path))
