"""Of the forging page: the same forgers on larger pictures, each data set beside the digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from expunge.core.wording import three_digits
from studies.pages.forging_pictures import Cell, Results
from studies.pages.markdown import paragraph, table

ORDER = ("10 steps", "1 epoch", "10 epochs")
Others = Sequence[Results]


def other_data_lines(others: Others) -> list[str]:
    """Medians of every forger, what honest replays are off, and what is absorbed."""
    if not others:
        return []
    told = [_measured(other) for other in others]
    rows = [row for other in others for row in _rows(other)]
    return [
        "",
        "## Larger pictures",
        *paragraph(
            "The same question on other data: the network `cnn` of the digits at its rate, batches of 64, the first "
            "5,000 rows of an array file (`python -m studies.pictures` writes such files), of which the split leaves "
            "four in five to train on. Training until fitted would take too long "
            "here, so the points are early ones. " + " ".join(told)
        ),
        *table(
            (
                "data",
                "progress",
                *("greedy, M = 1", "M = 10", "M = 100", "nearest", "swap"),
                "swap ÷ replay noise",
                "swap no worse at equal cost",
                "swaps that change no weight",
            ),
            rows,
        ),
        *paragraph(_summary(others)),
    ]


def _measured(other: Results) -> str:
    machine = other["machine"]
    return (
        f"{other['name']}: {other['training_rows']:,} training rows, {other['seeds']} seeds, "
        f"{other['targets']} targets a seed ({other['date']}, `{other['command']}`, {machine['processor']}, "
        f"torch {machine['torch']}{'; ' + other['note'] if other['note'] else ''})."
    )


def _rows(other: Results) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for point in ORDER:
        medians = [_cell(other, point, "greedy", count) for count in (1, 10, 100)]
        medians += [_cell(other, point, name) for name in ("nearest", "swap")]
        if not any(medians):
            continue
        equal = next((one for one in other["equal_cost"] if one["point"] == point), None)
        hidden = next((one for one in other["absorption"] if one["point"] == point), None)
        swap = medians[-1]
        ratio = None if swap is None else swap["ratio_to_noise"]
        found.append(
            (
                other["name"],
                point,
                *("–" if one is None else _shown(one) for one in medians),
                three_digits(ratio) if ratio else "–",
                "–" if equal is None else f"{equal['not_worse']} of {equal['targets']}",
                "–" if hidden is None else f"{hidden['weights_unchanged']} of {hidden['swaps']}",
            )
        )
    return found


def _cell(other: Results, point: str, forger: str, candidates: int | None = None) -> Cell | None:
    wanted = {"point": point, "forger": forger, "candidates": candidates, "distance": "l2", "axis": "progress"}
    return next((cell for cell in other["cells"] if all(cell[name] == value for name, value in wanted.items())), None)


def _shown(cell: Cell) -> str:
    if cell["low"] is None:
        return f"{cell['median']:.2g}"
    return f"{cell['median']:.2g} [{cell['low']:.2g}, {cell['high']:.2g}]"


def _summary(others: Others) -> str:
    """The two answers of the page on these data."""
    equal = [cell for other in others for cell in other["equal_cost"]]
    better, targets = sum(cell["not_worse"] for cell in equal), sum(cell["targets"] for cell in equal)
    falls = [cell for other in others for cell in other["falls"]]
    hidden = [cell for other in others for cell in other["absorption"]]
    absorbed, swaps = (sum(cell[name] for cell in hidden) for name in ("weights_unchanged", "swaps"))
    fell = sum(cell["falls"] for cell in falls)
    return (
        f"`greedy` comes nearer with every more candidates in {fell} of {len(falls)} rows of the table; `swap` is no "
        f"worse at equal cost on {better:,} of {targets:,} targets. {absorbed:,} of {swaps:,} swaps change no weight; "
        "no point here is late in training, where rounding swallows them."
    )
