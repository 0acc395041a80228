"""HDF5 recordings of other tools and data sets, written here member by member."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mambaseg_core.events import Events

US = 1000
CD = np.dtype({"names": list("xypt"), "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8], "itemsize": 16})
CAER_BYTES = h5py.vlen_dtype(np.uint8)


def metavision(**options: Any) -> Callable[[Path, Events], Path]:
    """Write /CD/events, and /CD/indexes as the SDK does: an entry for each 2 ms after the first event."""

    def write(folder: Path, events: Events) -> Path:
        table = np.zeros(len(events), CD)
        table["x"], table["y"], table["p"], table["t"] = events.x, events.y, events.p > 0, events.t_ns // US
        t_us = table["t"] - (table["t"][0] if len(table) else 0)
        edges = np.arange(0, t_us[-1] if len(table) else 0, 2000)
        path = folder / "recording.hdf5"
        with h5py.File(path, "w") as file:
            file.create_dataset("CD/events", data=table, chunks=(500,), maxshape=(None,), **options)
            indexes = np.zeros(len(edges), [("id", "<u8"), ("ts", "<i8")])
            indexes["id"], indexes["ts"] = np.searchsorted(t_us, edges), edges
            file["CD/indexes"] = indexes
            file["CD/indexes"].attrs["offset"] = str(-table["t"][0] if len(table) else 0)
            file.attrs["version"], file.attrs["geometry"] = "1.0", f"{events.width}x{events.height}"
        return path

    return write


def mvsec(folder: Path, events: Events, images: Sequence[np.ndarray] = (), stamps_s: Sequence[float] = ()) -> Path:
    """Write the left camera; the right one has its first ten events, mirrored."""
    path = folder / "outdoor_day1_data.hdf5"
    columns = events.x, events.y, events.t_ns / 1e9, events.p
    with h5py.File(path, "w") as file:
        left = np.stack(columns, -1).astype(np.float64)
        file.create_dataset("davis/left/events", data=left, chunks=(500, 4), compression="gzip", maxshape=(None, 4))
        file["davis/right/events"] = (left * [-1, 1, 1, 1] + [events.width - 1, 0, 0, 0])[:10]
        if len(images):
            file["davis/left/image_raw"], file["davis/left/image_raw_ts"] = np.array(images), np.array(stamps_s)
            file["davis/left/image_raw_event_inds"] = np.zeros(len(images), np.int64)  # wrong
    return path


def m3ed(folder: Path, events: Events) -> Path:
    """Write the left camera with its table, which ends ahead of the last millisecond, as in M3ED."""
    path = folder / "car_urban_day_data.h5"
    t_us = events.t_ns // US
    columns = {"x": events.x, "y": events.y, "t": t_us.astype("<i8"), "p": (events.p > 0).astype("i1")}
    with h5py.File(path, "w") as file:
        for name, column in columns.items():
            file.create_dataset(
                f"prophesee/left/{name}", data=column, chunks=(500,), maxshape=(None,), compression="lzf"
            )
        edges = np.arange(0, (t_us[-1] if len(events) else 0) // 1000) * 1000
        file["prophesee/left/ms_map_idx"] = np.searchsorted(t_us, edges).astype("u8")
        file["prophesee/left/calib/resolution"] = np.array([events.width, events.height])
        file.attrs["raw_bag_name"] = "car_urban_day.bag"
    return path


def e2vid(folder: Path, events: Events) -> Path:
    path = folder / "events.h5"
    with h5py.File(path, "w") as file:
        file["events/xs"], file["events/ys"] = events.x.astype(np.int16), events.y.astype(np.int16)
        file["events/ts"], file["events/ps"] = events.t_ns / 1e9, events.p > 0
        file.attrs["sensor_resolution"] = np.array([events.height, events.width])
    return path


def caer_packet(kind: int, size: int, time_at: int, data: bytes, *, overflow: int = 0, host_us: int = 0) -> list[bytes]:
    """Return a row of /dvs/data."""
    number = len(data) // size
    header = struct.pack("<hhiiiiii", kind, 1, size, time_at, overflow, number, number, number)
    return [str(1_499_000_000_000_000 + host_us).encode(), header, data]


def caer_events(events: Events, *, first_us: int = 0, host_us: int = 0) -> list[bytes]:
    """Return a packet of polarity events; its camera's clock began at first_us."""
    t_us = events.t_ns // US - first_us
    overflow = int(t_us[0]) >> 31
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = 1 | (events.p > 0) << 1 | events.y.astype("u4") << 2 | events.x.astype("u4") << 17
    words[:, 1] = t_us - (overflow << 31)
    return caer_packet(1, 8, 4, words.tobytes(), overflow=overflow, host_us=host_us)


