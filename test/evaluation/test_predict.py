"""What `open_recording` refuses, and what it advises."""

from __future__ import annotations

import shutil
from pathlib import Path

import handmade_bags as bags
import pytest

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.data.picture_folder import PictureFolder
from mambaseg_core.evaluation.predict import open_recording
from mambaseg_core.synth.dsec_drive import SequenceSummary


def test_a_bag_and_a_file_of_events_get_the_commands_for_them(tmp_path: Path) -> None:
    bag = bags.humble(tmp_path / "bag")
    for path in (bag, bag / "b_0.db3"):
        with pytest.raises(
            ValueError, match=r"is a ROS bag, expected a sequence's folder; make its masks with `mambaseg bag"
        ):
            open_recording(path)
    (bag / "metadata.yaml").unlink()
    with pytest.raises(ValueError, match="is a ROS bag"):
        open_recording(bag)
    (tmp_path / "events.raw").write_bytes(b"% evt 3.0\n")
    with pytest.raises(ValueError, match=r"events.raw is a file, expected .* `mambaseg bag convert FILE BAG`"):
        open_recording(tmp_path / "events.raw")


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
