"""Of the forging page: the axes of the study, each with its drawing and its table."""

from __future__ import annotations

from expunge.core.wording import three_digits
from studies.pages.forging_pictures import PLAIN, POINTS, Cell, Results, cells_of, one_of, picture
from studies.pages.markdown import paragraph, table


def bound_lines(results: Results, pictures: str) -> list[str]:
    """The error of one random candidate against the batch size."""
    return [
        "",
        "## Batch size",
        *paragraph(
            "Two random batches of b rows lead to weights that lie rate · ‖ḡ − ḡ′‖ apart. The mean of its square is "
            "2 · rate² · tr Σ / b where rows are drawn with replacement, with Σ the covariance of the rows' "
            "gradients, and (N − b)/(N − 1) of that where they are drawn without. The first is a slope of −0.5; the "
            "second falls faster once b is a good part of the data, and to 0 where a batch is all of them. Expected "
            "is computed from the gradients at that state, the rest is measured on pairs."
        ),
        *_drawn("bound", "two random batches against the spread of the gradients", pictures),
        *table(
            ("training", "progress", "drawn", "slope of rms against b", "expected", "rms off by at most", "pairs"),
            [
                (
                    cell["setting"],
                    cell["point"],
                    f"with{'' if cell['replacement'] else 'out'} replacement",
                    f"{cell['slope']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]",
                    f"{cell['expected']:.3f}",
                    f"{cell['largest_departure']:.1%}",
                    cell["pairs"],
                )
                for cell in results["slopes"]
            ],
        ),
        *paragraph(
            "The check asks for the early rows. Late in training few rows carry nearly all of tr Σ: the root mean "
            "square then hangs on how often a batch meets one of them, and scatters more, so the late rows are here "
            "and are not asked for anything. The next drawing has the forgers' medians, which are not root mean "
            "squares."
        ),
        *_drawn("batch-size", "forgers by batch size", pictures),
    ]


def candidate_lines(results: Results, pictures: str) -> list[str]:
    """More candidates, and swap against greedy at equal cost."""
    falls = [cell for cell in results["falls"] if len(cell["candidates"]) > 2]
    nearer = [cell["first_to_last"] for cell in falls]
    counts = sorted({count for cell in falls for count in cell["candidates"]})
    rows = [
        (cell["setting"], cell["point"], *(_median_at(cell, count) for count in counts), f"{cell['first_to_last']:.2f}")
        for cell in falls
    ]
    return [
        "",
        "## More candidates, or better ones",
        *_drawn("candidates", "greedy by number of candidates", pictures),
        *paragraph(
            "Every number of candidates has its own draws. Four hundred to four thousand times the work brings "
            f"`greedy` {min(nearer, default=1):.1f} to {max(nearer, default=1):.1f} times nearer. Medians of l2:"
        ),
        *table(("training", "progress", *(f"M = {count:,}" for count in counts), "first over last"), rows),
        *paragraph(
            "`swap` looks at every row once. `greedy` is given as many candidates as that pays for, rounded up in its "
            "favour, and loses on nearly every target:"
        ),
        *table(
            (
                "training",
                "progress",
                "b",
                "swap no worse, of targets",
                "share, 95 % interval",
                "median advantage of swap",
            ),
            [
                (
                    cell["setting"],
                    cell["point"],
                    f"{cell['batch']:,}" + (", same state" if cell["axis"] == "batch size" else ""),
                    f"{cell['not_worse']} of {cell['targets']}",
                    f"{cell['share']:.0%} [{cell['low']:.1%}, {cell['high']:.1%}]",
                    "–" if cell["median_advantage"] is None else f"{three_digits(cell['median_advantage'])} ×",
                )
                for cell in results["equal_cost"]
            ],
        ),
        *_drawn("distance", "l2 and the largest difference of a weight", pictures),
    ]


def _median_at(cell: Cell, count: int) -> str:
    found = dict(zip(cell["candidates"], cell["medians"], strict=True))
    return f"{found[count]:.2g}" if count in found else "–"


def progress_lines(results: Results, pictures: str) -> list[str]:
    """Along the training."""
    told: list[str] = []
    for setting in PLAIN:
        for forger, count in (("greedy", 400), ("swap", None)):
            found = cells_of(results, setting=setting, axis="progress", forger=forger, candidates=count, distance="l2")
            if len(found) > 1 and found[-1]["median"]:
                name = forger if count is None else f"{forger} with M = {count}"
                told.append(f"`{setting}`, {name}: {three_digits(found[0]['median'] / found[-1]['median'])} times")
    return [
        "",
        "## Progress of the training",
        *paragraph(
            "Gradients shrink as a training goes on, and those of like rows grow alike. From the first point to the "
            f"last a forged step comes nearer by: {'; '.join(told) or 'not known'}."
        ),
        *_drawn("progress", "forgers along a training", pictures),
    ]


