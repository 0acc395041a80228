"""Parameter `publish_classes`: topics of one class, or of several merged. Pure: no node."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt

from mambaseg_core.labels import LabelSet
from mambaseg_ros.overrides import nearest

Table = npt.NDArray[np.uint8]

_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9]*(_[a-zA-Z0-9]+)*")


def class_tables(text: str, labels: LabelSet) -> dict[str, Table]:
    """Return what `publish_classes` asks for: by topic, a table from class ids to 255 (its classes) or 0.

    Args:
        text: entries between commas: `road`, or `people=person+rider`. The blanks of a class name may be underscores.
        labels: names of the classes.

    Returns:
        uint8 [256] by the topic's name.

    Raises:
        ValueError: a class is unknown, or a name cannot be one of a topic or comes twice; one sentence.
    """
    tables: dict[str, Table] = {}
    for name, classes in topic_entries(text):
        ids = [_class_id(word.strip(), labels) for word in classes.split("+")]
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"parameter 'publish_classes' names a topic {name!r}; expected letters, digits and single underscores "
                "after a letter, such as drivable=road+sidewalk: rename it"
            )
        if name in tables:
            raise ValueError(f"parameter 'publish_classes' names a topic {name!r} twice; expected it once: rename one")
        tables[name] = np.zeros(256, np.uint8)
        tables[name][ids] = 255
    return tables


def topic_entries(text: str) -> list[tuple[str, str]]:
    """Return each topic's name and classes, unchecked."""
    entries = [entry.partition("=") for entry in text.split(",") if text.strip()]
    return [(name.strip(), classes) if equals else (_written(name), name) for name, equals, classes in entries]


def _class_id(word: str, labels: LabelSet) -> int:
    known = [_written(name) for name in labels.classes]
    if _written(word) not in known:
        raise ValueError(
            f"parameter 'publish_classes' names a class {word!r}; expected classes of {labels.name}, "
            f"{', '.join(labels.classes)}{nearest(_written(word), known)}"
        )
    return known.index(_written(word))


def _written(name: str) -> str:
    """Return a class name as in a topic: lower case, underscores for blanks."""
    return "_".join(name.lower().split())
