"""The sentences of the page: what was forgotten, what a guarantee is worth, what nothing here can prove."""

from __future__ import annotations

from dataclasses import dataclass, replace

from expunge.core.values import Certified, Exact, Guarantee, Refuted, Supported
from expunge.core.wording import counted
from expunge.records.evaluation import RULES_VERSION, Evaluation
from expunge.report.comparison import NOT_EVALUATED, concluded, verdict_reason
from expunge.report.facts import Facts
from expunge.report.load import Section, replayed
from expunge.report.numerals import SPACE, few, percent, short

MOST_CARDS = 8
MOST_RULES = 6
ELSEWHERE = "The model was trained elsewhere: on which rows, and how, is its owner’s word."
NOTED = "The table’s notes say why."
LIMITS = (
    "“Forgotten” is not a property that weights can show: the same weights can come from different data. What can be "
    "audited is which algorithm ran on which data; these figures are measurements beside that, not a proof.",
    "Everything here is about one committed data set. A copy of the same rows elsewhere, in another data set, a backup "
    "or another model, is outside its reach.",
    "The tests are only tests: a stronger one may still find what these did not, and a model that passes them is not "
    "thereby without a trace.",
    "Intervals speak about these examples and these retrained references. Another seed, split or set of people can "
    "come out differently, and verdicts assume that the references were retrained honestly.",
)


@dataclass(frozen=True)
class VerdictCard:
    """One card of the verdict block: one run, or several with the same guarantee and verdict."""

    title: str
    guarantee: str
    kind: str
    meaning: str
    replay: str
    replay_tone: str
    verdict: str
    tone: str
    reason: str


def headline(section: Section) -> str:
    """What was to be forgotten, in one sentence."""
    asked = section.unlearning
    share = asked.forgotten / section.first.told.data.counts.train if section.first.told.data.counts.train else 0.0
    earlier = len(section.first.tombstones) - asked.forgotten
    before = f", after {counted(earlier, 'other')} forgotten earlier" if earlier > 0 else ""
    elsewhere = "" if section.first.told.adopted is None else f" {ELSEWHERE}"
    return (
        f"{counted(asked.forgotten, 'example')} of {section.first.told.data.counts.train:,} training rows "
        f"({percent(share)}) had to be forgotten{before}.{elsewhere}"
    )


def rules(section: Section) -> tuple[str, ...]:
    """How they were named, shortened where there are many."""
    found = section.unlearning.rules
    return found if len(found) <= MOST_RULES else (*found[:MOST_RULES], f"and {len(found) - MOST_RULES} more")


def outcomes(section: Section) -> tuple[VerdictCard, ...]:
    """A card for runs of which the same is to be said; beyond eight cards, reasons are left to the table's notes."""
    found = [_outcome(section, run, label) for label, run in section.named]
    cards = _merged(found)
    if len(cards) > MOST_CARDS:
        cards = _merged([replace(card, replay=_shorter(card), reason=NOTED) for card in found])
    return cards


def _merged(cards: list[VerdictCard]) -> tuple[VerdictCard, ...]:
    groups: dict[VerdictCard, list[str]] = {}
    for card in cards:
        groups.setdefault(replace(card, title=""), []).append(card.title)
    return tuple(replace(card, title=few(titles, 6)) for card, titles in groups.items())


def _shorter(card: VerdictCard) -> str:
    """What comparing digests said, without the digest."""
    return {"good": "Weights equal the retrained run’s.", "bad": "Weights differ from the retrained run’s!"}.get(
        card.replay_tone, card.replay
    )


def _outcome(section: Section, run: Facts, label: str) -> VerdictCard:
    guarantee = run.earned
    word = guarantee.word
    replay, replay_tone = _replay(section, run)
    if run.evaluation is None:
        verdict, tone, reason = "Not evaluated", "open", NOT_EVALUATED.split(": ", 1)[1] + "."
    else:
        verdict, tone = concluded(run.evaluation)
        reason = sentence_of(run.evaluation)
        if isinstance(guarantee, Exact) and run.evaluation.same_as is None:
            reason += " For an exact run this judges the tests, not the run."
    return VerdictCard(
        label, word, word.lower().partition(" ")[0], meaning(guarantee), replay, replay_tone, verdict, tone, reason
    )


def meaning(guarantee: Guarantee) -> str:
    """What a guarantee means, in one sentence."""
    if isinstance(guarantee, Exact) and guarantee.base is not None:
        return f"Bit-identical to training without these examples, {guarantee.detail}."
    if isinstance(guarantee, Exact):
        return (
            "Bit-identical to training without these examples, and replayable: anyone with the data and the recipe can "
            "run the same computation again and compare digests."
        )
    if isinstance(guarantee, Certified):
        return (
            "Under the method’s stated assumptions nobody can tell the result from a retrained model beyond "
            f"ε{SPACE}={SPACE}{guarantee.epsilon:g}, except with probability δ{SPACE}={SPACE}{guarantee.delta:g}."
        )
    if not guarantee.passed:
        return "Nothing is proved, and no test was passed so far."
    level = "" if guarantee.level is None else f" at {percent(guarantee.level)} confidence"
    return f"Nothing is proved: only the named tests were passed{level} ({', '.join(guarantee.passed[:12])})."


def _replay(section: Section, run: Facts) -> tuple[str, str]:
    """What comparing digests says of an exact run."""
    if not run.is_exact:
        return "", ""
    if run.is_retraining:
        return "This is itself a retraining from the start without these examples.", ""
    same = replayed(section, run)
    if same is None:
        return "No retrained run of the same lineage seed is at hand to compare digests with.", ""
    if same:
        return f"Its weights digest {short(run.weights_digest)} equals that of the retrained run.", "good"
    return (
        f"Its weights digest {short(run.weights_digest)} differs from that of the run retrained with the same lineage "
        "seed: the exact claim does not hold between these two.",
        "bad",
    )


def sentence_of(evaluation: Evaluation) -> str:
    """What a verdict means, and why it was given; one of an earlier release by the rules of then."""
    if evaluation.tolerances_version >= RULES_VERSION:
        return evaluation.answer
    verdict = evaluation.verdict
    if isinstance(verdict, Supported):
        opening = "On every required test the model behaves like retrained ones, within the stated margins"
    elif isinstance(verdict, Refuted):
        opening = "The model differs from retrained ones by more than chance and the stated margins allow"
    else:
        opening = "The tests could not decide"
    reason = verdict_reason(verdict).rstrip(".")
    return f"{opening}: {reason}." if reason else f"{opening}."
