"""Jumps in the times of a stream of messages: believed when they last, not at one message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

JUMP_NS: Final = 100_000_000
"""Times that differ by more than this are a jump, not messages out of order or a pause: 100 ms."""

BELIEVED_AFTER: Final = 3
"""Messages in a row that agree on another time, until it is believed."""

T = TypeVar("T")


@dataclass(frozen=True)
class Verdict(Generic[T]):
    """What to do after a message; in the order of the attributes.

    Attributes:
        undo_after_ns: drop what is held later than this: it was ahead of its time. None: drop nothing.
        refused: messages that were held back, and are not believed: count them.
        anew: drop all that is held: the time jumped back for good.
        keep: messages to add, the oldest first; none while the message is held back.
    """

    undo_after_ns: int | None = None
    refused: tuple[T, ...] = ()
    anew: bool = False
    keep: tuple[T, ...] = ()


@dataclass
class TimeJumps(Generic[T]):
    """Decide message by message whether the time of a stream goes on.

    A message more than `back_ns` before the newest is held back. The third in a row is believed: a bag was looped, or
    a clock was set back. A message of the time before refuses those held back.

    A message more than `JUMP_NS` after the newest is kept at once, since it may follow a pause. It is undone if a
    message of the time before follows; not after the third in a row, or one that is as far ahead again.

    Args:
        back_ns: how much earlier than the newest a message may end.

    Attributes:
        newest_ns: time of the newest message that is kept; None before the first.
        jump_ns: distance of the last jump from the newest then, believed or not.
    """

    back_ns: int = JUMP_NS
    newest_ns: int | None = None
    jump_ns: int = 0
    _before_ns: int | None = field(default=None, init=False)  # newest before a jump ahead that is not believed yet
    _ahead_ns: int = field(default=0, init=False)  # first time after that jump
    _ahead: int = field(default=0, init=False)  # messages in a row after that jump
    _held: list[T] = field(default_factory=list, init=False)
    _row: int = field(default=0, init=False)  # messages in `_held`
    _held_first_ns: int = field(default=0, init=False)
    _held_newest_ns: int = field(default=0, init=False)

    @property
    def settled_ns(self) -> int | None:
        """Time of the newest message that nothing can undo."""
        return self.newest_ns if self._before_ns is None else self._before_ns

    @property
    def settled(self) -> bool:
        """Whether no jump waits to be believed."""
        return self._before_ns is None and not self._held

    @property
    def held(self) -> tuple[T, ...]:
        """Messages that are held back."""
        return tuple(self._held)

    def see(self, message: T, first_ns: int, last_ns: int, *, more: bool = False) -> Verdict[T]:
        """Return what to do with a message and with those before it.

        Args:
            message: is returned in `keep` or `refused` now or later.
            first_ns: its first time.
            last_ns: its last time.
            more: it is a further part of the message before, and is not counted in a row.
        """
        if self.newest_ns is None:
            self.newest_ns = last_ns
            return Verdict(keep=(message,))
        before_ns = self._before_ns
        if before_ns is not None and before_ns - self.back_ns <= last_ns < (before_ns + self._ahead_ns) // 2:
            self.newest_ns, self._before_ns = before_ns, None
            return self._goes_on(message, first_ns, last_ns, more, before_ns)
        if last_ns < self.newest_ns - self.back_ns:
            return self._earlier(message, first_ns, last_ns, more)
        return self._goes_on(message, first_ns, last_ns, more)

    def agree(self, stamp_ns: int) -> Verdict[T]:
        """Believe the messages held back if another stream's stamp is of their time too."""
        near = self._held_first_ns - JUMP_NS <= stamp_ns <= self._held_newest_ns + JUMP_NS
        return self._believe() if self._held and near else Verdict()

    def clear(self) -> None:
        """Begin anew without a time; messages held back are forgotten."""
        self.newest_ns = self._before_ns = None
        self._let_go()

    def _goes_on(self, message: T, first_ns: int, last_ns: int, more: bool, undo_ns: int | None = None) -> Verdict[T]:
        assert self.newest_ns is not None  # asked by `see`
        if first_ns > self.newest_ns + JUMP_NS and (self._before_ns is None or not more):
            self.jump_ns = first_ns - self.newest_ns
            self._before_ns, self._ahead_ns, self._ahead = self.newest_ns, first_ns, 1
        elif self._before_ns is not None:
            self._ahead += not more
            if self._ahead >= BELIEVED_AFTER:
                self._before_ns = None
        self.newest_ns = max(self.newest_ns, last_ns)
        return Verdict(undo_after_ns=undo_ns, refused=self._let_go(), keep=(message,))

    def _earlier(self, message: T, first_ns: int, last_ns: int, more: bool) -> Verdict[T]:
        assert self.newest_ns is not None  # asked by `see`
        refused: tuple[T, ...] = ()
        if not self._held or last_ns < self._held_newest_ns - self.back_ns:
            refused = self._let_go()
            self.jump_ns = first_ns - self.newest_ns
            self._held_first_ns = self._held_newest_ns = first_ns
        self._held.append(message)
        self._row += not (more and self._row)
        self._held_newest_ns = max(self._held_newest_ns, last_ns)
        return self._believe(refused) if self._row >= BELIEVED_AFTER else Verdict(refused=refused)

    def _believe(self, refused: tuple[T, ...] = ()) -> Verdict[T]:
        self.newest_ns, self._before_ns = self._held_newest_ns, None
        return Verdict(refused=refused, anew=True, keep=self._let_go())

    def _let_go(self) -> tuple[T, ...]:
        held, self._held, self._row = tuple(self._held), [], 0
        return held
