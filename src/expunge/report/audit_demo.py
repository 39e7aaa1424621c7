"""What ``expunge audit-demo`` found, in words and as a page: every level, one chart of forged logs, every attack.

Written for somebody who never heard of a proof of learning. It shows what the demonstration found; nothing here decides
anything. The terminal says the same sentences.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from expunge.core.files import write_bytes
from expunge.core.wording import counted
from expunge.records.demo import AbsorbedSwap, DemoResult, Forged, ForgedLog, Honest, MadeUp, Played
from expunge.report.audit_demo_chart import draw
from expunge.report.numerals import shown
from expunge.report.templates import environment, resource

OPENING = (
    "Somebody trains a model, makes it forget a person, and signs a record of it. Then they cheat, and each time two "
    "verifiers are asked. Proof-of-Learning (PoL; Jia et al., 2021) repeats the largest updates that a log states and "
    "believes the log if the weights land near enough. Expunge believes only what it can compute again, the schedule "
    "first: who had to be in which step."
)
HEADINGS: Mapping[str, str] = {
    "story": "An honest record",
    "forgeries": "Forged logs: the same weights, and a person who was never there",
    "absorbed": "The swap that no replay of weights can see",
    "made_up": "Trainings that never were",
    "attacks": "Every attack of the table",
}
LEVELS = {
    "V0": "form: signature by a known key, entry in the log, digests of files",
    "V1": "structure: every batch of the schedule computed again; nothing is trained",
    "V2": "spot replay: a share of the steps carried out again, bit for bit",
    "V3": "full replay: every step carried out again",
    "V4": "twin: trained again from nothing, without the owner's checkpoints",
}
SPOOFS = {
    "resorted-init": "re-sorted initial weights, then a straight line",
    "infinitesimal": "the same under a recipe whose rate is next to nothing",
    "blindfold": "a few honest steps where one looks, then straight lines",
}
ATTACKS = (
    "Unless files are attacked, the owner signs every record again with the right key, and all its digests fit "
    "together. Each must be refused with a code that names what was seen, at its own level, and be accepted one "
    "level lower: that is what the level is for."
)
COMPARED = {
    "swap": "Forged log: nearest gradient",
    "absorb": "Forged log: absorbed swap",
    "content": "Forged log: altered pictures",
}


@dataclass(frozen=True)
class _Cell:
    """An answer, its tone, and what stands under it in small letters."""

    answer: str
    tone: str
    note: str


def write_audit_demo(told: DemoResult, out: Path) -> Path:
    """Write the page and return its path."""
    write_bytes(out, audit_demo_page(told))
    return out


def audit_demo_page(told: DemoResult) -> bytes:
    """The page, without scripts and without anything from elsewhere. Same facts, same bytes."""
    folder, compared = Path(told.folder), [line for line in told.forgeries if line.forger in COMPARED]
    text = (
        environment()
        .get_template("audit_demo.html")
        .render(
            style=Markup(resource("page.css") + resource("audit_demo.css")),
            told=told,
            opening=OPENING,
            headings=HEADINGS,
            story=story_words(told.story),
            records=["Honest record", *(COMPARED[line.forger] for line in compared)],
            levels=[
                (line.level, LEVELS[line.level], [_honest(line), *(_cell(one, line.level) for one in compared)])
                for line in told.honest
            ],
            forged=forged_words(told.forgeries),
            charts=draw(told.forgeries),
            swallowed=absorbed_words(told.absorbed),
            made_up_words=made_up_words(told.made_up),
            made_up=[
                (
                    line,
                    SPOOFS.get(line.spoof, ""),
                    *(shown(x, "example-steps") for x in (line.claimed, line.example_steps)),
                )
                for line in told.made_up
            ],
            ours=ours,
            attack_words=ATTACKS,
            attacks=[
                (line, ", ".join(line.codes) or line.status, _inside(line.bundle, folder)) for line in told.attacks
            ],
            commands=commands(told, inside=True),
            seconds=shown(told.seconds, "seconds"),
        )
    )
    return text.encode("utf-8")


def _honest(line: Honest) -> _Cell:
    return _Cell(line.status, "good" if line.as_documented else "bad", f"{word_for(line)}; {took(line)}")


def _cell(line: ForgedLog, level: str) -> _Cell:
    """What a level says of a forged log: accepted below the level that refuses, not asked above it."""
    if level == line.level:
        return _Cell(line.status, "good" if line.status == "refused" else "bad", ", ".join(line.codes))
    if line.reached is not None and level <= line.reached:
        return _Cell("accepted", "", "")
    return _Cell("already refused", "muted", "")


def commands(told: DemoResult, *, inside: bool = False) -> list[str]:
    """What anybody can type to see the honest record accepted and a forged one refused; ``inside`` the folder."""

    def place(path: str) -> str:
        return shlex.quote(_inside(path, Path(told.folder)) if inside else path)

    story = told.story
    bundle, keys, data, salts = (place(path) for path in (story.bundle, story.keys, story.data, story.salts))
    found = [f"expunge verify {bundle} --level V3 --keys {keys} --data {data} --salts {salts}"]
    forged = [line for line in told.forgeries if line.forger == "swap"]
    return found + [f"expunge verify {place(line.bundle)} --level V1 --keys {keys}" for line in forged]


def _inside(path: str, folder: Path) -> str:
    """A path as it reads from the demonstration's folder: where that lies is nobody else's business."""
    try:
        return Path(path).relative_to(folder).as_posix()
    except ValueError:
        return Path(path).name


def story_words(story: Played) -> tuple[str, str]:
    """How the honest record comes about."""
    return (
        f"The owner commits to {counted(story.rows, 'picture')} of handwritten digits and to a recipe, signs "
        "that and enters it in a log. Only then are 32 random bytes drawn, the beacon. Commitment and beacon together "
        f"fix who sits in each of the {counted(story.steps, 'step')} of the training: the owner has nothing to "
        f"choose. The model is trained; then it forgets {story.person.partition(':')[2]} "
        f"({counted(story.forgotten, 'picture')}) exactly: the first step that held one of them, and all after it, are "
        "carried out again with their chairs empty. Both runs are signed and logged.",
        "In earnest an auditor draws the beacon and a machine the salts. Here both are always the same, so that the "
        "story comes out the same everywhere. With others, Proof-of-Learning refuses a few honest logs in a hundred by "
        "its test of the initial weights, and then it refuses what was forged from them too.",
    )


def forged_words(lines: Sequence[ForgedLog]) -> tuple[str, str]:
    """What the forged logs claim, and what became of them."""
    first = lines[0]
    return (
        f"The owner keeps the weights and rewrites the log: row {first.target}, a picture of that person, is said "
        f"to have been in none of the {counted(first.steps, 'step')} that held it, and others sit in its chairs. "
        "Distance is l2 over all weights, between a forged step and the true one; of all steps, the median. Honest "
        "repeats under other settings (threads, kernels, order of rows) differ by up to "
        f"{small(first.noise.most)}; Proof-of-Learning lets pass {small(first.tolerance)}, which is 0.008 of "
        "the distance between trainings with other seeds.",
        _both_answers(lines),
    )


def absorbed_words(line: AbsorbedSwap) -> tuple[str, str]:
    """The absorbed swap: what a replay of weights finds, and what the schedule finds."""
    answered = "has to accept" if line.replay == "accepted" else "REFUSES"
    last = line.step == line.steps - 1
    step = f"the last of {line.steps:,} steps" if last else f"step {line.step:,} (from 0) of {line.steps:,}"
    return (
        "Late in a training a row may count for so little that rounding swallows it. In the last of these logs, of a "
        f"linear model for noughts and ones, somebody else sits in the chair of row {line.target} in {step}, and "
        f"not one bit of any weight changes. All {line.steps:,} steps were carried out again: the largest distance "
        f"is {small(line.largest_distance)}, so a verifier of weights {answered}, however strict. Expunge: "
        f"{ours(line)}, because the schedule knows who had to sit there.",
        f"In its own words: {line.detail}.",
    )


def made_up_words(lines: Sequence[MadeUp]) -> tuple[str, str]:
    """What trainings that never were cost, and what became of them."""
    return (
        "Whoever has final weights and the data can make a whole log up (Fang et al., 2023). Work is counted in "
        "example-steps: one row once forward and backward through the model.",
        _both_answers(lines),
    )


def _both_answers(lines: Sequence[ForgedLog | MadeUp]) -> str:
    """How many of these either verifier let pass."""
    believed = sum(line.published == "accepted" for line in lines)
    refused = [line.level for line in lines if line.status == "refused"]
    return (
        f"Proof-of-Learning believes {believed} of {len(lines)}. Expunge refuses {len(refused)} of {len(lines)}, "
        f"{sum(level in ('V0', 'V1') for level in refused)} of them without training a step."
    )


def word_for(line: Honest) -> str:
    """On whose word the guarantee of an honest record stands."""
    return "exact: verified here" if line.standing == "verified" else "exact: as claimed"


def answered(line: Honest) -> str:
    """What Expunge said of the honest record."""
    return f"{line.status}; {word_for(line)}" + ("" if line.as_documented else ", NOT AS DOCUMENTED")


def took(line: Honest) -> str:
    return shown(line.seconds, "seconds")


def ours(line: Forged) -> str:
    """What Expunge said of something forged."""
    said = f"{line.status} at {line.level} {', '.join(line.codes)}".strip()
    return said if line.as_documented else f"{said}, NOT AS DOCUMENTED: expected {line.expected}"


def small(value: float) -> str:
    """A distance with two digits: 0, 0.11, 1.7e-8."""
    if value == 0:
        return "0"
    if value >= 0.01:
        return f"{value:.2g}"
    mantissa, _, power = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(power)}"
