"""Pools of models of one recipe and one request: trained once, read once, judged as often as anybody likes.

A pool has the original, retrainings without the forget set, witnesses with it, retrainings that kept a part of it, and
runs of methods. A draw takes some of the retrainings as references and judges another model beside them, by the
product's own rule, which is not told what that model is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from expunge.core.hashing import sha256
from expunge.core.statistics.memory import Memory
from expunge.core.values import Figure, Undecided
from expunge.data.forget_set import ForgetSet, choose
from expunge.data.splits import Split
from expunge.measure.accuracy import ForgetAccuracy
from expunge.measure.claim import Claim
from expunge.measure.contract import Judging, Probe
from expunge.measure.evaluate import trial_of
from expunge.measure.judgement import judge
from expunge.measure.lookup import probes_for
from expunge.measure.loss_threshold import LossThreshold
from expunge.measure.mean_margin import MeanMargin
from expunge.measure.memory import MemoryLeft, OfMemory, Typicality
from expunge.measure.readings import SIGNALS, Kept
from expunge.measure.row import Weighed
from expunge.measure.trial import Answers, Beside, Ground, Trial, TrialModel, Whose
from expunge.methods.contract import Method
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.study.references import references, witnesses
from expunge.tasks.task import signals_of
from expunge.train.answers import signals
from expunge.train.call import train
from expunge.train.examples import Examples
from expunge.train.profile import find_device, pinned
from expunge.train.run import Run
from studies.verdicts_found import Tally

WITNESSES = 4  # of a draw, from all that a pool has
LEAKY_SEEDS = 500_000  # of retrainings that kept a part: nobody else's


@dataclass(frozen=True, kw_only=True)
class Case:
    """A recipe on data, a request, and how many models of each kind there are to be.

    ``kept`` says by the share of the forget set that they kept, in percent, how many retrainings leak.
    """

    folder: Path
    data: str
    forget: tuple[str, ...]
    fields: Mapping[str, Any]
    retrained: int
    witnesses: int
    jobs: int
    answered: Kept
    kept: Mapping[int, int] = field(default_factory=dict[int, int])
    methods: Mapping[str, Method | str] = field(default_factory=dict[str, "Method | str"])

    def original(self) -> Run:
        return train(self.data, out=self.folder / "original", **self.fields)

    def references(self, run: Run) -> tuple[Run, ...]:
        store = self.folder / "store"
        return references(run, self.forget, count=self.retrained, jobs=self.jobs, store=store, say=print)

    def knowing(self, run: Run) -> tuple[Run, ...]:
        return witnesses(run, count=self.witnesses, jobs=self.jobs, store=self.folder / "store", say=print)

    def out(self, name: str) -> Path:
        """Of what else there is of this request."""
        return self.folder / sha256(*(rule.encode() for rule in self.forget)).hex()[:12] / name

    def leaking(self, run: Run, forget: ForgetSet, percent: int) -> list[Run]:
        """Retrainings that were to do without the forget set and kept a part of it, another one each."""
        found = list[Run]()
        for number in range(self.kept[percent]):
            mixed = np.random.default_rng([percent, number]).permutation(forget.slots)
            less = ForgetSet(np.sort(mixed[len(mixed) * percent // 100 :]), ("saved",), forget.root)
            method = Retrain(training_seed=LEAKY_SEEDS + 100 * percent + number)
            found.append(unlearn(run, less, method=method, out=self.out(f"kept-{percent}-{number}")))
        return found


@dataclass(frozen=True)
class Draw:
    """References and witnesses that were drawn, and an honest retraining that is none of them."""

    references: tuple[TrialModel, ...]
    witnesses: tuple[TrialModel, ...]
    honest: TrialModel
    luck: np.random.Generator


@dataclass(frozen=True, eq=False)
class Pool:
    """What the models of a case answered; ``others`` by what they are called in tables."""

    run: Run
    forget: ForgetSet
    probes: tuple[Probe, ...]
    told: str
    ground: Ground
    original: TrialModel
    retrained: tuple[TrialModel, ...]
    witnesses: tuple[TrialModel, ...]
    others: Mapping[str, tuple[TrialModel, ...]]
    figures: dict[object, Figure] = field(default_factory=dict[object, Figure])

    @classmethod
    def of(cls, case: Case) -> Pool:
        """Train what is lacking, and ask every model once."""
        run = case.original()
        rows = run.data()
        forget = choose(case.forget, rows[Split.TRAIN], root=run.root.hex(), forgotten=run.tombstones)
        retrained, known = case.references(run), case.knowing(run)
        kinds: dict[str, Sequence[Run]] = {f"kept {one} %": case.leaking(run, forget, one) for one in case.kept}
        for name, method in case.methods.items():
            kinds[name] = [unlearn(run, case.forget, method=method, out=case.out(name))]
        runs = [*retrained, *(one for each in kinds.values() for one in each)]
        print(f"asking {len(runs) + len(known) + 1} models")
        probes = [probe for probe in probes_for(run.recipe.classes) if probe.judging is not None]
        with pinned(run.recipe):  # all of them as references: nobody is told what they are
            asked = trial_of(retrained[:1], run, runs, rows, probes, witnesses=known, kept=case.answered)
        each = iter(asked.references)
        gone = f"{len(forget)} of them forgotten ({named(case.forget)})"
        options = "".join(f", {name} {value}" for name, value in run.recipe.model_options.items())
        return cls(
            run=run,
            forget=forget,
            probes=tuple(probe() for probe in probes),
            told=f"{run.recipe.model}{options}, {run.recipe.epochs} epochs at rate {run.recipe.optimiser.rate:g} on "
            f"{len(rows[Split.TRAIN])} rows, {gone}; {len(retrained)} retrainings, {len(known)} witnesses",
            ground=asked.ground,
            original=asked.original,
            retrained=tuple(next(each) for _ in retrained),
            witnesses=asked.witnesses,
            others={name: tuple(next(each) for _ in found) for name, found in kinds.items()},
        )

    def draws(self, references: int, count: int) -> Iterator[Draw]:
        """The same ones whenever they are asked for; of a small pool all but one are references."""
        references = min(references, len(self.retrained) - 1)
        luck = np.random.default_rng([references, count])
        for _ in range(count):
            order = luck.permutation(len(self.retrained))
            known = luck.permutation(len(self.witnesses))[:WITNESSES]
            drawn = tuple(self.retrained[at] for at in order[:references])
            yield Draw(drawn, tuple(self.witnesses[at] for at in known), self.retrained[order[references]], luck)

    def made(self, name: str) -> Callable[[Draw], TrialModel]:
        """Models of that name, another one of them for each draw."""
        if name == "retrained":
            return lambda draw: draw.honest
        if name == "original":  # the guard of equal weights would say it all
            return lambda draw: replace(self.original, weights_digest="0" * 64)
        return lambda draw: self.others[name][int(draw.luck.integers(len(self.others[name])))]

    def trial(self, draw: Draw, *models: TrialModel) -> Trial:
        return Trial(
            original=self.original,
            unlearned=models,
            references=draw.references,
            witnesses=draw.witnesses,
            ground=self.ground,
            figures=self.figures,
        )

    def tally(
        self,
        name: str,
        references: int,
        draws: int,
        claim: str | None,
        *,
        made: Callable[[Draw], TrialModel] | None = None,
        plain: bool = False,
    ) -> Tally:
        """Models of a kind, each judged beside references that are drawn; by ``plain`` margins as it was before."""
        probes = tuple(PlainMemory() if plain and isinstance(one, MemoryLeft) else one for one in self.probes)
        make, asked = made or self.made(name), None if claim is None else Claim.of(claim)
        judged = [judge(self.trial(draw, make(draw)), probes, asked)[0] for draw in self.draws(references, draws)]
        found = Tally(name, references, judged)
        print(f"{name}, {references} references: {found.supported:.2f} Supported, {found.refuted:.2f} Refuted")
        return found

    def signal_to_noise(self, references: int, draws: int) -> list[float | None]:
        """|original − mean of the references| ÷ their standard deviation: the median of some draws, by statistic."""
        found = list[float | None]()
        for probe in PRINTED.values():
            each = [Weighed.of(probe, self.trial(draw)) for draw in self.draws(references, draws)]
            offs = [off for one in each if not isinstance(off := one.against(one.original), Undecided)]
            found.append(float(np.median([abs(off.difference) / off.spread for off in offs])) if offs else None)
        return found

    def beliefs(self, model: TrialModel) -> dict[Whose, np.ndarray]:
        return {rows: model.answers.of(rows)["beliefs"] for rows in Whose}

    def answering(self, beliefs: Mapping[Whose, np.ndarray]) -> TrialModel:
        """A model that nobody trained: it answers so."""
        read = {rows: {"beliefs": said, **signals_of(said, self.ground.labels[rows])} for rows, said in beliefs.items()}
        return replace(
            self.original,
            weights_digest=sha256(*(said.tobytes() for said in beliefs.values())).hex(),
            answers=Answers(read={SIGNALS: read}, example_steps=None, seconds=None),
        )

    def asked(self, model: torch.nn.Module) -> TrialModel:
        """What a model answers that is no run's."""
        rows, recipe = self.run.data(), self.run.recipe
        train, holdout = (Examples(recipe, rows[split], find_device("cpu")) for split in (Split.TRAIN, Split.HOLDOUT))
        slots = {
            Whose.FORGET: (train, self.forget.slots),
            Whose.RETAIN: (train, np.setdiff1d(np.arange(len(train)), self.forget.slots)),
            Whose.HOLDOUT: (holdout, np.arange(len(holdout))),
        }
        with pinned(recipe):
            return self.answering({whose: signals(recipe, model, *at)["beliefs"] for whose, at in slots.items()})


