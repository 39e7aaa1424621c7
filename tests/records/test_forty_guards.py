"""Forty guards, each with a file altered so that it alone refuses it, or of which it says what is given instead.

A row copies what it needs of the golden files, opens it, alters a file and opens it again. Whoever takes a guard away,
or makes another sentence of it, sees its number here. Some are of several parts, and have a file for each.
"""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from tests.records import guarded
from tests.records.guarded import (
    Guarded,
    again,
    any_run,
    appended,
    asked,
    beacon,
    beacon_note,
    became,
    bundle_laid,
    commitment,
    cost,
    drop,
    evaluation,
    every,
    facts,
    fairness,
    flip,
    gives,
    holding,
    in_directory,
    interrupted,
    interval,
    laid,
    limit,
    linked,
    listed,
    locked,
    mode,
    named,
    notice,
    packed_again,
    put,
    recipe,
    recipe_file,
    refuses,
    refuses_record,
    refuses_repacked,
    refuses_run,
    row,
    run,
    setting,
    signatures,
    signed,
    signed_anew,
    sizes,
    text,
    trace,
    trained,
    unclear,
    within,
    written,
)

from expunge.core.beacon import GIVEN, ZERO, Beacon
from expunge.records.limits import Limits

NONE = "0" * 64
BASE, FORGOT, COMMITTED = "digits/base/run.json", "digits/forgot/run.json", "digits/committed/run.json"
AHEAD, INTERRUPTED, FINE = "digits/ahead/run.json", "digits/interrupted/run.json", "digits/fine-tuned/run.json"
LEAVES, ASSIGNMENT = "digits/base/leaves.bin", "digits/base/assignment.bin"
EXACT, TRAINED, UNTRACED = "people/supported/run.json", "people/base/evaluation.json", "people/refuted/run.json"
SUPPORTED, REFUTED = "people/supported/evaluation.json", "people/refuted/evaluation.json"
STUDY, ROW, COST = "results/smoke.json", "settings.0.rows.1", "settings.0.rows.1.figures.cost"
ENVELOPE, OWN_STEPS = "bundles/plain/envelope.json", "bundles/own-steps/envelope.json"
RECIPE, UNITS, ZIP = "bundles/plain/recipe.json", "bundles/plain/units.bin", "bundles/plain.zip"
PLACES = "hygiene/destroyed"  # two runs of which nothing holds forgotten rows any more
DASHES = str.maketrans("_ ", "--")

