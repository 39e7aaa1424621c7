"""What came out, in the reader's words: of one run, and of all of them in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from expunge.core.values import Measurement
from expunge.records.evaluation import Evaluation
from expunge.report.facts import Facts
from expunge.report.load import Section, replayed
from expunge.report.numerals import bare, few, shown, spaced

MOST_GREEN = 0.10
MOST_NAMED = 3
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
RETRAIN = "expunge unlearn RUN --forget … --method retrain"


@dataclass(frozen=True)
class Meaning:
    """An outcome: a badge, its tone, a group's heading, how one and several of them are told, and what to do next."""

    badge: str
    tone: str
    group: str
    one: str = ""
    many: str = ""
    after: str = ""
    command: str = ""


RED_GROUP = "Forgot too much or broke"
THEN = "by the rules of an earlier release"
OUTCOMES: Mapping[str, Meaning] = {
    "same": Meaning("same as never trained", "good", "The same as never trained"),
    "recorded": Meaning(
        "exact by its record",
        "accent",
        "Exact by the record",
        after="Whoever verifies the record checks that. For a model to compare with bit for bit:",
        command=RETRAIN,
    ),
    "little left": Meaning(
        "little left",
        "",
        "A little may be left",
        after="The bound is about these people together, not about each. Where nothing may be left:",
        command=RETRAIN,
    ),
    "remembers": Meaning(
        "still remembers",
        "bad",
        "Still remembers",
        "still remembers",
        "still remember",
        "This is not forgotten. Give the method more work, tune it, or be certain:",
        RETRAIN,
    ),
    "too much": Meaning(
        "forgot too much",
        "bad",
        RED_GROUP,
        "forgot too much",
        "forgot too much",
        "Whose rows are answered worse than strangers’ can be picked out too. Use less work, tune the method, or:",
        RETRAIN,
    ),
    "broke": Meaning("broke", "bad", RED_GROUP, "broke", "broke", "Use less work, tune the method, or:", RETRAIN),
    "unsaid": Meaning("cannot be said", "open", "Cannot be said"),
    "supported then": Meaning("supported", "", f"Supported, {THEN}", "is supported", "are supported"),
    "refuted then": Meaning("refuted", "bad", f"Refuted, {THEN}", "is refuted", "are refuted"),
    "undecided then": Meaning("undecided", "open", f"Undecided, {THEN}", "is undecided", "are undecided"),
}
FAILED = ("remembers", "too much", "broke")
JUDGED_THEN = ("supported then", "refuted then", "undecided then")


def outcome_of(section: Section, run: Facts) -> str:
    """A key of ``OUTCOMES``. Equal bits say more than any evaluation, an exact run that is not equal less."""
    same = replayed(section, run)
    if same or (run.is_retraining and not run.trained):
        return "same"
    if same is False:
        return "broke"
    if run.evaluation is None:
        return "recorded" if run.is_exact else "unsaid"
    return run.evaluation.outcome or f"{run.evaluation.verdict.word} then"


def tone_of(outcome: str, evaluation: Evaluation | None) -> str:
    """None is green that may leave more than a tenth of the memory."""
    memory = None if evaluation is None else evaluation.memory
    if outcome == "little left" and memory is not None and memory.bound <= MOST_GREEN:
        return "good"
    return OUTCOMES[outcome].tone


def badge_of(outcome: str, evaluation: Evaluation | None) -> str:
    """A verdict in two or three words."""
    if outcome == "little left" and evaluation is not None and evaluation.memory is not None:
        return f"at most {shown(evaluation.memory.bound, 'memory')} left"
    return OUTCOMES[outcome].badge


def answer_of(section: Section) -> str:
    """The title of a section: the answer in one sentence, or two."""
    found = [(label, outcome_of(section, run)) for label, run in section.named]
    if len(found) == 1:
        label, run = section.named[0]
        return answer_of_one(label, run, found[0][1])
    told = [(run.evaluation, outcome) for run, (_, outcome) in zip(section.runs, found, strict=True) if run.evaluation]
    bounds = [one.memory.bound for one, outcome in told if one.memory is not None and outcome == "little left"]
    whys = {spaced(one.reason.partition("; ")[0]) for one, outcome in told if outcome == "unsaid"}
    return answer(found, max(bounds, default=None), next(iter(whys)) if len(whys) == 1 else "")


