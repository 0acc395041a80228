"""What is done about a missing or stale input. Pure functions of times: no node, no clock."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Health(IntEnum):
    """Health of an input. The numbers are the HEALTH_ constants of SegmentationStatus."""

    GOOD = 0
    SILENT = 1
    STALE = 2
    BAD = 3


class Limits(NamedTuple):
    """Bounds of a second input that is fit for use: `events_stale_ms` in nanoseconds, and parameters of these names.

    Attributes:
        window_end: what the window of events ends at, as sentences call it.
    """

    stale_ns: int
    events_refused_share: float = 1.0
    min_window_share: float = 0.0
    min_window_events: int = 0
    window_end: str = "the image's stamp"


class Judgement(NamedTuple):
    """Judgement on the second input of an image.

    Attributes:
        health: GOOD where nothing is wrong.
        sentence: what is wrong, or empty.
        usable: whether it is given to the model.
    """

    health: Health
    sentence: str
    usable: bool


def judge_events(stamp_ns: int, newest_ns: int | None, used: int, limits: Limits) -> tuple[Health, str]:
    """Return the health of the events at an image, and a sentence where they must not be used.

    Args:
        stamp_ns: the image's stamp, or the mask's time.
        newest_ns: time of the newest event, None where none is held.
        used: events in the window.
        limits: of which `stale_ns` counts.

    Returns:
        GOOD and an empty string, or SILENT or STALE and one sentence.
    """
    if newest_ns is None:
        return Health.SILENT, (
            "no events have come; expected some before the image: check the events topic and its publisher"
        )
    if stamp_ns - newest_ns > limits.stale_ns:
        return Health.STALE, (
            f"events end {(stamp_ns - newest_ns) / 1e6:.1f} ms before {limits.window_end}; expected less than "
            f"events_stale_ms = {limits.stale_ns / 1e6:g}: check the event driver, and that both stamps are of "
            "one clock"
        )
    if used == 0:
        return Health.STALE, (
            f"no events in the window that ends at {limits.window_end} {stamp_ns} ns, the newest is of {newest_ns} ns: "
            "check the events topic and that both stamps are of one clock"
        )
    return Health.GOOD, ""


def judge_second_image(what: str, stamp_ns: int, second_ns: int | None, stale_ns: int) -> tuple[Health, str]:
    """Return the health of a second camera at an image, and a sentence where its image must not be used.

    Args:
        what: "thermal" or "depth".
        stamp_ns: the image's stamp.
        second_ns: stamp of the second image nearest to it, None where none is held.
        stale_ns: parameter `events_stale_ms`, nanoseconds.

    Returns:
        GOOD and an empty string, or SILENT or STALE and one sentence.
    """
    if second_ns is None:
        return Health.SILENT, (f"no {what} images have come; expected some: check the topic 'second' and its publisher")
    if abs(stamp_ns - second_ns) > stale_ns:
        return Health.STALE, (
            f"the nearest {what} image is {(second_ns - stamp_ns) / 1e6:+.1f} ms from the image's stamp; expected "
            f"less than events_stale_ms = {stale_ns / 1e6:g}: check its driver, and that both stamps are "
            "of one clock"
        )
    return Health.GOOD, ""


def judge_image_age(time_ns: int, newest_ns: int | None, later_ns: int | None, age_max_ns: int) -> str:
    """Return a sentence where no image may be used at a mask's time, else an empty string.

    Args:
        time_ns: the mask's time.
        newest_ns: stamp of the newest image up to then, None without one.
        later_ns: stamp of the newest image of all, None without one.
        age_max_ns: parameter `image_age_max_ms`, nanoseconds.
    """
    expected = f"expected one of at most image_age_max_ms = {age_max_ns / 1e6:g}: check"
    if newest_ns is not None:
        age_ns = time_ns - newest_ns
        if age_ns <= age_max_ns:
            return ""
        return (
            f"the newest image is {age_ns / 1e6:.1f} ms old at the mask's time; {expected} the image topic, its "
            "publisher, and that images and events are of one clock"
        )
    if later_ns is not None and later_ns > time_ns:
        return (
            f"the newest image is {(later_ns - time_ns) / 1e6:.1f} ms later than the mask's time, and none before "
            f"it is left; {expected} that images and events are of one clock"
        )
    return f"there is no image at the mask's time; {expected} the image topic and its publisher"


def judge_queue(waiting: int, skipped: int) -> str:
    """Return a sentence if packets that came before an image are missing from its second input, else an empty string.

    Args:
        waiting: those that are not decoded yet.
        skipped: those that were dropped undecoded since the image before.
    """
    if not waiting and not skipped:
        return ""
    return (
        f"{waiting} packets wait to be decoded, and {skipped} were skipped since the last image; expected all decoded: "
        "give the node more cores or a smaller model, or let the camera send fewer events (its bias, its region of "
        "interest, its event rate control)"
    )


AHEAD_MS = 100.0  # clocks of machines that are kept in step differ by less
NO_CLOCK = (
    "the node's clock stands at 0, so no age is known; expected the time on /clock: play the bag with --clock, or set "
    "use_sim_time to false"
)
OTHER_CLOCK_S = 86_400  # stamps that differ by more, a day, tell no age: they are of a recording or of another clock


def judge_clock(now_ns: int, stamp_ns: int, *, simulated: bool) -> str:
    """Return a sentence where a stamp is not of the node's clock at all, else an empty string.

    Such a mask is as good as its inputs, and its age is unknown.

    Args:
        now_ns: the node's clock.
        stamp_ns: the mask's stamp.
        simulated: whether the node's clock is /clock.
    """
    away_s = (now_ns - stamp_ns) / 1e9
    if abs(away_s) <= OTHER_CLOCK_S or now_ns == 0:
        return ""
    side = "behind" if away_s > 0 else "ahead of"
    remedy = (
        "play the bag with its own clock (--clock)"
        if simulated
        else "play a recording with --clock and set use_sim_time to true, or set the camera's clock"
    )
    return (
        f"stamps are {abs(away_s) / OTHER_CLOCK_S:.0f} days {side} the node's clock, so the age of masks is unknown; "
        f"expected stamps of one clock: {remedy}; max_age_ms = 0 takes any stamp"
    )


def judge_age(now_ns: int, stamp_ns: int, here_ms: float, max_age_ms: float, *, simulated: bool) -> tuple[Health, str]:
    """Return the health of an image by its age, and a sentence where its mask is too old, or of the future.

    Args:
        now_ns: the node's clock when the mask was handed over.
        stamp_ns: the mask's stamp.
        here_ms: how long its image was in the node until then, milliseconds of wall-clock time.
        max_age_ms: parameter; 0: no limit.
        simulated: whether the node's clock is /clock. It comes in steps, so more of the future is allowed.

    Returns:
        GOOD and an empty string; GOOD and a sentence where the node itself took too long; STALE and a sentence.
    """
    if max_age_ms == 0:
        return Health.GOOD, ""
    if now_ns == 0:
        return Health.STALE, NO_CLOCK
    age_ms = (now_ns - stamp_ns) / 1e6
    ahead_ms = max_age_ms if simulated else AHEAD_MS
    if -ahead_ms <= age_ms <= max_age_ms:
        return Health.GOOD, ""
    if max_age_ms < age_ms <= max_age_ms + here_ms:
        return Health.GOOD, (
            f"the mask is {age_ms:.0f} ms old, and {here_ms:.0f} ms of these passed in the node; expected at most "
            f"max_age_ms = {max_age_ms:g}: give it more cores or a smaller model, or lower event_wait_ms"
        )
    remedy = (
        "play the bag with its own clock (--clock), and slower where the node is late"
        if simulated
        else "set the camera's clock, or play a recording with --clock and set use_sim_time to true"
    )
    side, expected = ("behind", f"max_age_ms = {max_age_ms:g} ms") if age_ms > 0 else ("ahead of", f"{ahead_ms:g} ms")
    return Health.STALE, (
        f"the stamp is {abs(age_ms) / 1e3:.3f} s {side} the node's clock, and {here_ms:.0f} ms passed in the node; "
        f"expected at most {expected} {side} it: {remedy}; max_age_ms = 0 takes any stamp"
    )


LONGEST_PERIOD_NS = 5_000_000_000  # of a camera whose silence is still noticed


class Freshness:
    """How long messages are missing, on a clock that may stand still (a paused bag) or jump back (a looped one).

    Attributes:
        period_ns: the shorter one of the last two times between messages, at most `LONGEST_PERIOD_NS`; 0 before that.
    """

    def __init__(self, now_ns: int) -> None:
        self._last_ns = now_ns
        self._gaps_ns: list[int] = []
        self.period_ns = 0

    def seen(self, now_ns: int) -> None:
        """Note that a message came."""
        self._gaps_ns = [*self._gaps_ns[-2:], max(0, now_ns - self._last_ns)]  # the first of three is no gap
        self.period_ns = min(*self._gaps_ns[1:], LONGEST_PERIOD_NS) if len(self._gaps_ns) > 2 else 0
        self._last_ns = now_ns

    def silent_ns(self, now_ns: int) -> int:
        """Return how long none came. A jump of the clock, back or from 0 to the first /clock, begins anew."""
        if now_ns < self._last_ns or self._last_ns == 0:
            self._last_ns = now_ns
        return now_ns - self._last_ns
