"""Of the forging page: what Proof-of-Learning as published answers to forged logs and to trainings that never were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studies.pages.markdown import paragraph, table

Results = Mapping[str, Any]
LOGS = {
    "logs": "logs",
    "steps": "forged steps",
    "valid_step_by_step": "valid step by step",
    "published_accepts": "accepted as published",
    "verify_refuses": "refused by verify at V1",
    "as_expected": "with the expected code alone",
}


def believed_lines(results: Results) -> list[str]:
    """The logs of this study: trainings with the command line's own defaults."""
    cells = results["logs"]
    lines = [
        "",
        "## Forged logs of whole trainings",
        *paragraph(
            "Each denies one row in every step that held it; the record says that its chair was empty. The trainings "
            "are those of `expunge train` with its own defaults: momentum 0.9, rate 0.05 along a cosine, states "
            "every 100 steps, which makes two segments. Proof-of-Learning as published carries both out again and "
            "lets each be off by delta = 0.008 × the distance between honest trainings of other seeds. *Valid step "
            "by step*: no forged step lands further than delta from the recorded one, which is the forging paper's "
            "own test."
        ),
        *table(
            ("training", "forger", *LOGS.values(), "furthest step ÷ delta", "furthest segment ÷ delta, median, most"),
            [
                (
                    cell["model"],
                    cell["method"],
                    *(cell[name] for name in LOGS),
                    f"{cell['largest_step_share_of_delta']:.2g}",
                    f"{cell['median_share_of_delta']:.2g}, {cell['largest_share_of_delta']:.2g}",
                )
                for cell in cells
            ],
        ),
    ]
    return [*lines, *_refusals(results)] if cells else lines


def _refusals(results: Results) -> list[str]:
    cells = results["logs"]
    logs, accepted, valid, honest = (
        sum(cell[name] for cell in cells)
        for name in ("logs", "published_accepts", "valid_step_by_step", "honest_believed")
    )
    by: dict[str, int] = {}
    for cell in cells:
        for check, count in cell["published_refuses_by"].items():
            by[check] = by.get(check, 0) + count
    told = ", ".join(f"*{check}* {count} times" for check, count in by.items()) or "none"
    models = [
        f"{sum(c['published_accepts'] for c in cells if c['model'] == model)} of "
        f"{sum(c['logs'] for c in cells if c['model'] == model)} for `{model}`"
        for model in dict.fromkeys(cell["model"] for cell in cells)
    ]
    growth = " and ".join(
        f"{min(found):,.0f} to {max(found):,.0f}-fold for `{model}`"
        for model in dict.fromkeys(cell["model"] for cell in cells)
        if (found := [c["median_growth"] for c in cells if c["model"] == model and c["median_growth"] is not None])
    )
    return paragraph(
        f"Step by step {valid} of {logs} logs are valid. As published only **{accepted} of {logs}** are accepted: "
        f"{' and '.join(models)}. Of the published checks these refuse: {told}; the honest proof of the same training "
        f"is accepted beside {honest} of the {logs} logs, so the initial weights are not the reason. The reason is "
        "the length of a segment. The first one runs from the initial weights through 100 steps at the full rate, "
        "and there a training drives any difference apart: from the furthest forged step to the end of its segment "
        f"it grows, by the median of each forger, {growth or 'by an unknown factor'}. So the refusal says that the "
        "training is chaotic there, not that a forgery was seen, and it is the prover who chooses how often states "
        "are stored: the next section has segments of 10 steps."
    )


def proofs_lines(proofs: Results) -> list[str]:
    """The study of proofs of learning: the forging paper's setting, two harder ones, spoofs and honest proofs."""
    return [
        "",
        "## Proof-of-Learning, the baseline that must be fooled",
        *paragraph(
            f"{proofs['date']}, `{proofs['command']}`. Convolutional networks on the digits, a state every 10 steps. "
            "d_ref is the l2 distance between honest trainings of other seeds, delta 0.008 of it, the share that the "
            "authors of the attacks use. A log counts as *valid* here where the honest proof of the same training is "
            "accepted. *Mended* is the same verifier with SHA-256 of every row, and with initial weights, batches and "
            "rates computed from the recipe."
        ),
        *_settings(proofs),
        *_failures(proofs),
        *_spoofs(proofs),
        *_honest(proofs),
    ]


