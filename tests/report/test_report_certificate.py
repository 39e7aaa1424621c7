"""The page of a certificate: what must stand on it, that nothing in a bundle can steer it, and that two sheets do."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.verify.certified import digest, life, make_bundle, request, run_record

from expunge.core.clock import Time
from expunge.core.errors import InvalidArgument
from expunge.records.bundle import open_bundle
from expunge.records.certificate import Certificate, Command
from expunge.records.claims import NOT_CLAIMED
from expunge.records.keys import SigningKey, signing_key
from expunge.records.limits import Code
from expunge.records.record import (
    AuditWindow,
    BeaconPart,
    GuaranteeKind,
    GuaranteePart,
    Initiator,
    Operation,
    ProfileName,
    Randomness,
    Retired,
    Reuse,
    RunRecord,
)
from expunge.records.statement import Statement
from expunge.records.verdict import Caveat, Level, Verdict, holds, refused_finding, undecided
from expunge.report.certificate import certificate_page, write_certificate
from expunge.report.certificate_text import certificate_lines
from expunge.report.glossary import GLOSSARY, words_in
from expunge.verify.certificate import certificate

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-pdf-header-footer")
PROPERTIES = ("files", "signature of envelope.json", "log", "chain", "recipe", "data set", "schedule", "requests")
ZERO = Randomness(
    beacon=BeaconPart(source="zero", value=bytes(32)), derivation="expunge/seed/1", lineage_seed=digest("seed")
)
NASTY = "</title></style><script>alert(1)</script><img src=x onerror='a'>\u202e\x1b[31m\u2028"

Words = Callable[[bytes], str]


@pytest.fixture(scope="module")
def owner() -> SigningKey:
    return signing_key(bytes(range(32)))


@pytest.fixture
def facts(tmp_path: Path, owner: SigningKey) -> Callable[..., Certificate]:
    """``facts(chain, verdict)`` of a bundle that is made for it."""

    def build(chain: Sequence[Statement], verdict: Verdict | None = None, **more: Any) -> Certificate:
        place = tmp_path / "bundles" / str(len(list(tmp_path.glob("bundles/*")))) / "bundle"
        with open_bundle(make_bundle(place, chain, owner)) as bundle:
            return certificate(bundle, verdict, **more)

    return build


def accepted(level: Level = Level.V1) -> Verdict:
    findings = [holds(name, one, f"{name} as it should be") for one in Level if one <= level for name in PROPERTIES]
    return Verdict(asked=level, findings=tuple(findings))


def tolerant(chain: Sequence[Statement], why: str = "speed profile") -> Any:
    record = chain[-1].predicate
    assert isinstance(record, RunRecord)
    return replace(record.environment, profile=ProfileName.TOLERANT, not_exact=why)


def crowded() -> tuple[list[Statement], Verdict]:
    """As much as a record can hold of everything, and texts as long as they can be."""
    name, long = "N" * 200, "evidence that goes on and on, " * 40
    first, trained, forgot = life(name=name)
    chain = [first, trained]
    for turn in range(28):
        slots = tuple(range(3 * turn, 3 * turn + 3))
        record = run_record(
            Operation.UNLEARN,
            "exact-replay" * 3,
            tuple(range(3 * turn + 3)),
            requests=(request(slots, initiator=Initiator.OWNER),),
        )
        chain.append(Statement(name=name, digest=digest("model", turn), predicate=record))
    own = forgot.predicate
    assert isinstance(own, RunRecord)
    requests = tuple(
        request(range(100 * turn, 100 * turn + 100), cases=tuple(f"case-{turn}-{at}-of-many" for at in range(12)))
        for turn in range(12)
    )
    full = replace(
        own,
        requests=requests,
        data=replace(own.data, tombstones=tuple(range(1200)), released_holdout=tuple(range(40))),
        retired=tuple(Retired(what="state " + "w" * 300, digest=digest(at)) for at in range(60)),
        audit_window=AuditWindow(days=3650, until=Time("2036-03-05T12:00:00Z")),
        environment=replace(
            tolerant([forgot], "x" * 500), fingerprint={f"field_{at}": "value " * 30 for at in range(40)}
        ),
        randomness=ZERO,
        recorded_afterwards=True,
        algorithm=replace(
            own.algorithm,
            name="a" * 200,
            version="v" * 100,
            fields={f"field_{at}": "y" * 50 for at in range(30)},
            budget=0.1,
            source=digest("source"),
        ),
        reuse=tuple(Reuse(shard=at, step=100, leaf=digest(at), first_touched=200) for at in range(16)),
        guarantee=GuaranteePart(
            kind=GuaranteeKind.EMPIRICAL, tests=tuple("test-with-a-name" * 3 for _ in range(60)), confidence=0.95
        ),
    )
    chain.append(Statement(name=name, digest=digest("last"), predicate=full))
    findings = [holds(f"property {at} of many that have names", Level(at % 2), long) for at in range(90)]
    findings += [refused_finding(f"broken {code}", Level.V1, code, long) for code in Code]
    findings += [undecided("open", Level.V1, "evidence-missing", long) for _ in range(9)]
    remarks = tuple(Caveat(f"remark-{at}", long) for at in range(12))
    return chain, Verdict(asked=Level.V1, findings=tuple(findings), remarks=remarks)


def test_every_certificate_says_what_it_does_not_prove(facts: Callable[..., Certificate], words: Words) -> None:
    crowd = crowded()
    for chain, verdict in ((life(), None), (life(), accepted()), (life()[:2], accepted(Level.V3)), crowd):
        page = words(certificate_page(facts(chain, verdict)))
        for name, sentence in NOT_CLAIMED.items():
            assert f"{name} {sentence}" in page


def test_an_unchecked_bundle_is_its_own_word_only(facts: Callable[..., Certificate], words: Words) -> None:
    page = words(certificate_page(facts(life())))
    assert "Signatures were not checked against anybody’s list of keys" in page
    assert "Exact, claimed" in page
    assert "verified" not in page
    assert "Findings" not in page


@pytest.mark.parametrize("level", list(Level))
def test_a_guarantee_is_verified_only_where_the_execution_was(
    level: Level, facts: Callable[..., Certificate], words: Words
) -> None:
    page = words(certificate_page(facts(life(), accepted(level), at="2026-02-04T10:00:00Z")))
    assert ("Exact, verified" if level >= Level.V3 else "Exact, claimed") in page
    assert f"Accepted at {level.name}. Checked on 2026-02-04 10:00 UTC" in page


def test_refused_and_undecided_are_told_apart_and_come_with_their_reasons(
    facts: Callable[..., Certificate], words: Words
) -> None:
    broken = refused_finding("steps", Level.V1, Code.SCHEDULE_BATCH_MISMATCH, "step 17 had another member")
    page = words(certificate_page(facts(life(), accepted().and_also([broken]))))
    said = "A step was carried out with other members: step 17 had another member. Do not rely on this record."
    assert f"Refused. {said} Checked: SCHEDULE_BATCH_MISMATCH." in page
    head = page.index("Expunge ·")
    assert page.index("Refused. A step") < page.index("Forgetting of 3 rows", head), "before all else"
    assert "This record is refused. It says: By this record" in page
    assert "Exact, claimed by a refused record That would mean" in page
    assert "V1 structure: refused here" in page
    assert "refused SCHEDULE_BATCH_MISMATCH step 17 had another member" in page
    assert "Accepted" not in page
    missing = undecided("trace", Level.V1, "evidence-missing", "trace.bin is missing")
    page = words(certificate_page(facts(life(), accepted().and_also([missing]))))
    assert "Undecided. Trace.bin is missing. That is neither a pass nor a refusal. What stands: Only signatures" in page
    assert "Checked: asked for V1, reached V0." in page
    assert page.index("Undecided. Trace") < page.index("Forgetting of 3 rows", page.index("Expunge ·"))
    assert "V1 structure: undecided here" in page
    assert "undecided evidence-missing trace.bin is missing" in page


def test_requests_chain_and_digests_stand_on_the_page(facts: Callable[..., Certificate], words: Words) -> None:
    told = facts(life(), accepted())
    page = words(certificate_page(told))
    for part in (
        "3 of 1,438 training rows are forgotten",
        "2026-0017",
        "a person",
        "2026-02-01 08:30 UTC",
        "3 slots: 3, 17, 42",
        "3 chairs empty in all; none of them emptied on the owner’s own initiative",
        "drand, round 4,242",
        "used again up to step 100 of shard 0 (the first step with a forgotten row is 112)",
        "10,352\u00a0example-steps",
        "profile exact-cpu",
        "Nothing is declared destroyed",
        "without a witness a log fork shown to one auditor only would not be seen",
        "commit, 2026-01-05 09:00 UTC",
    ):
        assert part.replace("\u00a0", " ") in page.replace("\u00a0", " "), part
    for value in (told.subject.digest, told.commit.data.root, told.run.recipe, told.chain[-1].envelope):
        assert value.hex() in page
    for link in told.chain:
        assert link.envelope.hex() in page
    for step in told.verification:
        assert step.command in page


def test_what_deserves_a_question_is_on_the_page(facts: Callable[..., Certificate], words: Words) -> None:
    retired = tuple(Retired(what=f"state {at}", digest=digest(at)) for at in range(9))
    chain = life(randomness=ZERO, recorded_afterwards=True, retired=retired, environment=tolerant(life()))
    page = certificate_page(facts(chain, accepted()))
    text = words(page)
    assert "schedule not protected against grinding" in text
    assert "recorded afterwards" in text
    assert "leaves not hidden" in text
    assert "Declared destroyed, not proven (N3): 9 things that held forgotten rows: state 0" in text
    assert "and 6 things more" in text
    assert re.search(r'class="banner bad"><b>Tolerant run', page.decode())


def test_a_window_is_pending_until_its_end_and_not_called_over_by_itself(
    facts: Callable[..., Certificate], words: Words
) -> None:
    chain = life(audit_window=AuditWindow(days=30, until=Time("2026-03-05T12:00:00Z")))
    before = words(certificate_page(facts(chain, accepted(), at="2026-03-05T11:59:59Z")))
    assert "Erasure pending until 2026-03-05 12:00 UTC" in before
    after = words(certificate_page(facts(chain, accepted(), at="2026-03-05T12:00:00Z")))
    assert "Erasure was pending" in after
    assert "does not say that it was destroyed since" in after


def test_nothing_in_a_bundle_can_steer_the_page(
    facts: Callable[..., Certificate], parsed: Callable[[bytes], Any], words: Words
) -> None:
    own = life()[-1].predicate
    assert isinstance(own, RunRecord)
    chain = life(
        name="</title><script>alert(1)</script>",
        requests=(request((3, 17, 42), cases=(NASTY,)),),
        retired=(Retired(what=NASTY, digest=digest("x")),),
        algorithm=replace(own.algorithm, name=NASTY, version=NASTY, fields={NASTY: NASTY}),
        environment=replace(tolerant(life(), NASTY), fingerprint={"a": NASTY}),
        randomness=replace(own.randomness, beacon=replace(own.randomness.beacon, source=NASTY)),
        guarantee=GuaranteePart(kind=GuaranteeKind.EMPIRICAL, tests=(NASTY,), confidence=0.5),
    )
    verdict = replace(
        accepted().and_also([refused_finding(NASTY, Level.V1, Code.UNSAFE_FILE, NASTY)]),
        remarks=(Caveat("word", NASTY),),
    )
    told = facts(life(), verdict)
    for changed in (told, _altered(told, chain)):
        page = certificate_page(changed)
        tags = {tag for tag, _ in parsed(page).seen}
        assert tags <= {
            *(
                "html",
                "head",
                "meta",
                "title",
                "style",
                "body",
                "main",
                "header",
                "section",
                "div",
                "p",
                "b",
                "h1",
                "h2",
            ),
            *("span", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "code", "ol", "ul", "li", "small"),
            *("details", "summary", "i"),
        }
        assert not [name for _, attributes in parsed(page).seen for name in attributes if name.startswith("on")]
        for letter in "\u202e\x1b\u2028":
            assert letter not in page.decode()
    assert "<script>alert(1)</script>" in words(page), "it is shown as what it is"


def _altered(told: Certificate, chain: Sequence[Statement]) -> Certificate:
    """A certificate with hostile texts in every place that a record writes freely."""
    record = chain[-1].predicate
    assert isinstance(record, RunRecord)
    assert told.log is not None
    run = replace(
        told.run,
        requests=(replace(told.run.requests[0], cases=(NASTY,)),),
        retired=(Retired(what=NASTY),),
        algorithm=replace(told.run.algorithm, name=NASTY, version=NASTY, fields={NASTY: NASTY}),
        environment=replace(told.run.environment, not_exact=NASTY, fingerprint={NASTY: {NASTY: [NASTY]}}),
        randomness=replace(told.run.randomness, beacon=replace(told.run.randomness.beacon, source=NASTY)),
        claim=(NASTY,),
    )
    named = Statement(name=NASTY, digest=chain[-1].digest, predicate=run)
    return replace(
        told,
        run=run,
        recipe={NASTY: NASTY, "model": NASTY},
        log=replace(told.log, head=replace(told.log.head, origin=NASTY), witnesses=(NASTY,)),
        verification=(Command(level="V1", command=NASTY, does=NASTY),),
        chain=(*told.chain[:-1], replace(told.chain[-1], statement=named)),
    )


def test_texts_of_any_length_leave_a_page_of_some_length(facts: Callable[..., Certificate]) -> None:
    long = "a text that its owner made very long " * 500
    told = facts(life(), replace(accepted(), remarks=(Caveat("word", long),)))
    run = replace(
        told.run,
        requests=(replace(told.run.requests[0], cases=(long,) * 40),),
        retired=(Retired(what=long),) * 40,
        algorithm=replace(told.run.algorithm, name=long, version=long, fields={"a": long}),
        environment=replace(told.run.environment, not_exact=long, fingerprint={"a": long, "b": {"c": [long] * 9}}),
        randomness=replace(told.run.randomness, beacon=replace(told.run.randomness.beacon, source=long)),
        guarantee=GuaranteePart(kind=GuaranteeKind.EMPIRICAL, tests=(long,) * 9, confidence=0.5),
    )
    owned = facts((*life()[:2], Statement(name="a model", digest=digest("x"), predicate=run)), accepted())
    for one in (owned, replace(told, run=run), told):
        size = len(certificate_page(one))
        assert size < 60_000


def test_a_page_asks_for_nothing_and_runs_nothing(
    facts: Callable[..., Certificate], parsed: Callable[[bytes], Any]
) -> None:
    page = certificate_page(facts(*crowded()))
    assert b"http:" not in page
    assert b"https:" not in page
    assert b"url(" not in page
    tags = parsed(page).seen
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "a", "form"}
    policy = next(found["content"] for _, found in tags if found.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_same_facts_same_bytes(facts: Callable[..., Certificate]) -> None:
    chain, verdict = life(), accepted()
    assert certificate_page(facts(chain, verdict)) == certificate_page(facts(chain, verdict))


def test_folders_are_refused(tmp_path: Path, facts: Callable[..., Certificate]) -> None:
    with pytest.raises(InvalidArgument, match="is a folder"):
        write_certificate(facts(life()), tmp_path)
    assert write_certificate(facts(life()), tmp_path / "new" / "page.html").read_bytes().startswith(b"<!doctype html>")


def shown(page: bytes, *, folded: bool = True) -> str:
    """The page without its style; without what is folded away, if asked."""
    text = page.decode().split("</style>")[1]
    return text if folded else re.sub("<details>.*?</details>", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("level", list(Level))
def test_the_ladder_is_drawn_and_colour_never_promises_more(level: Level, facts: Callable[..., Certificate]) -> None:
    page = shown(certificate_page(facts(life(), accepted(level))))
    rungs = re.findall(r'<li class="(\w+)"><span class="mark">(.)</span><div><b>(V\d)[^<]*</b>: <b class="how">', page)
    assert [name for _, _, name in rungs] == ["V4", "V3", "V2", "V1", "V0"], "as a ladder stands"
    assert [(climb, mark) for climb, mark, _ in rungs] == [("untried", "○")] * (4 - level) + [("climbed", "✓")] * (
        level + 1
    )
    assert (">not tried, the next step<" in page) == (level < Level.V4)
    assert ('class="banner good"' in page) == ('class="badge good"' in page) == (level >= Level.V3)
    assert ("That is NOT proof that the training ran as told" in page) == (level is Level.V1)
    assert page.index("<h1>") < page.index(f"Accepted at {level.name}")


def test_green_is_for_what_was_carried_out_again_and_came_from_nowhere_else(facts: Callable[..., Certificate]) -> None:
    record = life()[-1].predicate
    assert isinstance(record, RunRecord)
    for chain in (
        life(environment=replace(record.environment, factory="ab" * 32)),
        life(guarantee=replace(record.guarantee, base=digest("base"))),
        life(guarantee=GuaranteePart(kind=GuaranteeKind.EMPIRICAL)),
        life(environment=tolerant(life())),
    ):
        page = shown(certificate_page(facts(chain, accepted(Level.V4))))
        assert 'banner good"' not in page
        assert 'badge good"' not in page


def test_questions_stand_beside_the_ladder_with_why_and_whom(facts: Callable[..., Certificate], words: Words) -> None:
    told = facts(life(), accepted())
    page = words(certificate_page(told))
    assert len(told.questions) > 4
    for asked in told.questions:
        assert f"{asked.question} {asked.why} Ask {asked.whom}." in page
    many = replace(told, questions=told.questions * 4)
    more = len(many.questions) - 12
    assert f"and {more} questions more, in the JSON" in words(certificate_page(many))


def test_findings_are_folded_by_level_and_none_is_cut_off(facts: Callable[..., Certificate], words: Words) -> None:
    told = facts(life(), accepted(Level.V2))
    page = certificate_page(told)
    assert shown(page).count("<details>") == 3
    assert "<details open>" not in shown(page)
    for level in ("V0 form", "V1 structure", "V2 spot replay"):
        assert f"{level}: {len(PROPERTIES)} hold" in words(page)
    broken = refused_finding("steps", Level.V1, Code.SCHEDULE_BATCH_MISMATCH, "step 17 had another member")
    page = certificate_page(facts(life(), accepted().and_also([broken])))
    assert shown(page).count("<details open>") == 1
    assert f"V1 structure: 1 refused, {len(PROPERTIES)} hold" in words(page)
    assert "step 17 had another member" in shown(page, folded=False), "refusals stand open"
    assert "the others of V1 structure" in words(page)
    chain, verdict = crowded()
    text = words(certificate_page(facts(chain, verdict)))
    assert all(finding.name in text for finding in verdict.findings)


def test_names_and_digests_are_whole_and_long_lists_are_counted(
    facts: Callable[..., Certificate], words: Words
) -> None:
    told = facts(*crowded())
    page = words(certificate_page(told))
    assert "N" * 200 in page
    assert told.subject.digest.hex() in page
    for said in ("fields more, in the JSON", "things more, in the JSON", "and 6 more", "earlier requests more, in the"):
        assert said in page
    assert "field_0 value value" in page
    assert "text-overflow" not in certificate_page(told).decode()


def test_words_are_explained_where_they_are_used_and_nowhere_else(
    facts: Callable[..., Certificate], words: Words
) -> None:
    assert list(words_in("<p class='root'>Three <b>chairs</b>, two leaves; rooted, statement</p>")) == ["chair", "leaf"]
    assert list(words_in("<p>a seed, slices and Witnesses</p>")) == ["lineage seed", "slice", "witness"]
    page = words(certificate_page(facts(life(), accepted())))
    body, glossary = page.split("Words on this page")
    explained = [word for word, said in GLOSSARY.items() if said in glossary]
    assert {"chair", "leaf", "root", "tombstone", "slot", "lineage seed", "beacon", "bundle"} <= set(explained)
    assert "grinding" not in explained
    assert "grinding" in words(certificate_page(facts(life(randomness=ZERO)))).split("Words on this page")[1]
    stems = {"leaf": ("leaf", "leaves"), "lineage seed": ("seed",)}
    for word in GLOSSARY:
        used = any(stem in body.lower() for stem in stems.get(word, (word,)))
        assert used or word not in explained, word


def test_the_text_says_what_the_page_says(facts: Callable[..., Certificate], words: Words) -> None:
    for told in (facts(life(), accepted()), facts(life()), facts(*crowded())):
        lines = list(certificate_lines(told))
        page = words(certificate_page(told))
        assert "".join(told.title) in lines
        assert told.left_open in lines
        assert all(said in page for said in (told.summary, told.left_open))
        assert len([line for line in lines if line.startswith("  ")]) == len(told.questions)
        assert [line[:2] for line in lines if re.match(r"V\d ", line)] == ["V4", "V3", "V2", "V1", "V0"]
    told = replace(facts(life(), accepted()), title=(NASTY, NASTY, NASTY), summary=NASTY)
    assert not set("".join(certificate_lines(told))) & set("\u202e\x1b\u2028")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: nothing here can print")
@pytest.mark.parametrize("name", ["plain", "unchecked", "crowded"])
def test_it_prints_on_two_sheets(name: str, facts: Callable[..., Certificate], tmp_path: Path) -> None:
    chain, verdict = crowded() if name == "crowded" else (life(), None if name == "unchecked" else accepted())
    page, printed = tmp_path / "page.html", tmp_path / "page.pdf"
    write_certificate(facts(chain, verdict), page)
    assert CHROMIUM is not None
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    subprocess.run(
        [CHROMIUM, *FLAGS, profile, f"--print-to-pdf={printed}", page.as_uri()],
        check=True,
        capture_output=True,
        timeout=280,
    )
    content = printed.read_bytes()
    sheets = len(re.findall(rb"/Type\s*/Page\b(?!s)", content))
    assert sheets == 2
    width, height = (float(size) for size in re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", content)[0])
    assert (round(width), round(height)) == (595, 842), "A4"
