"""The drawings of the forging study: one for each axis, from its committed results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from studies.pages.line_chart import Point, Series, line_chart_svg

Results = Mapping[str, Any]
Cell = Mapping[str, Any]
EARLY, FITTED, PAST = "10 steps", "100 %", "10 × past fitting"
POINTS = (EARLY, "10 %", "50 %", FITTED, PAST)
PLAIN = ("cnn", "mlp")  # trainings without momentum, on which every axis is measured
HEADS = ("cnn", "cnn, momentum 0.9", "cnn, batch norm, momentum 0.9", "cnn, head logits", "cnn, head softmax")
MANY = "greedy, M = 400 (batch norm: 100)"
L2 = "l2 distance between the weights after one step, median over targets and seeds"


def forging_pictures(results: Results) -> dict[str, str]:
    """One drawing for each axis of the study, by its name."""
    drawn: dict[str, Callable[[Results], str]] = {
        "bound": _bound,
        "candidates": _candidates,
        "batch-size": _batch_size,
        "progress": _progress,
        "distance": _distance,
        "replay-noise": _noise,
        "head-and-momentum": _head_and_momentum,
    }
    return {picture(name): draw(results) for name, draw in drawn.items()}


def picture(name: str) -> str:
    """The file of a drawing."""
    return f"forging-{name}.svg"


def _bound(results: Results) -> str:
    series: list[Series] = []
    for setting in PLAIN:
        for replacement, name in ((True, "with"), (False, "without")):
            cells = [
                cell
                for cell in results["bound"]
                if (cell["setting"], cell["point"], cell["replacement"]) == (setting, EARLY, replacement)
            ]
            colour = len(series) // 2
            measured = tuple(Point(cell["batch"], cell["rms"]) for cell in cells)
            expected = tuple(Point(cell["batch"], cell["expected_rms"]) for cell in cells)
            series.append(Series(f"{setting}, drawn {name} replacement", measured, joined=False, colour=colour))
            series.append(Series(f"{setting}, {name}: expected", expected, dashed=True, colour=colour))
    return line_chart_svg(
        "Two random batches after 10 steps, and what the gradients’ spread says",
        series,
        across="rows b",
        up="root mean square l2 distance between the weights after one step",
    )


def _candidates(results: Results) -> str:
    series: list[Series] = []
    for colour, setting in enumerate(PLAIN):
        greedy = cells_of(results, setting=setting, point=EARLY, axis="progress", forger="greedy", distance="l2")
        series.append(Series(f"{setting}, greedy", _points(greedy, "candidates"), colour=colour))
        swap = one_of(results, setting=setting, point=EARLY, axis="progress", forger="swap", distance="l2")
        if swap is not None and greedy:
            ends = [cell["candidates"] for cell in greedy]
            level = tuple(Point(end, swap["median"]) for end in (min(ends), max(ends)))
            name = f"{setting}, swap: as much work as {swap['example_steps'] / swap['batch']:.0f} candidates"
            series.append(Series(name, level, dashed=True, colour=colour))
    return line_chart_svg(
        "Forging after 10 steps: candidates against exchanging one row", series, across="candidates M", up=L2
    )


def _batch_size(results: Results) -> str:
    series: list[Series] = []
    for setting in PLAIN:
        for forger, count in (("greedy", 1), ("greedy", 400), ("swap", None)):
            found = cells_of(
                results,
                setting=setting,
                point=EARLY,
                axis="batch size",
                forger=forger,
                candidates=count,
                distance="l2",
            )
            series.append(Series(f"{setting}, {_named(forger, count)}", _points(found, "batch")))
    return line_chart_svg("Forging after 10 steps: batch size, at the same state", series, across="rows b", up=L2)


def _progress(results: Results) -> str:
    series: list[Series] = []
    for setting in PLAIN:
        for forger, count in (("greedy", 400), ("swap", None)):
            series.append(
                Series(f"{setting}, {_named(forger, count)}", _points(_along(results, setting, forger, count)))
            )
        swap = _along(results, setting, "swap", None)
        noise = tuple(Point(cell["point"], cell["replay_noise"]) for cell in swap)
        series.append(Series(f"{setting}, largest replay noise", noise, dashed=True))
    return line_chart_svg("Forging along a training", series, across="progress of the training", up=L2)


def _distance(results: Results) -> str:
    series: list[Series] = []
    for setting in PLAIN:
        for distance, name in (("l2", "l2"), ("largest", "l∞")):
            found = cells_of(results, setting=setting, point=EARLY, axis="progress", forger="greedy", distance=distance)
            series.append(Series(f"{setting}, greedy, {name}", _points(found, "candidates")))
    return line_chart_svg(
        "Forging after 10 steps: both distances, each the least over its candidates",
        series,
        across="candidates M",
        up="distance between the weights after one step, median over targets and seeds",
    )


def _noise(results: Results) -> str:
    kinds = list(dict.fromkeys(cell["kind"] for cell in results["noise"]))
    series = [
        Series(
            f"replay, {kind}",
            tuple(
                Point(cell["point"], cell["median"])
                for cell in results["noise"]
                if (cell["setting"], cell["kind"], cell["distance"]) == ("cnn", kind, "l2")
            ),
        )
        for kind in kinds
    ]
    series.append(Series("swap", _points(_along(results, "cnn", "swap", None))))
    return line_chart_svg(
        "Honest replays against the best exchange of one row (cnn)",
        series,
        across="progress of the training",
        up="l2 distance between the weights after one step, median",
    )


def _head_and_momentum(results: Results) -> str:
    series: list[Series] = []
    for forger, name in ((("greedy", 1), "greedy, M = 1"), (("greedy", 400), MANY), (("swap", None), "swap")):
        for point in (EARLY, FITTED):
            kept = [
                (setting, cell)
                for setting in HEADS
                for cell in _along(results, setting, *_measured(setting, *forger))
                if cell["point"] == point
            ]
            points = tuple(_point(_head(setting), cell) for setting, cell in kept)
            series.append(Series(f"{name}, {point}", points, joined=False))
    return line_chart_svg("Forging by momentum, norm and head (cnn)", series, across="training", up=L2)


def _measured(setting: str, forger: str, count: int | None) -> tuple[str, int | None]:
    """With batch norm greedy drew 100 candidates at most."""
    return forger, 100 if count == 400 and "batch norm" in setting else count


def _head(setting: str) -> str:
    return "momentum 0" if setting == "cnn" else setting.removeprefix("cnn, ").removesuffix(", momentum 0.9")


def _named(forger: str, count: int | None) -> str:
    return forger if count is None else f"{forger}, M = {count}"


def _along(results: Results, setting: str, forger: str, count: int | None) -> list[Cell]:
    return cells_of(results, setting=setting, axis="progress", forger=forger, candidates=count, distance="l2")


def cells_of(results: Results, **wanted: Any) -> list[Cell]:
    """Cells with these fields, in the order of the points of the training, of batch sizes and of candidates."""
    found = [
        cell
        for cell in results["cells"]
        if cell["median"] is not None and all(cell[name] == value for name, value in wanted.items())
    ]
    return sorted(found, key=lambda cell: (POINTS.index(cell["point"]), cell["batch"], cell["candidates"] or 0))


def one_of(results: Results, **wanted: Any) -> Cell | None:
    """The first of them, if there is any."""
    return next(iter(cells_of(results, **wanted)), None)


def _points(cells: Iterable[Cell], across: str = "point") -> tuple[Point, ...]:
    return tuple(_point(cell[across], cell) for cell in cells)


def _point(across: float | str, cell: Cell) -> Point:
    return Point(across, cell["median"], cell["low"], cell["high"])
