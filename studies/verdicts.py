"""Do the verdicts tell the truth? Models whose truth is known are judged by the product's own rule, many times.

    python -m studies.verdicts FILE.npz [--part PART …] [--forget-seed N]

FILE.npz holds the arrays x (pictures, 28 × 28) and y, as `python -m studies.pictures` makes it of its publisher's
files; the committed results are from Fashion-MNIST. Each part trains what it lacks into a store under --work, so that
an interrupted call goes on and nothing is trained twice; draws references from its pool and judges other models beside
them; prints a table and whether its floors are met, and writes both with date and command under
studies/results/verdicts/. Draws from one pool are not independent: rates are good to some points.

A small try:    python -m studies.verdicts FILE.npz --part honest --rows 1000 --epochs 5 --models 20 --draws 10
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes

from expunge.cli.demo import PEOPLE
from expunge.core.errors import ExpungeError
from expunge.core.statistics.prediction import LEVEL, power_factor
from expunge.core.values import Supported
from expunge.measure.claim import Claim
from expunge.measure.evaluate import evaluate
from expunge.measure.judgement import Judgement, judge
from expunge.measure.readings import Kept
from expunge.measure.trial import TrialModel
from expunge.methods.contract import Method
from expunge.methods.lookup import make_method
from expunge.methods.unlearn import unlearn
from studies.verdicts_found import Cell, Floor, Found, Table, Tally
from studies.verdicts_pool import PRINTED, WITNESSES, Case, Draw, Pool, named, narrowed
from studies.verdicts_straw import (
    constant,
    flipped_to_accuracy,
    random_head,
    shifted_to_accuracy,
    shifted_to_mean,
)

RESULTS = Path(__file__).parent / "results" / "verdicts"
QUARTER, TENTH = "at-most:25%", "indistinguishable"
METHODS: dict[str, Method | str] = {name: name for name in ("fine-tune", "neggrad-plus", "random-labels")}
ASCENT = make_method("gradient-ascent", {"rate": "0.01"})  # a hundred times the usual: utility breaks


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a study is; these are those of the committed results. None is each part's own."""

    rows: int = 5000
    epochs: int | None = None
    models: int = 48
    draws: int | None = None
    forget_seed: int = 7
    jobs: int = 2


