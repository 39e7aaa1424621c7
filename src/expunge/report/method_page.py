"""One method over all settings of a study: what it is, what was tried, what came out for every seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expunge.core.wording import clean, counted
from expunge.records.results import Results, Row, Seed, Setting
from expunge.records.row_tuning import RowTuning, Searched
from expunge.report.beside_board import beside_method
from expunge.report.board import guarantee_words, mark_words, method_board, why_not
from expunge.report.comparison import TONES
from expunge.report.numerals import DASH, bare, listed, short, shown
from expunge.report.study_results import settled
from expunge.report.study_text import number
from expunge.report.study_wording import MEANINGS, guarantee_meaning

MOST_FAILURES = 100


def method_view(study: Results, method: str) -> dict[str, Any]:
    """All that the method's page says."""
    found = study.rows_of(method)
    numbers = {setting.id: at for at, setting in enumerate(study.settings, 1)}
    first = found[0][1]
    name = clean(method, 80)
    numbered = {setting.id: setting.number(row) for setting, row in found}
    board = method_board(found, numbered, name)
    return {
        "title": study.title,
        "name": name,
        "summary": first.summary,
        "facts": _facts([row for _, row in found]),
        "board": board,
        "further": beside_method(found, numbered, board.start + len(board.notes)),
        "parts": [_part(setting, row, numbers[setting.id], name) for setting, row in found],
    }


def _facts(rows: list[Row]) -> list[tuple[str, str]]:
    guarantees = list(dict.fromkeys(row.guarantee for row in rows if row.guarantee))
    needs = list(dict.fromkeys(need for row in rows for need in row.needs))
    seen = list(dict.fromkeys(name for row in rows if row.took_part for name in row.seen))
    facts = [("source", rows[0].citation)] if rows[0].citation else []
    for guarantee in guarantees:
        facts.append(("guarantee", f"{guarantee_words(guarantee)[0]}. {guarantee_meaning(guarantee)}"))
    facts.append(("needs", listed(needs) or "nothing"))
    facts.append(("saw", listed(seen) or DASH))
    return facts


def _part(setting: Setting, row: Row, at: int, name: str) -> dict[str, Any]:
    search = row.tuning.search
    failures = () if search is None else search.failures or ()
    return {
        "title": setting.title,
        "number": at,
        "place": f"{setting.number(row)} of {len(setting.rows)}",
        "label": "" if row.label == name else row.label,
        "marks": [
            {"words": mark_words(mark), "meaning": MEANINGS[mark.mark], "detail": mark.detail or ""}
            for mark in row.marks
        ],
        "reasons": _reasons(row),
        "seeds": [_seed(seed) for seed in row.seeds],
        "fields": _fields(row),
        "tuning": _tuning(row.tuning),
        "scores": _scores(search),
        "notices": () if search is None else search.notices or (),
        "failures": [(_named(failure.fields), failure.reason) for failure in failures[:MOST_FAILURES]],
        "failed": f"{counted(len(failures), 'trial')} of the search failed",
    }


def _reasons(row: Row) -> tuple[str, ...]:
    """What is not said by the seeds themselves."""
    if not row.took_part:
        return (why_not(row),)
    told = {seed.reason for seed in row.seeds}
    return tuple(reason for reason in row.reasons if reason not in told)


def _seed(seed: Seed) -> dict[str, Any]:
    done, verdict = seed.done, "" if seed.done is None else seed.done.verdict or ""
    guarantee, inside = guarantee_words(None if done is None else done.guarantee)
    return {
        "number": seed.seed,
        "outcome": verdict or {"done": "not judged", "missing": "no result so far"}.get(seed.status, seed.status),
        "tone": TONES.get(verdict, "bad" if seed.status == "failed" else "open"),
        "why": seed.reason or "",
        "remarks": [] if done is None else [text for text in (done.stopped, *(done.notices or ())) if text],
        "guarantee": guarantee or DASH,
        "inside": inside,
        "work": DASH if done is None else bare(done.example_steps, "example-steps"),
        "allowed": "" if done is None or done.allowed is None else f"of {bare(done.allowed, 'example-steps')} allowed",
        "seconds": DASH if done is None else shown(done.seconds, "seconds"),
        "weights": DASH if done is None else short(done.weights_digest),
    }


def _fields(row: Row) -> list[dict[str, Any]]:
    fields, defaults = settled(row.fields), settled(row.defaults)
    return [
        {
            "name": name,
            "used": fields.get(name, defaults.get(name, DASH)),
            "default": defaults.get(name, DASH),
            "changed": name in fields and fields[name] != defaults.get(name),
        }
        for name in dict.fromkeys([*defaults, *fields])
    ]


def _named(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settled(fields).items()) or "defaults"


def _tuning(tuning: RowTuning) -> str:
    said = {
        "tuned": "Its fields were searched for on data apart from the test set and the references.",
        "untuned": "It ran on its defaults: nothing was searched for.",
        "nothing to tune": "There is nothing to tune.",
        "takes no budget": "It takes no budget, so nothing was searched for.",
        "oracle-tuned": "The search saw the retrained references: what came out is a bound, not a fair result.",
    }[tuning.state]
    if tuning.search is not None and tuning.search.kept_default:
        said += " Nothing better than the defaults was found, so they were kept."
    if tuning.search is not None and tuning.search.better is False:
        said += " It found nothing better than doing nothing."
    if tuning.search is not None and tuning.search.transferred is False:
        said += " What the search found good was not good here, so tuning did not transfer."
    return said


def _scores(search: Searched | None) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if search is None:
        return facts
    if search.trials:
        facts.append(("trials", f"{search.trials:,}"))
    for name, value in (
        ("score found", search.score),
        ("score of the defaults", search.default_score),
        ("score here", search.transfer_score),
    ):
        if value is not None:
            facts.append((name, number(value, "spreads")))
    if search.example_steps:
        facts.append(("cost of the search", shown(search.example_steps, "example-steps")))
    if search.digest:
        facts.append(("digest of the search", short(search.digest)))
    return facts
