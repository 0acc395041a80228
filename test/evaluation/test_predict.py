"""What `open_recording` refuses, and what it advises."""

from __future__ import annotations

from pathlib import Path

import handmade_bags as bags
import pytest

from mambaseg_core.evaluation.predict import open_recording


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
