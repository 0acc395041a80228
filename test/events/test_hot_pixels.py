from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mambaseg_core.events import Events
from mambaseg_core.events.hot_pixels import COUNTED, HOT_FACTOR, HOT_LEAST, HotPixelFilter, hot_pixels

MS = 1_000_000
HEIGHT, WIDTH = 30, 40


def second(start_ms: int, number: int, hot: dict[tuple[int, int], int], seed: int = 0) -> list[Events]:
    """Return packets of 10 ms in a second: `number` events at random places, and those of hot pixels (x, y)."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, WIDTH, number), rng.integers(0, HEIGHT, number)
    for (column, row), count in hot.items():
        x, y = np.append(x, [column] * count), np.append(y, [row] * count)
    t_ns = start_ms * MS + rng.integers(0, 1000 * MS, len(x))
    order = np.argsort(t_ns)
    all_events = Events.from_arrays(x[order], y[order], t_ns[order], np.ones(len(x), int), height=HEIGHT, width=WIDTH)
    edges = [(start_ms + k) * MS for k in range(0, 1001, 10)]
    return [all_events.between(a, b) for a, b in pairwise(edges)]


@pytest.mark.parametrize("scale", [1, 1000])  # more than eight bits hold
def test_a_pixel_is_hot_by_its_neighbours(scale: int) -> None:
    counts = np.full((9, 12), 3 * scale)
    counts[0, 5], counts[4, 4], counts[8, 11] = 3 * HOT_FACTOR * scale, 3 * HOT_FACTOR * scale + 1, 5000 * scale
    assert hot_pixels(counts) == [(11, 8, 5000 * scale), (4, 4, 3 * HOT_FACTOR * scale + 1)]
    counts = np.zeros((9, 12), int)
    counts[2, 3], counts[6, 6] = HOT_LEAST, HOT_LEAST - 1
    assert hot_pixels(counts) == [(3, 2, HOT_LEAST)]
    assert hot_pixels(np.zeros((2, 2), int)) == []


def test_the_filter_drops_hot_pixels_and_nothing_else_while_they_are_hot() -> None:
    hot = {(3, 3): 900, (20, 7): 2000}
    drop = HotPixelFilter(HEIGHT, WIDTH)
    first = second(0, 3000, hot)
    assert [len(drop(packet)) for packet in first] == [len(packet) for packet in first]
    for start_ms in (1000, 2000):  # dropped events are counted, so that they stay out
        for packet in second(start_ms, 3000, hot, seed=start_ms):
            kept = drop(packet)
            inside = ((packet.x == 3) & (packet.y == 3)) | ((packet.x == 20) & (packet.y == 7))
            assert kept.t_ns.tolist() == packet.t_ns[~inside].tolist()
            assert kept.x.tolist() == packet.x[~inside].tolist()
    assert drop.pixels == 2
    assert 5800 <= drop.dropped <= 5820  # with the few that are the scene's
    for start_ms in (3000, 4000):  # cooled down
        cool = [len(drop(packet)) - len(packet) for packet in second(start_ms, 3000, {}, seed=start_ms)]
    assert (sum(cool), drop.pixels) == (0, 0)


def test_an_edge_that_moves_and_a_loop_are_no_hot_pixels() -> None:
    drop = HotPixelFilter(HEIGHT, WIDTH)
    for _ in range(2):
        for column in range(0, WIDTH):
            y = np.repeat(np.arange(HEIGHT), 4 * COUNTED * HOT_LEAST)
            t_ns = np.full(len(y), column * 100 * MS)
            packet = Events.from_arrays(
                np.full(len(y), column), y, t_ns, np.ones(len(y), int), height=HEIGHT, width=WIDTH
            )
            assert drop(packet) is packet
    assert len(drop(Events.empty(HEIGHT, WIDTH))) == 0


def test_a_pattern_of_many_pixels_is_hardly_touched() -> None:
    drop, rng = HotPixelFilter(HEIGHT, WIDTH), np.random.default_rng(0)
    pattern = {(int(k % WIDTH), int(k // WIDTH)): 400 for k in rng.permutation(HEIGHT * WIDTH)[:300]}
    for start_ms in (0, 1000, 2000):
        for packet in second(start_ms, 0, pattern, seed=start_ms):
            drop(packet)
    assert drop.pixels <= 100
