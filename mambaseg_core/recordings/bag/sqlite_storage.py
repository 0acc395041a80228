"""Storage files of rosbag2's sqlite3 plug-in, `.db3`, of every version of their tables."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mambaseg_core.recordings.bag.storage import Channel, StoredMessage
from mambaseg_core.recordings.bag.types import type_name
from mambaseg_core.recordings.errors import RecordingWarning

_LOCKED_S = 5.0  # longest wait for a recorder that has the file locked


class SqliteStorage:
    """A `Storage` over a `.db3` file, read only. What is in a `.db3-wal` beside it counts.

    Args:
        path: the file.

    Raises:
        ValueError: tables are missing, or the journal beside the file cannot be applied.
        sqlite3.Error: the file is damaged or locked.
    """

    def __init__(self, path: Path) -> None:
        self._database = _connect(path)
        try:
            self._channels = self._read_channels(path)
        except BaseException:
            self._database.close()
            raise
        self.channels = list(self._channels.values())
        ((self.start_ns, self.last_ns),) = self._rows("SELECT MIN(timestamp), MAX(timestamp) FROM messages")

    def messages(self, wanted: Collection[Channel], start_ns: int | None) -> Iterator[StoredMessage]:
        """Yield the messages of channels at or after a time, in the order of their times; None: all of them."""
        numbers = [number for number, channel in self._channels.items() if channel in wanted]
        condition, values = f"topic_id IN ({','.join('?' * len(numbers))})", [*numbers]
        if start_ns is not None:
            condition, values = f"{condition} AND timestamp >= ?", [*numbers, start_ns]
        query = f"SELECT topic_id, timestamp, data FROM messages WHERE {condition} ORDER BY timestamp, id"
        for number, time_ns, data in self._database.execute(query, values):
            yield StoredMessage(self._channels[number], time_ns, data or b"")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _rows(self, query: str) -> list[Any]:
        return self._database.execute(query).fetchall()

    def _read_channels(self, path: Path) -> dict[int, Channel]:
        tables = {name for (name,) in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"topics", "messages"} <= tables:
            raise ValueError(f"the database has the tables {sorted(tables)}, not topics and messages")
        definitions = {}
        if "message_definitions" in tables:
            query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            definitions = {name: (text or "", form or "") for name, form, text in self._rows(query)}
        counts = dict(self._rows("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"))
        cursor = self._database.execute("SELECT * FROM topics ORDER BY id")
        names = [column[0] for column in cursor.description]
        topics = [dict(zip(names, row, strict=True)) for row in cursor]
        if nameless := sum(counts.values()) - sum(counts.get(topic["id"], 0) for topic in topics):
            text = f"{path} has {nameless} messages whose topic it does not name; they are left out"
            warnings.warn(text, RecordingWarning, stacklevel=2)
        return {
            topic["id"]: Channel(
                topic["name"],
                type_name(topic["type"]),
                topic["serialization_format"],
                *definitions.get(topic["type"], ("", "")),
                topic.get("offered_qos_profiles") or "",
                counts.get(topic["id"], 0),
            )
            for topic in topics
        }


def _connect(path: Path) -> sqlite3.Connection:
    """Open a database for reading, with what its journal holds.

    SQLite writes beside the database to apply a write-ahead log. Where it cannot, and there is none, the database is
    opened as one that never changes.
    """
    journals = [file for file in (Path(f"{path}-wal"), Path(f"{path}-journal")) if _has_bytes(file)]
    address = f"file:{quote(str(path.absolute()))}"
    for option in ("mode=ro", "mode=ro&immutable=1"):
        database = sqlite3.connect(f"{address}?{option}", uri=True, timeout=_LOCKED_S)
        try:
            database.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()
            return database
        except sqlite3.OperationalError as error:
            database.close()
            if journals:
                raise ValueError(
                    f"{error}; {' and '.join(file.name for file in journals)} beside it holds more of the bag; copy "
                    "the folder to where you may write, and end its recorder"
                ) from error
            if "locked" in str(error) or "immutable" in option:
                raise
        except BaseException:
            database.close()
            raise
    raise AssertionError("one of the two has returned or raised")


def _has_bytes(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0
