"""The audit demonstration in words, part by part: what a terminal shows, and the sentences that the page shares.

Written for somebody who never heard of a proof of learning. Every part of the result has its heading, what it means,
a table where there is one, and what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expunge.core.wording import counted
from expunge.report.numerals import shown

OPENING = (
    "Somebody trains a model, makes it forget a person, and signs a record of it. Then they cheat, and each time two "
    "verifiers are asked. Proof-of-Learning (PoL; Jia et al., 2021) repeats the largest updates that a log states and "
    "believes the log if the weights land near enough. Expunge believes only what it can compute again, the schedule "
    "first: who had to be in which step."
)
LEVELS = {
    "V0": "form: signature by a known key, entry in the log, digests of files",
    "V1": "structure: every batch of the schedule computed again; nothing is trained",
    "V2": "spot replay: a share of the steps carried out again, bit for bit",
    "V3": "full replay: every step carried out again",
    "V4": "twin: trained again from nothing, without the owner's checkpoints",
}
FORGERS = {
    "greedy": "greedy: best of many random batches",
    "nearest": "nearest: the most similar row",
    "swap": "swap: the nearest gradient",
    "matching": "matching: rows exchanged one by one",
    "content": "content: neighbours' pictures altered",
    "absorb": "absorbed swap, at the end of a training",
}
SPOOFS = {
    "resorted-init": "re-sorted initial weights, then a straight line",
    "infinitesimal": "the same under a recipe whose rate is next to nothing",
    "blindfold": "a few honest steps where one looks, then straight lines",
}


@dataclass(frozen=True)
class Table:
    """Headings, and rows of as many cells; where lines are short, the ``flexible`` column is the one that folds."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    flexible: int = 0


Part = Iterable[str | Table]


def heading_of(part: str) -> str:
    """The heading of a part of the result; empty for what is no part of the story."""
    return PARTS[part][0] if part in PARTS else ""


def told(part: str, found: Any) -> list[str | Table]:
    """A part of the result in words and tables; nothing for what is no part of the story."""
    return list(PARTS[part][1](found)) if part in PARTS else []


def _story(story: Mapping[str, Any]) -> Part:
    yield (
        f"The owner commits to {counted(int(story['rows']), 'picture')} of handwritten digits and to a recipe, signs "
        "that and enters it in a log. Only then are 32 random bytes drawn, the beacon. Commitment and beacon together "
        f"fix who sits in each of the {counted(int(story['steps']), 'step')} of the training: the owner has nothing to "
        f"choose. The model is trained; then it forgets {name_of(story)} ({counted(int(story['forgotten']), 'picture')}"
        ") exactly: the first step that held one of them, and all after it, are carried out again with their chairs "
        "empty. Both runs are signed and logged."
    )
    yield (
        "In earnest an auditor draws the beacon and a machine the salts. Here both are always the same, so that the "
        "story comes out the same everywhere. With others, Proof-of-Learning refuses a few honest logs in a hundred by "
        "its test of the initial weights, and then it refuses what was forged from them too."
    )


def _honest(lines: Sequence[Mapping[str, Any]]) -> Part:
    rows = [(line["level"], LEVELS[line["level"]], _of_honest(line), seconds_of(line)) for line in lines]
    yield Table(("Level", "What is looked at", "Answer", "Time"), rows, flexible=1)


def _of_honest(line: Mapping[str, Any]) -> str:
    said = f"{line['status']}; {word_for(line)}"
    return said if line["as_documented"] else f"{said}, NOT AS DOCUMENTED"


def _forgeries(lines: Sequence[Mapping[str, Any]]) -> Part:
    first = lines[0]
    yield (
        f"The owner keeps the weights and rewrites the log: row {first['target']}, a picture of that person, is said "
        f"to have been in none of the {counted(int(first['steps']), 'step')} that held it, and others sit in its "
        "chairs. Distance is l2 over all weights, between a forged step and the true one; of all steps, the median. "
        "Honest repeats under other settings (threads, kernels, order of rows) differ by up to "
        f"{small(first['noise']['most'])}; Proof-of-Learning lets pass {small(first['tolerance'])}, which is 0.008 of "
        "the distance between trainings with other seeds."
    )
    rows = [
        (
            FORGERS.get(str(line["forger"]), str(line["forger"])),
            f"{line['steps_forged']} of {line['steps']}",
            small(line["l2"]["median"]),
            line["published"],
            briefly(line),
        )
        for line in lines
    ]
    yield Table(("Who takes the chairs", "Steps", "Distance", "PoL", "Expunge refuses"), rows)
    yield both_answers(lines)


