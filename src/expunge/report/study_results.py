"""Reading ``results.json`` of a study: everything is checked before a page shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expunge.core.errors import DataError
from expunge.core.hashing import parse_json
from expunge.core.wording import LONGEST_NAME, clean
from expunge.report.entry import Entry, read_entry
from expunge.report.facts import plain
from expunge.report.study_values import (
    FIGURES,
    MARKS,
    STATES,
    VERDICTS,
    Estimate,
    Figure,
    Figures,
    Mark,
    Problem,
    Row,
    Seed,
    Setting,
    Study,
    StudyCost,
    Tuning,
    Undecided,
    guarantee_rank,
)

FORMAT = "expunge/study-results/1"
NAME = "results.json"
LONGEST_WRITTEN = 4096  # characters of a method's or a setting's name as it is written; pages show fewer
ROUNDING = 1e-9

Results = Mapping[str, Any] | Path | str | Study


def read_results(results: Results) -> Study:
    """A study from its file, its folder or the values themselves; what is not as it should be is refused."""
    if isinstance(results, Study):
        return results
    if isinstance(results, Mapping):
        entry = Entry(_as_json(results), NAME)
    else:
        path = Path(results)
        path = path / NAME if path.is_dir() else path
        entry = read_entry(path, "the results of a study", str(path))
    found = entry.optional("format")
    if found is None or found.value != FORMAT:
        shown = "none" if found is None else clean(repr(found.value), LONGEST_NAME)
        raise DataError(
            f"{entry.where} has the format {shown}, not {FORMAT!r}: another version wrote it, or it is no study's "
            "results; run expunge study again"
        )
    return _study(entry)


def find_setting(study: Study, setting_id: str) -> Setting:
    """The setting of that id."""
    for setting in study.settings:
        if setting.id == setting_id:
            return setting
    known = ", ".join(setting.id for setting in study.settings[:12])
    raise DataError(f"the study has no setting {clean(repr(setting_id), LONGEST_NAME)}: it has {known}")


def _as_json(results: Mapping[str, Any]) -> Any:
    """The same values as a file would hold, refused where a file could not."""
    try:
        return parse_json(json.dumps(dict(results)).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"the results are no JSON ({clean(str(error))}): give what results.json holds") from None
    except DataError as error:
        raise DataError(f"{NAME}: {error}") from None


def _study(entry: Entry) -> Study:
    cost = entry["cost"]
    settings = tuple(_setting(item) for item in entry["settings"])
    _once([setting.id for setting in settings], entry["settings"].where)
    if not settings:
        raise DataError(f"{entry.where} holds no setting: there is nothing to rank; run expunge study again")
    return Study(
        name=_name(entry["name"]),
        title=_shown(entry["title"]),
        date=entry["date"].text(LONGEST_NAME),
        command=entry["command"].remark(),
        machine=_pairs(entry["machine"]),
        versions=_pairs(entry["versions"]),
        engine=_pairs(entry["engine"]),
        seeds=tuple(seed.count() for seed in entry["seeds"]),
        references=entry["references"].count(),
        digest=entry["digest"].text(LONGEST_NAME),
        complete=entry["complete"].yes(),
        cost=StudyCost(
            jobs=cost["jobs"].count(),
            reused=cost["reused"].count(),
            refused=cost["refused"].count(),
            failed=cost["failed"].count(),
            left_out=0 if (left_out := cost.optional("left_out")) is None else left_out.count(),
            example_steps=cost["example_steps"].amount(),
            seconds=cost["seconds"].amount(),
            job_seconds=cost["job_seconds"].amount(),
        ),
        settings=settings,
        problems=tuple(
            Problem(_shown(item["job"]), item["status"].one_of("refused", "failed"), item["reason"].remark())
            for item in entry["problems"]
        ),
    )


def _setting(entry: Entry) -> Setting:
    noise, budget, steps = (entry.optional(name) for name in ("noise", "budget", "training_example_steps"))
    apart = None if noise is None else noise.optional("forgetting_gap")
    rows = tuple(_row(item) for item in entry["rows"])
    _once([f"{row.method}, {row.label}" for row in rows], entry["rows"].where)
    return Setting(
        id=_name(entry["id"]),
        data=_shown(entry["data"]),
        recipe=_shown(entry["recipe"]),
        model="" if entry["model"].value is None else _shown(entry["model"]),
        forget=_shown(entry["forget"]),
        title=_shown(entry["title"]),
        rules=tuple(rule.text() for rule in entry["rules"]),
        forgotten=entry["forgotten"].count(),
        share=entry["share"].between(0, 1),
        training_rows=entry["training_rows"].count(),
        training_example_steps=None if steps is None else steps.amount(),
        budget=None if budget is None else budget.amount(),
        original=_figures(entry["original"]["figures"]),
        retrained=_figures(entry["retrained"]["figures"]),
        noise=None if apart is None else apart.amount(),
        rows=rows,
    )


def _row(entry: Entry) -> Row:
    figures = entry["figures"]
    differences = figures.optional("differences") or entry.optional("differences")
    seeds = tuple(_seed(item) for item in entry["seeds"])
    _once([str(seed.seed) for seed in seeds], entry["seeds"].where)
    verdicts = {word: _verdicts(entry["verdicts"], word) for word in VERDICTS}
    for word, number in verdicts.items():
        told = sum(seed.verdict == word for seed in seeds)
        if number != told:
            raise DataError(f"{entry.where} counts {number} {word}, its seeds say {told}: the file was altered")
    return Row(
        method=_name(entry["method"]),
        label=_shown(entry["label"]),
        summary=entry["summary"].text(),
        citation=_optional_text(entry, "citation"),
        guarantee=_guarantee(entry, seeds),
        needs=tuple(need.name() for need in entry["needs"]),
        seen=tuple(seen.name() for seen in entry["seen"]),
        fields=_settings(entry["fields"]),
        defaults=_settings(entry["defaults"]),
        tuning=_tuning(entry["tuning"]),
        figures=_figures(figures),
        differences=Figures({}) if differences is None else _figures(differences),
        verdicts=verdicts,
        reasons=tuple(reason.remark() for reason in entry["reasons"]),
        marks=tuple(_mark(item) for item in entry["marks"]),
        seeds=seeds,
    )


def _verdicts(entry: Entry, word: str) -> int:
    found = entry.optional(word)
    return 0 if found is None else found.count()


def _guarantee(entry: Entry, seeds: tuple[Seed, ...]) -> str:
    """The row's guarantee, none where no run is done; never a higher one than the weakest of its runs earned."""
    if entry["guarantee"].value is None:
        if any(seed.status == "done" for seed in seeds):
            raise DataError(f"{entry.where} has runs that are done and no guarantee: the file was altered")
        return ""
    claimed = entry["guarantee"].text(LONGEST_NAME)
    rank = guarantee_rank(claimed)
    if rank is None:
        raise DataError(f"{entry.where} guarantee {clean(claimed, 40)!r} is none of Exact, Certified(…), Empirical")
    earned = [found for seed in seeds if (found := guarantee_rank(seed.guarantee)) is not None]
    if earned and min(earned) < rank:
        raise DataError(f"{entry.where} claims {clean(claimed, 40)}, one of its seeds did not earn it: it was altered")
    return claimed


