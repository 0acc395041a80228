"""Bags: real recordings with known answers, and incomplete bags."""

from __future__ import annotations

import shutil
from pathlib import Path

import event_recordings as recordings
import numpy as np
import pytest

from mambaseg_core.events.messages import COLUMNS_TYPE
from mambaseg_core.recordings import open_events

KNOWN = {  # encoding, events, ON, sum of t in ns mod 2^64, sum of x, of y
    "evt3_trigger": ("evt3", 82_469, 41_439, 1_222_326_831_810_000, 42_078_718, 31_656_267),
    "libcaer_rollover": ("libcaer", 334_331, 181_908, 15_762_826_572_202_229_126, 111_651_612, 82_801_007),
    "mono_cd": ("mono", 100, 50, 4_950_000, 34_450, 26_450),
    "test_events_2": ("libcaer_cmp", 571_266, 211_043, None, None, None),
}


@pytest.mark.parametrize("name", KNOWN)
def test_recordings(shared_data: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mambaseg_core.recordings.bag.events._BLOCK_BYTES", 100_000)
    encoding, count, on, t_sum, x_sum, y_sum = KNOWN[name]
    folder = shared_data / "ros2" / name
    (storage,) = (file for file in folder.iterdir() if file.suffix in (".mcap", ".db3"))
    for path in (folder, storage):
        with open_events(path) as reader:
            assert (reader.format, reader.encoding, len(reader)) == ("rosbag", encoding, count)
            events = reader.between(0, 2**63 - 1).events
        assert int((events.p > 0).sum()) == on
        if t_sum is not None:
            assert int(events.t_ns.astype(np.uint64).sum()) == t_sum
            assert (int(events.x.astype(np.int64).sum()), int(events.y.astype(np.int64).sum())) == (x_sum, y_sum)
    if name == "test_events_2":
        assert (int(events.t_ns[0]), int(events.t_ns[-1])) == (1_744_227_144_732_712_000, 1_744_227_145_732_708_000)


def test_blocks_of_a_recording_one_by_one_are_the_whole(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mambaseg_core.recordings.bag.events._BLOCK_BYTES", 50_000)
    with open_events(shared_data / "ros2" / "evt3_trigger") as reader:
        whole = reader.between(0, 2**62).events
        for end_ns in range(reader.end_ns, reader.start_ns, -100_000_000):
            np.testing.assert_array_equal(reader.last(500, end_ns).events.t_ns, whole.between(0, end_ns).t_ns[-500:])


def test_a_bag_cut_off_in_the_middle(tmp_path: Path) -> None:
    bag = recordings.bag(COLUMNS_TYPE)(tmp_path, recordings.some_events())
    (storage,) = bag.glob("*.mcap")
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"bag\.mcap cannot be read .*ros2 bag reindex.*mcap recover") as caught:
        open_events(bag)
    assert "\n" not in str(caught.value)


def test_a_database_cut_off_in_the_middle(tmp_path: Path) -> None:
    write = recordings.FORMATS["bag_mono"]
    bag = write(tmp_path, recordings.some_events())
    (storage,) = bag.glob("*.db3")
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"bag\.db3 cannot be read .*ros2 bag reindex"):
        len(open_events(bag))


def test_a_bag_without_its_metadata(tmp_path: Path) -> None:
    bag = recordings.bag(COLUMNS_TYPE)(tmp_path, recordings.some_events())
    (bag / "metadata.yaml").unlink()
    assert len(open_events(bag)) == 3000


def test_storage_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    for number in (9, 10):
        events = recordings.some_events(500, first_us=number * 10**6)
        part = tmp_path / str(number)
        part.mkdir()
        (storage,) = recordings.bag(COLUMNS_TYPE)(part, events).glob("*.mcap")
        shutil.copy(storage, folder / f"split_{number}.mcap")
    reader = open_events(folder)
    assert (len(reader), reader.counters()["raised"]) == (1000, 0)
    assert reader.start_ns // 10**9 == 9


def test_a_bag_without_events_lists_its_topics(tmp_path: Path) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/chatter", "std_msgs/msg/String", typestore=store)
    with pytest.raises(ValueError, match=r"0 topics of events .*/chatter \(std_msgs/msg/String\)"):
        open_events(tmp_path / "bag")


def test_a_topic_that_is_not_there(tmp_path: Path) -> None:
    bag = recordings.bag(COLUMNS_TYPE)(tmp_path, recordings.some_events(100))
    assert len(open_events(bag, topic="/events")) == 100
    with pytest.raises(ValueError, match=r"0 topics of events named /other .*/events"):
        open_events(bag, topic="/other")
