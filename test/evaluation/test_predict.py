"""What `open_recording` refuses, and what it advises."""

from __future__ import annotations

import shutil
from pathlib import Path

import event_recordings
import handmade_bags as bags
import numpy as np
import pytest

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.data.picture_folder import PictureFolder
from mambaseg_core.data.recorded_sequence import RecordedSequence
from mambaseg_core.evaluation.predict import open_recording
from mambaseg_core.events import Window
from mambaseg_core.pictures import write_png
from mambaseg_core.recordings.images import HeldImages
from mambaseg_core.recordings.open import Settings
from mambaseg_core.synth.dsec_drive import SequenceSummary


def test_bags_need_an_opener_and_files_of_events_alone_images(tmp_path: Path) -> None:
    bag = bags.humble(tmp_path / "bag")
    for path in (bag, bag / "b_0.db3"):
        with pytest.raises(ValueError, match=r"is a ROS bag, expected .*; use the command `mambaseg predict`, or give"):
            open_recording(path)
    np.save(tmp_path / "events.npy", np.array([[0, 1, 2, 1], [10, 3, 2, 0]]))
    with pytest.raises(ValueError, match=r"events.npy has events alone, expected images .* `mambaseg bag convert FILE"):
        open_recording(tmp_path / "events.npy", settings=Settings((4, 5), columns="txyp", time_unit="us"))


def davis_export(path: Path, size: tuple[int, int] = (12, 16)) -> Path:
    path.mkdir()
    events = [np.arange(0, 200_000, 1000), np.arange(200) % 16, np.arange(200) % 12, np.arange(200) % 2]
    np.save(path / "events_txyp.npy", np.stack(events, 1).astype(np.int64))
    for number in range(3):
        write_png(path / f"f{number}.png", np.full(size, 60 * number, np.uint8))
    (path / "frames.txt").write_text("".join(f"f{number}.png {50_000 * number + 40_000}\n" for number in range(3)))
    return path


def test_a_davis_export_is_read_and_a_calibration_or_a_size_refused_where_a_folder_has_it(
    summary: SequenceSummary, tmp_path: Path
) -> None:
    recording, numbers = open_recording(davis_export(tmp_path / "davis"))
    assert isinstance(recording, RecordedSequence)
    assert (numbers, recording.event_size) == ([0, 1, 2], (12, 16))
    assert recording.image(1).tolist() == np.full((12, 16), 60).tolist()
    window = recording.window(90_000_000, Window(duration_ns=20_000_000), 1)
    assert window.t_ns.tolist() == list(range(70_000_000, 90_000_000, 1_000_000))
    with pytest.raises(ValueError, match=r"a size or a topic is given for .*, expected none for a folder"):
        open_recording(Path(summary.path), settings=Settings((1, 1)))


def test_recordings_of_two_sizes_need_a_calibration_or_to_be_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = event_recordings.some_events(500)
    path = event_recordings.aedat4()(tmp_path, events)
    middle_ns = int(events.t_ns[len(events) // 2])
    pictures = HeldImages([(middle_ns, np.zeros((events.height // 2, events.width), np.uint8))])
    monkeypatch.setattr("mambaseg_core.data.recorded_sequence.open_images", lambda path, **_: pictures)
    with pytest.raises(ValueError, match=r"and its events \d+x\d+, and there is no calibration; .*or --registered"):
        open_recording(path)
    recording, _ = open_recording(path, registered=True)
    assert len(recording.window(middle_ns, Window(count=50, max_age_ns=10**12), 1)) == 50


def test_a_picture_beside_the_events_of_a_sequence_makes_it_no_folder_of_pictures(
    summary: SequenceSummary, tmp_path: Path
) -> None:
    sequence = Path(shutil.copytree(summary.path, tmp_path / "sequence"))
    preview = sequence / "images" / "left" / "rectified" / "000000.png"
    for folder in (sequence, sequence / "images", tmp_path / "pictures" / "images"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(preview, folder / "preview.png")
    assert isinstance(open_recording(sequence)[0], DsecSequence)
    for folder in (tmp_path / "pictures", tmp_path / "pictures" / "images"):
        recording, numbers = open_recording(folder)
        assert isinstance(recording, PictureFolder)
        assert numbers == [0]
