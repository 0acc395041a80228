"""The Markdown tables of a ledger: the networks, their scores, and the differences with their intervals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from equal_training.bootstrap import MARGIN, Difference, Floats, compare, miou
from equal_training.contenders import Contender
from equal_training.judging import DETAILS, key
from equal_training.ledger import Entry, Ledger

Runs = dict[int, Entry]
"""The finished runs of one contender, by seed."""


def tables(ledger: Ledger, group: Sequence[Contender]) -> list[str]:
    """Return the lines of all tables; contenders without a finished run are left out."""
    runs: dict[str, Runs] = {one.name: {} for one in group}
    for entry in ledger:
        runs.setdefault(entry.contender, {})[entry.seed] = entry
    present = [one for one in group if runs[one.name]]
    if not present:
        return [f"no run is finished in {ledger.folder}"]
    of_sequences = next(iter(runs[present[0].name].values())).conditions
    columns = list(dict.fromkeys(of_sequences.values()))
    lines = networks(present, runs)
    lines += ["", "mIoU, %, mean ± standard deviation over the seeds:", ""]
    lines += [f"| network | judged with | seeds | all | {' | '.join(columns)} |", "|---" * (4 + len(columns)) + "|"]
    for one in present:
        for judged in next(iter(runs[one.name].values())).judged:
            lines.append(score_row(one, judged, runs[one.name], of_sequences))
    rows = [row for other in present[1:] for row in difference_rows(group[0], other, runs, of_sequences)]
    if not rows:
        return lines
    lines += ["", f"{group[0].name} less the others, points of mIoU, with the 95 % interval of a paired bootstrap over"]
    lines += [f"test sequences and seeds. Better: its lower bound is above 0. Not worse: above -{100 * MARGIN:g}.", ""]
    lines += [
        f"| less | judged with | seeds | all | verdict | {' | '.join(columns)} |",
        "|---" * (5 + len(columns)) + "|",
    ]
    return lines + rows


def networks(present: Sequence[Contender], runs: dict[str, Runs]) -> list[str]:
    """Return the table of the networks: parameters, multiply-adds, time of a step."""
    lines = ["| network | | parameters, M | MACs, G | s a step | seeds |", "|---|---|---|---|---|---|"]
    for one in present:
        found = list(runs[one.name].values())
        pace = statistics.median(entry.made["step_s"] for entry in found)
        seeds = " ".join(str(entry.seed) for entry in found)
        lines.append(
            f"| {one.name} | {one.what} | {found[0].parameters / 1e6:.2f} | {found[0].macs / 1e9:.2f} | "
            f"{pace:.2f} | {seeds} |"
        )
    return lines


def score_row(one: Contender, judged: str, runs: Runs, of_sequences: dict[str, str]) -> str:
    """Return a row of scores; `of_sequences` has the condition of each test sequence."""
    counts = counts_array(runs, judged, list(of_sequences), sorted(runs))
    cells = [_spread(miou(counts.sum(1)))]
    cells += [_spread(miou(counts[:, places].sum(1))) for places in _places(of_sequences).values()]
    return f"| {one.name} | {judged} | {len(runs)} | {' | '.join(cells)} |"


def difference_rows(
    ours: Contender, other: Contender, runs: dict[str, Runs], of_sequences: dict[str, str]
) -> list[str]:
    """Return a row for each detail in which both were judged, each with the inputs that it was trained on."""
    seeds = sorted(runs[ours.name].keys() & runs[other.name].keys())
    rows = []
    for detail in DETAILS:
        judged = key(ours.inputs, detail), key(other.inputs, detail)
        if not seeds or any(
            name not in runs[one.name][seeds[0]].judged for one, name in zip((ours, other), judged, strict=True)
        ):
            continue
        mine, theirs = (
            counts_array(runs[one.name], name, list(of_sequences), seeds)
            for one, name in zip((ours, other), judged, strict=True)
        )
        total = compare(mine, theirs, list(of_sequences.values()))
        cells = [
            _interval(compare(mine[:, places], theirs[:, places], [condition] * len(places)))
            for condition, places in _places(of_sequences).items()
        ]
        text = " / ".join(dict.fromkeys(judged))
        rows.append(
            f"| {other.name} | {text} | {len(seeds)} | {_interval(total)} | {total.verdict} | {' | '.join(cells)} |"
        )
    return rows


def _places(of_sequences: dict[str, str]) -> dict[str, list[int]]:
    """Return the places of each condition's sequences."""
    found: dict[str, list[int]] = {}
    for place, condition in enumerate(of_sequences.values()):
        found.setdefault(condition, []).append(place)
    return found


def counts_array(runs: Runs, judged: str, names: Sequence[str], seeds: Sequence[int]) -> Floats:
    """Return the counts [S, Q, 3, K] of some seeds and sequences; a sequence without such pixels has zeros."""
    none = np.zeros_like(next(iter(runs[seeds[0]].judged[judged].values())))
    return np.array([[runs[seed].judged[judged].get(name, none) for name in names] for seed in seeds], float)


def _spread(values: Floats) -> str:
    if np.isnan(values).any():
        return "-"
    deviation = f" ± {100 * float(np.std(values, ddof=1)):.1f}" if len(values) > 1 else ""
    return f"{100 * float(np.mean(values)):.1f}{deviation}"


def _interval(found: Difference) -> str:
    if np.isnan(found.value):
        return "-"
    return f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
