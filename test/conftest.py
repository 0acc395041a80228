"""What holds for every test, and what tests of several folders share: one thread of torch, the command, recordings."""

from __future__ import annotations

import os

# Before torch is imported, and for every process that a test starts: on a busy machine torch's threads wait for each
# other longer than they work, and the same bits are promised for the same number only. Tests of threads set their own.
os.environ["OMP_NUM_THREADS"] = "1"

import gc
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from mambaseg_core.memory import give_back_memory

if TYPE_CHECKING:
    from mambaseg_core.synth.dsec_drive import SequenceSummary

# The libraries of recordings are imported where they are used: a machine with a GPU alone runs the kernels' tests.

settings.register_profile("any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_machine")

SMALL = {"seconds": 0.3, "fps": 20.0, "image_size": (135, 180), "event_size": (120, 160)}


@pytest.fixture(scope="module", autouse=True)
def memory_goes_back() -> Iterator[None]:
    """A node's process keeps what it has freed (`keep_memory`); that of all tests would grow to gigabytes."""
    yield
    gc.collect()
    give_back_memory()


@pytest.fixture(scope="session")
def write_small() -> Callable[..., SequenceSummary]:
    """Return a function that writes a sequence of 0.3 s with 120x160 events and 135x180 images."""
    from mambaseg_core.synth.dsec_drive import write_sequence

    def write(root: Path, **options: object) -> SequenceSummary:
        return write_sequence(root, **{**SMALL, **options})  # type: ignore[arg-type]

    return write


@pytest.fixture(scope="session")
def summary(tmp_path_factory: pytest.TempPathFactory, write_small: Callable[..., SequenceSummary]) -> SequenceSummary:
    """Write one small sequence; tests must not change its files."""
    return write_small(tmp_path_factory.mktemp("synthetic"), seed=0)


@pytest.fixture(scope="session")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a data set in DSEC's layout: one sequence to train on, one to test on."""
    from mambaseg_core.synth.dsec_drive import write_sequence

    folder = tmp_path_factory.mktemp("streets")
    for seed, name in enumerate(("street_a", "street_b")):
        write_sequence(folder, name=name, seconds=0.3, seed=seed, image_size=(135, 180), event_size=(120, 160))
    (folder / "splits.yaml").write_text("train: [street_a]\ntest: [street_b]\n")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real recordings; skip the test without one."""
    root = Path(os.environ.get("MAMBASEG_SHARED", Path(__file__).parents[1] / ".." / "shared"))
    if not (root / "data" / "ros2").is_dir():
        pytest.skip(f"no recordings in {root / 'data'}; set MAMBASEG_SHARED to the folder that has data/")
    return root / "data"


@pytest.fixture(scope="session")
def engines() -> None:
    """Skip a test where a file cannot be exported; the environment of `make test` has all that it takes."""
    from mambaseg_core.engines.packages import need
    from mambaseg_core.export.network import need_torch

    try:
        for package in ("onnx", "onnxscript", "onnxruntime"):
            need(package)
        need_torch()
    except ValueError as error:  # the workflow also runs the oldest torch that mambaseg takes
        pytest.skip(str(error))


@pytest.fixture
def packets(shared_data: Path, tmp_path: Path) -> Callable[[str], list[Any]]:
    """Return a function that reads all event packets of a recording in shared/data/ros2."""

    def read(name: str) -> list[Any]:
        return list(_read(_readable(shared_data / "ros2" / name, tmp_path)))

    return read


def _readable(bag: Path, folder: Path) -> Path:
    """Link the bag's files, and complete its metadata: test_events_2 has an empty storage_identifier."""
    copy = folder / bag.name
    copy.mkdir()
    for file in bag.iterdir():
        if file.suffix != ".yaml":
            (copy / file.name).symlink_to(file)
    storage = "mcap" if list(bag.glob("*.mcap")) else "sqlite3"
    text = (bag / "metadata.yaml").read_text()
    (copy / "metadata.yaml").write_text(text.replace('storage_identifier: ""', f"storage_identifier: {storage}"))
    return copy


def _read(bag: Path) -> Iterator[Any]:
    from rosbags.rosbag2 import Reader

    from mambaseg_core.recordings.bag.types import new_typestore

    store = new_typestore()  # AnyReader would parse the IDL that the mcap carries, which rosbags 0.11 cannot
    with Reader(bag) as reader:
        for connection, _, raw in reader.messages():
            yield store.deserialize_cdr(raw, connection.msgtype)


@dataclass
class Answer:
    """What a run of the command left: its exit status and what it printed."""

    returncode: int
    stdout: str


@pytest.fixture
def mambaseg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run the `mambaseg` command as its script does, but in this process: a start takes seconds.

    An error that is not the user's is raised, where the command would print a traceback.
    """
    from mambaseg_core.cli import console
    from mambaseg_ros.cli import main

    monkeypatch.setattr(console, "width", 200)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["mambaseg", *map(str, words)])
        try:
            main()
        except SystemExit as end:
            return Answer(int(end.code or 0), capsys.readouterr().out)
        return Answer(0, capsys.readouterr().out)

    return run
