"""From the figures of single targets to the cells of the forging study, and to what was to be found out.

Pure functions of what ``studies.forging_measure`` wrote; nothing is measured here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from expunge.core.statistics.proportions import clopper_pearson
from expunge.core.values import Measurement
from studies.forging_settings import EARLY, ORDER
from studies.medians import median_interval

Point = Mapping[str, Any]  # setting, seed, point, and what ``measure`` found there
Cell = dict[str, Any]
DISTANCES = ("l2", "largest")
SWAP, EQUAL = "swap", "greedy at swap's cost"
RESAMPLED = 2000


def cells(points: Sequence[Point]) -> list[Cell]:
    """One row per cell and distance: the median over targets and seeds, with its interval."""
    found: list[Cell] = []
    flat: list[dict[str, Any]] = [
        {**row, "setting": point["setting"], "seed": point["seed"], "point": point["point"], "noise": _noise(point)}
        for point in points
        for row in point["rows"]
    ]
    for key, group in groupby(sorted(flat, key=_key), key=_key):
        own = list(group)
        reached = [row for row in own if row["l2"] is not None]
        setting, point, axis, batch, forger, candidates = key
        for distance in DISTANCES:
            values = [row[distance] for row in reached]
            noise = float(np.median([row["noise"][distance] for row in own]))
            found.append(
                {
                    "setting": setting,
                    "point": point,
                    "axis": axis,
                    "batch": batch,
                    "forger": forger,
                    "candidates": None if candidates < 0 else candidates,
                    "distance": distance,
                    "targets": len(own),
                    "forged": len(reached),
                    "seeds": len({row["seed"] for row in own}),
                    **_spread(values),
                    "replay_noise": noise,
                    "ratio_to_noise": float(np.median(values)) / noise if noise and values else None,
                    "absorbed": sum(bool(row.get("absorbed")) for row in own),
                    "example_steps": float(np.mean([row["example_steps"] for row in own])),
                }
            )
    return found


def _key(row: Mapping[str, Any]) -> tuple[str, str, str, int, str, int]:
    candidates = -1 if row["candidates"] is None or row["forger"] == EQUAL else int(row["candidates"])
    axis = str(row.get("axis", "progress"))
    return row["setting"], row["point"], axis, int(row["batch"]), row["forger"], candidates


def _noise(point: Point) -> dict[str, float]:
    return {distance: max(kind[distance] for kind in point["noise"].values()) for distance in DISTANCES}


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    measured = median_interval(values, scale="distance") if values else None
    known = isinstance(measured, Measurement)
    return {
        "median": float(np.median(values)) if values else None,
        "low": measured.low if known else None,
        "high": measured.high if known else None,
        "least": min(values, default=None),
        "most": max(values, default=None),
    }


def noise_cells(points: Sequence[Point]) -> list[Cell]:
    """Replay noise by setting, point and kind: median and range over seeds."""
    found: list[Cell] = []
    for (setting, place), group in groupby(points, key=lambda point: (point["setting"], point["point"])):
        own = list(group)
        for kind in own[0]["noise"]:
            for distance in DISTANCES:
                values = [point["noise"][kind][distance] for point in own]
                row = {"setting": setting, "point": place, "kind": kind, "distance": distance, "seeds": len(values)}
                found.append({**row, **_spread(values)})
    return found


def bound_cells(points: Sequence[Point]) -> list[Cell]:
    """Root mean square distance of independent batches, measured and expected, by batch size."""
    found: list[Cell] = []
    flat: list[dict[str, Any]] = [
        {**part, "setting": point["setting"], "point": point["point"]}
        for point in points
        for part in point.get("bound", [])
    ]

    def key(part: Mapping[str, Any]) -> tuple[str, str, bool, int]:
        return part["setting"], part["point"], part["replacement"], part["batch"]

    for (setting, place, replacement, batch), group in groupby(sorted(flat, key=key), key=key):
        own = list(group)
        squares = [square for part in own for square in part["squares"]]
        weights = [len(part["squares"]) for part in own]
        expected = math.sqrt(float(np.average([part["expected"] for part in own], weights=weights)))
        found.append(
            {
                "setting": setting,
                "point": place,
                "replacement": replacement,
                "batch": batch,
                "pairs": len(squares),
                "rms": math.sqrt(float(np.mean(squares))),
                "expected_rms": expected,
                "ratio": math.sqrt(float(np.mean(squares))) / expected,
                "squares": squares,
            }
        )
    return found


def slopes(bounds: Sequence[Cell]) -> list[Cell]:
    """Slope of log rms against log b, measured and expected, with the interval of resampled pairs."""
    found: list[Cell] = []

    def key(cell: Cell) -> tuple[str, str, bool]:
        return cell["setting"], cell["point"], cell["replacement"]

    for (setting, place, replacement), group in groupby(sorted(bounds, key=key), key=key):
        own = sorted(group, key=lambda cell: cell["batch"])
        if len(own) < 2:
            continue
        sizes = [cell["batch"] for cell in own]
        generator = np.random.Generator(np.random.Philox(key=0))
        again = [
            slope(sizes, [math.sqrt(float(np.mean(_resampled(generator, cell["squares"])))) for cell in own])
            for _ in range(RESAMPLED)
        ]
        low, high = np.quantile(again, [0.025, 0.975])
        found.append(
            {
                "setting": setting,
                "point": place,
                "replacement": replacement,
                "batches": sizes,
                "slope": slope(sizes, [cell["rms"] for cell in own]),
                "low": float(low),
                "high": float(high),
                "expected": slope(sizes, [cell["expected_rms"] for cell in own]),
                "largest_departure": max(abs(cell["ratio"] - 1.0) for cell in own),
                "pairs": min(cell["pairs"] for cell in own),
            }
        )
    return found


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Least squares through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _resampled(generator: np.random.Generator, values: Sequence[float]) -> np.ndarray:
    return np.asarray(values)[generator.integers(len(values), size=len(values))]


def falls(table: Sequence[Cell]) -> list[Cell]:
    """Whether the median of greedy falls with every more candidates, by setting and point."""
    found: list[Cell] = []
    greedy = [
        cell for cell in table if (cell["forger"], cell["axis"], cell["distance"]) == ("greedy", "progress", "l2")
    ]

    def key(cell: Cell) -> tuple[str, int]:
        return cell["setting"], ORDER.index(cell["point"])

    for (setting, place), group in groupby(sorted(greedy, key=key), key=key):
        own = sorted(group, key=lambda cell: cell["candidates"])
        if len(own) < 2:
            continue
        medians = [cell["median"] for cell in own]
        found.append(
            {
                "setting": setting,
                "point": ORDER[place],
                "candidates": [cell["candidates"] for cell in own],
                "medians": medians,
                "falls": all(after < before for before, after in pairwise(medians)),
                "first_to_last": medians[0] / medians[-1],
            }
        )
    return found


def at_equal_cost(points: Sequence[Point]) -> list[Cell]:
    """On how many targets swap comes as near as greedy with as much work, or nearer."""
    pairs: dict[tuple[str, int, str, int], list[tuple[float, float]]] = {}
    for point in points:
        by: dict[tuple[str, int, int, str], float] = {}
        for row in point["rows"]:
            if row["forger"] in (SWAP, EQUAL):
                by[str(row.get("axis", "progress")), row["batch"], row["target"], row["forger"]] = row["l2"]
        for (axis, batch, target, forger), value in by.items():
            if forger == SWAP:
                key = (point["setting"], ORDER.index(point["point"]), axis, batch)
                pairs.setdefault(key, []).append((value, by[axis, batch, target, EQUAL]))
    found: list[Cell] = []
    for (setting, place, axis, batch), own in sorted(pairs.items()):
        better = sum(swap <= greedy for swap, greedy in own)
        low, high = clopper_pearson(better, len(own))
        ratio = float(np.median([greedy / swap if swap else math.inf for swap, greedy in own]))
        found.append(
            {
                "setting": setting,
                "point": ORDER[place],
                "axis": axis,
                "batch": batch,
                "targets": len(own),
                "not_worse": better,
                "share": better / len(own),
                "low": low,
                "high": high,
                "median_advantage": ratio if math.isfinite(ratio) else None,
            }
        )
    return found


def absorption_cells(points: Sequence[Point]) -> list[Cell]:
    """Nearest swaps and empty chairs: how many change no weight, no byte at all, and which traces differ then."""
    found: list[Cell] = []
    for (setting, place), group in groupby(points, key=lambda point: (point["setting"], point["point"])):
        own = list(group)
        tried = [pair for point in own for pair in point["absorbed"]["swaps"]]
        swaps = [pair["swap"] for pair in tried]
        hidden = [swap for swap in swaps if swap["weights"]]
        whole = [swap for swap in hidden if swap["buffers"] and swap["optimiser"]]
        unseen = [swap for swap in whole if swap["losses"] and swap["gradient"]]
        found.append(
            {
                "setting": setting,
                "point": place,
                "seeds": len(own),
                "swaps": len(swaps),
                "weights_unchanged": len(hidden),
                "seeds_with_any": sum(any(pair["swap"]["weights"] for pair in p["absorbed"]["swaps"]) for p in own),
                "seen_in_optimiser": sum(not swap["optimiser"] for swap in hidden),
                "seen_in_buffers": sum(not swap["buffers"] for swap in hidden),
                "seen_in_losses": sum(not swap["losses"] for swap in hidden),
                "seen_in_gradient": sum(not swap["gradient"] for swap in hidden),
                "state_unchanged": len(whole),
                "state_unchanged_seen_in_losses": sum(not swap["losses"] for swap in whole),
                "state_unchanged_seen_in_gradient": sum(not swap["gradient"] for swap in whole),
                "seen_by_nothing_but_the_schedule": len(unseen),
                "schedule_agrees": sum(pair["schedule"] for pair in tried),
                "empty_chairs_weights_unchanged": sum(pair["empty"]["weights"] for pair in tried),
            }
        )
    return found


def log_cells(stated: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """Forged logs by model and method: how many either verifier takes for true.

    Step by step a log is valid where no forged step lands further than delta from the recorded one; the published
    verifier carries whole segments out, in which a forged step's difference goes on growing.
    """
    found: list[Cell] = []

    def key(log: Mapping[str, Any]) -> tuple[str, str]:
        return log["model"], log["method"]

    for (model, method), group in groupby(sorted(stated, key=key), key=key):
        own = list(group)
        refusals = Counter(check for log in own for check in log["refused_by"])
        grown = [log["distance"] / log["step_distance"] for log in own if log["step_distance"]]
        found.append(
            {
                "model": model,
                "method": method,
                "logs": len(own),
                "seeds": len({log["seed"] for log in own}),
                "steps": sum(log["steps"] for log in own),
                "segments": max(log["segments"] for log in own),
                "honest_believed": sum(log["honest_believed"] for log in own),
                "valid_step_by_step": sum(log["step_distance"] <= log["delta"] for log in own),
                "published_accepts": sum(log["deceived"] for log in own),
                "published_refuses_by": dict(sorted(refusals.items())),
                "verify_refuses": sum(log["refused"] for log in own),
                "as_expected": sum(log["codes"] == [log["expected"]] for log in own),
                "largest_step_share_of_delta": max(log["step_distance"] / log["delta"] for log in own),
                "median_growth": float(np.median(grown)) if grown else None,
                "median_share_of_delta": float(np.median([log["distance"] / log["delta"] for log in own])),
                "largest_share_of_delta": max(log["distance"] / log["delta"] for log in own),
            }
        )
    return found


def acceptance(
    bounds: Sequence[Cell],
    fell: Sequence[Cell],
    equal: Sequence[Cell],
    hidden: Sequence[Cell],
    stated: Sequence[Mapping[str, Any]],
) -> Cell:
    """The checks that this study decides, with what they were decided on.

    Whether Proof-of-Learning believes forged logs is decided by ``studies.proof_of_learning``, in the setting of the
    forging paper; what it says of the logs of this study is in ``log_cells``.
    """
    return {
        "5": _slope_check([cell for cell in slopes(bounds) if cell["point"] == EARLY]),
        "6": _fall_check(
            [cell for cell in fell if cell["point"] == EARLY and len(cell["candidates"]) > 2],
            [cell for cell in equal if cell["axis"] == "progress"],
        ),
        "8": _check(
            [_refused(stated)], bool(stated) and all(log["refused"] and log["level"] == "V1" for log in stated)
        ),
        "11": _absorption_check(hidden),
    }


def _check(said: Sequence[str], passed: bool) -> Cell:
    return {"passed": passed, "said": list(said)}


def _slope_check(early: Sequence[Cell]) -> Cell:
    replaced = [cell for cell in early if cell["replacement"]]
    said = [
        f"{cell['setting']}, {'with' if cell['replacement'] else 'without'} replacement: slope {cell['slope']:.3f} "
        f"[{cell['low']:.3f}, {cell['high']:.3f}], expected {cell['expected']:.3f}; rms within "
        f"{cell['largest_departure']:.1%} of what was expected, {cell['pairs']} pairs a size"
        for cell in early
    ]
    passed = all(
        abs(cell["slope"] + 0.5) <= 0.1 and cell["largest_departure"] <= 0.1 and cell["pairs"] >= 200
        for cell in replaced
    )
    return _check(said, bool(replaced) and passed)


def _fall_check(table: Sequence[Cell], equal: Sequence[Cell]) -> Cell:
    said = [
        f"{cell['setting']}: the median {'falls' if cell['falls'] else 'does not fall'} with every more candidates, "
        f"M = {', '.join(f'{count:,}' for count in cell['candidates'])}, {cell['first_to_last']:.2f}-fold in all"
        for cell in table
    ]
    if equal:
        better, whole = (sum(cell[name] for cell in equal) for name in ("not_worse", "targets"))
        worst = min(equal, key=lambda cell: cell["share"])
        said.append(
            f"swap is no worse than greedy at equal cost on {better:,} of {whole:,} targets; of the {len(equal)} cells "
            f"the one with the fewest is {worst['setting']}, {worst['point']}, with {worst['not_worse']} of "
            f"{worst['targets']}"
        )
    passed = all(cell["falls"] for cell in table) and all(cell["share"] >= 0.9 for cell in equal)
    return _check(said, bool(table) and bool(equal) and passed)


def _refused(stated: Sequence[Mapping[str, Any]]) -> str:
    refused = sum(log["refused"] and log["level"] == "V1" for log in stated)
    if not stated:
        return "no log was forged"
    _, most = clopper_pearson(len(stated) - refused, len(stated), 0.90)  # its upper end is the one-sided 95 %
    told = f"{refused} of {len(stated)} are refused at V1, {sum(log['codes'] == [log['expected']] for log in stated)} "
    return told + f"with the expected code and no other; at most {most:.1%} are missed, at 95 %"


def _absorption_check(hidden: Sequence[Cell]) -> Cell:
    some = [cell for cell in hidden if cell["weights_unchanged"]]
    said = [
        f"{cell['setting']}, {cell['point']}: {cell['weights_unchanged']} of {cell['swaps']} swaps change no weight, "
        f"{cell['state_unchanged']} no byte of the state; of the former the losses show {cell['seen_in_losses']}, the "
        f"gradient {cell['seen_in_gradient']}"
        for cell in some
    ]
    rest = [cell for cell in hidden if not cell["weights_unchanged"]]
    agree = sum(cell["schedule_agrees"] for cell in hidden)
    said.append(
        f"at the {len(rest)} other points none of {sum(cell['swaps'] for cell in rest):,} swaps changes no weight"
    )
    said.append(
        f"the schedule takes {agree} of {sum(cell['swaps'] for cell in hidden):,} swaps for the scheduled batch"
    )
    return _check(said, bool(some) and agree == 0)
