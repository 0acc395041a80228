"""What the table of the scans asks for; its times are never judged by a test."""

from __future__ import annotations

import pytest
from kernels import target


@pytest.mark.parametrize(
    ("at_widest", "lanes", "asked"), [(150, 16, 150), (150, 8, 75), (150, 4, 37.5), (4, 8, 2), (4, 4, 1), (1, 8, 1)]
)
def test_a_target_goes_with_the_vector_width(at_widest: float, lanes: int, asked: float) -> None:
    assert target(at_widest, lanes) == asked