def noise_lines(results: Results, pictures: str) -> list[str]:
    """Beside what honest replays are off."""
    kinds = list(dict.fromkeys(cell["kind"] for cell in results["noise"]))
    found = {
        (cell["setting"], cell["point"], cell["kind"]): cell for cell in results["noise"] if cell["distance"] == "l2"
    }
    places = list(dict.fromkeys((setting, point) for setting, point, _ in found))
    swaps = {place: swap_of(results, *place) for place in places}
    return [
        "",
        "## Against honest replays",
        *paragraph(
            "The same step, carried out again by an honest machine: as it was; with another thread count; with the "
            "kernels of oneDNN off; with the rows of the batch in another order. Median l2 over seeds. A verifier that "
            "forgives these differences forgives whatever lies below them."
        ),
        *_drawn("replay-noise", "honest replays against swap", pictures),
        *table(
            ("training", "progress", *kinds, "`swap`", "`swap` ÷ largest noise"),
            [
                (*place, *(f"{found[(*place, kind)]['median']:.2g}" for kind in kinds), *_beside(swaps[place]))
                for place in places
            ],
        ),
    ]


def swap_of(results: Results, setting: str, point: str) -> Cell | None:
    """The cell of swap at a point."""
    return one_of(results, setting=setting, point=point, axis="progress", forger="swap", distance="l2")


def _beside(swap: Cell | None) -> tuple[str, str]:
    if swap is None:
        return "–", "–"
    ratio = swap["ratio_to_noise"]
    return f"{swap['median']:.2g}", "replays are exact" if ratio is None else f"{three_digits(ratio)} ×"


def head_lines(results: Results, pictures: str) -> list[str]:
    """By momentum, norm and head."""
    normed = sum(cell["weights_unchanged"] for cell in results["absorption"] if "batch norm" in cell["setting"])
    return [
        "",
        "## Momentum, batch norm and head",
        *paragraph(
            "The rate is a tenth with momentum 0.9 and with batch norm, which also has momentum 0.9. With batch norm "
            "the rows of a batch meet in its statistics, so exchanging one moves what every other one contributes: "
            f"`swap`, which looks at rows one by one, is the worse for it, and {normed or 'no'} swaps are absorbed. "
            "The public notebook of the forging paper ends its network with a softmax and trains it by a "
            "cross-entropy that takes another one, which flattens the gradients: early in training a forger comes "
            "nearer for it."
        ),
        *_drawn("head-and-momentum", "forgers by momentum, norm and head", pictures),
    ]


def _drawn(name: str, words: str, pictures: str) -> list[str]:
    return ["", f"![{words}]({pictures}/{picture(name)})"]


def method_lines(results: Results) -> list[str]:
    """Every cell at batches of 64."""
    found = [cell for cell in results["cells"] if (cell["axis"], cell["distance"]) == ("progress", "l2")]
    order = {setting["name"]: place for place, setting in enumerate(results["settings"])}
    return [
        "",
        "## Every forger, batches of 64",
        *paragraph(
            "Work is in example-steps a target: one row forward and backward. M counts batches for `greedy`, rows "
            "tried for `absorb`, steps of descent for `content`. Targets are those for which anything was found; a "
            "dash where nothing was."
        ),
        *table(
            ("training", "progress", "forger", "M", "targets", "l2 median", "least – most", "÷ replay noise", "work"),
            [
                (
                    cell["setting"],
                    cell["point"],
                    cell["forger"],
                    "–" if cell["candidates"] is None else f"{cell['candidates']:,}",
                    f"{cell['forged']} of {cell['targets']}",
                    *_found(cell),
                    f"{cell['example_steps']:,.0f}",
                )
                for cell in sorted(found, key=lambda cell: (order[cell["setting"]], POINTS.index(cell["point"])))
            ],
        ),
    ]


def _found(cell: Cell) -> tuple[str, str, str]:
    """Median, range and ratio of a cell; dashes where no target was forged."""
    if cell["median"] is None:
        return "–", "–", "–"
    ratio = "replays are exact" if cell["ratio_to_noise"] is None else three_digits(cell["ratio_to_noise"])
    return f"{cell['median']:.2g}{_interval(cell)}", f"{cell['least']:.2g} – {cell['most']:.2g}", ratio


def _interval(cell: Cell) -> str:
    return "" if cell["low"] is None else f" [{cell['low']:.2g}, {cell['high']:.2g}]"
