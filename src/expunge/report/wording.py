"""The sentences of the page: what was forgotten, what a guarantee is worth, what nothing here can prove."""

from __future__ import annotations

from dataclasses import dataclass, replace

from expunge.core.values import Certified, Exact, Guarantee, Refuted, Supported, Undecided
from expunge.core.wording import counted
from expunge.records.evaluation import Evaluation
from expunge.report.comparison import NOT_EVALUATED, Notes, verdict_reason
from expunge.report.facts import Facts
from expunge.report.load import Section, replayed
from expunge.report.numerals import SPACE, few, percent, probability, short, shown, spaced
from expunge.report.outcome import (
    JUDGED_THEN,
    OUTCOMES,
    RETRAIN,
    THEN,
    answer_of_one,
    badge_of,
    outcome_of,
    sureness,
    tone_of,
)

MOST_CARDS = 12
MOST_RULES = 6
REFERENCES = "expunge references RUN --forget … --count 8; expunge witnesses RUN --count 4"
ELSEWHERE = "The model was trained elsewhere: on which rows, and how, is its owner’s word."
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
    """One run, or several of which the same is to be said; ``notes`` are numbers of footnotes."""

    title: str
    badge: str
    tone: str
    sentence: str
    reason: str
    replay: str
    replay_tone: str
    notes: tuple[int, ...]


@dataclass(frozen=True)
class VerdictGroup:
    """Runs that came out alike, and what to do next."""

    title: str
    after: tuple[tuple[str, str], ...]
    cards: tuple[VerdictCard, ...]


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


def verdicts(section: Section, notes: Notes) -> tuple[VerdictGroup, ...]:
    """Cards grouped by outcome, the best first; beyond so many cards, reasons are left to the footnotes."""
    found = [(outcome_of(section, run), _card(section, run, label, notes)) for label, run in section.named]
    if len({replace(card, title="") for _, card in found}) > MOST_CARDS:
        found = [(outcome, replace(card, replay=_shorter(card), reason="", sentence="")) for outcome, card in found]
    groups: dict[str, list[tuple[str, VerdictCard]]] = {}
    for outcome, meaning in OUTCOMES.items():
        for own, card in found:
            if own == outcome:
                groups.setdefault(meaning.group, []).append((outcome, card))
    found_groups: list[VerdictGroup] = []
    for title, cards in groups.items():
        meanings = dict.fromkeys(OUTCOMES[outcome] for outcome, _ in cards)
        after = tuple((meaning.after, meaning.command) for meaning in meanings if meaning.after)
        if "unsaid" in {outcome for outcome, _ in cards}:
            after = _missing(section)
        found_groups.append(VerdictGroup(title, after[:1], _merged([card for _, card in cards])))
    return tuple(found_groups)


def _missing(section: Section) -> tuple[tuple[str, str], ...]:
    """What to train where only references or witnesses are missing; more rows nobody can buy."""
    reasons = [evaluation.reason for _, evaluation in section.evaluations if evaluation.outcome == "unsaid"]
    if any(reason.startswith("needs ") and ("reference" in reason or "witness" in reason) for reason in reasons):
        return (("What is missing can be trained:", REFERENCES),)
    return (("Where it must be certain:", RETRAIN),)


def _merged(cards: list[VerdictCard]) -> tuple[VerdictCard, ...]:
    groups: dict[VerdictCard, list[str]] = {}
    for card in cards:
        groups.setdefault(replace(card, title=""), []).append(card.title)
    return tuple(replace(card, title=few(titles, 6)) for card, titles in groups.items())


def _shorter(card: VerdictCard) -> str:
    """What comparing digests said, without the digest."""
    return {"good": "Weights equal the retrained run’s.", "bad": "Weights differ from the retrained run’s!"}.get(
        card.replay_tone, ""
    )


def _card(section: Section, run: Facts, label: str, notes: Notes) -> VerdictCard:
    outcome, evaluation = outcome_of(section, run), run.evaluation
    replay, replay_tone = _replay(section, run)
    if evaluation is not None and outcome in JUDGED_THEN:
        sentence = sentence_then(evaluation)
    else:
        sentence = answer_of_one(label, run, outcome)
    if outcome == "unsaid" and evaluation is None:
        sentence = f"R{NOT_EVALUATED.partition(': r')[2]}."
    return VerdictCard(
        title=label,
        badge=badge_of(outcome, evaluation),
        tone=tone_of(outcome, evaluation),
        sentence=sentence,
        reason="" if evaluation is None or outcome == "same" else sureness(evaluation),
        replay=replay,
        replay_tone=replay_tone,
        notes=tuple(notes.number(text) for text in _footnotes(run, outcome)),
    )


def _footnotes(run: Facts, outcome: str) -> list[str]:
    """What the guarantee is worth, the figures behind the verdict, and what such a trial can show at all."""
    found = [f"{run.earned.word}. {meaning(run.earned)}"]
    if run.evaluation is None or outcome == "same":
        return found
    told, verdict = run.evaluation.memory, run.evaluation.verdict
    p = None if isinstance(verdict, Undecided) else verdict.p
    if told is not None:
        out = f"; {counted(told.stands_out, 'row')} still {'stand' if told.stands_out != 1 else 'stands'} out"
        chance = "" if p is None else f"; p{SPACE}{probability(p)}"
        found.append(f"Memory left {shown(told.left, 'memory')}, at most {shown(told.bound, 'memory')}{out}{chance}.")
        found.append(_power(run.evaluation))
    return found


def _asked(claim: str) -> str:
    """A claim in the reader's words."""
    share = "10%" if claim == "indistinguishable" else claim.removeprefix("at-most:")
    return f"that at most {spaced(share)} of the memory is left"


def _power(evaluation: Evaluation) -> str:
    """What a trial can show at all: what is read against what, and the smallest share that it can bound."""
    told = evaluation.memory
    assert told is not None
    beside = f"{counted(told.references, 'reference')} and {counted(told.witnesses, 'model')} that saw everybody"
    least = "no bound can be shown" if told.smallest_claim is None else f"{percent(told.smallest_claim)} can be bounded"
    asked = "" if evaluation.claim is None else f" Asked of it: {_asked(evaluation.claim)}."
    return f"Read against {beside}: at best {least}.{asked}"


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


def sentence_then(evaluation: Evaluation) -> str:
    """What a verdict by the rules of an earlier release means, and why it was given."""
    verdict = evaluation.verdict
    if isinstance(verdict, Supported):
        opening = "on every required test the model behaves like retrained ones, within the margins of then"
    elif isinstance(verdict, Refuted):
        opening = "the model differs from retrained ones by more than chance and the margins of then allow"
    else:
        opening = "the tests could not decide"
    reason = verdict_reason(verdict).rstrip(".")
    return f"{THEN.capitalize()}, {opening}{f': {reason}' if reason else ''}."