LATE = "2026-12-01T00:00:01Z"
COMMIT = f"the beacon is of {guarded.DRAWN}", f"was committed at {LATE}: a beacon must come after the commitment"
RUNS = (
    refuses_run(1, "missing", BASE, Path.unlink, run, "is not a run: it has no run.json"),
    refuses_run(1, "missing on a page", BASE, Path.unlink, facts, "is not a run: it has no run.json"),
    refuses_run(1, "other", BASE, put("format", "expunge/forget-set/1"), run, "has the format 'expunge/forget-set/1'"),
    refuses_run(1, "newer", BASE, put("format", "expunge/run/2"), run, "'expunge/run/2'", "another version wrote it"),
    refuses_run(2, "running", BASE, locked, written, "is being written by another process"),
    refuses_run(2, "committed", BASE, put("status", "committed"), run, "holds a commitment and no model so far"),
    refuses_run(2, "interrupted", BASE, put("status", "running"), run, "was interrupted or failed: run its command"),
    refuses_run(2, "on a page", BASE, put("status", "running"), facts, "is not finished: it is running or was"),
    refuses(2, "no result", INTERRUPTED, put("status", "finished"), any_run, "has no 'weights_digest'"),
    refuses_run(3, "digest", BASE, put("recipe.epochs", 5), recipe, "the recipe does not match its digest"),
    refuses_run(3, "digest on a page", BASE, put("recipe.epochs", 5), facts, "the recipe does not match its digest"),
    refuses_run(3, "no canonical form", BASE, put("recipe.Odd", 1), facts, "the recipe does not match its digest"),
    refuses_run(4, "two", BASE, put("beacon", "11" * 32), beacon, "two beacons are named: run.json was altered"),
    refuses_run(4, "before commitment", COMMITTED, put("committed_at", LATE), trained, *COMMIT),
    refuses_run(5, "leaf", LEAVES, flip(40), commitment, "the leaves do not match their roots"),
    refuses_run(5, "root", BASE, put("data.roots.holdout", NONE), commitment, "the leaves do not match their roots"),
    refuses_run(5, "split", ASSIGNMENT, flip(3), commitment, "the leaves do not match their roots"),
    refuses_run(5, "row", ASSIGNMENT, appended(b"\x09"), commitment, "the leaves do not match their roots"),
    refuses_run(5, "count", BASE, put("data.counts.train", 193), commitment, "counts other rows than there are leaves"),
    refuses(6, "passed", FINE, put("guarantee.passed", ["mean-margin"]), facts, "which only an evaluation can"),
    refuses(7, "half", FORGOT, put("tombstones", [0.5]), run, "tombstones is no list of slots (whole numbers from 0)"),
    refuses(7, "true", FORGOT, put("tombstones", [True]), run, "tombstones is no list of slots"),
    refuses(7, "below zero", FORGOT, put("tombstones", [-1]), run, "tombstones is no list of slots"),
    refuses(7, "large", FORGOT, put("tombstones", [2**31]), run, "tombstones is no list of slots"),
    refuses(7, "beyond", FORGOT, put("tombstones", [192]), run, "names slot 192, the data has 192 train rows"),
    refuses(7, "released", FORGOT, put("released", {"holdout": ["2"]}), run, "released holdout is no list of slots"),
    refuses(7, "released beyond", FORGOT, put("released", {"holdout": [36]}), run, "released holdout names slot 36"),
    refuses(7, "no split", FORGOT, put("released", {"elsewhere": [1]}), run, "released names 'elsewhere'"),
    refuses(7, "of training", FORGOT, put("released", {"train": [1]}), run, "released names 'train'"),
    refuses(
        8, "operation", FORGOT, put("operation", "absorb"), run, "'absorb' where one of train, unlearn, adopt is needed"
    ),
    refuses(8, "request", BASE, put("request.operation", "absorb"), run, "commit, train, unlearn, adopt is needed"),
    refuses_run(8, "commit after train", COMMITTED, became(BASE), asked(COMMITTED), "a commitment comes before it"),
    refuses_run(9, "recipe", BASE, put("request.recipe.seed", 6), asked(BASE), "recipe seed 6 there, 0 asked for"),
    refuses_run(9, "method", FORGOT, put("request.method.name", "scrub"), asked(FORGOT), "method name 'scrub' there"),
    refuses_run(9, "tuning", FORGOT, put("request.tuning", NONE), asked(FORGOT), "there, 'nothing' asked for"),
    refuses_run(9, "commitment", COMMITTED, put("request.recipe.epochs", 5), trained, "epochs 5 there, 4 asked for"),
    gives(10, "trace", BASE, drop("trace"), trace, "losses"),
    gives(10, "no trace", UNTRACED, drop("trace"), trace, "off"),
    gives(10, "zero beacon", BASE, drop("beacon_described"), beacon, ZERO),
    gives(10, "given beacon", AHEAD, drop("beacon_described"), beacon, Beacon(value=b"\xab" * 32, source=GIVEN)),
)

