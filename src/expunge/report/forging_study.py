"""What the forging study found, as drawings and as a page: from its committed results, nothing is measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from expunge.report.line_chart import Point, Series, line_chart_svg

Results = Mapping[str, Any]
Cell = Mapping[str, Any]
EARLY, FITTED = "10 steps", "100 %"
POINTS = (EARLY, "10 %", "50 %", FITTED, "10 × past fitting")
L2 = "l2 distance between the weights after one step, median over targets and seeds"
ABSORBED = {
    "swaps": "swaps",
    "weights_unchanged": "no weight changes",
    "seen_in_optimiser": "seen in momentum",
    "seen_in_buffers": "in buffers",
    "seen_in_losses": "in losses",
    "seen_in_gradient": "in the gradient",
    "state_unchanged": "no byte of the state changes",
    "seen_by_nothing_but_the_schedule": "seen by nothing but the schedule",
    "empty_chairs_weights_unchanged": "empty chairs: no weight changes",
}
LOGS = {
    "logs": "logs",
    "steps": "forged steps",
    "published_accepts": "accepted as published",
    "largest_share_of_delta": "largest distance / delta",
    "verify_refuses": "refused by verify",
    "as_expected": "with the expected code",
}
ACCEPTANCE = {
    "5": "The error of one candidate falls like the square root of the batch size",
    "6": "More candidates come nearer, and swap beats greedy at equal cost",
    "7": "Proof-of-Learning as published believes forged logs",
    "8": "verify refuses forged logs at V1",
    "11": "Absorbed swaps pass every replay and fail the schedule",
}


def forging_pictures(results: Results) -> dict[str, str]:
    """One drawing for each axis of the study, by its name."""
    drawn: dict[str, Callable[[Results], str]] = {
        "candidates": _candidates,
        "batch-size": _batch_size,
        "bound": _bound,
        "progress": _progress,
        "distance": _distance,
        "replay-noise": _noise,
        "head-and-momentum": _head_and_momentum,
    }
    return {f"forging-{name}.svg": draw(results) for name, draw in drawn.items()}


def _candidates(results: Results) -> str:
    series: list[Series] = []
    for setting in ("cnn", "mlp"):
        greedy = _cells(results, setting=setting, point=EARLY, axis="progress", forger="greedy", distance="l2")
        series.append(Series(f"{setting}, greedy", _points(greedy, "candidates")))
        ends = [cell["candidates"] for cell in greedy]
        for forger in ("swap", "matching"):
            level = _one(results, setting=setting, point=EARLY, axis="progress", forger=forger, distance="l2")
            if level is not None and ends:
                series.append(_level(f"{setting}, {forger}", level["median"], ends))
    return line_chart_svg(
        "Forging after 10 steps: candidates against exchanging one row", series, across="candidates M", up=L2
    )


def _batch_size(results: Results) -> str:
    series: list[Series] = []
    for setting in ("cnn", "mlp"):
        for forger, count in (("greedy", 1), ("greedy", 400), ("swap", None)):
            cells = _cells(
                results,
                setting=setting,
                point=EARLY,
                axis="batch size",
                forger=forger,
                candidates=count,
                distance="l2",
            )
            name = forger if count is None else f"{forger}, M = {count}"
            series.append(Series(f"{setting}, {name}", _points(cells, "batch")))
    return line_chart_svg("Forging after 10 steps: batch size, at the same state", series, across="rows b", up=L2)


def _bound(results: Results) -> str:
    series: list[Series] = []
    for setting in ("cnn", "mlp"):
        for replacement, name in ((True, "with"), (False, "without")):
            cells = [
                cell
                for cell in results["bound"]
                if (cell["setting"], cell["point"], cell["replacement"]) == (setting, EARLY, replacement)
            ]
            measured = tuple(Point(cell["batch"], cell["rms"]) for cell in cells)
            expected = tuple(Point(cell["batch"], cell["expected_rms"]) for cell in cells)
            series.append(Series(f"{setting}, drawn {name} replacement", measured))
            series.append(Series(f"{setting}, {name}: expected", expected, dashed=True))
    return line_chart_svg(
        "Two random batches after 10 steps, and what the gradients’ spread says",
        series,
        across="rows b",
        up="root mean square l2 distance between the weights after one step",
    )


def _progress(results: Results) -> str:
    series: list[Series] = []
    for setting in ("cnn", "mlp"):
        for forger, count in (("greedy", 400), ("swap", None)):
            cells = _along(results, setting, forger, count)
            name = forger if count is None else f"{forger}, M = {count}"
            series.append(Series(f"{setting}, {name}", _points(cells, "point")))
        swap = _along(results, setting, "swap", None)
        noise = tuple(Point(cell["point"], cell["replay_noise"]) for cell in swap)
        series.append(Series(f"{setting}, largest replay noise", noise, dashed=True))
    return line_chart_svg("Forging along a training", series, across="progress of the training", up=L2)


def _distance(results: Results) -> str:
    series: list[Series] = []
    for setting in ("cnn", "mlp"):
        for distance, name in (("l2", "l2"), ("largest", "l∞")):
            cells = _cells(results, setting=setting, point=EARLY, axis="progress", forger="greedy", distance=distance)
            series.append(Series(f"{setting}, greedy, {name}", _points(cells, "candidates")))
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
    series.append(Series("swap", _points(_along(results, "cnn", "swap", None), "point")))
    return line_chart_svg(
        "Honest replays against the best exchange of one row (cnn)",
        series,
        across="progress of the training",
        up="l2 distance between the weights after one step, median",
    )


def _head_and_momentum(results: Results) -> str:
    names = ("cnn", "cnn, momentum 0.9", "cnn, head logits", "cnn, head softmax")
    series: list[Series] = []
    for forger, count in (("greedy", 1), ("greedy", 400), ("swap", None)):
        for point in (EARLY, FITTED):
            found = {
                setting: _one(
                    results,
                    setting=setting,
                    point=point,
                    axis="progress",
                    forger=forger,
                    candidates=count,
                    distance="l2",
                )
                for setting in names
            }
            name = forger if count is None else f"{forger}, M = {count}"
            kept = [(setting.removeprefix("cnn, ") or setting, cell) for setting, cell in found.items() if cell]
            points = tuple(_point("momentum 0" if place == "cnn" else place, cell) for place, cell in kept)
            series.append(Series(f"{name}, {point}", points))
    return line_chart_svg("Forging by momentum, and by head (cnn)", series, across="training", up=L2)


def _along(results: Results, setting: str, forger: str, count: int | None) -> list[Cell]:
    return _cells(results, setting=setting, axis="progress", forger=forger, candidates=count, distance="l2")


def _cells(results: Results, **wanted: Any) -> list[Cell]:
    """Cells with these fields, in the order of the points of the training, of batch sizes and of candidates."""
    found = [
        cell
        for cell in results["cells"]
        if cell["median"] is not None and all(cell[name] == value for name, value in wanted.items())
    ]
    return sorted(found, key=lambda cell: (POINTS.index(cell["point"]), cell["batch"], cell["candidates"] or 0))


def _one(results: Results, **wanted: Any) -> Cell | None:
    return next(iter(_cells(results, **wanted)), None)


def _points(cells: Iterable[Cell], across: str) -> tuple[Point, ...]:
    return tuple(_point(cell[across], cell) for cell in cells)


def _point(across: float | str, cell: Cell) -> Point:
    return Point(across, cell["median"], cell["low"], cell["high"])


def _level(name: str, value: float, ends: Sequence[float]) -> Series:
    return Series(name, (Point(min(ends), value), Point(max(ends), value)), dashed=True)


def forging_page(results: Results, pictures: str) -> list[str]:
    """The page in Markdown; ``pictures`` is where the drawings lie."""
    return [
        *_opening(results),
        *_checks(results),
        *_figures(results, pictures),
        *_methods(results),
        *_hidden(results),
        *_logs(results),
    ]


def _opening(results: Results) -> list[str]:
    machine = results["machine"]
    settings = "; ".join(
        f"{setting['name']} (rate {setting['rate']:g}, fitted after {_range(setting['steps'].get(FITTED, []))} steps)"
        for setting in results["settings"]
    )
    return [
        "# Forging",
        "",
        "How near a log comes that denies a training row, and who sees through it. Every forger exchanges the batch",
        "of a step for one without the row; what is measured is how far the weights after that step lie from the",
        "recorded ones (Thudi et al., USENIX Security 2022). [auditing.md](auditing.md) says what records prove;",
        "`expunge forge` does to a run of yours what this study does.",
        "",
        f"{results['date']}, `{results['command']}`, {machine['processor']}, torch {machine['torch']},",
        f"{results['seconds'] / 60:.0f} minutes. Data: {results['data']}. {results['seeds']} training seeds and",
        f"{results['targets']} targets a seed in every cell; {results['few']} targets a seed where M = 4,000, where",
        "M = 400 meets batches above 64, and for `content`. Batches of 64 unless said, constant rates, no decay.",
        "Intervals are those of the median, at 95 %, over targets and seeds.",
        "",
        f"Trainings: {settings}. Fitted is the end of the first epoch after which every training row is answered",
        "right, or of the last that was allowed.",
    ]


def _range(steps: Sequence[int]) -> str:
    if not steps:
        return "–"
    return f"{min(steps):,}" if min(steps) == max(steps) else f"{min(steps):,} to {max(steps):,}"


def _checks(results: Results) -> list[str]:
    lines = ["", "## What was to be found out", ""]
    for number, title in ACCEPTANCE.items():
        check = results["acceptance"][number]
        lines.append(f"- **{title}: {'yes' if check['passed'] else 'no'}.**")
        lines += [f"  - {line}." for line in check["said"]]
    return lines


def _figures(results: Results, pictures: str) -> list[str]:
    lines = ["", "## By axis", ""]
    for name in forging_pictures(results):
        lines += [f"![{name.removeprefix('forging-').removesuffix('.svg').replace('-', ' ')}]({pictures}/{name})", ""]
    return lines[:-1]


def _methods(results: Results) -> list[str]:
    lines = ["", "## Every forger, batches of 64", ""]
    lines += ["| training | progress | forger | M | targets | l2 median | least – most | × replay noise | work |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for cell in _cells(results, axis="progress", distance="l2"):
        ratio = "replays are exact" if cell["ratio_to_noise"] is None else f"{cell['ratio_to_noise']:.3g}"
        lines.append(
            f"| {cell['setting']} | {cell['point']} | {cell['forger']} | {_count(cell['candidates'])} | "
            f"{cell['forged']} of {cell['targets']} | {cell['median']:.2g}{_interval(cell)} | "
            f"{cell['least']:.2g} – {cell['most']:.2g} | {ratio} | {cell['example_steps']:,.0f} |"
        )
    return lines


def _count(candidates: int | None) -> str:
    return "–" if candidates is None else f"{candidates:,}"


def _interval(cell: Cell) -> str:
    return "" if cell["low"] is None else f" [{cell['low']:.2g}, {cell['high']:.2g}]"


def _hidden(results: Results) -> list[str]:
    lines = [
        "",
        "## Absorption",
        "",
        "Every member of a batch is exchanged for the row with the nearest gradient. Of the swaps that change no",
        "weight, a trace of losses or of gradients may show some, the optimiser's state others; what passes all of",
        "them is seen by the schedule alone, which refuses every one. Beside them each member's chair is left empty",
        "instead.",
        "",
        _row("training", "progress", *ABSORBED.values()),
        "|" + "---|" * (2 + len(ABSORBED)),
    ]
    for cell in results["absorption"]:
        lines.append(_row(cell["setting"], cell["point"], *(cell[name] for name in ABSORBED)))
    return lines


def _logs(results: Results) -> list[str]:
    lines = [
        "",
        "## Forged logs of whole trainings",
        "",
        "Each denies one row in every step that held it. Proof-of-Learning as published carries the largest segments",
        "out again and lets them be off by delta = 0.008 × the distance between honest trainings of other seeds.",
        "",
        _row("training", "forger", *LOGS.values()),
        "|" + "---|" * (2 + len(LOGS)),
    ]
    for cell in results["logs"]:
        told = {**cell, "largest_share_of_delta": f"{cell['largest_share_of_delta']:.3g}"}
        lines.append(_row(cell["model"], cell["method"], *(told[name] for name in LOGS)))
    return lines


def _row(*entries: object) -> str:
    """One row of a table."""
    return "| " + " | ".join(map(str, entries)) + " |"
