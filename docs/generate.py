"""Write the parts of the documentation that come from code; with --check, say whether they are current."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.format_parts import records_block, vectors_block
from docs.house import house_page, house_svg
from studies.pages.dots_picture import dots_svg
from studies.pages.forging_pictures import forging_pictures
from studies.pages.forging_study import forging_page
from studies.verdicts import PARTS
from studies.verdicts_found import read as read_found

from expunge.adversary.table.table import FIXTURES
from expunge.core.statistics.prediction import power_factor
from expunge.measure import ASKED, OF_NUMBERS, PROBES
from expunge.methods import METHODS
from expunge.methods.fields import Among, Search, searches
from expunge.methods.lookup import find_method, method_rows
from expunge.records.results import Results, Setting
from expunge.records.verdict import Level
from expunge.report.leaderboard import ranking_table
from expunge.report.study_results import read_results
from expunge.verify.checks import CHECKS, Replayed
from expunge.verify.levels.replay import Replay

DOCS = Path(__file__).parent
SPEED = DOCS.parent / "benchmarks" / "results" / "speed.json"
SCHEDULING, MANY = SPEED.with_name("study.json"), SPEED.with_name("many.json")
STUDIES = DOCS.parent / "studies" / "results"
FORGING = STUDIES / "forging.json"
VERDICTS = STUDIES / "verdicts"
PROOFS = STUDIES / "proof_of_learning.json"
PICTURES = "pictures"
HEAD = "<!-- written by docs/generate.py: change the code, then say `make docs` -->\n"


def methods_page() -> str:
    """The table of methods with their fields."""
    lines = [
        HEAD,
        "# Methods",
        "",
        "Every row is a frozen dataclass in `src/expunge/methods/`; its fields are set with `--set field=value`.",
        "The guarantee is the highest that the method can earn. Budgets are shares of the training's example-steps.",
        "",
        "Costs are example-steps: one example forward and backward is 1, a forward pass alone 1/3. A method that has a",
        "budget takes a tenth of the training's work unless told otherwise, and is refused on sharded runs so far.",
        "",
        "| method | guarantee | idea | sees | works on | costs | source |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = method_rows()
    for row in rows:
        name = f"`{row['name']}`" + (f" ({', '.join(row['aliases'])})" if row["aliases"] else "")
        needs = ", ".join(row["needs"])
        lines.append(
            f"| {name} | {row['guarantee']} | {row['summary']} | {needs} | {row['task']} | {row['work']} | "
            f"{row['citation']} |"
        )
    lines += ["", "## Fields, defaults, and where tuning looks", ""]
    for row in rows:
        found = searches(find_method(row["name"]))
        fields = ", ".join(
            f"`{name}` = {_shown(value)}{_looks_at(found.get(name))}" for name, value in row["fields"].items()
        )
        lines.append(f"- `{row['name']}`: {fields or 'none'}")
    return "\n".join(lines) + "\n"


def _looks_at(search: Search | None) -> str:
    if search is None:
        return ""
    return f" (one of {search})" if isinstance(search, Among) else f" ({search})"


def probes_page() -> str:
    """The table of probes."""
    lines = [
        HEAD,
        "# Probes",
        "",
        "A probe measures the original, the unlearned model and every reference alike; it does not know which method",
        "ran. Judged probes decide [the verdict](measuring.md), the others are printed beside. `match` means: like",
        "retraining, two-sided. Where labels are numbers, errors and R² stand in the place of what needs classes.",
        "",
        "Those with a name to ask by [cost more than a forward pass](measuring.md#probes-asked-for-by-name): they are",
        "measured with `expunge evaluate RUN --probe NAME`, or `expunge.evaluate(…, probes=[NAME])`.",
        "",
        "| probe | about | direction | judged | asked by | what it measures |",
        "|---|---|---|---|---|---|",
    ]
    for probe in (*PROBES, *OF_NUMBERS, *ASKED):
        summary = (probe.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")
        judged = "no" if probe.judging is None else "yes"
        asked = "" if probe.asked is None else f"`{probe.asked}`"
        about = f"{probe.role.value} | {probe.direction.value} | {judged} | {asked}"
        lines.append(f"| `{probe.name}` | {about} | {summary} |")
    return "\n".join(lines) + "\n"


def attacks_page() -> str:
    """The table of known attacks on records."""
    lines = [
        HEAD,
        "# Known attacks on records",
        "",
        "Every row is carried out by `expunge audit-demo` and in the tests: somebody with the owner's key makes the",
        "record, and the verifier answers with this code at this level. One level lower the record is accepted: so",
        "much each level is worth. [The guide](auditing.md) explains the levels and the codes.",
        "",
        "| no. | what the attacker does | level | code |",
        "|---|---|---|---|",
    ]
    for fixture in FIXTURES:
        codes = ", ".join(f"`{code.value}`" for code in (fixture.code, *fixture.also))
        lines.append(f"| {fixture.number} | {fixture.title} | {fixture.level.name} | {codes} |")
    return "\n".join(lines) + "\n"


def checks_page() -> str:
    """The table of checks from which the verifier runs."""
    lines = [
        HEAD,
        "# Checks",
        "",
        "What `expunge verify` carries out, in this order, from `CHECKS` in `src/expunge/verify/checks.py`. A check is",
        "left alone where one that it needs was refused, is open, or was not carried out; a level there stands for all",
        "that was found at it so far. A row with several findings has one for each file or code. Those marked † are",
        "left to a full replay where the run took the schedule's steps. [The guide](auditing.md) says what each level",
        "is worth.",
        "",
        "| level | check | what it looks at | needs |",
        "|---|---|---|---|",
    ]
    for check in CHECKS:
        needs = ", ".join(need.name if isinstance(need, Level) else need for need in check.needs) or "–"
        name = f"{check.name}{' (several)' if check.each else ''}{' †' if check.until_replayed else ''}"
        lines.append(f"| {check.level.name} | {name} | {_about(check.look)} | {needs} |")
    return "\n".join(lines) + "\n"


def _about(look: Any) -> str:
    """The first sentence of who looks."""
    text = (getattr(Replay, look.name) if isinstance(look, Replayed) else look).__doc__ or ""
    return " ".join(text.split("\n\n")[0].split())


def speed_page() -> str:
    """The committed speed figures with their bounds."""
    found = json.loads(SPEED.read_text(encoding="utf-8"))
    lines = [
        HEAD,
        "# Speed",
        "",
        f"Measured until {found['date']} by `{found['command']}`: Python {found['python']}, torch {found['torch']},",
        f"{found['processor']}, {found['threads']} thread. Ratios are medians of paired runs.",
        "`make bench` measures again.",
        "",
        "| what | value | lowest – highest | bound | kept |",
        "|---|---|---|---|---|",
    ]
    lines += [_speed_row(row) for row in found["rows"]]
    for title, place in (("Studies", SCHEDULING), ("Many models", MANY)):
        if not place.is_file():
            continue
        found = json.loads(place.read_text(encoding="utf-8"))
        lines += [
            "",
            f"## {title}",
            "",
            f"Measured on {found['date']} by `{found['command']}` on {found['cores']} cores, at a load of",
            f"{found['load_before'][0]:.1f} before and {found['load_after'][0]:.1f} after.",
            "",
            "| what | value | lowest – highest | bound | kept |",
            "|---|---|---|---|---|",
            *[_speed_row(row) for row in found["rows"]],
        ]
    return "\n".join(lines) + "\n"


def _speed_row(row: dict[str, Any]) -> str:
    spread = f"{row['lowest']:.3g} – {row['highest']:.3g}" if "lowest" in row else "–"
    if "bound" not in row:
        return f"| {row['name']} | {row['value']:.3g} {row['unit']} | {spread} | – | – |"
    bound = ("≥ " if row.get("better") == "higher" else "") + f"{row['bound']:g}"
    kept = "yes" if row["kept"] else "**missed**"
    return f"| {row['name']} | {row['value']:.3g} {row['unit']} | {spread} | {bound} | {kept} |"


def leaderboard_page() -> str:
    """The committed studies: a chart and a table for each setting."""
    lines = [
        HEAD,
        "# Leaderboard",
        "",
        "What the shipped studies found, as committed under `studies/results/`. [studies.md](studies.md) says how to",
        "read the figures, [reading-the-leaderboard.md](reading-the-leaderboard.md) what they say.",
        "Intervals are Student's 95 % over seeds. A dash is a figure that is undecided; the report says why.",
    ]
    for results in studies():
        cost, machine = results.cost, results.machine
        lines += [
            "",
            f"## {results.title}",
            "",
            f"{results.date}, `{results.command}`, {machine['processor']}, torch {results.versions['torch']},",
            f"{results.engine['jobs']} jobs at once: {cost.jobs} jobs in {cost.seconds / 60:.1f} minutes",
            f"({cost.refused} refused). Seeds {', '.join(map(str, results.seeds))}, {results.references}",
            f"references for each forget set. Results `{results.digest[:16]}`.",
        ]
        for setting in results.settings:
            lines += setting_lines(results, setting)
    return "\n".join(lines) + "\n"


def setting_lines(results: Results, setting: Setting) -> list[str]:
    lines = [
        "",
        f"### {setting.title}: {setting.forgotten} of {setting.training_rows} rows, `{setting.model}`",
        "",
        f"![what each method left of the memory, or its forgetting gap]({PICTURES}/{results.name}-{setting.id}.svg)",
        "",
    ]
    ranking = ranking_table(results, setting.id)
    headings = ["row", "memory left", "forgetting gap", "utility gap", "average gap", "test accuracy", "cost"]
    headings += ["verdicts", "marks"]
    kept = [at for at in range(len(headings)) if at > 5 or any(row[at] != "—" for row in ranking)]
    told = [headings, ["---"] * len(headings), *ranking]
    return lines + ["| " + " | ".join(row[at] for at in kept) + " |" for row in told]


def forged_page() -> str:
    """The studies of forging and of proofs of learning: checks, drawings and tables."""
    proofs = json.loads(PROOFS.read_text(encoding="utf-8"))
    return "\n".join([HEAD, *forging_page(forging_results(), proofs, PICTURES, other_forging())]) + "\n"


def forging_results() -> dict[str, Any]:
    """The committed results of the forging study."""
    return json.loads(FORGING.read_text(encoding="utf-8"))


def other_forging() -> list[dict[str, Any]]:
    """The committed results of the forging study on other data, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(STUDIES.glob("forging-*.json"))]


