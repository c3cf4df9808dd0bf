"""From the lines that processes print to a result: cells, merged, and their ratios.

Pure functions over lines, `dict`s as `deciding` prints them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

Line = dict[str, Any]

KEY = ("what", "who", "model", "n", "against", "campaign", "cache")
MIDDLE = ("rmse", "r_hat", "ess", "evaluations", "compilations", "restarts", "rounds")
MIDDLE += ("peak_growth_mb", "peak_mb")


def key(cell: Line) -> tuple[Any, ...]:
    """Return what a cell is told from others by."""
    return tuple(str(cell.get(name, "")) for name in KEY)


def summed_up(lines: Iterable[Line]) -> list[Line]:
    """Return a cell for each model and n: medians of the steps that are no warm-up."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        if "warm_up" in line and not line["warm_up"]:
            groups.setdefault(key(line), []).append(line)
    return [_middle(group) for group in groups.values()]


def _middle(group: list[Line]) -> Line:
    cell = {name: group[0][name] for name in KEY if name in group[0]}
    cell["steps"] = len(group)
    for name in ("cpu_s", "wall_s"):
        values = [line[name] for line in group]
        cell[name] = statistics.median(values)
        cell[f"{name}_mean"] = statistics.fmean(values)
        cell[f"{name}_least"], cell[f"{name}_most"] = min(values), max(values)
    for name in MIDDLE:
        values = [line[name] for line in group if name in line]
        if values:
            cell[name] = statistics.median(values)
    if "ess" in cell:
        cell["ess_per_cpu_s"] = cell["ess"] / cell["cpu_s"]
    cell |= {name: group[0][name] for name in ("asked", "run") if name in group[0]}
    return cell


def merged(before: Iterable[Line], now: Iterable[Line]) -> list[Line]:
    """Return the cells of both; one that was measured again replaces the older."""
    both = {key(cell): cell for cell in before}
    return list((both | {key(cell): cell for cell in now}).values())


def ratios(cells: list[Line], pairs: Iterable[tuple[str, str]]) -> list[Line]:
    """Return how many times the CPU seconds of ours each cell of a peer takes.

    Steps and full Bayes are compared at the same n; of an equal budget, the cell of
    ours with the step of the peer that it spends as much as; campaigns, with a cache
    that is empty and with one that is filled. `one_run` says whether both were measured
    in one run.
    """
    pairs, out = list(pairs), list[Line]()
    for ours in (cell for cell in cells if cell["who"] == "aemtwin"):
        for peer in (cell for cell in cells if cell["who"] != "aemtwin"):
            kind = "steps" if ours["what"] == "budget" else ours["what"]
            if peer["what"] != kind or peer.get("n") != ours.get("n"):
                continue
            if peer.get("campaign") != ours.get("campaign"):
                continue
            if against := ours.get("against"):
                if against != f"{peer['who']}/{peer['model']}":
                    continue
            elif (ours["model"], peer["model"]) not in pairs:
                continue
            out.append(_ratio(ours, peer))
    return out


def _ratio(ours: Line, peer: Line) -> Line:
    line = {name: ours[name] for name in ("what", "n", "campaign") if name in ours}
    line |= {"ours": ours["model"], "peer": f"{peer['who']}/{peer['model']}"}
    if ours.get("cache"):
        line["cache"] = ours["cache"]
    line["cpu"] = peer["cpu_s"] / ours["cpu_s"]
    for name in ("rmse", "evaluations", "ess_per_cpu_s", "top_1_percent_found"):
        if name in ours or name in peer:
            line[name] = [ours.get(name), peer.get(name)]
    return line | {"one_run": ours.get("run") == peer.get("run")}