def named(rules: Sequence[str]) -> str:
    return rules[0] if len(rules) == 1 else f"{rules[0]} and {len(rules) - 1} more"


def narrowed(trial: Trial, rows: np.ndarray) -> Trial:
    """The same models, asked about some of the forgotten rows alone."""

    def less(own: Answers) -> Answers:
        read = own.read[SIGNALS]
        some = {name: values[rows] for name, values in read[Whose.FORGET].items()}
        return replace(own, read={SIGNALS: {**read, Whose.FORGET: some}})

    labels = {**trial.ground.labels, Whose.FORGET: trial.ground.labels[Whose.FORGET][rows]}
    digest = sha256(trial.ground.digest, rows.tobytes())
    return trial.answering(less, replace(trial.ground, labels=labels, digest=digest))


@dataclass(frozen=True, kw_only=True)
class PlainMemory(OfMemory):
    """ρ as it was before: of plain margins, each row weighted by 1 ÷ s². Kept to show why that went."""

    name = "memory"
    judging = Judging.MEMORY
    scale = "memory"

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        told = [[one.of(Whose.FORGET)["margin"] for one in models] for models in (beside.references, beside.witnesses)]
        plain = Memory(*map(np.array, told))
        weighted = Memory(plain.references / plain.spread, plain.witnesses / plain.spread)
        left = self.of(weighted, own.of(Whose.FORGET)["margin"] / plain.spread)
        return replace(super().value(own, beside, ground), value=left, low=left, high=left)

    def of(self, memory: Memory, own: np.ndarray) -> float:
        return memory.left(own)


PRINTED: dict[str, Probe] = {
    "ρ": MemoryLeft(),
    "τ": Typicality(),
    "forget accuracy": ForgetAccuracy(),
    "loss AUC": LossThreshold(),
    "mean margin": MeanMargin(),
    "ρ of plain margins": PlainMemory(),
}