def studies() -> list[Results]:
    """The committed results of studies, the smallest first."""
    told = [path for path in sorted(STUDIES.glob("*.json")) if Results.FORMAT in path.read_text(encoding="utf-8")]
    return sorted(map(read_results, told), key=lambda results: (results.cost.example_steps, results.name))


def pictures() -> dict[str, str]:
    """The dot plot of every setting, and every axis of the forging study, by its path below docs/."""
    drawn = {
        f"{results.name}-{setting.id}.svg": dots_svg(results, setting.id)
        for results in studies()
        for setting in results.settings
    }
    drawn |= forging_pictures(forging_results()) | {"house.svg": house_svg()}
    return {f"{PICTURES}/{name}": text for name, text in drawn.items()}


def verdicts_page() -> str:
    """Each part of the study of verdicts that was carried out; those of another forget set after it."""
    lines = [
        HEAD,
        "# Verdicts, checked",
        "",
        "`python -m studies.verdicts FILE.npz` trains models whose truth is known and has [the rule](measuring.md)",
        "judge them, many times. FILE.npz is Fashion-MNIST as `python -m studies.pictures` makes it of its publisher's",
        "files; pictures are pooled to 14 × 14 where nothing else is said. Every draw takes other references and",
        "witnesses from one pool of trained models: draws are not independent, and rates are good to some points. A",
        "*row* is a demand that was written down before; whether it was met is computed. A leak that is smaller than",
        "the claim allows is Supported until there are references enough to tell it: that is what the claim says.",
        "",
        "What a recipe can show hangs on how much its models remember beside how much they differ: the signal to noise",
        "of ρ. To bound a quarter of the memory it must be",
        f"{asks(0.25)} references; to bound a tenth,",
        f"{asks(0.1)}. Where a row was not met, look there first.",
    ]
    for part, carried_out in PARTS.items():
        about = (carried_out.__doc__ or part).splitlines()[0].rstrip(".")
        for path in (*VERDICTS.glob(f"{part}.json"), *sorted(VERDICTS.glob(f"{part}-*.json"))):
            told, found = read_found(path.read_text(encoding="utf-8"))
            lines += ["", f"## {about}", "", f"`{told['command']}`, {told['date']}:", *found.lines]
    return "\n".join(lines) + "\n"


