"""The decoders, plain and compiled."""

from __future__ import annotations

import pytest

from mambaseg_core.events.decode import compiled


@pytest.fixture(params=["reference", "cpu"])
def backend(request: pytest.FixtureRequest) -> str:
    """Return the back end of the decoder: plain Python or compiled."""
    if request.param == "cpu" and compiled.missing():
        pytest.skip(f"compiled decoders: {compiled.missing()}")
    return str(request.param)