ALTERED = "does not match its digest: it was altered"
ELSEWHERE = "is a training, it forgot nothing: its evaluation.json belongs elsewhere"
EMPIRICAL: dict[str, Any] = {"kind": "empirical", "passed": [], "level": None}
PASSED = {**EMPIRICAL, "passed": ["mean-margin"]}
CERTIFIED: dict[str, Any] = {"kind": "certified", "epsilon": 1.0, "delta": 1e-5}
HOLDS = {"verdict": "supported", "p": 0.01, "detail": "holds"}
NOT_REQUIRED = [put(f"probes.{number}.required", False) for number in range(9)]
LOW, HIGH = 0.8453394286031802, 0.9000590092795875  # of the first probe
EVALUATIONS = (
    refuses(11, "verdict", SUPPORTED, text('"undecided"', '"refuted"'), facts, ALTERED),
    refuses(11, "key", SUPPORTED, text('"format":', '"extra": 1, "format":'), facts, ALTERED),
    refuses(11, "no canonical form", SUPPORTED, text('"format":', '"Odd": 1, "format":'), facts, ALTERED),
    refuses(12, "figures", SUPPORTED, put("probes.0.references", []), facts, "measures 0 references of 10"),
    refuses(13, "probe", SUPPORTED, again("probes"), facts, "names a probe twice"),
    refuses(13, "slot", SUPPORTED, again("examples"), facts, "examples [1] shows slot 61 twice"),
    refuses(14, "weights", SUPPORTED, put("weights_digest", NONE), facts, "measured other weights (000000000000…)"),
    refuses(14, "method", SUPPORTED, put("method", "scrub"), facts, "names another method or forget set"),
    refuses(14, "count", SUPPORTED, put("forget.examples", 3), facts, "names another method or forget set"),
    refuses(14, "rules", SUPPORTED, put("forget.rules", ["class:a"]), facts, "names another method or forget set"),
    refuses(15, "slot", SUPPORTED, put("examples.0.slot", 0), facts, "shows slot 0, which this run did not forget"),
    refuses(16, "training", TRAINED, became(SUPPORTED), facts, ELSEWHERE),
    refuses(16, "no method", EXACT, put("method", None), facts, ELSEWHERE),
    refuses(16, "no parent", EXACT, put("parent", None), facts, ELSEWHERE),
    refuses(17, "exact", REFUTED, put("guarantee", {"kind": "exact"}), facts, "claims Exact, which its tests do not"),
    refuses(17, "certified", REFUTED, put("guarantee", CERTIFIED), facts, "claims Certified(ε=1, δ=1e-05), which its"),
    refuses(17, "passed", REFUTED, put("guarantee", PASSED), facts, "claims Empirical(mean-margin), which its tests"),
    refuses(
        *(17, "passed though refuted", REFUTED, every(put("probes.3.verdict", HOLDS), put("guarantee", PASSED)), facts),
        "concludes more than its probes and run.json say (it claims Empirical(mean-margin))",
    ),
    refuses(17, "less than exact", SUPPORTED, put("guarantee", EMPIRICAL), facts, "(it claims Empirical(no test"),
    refuses(17, "certified for exact", SUPPORTED, put("guarantee", CERTIFIED), facts, "(it claims Certified(ε=1"),
    refuses(17, "exact for certified", EXACT, put("guarantee", CERTIFIED), facts, "concludes more than its probes"),
    refuses(17, "probes refuted", REFUTED, put("verdict", HOLDS), facts, "concludes more than its probes"),
    refuses(17, "undecided", SUPPORTED, put("probes.3.verdict.verdict", "undecided"), facts, "concludes more than its"),
    refuses(17, "none required", SUPPORTED, every(*NOT_REQUIRED), facts, "concludes more than its probes"),
    refuses(18, "no p", SUPPORTED, put("verdict.p", None), evaluation, "verdict is supported without a p-value"),
    refuses(18, "p", SUPPORTED, put("verdict.p", 1.5), evaluation, "verdict p holds 1.5 where a number from 0 to 1"),
    refuses(18, "level", SUPPORTED, put("probes.0.unlearned.level", -0.1), evaluation, "level holds -0.1 where a"),
    refuses(18, "of tests", REFUTED, put("guarantee.level", 2), evaluation, "level holds 2 where a number from 0 to 1"),
    refuses(18, "delta", EXACT, put("guarantee", {**CERTIFIED, "delta": 1.5}), run, "delta holds 1.5 where a number"),
    refuses(18, "epsilon", EXACT, put("guarantee", {**CERTIFIED, "epsilon": -1}), run, "epsilon holds -1 where a"),
    gives(19, "no low", SUPPORTED, put("probes.0.unlearned.low", None), interval, (-math.inf, HIGH)),
    gives(19, "no high", SUPPORTED, put("probes.0.unlearned.high", None), interval, (LOW, math.inf)),
    refuses(19, "outside", SUPPORTED, put("probes.0.unlearned.low", 1e300), evaluation, "[0] unlearned: a measurement"),
    refuses(20, "role", SUPPORTED, put("probes.0.role", "hope"), evaluation, "role holds 'hope' where one of utility"),
    refuses(20, "unit", SUPPORTED, put("probes.0.unlearned.unit", "mile"), evaluation, "unit holds 'mile' where one"),
    refuses(20, "direction", SUPPORTED, put("probes.0.direction", "up"), evaluation, "direction holds 'up' where one"),
    refuses(
        20, "of a figure", SUPPORTED, put("probes.0.unlearned.direction", "up"), evaluation, "direction holds 'up'"
    ),
)