@dataclass(frozen=True)
class Place:
    """The pictures, where models are kept, and how large everything is."""

    x: np.ndarray
    y: np.ndarray
    work: Path
    size: Size
    answered: Kept = field(default_factory=Kept)  # by any model, from one part to the next

    def draws(self, usual: int) -> int:
        return self.size.draws or usual

    def some(self, usual: int) -> int:
        """As many models, or fewer where the pools are small."""
        return max(1, min(usual, self.size.models // 6))

    def pictures(self, side: int) -> str:
        """A file of the first rows, each picture pooled to this side."""
        path = self.work / f"pictures-{side}-{self.size.rows}.npz"
        if not path.is_file():
            x, by = self.x[: self.size.rows], self.x.shape[1] // side
            pooled = x.reshape(len(x), side, by, side, by).mean(axis=(2, 4)).round().astype(np.uint8)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, x=pooled, y=self.y[: self.size.rows])
        return str(path)

    def case(
        self,
        data: str,
        model: str,
        epochs: int,
        *,
        retrained: int,
        witnesses: int = 8,
        norm: str = "none",
        forget: Sequence[str] = (),
        kept: Mapping[int, int] | None = None,
        methods: Mapping[str, Method | str] | None = None,
        **more: Any,
    ) -> Case:
        """A recipe on data; a random tenth must go unless said. A smaller try lies in a folder of its own."""
        epochs = self.size.epochs or epochs
        fields = more | {"model": model, "epochs": epochs}
        fields |= {} if norm == "none" else {"model_options": {"norm": norm}}
        return Case(
            folder=self.work / "-".join(map(str, (model, norm, epochs, Path(data).stem, *more.values()))),
            data=data,
            forget=tuple(forget) or (f"random:10%:{self.size.forget_seed}",),
            fields=fields,
            retrained=min(retrained, self.size.models),
            witnesses=min(witnesses, self.size.models),
            jobs=self.size.jobs,
            answered=self.answered,
            kept=kept or {},
            methods=methods or {},
        )

    def pilot(self, **more: Any) -> Case:
        """What most rows are of: small pictures, one hidden layer."""
        return self.case(self.pictures(14), "mlp", 30, retrained=48, **more)


def ratios(named: Mapping[str, Pool], references: int, draws: int) -> Table:
    """|original − mean of the references| ÷ their standard deviation, by statistic."""
    rows = [(name, references, *pool.signal_to_noise(references, draws)) for name, pool in named.items()]
    return Table(("signal to noise of", "references", *PRINTED), rows)


def honest(place: Place) -> Found:
    """C1: honest retrainings, judged as if somebody had unlearned them."""
    pool = Pool.of(place.pilot())
    asked = ((5, QUARTER), (8, QUARTER), (16, QUARTER), (8, TENTH), (16, TENTH))
    found = {(count, claim): pool.tally("retrained", count, place.draws(160), claim) for count, claim in asked}
    quarter = [one for (_, claim), tally in found.items() if claim == QUARTER for one in tally.judged]
    pooled, what = Tally("", 0, quarter), f"honest retrainings at {QUARTER}, n = 5, 8 and 16 pooled,"
    return Found(
        recipe=pool.told,
        tables=[Table.of(found.values()), ratios({"mlp": pool}, 8, place.draws(40))],
        floors=[
            Floor(row="C1", what=f"{what} Supported", found=pooled.supported, least=0.90),
            Floor(row="C1", what=f"{what} Refuted", found=pooled.refuted, most=0.08),
            Floor(row="C1", what=f"{TENTH}, n = 16, Supported", found=found[16, TENTH].supported, least=0.85),
        ],
        remarks=[
            f"{claim} with {count} references asks for a signal to noise of {power_factor(count) / share:.3g}."
            for count, claim, share in ((5, QUARTER, 0.25), (8, QUARTER, 0.25), (8, TENTH, 0.1), (16, TENTH, 0.1))
        ],
    )


def digits(place: Place) -> Found:
    """C2: the demo's recipe and people; the claim is the strongest that the power line allows."""
    people = [f"subject:person-{number:03d}" for number in PEOPLE]
    pool = Pool.of(place.case("digits", "cnn", 30, retrained=32, forget=people))
    count = min(16, len(pool.retrained) - 1)
    found = {name: pool.tally(name, count, place.draws(40), None) for name in ("retrained", "original")}
    return Found(
        recipe=pool.told,
        tables=[Table.of(found.values()), ratios({"digits": pool}, count, place.draws(40))],
        floors=[Floor(row="C2", what="honest retrainings Refuted", found=found["retrained"].count("refuted"), most=3)],
    )


def numbers(place: Place) -> Found:
    """C2 as well: a table whose labels are numbers."""
    table: Any = load_diabetes()
    path = place.work / "diabetes.csv"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = np.column_stack((table.data, table.target))
        np.savetxt(path, rows, "%.17g", ",", header=",".join([*table.feature_names, "target"]), comments="")
    pool = Pool.of(place.case(str(path), "mlp", 30, retrained=32, task="regression", label="target"))
    count = min(16, len(pool.retrained) - 1)
    found = [pool.tally(name, count, place.draws(40), None) for name in ("retrained", "original")]
    judged = [one for tally in found for one in tally.judged]
    told = all(
        one.verdict.word != "undecided" or any("this trial can support" in said for said in one.notices)
        for one in judged
    )
    return Found(
        recipe=pool.told,
        tables=[Table.of(found)],
        floors=[Floor(row="C2", what="diabetes, every draw has a verdict or its power line", found=told)],
        remarks=[f"Said of the first: {tally.name}: {tally.judged[0].verdict.detail}." for tally in found],
    )


def methods(place: Place) -> Found:
    """C3: what did not forget."""
    pool = Pool.of(place.pilot(methods=METHODS))
    found = [pool.tally(name, 5, place.draws(40), QUARTER) for name in ("original", *METHODS)]
    floors = [Floor(row="C3", what=f"{one.name} at n = 5, Refuted", found=one.refuted, least=1) for one in found]
    return Found(recipe=pool.told, tables=[Table.of(found)], floors=floors)


def leaks(place: Place) -> Found:
    """C4: retrainings that kept a part of the forget set."""
    pool, tallies, floors = (
        Pool.of(place.pilot(kept=dict.fromkeys((30, 10), place.some(6)))),
        list[Tally](),
        list[Floor](),
    )
    for name, low, high in (("kept 30 %", 0.25, 0.50), ("kept 10 %", 0.05, 0.20)):
        found = {count: pool.tally(name, count, place.draws(40), QUARTER) for count in (5, 8, 16)}
        at = found[8]
        floors += [
            Floor(row="C4", what=f"{name} at n = 8, Refuted", found=at.refuted, least=0.95),
            Floor(row="C4", what=f"{name}, mean memory left", found=at.left or 0.0, least=low, most=high),
            Floor(row="C4", what=f"{name}, fewest effective rows", found=at.fewest or 0.0, least=10),
        ]
        tallies += found.values()
    return Found(recipe=f"{pool.told}; {place.some(6)} leaks of each kind", tables=[Table.of(tallies)], floors=floors)


def straw(place: Place) -> Found:
    """C5: straw men, which must never be Supported."""
    pool = Pool.of(place.pilot(methods={"ascent": ASCENT}))
    broken: dict[str, Callable[[Draw], TrialModel]] = {
        "random head": partial(random_head, pool),
        "constant output": partial(constant, pool),
        "ascent until utility breaks": pool.made("ascent"),
    }
    dressed: dict[str, Callable[[Draw], TrialModel]] = {
        "original, shifted until its mean margin fits": partial(shifted_to_mean, pool),
        "original, shifted until forget accuracy fits": partial(shifted_to_accuracy, pool),
        "original, rows flipped until forget accuracy fits": partial(flipped_to_accuracy, pool),
    }
    found = [pool.tally(name, 8, place.draws(30), QUARTER, made=made) for name, made in (broken | dressed).items()]
    floors = [Floor(row="C5", what=f"{one.name}, Supported", found=one.supported, most=0) for one in found]
    fit = [one for one in found if one.name in dressed]
    floors += [Floor(row="C5", what=f"{one.name}, Refuted", found=one.refuted, least=28 / 30) for one in fit]
    return Found(recipe=pool.told, tables=[Table.of(found)], floors=floors)


def identity(place: Place) -> Found:
    """C6: what equals a retraining bit for bit, by the product from end to end."""
    case = place.pilot()
    run = case.original()
    beside, known = case.references(run)[:16], case.knowing(run)[:WITNESSES]
    same = unlearn(run, case.forget, method="retrain", out=case.out("retrain"))
    every = make_method("retrain-last-layers", {"layers": "all", "schedule": "recipe"})
    runs = {
        "retrain": same,
        "exact-replay": unlearn(run, case.forget, method="exact-replay", out=case.out("exact-replay")),
        "retrain-last-layers, all": unlearn(run, case.forget, method=every, budget=1.0, out=case.out("all-layers")),
    }
    rows, floors, notices = list[Sequence[Cell]](), list[Floor](), tuple[str, ...]()
    for name, one in runs.items():
        found = evaluate(one, beside if one is same else [*beside, same], witnesses=known, out=case.out(f"{name}.json"))
        memory = next(probe for probe in found.probes if probe.name == "memory")
        left = None if found.memory is None else found.memory.left
        notices = found.notices
        equal = one.weights_digest == same.weights_digest
        rows.append((name, ("no", "yes")[equal], found.answer, left, memory.verdict.word, len(found.references)))
        for what, holds in {
            "same weights as retrain": equal,
            "Supported by identity": isinstance(found.verdict, Supported) and found.same_as == one.weights_digest,
            "not refuted by ρ": memory.verdict.word != "refuted",
            "that retraining is none of the references": len(found.references) == len(beside),
        }.items():
            floors.append(Floor(row="C6", what=f"{name}, {what}", found=holds))
    refused = refusal(lambda: evaluate(same, beside, witnesses=[run], out=case.out("refused.json")))
    floors.append(Floor(row="C6", what="a witness of the original's seed is refused", found=bool(refused)))
    heads = ("run", "weights of retrain", "answer", "memory left", "memory alone", "references counted")
    return Found(
        recipe=f"{run.recipe.model}, {named(case.forget)}, {len(beside)} references, {len(known)} witnesses",
        tables=[Table(heads, rows)],
        floors=floors,
        remarks=[f"Said: {one}." for one in (*notices, refused.replace(str(case.folder), "…"))],
    )


def refusal(asked: Callable[[], object]) -> str:
    """The sentence of it; empty where nothing was refused."""
    try:
        asked()
    except ExpungeError as error:
        return str(error)
    return ""


def layers(place: Place) -> Found:
    """C7: the last layer trained anew on features that saw everybody."""
    case = place.pilot()
    run = case.original()
    beside, known = case.references(run)[:16], case.knowing(run)[:WITNESSES]
    last = make_method("retrain-last-layers", {"layers": "1", "schedule": "recipe"})
    kept = unlearn(run, case.forget, method=last, budget=1.0, out=case.out("last-layer"))
    found = evaluate(kept, beside, witnesses=known, out=case.out("last-layer.json"))
    rows = [
        (probe.name, ("no", "yes")[probe.required], probe.verdict.word, probe.verdict.detail) for probe in found.probes
    ]
    required = any(probe.name == "head-refit" and probe.required for probe in found.probes)
    holds = required or not isinstance(found.verdict, Supported)
    return Found(
        recipe=f"{run.recipe.model}, {named(case.forget)}, {len(beside)} references, {len(known)} witnesses",
        tables=[Table(("probe", "required", "says", "why"), rows)],
        floors=[Floor(row="C7", what="head-refit is required, or it is not Supported", found=holds)],
        remarks=[found.answer],
    )


def few(place: Place) -> Found:
    """C9: two rows, and twelve: no verdict on them, but a list of who stands out."""
    pool, rows, floors = Pool.of(place.pilot()), list[Sequence[Cell]](), list[Floor]()
    for count in (2, 12):
        judged: dict[str, list[Judgement]] = {"retrained": [], "original": []}
        for draw in pool.draws(8, place.draws(400)):
            asked = draw.luck.choice(len(pool.forget), count, replace=False)
            trial = narrowed(pool.trial(draw, *(pool.made(name)(draw) for name in judged)), asked)
            for found, one in zip(judged.values(), judge(trial, pool.probes), strict=True):
                found.append(one)
        for name, found in judged.items():
            known = np.array([0 if one.outstanding is None else (one.outstanding <= LEVEL).sum() for one in found])
            supported, somebody = Tally(name, 8, found).supported, float((known > 0).mean())
            rows.append((name, count, len(found), supported, somebody, float(known.mean())))
            floors.append(Floor(row="C9", what=f"{name}, {count} rows, Supported", found=supported, most=0))
            if name == "retrained":
                floors.append(Floor(row="C9", what=f"{count} honest rows, any stands out", found=somebody, most=0.07))
    heads = ("model", "rows", "draws", "Supported", "draws in which a row stands out", "rows that do, on average")
    recipe = f"{pool.told}; some of those rows in each draw, 8 references"
    return Found(recipe=recipe, tables=[Table(heads, rows)], floors=floors)


def networks(place: Place, side: int = 14, *, faster: bool = True) -> Found:
    """C13: networks as people train them, with and without batch norm; without it at twice the usual rate as well."""
    kinds = ("original", "kept 30 %", "fine-tune", "random-labels")
    case = partial(
        place.case, place.pictures(side), "cnn", 20, retrained=20, witnesses=WITNESSES, kept={30: place.some(6)}
    )
    pools = {
        name: Pool.of(case(methods={one: one for one in kinds[2:]}, **more))
        for name, more in (
            ("cnn", {}),
            ("cnn, batch norm", {"norm": "batch"}),
            *([("cnn at rate .1", {"rate": 0.1})] if faster else []),
        )
    }
    tallies, floors, draws = list[Tally](), list[Floor](), place.draws(40)
    count = min(12, *(len(pool.retrained) - 1 for pool in pools.values()))
    for name, pool in pools.items():
        fixed = Draw(pool.retrained[:count], pool.witnesses, pool.retrained[count], np.random.default_rng(0))
        eight = Tally("", count, judge(pool.trial(fixed, *pool.retrained[count:]), pool.probes, Claim.of(QUARTER)))
        of = f"{name}, n = {count}, of {len(eight.judged)} honest"
        floors += [
            Floor(row="C13", what=f"{of} Supported", found=eight.count("supported"), least=6),
            Floor(row="C13", what=f"{of} Refuted", found=eight.count("refuted"), most=1),
        ]
        for references in sorted({min(5, count), min(8, count), count}):
            found = [pool.tally(one, references, draws, QUARTER) for one in ("retrained", *kinds)]
            twin = pool.tally("retrained", references, draws, QUARTER, plain=True)
            tallies += [replace(one, name=f"{name}: {one.name}") for one in found]
            tallies.append(replace(twin, name=f"{name}: retrained, by plain margins"))
            if references == count:
                floors += [
                    Floor(
                        row="C13",
                        what=f"{name}, {one.name}, n = {count}, Refuted",
                        found=one.refuted,
                        least=0.7 if one.name.startswith("kept") else 1,
                    )
                    for one in found[1:]
                ]
    told = "; ".join(pool.told for pool in pools.values())
    return Found(recipe=told, tables=[Table.of(tallies), ratios(pools, min(8, count), draws)], floors=floors)


def large(place: Place) -> Found:
    """C14: the same once at 28 × 28. Its table is published; no floor stands."""
    return replace(networks(place, 28, faster=False), floors=())


PARTS: dict[str, Callable[[Place], Found]] = {
    part.__name__: part
    for part in (honest, digits, numbers, methods, leaks, straw, identity, layers, few, networks, large)
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual, small = Size(), [part for part in PARTS if part != "large"]
    parser.add_argument("file", type=Path)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=small, help="all but large unless said")
    parser.add_argument("--forget-seed", type=int, default=usual.forget_seed, help="of the random tenth to forget")
    parser.add_argument("--rows", type=int, default=usual.rows, help="of the file, the first")
    parser.add_argument("--epochs", type=int, help="instead of each recipe's own")
    parser.add_argument("--models", type=int, default=usual.models, help="retrainings in a pool, at most")
    parser.add_argument("--draws", type=int, help="instead of each row's own")
    parser.add_argument("--jobs", type=int, default=usual.jobs, help="trainings at once")
    parser.add_argument("--work", type=Path, default=Path("verdicts-work"), help="where models are kept")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results are written")
    asked = vars(parser.parse_args(arguments))
    file, parts, work, out = (asked.pop(name) for name in ("file", "part", "work", "out"))
    size = Size(**asked)
    differs = {name: value for name, value in asdict(size).items() if value != asdict(usual)[name] and name != "jobs"}
    flags = "".join(f" --{name.replace('_', '-')} {value}" for name, value in differs.items())
    with np.load(file) as arrays:
        place = Place(arrays["x"], arrays["y"], work, size)
    out.mkdir(parents=True, exist_ok=True)
    for part in parts:
        found = PARTS[part](place)
        print("", *found.lines, sep="\n")
        name = "".join([part, *(f"-{one.replace('_', '-')}-{value}" for one, value in differs.items())])
        command = f"python -m studies.verdicts FILE.npz --part {part}{flags}"
        (out / f"{name}.json").write_text(found.written(command), encoding="utf-8")


if __name__ == "__main__":
    main()