def asks(share: float) -> str:
    """The signal to noise that a claim asks for, by the number of references."""
    *most, last = (f"{power_factor(count) / share:.3g} with {count}" for count in (5, 8, 12, 16))
    return f"{', '.join(most)} and {last}"


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)


def format_page() -> str:
    """The format as it is written by hand, with its computed parts."""
    text = (DOCS / "format.md").read_text(encoding="utf-8")
    for name, block in (("records", records_block()), ("vectors", vectors_block())):
        before, begin, rest = text.partition(f"<!-- begin {name}: written by docs/generate.py -->\n")
        _, end, behind = rest.partition(f"<!-- end {name} -->")
        text = f"{before}{begin}{block}\n{end}{behind}"
    return text


def method_table() -> str:
    """The table of built-in methods that `expunge methods` prints without torch; fields in the order of the class."""
    rows = [row for row in method_rows() if row["name"] in {method.name for method in METHODS}]
    return json.dumps(rows, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


PAGES = {
    "methods.md": methods_page,
    "probes.md": probes_page,
    "speed.md": speed_page,
    "leaderboard.md": leaderboard_page,
    "forging.md": forged_page,
    "attacks.md": attacks_page,
    "checks.md": checks_page,
    "format.md": format_page,
    "verdicts.md": verdicts_page,
    "../src/expunge/records/methods.json": method_table,
    "house.md": lambda: house_page(HEAD, f"{PICTURES}/house.svg"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail if a page is not current")
    options = parser.parse_args()
    stale: list[str] = []
    written = {name: page() for name, page in PAGES.items()} | pictures()
    for old in (DOCS / PICTURES).glob("*.svg"):
        if f"{PICTURES}/{old.name}" not in written:
            stale.append(f"{PICTURES}/{old.name}")
            if not options.check:
                old.unlink()
    (DOCS / PICTURES).mkdir(exist_ok=True)
    for name, text in written.items():
        path = DOCS / name
        if options.check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale and options.check:
        print(f"docs/{', docs/'.join(stale)} not current: say `make docs` and commit", file=sys.stderr)
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