def _tuning(entry: Entry) -> Tuning:
    scores = [entry.optional(name) for name in ("score", "default_score", "transfer_score")]
    score, default, transfer = (None if found is None else found.real() for found in scores)
    transferred, trials, steps = (entry.optional(name) for name in ("transferred", "trials", "example_steps"))
    failures, kept, notices = (entry.optional(name) for name in ("failures", "kept_default", "notices"))
    return Tuning(
        state=entry["state"].one_of(*STATES),
        trials=0 if trials is None else trials.count(),
        score=score,
        default_score=default,
        transfer_score=transfer,
        transferred=None if transferred is None else transferred.yes(),
        example_steps=0.0 if steps is None else steps.amount(),
        digest=_optional_text(entry, "digest"),
        failures=() if failures is None else tuple(_failure(item) for item in failures),
        kept_default=kept is not None and kept.yes(),
        notices=() if notices is None else tuple(notice.remark() for notice in notices),
    )


def _failure(entry: Entry) -> tuple[str, str]:
    fields = ", ".join(f"{name} = {value}" for name, value in _settings(entry["fields"]).items())
    return fields or "defaults", entry["reason"].remark()


def _mark(entry: Entry) -> Mark:
    count, of = entry["count"].count(), entry["of"].count()
    if count > of:
        raise DataError(f"{entry.where} counts {count} of {of} seeds: the file was altered or badly written")
    return Mark(entry["mark"].one_of(*MARKS), count, of, _optional_text(entry, "detail"))