UNKNOWN = "undecided", {"of": "another version"}
OUTSIDE = "figures cost lies outside its own interval"
WORK = "training_example_steps"
MEAN: dict[str, Any] = {"mean": 1.0, "n": 2, "low": 1.0 + 5e-10, "high": 2.0}
LEFT_OUT = put(f"{ROW}.seeds", [{"seed": 0, "status": "missing", "reason": "left out"}])
STUDIES = (
    refuses(21, "none", STUDY, put("settings", []), setting, "holds no setting: there is nothing to rank"),
    refuses(21, "id", STUDY, again("settings"), setting, "settings names 'digits-mlp-random' twice"),
    refuses(21, "row", STUDY, again("settings.0.rows"), setting, "rows names 'retrain, retrain' twice"),
    refuses(21, "seed", STUDY, again(f"{ROW}.seeds"), setting, "rows [1] seeds names '0' twice"),
    refuses(22, "more", STUDY, put(f"{ROW}.verdicts", {"Supported": 2}), row, "counts 2 Supported, its seeds say 0"),
    refuses(22, "fewer", STUDY, put(f"{ROW}.verdicts", {}), row, "counts 0 Undecided, its seeds say 2"),
    refuses(22, "word", STUDY, put(f"{ROW}.verdicts.Splendid", 1), row, "counts 1 Splendid, its seeds say 0"),
    refuses(23, "none", STUDY, put(f"{ROW}.guarantee", None), row, "has runs that are done and no guarantee"),
    refuses(23, "higher", STUDY, put(f"{ROW}.guarantee", "Exact"), row, "claims Exact, one of its seeds did not earn"),
    refuses(23, "kind", STUDY, put(f"{ROW}.guarantee", "Certain"), row, "'Certain' is none of Exact, Certified(…)"),
    refuses(23, "of a seed", STUDY, put(f"{ROW}.seeds.0.guarantee", "Certain"), row, "[0] guarantee 'Certain' is none"),
    gives(
        *(23, "nothing done", STUDY, every(LEFT_OUT, put(f"{ROW}.verdicts", {}), put(f"{ROW}.guarantee", None))),
        *(lambda path: row(path).guarantee, None),
    ),
    refuses(24, "count", STUDY, put(f"{ROW}.marks.0.count", 3), row, "marks [0] counts 3 of 2 seeds"),
    refuses(25, "status", STUDY, put(f"{ROW}.seeds.0.status", "failed"), row, "is failed and has a verdict"),
    gives(26, "rounding", STUDY, put(COST, MEAN), cost, (1.0 + 5e-10, 1.0, 2.0)),
    refuses(26, "below", STUDY, put(COST, {**MEAN, "low": 1.0 + 2e-9}), row, OUTSIDE),
    refuses(26, "above", STUDY, put(COST, {**MEAN, "mean": 2.0 + 3e-9}), row, OUTSIDE),
    refuses(26, "nothing", STUDY, put(COST, {**MEAN, "n": 0}), row, "figures cost is a mean of nothing (n = 0)"),
    gives(26, "one", STUDY, put(COST, {"mean": 1.0, "n": 1}), cost, (1.0, 1.0, 1.0)),
    refuses(26, "no low", STUDY, put(COST, {"mean": 1.0, "n": 2}), row, "figures cost has no 'low'"),
    refuses(26, "no high", STUDY, put(COST, {"mean": 1.0, "n": 1, "low": 1.0}), row, "figures cost has no 'high'"),
    gives(27, "budget", STUDY, drop("settings.0.budget"), lambda path: setting(path).budget, None),
    gives(27, "noise", STUDY, drop("settings.0.noise"), lambda path: setting(path).noise, None),
    gives(27, "work", STUDY, drop(f"settings.0.{WORK}"), lambda path: setting(path).training_example_steps, None),
    gives(27, "citation", STUDY, drop(f"{ROW}.citation"), lambda path: row(path).citation, None),
    gives(27, "gaps", STUDY, drop(f"{ROW}.figures.differences"), lambda path: row(path).figures.differences, None),
    gives(27, "allowed", STUDY, drop(f"{ROW}.seeds.0.allowed"), lambda path: row(path).seeds[0].done.allowed, None),
    gives(28, "figure", STUDY, put(f"{ROW}.figures.fairness", UNKNOWN[1]), fairness, UNKNOWN),
)

