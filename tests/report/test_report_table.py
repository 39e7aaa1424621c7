"""The table of methods: every number from the evaluation, with its interval; every dash with its reason."""

from __future__ import annotations

import re

import pytest

from expunge.report.comparison import COLUMNS, NOT_EVALUATED, compare
from expunge.report.details import details
from expunge.report.numerals import bare, interval, listed, percent, probability, shown
from expunge.report.report import render
from expunge.report.text import load, notes, rows, table

NAMES = [name for name, _ in COLUMNS]
PERCENT = {"fraction": 100.0}


def cells(loaded, label):
    """One row of the terminal's table by column heading."""
    headings, found = rows(loaded)
    row = next(row for row in found if row[0] == label)
    return dict(zip(headings, row, strict=True))


def page_text(loaded) -> str:
    """What a reader of the page sees, without tags."""
    text = re.sub(r"<style>.*?</style>", " ", render(loaded).decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text).replace("\u00a0", " "))


def test_every_figure_and_its_interval_stand_in_the_table(world):
    folder = world.unlearned("salun")
    evaluation = world.evaluate(folder)
    loaded = load([folder])
    found = cells(loaded, "saliency-unlearning")
    page = page_text(loaded)
    for probe in evaluation["probes"]:
        name, scale, measured = probe["name"], probe["scale"], probe["unlearned"]
        text = found[dict(COLUMNS)[name]]
        digits = {"fraction": 1, "auc": 3, "margin": 2, "example-steps": 0, "seconds": 3}[scale]
        factor = PERCENT.get(scale, 1.0)
        value, low, high = (f"{measured[key] * factor:,.{digits}f}" for key in ("value", "low", "high"))
        if scale in ("example-steps", "seconds"):
            assert text.endswith(f" ({value})")
        else:
            unit = " %" if scale == "fraction" else ""
            assert text == f"{value}{unit} [{low}, {high}]".replace("-", "−")
            assert text in page


def test_original_and_references_are_read_from_the_evaluation(world):
    folder = world.unlearned("salun")
    evaluation = world.evaluate(folder)
    loaded = load([folder])
    original, references = cells(loaded, "Original"), cells(loaded, "Retrained references (5)")
    probe = next(probe for probe in evaluation["probes"] if probe["name"] == "loss-threshold")
    values = [reference["value"] for reference in probe["references"]]
    assert original["Membership AUC (loss)"].startswith(f"{probe['original']['value']:.3f} [")
    mean, low, high = probe["reference_mean"], min(values), max(values)
    assert references["Membership AUC (loss)"] == f"{mean:.3f} ({low:.3f} to {high:.3f})"
    assert references["Work (example-steps)"] == "100 % (10,352)"
    assert references["Time (seconds)"] == "100 % (0.220, 0.200 to 0.240)"


def test_one_reference_shows_its_own_interval_and_none_says_so(world):
    folder = world.unlearned("salun")
    evaluation = world.evaluate(folder, references=1)
    probe = next(probe for probe in evaluation["probes"] if probe["name"] == "mean-margin")
    low, high = probe["references"][0]["low"], probe["references"][0]["high"]
    one = cells(load([folder]), "Retrained reference")
    assert one["Mean margin, forget set"] == f"{probe['references'][0]['value']:.2f} [{low:.2f}, {high:.2f}]"
    world.evaluate(folder, references=0)
    loaded = load([folder])
    none = cells(loaded, "Retrained references (0)")
    assert none["Test accuracy"] == "—[1]"
    assert notes(loaded)[0].startswith("no retrained reference was given")
    assert cells(loaded, "saliency-unlearning")["Work (example-steps)"] == "1,104 (no reference to compare with)"


def test_cost_is_a_share_of_the_references_mean(world):
    folder = world.unlearned("salun", example_steps=5176.0, seconds=0.011)
    world.evaluate(folder)
    found = cells(load([folder]), "saliency-unlearning")
    assert found["Work (example-steps)"] == "50 % (5,176)"
    assert found["Time (seconds)"] == "5.0 % (0.011)"