def _seed(entry: Entry) -> Seed:
    status = entry["status"].one_of("done", "refused", "failed", "missing")
    verdict, notices = entry.optional("verdict"), entry.optional("notices")
    amounts = [entry.optional(name) for name in ("example_steps", "allowed", "seconds")]
    steps, allowed, seconds = (None if found is None else found.amount() for found in amounts)
    guarantee = _optional_text(entry, "guarantee")
    if guarantee and guarantee_rank(guarantee) is None:
        raise DataError(f"{entry.where} guarantee {clean(guarantee, 40)!r} is none of Exact, Certified(…), Empirical")
    if status != "done" and verdict is not None:
        raise DataError(f"{entry.where} is {status} and has a verdict: the file was altered or badly written")
    return Seed(
        seed=entry["seed"].count(),
        status=status,
        verdict="" if verdict is None else verdict.one_of(*VERDICTS),
        reason=_optional_text(entry, "reason"),
        guarantee=guarantee,
        weights_digest=_optional_text(entry, "weights_digest"),
        example_steps=steps,
        allowed=allowed,
        seconds=seconds,
        stopped=_optional_text(entry, "stopped"),
        notices=() if notices is None else tuple(notice.remark() for notice in notices),
    )


def _figures(entry: Entry) -> Figures:
    """Every figure of a mapping; the differences inside it are read apart."""
    names = [name for name in entry.items() if name != "differences"]
    return Figures({name: _figure(entry[name]) for name in names if name in FIGURES})


def _figure(entry: Entry) -> Figure:
    reason = entry.optional("undecided")
    if reason is not None:
        return Undecided(reason.remark())
    mean, n = entry["mean"].real(), entry["n"].count()
    low, high = mean, mean
    if n != 1 or entry.optional("low") is not None:  # one value has no interval
        low, high = entry["low"].real(), entry["high"].real()
    found = Estimate(mean, low, high, n)
    room = ROUNDING * max(1.0, abs(found.mean))
    if not found.low - room <= found.mean <= found.high + room:
        raise DataError(f"{entry.where} lies outside its own interval: the file was altered or badly written")
    if found.n < 1:
        raise DataError(f"{entry.where} is a mean of nothing (n = 0): missing evidence is written as undecided")
    for value in entry.optional("values") or ():
        value.real()
    return found


def _name(entry: Entry) -> str:
    """A name that tells things apart: kept as it is written, however strange; pages show ``clean`` of it."""
    if not isinstance(entry.value, str) or not 0 < len(entry.value) <= LONGEST_WRITTEN:
        raise DataError(f"{entry.where} must be a text of 1 to {LONGEST_WRITTEN} characters: the file was altered")
    return entry.value


def _shown(entry: Entry) -> str:
    return clean(_name(entry), LONGEST_NAME)


def _optional_text(entry: Entry, name: str) -> str:
    found = entry.optional(name)
    return "" if found is None else found.remark()


def _settings(entry: Entry) -> dict[str, str]:
    return {clean(name, LONGEST_NAME): plain(value) for name, value in entry.items().items()}


def _pairs(entry: Entry) -> tuple[tuple[str, str], ...]:
    return tuple(_settings(entry).items())


def _once(names: list[str], where: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{where} names {clean(twice, LONGEST_NAME)!r} twice: each may stand once")