def _absorbed(line: Mapping[str, Any]) -> Part:
    yield swallowed(line)
    yield f"In its own words: {line['detail']}."


def _made_up(lines: Sequence[Mapping[str, Any]]) -> Part:
    yield (
        "Whoever has final weights and the data can make a whole log up (Fang et al., 2023). Work is counted in "
        "example-steps: one row once forward and backward through the model."
    )
    rows = [
        (
            f"{line['spoof']}: {SPOOFS.get(line['spoof'], '')}",
            f"{line['example_steps']:,.0f} of {line['claimed']:,.0f}",
            line["published"],
            briefly(line),
        )
        for line in lines
    ]
    yield Table(("Made-up training", "Work done", "PoL", "Expunge refuses"), rows)
    yield both_answers(lines)


def _attacks(lines: Sequence[Mapping[str, Any]]) -> Part:
    yield (
        "Unless files are attacked, the owner signs every record again with the right key, and all its digests fit "
        "together. Each must be refused with a code that names what was seen, at its own level, and be accepted one "
        "level lower: that is what the level is for."
    )
    yield Table(
        ("No.", "What the attacker does", "Expunge refuses"),
        [(str(line["number"]), str(line["title"]), briefly(line)) for line in lines],
        flexible=1,
    )


Writer = Callable[[Any], Part]
PARTS: Mapping[str, tuple[str, Writer]] = {
    "story": ("1. An honest record", _story),
    "honest": ("", _honest),
    "forgeries": ("2. Forged logs: the same weights, and a person who was never there", _forgeries),
    "absorbed": ("3. The swap that no replay of weights can see", _absorbed),
    "made_up": ("4. Trainings that never were", _made_up),
    "attacks": ("5. Every attack of the table", _attacks),
}


def lines_of(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Everything that comes out as documented, or does not."""
    return [*found["honest"], *found["forgeries"], found["absorbed"], *found["made_up"], *found["attacks"]]


def swallowed(line: Mapping[str, Any]) -> str:
    """The absorbed swap: what a replay of weights finds, and what the schedule finds."""
    answered = "has to accept" if line["replay"] == "accepted" else "REFUSES"
    last = line["step"] == line["steps"] - 1
    step = f"the last of {line['steps']:,} steps" if last else f"step {line['step']:,} (from 0) of {line['steps']:,}"
    return (
        "Late in a training a row may count for so little that rounding swallows it. In the last of these logs, of a "
        f"linear model for noughts and ones, somebody else sits in the chair of row {line['target']} in {step}, and "
        f"not one bit of any weight changes. All {line['steps']:,} steps were carried out again: the largest distance "
        f"is {small(line['largest_distance'])}, so a verifier of weights {answered}, however strict. Expunge: "
        f"{ours(line)}, because the schedule knows who had to sit there."
    )


def both_answers(lines: Sequence[Mapping[str, Any]]) -> str:
    """How many of these either verifier let pass."""
    believed = sum(line["published"] == "accepted" for line in lines)
    refused = sum(line["status"] == "refused" for line in lines)
    early = sum(line["status"] == "refused" and line["level"] in ("V0", "V1") for line in lines)
    return (
        f"Proof-of-Learning believes {believed} of {len(lines)}. Expunge refuses {refused} of {len(lines)}, "
        f"{early} of them without training a step."
    )


def word_for(line: Mapping[str, Any]) -> str:
    """On whose word the guarantee of an honest record stands."""
    return "exact: verified here" if line["standing"] == "verified" else "exact: as claimed"


def ours(line: Mapping[str, Any]) -> str:
    """What Expunge said of something forged."""
    said = f"{line['status']} at {line['level']} {', '.join(line['codes'])}".strip()
    return said if line["as_documented"] else f"{said}, NOT AS DOCUMENTED: expected {line['expected']}"


def briefly(line: Mapping[str, Any]) -> str:
    """The same under a heading that says that it is a refusal."""
    return ours(line).removeprefix("refused at ") if line["as_documented"] else ours(line)


def name_of(story: Mapping[str, Any]) -> str:
    """The person, without the word that says that it is one."""
    return str(story["person"]).partition(":")[2]


def seconds_of(line: Mapping[str, Any]) -> str:
    return shown(float(line["seconds"]), "seconds")


def small(value: float) -> str:
    """A distance with two digits: 0, 0.11, 1.7e-8."""
    if value == 0:
        return "0"
    if value >= 0.01:
        return f"{value:.2g}"
    mantissa, _, power = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(power)}"