def caer_frame(image: np.ndarray, end_us: int, *, valid: bool = True, host_us: int = 0) -> list[bytes]:
    """Return a packet of one frame of 16 bits a pixel."""
    height, width = image.shape
    words = [int(valid), end_us - 900, end_us & 0x7FFFFFFF, end_us - 800, end_us - 100, width, height, 0, 0]
    data = np.array(words, "<u4").tobytes() + image.astype("<u2").tobytes()
    return caer_packet(2, len(data), 16, data, overflow=end_us >> 31, host_us=host_us)


def caer_special(kind: int, host_us: int = 0) -> list[bytes]:
    """Return a packet of one special event; kind 1 is a reset of the camera's clock."""
    return caer_packet(0, 8, 4, struct.pack("<II", 1 | kind << 1, 0x7FFFFFFF), host_us=host_us)


def caer_file(folder: Path, rows: Sequence[list[bytes]]) -> Path:
    """Write packets, and empty rows to a multiple of 64, as the recorder does."""
    path = folder / "rec1499023756.hdf5"
    with h5py.File(path, "w") as file:
        shape = (-(-(len(rows) + 1) // 64) * 64, 3)
        data = file.create_dataset("dvs/data", shape, CAER_BYTES, chunks=(64, 3), maxshape=(None, 3))
        for number, row in enumerate(rows):
            for column, value in enumerate(row):
                data[number, column] = np.frombuffer(value, np.uint8)
        file["dvs/timestamp"] = np.zeros(shape[0], np.int64)
        file["vehicle_speed/data"] = np.zeros((64, 2))
    return path


def ddd20(folder: Path, events: Events) -> Path:
    """Write packets of 100 events with packets of other kinds between them."""
    rows = [caer_special(5), caer_packet(3, 36, 4, bytes(72))]
    for start in range(0, len(events), 100):
        rows.append(caer_events(events.part(start, min(start + 100, len(events)))))
        rows.append(caer_packet(3, 36, 4, bytes(36)))
    return caer_file(folder, rows)


FORMATS: dict[str, Callable[[Path, Events], Path]] = {
    "metavision": metavision(),
    "metavision_gzip": metavision(compression="gzip"),
    "mvsec": mvsec,
    "m3ed": m3ed,
    "e2vid": e2vid,
    "ddd20": ddd20,
}


def _mvsec_images(folder: Path, events: Events) -> Path:
    return mvsec(folder, events, np.arange(240, dtype=np.uint8).reshape(4, 6, 10), [16.7, 16.71, 16.72, 16.8])


def _m3ed_images(folder: Path, events: Events) -> Path:
    path = m3ed(folder, events)
    with h5py.File(path, "r+") as file:
        file.create_dataset(
            "ovc/left/data", data=np.arange(240, dtype=np.uint8).reshape(4, 6, 10, 1), compression="lzf"
        )
        file["ovc/ts"] = np.arange(4) * 40_000
    return path


def _ddd20_images(folder: Path, events: Events) -> Path:
    frame = np.arange(60, dtype=np.uint16).reshape(6, 10)
    rows = [caer_frame(frame, 16_700_000), caer_events(events), caer_special(1), caer_frame(frame, 16_800_000)]
    return caer_file(folder, rows)


WITH_IMAGES: dict[str, Callable[[Path, Events], Path]] = {
    "mvsec": _mvsec_images,
    "m3ed": _m3ed_images,
    "ddd20": _ddd20_images,
}
