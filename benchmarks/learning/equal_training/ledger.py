"""The ledger: one JSON file for each finished run, small enough for git, so that others can go on with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from mambaseg_core.data.dataset import RecordingDataset
from mambaseg_core.files import write_text
from mambaseg_core.training.config import TrainConfig

Counts = dict[str, list[list[int]]]
"""For each sequence, pixels by class: hits, truth, predicted. All that IoU and accuracy need."""

SIMILAR: Final = 1e-3
"""Share by which the numbers of two copies of one data set may differ: processors round the simulation differently."""

_OF_THE_RUN: Final = ("model.name", "data.inputs", "loop.seed")
_WITHOUT_EFFECT: Final = (
    "data.root",
    "data.workers",
    "data.cache",
    "loop.validate_every",
    "loop.validate_samples",
    "loop.checkpoint_every",
    "loop.log_every",
)


@dataclass(frozen=True)
class Entry:
    """A finished run.

    Attributes:
        contender: name of the contender.
        seed: of the first weights, order and augmentation.
        parameters: number of its parameters.
        macs: multiply-adds of one forward pass at the size of the views.
        protocol: what all runs of a ledger share, by "section.key" (`protocol_of`).
        data: numbers of each split (`data_version`).
        made: commit, processor, torch, date and seconds of a step.
        conditions: condition of each test sequence.
        judged: counts of each test sequence, by inputs and detail (`judging.key`).
    """

    contender: str
    seed: int
    parameters: int
    macs: int
    protocol: dict[str, Any]
    data: dict[str, dict[str, float]]
    made: dict[str, Any]
    conditions: dict[str, str]
    judged: dict[str, Counts]

    @property
    def file_name(self) -> str:
        """Name of the entry's file."""
        return f"{self.contender}-{self.seed}.json"


def protocol_of(config: TrainConfig) -> dict[str, Any]:
    """Return the values of a configuration that differ from the defaults, by "section.key".

    Left out is what belongs to one contender or run, and what changes no weight. A key that is added to `TrainConfig`
    later, with a default that keeps what was, changes no protocol.
    """
    values = config.to_dict()
    found = {}
    for section in fields(config):
        part = getattr(config, section.name)
        for field in fields(part):
            name = f"{section.name}.{field.name}"
            default = MISSING if field.default is MISSING else getattr(part, field.name) == field.default
            if name not in (*_OF_THE_RUN, *_WITHOUT_EFFECT) and default is not True:
                found[name] = values[section.name][field.name]
    return found


def data_version(splits: dict[str, RecordingDataset]) -> dict[str, dict[str, float]]:
    """Return numbers that tell one version of a data set from another, for each split.

    They are the number of sequences, of labelled images and of events, and the mean of each sequence's first image.
    """
    found = {}
    for name, dataset in splits.items():
        sequences: list[Any] = list(dict.fromkeys(recording for recording, _ in dataset.items))
        firsts = [float(sequence.image(0).mean()) for sequence in sequences]
        found[name] = {
            "sequences": len(sequences),
            "images": len(dataset),
            "events": sum(len(sequence.events) for sequence in sequences),
            "brightness": round(sum(firsts) / len(firsts), 3),
        }
    return found


class Ledger:
    """A folder of entries that share protocol and data set.

    Args:
        folder: created by the first entry.

    Raises:
        ValueError: a file is no entry, or two entries do not belong together.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = [read_entry(path) for path in sorted(folder.glob("*.json"))]
        for entry in self.entries[1:]:
            self.check(entry.protocol, entry.data)
            self.check_parameters(entry)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def has(self, contender: str, seed: int) -> bool:
        """Return whether a run is finished; the files are looked at, as other processes write some."""
        return (self.folder / f"{contender}-{seed}.json").is_file()

    def check(self, protocol: dict[str, Any], data: dict[str, dict[str, float]]) -> None:
        """Raise ValueError if runs of this protocol and data set must not be mixed with the entries."""
        if not self.entries:
            return
        first = self.entries[0]
        for name in sorted(first.protocol.keys() | protocol.keys()):
            self._same(name, protocol.get(name), first.protocol.get(name), "set it so")
        for split in sorted(first.data.keys() | data.keys()):
            for name, number in first.data.get(split, {}).items():
                other = data.get(split, {}).get(name)
                if other is None or abs(other - number) > SIMILAR * abs(number):
                    self._same(f"the number of {name} in {split}", other, number, "take the same version of the data")

    def check_parameters(self, entry: Entry) -> None:
        """Raise ValueError if the ledger has the contender with another number of parameters."""
        for other in self.entries:
            if other.contender == entry.contender:
                name = f"the number of parameters of {entry.contender}"
                self._same(name, entry.parameters, other.parameters, "build the same network")

    def _same(self, name: str, got: Any, expected: Any, do: str) -> None:
        if got != expected:
            raise ValueError(
                f"{name} is {got!r}, but the finished runs in {self.folder} have {expected!r}; expected the same: "
                f"{do}, or choose another folder with --ledger"
            )

    def add(self, entry: Entry) -> None:
        """Write a finished run.

        Raises:
            ValueError: it does not belong to the others.
        """
        self.check(entry.protocol, entry.data)
        self.check_parameters(entry)
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in asdict(entry).items())
        write_text(self.folder / entry.file_name, "{\n" + ",\n".join(lines) + "\n}\n")


def read_entry(path: Path) -> Entry:
    """Read one entry.

    Raises:
        ValueError: it is no entry, or has another run's name.
    """
    try:
        entry = Entry(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is no finished run ({error}); expected one that compare.py has written: restore or remove it"
        ) from error
    if entry.file_name != path.name:
        raise ValueError(f"{path} holds the run {entry.file_name}; expected its own name: rename it")
    return entry
