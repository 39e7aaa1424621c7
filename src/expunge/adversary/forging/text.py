"""A forged log and what verifiers say of it, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from expunge.adversary.forging.forge import Forging, Spoofing
from expunge.adversary.forging.forgery import Forgery
from expunge.adversary.pol.calibration import Calibration
from expunge.adversary.pol.verdict import PolVerdict
from expunge.core.wording import three_digits
from expunge.records.demo import Spread
from expunge.records.verdict import Status, Verdict

WIDTH = 28


def forging_lines(forging: Forging) -> Iterator[str]:
    """Distances, noise, cost, absorbed steps, and the answers."""
    forgery, answers = forging.forgery, forging.answers
    yield f"{forgery.forger.name}: {len(forgery.found)} of {len(forgery.steps)} steps forged; {_whole(forgery)}"
    yield from _table(forgery)
    if answers is None:
        yield "nothing was forged: there is no record to write and no log to ask about"
        return
    for shard, published in answers.published.items():
        name = "" if len(answers.published) == 1 else f", shard {shard}"
        yield from _published(published, answers.calibration, name)
    yield from _verdicts(answers.verdicts)
    if any(step.forged.contents for step in forgery.found):
        yield (
            "  it was handed the altered rows, which are kept nowhere; with the committed ones it is the replay that "
            "differs"
        )
    if forging.record is not None:
        yield f"record {forging.record.bundle}, signed with a throwaway key: {forging.record.trusted} trusts it"


def spoofing_lines(spoofing: Spoofing) -> Iterator[str]:
    """What it cost to make a training up, and the answers."""
    made = spoofing.spoof
    yield (
        f"{made.name}: {len(made.proof.parts):,} steps and {len(made.proof.trajectory.steps):,} states made up for "
        f"{made.work:,.0f} example-steps of training, {made.honest_work:,.0f} are claimed"
    )
    yield from _published(made.published, made.calibration, "")
    yield from _verdicts(spoofing.verdicts)
    if spoofing.kept:
        yield f"record {made.bundle}, signed with a throwaway key: {made.trusted} trusts it"


def _whole(forgery: Forgery) -> str:
    held = f"{forgery.touched} held {forgery.target}"
    lent = len(forgery.steps) - forgery.touched
    if lent > 0:
        held += f", {lent} gave a row for its chair"
    return f"{held}, {forgery.absorbed} end in the very same bytes"


def _table(forgery: Forgery) -> Iterator[str]:
    yield f"{'':{WIDTH}}{'median':>10}{'least':>10}{'most':>10}"
    yield _row("l2 of the weights", forgery.l2)
    yield _row("l∞ of the weights", forgery.largest)
    for kind, values in forgery.noise.items():
        if kind != "any":
            yield _row(f"replay, {kind}", values)
    if forgery.distances:
        ratio = forgery.ratio
        told = (
            "replays differ by 0, the forgery does not"
            if ratio is None
            else f"{three_digits(ratio)}× the median replay noise"
        )
        yield f"{'ratio':{WIDTH}}{_zero(forgery) or told}"
    yield f"{'cost':{WIDTH}}{_cost(forgery)}"


def _zero(forgery: Forgery) -> str | None:
    """Said where not even the forgery moves the weights."""
    return "the weights are the very same" if all(apart.l2 == 0 for apart in forgery.distances) else None


def _cost(forgery: Forgery) -> str:
    whole = forgery.run.told.training_example_steps or forgery.run.result.example_steps
    return f"{forgery.example_steps:,.0f} example-steps ({forgery.example_steps / whole:.1%} of the training)"


def _row(name: str, values: Spread | None) -> str:
    if values is None:
        return f"{name:{WIDTH}}{'–':>10}"
    return f"{name:{WIDTH}}" + "".join(f"{value:>10.2g}" for value in (values.median, values.least, values.most))


def _published(verdict: PolVerdict, calibration: Calibration, name: str) -> Iterator[str]:
    said = "accepted" if verdict.accepted else "refused: " + "; ".join(verdict.reasons)
    yield f"Proof-of-Learning as published{name}: {said}"
    given = f"d_ref {calibration.d_ref:.4g} as given, delta {calibration.delta:.4g} = {calibration.share:g} × d_ref"
    told = given if len(calibration.distances) == 1 else str(calibration)
    yield f"  largest distance of a segment {verdict.largest_distance:.3g}; {told}"


def _verdicts(verdicts: tuple[Verdict, ...]) -> Iterator[str]:
    for verdict in verdicts:
        codes = ", ".join(code.value for code in verdict.codes)
        reasons = "; ".join(finding.detail for finding in verdict.findings if finding.reason is not None)
        said = {Status.REFUSED: f" ({codes})", Status.UNDECIDED: f" ({reasons})"}.get(verdict.status, "")
        yield f"verify at {verdict.asked.name}: {verdict.status.value}{said}"
