"""The short rows of `fault_table`, one node for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fault_rows import FAULTS
from fault_table import Fault, run, running_node

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_node(tmp_path_factory.mktemp("weights")) as peer:
        yield peer
    assert peer.process.child.returncode == 0
    assert "Traceback" not in peer.process.output, peer.process.output


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.short], ids=lambda fault: fault.name)
def test_it_is_said_counted_and_got_over(fault: Fault, well: Any) -> None:
    row = run(fault, well)
    assert not row.wrong, row
