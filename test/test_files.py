"""Files and folders appear complete and synced, or not at all."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mambaseg_core.files import WriteError, atomic_path, disk_errors_of, write_bytes, write_text


@contextmanager
def small_disk(most_bytes: int) -> Iterator[None]:
    """Make the system refuse files of more bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Write a file with the text "old", alone in its folder."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    return path


def test_a_file_and_a_folder_take_their_place_with_the_permissions_of_the_umask(old: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(old, "new \u00b5")
        write_bytes(old.with_name("b"), b"\xff\x00")
        with atomic_path(old.with_name("folder")) as part:
            (part / "inner").mkdir(parents=True)
            (part / "inner" / "c.txt").write_text("c")
    finally:
        os.umask(before)
    assert old.read_bytes() == b"new \xc2\xb5"
    assert old.with_name("b").read_bytes() == b"\xff\x00"
    assert (old.with_name("folder") / "inner" / "c.txt").read_text() == "c"
    modes = {path.name: path.stat().st_mode & 0o777 for path in old.parent.iterdir()}
    assert modes == {"a.txt": 0o640, "b": 0o640, "folder": 0o750}


def test_writers_find_the_name_and_its_ending_and_nobody_else_finds_the_file(old: Path) -> None:
    with atomic_path(old) as part:
        assert part.name == "a.txt"
        part.write_text("new")
        assert list(old.parent.glob("*.txt")) == [old]
        assert old.read_text() == "old"
    assert old.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_a_failure_the_old_file_stands_alone(old: Path, error: type[BaseException]) -> None:
    def half_a_file() -> None:
        with atomic_path(old) as part:
            part.write_text("half")
            raise error

    def half_a_folder() -> None:
        with atomic_path(old.with_name("folder")) as part:
            part.mkdir()
            (part / "file").touch()
            raise error

    for write in (half_a_file, half_a_folder):
        with pytest.raises(error):
            write()
    assert list(old.parent.iterdir()) == [old]
    assert old.read_text() == "old"


def test_a_full_disk_is_one_sentence(old: Path) -> None:
    with small_disk(2000), pytest.raises(WriteError, match=r"a\.txt cannot be written \(File too large\)") as caught:
        write_bytes(old, bytes(10_000))
    assert str(caught.value).endswith("); expected a folder to write in and room on the disk: check both")
    assert list(old.parent.iterdir()) == [old]
    assert old.read_text() == "old"


def test_a_file_that_grows_is_named_when_the_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.symlink_to("/dev/full")
    said = r"metrics\.jsonl cannot be written \(No space left on device\); expected"
    with pytest.raises(WriteError, match=said), disk_errors_of(path), path.open("a") as file:
        file.write("{}")
    path, said = tmp_path / "lines", r"lines cannot be written \(File too large\)"
    with small_disk(10), pytest.raises(WriteError, match=said), disk_errors_of(path), path.open("w") as file:
        file.write("0123456789ab")


def test_other_errors_and_those_with_a_name_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none"), disk_errors_of(tmp_path):
        (tmp_path / "none").read_text()
    with pytest.raises(BrokenPipeError), disk_errors_of(tmp_path):
        raise BrokenPipeError(32, "Broken pipe")


def test_what_cannot_be_made_again_stays_after_a_full_disk_only(tmp_path: Path) -> None:
    def record(most_bytes: int) -> None:
        with atomic_path(tmp_path / "bag", salvage=True) as part:
            part.mkdir()
            (part / "data").write_bytes(b"1" * 1000)
            with small_disk(most_bytes):
                (part / "more").write_bytes(bytes(10_000))
            raise ValueError("of another kind")

    with pytest.raises(ValueError, match="of another kind"):
        record(20_000)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WriteError, match=r"check both, and recover what is in \S*/\.bag\.\w+\.part$"):
        record(2000)
    (left,) = tmp_path.iterdir()
    assert (left / "bag" / "data").read_bytes() == b"1" * 1000


def test_a_missing_folder_and_a_folder_in_the_place_are_named(old: Path) -> None:
    with pytest.raises(WriteError, match=r"none/a\.txt cannot be written \(No such file or directory\); expected"):
        write_text(old.parent / "none" / "a.txt", "")
    with pytest.raises(WriteError, match=r"cannot be written \(Is a directory\)"):
        write_text(old.parent, "")
    with pytest.raises(WriteError, match=r"a\.txt cannot be written \(Not a directory\)"), atomic_path(old) as part:
        part.mkdir()
    with pytest.raises(WriteError, match=r"a\.txt cannot be written \(No such file or directory\)"), atomic_path(old):
        pass
    assert list(old.parent.iterdir()) == [old]


def test_errors_of_other_files_and_inner_ones_are_not_blamed_on_this_one(old: Path) -> None:
    with pytest.raises(FileNotFoundError, match="input"), atomic_path(old):
        Path(old.parent, "input").read_bytes()
    with pytest.raises(WriteError, match=r"^\S*/inner/b cannot be written [^;]*; [^;]*$"), atomic_path(old) as part:
        write_text(part.parent / "inner" / "b", "")


def test_two_writers_at_once_do_not_meet(old: Path) -> None:
    with atomic_path(old) as first, atomic_path(old) as second:
        first.write_text("first")
        second.write_text("second")
        assert first.read_text() == "first"
    assert old.read_text() == "first"  # it ended last
    assert list(old.parent.iterdir()) == [old]


def test_content_is_synced_before_the_name_and_the_name_at_last(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(descriptor: int) -> None:
        synced.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")).name, new.exists()))
        fsync(descriptor)

    fsync, synced, new = os.fsync, list[tuple[str, bool]](), old.with_name("new")
    monkeypatch.setattr(os, "fsync", sync)
    write_text(new, "new")
    assert synced == [("new", False), (old.parent.name, True)]
    synced.clear()
    new = old.with_name("folder")
    with atomic_path(new) as part:
        (part / "inner").mkdir(parents=True)
        (part / "inner" / "file").touch()
    assert sorted(synced[:-1]) == [("file", False), ("folder", False), ("inner", False)]
    assert synced[-1] == (old.parent.name, True)


def test_a_failed_sync_is_a_failure_but_of_folders_that_cannot_be(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_folders(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(22, "Invalid argument")

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", no_folders)
    write_text(old, "new")
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(WriteError, match="Input/output error"):
        write_text(old, "newer")
    assert old.read_text() == "new"
