"""What the forging study found, as a page: from its committed results, nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from expunge.report.forging_pictures import (
    EARLY,
    FITTED,
    PAST,
    PLAIN,
    POINTS,
    Cell,
    Results,
    cells_of,
    one_of,
    picture,
)
from expunge.report.forging_proofs import believed_lines, proofs_lines
from expunge.report.markdown import paragraph, table

ABSORBED = {
    "swaps": "swaps",
    "weights_unchanged": "no weight changes",
    "seen_in_optimiser": "seen in momentum",
    "seen_in_buffers": "in buffers",
    "seen_in_losses": "in losses",
    "seen_in_gradient": "in the gradient",
    "state_unchanged": "no byte of the state changes",
    "state_unchanged_seen_in_losses": "of these seen in losses",
    "state_unchanged_seen_in_gradient": "in the gradient",
    "seen_by_nothing_but_the_schedule": "by the schedule alone",
    "empty_chairs_weights_unchanged": "empty chairs: no weight changes",
}
ACCEPTANCE = {
    "5": "The error of one candidate falls like the square root of the batch size, as the spread of the gradients says",
    "6": "More candidates come nearer, and swap beats greedy at equal cost",
    "8": "verify refuses every forged log at V1",
    "11": "Some swaps pass every replay; the schedule refuses all of them",
}


def forging_page(results: Results, proofs: Mapping[str, Any], pictures: str) -> list[str]:
    """The page in Markdown; ``proofs`` are the results of the study of proofs, ``pictures`` is where drawings lie."""
    return [
        *_opening(results),
        *_claims(),
        *_checks(results),
        *_bound(results, pictures),
        *_candidates(results, pictures),
        *_progress(results, pictures),
        *_noise(results, pictures),
        *_heads(results, pictures),
        *_hidden(results),
        *believed_lines(results),
        *proofs_lines(proofs),
        *_meaning(results),
        *_limits(results),
        *_methods(results),
    ]


def _opening(results: Results) -> list[str]:
    machine = results["machine"]
    return [
        "# Forging",
        *paragraph(
            "A log of a training can deny that a row was in it: exchange every batch that held the row for one that did "
            "not, and leave the weights as they are. This page measures how near such a log comes, and who sees through "
            "it. The distance is that between the weights after one step with the forged batch and after the same step "
            "as it was. `expunge forge` does to a run of yours what this study does; [auditing.md](auditing.md) says "
            "how the records are checked that must survive it."
        ),
        *paragraph(
            f"{results['date']}, `{results['command']}`, {machine['processor']}, torch {machine['torch']}; every cell is "
            f"in `studies/results/forging.csv`. Data: {results['data']}. {results['seeds']} training seeds and "
            f"{results['targets']} targets a seed in every cell; {results['few']} targets a seed where M = 4,000, where "
            "M = 400 meets batches above 64, and for `content`. Batches of 64 unless said, constant rates, no decay, one "
            "thread, float32. Intervals are those of the median, at 95 %, over targets and seeds."
        ),
        *table(
            ("training", "rate", "momentum", "steps until fitted, by seed"),
            [
                (
                    setting["name"],
                    f"{setting['rate']:g}",
                    f"{setting['momentum']:g}",
                    _range(setting["steps"].get(FITTED, [])),
                )
                for setting in results["settings"]
            ],
        ),
        *paragraph(
            "Fitted (100 %) is the end of the first epoch after which every training row is answered right, or of epoch "
            "400: the double softmax never gets there. The two heads share a network with `cnn`, but start from "
            "PyTorch's own initial weights, which are smaller."
        ),
    ]


def _range(steps: Sequence[int]) -> str:
    if not steps:
        return "–"
    return f"{min(steps):,}" if min(steps) == max(steps) else f"{min(steps):,} to {max(steps):,}"


def _claims() -> list[str]:
    told = (
        "Thudi, Jia, Shumailov and Papernot (*On the Necessity of Auditable Algorithmic Definitions for Machine "
        "Unlearning*, USENIX Security 2022, arXiv 2110.11891): the same weights can be reached from other data, so being "
        "close to a retrained model defines no forgetting. Even a log of every step does not show that a row was absent, "
        "because a mini-batch step can be imitated by other rows, to within any error that a verifier forgives. What can "
        "be audited is which algorithm ran on which data. Their forger is `greedy`: draw M batches, keep the one whose "
        "step lands nearest.",
        "Zhang et al. (ICML 2024, arXiv 2408.00929) exchange the row for its nearest neighbour: `nearest` here. `swap`, "
        "which takes the row with the nearest gradient, `matching`, which goes on exchanging, and `absorb`, which looks "
        "for a swap that changes no byte, are ours.",
        "Baluta et al. (CCS 2023) stand on the other side: they give conditions under which a step cannot be forged "
        "exactly in real arithmetic, and found them met at every checkpoint that they sampled. Rounding is not in "
        "their conditions.",
        "Jia et al. (IEEE S&P 2021, arXiv 2103.05633) prove training by a log whose largest segments are carried out "
        "again within a tolerance. Fang et al. (arXiv 2208.03567) get made-up trainings past it.",
    )
    return ["", "## What is claimed", "", *(line for text in told for line in paragraph(text, bullet=True))]


def _checks(results: Results) -> list[str]:
    lines = ["", "## What was to be found out", ""]
    for number, title in ACCEPTANCE.items():
        check = results["acceptance"][number]
        lines.append(f"- **{title}: {'yes' if check['passed'] else 'no'}.**")
        lines += [f"  - {line}." for line in check["said"]]
    return lines


def _bound(results: Results, pictures: str) -> list[str]:
    return [
        "",
        "## Batch size",
        *paragraph(
            "Two random batches of b rows lead to weights that lie rate · ‖ḡ − ḡ′‖ apart. The mean of its square is "
            "2 · rate² · tr Σ / b where rows are drawn with replacement, with Σ the covariance of the rows' gradients, "
            "and (N − b)/(N − 1) of that where they are drawn without. The first is a slope of −0.5; the second falls "
            "faster once b is a good part of the data, and to 0 where a batch is all of them. Expected is computed from "
            "the gradients at that state, the rest is measured on pairs."
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
            "The check asks for the early rows. Late in training few rows carry nearly all of tr Σ: the root mean square "
            "then hangs on how often a batch meets one of them, and scatters more, so the late rows are here and are "
            "not asked for anything. The next drawing has the forgers' medians, which are not root mean squares."
        ),
        *_drawn("batch-size", "forgers by batch size", pictures),
    ]


def _candidates(results: Results, pictures: str) -> list[str]:
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
            "Every number of candidates has its own draws. Four hundred to four thousand times the work brings `greedy` "
            f"{min(nearer, default=1):.1f} to {max(nearer, default=1):.1f} times nearer. Medians of l2:"
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
                    "–" if cell["median_advantage"] is None else f"{_figure(cell['median_advantage'])} ×",
                )
                for cell in results["equal_cost"]
            ],
        ),
        *_drawn("distance", "l2 and the largest difference of a weight", pictures),
    ]


def _median_at(cell: Cell, count: int) -> str:
    found = dict(zip(cell["candidates"], cell["medians"], strict=True))
    return f"{found[count]:.2g}" if count in found else "–"


def _figure(value: float) -> str:
    """Three digits, never as a power of ten."""
    return f"{float(f'{value:.3g}'):,.15g}"


def _progress(results: Results, pictures: str) -> list[str]:
    return ["", "## Progress of the training", *_drawn("progress", "forgers along a training", pictures)]


def _noise(results: Results, pictures: str) -> list[str]:
    kinds = list(dict.fromkeys(cell["kind"] for cell in results["noise"]))
    found = {
        (cell["setting"], cell["point"], cell["kind"]): cell for cell in results["noise"] if cell["distance"] == "l2"
    }
    places = list(dict.fromkeys((setting, point) for setting, point, _ in found))
    swaps = {place: _swap(results, *place) for place in places}
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


def _swap(results: Results, setting: str, point: str) -> Cell | None:
    return one_of(results, setting=setting, point=point, axis="progress", forger="swap", distance="l2")


def _beside(swap: Cell | None) -> tuple[str, str]:
    if swap is None:
        return "–", "–"
    ratio = swap["ratio_to_noise"]
    return f"{swap['median']:.2g}", "replays are exact" if ratio is None else f"{_figure(ratio)} ×"


def _heads(results: Results, pictures: str) -> list[str]:
    normed = sum(cell["weights_unchanged"] for cell in results["absorption"] if "batch norm" in cell["setting"])
    return [
        "",
        "## Momentum, batch norm and head",
        *paragraph(
            "The rate is a tenth with momentum 0.9 and with batch norm, which also has momentum 0.9. With batch norm the "
            "rows of a batch meet in its statistics, so exchanging one moves what every other one contributes: `swap`, "
            f"which looks at rows one by one, is the worse for it, and {normed or 'no'} swaps are absorbed. The public "
            "notebook of the "
            "forging paper ends its network with a softmax and trains it by a cross-entropy that takes another one, "
            "which flattens the gradients: early in training a forger comes nearer for it."
        ),
        *_drawn("head-and-momentum", "forgers by momentum, norm and head", pictures),
    ]


def _drawn(name: str, words: str, pictures: str) -> list[str]:
    return ["", f"![{words}]({pictures}/{picture(name)})"]


def _hidden(results: Results) -> list[str]:
    cells = results["absorption"]
    swaps, hidden, losses, gradient, whole, unseen = (
        sum(cell[name] for cell in cells)
        for name in (
            "swaps",
            "weights_unchanged",
            "seen_in_losses",
            "seen_in_gradient",
            "state_unchanged",
            "seen_by_nothing_but_the_schedule",
        )
    )
    lines = [
        "",
        "## Absorption",
        *paragraph(
            "Late in training a row's contribution falls below half a unit in the last place of every weight. Each "
            "member of a batch is exchanged for the row with the nearest gradient, and its chair is left empty instead. "
            "What passes the bytes, the losses and the gradient is seen by the schedule alone, which refuses every one."
        ),
        *table(
            ("training", "progress", "seeds with any", *ABSORBED.values()),
            [
                (
                    cell["setting"],
                    cell["point"],
                    f"{cell['seeds_with_any']} of {cell['seeds']}",
                    *(cell[name] for name in ABSORBED),
                )
                for cell in cells
                if cell["weights_unchanged"] or cell["point"] in (FITTED, PAST)
            ],
        ),
    ]
    if hidden:
        lines += paragraph(
            f"Of {swaps:,} swaps at all points, {hidden} change no weight and {whole} no byte of the state; earlier "
            "points than those listed have none. Of those that change no weight, a trace of **losses catches "
            f"{losses} ({losses / hidden:.1%})** and a trace of **gradients {gradient} ({gradient / hidden:.1%})**: "
            "saturated losses round to exactly 0, gradients do so more rarely. With momentum the optimiser's buffer "
            f"keeps a difference that the weights do not show. {unseen} pass weights, buffers, momentum, losses and "
            "gradient alike. An empty chair changes the divisor of the mean: no weight stays as it is in "
            f"{'none' if not _emptied(cells) else _emptied(cells)} of {swaps:,}, which is why an empty chair is what a "
            "record states for a forgotten row."
        )
    return lines


def _emptied(cells: Iterable[Cell]) -> int:
    return sum(cell["empty_chairs_weights_unchanged"] for cell in cells)


def _meaning(results: Results) -> list[str]:
    early, late = (_swap(results, "cnn", point) for point in (EARLY, PAST))
    told = (
        "**A tolerance does not stop forging.** "
        + (
            f"After 10 steps `swap` stands {_figure(early['ratio_to_noise'])} times above the largest replay noise: plain "
            f"to see. At 10 × past fitting it stands at {_figure(late['ratio_to_noise'])} times: below what honest machines "
            "differ by."
            if early and late and early["ratio_to_noise"] and late["ratio_to_noise"]
            else ""
        ),
        "**Bit-exact replay alone does not stop it either.** Absorbed swaps are the very same bytes. A replay shows that "
        "the arithmetic was done; it does not show whose row it was done on.",
        "**The schedule does.** Who sits in which step follows from the recipe, the committed data and a beacon that "
        "came later, and `verify` computes it for every step at V1, without training. A log that names other rows is "
        "refused, whatever its weights. With the schedule fixed, absorption is no forgery: the bytes are those of the "
        "named computation.",
        "**A forger may then state the right schedule and have done something else.** That is a question for a replay: V2 "
        "draws segments, V3 takes all of them. Neither check replaces the other.",
    )
    return ["", "## What it means", "", *(line for text in told for line in paragraph(text, bullet=True))]


def _limits(results: Results) -> list[str]:
    told = (
        "One small data set and small networks. The figures say how forging behaves, not how large it is elsewhere; MNIST "
        "and CIFAR-10, which the papers use, are not here, and nor is a CPU against a GPU.",
        "Forged steps are measured one at a time, each from the recorded state. That is the log of the forging paper, in "
        "which every step's weights are written down. Over a segment differences add up and grow (below 'Forged logs').",
        "`matching`, `greedy-keep` and `content` were run at two points of the training, with the limits in the table; a "
        "forger with more patience may come nearer. The absorbed swaps counted are those to the nearest gradient: other "
        "rows could be absorbed too.",
        "Replay noise is that of one processor. Another machine would add its own.",
        "Nothing here shows that a model forgot. See what a record [proves and does not](what-a-run-proves.md).",
    )
    return ["", "## Limits", "", *(line for text in told for line in paragraph(text, bullet=True))]


def _methods(results: Results) -> list[str]:
    found = cells_of(results, axis="progress", distance="l2")
    order = {setting["name"]: place for place, setting in enumerate(results["settings"])}
    return [
        "",
        "## Every forger, batches of 64",
        *paragraph(
            "Work is in example-steps a target: one row forward and backward. M counts batches for `greedy`, rows tried "
            "for `absorb`, steps of descent for `content`. Targets are those for which anything was found."
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
                    f"{cell['median']:.2g}{_interval(cell)}",
                    f"{cell['least']:.2g} – {cell['most']:.2g}",
                    "replays are exact" if cell["ratio_to_noise"] is None else _figure(cell["ratio_to_noise"]),
                    f"{cell['example_steps']:,.0f}",
                )
                for cell in sorted(found, key=lambda cell: (order[cell["setting"]], POINTS.index(cell["point"])))
            ],
        ),
    ]


def _interval(cell: Cell) -> str:
    return "" if cell["low"] is None else f" [{cell['low']:.2g}, {cell['high']:.2g}]"