LONG = "x" * 4097
HOME = "/home/somebody/rows.csv is missing"
PLAIN = (
    gives(29, "control", SUPPORTED, put("notices.0", "a\x1b[31mb\x00"), notice, "a\ufffd[31mb\ufffd"),
    gives(29, "format", SUPPORTED, put("notices.0", "a\u200bb\ufeff"), notice, "a\ufffdb\ufffd"),
    gives(29, "direction", SUPPORTED, put("notices.0", "a\u202eb\u2066"), notice, "a\ufffdb\ufffd"),
    gives(29, "line ends", SUPPORTED, put("notices.0", "a\r\nb"), notice, "a  b"),
    gives(29, "separators", SUPPORTED, put("notices.0", "a\u2028b\u2029c"), notice, "a b c"),
    gives(29, "of a run", FORGOT, put("beacon_note", "a\x1b[31m\u202eb\n"), beacon_note, "a\ufffd[31m\ufffdb "),
    refuses(29, "name", SUPPORTED, put("probes.0.name", "x" * 81), evaluation, "a name of 1 to 80 characters is"),
    refuses(29, "written", STUDY, put(f"{ROW}.label", LONG), row, "label must be a text of 1 to 4096 characters"),
    gives(29, "label", STUDY, put(f"{ROW}.label", LONG[1:]), lambda path: row(path).label, "x" * 80 + "…"),
    gives(29, "text", SUPPORTED, put("notices.0", LONG), notice, "x" * 400 + "…"),
    refuses(29, "list", SUPPORTED, put("notices", ["x"] * 2001), evaluation, "lists 2001 entries, at most 2000 are"),
    gives(30, "path", SUPPORTED, put("notices.0", HOME), notice, "…/rows.csv is missing"),
    gives(30, "of a run", FORGOT, put("beacon_note", HOME), beacon_note, "…/rows.csv is missing"),
    refuses(31, "below zero", FORGOT, put("seconds", -1), run, "seconds holds -1 where a number from 0 to 1e+18 is"),
    refuses(31, "amount", FORGOT, put("seconds", 2e18), run, "seconds holds 2e+18 where a number from 0 to 1e+18 is"),
    refuses(31, "count", FORGOT, put("parameters", 2**53), run, "holds 9007199254740992 where a whole number from 0"),
    refuses(31, "no count", FORGOT, put("parameters", -1), run, "parameters holds -1 where a whole number from 0 is"),
    refuses(31, "integer", FORGOT, put("seconds", 2**53), run, "a number within ±(2^53 − 1) is needed"),
    refuses(31, "infinite", FORGOT, text('"steps": ', '"steps": 1e999, "old": '), run, "1e999, which is not a number"),
    refuses(31, "none", FORGOT, text('"steps": ', '"steps": NaN, "old": '), run, "NaN, which is not a number"),
    refuses(31, "digits", FORGOT, text('"steps": ', f'"steps": {"9" * 5000}'), run, "a number has too many digits"),
    refuses(32, "short", FORGOT, put("dataset_root", "a" * 63), run, "a digest of 64 hexadecimal digits is needed"),
    refuses(32, "long", FORGOT, put("dataset_root", "a" * 64 + "\n"), run, "a digest of 64 hexadecimal digits is"),
    refuses(32, "capitals", FORGOT, put("dataset_root", "A" * 64), run, "a digest of 64 hexadecimal digits is needed"),
    refuses(33, "key", FORGOT, text('"status": ', '"status": "running", "status": '), run, "JSON repeats a key"),
    refuses(33, "depth", FORGOT, text('"steps": ', f'"old": {"[" * 33}{"]" * 33}, "steps": '), run, "than 32 levels"),
    refuses(33, "size", FORGOT, appended(b" " * 2**24), run, "exceeds the limit of 16777216 bytes"),
)

