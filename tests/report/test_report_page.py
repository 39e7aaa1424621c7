"""The page: one file, the same bytes, nothing fetched, nothing run, nothing that was not meant to be shown."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.report import report as page_module
from expunge.report.load import load
from expunge.report.report import render, report
from expunge.report.wording import LIMITS

HOSTILE = '<script>alert("x")</script>'


def test_same_inputs_same_bytes_wherever_the_runs_lie(evaluated, tmp_path):
    first = report(evaluated, out=tmp_path / "a.html").read_bytes()
    second = report(evaluated, out=tmp_path / "deeper" / "b.html").read_bytes()
    moved = [shutil.copytree(folder, tmp_path / "moved" / folder.name) for folder in evaluated]
    third = report(moved, out=tmp_path / "c.html").read_bytes()
    assert first == second == third


def test_nothing_is_fetched_and_nothing_runs(evaluated, parsed):
    page = render(load(evaluated)).decode()
    tags = parsed(page.encode()).seen
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in tags}
    assert "http:" not in page
    assert "https:" not in page
    assert "@import" not in page
    assert "url(" not in page
    for tag, attributes in tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert "src" not in attributes or (tag == "img" and str(attributes["src"]).startswith("data:image/png;base64,"))
        assert "href" not in attributes or str(attributes["href"]).startswith("#note-")
    policy = next(attributes for _, attributes in tags if attributes.get("http-equiv") == "Content-Security-Policy")
    assert str(policy["content"]).startswith("default-src 'none'")


def test_every_note_and_title_that_is_referred_to_exists_once(evaluated, parsed):
    tags = parsed(render(load(evaluated))).seen
    names = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(names) == len(set(names))
    wanted = {str(attributes["href"])[1:] for _, attributes in tags if "href" in attributes}
    wanted |= {str(attributes["aria-labelledby"]) for _, attributes in tags if "aria-labelledby" in attributes}
    assert wanted <= set(names)


def test_no_path_of_the_machine_stands_in_it(evaluated, world, tmp_path):
    manifest = json.loads((evaluated[2] / "run.json").read_text(encoding="utf-8"))
    manifest["environment"]["omp"] = "/opt/secret/lib.so"
    manifest["exact_refused"] = "it was trained at C:\\Users\\somebody\\run and /home/somebody/base"
    (evaluated[2] / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    content = world.evaluate(evaluated[2], notices=["reference /home/somebody/runs/ref1 counts once"])
    page = render(load(evaluated)).decode()
    assert content["notices"]
    for place in (str(tmp_path), "/home/somebody", "somebody", "/opt", "secret"):
        assert place not in page
    assert "reference …/ref1 counts once" in page


def test_forgotten_rules_guarantees_and_limits_are_said(evaluated, world, words):
    text = words(render(load(evaluated)))
    assert f"5 examples of {len(world.train)} training rows (5.2" in text
    assert "Named by subject:person-017." in text
    assert "Bit-identical to training without these examples, and replayable" in text
    assert "Nothing is proved, and no test was passed so far." in text
    assert "same as never trained" in text
    assert "Forgotten by exact-replay, bit for bit. By the rules of an earlier release one is undecided." in text
    assert text.count("By the rules of an earlier release, the tests could not decide") == 1
    for limit in LIMITS:
        assert limit in text
    assert "dataset root" in text
    assert world.commitment.root.hex() in text
    assert world.recipe.digest.hex() in text


def test_an_exact_run_is_compared_with_its_retrained_twin(evaluated, world, words):
    assert "equals that of the retrained run" in words(render(load(evaluated)))
    content = json.loads((evaluated[1] / "evaluation.json").read_text(encoding="utf-8"))
    content["references"][0]["weights_digest"] = world.parent
    world.sign(evaluated[1], content)
    text = words(render(load(evaluated)))
    assert "the exact claim does not hold between these two" in text
    assert "weights differ from retrained" in text
    assert "No: its weights are not those of the retraining that it claims to equal." in text
    content["references"][0]["lineage_seed"] = world.parent
    world.sign(evaluated[1], content)
    assert "No retrained run of the same lineage seed is at hand" in words(render(load(evaluated)))


def test_a_retrained_folder_serves_as_twin_too(world, words):
    exact = world.unlearned("exact", "exact-replay")
    again = world.unlearned("again", "retrain", weights_digest=load([exact]).runs[0].weights_digest)
    assert "equals that of the retrained run" in words(render(load([exact, again])))
    other = world.unlearned("other", "retrain", slots=(9, 10))
    assert "No retrained run of the same lineage seed" in words(render(load([exact, other])))


def test_passed_tests_are_named(world, words):
    folder = world.unlearned("salun")
    content = world.evaluate(folder)
    for probe in content["probes"]:
        if probe["required"]:
            probe["verdict"] = {"verdict": "supported", "p": 0.01, "detail": "inside"}
    content["verdict"] = {"verdict": "supported", "p": 0.01, "detail": "all required probes are supported"}
    content["guarantee"] = {"kind": "empirical", "passed": ["test-accuracy", "mean-margin"], "level": 0.95}
    world.sign(folder, content)
    text = words(render(load([folder])))
    assert "only the named tests were passed at 95 % confidence (test-accuracy, mean-margin)" in text
    assert "By the rules of an earlier release, on every required test the model behaves like retrained ones" in text
    assert "2 tests passed" in text


def test_a_training_alone_is_shown_as_what_it_is(world, words):
    text = words(render(load([world.run("base")])))
    assert f"A model (cnn) trained on {len(world.train)} training rows; nothing was forgotten." in text
    assert "Training report" in text
    assert "What was forgotten" not in text


def test_the_parent_is_described_when_it_is_named(world):
    child, parent = world.unlearned("salun"), world.run("base")
    assert load([child], original=parent).sections[0].training is not None
    assert load([child, parent]).sections[0].training is not None
    assert load([child]).sections[0].training is None


def test_hostile_texts_are_words_and_never_tags(world, make_world, tmp_path, parsed, words):
    folder = world.unlearned(
        "salun",
        method=HOSTILE,
        rules=[HOSTILE, "\u202egnihton", "a\x00b"],
        environment={HOSTILE: HOSTILE, "nested": {"deep": [HOSTILE]}},
        exact_refused=HOSTILE,
    )
    content = world.evaluate(folder, notices=[HOSTILE], guards=[{"name": HOSTILE, "fired": True, "detail": HOSTILE}])
    content["probes"][0].update(summary=HOSTILE, name=HOSTILE, unlearned={"undecided": HOSTILE})
    content["probes"][4]["verdict"] = {"verdict": "undecided", "p": None, "detail": HOSTILE}
    content["trial"]["dropped_classes"] = [HOSTILE]
    for shown in content["examples"]:
        shown["label"] = HOSTILE
    world.sign(folder, content)
    page = render(load([folder]))
    assert "<script" not in page.decode()
    assert "script" not in {tag for tag, _ in parsed(page).seen}
    assert "\u202e" not in page.decode()
    assert "\x00" not in page.decode()
    assert words(page).count("alert(") > 8
    assert "<script" not in render(load([folder]), examples=False).decode()


def test_forty_runs_stay_below_a_megabyte(make_world, forms, parsed, words):
    world = make_world(forms["images"], rows=200, shape=(40, 40, 3))
    folders = [world.unlearned(f"run-{index}", seed=index, slots=range(60)) for index in range(40)]
    for index, folder in enumerate(folders):
        world.evaluate(folder, shift=index / 200)
    page = render(load(folders))
    assert len(page) < 1_000_000
    assert "To keep this page below" not in words(page)
    parsed(page)


def test_what_does_not_fit_is_left_out_and_said_and_then_refused(make_world, forms, monkeypatch, refused, words):
    world = make_world(forms["images"], rows=200)
    folder = world.unlearned("salun", slots=range(60))
    world.evaluate(folder)
    loaded = load([folder])
    sizes = [len(render(loaded))]
    for said in (
        "few examples are shown",
        "the examples are left out",
        "tests in detail are left out",
        "single digests",
    ):
        monkeypatch.setattr(page_module, "LARGEST", sizes[-1])
        page = render(loaded)
        assert len(page) < sizes[-1]
        assert "To keep this page below 1 MB" in words(page)
        assert said in words(page)
        sizes.append(len(page))
    monkeypatch.setattr(page_module, "LARGEST", sizes[-1])
    with refused(InvalidArgument, "1 run", "report fewer"):
        render(loaded)


def test_torch_is_not_imported():
    program = (
        "import expunge.report.report, expunge.report.text, sys; "
        "assert 'torch' not in sys.modules; assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=280)


def rgb(colour: str) -> list[float]:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def contrast(one: str, other: str) -> float:
    light = sorted(np.dot(rgb(colour), [0.2126, 0.7152, 0.0722]) + 0.05 for colour in (one, other))
    return float(light[1] / light[0])


def test_light_dark_and_paper_have_their_colours_and_enough_contrast(evaluated):
    page = render(load(evaluated)).decode()
    assert "@media (prefers-color-scheme: dark)" in page
    assert "@media print" in page
    assert '<meta name="color-scheme" content="light dark">' in page
    palettes = [dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block)) for block in page.split(":root")[1:]]
    assert len(palettes) == 3
    assert len({palette["paper"] for palette in palettes}) == 2
    for palette in palettes:
        for ink in ("ink", "muted", "accent", "good", "bad", "open"):
            for ground in ("paper", "raised"):
                assert contrast(palette[ink], palette[ground]) >= 4.5, (ink, ground)
        assert contrast(palette["ink"], palette["band"]) >= 4.5
        assert contrast(palette["accent"], palette["band"]) >= 4.5
        assert contrast(palette["accent"], palette["mark"]) >= 1.5
