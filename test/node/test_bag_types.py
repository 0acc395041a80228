"""New bags appear as a whole or not at all."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from mambaseg_core.files import WriteError
from mambaseg_core.recordings.bag import Bag
from mambaseg_ros.bag.types import STORAGES, new_bag, typestore

LONG = "std_msgs/msg/String"


def write(bag: Path, storage: str, *, most_bytes: int = 10_000_000, salvage: bool = False) -> None:
    """Write 100 messages of 10 kB on a disk that takes files of so many bytes."""
    store = typestore()
    data = store.serialize_cdr(store.types[LONG](data="x" * 10_000), LONG)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        with new_bag(bag, storage, salvage=salvage) as writer:
            connection = writer.add_connection("/long", LONG, typestore=store)
            for number in range(100):
                writer.write(connection, number, data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_stands_alone_in_its_folder(tmp_path: Path, storage: str) -> None:
    bag = tmp_path / "new" / "bag"
    write(bag, storage)
    assert list(bag.parent.iterdir()) == [bag]
    with Bag(bag) as reader:
        assert list(reader.topics.values()) == [100]
    with pytest.raises(ValueError, match="exists already; expected a new name"):
        write(bag, storage)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, storage: str) -> None:
    with pytest.raises(WriteError, match=r"bag cannot be written \([^\n]+\); expected a folder to write in and room"):
        write(tmp_path / "bag", storage, most_bytes=300_000)
    assert list(tmp_path.iterdir()) == []


def test_what_was_recorded_is_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"recover what is in \S+\.part$") as caught:
        write(tmp_path / "bag", "mcap", most_bytes=300_000, salvage=True)
    folder = Path(str(caught.value).split()[-1])
    assert (folder / "bag" / "bag.mcap").stat().st_size > 100_000
