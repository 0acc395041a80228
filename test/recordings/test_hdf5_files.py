"""HDF5 files that cannot be opened or unpacked: one sentence with the remedy that helps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mambaseg_core.recordings import EventFileError, open_events
from mambaseg_core.recordings.hdf5.dsec import read_rectify_map
from mambaseg_core.recordings.hdf5.files import LAYOUTS, open_hdf5

Read = Callable[[Path], Any]
READS: dict[str, Read] = {"events": lambda path: len(open_events(path)), "rectify_map": read_rectify_map}


def write(path: Path, **options: Any) -> Path:
    """Write a file that has DSEC's events and a rectify_map."""
    with h5py.File(path, "w", libver="latest") as file:
        for name, dtype in {"x": "u2", "y": "u2", "t": "u4", "p": "u1"}.items():
            file.create_dataset(f"events/{name}", data=np.zeros(4, dtype), **options)
        file["ms_to_idx"] = np.zeros(1, "u8")
        file.create_dataset("rectify_map", data=np.zeros((4, 4, 2), "f4"), **options)
    return path


@contextmanager
def writer(path: Path, swmr: bool) -> Iterator[subprocess.Popen[str]]:
    """Run a process that has the file open for writing; kill it at the end."""
    code = (
        "import h5py, sys\n"
        "file = h5py.File(sys.argv[1], 'r+', libver='latest')\n"
        "if sys.argv[2] == 'True': file.swmr_mode = True\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path), str(swmr)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def sentence(read: Read, path: Path) -> str:
    with pytest.raises(EventFileError) as caught:
        read(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("swmr", [False, True])
def test_a_file_that_another_program_writes_or_wrote(tmp_path: Path, read: Read, swmr: bool) -> None:
    path = write(tmp_path / "a file.h5")
    with writer(path, swmr):
        text = sentence(read, path)
        assert ("h5clear -s" in text) if swmr else ("HDF5_USE_FILE_LOCKING=FALSE" in text)
        assert "a file that no program has open for writing; end that program" in text
        assert "damaged" not in text
        assert "hdf5plugin" not in text
    text = sentence(read, path)
    assert text.endswith(
        f"end that program, or, if it was killed, run h5clear (package hdf5-tools): h5clear -s '{path}'"
    )


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            BlockingIOError(11, "unable to lock file, errno = 11, error message = 'Resource temporarily unavailable'"),
            "end that program; if there is none, set HDF5_USE_FILE_LOCKING=FALSE",
        ),
        (
            OSError(37, "unable to lock file, errno = 37, error message = 'No locks available'"),
            "a file system with locks; set HDF5_USE_FILE_LOCKING=FALSE",
        ),
        (
            OSError(38, "unable to lock file, errno = 38, error message = 'Function not implemented'"),
            "a file system with locks; set HDF5_USE_FILE_LOCKING=FALSE",
        ),
        (
            OSError(95, "unable to lock file, errno = 95, error message = 'Operation not supported'"),
            "a file system with locks; set HDF5_USE_FILE_LOCKING=FALSE",
        ),
        (
            PermissionError(13, "Unable to open file (errno = 13, error message = 'Permission denied')"),
            "change its permissions",
        ),
        (
            OSError("Can't read data (file read failed: errno = 5, error message = 'Input/output error')"),
            "check the disk",
        ),
        (OSError("Unable to open file (unable to open file: errno = 24, error message = 'Too many')"), "(ulimit -n)"),
        (OSError("Unable to open file (truncated file: eof = 96, stored_eof = 2048)"), "it is damaged: copy, download"),
    ],
)
def test_the_remedy_fits_the_error(
    tmp_path: Path, read: Read, error: OSError, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of network disks, which a test cannot have, raised where h5py raises them."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    path = write(tmp_path / "file.h5")
    monkeypatch.setattr(h5py, "File", refuse)
    text = sentence(read, path)
    assert words in text.rpartition(", expected ")[2]
    assert ("damaged" in text) == ("truncated" in str(error))
    assert "hdf5plugin" not in text


def filtered(path: Path, code: int) -> Path:
    """Write a file whose /events/x is declared to be packed with a filter."""
    write(path)
    with h5py.File(path, "r+", libver="latest") as file:
        del file["events/x"]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4,))
        properties.set_filter(code, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(file["events"].id, b"x", h5py.h5t.NATIVE_UINT16, space, dcpl=properties)
    return path


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0x8ECF, r"filter 36559 \(ECF\).*HDF5_PLUGIN_PATH to the folder of Prophesee's hdf5_ecf plug-in, which OpenEB"),
        (305, r"filter 305 \(.*\).*install the filter's plug-in and set HDF5_PLUGIN_PATH to its folder"),
    ],
)
def test_a_missing_filter_is_named(tmp_path: Path, code: int, words: str) -> None:
    if h5py.h5z.filter_avail(code):
        pytest.skip(f"filter {code} is installed here")
    assert "damaged" not in sentence(READS["events"], filtered(tmp_path / "file.h5", code))
    with pytest.raises(EventFileError, match=words):
        READS["events"](tmp_path / "file.h5")


def test_another_hdf5_file_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["voxels/grid"] = np.zeros((2, 3, 4), "f4")
        file.create_dataset("nothing", data=h5py.Empty("f4"))
    text = sentence(READS["events"], path)
    assert "it has /nothing float32 [], /voxels/grid float32 [2, 3, 4]" in text
    assert LAYOUTS in text
    with h5py.File(path, "w") as file:
        file.create_group("CD")
    assert "it has /CD" in sentence(READS["events"], path)
    with h5py.File(path, "w"):
        pass
    assert "it has nothing" in sentence(READS["events"], path)


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    text = sentence(lambda path: open_hdf5(path, "thing"), tmp_path)
    assert text.endswith("expected thing; give the file in this folder")


@pytest.mark.parametrize("keep", [8, 500, 2000])
def test_a_file_that_was_cut_off_is_damaged(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "file.h5")
    path.write_bytes(path.read_bytes()[:keep])
    for read in READS.values():
        assert sentence(read, path).endswith("it is damaged: copy, download or record it again")