def answer_of_one(label: str, run: Facts, outcome: str) -> str:
    """What is said of one run alone."""
    if outcome == "same":
        return f"Yes, by {label}: bit for bit the model that never saw them."
    if outcome == "broke" and run.is_exact:
        return "No: its weights are not those of the retraining that it claims to equal."
    if run.evaluation is None:
        return "Exact by its record." if outcome == "recorded" else "Cannot be said: it was not evaluated."
    if run.evaluation.outcome is None:
        return f"{OUTCOMES[outcome].badge.capitalize()}, {THEN}."
    return spaced(run.evaluation.answer)


def answer(found: Sequence[tuple[str, str]], bound: float | None = None, why: str = "") -> str:
    """Names with their outcomes in one or two sentences.

    ``bound`` is the most that any may leave of the memory, ``why`` the one reason for which something cannot be said.
    """
    names = {key: [label for label, outcome in found if outcome == key] for key in OUTCOMES}
    parts: list[str] = []
    if names["same"]:
        parts.append(f"Forgotten by {few(names['same'], MOST_NAMED)}, bit for bit.")
    if names["recorded"]:
        parts.append(f"Exact by its record: {few(names['recorded'], MOST_NAMED)}.")
    if names["little left"]:
        most = "little" if bound is None else f"at most {shown(bound, 'memory')}"
        parts.append(f"With {few(names['little left'], MOST_NAMED)} {most} of the memory is left.")
    failed = [(len(names[key]), OUTCOMES[key]) for key in FAILED if names[key]]
    if failed:
        parts.append(_failed(failed, others=bool(parts), all_of_them=sum(count for count, _ in failed) == len(found)))
    if names["unsaid"]:
        parts.append(_unsaid(len(names["unsaid"]), len(found)) + (f": {why}." if why else "."))
    then = [(len(names[key]), OUTCOMES[key]) for key in JUDGED_THEN if names[key]]
    if then:
        parts.append(f"{THEN.capitalize()} {_counts(then)}.")
    return " ".join(parts)


def _failed(counts: Sequence[tuple[int, Meaning]], *, others: bool, all_of_them: bool) -> str:
    """How many did not forget, and how they came out."""
    total = sum(count for count, _ in counts)
    methods = f"{_number(total)}{' other' * others} method{'s' * (total > 1)}"
    if len(counts) == 1:
        came_out = counts[0][1].one if total == 1 else counts[0][1].many
        return f"{'All ' * (all_of_them and total > 1)}{methods} {came_out}.".capitalize()
    if all_of_them:
        return f"None of {methods} forgot them: {_counts(counts)}."
    return f"{methods.capitalize()} did not: {_counts(counts)}."


def _counts(counts: Sequence[tuple[int, Meaning]]) -> str:
    return ", ".join(f"{_number(count)} {meaning.one if count == 1 else meaning.many}" for count, meaning in counts)


def _unsaid(count: int, total: int) -> str:
    if count == total:
        return f"Whether {'any of ' * (count > 1)}{_number(count)} method{'s' * (count > 1)} forgot cannot be said"
    return f"Of {_number(count)} more it cannot be said"


def _number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else f"{count:,}"


def sureness(evaluation: Evaluation) -> str:
    """How sure the run is of the forgotten rows, or how near to their labels; empty where that is unknown.

    It is said beside models that never saw them.
    """
    errors = evaluation.probe("forget-error")
    probe = errors or evaluation.probe("mean-margin")
    if probe is None or probe.original is None:
        return ""
    figures = (probe.unlearned, probe.original, *probe.references)
    values = [one.value for one in figures if isinstance(one, Measurement)]
    if len(values) < len(figures) or not probe.references:
        return ""
    own, before, *others = values
    low, high = min(others), max(others)
    if errors is not None:
        told = _likeness(-own, -before, -high, -low, "near to their labels", "Nearer to", "Farther from", "labels")
        return f"{told}: off by {bare(own, 'error')}; models that never saw them {_range(low, high, 'error')}"
    told = _likeness(own, before, low, high, "sure of their rows", "Surer of", "Less sure of", "rows")
    return f"{told}: {bare(own, 'sure')}; models that never saw them {_range(low, high, 'sure')}"


def _likeness(own: float, before: float, low: float, high: float, alike: str, more: str, less: str, what: str) -> str:
    if low <= own <= high:
        return f"As {alike} as models that never saw them"
    if abs(own - before) <= 0.1 * abs(before - (low + high) / 2):
        return f"Still as {alike} as before"
    return f"{more if own > high else less} their {what} than a stranger"


def _range(low: float, high: float, scale: str) -> str:
    ends = (bare(low, scale), bare(high, scale))
    return ends[0] if ends[0] == ends[1] else f"{' to ' if low < 0 else '–'}".join(ends)
