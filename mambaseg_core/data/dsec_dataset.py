"""DSEC-Semantic, or any folder of sequences in DSEC's layout, as a data set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from mambaseg_core.data.dataset import RecordingDataset, Transform
from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.preprocessing import Preprocessing

SPLITS: Final = {
    "train": tuple(f"zurich_city_{number}_a" for number in ("00", "01", "02", "04", "05", "06", "07", "08")),
    "test": ("zurich_city_13_a", "zurich_city_14_c", "zurich_city_15_a"),
}
"""The published split of DSEC-Semantic; the released training code calls "test" validation."""

FIRST_LABEL: Final = 6
"""The published benchmark drops the first labels: (250 // 100 + 1) * 2 of them."""

LABEL_STEP: Final = 2
"""The published benchmark takes every second label of the rest."""

_RECORDING: Final = re.compile(r"(interlaken|thun|zurich_city)_\d\d_[a-z]")

_CLASSES: Final = {"dsec_11": 11, "dsec_19": 19}


class DsecDataset(RecordingDataset):
    """Labeled images of one split.

    If `<root>/splits.yaml` is a file, it lists the sequences of each split:

        train: [sequence, ...]   # folders below root
        test: [sequence, ...]
        first_label: 0           # labels skipped at the start of each sequence; default 0
        label_step: 1            # 2 takes every second label; default 1

    Without it, the split is the published one of DSEC-Semantic (`SPLITS`, `FIRST_LABEL`, `LABEL_STEP`). Each
    sequence is a folder `<root>/<split>/<name>` or `<root>/<name>`.

    Args:
        root: folder of the data set.
        split: "train" or "test".
        preprocessing: the model's; its label set chooses between the 11 and the 19 classes.
        transform: as in `RecordingDataset`.
        cache: as in `RecordingDataset`.
        registered: whether images and events of all sequences have one view, so that there is no calibration.
        image_age_ns: as in `RecordingDataset`.

    Raises:
        ValueError: the split is unknown, a sequence is missing or incomplete, or it has no label to use.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        preprocessing: Preprocessing,
        transform: Transform | None = None,
        cache: str | Path | None = None,
        *,
        registered: bool = False,
        image_age_ns: int = 0,
    ) -> None:
        names, first, step = read_split(Path(root), split)
        sequences = [
            DsecSequence(find_sequence(Path(root), split, name), classes=_classes(preprocessing), registered=registered)
            for name in names
        ]
        _share_calibrations(sequences)
        items = [(sequence, index) for sequence in sequences for index in sequence.labelled()[first::step]]
        for name, sequence in zip(names, sequences, strict=True):
            if len(sequence.labelled()) <= first:
                raise ValueError(
                    f"sequence {name} in {root} has {len(sequence.labelled())} labeled images, expected more than "
                    f"{first}, the number skipped at its start; download DSEC-Semantic into its folder"
                )
        super().__init__(items, preprocessing, transform, cache, image_age_ns=image_age_ns)


def read_split(root: Path, split: str) -> tuple[tuple[str, ...], int, int]:
    """Return the names of a split's sequences, the labels skipped at the start of each, and the step between labels.

    Raises:
        ValueError: there is no such split, or `splits.yaml` is malformed.
    """
    path = root / "splits.yaml"
    if not path.is_file():
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, expected one of {', '.join(SPLITS)} of DSEC-Semantic")
        return SPLITS[split], FIRST_LABEL, LABEL_STEP
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not YAML: {error}; list the sequences under train and test".replace("\n", " ")
        ) from error
    names = content.get(split) if isinstance(content, dict) else None
    if not isinstance(names, list) or not names:
        found = list(content) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} has no sequences for split {split!r} (found: {found}); list them under that key")
    first, step = content.get("first_label", 0), content.get("label_step", 1)
    if not (isinstance(first, int) and isinstance(step, int) and first >= 0 and step >= 1):
        raise ValueError(
            f"{path} has first_label {first!r} and label_step {step!r}, expected whole numbers of at least 0 and 1; "
            "change them"
        )
    return tuple(map(str, names)), first, step


def are_of_dsec(root: Path) -> bool:
    """Return whether all training sequences of a folder have names of DSEC's recordings, whose labels lack the bonnet.

    Raises:
        ValueError: as of `read_split`.
    """
    return all(_RECORDING.fullmatch(Path(name).name) for name in read_split(root, "train")[0])


def find_sequence(root: Path, split: str, name: str) -> Path:
    """Return the folder of a sequence, `<root>/<split>/<name>` or `<root>/<name>`.

    Raises:
        ValueError: neither exists.
    """
    for path in (root / split / name, root / name):
        if path.is_dir():
            return path
    folders = [path for path in (root / split, root) if path.is_dir()]
    found = sorted(path.name for folder in folders for path in folder.iterdir() if path.is_dir())[:12]
    raise ValueError(
        f"sequence {name} of split {split!r} is missing in {root} (folders there: {found}), expected {split}/{name} "
        f"or {name}; download it, or name the sequences that you have in {root / 'splits.yaml'}"
    )


def _classes(preprocessing: Preprocessing) -> int:
    if preprocessing.labels not in _CLASSES:
        raise ValueError(
            f"the model's label set is {preprocessing.labels!r}, expected one of {', '.join(_CLASSES)} for DSEC; "
            f"use a model with 11 or 19 classes"
        )
    return _CLASSES[preprocessing.labels]


def _share_calibrations(sequences: list[DsecSequence]) -> None:
    """Share one calibration among the sequences of one rig, so that its maps are computed once."""
    known: dict[bytes, DsecSequence] = {}
    for sequence in sequences:
        if sequence.calibration_path is not None:
            sequence.share_calibration(known.setdefault(sequence.calibration_path.read_bytes(), sequence))
