"""The page of a worst-case forget set: some of its rows beside some that nobody chose. Same inputs, same bytes."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from expunge.core.errors import InvalidArgument
from expunge.core.files import write_bytes
from expunge.core.hashing import sha256
from expunge.core.streams import Stream, stable_order
from expunge.core.wording import LONGEST_NAME, clean, counted
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet
from expunge.records.selection import Selection
from expunge.report.facts import read_facts
from expunge.report.grid import Example, card, training_rows
from expunge.report.templates import environment, resource

MOST_CARDS = 12
MOST_CLASSES = 40
WORDS = {  # by the rule that chose: the title, and what to think of it
    "hidden": (
        "The {count} most typical of {rows}",
        "Their loss stays lowest after they are unlearned. A model that never saw them answers them as well, so that "
        "forgetting leaves no trace in accuracy: the worst case of methods that relabel, and no test of the others. "
        "Read it beside a distant set.",
    ),
    "distant": (
        "The {count} of {rows} that a retraining would change most",
        "Their margin falls furthest when a ridge regression leaves them out, which stands in for retrainings here. "
        "Methods that keep what retraining loses look bad on them. It is confirmed once references of fresh seeds "
        "say so.",
    ),
}
OTHERWISE = ("{count} of {rows}, chosen by {rule}", "They lie at one end of a score, by which no search was made.")
LIMITS = (
    "That these rows are the worst: the search looks from one model, and another may have others.",
    "Anything about a method: no method was run to choose them.",
)


def worst_page(run: PathLike[str] | str, chosen: ForgetSet, *, out: Path | str, data: str | None = None) -> Path:
    """Write the page of a set that was chosen on a run; ``data`` says where the data are now, if they moved."""
    if chosen.selection is None:
        raise InvalidArgument(
            "a forget set that nobody chose as a worst case has no page: make one with `expunge worst`"
        )
    rows, problem = training_rows(read_facts(Path(run)), data)
    told = chosen.selection
    title, lead = WORDS.get(told.origin.chooser.name, OTHERWISE)
    rule = f"{told.origin.chooser.name} {told.origin.chooser.fields.get('end', '')}".strip()
    view = {
        "style": Markup(resource("page.css")),
        "title": title.format(count=f"{len(chosen):,}", rows=counted(told.rows, "row"), rule=clean(rule, LONGEST_NAME)),
        "lead": lead,
        "undecided": None if told.label is None else clean(told.label.reason),
        "remark": None if problem is None else f"{problem.partition(', so ')[0].rstrip('.')}, so no rows are shown.",
        "measured": told.measured[:1].upper() + told.measured[1:],
        "value": f"{told.value:.3g}",
        "random": f"{min(told.random):.3g} to {max(told.random):.3g}" if told.random else "",
        "cards": [] if rows is None else _cards(rows, chosen),
        "classes": _classes(told, len(chosen)),
        "overlaps": _overlaps(told),
        "facts": _facts(told, chosen),
        "limits": LIMITS,
    }
    target = Path(out)
    write_bytes(target, environment().get_template("worst_page.html").render(view).encode("utf-8"))
    return target


def _cards(rows: Dataset, chosen: ForgetSet) -> list[tuple[str, list[Example]]]:
    """Some of the chosen rows and some of the others, both drawn by a stream of the set's own."""
    there = np.flatnonzero(rows.present)
    drawn = sha256(
        b"expunge/worst-page/1", bytes.fromhex(chosen.root), *(int(s).to_bytes(8, "big") for s in chosen.slots)
    )
    keys = Stream(drawn, "worst/page").words(len(rows))

    def some(slots: np.ndarray) -> list[Example]:
        picked = slots[stable_order(keys[slots])][:MOST_CARDS]
        names = [clean(str(rows.classes[rows.labels[slot]]), LONGEST_NAME) for slot in picked]
        return [card(rows, int(slot), f"label {name}") for slot, name in zip(picked, names, strict=True)]

    return [
        ("Some of the chosen rows", some(np.intersect1d(chosen.slots, there))),
        ("Rows at random, chosen or not", some(there)),
    ]


def _classes(told: Selection, count: int) -> list[dict[str, str]]:
    """How much of the set each class makes up, the largest first."""
    ordered = sorted(told.classes.items(), key=lambda item: -item[1])[:MOST_CLASSES]
    return [
        {"name": clean(name, LONGEST_NAME), "value": f"{found:,}", "width": f"{100 * found / max(1, count):.1f}%"}
        for name, found in ordered
    ]


def _overlaps(told: Selection) -> list[tuple[str, list[str]]]:
    """Sets with the share that each has in common with each, in percent."""
    pairs = zip(told.overlaps.names, told.overlaps.shares, strict=True)
    return [(name, [f"{100 * share:.0f}" for share in shares]) for name, shares in pairs]


def _facts(told: Selection, chosen: ForgetSet) -> list[tuple[str, Any]]:
    """What decided the set, what it cost, and what its guards saw."""
    guards, origin = told.guards, told.origin
    fields = ", ".join(f"{name} {value}" for name, value in sorted(origin.chooser.fields.items()) if value is not None)
    found = [
        ("rule", clean(f"{origin.chooser.name} ({fields})")),
        ("cost", f"{told.cost:,.6g} example-steps, {told.cost / max(1, told.rows):.3g} for each row"),
        ("seed", str(origin.seed)),
        ("chance of two random sets", f"{guards.chance:.0%}"),
        ("tied with rows that were left out", f"{guards.tied:,}"),
    ]
    if guards.start is not None:
        found.append(("shared with what the search began with", f"{guards.start:.0%}"))
    if guards.agreement is not None:
        found.append(("shared with other selections by this rule", f"{guards.agreement:.0%}"))
    if origin.cap_per_class is not None:
        found.append(("most of each class", f"{origin.cap_per_class:.0%}"))
    return [*found, ("weights of the model", origin.weights), ("root of the data", chosen.root)]