def test_undecided_is_a_dash_whose_reason_can_be_read(world):
    folder = world.unlearned("salun")
    content = world.evaluate(folder)
    for probe in content["probes"]:
        if probe["name"] == "membership-classifier":
            probe["unlearned"] = {"undecided": "the classifier is no better than chance"}
            probe["references"][2] = {"undecided": "the classifier failed here"}
        if probe["name"] == "average-gap":
            probe["unlearned"] = {"undecided": "membership-classifier: the classifier is no better than chance"}
    world.sign(folder, content)
    loaded = load([folder])
    found = cells(loaded, "saliency-unlearning")
    number = re.fullmatch(r"—\[(\d+)\]", found["Membership SVC"])
    assert number is not None
    assert notes(loaded)[int(number[1]) - 1] == "the classifier is no better than chance"
    assert found["Average gap"] == found["Membership SVC"], "the same reason has one note"
    assert any("undecided for 1 of 5 references: the classifier failed here" in note for note in notes(loaded))
    page = render(loaded).decode()
    noted = re.search(r'<li id="(note-\d+)">the classifier is no better than chance</li>', page)
    assert noted is not None
    assert f'href="#{noted[1]}"' in page


def test_an_unbounded_side_and_another_level_are_shown(world):
    folder = world.unlearned("salun")
    content = world.evaluate(folder)
    probe = next(probe for probe in content["probes"] if probe["name"] == "mean-margin")
    probe["unlearned"].update(low=None, level=0.9)
    world.sign(folder, content)
    text = cells(load([folder]), "saliency-unlearning")["Mean margin, forget set"]
    assert text == f"6.82 [−∞, {probe['unlearned']['high']:.2f}] at 90 %"


def test_a_run_without_evaluation_says_what_to_run(world):
    loaded = load([world.unlearned("salun")])
    found = cells(loaded, "saliency-unlearning")
    assert found["Verdict"] == "—[1]"
    assert notes(loaded) == [NOT_EVALUATED]
    assert "run expunge references RUN, then expunge evaluate RUN" in page_text(loaded)
    assert "Original" not in [row[0] for row in rows(loaded)[1]]


def test_unknown_probes_are_listed(world):
    folder = world.unlearned("salun")
    content = world.evaluate(folder)
    content["probes"].append(
        {
            **content["probes"][0],
            "name": "relearn",
            "role": "diagnostic",
            "scale": "furlongs",
            "unlearned": {**content["probes"][0]["unlearned"], "scale": "furlongs", "value": 0.97654},
        }
    )
    world.sign(folder, content)
    told = details(load([folder]).sections[0], compare(load([folder]).sections[0]))
    assert told is not None
    assert [test.name for test in told.tests] == [*content_names(content)]
    page = page_text(load([folder]))
    assert "relearn diagnostic" in page
    assert "0.9765" in page


def content_names(content):
    return [probe["name"] for probe in content["probes"]]


def test_every_probe_has_a_line_with_value_mean_verdict_and_why(world):
    folder = world.unlearned("salun")
    content = world.evaluate(folder)
    content["probes"][0]["verdict"] = {"verdict": "supported", "p": 0.0123, "detail": "interval inside ±0.005"}
    content["probes"][1]["verdict"] = {"verdict": "refuted", "p": 0.0001, "detail": "test-accuracy: far outside"}
    world.sign(folder, content)
    section = load([folder]).sections[0]
    told = details(section, compare(section))
    assert told is not None
    assert [test.name for test in told.tests] == NAMES_IN_FILE
    first, second = told.tests[0].lines[0], told.tests[1].lines[0]
    assert (first.verdict, first.tone, first.reason) == ("Supported", "good", "interval inside ±0.005 (p = 0.012)")
    assert (second.verdict, second.tone, second.reason) == ("Refuted", "bad", "far outside (p < 0.001)")
    assert told.tests[0].references == shown(content["probes"][0]["reference_mean"], "fraction")


NAMES_IN_FILE = [
    "retain-accuracy",
    "test-accuracy",
    "forget-accuracy",
    "mean-margin",
    "loss-threshold",
    "membership-classifier",
    "average-gap",
    "example-steps",
    "seconds",
]