STEPS = '"batchSize":16,', '"dropLast":false,'
STATES = '"checkpoints":{'
SIGNED = (
    refuses_record(34, "space", RECIPE, text("{", "{ "), recipe_file, "MALFORMED_JSON", "is not what canonical JSON"),
    refuses_record(
        *(34, "order", ENVELOPE, signed_anew("".join(STEPS), "".join(reversed(STEPS))), signed),
        *("MALFORMED_JSON", "is not what canonical JSON has there"),
    ),
    refuses_record(34, "null", ENVELOPE, signed_anew("[0]", "null"), signed, "a list is expected, null was found"),
    refuses_record(34, "none", ENVELOPE, signed_anew(STATES, f'"auditWindow":null,{STATES}'), signed, "null was found"),
    refuses_record(34, "key", ENVELOPE, signed_anew(STATES, f'"cast":1,{STATES}'), signed, "field 'cast' is unknown"),
    refuses_record(34, "real", ENVELOPE, signed_anew("08p-5", "080p-5"), signed, "is not a real as C99 hex text"),
    refuses_record(34, "fraction", ENVELOPE, signed_anew(":2076", ":2076.0"), signed, "has a fraction or an exponent"),
    refuses_record(34, "count", ENVELOPE, signed_anew(":2076", ':"2076"'), signed, "a whole number from 0 is expected"),
    refuses_record(34, "seed", OWN_STEPS, signed_anew('Seed":0', 'Seed":"0"'), signed, "no whole number from 2^53"),
    refuses_record(34, "digest", ENVELOPE, signed_anew("8ea01f", "8EA01F"), signed, "64 lowercase hexadecimal digits"),
    refuses_record(34, "time", ENVELOPE, signed_anew("00:00Z", "00:00+00:00"), signed, "is no UTC second such as"),
    refuses_record(34, "base64", ENVELOPE, text("AF4CQ==", "AF4CR=="), signed, "its base64 is not the one form that"),
    limit("total_bytes", 36559),
    limit("total_bytes of a zip", 36559, ZIP),
    limit("files", 19),
    limit("files of a zip", 16, ZIP),
    limit("json_bytes", 6864),
    limit("json_depth", 5, code="MALFORMED_JSON"),
    limit("json_values", 161),
    limit("chain_values", 400),
    limit("json_total_bytes", 15440),
    refuses_record(35, "zip_ratio", ZIP, sizes(320_001), within(), "SIZE_LIMIT", "the limit is 100 times"),
    limit("header_bytes", 656),
    limit("note_bytes", 183),
    refuses_record(35, "signatures", ENVELOPE, signatures(17), signed, "SIZE_LIMIT", "bears 17 signatures"),
    limit("draws", 1152, said="1,151"),
    limit("epochs", 4),
    limit("seats", 192),
    limit("rows", 240),
    limit("steps", 52),
)

