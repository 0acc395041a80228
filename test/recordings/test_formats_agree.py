"""One stream of events, written in every format that can hold it, is read back the same from each."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Final

import event_recordings as recordings
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mambaseg_core.events import Events
from mambaseg_core.recordings import open_events

EXAMPLES: Final = int(os.environ.get("MAMBASEG_FUZZ_EXAMPLES", "120")) // 8
HEIGHT, WIDTH = recordings.SIZE

# What a user says about formats that do not contain it; a few events are not enough to guess from.
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "npy_structured": {"time_unit": "us"},
    "npy_table": {"time_unit": "us", "columns": "xytp"},
    "text": {"time_unit": "s", "columns": "txyp"},
}


@st.composite
def streams(draw: st.DrawFn) -> Events:
    """Return up to 60 events within 4 s, from anywhere in the 16.8 s of EVT3's clock."""
    first_us = draw(st.integers(0, 2**24 - 1))
    count = draw(st.integers(1, 60))
    after = np.array(sorted(draw(st.lists(st.integers(0, 4_000_000), min_size=count, max_size=count))))
    t_us = first_us + after - after[0]  # the first event lies within EVT3's clock
    x, y, p = (
        draw(st.lists(values, min_size=count, max_size=count))
        for values in (st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.sampled_from([-1, 1]))
    )
    return Events.from_arrays(x, y, t_us * 1000, p, height=HEIGHT, width=WIDTH)


@settings(max_examples=EXAMPLES, derandomize=EXAMPLES == 15, database=None)
@given(streams())
def test_every_format_gives_the_same_events(events: Events) -> None:
    writers = dict(recordings.FORMATS)
    if events.y.max() < 256:  # 8 bits
        writers["dat1"] = recordings.dat(1)
    for name, write in writers.items():
        with tempfile.TemporaryDirectory() as folder:
            path = write(Path(folder), events)
            with open_events(path, size=recordings.SIZE, **OPTIONS.get(name, {})) as reader:
                got = reader.between(-(2**62), 2**62).events
        for column in ("t_ns", "x", "y", "p"):
            np.testing.assert_array_equal(getattr(got, column), getattr(events, column), err_msg=f"{name}, {column}")
        assert (got.height, got.width) == recordings.SIZE, name
