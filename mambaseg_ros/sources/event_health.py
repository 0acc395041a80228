"""Sentences about events that come and are not fit for use. Pure functions of counts and times."""

from __future__ import annotations

from mambaseg_core.events import Window
from mambaseg_core.events.buffer import LATE_TOLERANCE_NS
from mambaseg_core.events.clock import EventClock
from mambaseg_ros.sources.recent import EventCounts

MESSAGES = 10  # the last ones, of which most must be readable
EMPTY = 3  # messages without an event in a row, from which it is said
GARBLED = 0.25  # share of events that go back in time inside their packet, beyond which the encoding is another
FEW = 10  # events; of fewer no share is judged
REFUSED_WARNED = 0.1  # share of refused events from which /diagnostics warns
JITTER_WARNED_NS = 10_000_000  # mean delay of stamps from which /diagnostics warns


def unreadable_sentence(readable: list[bool], most: float) -> str:
    """Return a sentence if more than a share of the last messages could not be read, else an empty string."""
    unreadable = readable.count(False)
    if len(readable) < MESSAGES or unreadable <= most * MESSAGES:
        return ""
    return (
        f"{unreadable} of the last {MESSAGES} messages of events could not be read; expected at most {most:.0%}: the "
        "log has the reason; check that one driver publishes, and its type and encoding"
    )


def refused_sentence(recent: EventCounts, most: float, size: tuple[int, int], encoding: str, *, name: str = "") -> str:
    """Return a sentence if more than a share of the recent events is refused, else an empty string.

    Args:
        recent: counts of the last second.
        most: the share, 0 to 1.
        size: (height, width) that the messages name.
        encoding: of the packets; empty for arrays.
        name: of the bound, if it is a parameter.
    """
    if recent.all < FEW or recent.refused_share <= most:
        return ""
    height, width = size
    behind_ms = recent.behind_ns / max(recent.late_messages, 1) / 1e6
    causes = {
        f"outside the sensor of {width}x{height} that the messages name": recent.outside,
        f"out of order by {behind_ms:.0f} ms where {LATE_TOLERANCE_NS / 1e6:g} ms are sorted in": recent.late,
        "without row, column or time, which were never sent": recent.unplaced,
        "in messages whose time jumps": recent.jumped,
    }
    parts = [f"{count / recent.all:.0%} {cause}" for cause, count in causes.items() if count]
    do = {
        recent.outside: "that height and width are the sensor's",
        recent.late: "that one driver publishes, in the order of time",
        recent.unplaced: "that no packets are lost",
        recent.jumped: "the driver's stamps",
    }[max(recent.outside, recent.late, recent.unplaced, recent.jumped)]
    if encoding:
        do = f"that encoding is what the packets hold (they name {encoding!r}), and {do}"
    return (
        f"{recent.refused} of {recent.all} events of the last second were refused: {', '.join(parts)}; expected at "
        f"most {f'{name} = {most:g}' if name else f'{most:.0%}'}: check {do}"
    )


def garbled_sentence(recent: EventCounts, encoding: str) -> str:
    """Return a sentence if the events can be read, but not be those of the encoding, else an empty string."""
    back = recent.stepped_back
    if back < FEW or back <= GARBLED * recent.events or not (encoding[:3] == "evt" or recent.unknown_words > back):
        return ""
    unknown = f", and {recent.unknown_words} words are of no kind that it knows" if recent.unknown_words else ""
    return (
        f"{back} of {recent.events} events of the last second in packets of encoding {encoding!r} go back in time"
        f"{unknown}; expected times that go on: check that encoding is what the packets hold"
    )


def empty_sentence(empty: EventCounts, encoding: str) -> str:
    """Return a sentence if messages come and hold no events, else an empty string.

    Args:
        empty: counts since the last message with an event.
        encoding: of the packets; empty for arrays.
    """
    if empty.messages < EMPTY:
        return ""
    of_encoding = f" of encoding {encoding!r}" if encoding else ""
    came = f"the last {empty.messages} messages{of_encoding} ({empty.payload} bytes of events) hold 0 events"
    check = "check the lens cap, and the driver's biases, region of interest and filters"
    if empty.payload:
        unknown = f", {empty.unknown_words} words are of no kind that it knows" if empty.unknown_words else ""
        check = f"check that encoding is what the packets hold{unknown}; then {check.removeprefix('check ')}"
    return f"{came}; expected some: {check}"


def window_sentence(
    window: Window,
    bins: int,
    *,
    end_ns: int,
    since_ns: int,
    newest_ns: int,
    used: int,
    usual_ns: int,
    share: float,
    least: int,
) -> str:
    """Return a sentence if a window is shorter than asked, or holds hardly an event, else an empty string.

    Args:
        window: what is asked.
        bins: T.
        end_ns: the image's stamp.
        since_ns: time before which events are missing that had come; 0 where none are.
        newest_ns: time of the newest event held.
        used: events in the window.
        usual_ns: length of the window before, which a window by count is compared with; 0: unknown.
        share: least share of the window that is covered, 0 to 1.
        least: events that a window holds at least.
    """
    limit = window.limit(bins)
    longest_ns = end_ns - window.start_ns(end_ns, bins)
    asked_ns = longest_ns if limit is None else min(usual_ns, longest_ns)
    start_ns = end_ns - asked_ns
    from_ns = max(since_ns, start_ns)
    covered = (min(newest_ns, end_ns) - from_ns) / asked_ns if asked_ns else 1.0
    if max(covered, used / limit if limit else 0.0) < share:
        of_limit = "" if limit is None else f" and {used} of {limit} events"
        why = (
            f"events are held since {(end_ns - from_ns) / 1e6:.1f} ms before the image (after a "
            "jump of time, or a full buffer): it mends itself, else see buffer_mib"
            if from_ns - start_ns >= end_ns - newest_ns
            else f"they end {(end_ns - newest_ns) / 1e6:.1f} ms before the image: check the driver, and event_wait_ms"
        )
        return (
            f"the window covers {max(covered, 0) * asked_ns / 1e6:.1f} of {round(asked_ns / 1e6, 1):g} ms{of_limit}; "
            f"expected at least min_window_share = {share:g}; {why}"
        )
    if used < least:
        return (
            f"the window of {longest_ns / 1e6:g} ms holds {used} event{'s' * (used != 1)}; expected at least "
            f"min_window_events = {least}: if the scene does not stand still, check the lens cap, the biases and the "
            "driver"
        )
    return ""


def clock_values(clock: EventClock | None, recent: EventCounts) -> dict[str, str]:
    """Return what /diagnostics shows of the clock that maps packets' times."""
    if clock is None or clock.offset_ns is None:
        return {}
    return {
        "clock": clock.mode,
        "clock offset [ms]": f"{clock.offset_ns / 1e6:.3f}",
        "clock jitter [ms]": f"{recent.delay_ns / max(recent.stamped, 1) / 1e6:.3f}",
        "clock jumps": str(clock.jumps),
    }


def clock_sentence(recent: EventCounts) -> str:
    """Return a sentence if the stamps of the recent messages came late on average, else an empty string."""
    mean_ns = recent.delay_ns / max(recent.stamped, 1)
    if mean_ns <= JITTER_WARNED_NS:
        return ""
    return (
        f"header stamps of events are {mean_ns / 1e6:.1f} ms late on average; expected less than "
        f"{JITTER_WARNED_NS / 1e6:g} ms: look for load on the computer that stamps them"
    )