def _settings(proofs: Results) -> list[str]:
    rows: list[tuple[object, ...]] = []
    for setting in proofs["settings"]:
        for cell in (*setting["forgers"], setting["all"]):
            rows.append(
                (
                    setting["name"],
                    cell["forger"],
                    _spread(setting["d_ref"]),
                    f"{setting['delta']['median']:.3g}",
                    _spread(cell["segment_l2_most"]),
                    _share(cell["published_accepts"]),
                    _share(cell["published_accepts_of_valid"], interval=True),
                    _share(cell["fixed_accepts"]),
                    _share(cell["ours_accepts_at_v1"], interval=True),
                )
            )
    said = "; ".join(f"`{setting['name']}` is {setting['what']}" for setting in proofs["settings"])
    return [
        *paragraph(said[0].upper() + said[1:] + "." if said else ""),
        *table(
            (
                "setting",
                "forger",
                "d_ref",
                "delta",
                "furthest forged segment",
                "accepted as published",
                "of valid logs",
                "mended accepts",
                "verify accepts at V1",
            ),
            rows,
        ),
    ]


def _failures(proofs: Results) -> list[str]:
    told: list[str] = []
    for setting in proofs["settings"]:
        whole = setting["all"]["published_accepts"]
        if whole["count"] == whole["n"]:
            continue
        valid = setting["all"]["published_accepts_of_valid"]
        init = (
            f"{whole['n'] - valid['n']} are logs of {setting['honest_refused_as_published']} of {setting['seeds']} "
            "trainings whose *honest* proof is refused; of the others "
            if whole["n"] > valid["n"]
            else ""
        )
        by = [
            f"{share['n'] - share['count']} of {share['n']} logs by `{cell['forger']}`"
            for cell in setting["forgers"]
            for share in (cell["published_accepts_of_valid"],)
        ]
        told.append(
            f"`{setting['name']}`: {whole['count']} of {whole['n']} accepted; {init}it refuses {' and '.join(by)}"
        )
    return [
        *paragraph("Not all are accepted, and the reasons are two."),
        "",
        *(line for text in told for line in paragraph(text + ".", bullet=True)),
        *paragraph(
            "The first reason is the verifier's own test of the initial weights. It rejects a layer below p = 0.01, "
            "so it refuses a few honest trainings in a hundred, whether anybody forged or not. The second is "
            "distance: with momentum at five times the rate, and with means over 16 rows instead of 64, `greedy`, "
            "which exchanges the whole batch, ends a segment further off than delta. That is a failure of the crude "
            "forger and no defence: at the same states and for less work, `swap` is accepted on every valid log of "
            "all settings. In the small batches some logs are accepted though a forged segment lies beyond delta, "
            "because only the two largest segments of an epoch are carried out again."
            if _swap_always(proofs)
            else "The first reason is the verifier's own test of the initial weights; the second is that the forged "
            "segment lies further off than delta."
        ),
    ]


def _swap_always(proofs: Results) -> bool:
    """Whether every valid log that swap forged is accepted, in all settings."""
    found = [
        cell["published_accepts_of_valid"]
        for setting in proofs["settings"]
        for cell in setting["forgers"]
        if cell["forger"] == "swap"
    ]
    return bool(found) and all(share["count"] == share["n"] for share in found)


def _spoofs(proofs: Results) -> list[str]:
    return [
        *paragraph(
            "Made-up trainings, which end with the weights of a real one (Fang et al.). Work is the share of the "
            "claimed example-steps that was really done:"
        ),
        *table(
            ("spoof", "accepted as published", "refused by verify", "at", "with", "work"),
            [
                (
                    row["spoof"],
                    _share(row["published_accepts"], interval=True),
                    _share(row["ours_refuses"], interval=True),
                    ", ".join(row["level"]),
                    ", ".join(f"`{code}`" for code in row["codes"]),
                    f"{row['work_share']['median']:.0%}",
                )
                for row in proofs["spoofs"]
            ],
        ),
    ]


def _honest(proofs: Results) -> list[str]:
    honest = proofs["honest"]
    return paragraph(
        "Honest trainings of four recipes, every one with its record and its proof: `verify` refuses "
        f"{_share(honest['ours_refused'], interval=True)} and accepts {_share(honest['ours_accepted_at_v3'])} at V3. "
        f"The published verifier refuses **{_share(honest['published_refused'], interval=True)}** of the same "
        "trainings, although every segment is carried out to the same numbers: again its test of the initial "
        f"weights, of {honest['layers_with_a_law']} layers together. The mended one, which computes the initial "
        f"weights from the seed, refuses {_share(honest['fixed_refused'])}."
    )


def _share(share: Mapping[str, Any], *, interval: bool = False) -> str:
    told = f"{share['count']} of {share['n']}"
    return f"{told} [{share['low']:.1%}, {share['high']:.1%}]" if interval and share["n"] else told


def _spread(values: Mapping[str, float] | None) -> str:
    return "–" if values is None else f"{values['median']:.3g} ({values['least']:.3g} to {values['most']:.3g})"