def test_runs_of_one_method_are_told_apart_by_their_settings(world):
    folders = [
        world.unlearned("a", budget=0.05),
        world.unlearned("b", budget=0.1),
        world.unlearned("c", "fine-tune"),
        world.unlearned("d", "fine-tune"),
    ]
    assert load(folders).sections[0].labels == (
        "saliency-unlearning (budget 0.05)",
        "saliency-unlearning (budget 0.1)",
        "fine-tune (1)",
        "fine-tune (2)",
    )
    assert len(load([folders[0], folders[0], str(folders[0])]).runs) == 1


def test_runs_of_other_forget_sets_data_or_references_get_their_own_section(world, make_world, forms):
    other = make_world(forms["patients"])
    folders = [
        world.unlearned("a"),
        world.unlearned("b", slots=(4, 6)),
        world.unlearned("c", "fine-tune"),
        other.unlearned("d"),
        world.unlearned("e", "neggrad-plus"),
        world.unlearned("f", "random-labels"),
    ]
    world.evaluate(folders[0])
    world.evaluate(folders[2])
    world.evaluate(folders[4], references=6)
    sections = load(folders).sections
    assert [section.labels for section in sections] == [
        ("saliency-unlearning", "fine-tune", "random-labels"),
        ("saliency-unlearning",),
        ("saliency-unlearning",),
        ("neggrad-plus",),
    ]
    headings, found = rows(load(folders))
    assert headings[0] == "Forgot"
    assert all(len(row) == len(headings) for row in found)


def test_retrained_runs_that_are_references_stand_in_the_references_row(world):
    run = world.unlearned("salun")
    evaluation = world.evaluate(run)
    reference = world.unlearned(
        "again", "retrain", weights_digest=evaluation["references"][0]["weights_digest"], seconds=0.2
    )
    loaded = load([run, reference])
    assert [row[0] for row in rows(loaded)[1]] == ["Original", "Retrained references (5)", "saliency-unlearning"]
    assert len(loaded.sections[0].retrained) == 1
    assert "1 of the runs given serves as retrained reference below." in page_text(loaded)


def test_evaluations_that_read_the_references_differently_are_named(world):
    folders = [world.unlearned("a"), world.unlearned("b", "fine-tune")]
    world.evaluate(folders[0])
    content = world.evaluate(folders[1])
    assert "read the original or the references differently" not in page_text(load(folders))
    *others, last = content["probes"]
    world.sign(folders[1], {**content, "probes": others})
    assert last["name"] not in {probe["name"] for probe in others}
    assert "the references differently" not in page_text(load(folders)), "it was not asked there"
    content["probes"][3]["references"][1]["value"] += 0.001
    world.sign(folders[1], content)
    assert "read the original or the references differently on mean-margin" in page_text(load(folders))


def test_the_terminal_prints_the_same_cells_in_columns(world):
    folder = world.unlearned("salun")
    world.evaluate(folder)
    loaded = load([folder])
    lines = table(loaded).splitlines()
    headings, found = rows(loaded)
    assert lines[0].startswith("Run")
    assert len(lines) == 1 + len(found) + len(notes(loaded))
    for heading in headings:
        assert heading in lines[0]


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (0.0, "fraction", "0.0"),
        (-0.0001, "fraction", "0.0"),
        (-0.02, "fraction", "−2.0"),
        (0.99999, "fraction", "100.0"),
        (0.5, "auc", "0.500"),
        (1234.0, "example-steps", "1,234"),
        (1234.3333, "example-steps", "1,234.3"),
        (0.0321, "seconds", "0.032"),
        (12.345, "seconds", "12.3"),
        (7200.0, "seconds", "7,200"),
        (1e300, "margin", "1.00e+300"),
        (float("inf"), "margin", "∞"),
        (float("-inf"), "fraction", "−∞"),
        (1e308, "fraction", "∞"),
        (0.123456, "unknown", "0.1235"),
    ],
)
def test_numbers_read_the_same_everywhere(value, scale, text):
    assert bare(value, scale) == text


def test_small_words():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed([]) == ""
    assert percent(0.0961) == "9.6\u00a0%"
    assert percent(0.0996) == "10\u00a0%"
    assert probability(0.0004) == "< 0.001"
    assert probability(0.5) == "= 0.500"
    assert callable(interval)
