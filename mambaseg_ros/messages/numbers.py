"""Gaps in the numbers that a driver gives its messages: what it, DDS or a recorder lost."""

from __future__ import annotations

MOST_LOST = 1_000_000  # messages; a larger step is another publisher, or garbage


class Numbers:
    """Find gaps in the rising numbers of messages.

    Attributes:
        count: messages seen.
        lost: messages missing in all.
        back: messages whose number did not rise; many of them mean several publishers.
        jumps: steps that are too large for a loss.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self.count = self.lost = self.back = self.jumps = 0

    def missing(self, number: int) -> int:
        """Return how many are missing before this one: 0 for the first, and for one that cannot follow those before."""
        gap = 0 if self._next is None else number - self._next
        self._next = number + 1
        found = gap if 0 < gap < MOST_LOST else 0
        self.count, self.lost, self.back = self.count + 1, self.lost + found, self.back + (gap < 0)
        self.jumps += gap >= MOST_LOST
        return found

    @property
    def of_several(self) -> bool:
        """Whether the numbers are those of several publishers, so that their gaps say nothing."""
        return 10 * self.back > self.count