FOREIGN = "is not packed as attest packs"
LOOK = f"{FOREIGN}: look yourself"
ARCHIVES = (
    refuses_record(36, "path", ZIP, named("../ce.bin"), listed, "UNSAFE_PATH: '../ce.bin' could lead out of"),
    refuses_record(36, "root", ZIP, named("/race.bin"), listed, "UNSAFE_PATH: '/race.bin' could lead out of"),
    refuses_record(36, "drive", ZIP, named("c:ace.bin"), listed, "UNSAFE_PATH: 'c:ace.bin' could lead out of"),
    refuses_record(36, "letters", ZIP, named("traé.bin"), listed, "UNSAFE_PATH", "names are plain ASCII"),
    refuses_record(36, "twin", ZIP, named("Units.bin"), listed, "UNSAFE_PATH", "one name on some systems"),
    refuses_record(36, "kind", ZIP, named("trace.pkl"), listed, "UNSAFE_FILE: 'trace.pkl' is no file of a bundle"),
    refuses_record(36, "link", ZIP, mode(0o120777), listed, "UNSAFE_PATH", "is a link, a device or not what its name"),
    refuses_record(36, "attribute", ZIP, in_directory(38, b"\0\4"), listed, "UNSAFE_PATH", "has attributes of a link"),
    refuses_record(36, "size", ZIP, sizes(2**25, 2**25, at=20, name="recipe.json"), listed, "SIZE_LIMIT", "33554432"),
    refuses_record(36, "ratio", ZIP, sizes(320_001), listed, "SIZE_LIMIT", "unpacks from 3200 to 320001 bytes"),
    refuses_record(36, "linked", UNITS, linked, listed, "UNSAFE_PATH", "'units.bin' is a link or a device"),
    refuses_repacked(37, "packed", ZIP, packed_again, listed, "UNSAFE_FILE", FOREIGN),
    refuses_repacked(37, "header", ZIP, flip(10), listed, "UNSAFE_FILE", FOREIGN),
    refuses_repacked(37, "row", ZIP, in_directory(12, b"\1"), listed, "UNSAFE_FILE", FOREIGN),
    refuses_record(37, "behind", ZIP, appended(b"x"), listed, "UNSAFE_FILE", "other bytes behind it are refused too"),
    gives(37, "beside", PLACES, bundle_laid, unclear, ([f"plain.zip holds the files of a bundle and {LOOK}"], False)),
)

YOURSELF = "not written by Expunge, so look yourself, and move it elsewhere if it holds nothing"
HYGIENE = (
    gives(38, "file", PLACES, laid("forgot/export.onnx"), unclear, ([f"forgot/export.onnx: {YOURSELF}"], False)),
    gives(38, "of the parent", PLACES, laid("base/notes.txt"), unclear, ([f"base/notes.txt: {YOURSELF}"], False)),
    gives(39, "weights", PLACES, laid("base/.model.safetensors.part"), holding, ([".model.safetensors.part"], False)),
    gives(39, "trace", PLACES, laid("forgot/trace/.shard-0.bin.part"), holding, ([".shard-0.bin.part"], False)),
    gives(39, "note", PLACES, laid("base/.run.json.part"), holding, ([], True)),
    gives(40, "intent", PLACES, laid("forgot/hygiene-intent.json"), interrupted, (True, False)),
)
TABLE = (*RUNS, *EVALUATIONS, *STUDIES, *PLAIN, *SIGNED, *ARCHIVES, *HYGIENE)


@pytest.mark.parametrize("guard", TABLE, ids=lambda guard: f"guard-{guard.number:02}-{guard.name.translate(DASHES)}")
def test_a_guard(guard: Guarded, tmp_path: Path, refused: Any) -> None:
    path = guard.copied(tmp_path)
    (guard.before or guard.opens)(path)
    guard.alter(path)
    if guard.refusal is None:
        assert (guard.opens(path),) == guard.told
        return
    with refused(guard.refusal, *guard.told):
        guard.opens(path)


def test_the_numbers_are_one_to_forty_and_every_limit_has_its_row() -> None:
    assert {guard.number for guard in TABLE} == set(range(1, 41))
    limited = {guard.name.partition(" ")[0] for guard in TABLE if guard.number == 35}
    assert limited == {limit.name for limit in fields(Limits)}
