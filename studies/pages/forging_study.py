"""What the forging study found, as a page: from its committed results, nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from expunge.core.wording import three_digits
from studies.pages.forging_axes import (
    bound_lines,
    candidate_lines,
    head_lines,
    method_lines,
    noise_lines,
    progress_lines,
    swap_of,
)
from studies.pages.forging_other_data import other_data_lines
from studies.pages.forging_pictures import EARLY, FITTED, PAST, PLAIN, Cell, Results
from studies.pages.forging_proofs import believed_lines, proofs_lines
from studies.pages.markdown import paragraph, table

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


def forging_page(
    results: Results, proofs: Mapping[str, Any], pictures: str, others: Sequence[Results] = ()
) -> list[str]:
    """The page in Markdown.

    ``proofs`` are the results of the study of proofs, ``others`` those of other data; ``pictures`` is where drawings
    lie.
    """
    return [
        *_opening(results),
        *_claims(),
        *_checks(results),
        *bound_lines(results, pictures),
        *candidate_lines(results, pictures),
        *progress_lines(results, pictures),
        *noise_lines(results, pictures),
        *head_lines(results, pictures),
        *_hidden(results),
        *other_data_lines(others),
        *believed_lines(results),
        *proofs_lines(proofs),
        *_meaning(results),
        *_limits(others),
        *method_lines(results),
    ]


def _opening(results: Results) -> list[str]:
    machine = results["machine"]
    return [
        "# Forging",
        *paragraph(
            "A log of a training can deny that a row was in it: exchange every batch that held the row for one that "
            "did not, and leave the weights as they are. This page measures how near such a log comes, and who sees "
            "through it. The distance is that between the weights after one step with the forged batch and after the "
            "same step as it was. `expunge forge` does to a run of yours what this study does; "
            "[auditing.md](auditing.md) says how the records are checked that must survive it."
        ),
        *paragraph(
            f"{results['date']}, `{results['command']}`, {machine['processor']}, torch {machine['torch']}; every cell "
            f"is in `studies/results/forging.csv`. Data: {results['data']}. {results['seeds']} training seeds and "
            f"{results['targets']} targets a seed in every cell; {results['few']} targets a seed where M = 4,000, "
            "where M = 400 meets batches above 64, and for `content`. Batches of 64 unless said, constant rates, no "
            "decay, one thread, float32. Intervals are those of the median, at 95 %, over targets and seeds."
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
            "Fitted (100 %) is the end of the first epoch after which every training row is answered right, or of "
            "epoch 400: the double softmax never gets there. The two heads share a network with `cnn`, but start "
            "from PyTorch's own initial weights, which are smaller."
        ),
    ]


def _range(steps: Sequence[int]) -> str:
    if not steps:
        return "–"
    return f"{min(steps):,}" if min(steps) == max(steps) else f"{min(steps):,} to {max(steps):,}"


def _claims() -> list[str]:
    told = (
        "Thudi, Jia, Shumailov and Papernot (*On the Necessity of Auditable Algorithmic Definitions for Machine "
        "Unlearning*, USENIX Security 2022, arXiv 2110.11891): the same weights can be reached from other data, so "
        "being close to a retrained model defines no forgetting. Even a log of every step does not show that a row "
        "was absent, because a mini-batch step can be imitated by other rows, to within any error that a verifier "
        "forgives. What can be audited is which algorithm ran on which data. Their forger is `greedy`: draw M "
        "batches, keep the one whose step lands nearest.",
        "Zhang et al. (ICML 2024, arXiv 2408.00929) exchange the row for its nearest neighbour: `nearest` here. "
        "`swap`, which takes the row with the nearest gradient, `matching`, which goes on exchanging, and `absorb`, "
        "which looks for a swap that changes no byte, are ours.",
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
            "member of a batch is exchanged for the row with the nearest gradient, and its chair is left empty "
            "instead. What passes the bytes, the losses and the gradient is seen by the schedule alone, which "
            "refuses every one."
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
            f"Of {swaps:,} swaps at all points, {hidden} change no weight and {whole} no byte of the state; points "
            f"that are not listed have none. Of those that change no weight, a trace of **losses catches {losses} "
            f"({losses / hidden:.1%})** and a trace of **gradients {gradient} ({gradient / hidden:.1%})**: losses of "
            "rows that are answered with certainty round to the same bits, gradients do so more rarely. With "
            f"momentum the optimiser's buffer keeps a difference that the weights do not show. {unseen} pass weights, "
            "buffers, momentum, losses and gradient alike. Leaving a chair *empty* changes the divisor of the mean: "
            f"{_emptied(cells) or 'none'} of {swaps:,} empty chairs leave every weight as it was."
        )
    return lines


def _emptied(cells: Iterable[Cell]) -> int:
    return sum(cell["empty_chairs_weights_unchanged"] for cell in cells)


def _meaning(results: Results) -> list[str]:
    told = (
        "**A tolerance does not stop forging.** "
        + ". ".join(_against_noise(results, setting) for setting in PLAIN)
        + ".",
        "**Bit-exact replay alone does not stop it either.** Absorbed swaps are the very same bytes. A replay shows "
        "that the arithmetic was done; it does not show whose row it was done on.",
        "**The schedule does.** Who sits in which step follows from the recipe, the committed data and a beacon that "
        "came later, and `verify` computes it for every step at V1, without training. A log that names other rows is "
        "refused, whatever its weights. With the schedule fixed, absorption is no forgery: the bytes are those of the "
        "named computation.",
        "**A forger may then state the right schedule and have done something else.** That is a question for a "
        "replay: V2 draws segments, V3 takes all of them. Neither check replaces the other.",
    )
    return ["", "## What it means", "", *(line for text in told for line in paragraph(text, bullet=True))]


def _against_noise(results: Results, setting: str) -> str:
    """How far above what honest machines differ by, from first to last."""
    found = [
        (point, cell["ratio_to_noise"]) for point in (EARLY, FITTED, PAST) if (cell := swap_of(results, setting, point))
    ]
    told = [(point, three_digits(ratio)) for point, ratio in found if ratio]
    if not told:
        return f"`{setting}` has no replay noise to compare with"
    return (
        f"In `{setting}` the median swap lies at {', '.join(ratio for _, ratio in told)} times the largest replay "
        f"noise, at {', '.join(point for point, _ in told)}"
    )


def _limits(others: Sequence[Results]) -> list[str]:
    names = [other["name"] for other in others]
    elsewhere = (
        f"{' and '.join(names)} {'was' if len(names) == 1 else 'were'} measured early in training alone, with fewer "
        "forgers"
        if names
        else "no other data were measured"
    )
    told = (
        f"One small data set and small networks carry most figures; {elsewhere}. The figures say how forging behaves, "
        "not how large it is elsewhere. MNIST, which the forging paper uses, was not measured, and nor was a CPU "
        "against a GPU.",
        "Forged steps are measured one at a time, each from the recorded state. That is the log of the forging "
        "paper, in which every step's weights are written down. Over a segment differences add up and grow (below "
        "'Forged logs').",
        "`matching`, `greedy-keep` and `content` were run at two points of the training, with the limits in the "
        "table; a forger with more patience may come nearer. The absorbed swaps counted are those to the nearest "
        "gradient: other rows could be absorbed too.",
        "Replay noise is that of one processor. Another machine would add its own.",
        "Nothing here shows that a model forgot. See what a record [proves and does not](what-a-run-proves.md).",
    )
    return ["", "## Limits", "", *(line for text in told for line in paragraph(text, bullet=True))]
