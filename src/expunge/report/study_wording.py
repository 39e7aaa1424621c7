"""The sentences of a leaderboard: what was done, how to read it, what came out, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expunge.core.wording import clean, counted
from expunge.records.over_trainings import FEWEST_TRAININGS
from expunge.records.results import MARKS, Problem, Results, Row, Setting, guarantee_rank
from expunge.report.board import guarantee_words
from expunge.report.comparison import own_reason
from expunge.report.dots import row_outcome, worst_bound
from expunge.report.numerals import SPACE, few, listed, percent, shown, spaced
from expunge.report.outcome import answer
from expunge.report.study_results import settled
from expunge.report.study_text import STYLES, number

MOST_LISTED = 5
SEES = 2.0  # times the noise among retrained models: where the original lies nearer, the gap tells nobody apart
MEANINGS = {
    "collapsed": "the model lost its utility; a broken model’s forgetting figures mean nothing, so it stands last",
    "untuned": "its fields are defaults or were set by hand, nobody searched for better ones",
    "budget unused": "it spent less than half of the work it was allowed",
    "changed nothing": "its weights are the original’s",
    "nothing better than doing nothing": "its search found no fields that come nearer to retraining than the original",
    "tuning did not transfer": "what the search found good was not good here",
    "refused": "the method cannot be applied here, and says why",
    "failed": "the run broke off",
    "over-forgotten": "it is less sure of the forgotten examples than models that never saw them, a leak too",
    "oracle-tuned": "its search saw the references it is measured against: a bound, not a fair result",
}


VERDICTS_THEN = (
    "Each seed is Supported (like retraining within the stated margins), Refuted (unlike it by more than chance "
    "allows) or Undecided."
)
VERDICTS_NOW = (
    "For each seed is said what came out: the same bits as never trained, at most so much left, still remembers, "
    "forgot too much, broke, or cannot be said; the method’s page says why."
)
OF_METHODS = (
    f" The verdict on the method is over originals of at least {FEWEST_TRAININGS} training seeds, each unlearned once."
)


@dataclass(frozen=True)
class Group:
    """Jobs that gave no result for the same reason."""

    status: str
    reason: str
    jobs: tuple[str, ...]


def result(setting: Setting) -> str:
    """What came out, in a sentence or two; what could not be run is not told."""
    rows = [row for row in setting.ranked if row.took_part]
    found = [(row.label, row_outcome(row)) for row in rows]
    told = [(row, outcome) for row, (_, outcome) in zip(rows, found, strict=True)]
    bounds = [bound for row, outcome in told if outcome == "little left" and (bound := worst_bound(row)) is not None]
    whys = {why for row, outcome in told if outcome == "unsaid" for why in row.reasons}
    why = own_reason(next(iter(whys)), STYLES) if len(whys) == 1 else ""
    return answer(found, max(bounds, default=None), spaced(why))


def rules_of(study: Results) -> str:
    """By which rules the verdicts are, where it is not those of today."""
    if any(row.outcomes for setting in study.settings for row in setting.rows):
        return ""
    return (
        "Verdicts are by the rules of an earlier release: Supported is like retraining within margins taken from the "
        "references’ spread, and nobody asked how much of the memory is left."
    )


def untuned(rows: Sequence[Row]) -> str:
    """Said once: which rows nobody searched fields for."""
    ran = [row for row in rows if row.took_part and row.tuning.state in ("tuned", "untuned", "oracle-tuned")]
    found = [row for row in ran if row.tuning.state == "untuned"]
    if not found:
        return ""
    who = "All methods that could be tuned" if len(found) == len(ran) else few(_labels(found), MOST_LISTED)
    return f"{who} ran on their defaults, untuned: nobody searched for better fields."


def _labels(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.label for row in rows))


def headline(study: Results) -> str:
    """What was done, on what, in one sentence."""
    data = listed(list(dict.fromkeys(setting.data for setting in study.settings)))
    where = "" if len(study.settings) == 1 else f", in {len(study.settings)} settings"
    return (
        f"{counted(len(study.methods), 'method')} had to forget parts of {data}{where}. Each ran with "
        f"{counted(len(study.seeds), 'seed')} and is read against {counted(study.references, 'model')} retrained "
        "without the forgotten examples."
    )


def allowance(study: Results) -> str:
    """What a run might spend."""
    budgets = list(dict.fromkeys(setting.budget for setting in study.settings))
    if budgets == [None]:
        return "Work was not limited."
    if len(budgets) == 1 and budgets[0] is not None:
        return f"A method that takes a budget may spend {percent(budgets[0])} of the training’s work."
    return "Budgets differ between settings and are named there."


def incomplete(study: Results) -> str:
    """What is missing; empty where the study is complete."""
    if study.complete:
        return ""
    missing = sum(row.count("missing") for setting in study.settings for row in setting.rows)
    known = f" ({counted(missing, 'result')} so far)" if missing else ""
    return f"This study is not complete: jobs are still missing{known}. Every figure stands on the seeds that are done."


def reading(study: Results) -> tuple[tuple[str, str], ...]:
    """How the figures are read: what a text is about, and the text."""
    noise = [setting.noise for setting in study.settings if setting.noise is not None]
    apart = ""
    if noise:
        low, high = number(min(noise), "spreads"), number(max(noise), "spreads")
        apart = f" Retrained models themselves lie {low if low == high else f'{low} to {high}'} from each other."
    left = (
        "Memory left.",
        f"How much of what the original remembers of the forgotten examples is still there: 0{SPACE}% as after "
        f"retraining, 100{SPACE}% as in trainings with everybody, below 0 less than a stranger’s. Behind the marks "
        "lies how far retrained models themselves lie from 0. The bound is the most that may be left with any seed.",
    )
    return (
        *((left,) if any("memory" in setting.further for setting in study.settings) else ()),
        (
            "Forgetting gap.",
            "How far the mean margin on the forgotten examples lies from that of models retrained without them, in "
            "units of the margins’ spread over these examples. It is read on two sides: who treats the examples better "
            f"than a stranger remembers them, who treats them worse gives them away too. 0 is like retraining.{apart}",
        ),
        (
            "Utility gap, average gap, membership.",
            "The utility gap is the test accuracy lost against retraining, in points of a hundred; below 0 nothing was "
            "lost. The average gap is the mean distance in forget, retain and test accuracy and in membership. "
            "Membership is the share of forgotten examples that an attack takes for strangers.",
        ),
        (
            "Verdict and guarantee.",
            f"{VERDICTS_THEN if rules_of(study) else VERDICTS_NOW}{OF_METHODS if _concluded(study) else ''} A "
            "guarantee is another thing: Exact and Certified hold by construction, Empirical says that nothing is "
            "proved.",
        ),
        (
            "Small print.",
            f"Brackets hold 95{SPACE}% intervals over three seeds or more, in the bands on top over references or "
            "seeds. A dash is undecided and its note says why; it is no number and is sorted last. Rows stand by what "
            "came out, then by how far they lie from retraining, collapsed models last.",
        ),
    )


def _concluded(study: Results) -> bool:
    """Whether anything is said of methods."""
    return any(row.concluded is not None for setting in study.settings for row in setting.rows)


def marks_of(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """The marks that occur, with what they mean."""
    present = {mark.mark for row in rows for mark in row.marks}
    return tuple((mark, MEANINGS[mark]) for mark in MARKS if mark in present)


def asked(setting: Setting) -> str:
    """What had to be forgotten in a setting."""
    recipe = "" if setting.recipe == setting.model else f", recipe {setting.recipe}"
    budget = "" if setting.budget is None else f" The budget is {percent(setting.budget)} of the training’s work."
    steps = setting.training_example_steps
    took = "" if steps is None else f" Training took {shown(steps, 'example-steps')}."
    return (
        f"On {setting.data} with the model {setting.model or 'not trained so far'}{recipe}, {setting.forgotten:,} of "
        f"{counted(setting.training_rows, 'training row')} ({percent(setting.share)}) had to be "
        f"forgotten.{took}{budget}"
    )


def findings(setting: Setting) -> tuple[str, ...]:
    """What came out, in plain words."""
    ran = [row for row in setting.ranked if row.took_part]
    found = [f"{len(ran)} of {counted(len(setting.rows), 'method')} could be run."]
    said = () if setting.nothing_forgets is None else (f"The search said beforehand: {setting.nothing_forgets}.",)
    if any(row.outcomes for row in ran):
        return (*found, *said) if len(ran) < len(setting.rows) else said  # the rest stands in the result
    found += said
    supported = [row.label for row in ran if row.judged("Supported") == sum(row.verdicts.values()) > 0]
    found.append(f"Supported on every seed: {_some(supported)}." if supported else "None was Supported on every seed.")
    blind = blindness(setting)
    if blind:
        found.append(blind)
    plain = [row for row in ran if not guarantee_rank(row.guarantee) and not row.has("collapsed")]
    refuted = [row for row in plain if row.judged("Refuted") == sum(row.verdicts.values()) > 0]
    near = [
        f"{row.label} ({number(gap, 'spreads')})"
        for row in plain
        if row not in refuted
        and not row.has("oracle-tuned")
        and (gap := row.figures.mean("forgetting-gap")) is not None
    ]
    if plain and len(refuted) == len(plain):
        found.append(
            "Every method without a guarantee was Refuted on every seed: a small gap beside that is likeness in one "
            "mean, and in nothing else."
        )
    elif near and not blind:
        found.append(f"Nearest to retraining without a guarantee: {listed(near[:3])}.")
    collapsed = [row.label for row in ran if row.has("collapsed")]
    if collapsed:
        found.append(f"Collapsed: {_some(collapsed)}.")
    return tuple(found)


def blindness(setting: Setting) -> str:
    """Where the forgetting gap cannot tell a model that forgot from one that did not; empty where it can."""
    gap, noise = setting.original.mean("forgetting-gap"), setting.noise
    if gap is None or noise is None or gap > SEES * noise:
        return ""
    return (
        f"The original, which forgot nothing, lies at {number(gap, 'spreads')}, hardly further away than retrained "
        f"models lie from each other ({number(noise, 'spreads')}): here a small forgetting gap is no sign of "
        "forgetting, only a large one tells something."
    )


def grouped(problems: Sequence[Problem]) -> tuple[Group, ...]:
    """Problems by status and reason, in the order in which they first came up."""
    found: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        found.setdefault((problem.status, problem.reason), []).append(problem.job)
    return tuple(Group(status, reason, tuple(jobs)) for (status, reason), jobs in found.items())


def provenance(study: Results) -> tuple[tuple[str, str, bool], ...]:
    """Name, value, and whether the value is code."""
    cost = study.cost
    jobs = f"{counted(cost.jobs, 'job')}: {cost.reused:,} reused, {cost.refused:,} refused, {cost.failed:,} failed"
    jobs += f", {cost.left_out:,} left out" if cost.left_out else ""
    work = (
        f"{shown(cost.example_steps, 'example-steps')}; {shown(cost.seconds, 'seconds')} by the clock, "
        f"{shown(cost.job_seconds, 'seconds')} of work"
    )
    return (
        ("study", clean(study.name, 80), False),
        ("date", study.date, False),
        ("command", study.command, True),
        ("jobs", jobs, False),
        ("work", work, False),
        ("seeds", ", ".join(map(str, study.seeds[:20])) + (", …" if study.seeds[20:] else ""), False),
        ("machine", _told(study.machine), False),
        ("engine", _told(study.engine), False),
        ("versions", _told(study.versions), False),
        ("digest of all results", study.digest, True),
    )


def guarantee_meaning(guarantee: str) -> str:
    """What a guarantee is worth, in one sentence."""
    kind, inside = guarantee_words(guarantee)
    if kind == "Exact":
        return "Bit-identical to training without these examples, and replayable."
    if kind == "Certified":
        return (
            "Under the method’s stated assumptions nobody can tell the result from a retrained model beyond the stated "
            f"bound ({inside})."
        )
    return "Nothing is proved: what speaks for it are the tests on this page, no more."


def _some(names: list[str]) -> str:
    return few(names, MOST_LISTED)


def _told(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in list(settled(values).items())[:20])
