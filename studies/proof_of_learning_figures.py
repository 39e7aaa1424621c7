"""What the study of proofs of learning found: shares with their intervals, as JSON, CSV and text."""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.files import write_text
from expunge.core.statistics.proportions import clopper_pearson
from studies.keep import rounded

FORGERS = ("greedy", "swap")


def counted(flags: Sequence[bool]) -> dict[str, Any]:
    """A share with its 95 % interval (Clopper–Pearson), and the bound that it is below with 95 % confidence."""
    successes, n = sum(flags), len(flags)
    if n == 0:
        return {"count": 0, "n": 0}
    low, high = clopper_pearson(successes, n)
    return {"count": successes, "n": n, "low": low, "high": high, "below": clopper_pearson(successes, n, 0.9)[1]}


def summarised(
    found: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]], command: str
) -> dict[str, Any]:
    """All figures of the study; ``settings`` have a name, what they are, and how many candidates greedy draws."""
    honest = [result for result in found if result["kind"] == "honest"]
    return {
        "date": datetime.date.today().isoformat(),
        "command": command,
        "settings": [of_setting(setting, found) for setting in settings],
        "spoofs": spoofs_of(found),
        "honest": {
            "what": "honest trainings of four recipes on 400 digits; ours up to V3, proofs of learning at delta 0",
            "ours_refused": counted([result["ours"] == "refused" for result in honest]),
            "ours_accepted_at_v3": counted([result["ours"] == "accepted" for result in honest]),
            "published_refused": counted([not result["published"] for result in honest]),
            "fixed_refused": counted([not result["fixed"] for result in honest]),
            "layers_with_a_law": sum(result["layers_with_a_law"] for result in honest),
        },
    }


def of_setting(setting: Mapping[str, Any], found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What came out in one setting, over all its training seeds."""
    units_here = [result for result in found if result["kind"] == setting["name"]]
    logs = [{**log, "honest": result["honest_accepted"]} for result in units_here for log in result["logs"]]
    return {
        "name": setting["name"],
        "what": setting["what"],
        "seeds": len(units_here),
        "candidates": setting["candidates"],
        "d_ref": spread([value for result in units_here for value in result["distances"]]),
        "delta": spread([result["delta"] for result in units_here]),
        "honest_refused_as_published": sum(not result["honest_accepted"] for result in units_here),
        "forgers": [of_forger(name, [log for log in logs if log["forger"] == name]) for name in FORGERS],
        "all": of_forger("all", logs),
    }


def of_forger(name: str, logs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the three verifiers answer to some forged logs."""
    refusals = Counter(code for log in logs for code in log["ours_v1"]["codes"])
    return {
        "forger": name,
        "published_accepts": counted([log["published"] for log in logs]),
        "published_accepts_of_valid": counted([log["published"] for log in logs if log["honest"]]),
        "every_forged_segment_within_delta": counted([log["every_forged_segment_within_delta"] for log in logs]),
        "fixed_accepts": counted([log["fixed"] for log in logs]),
        "ours_accepts_at_v1": counted([log["ours_v1"]["status"] != "refused" for log in logs]),
        "ours_codes": dict(sorted(refusals.items())),
        "step_l2": spread([log["step_l2_median"] for log in logs]),
        "segment_l2_most": spread([log["segment_l2_most"] for log in logs]),
    }


def spoofs_of(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By spoof: how often the published verifier accepts it, and ours refuses its record."""
    made = [spoof for result in found for spoof in result.get("spoofs", [])]
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(spoof["spoof"] for spoof in made):
        own = [spoof for spoof in made if spoof["spoof"] == name]
        rows.append(
            {
                "spoof": name,
                "published_accepts": counted([spoof["published"] for spoof in own]),
                "ours_refuses": counted([spoof["ours"] == "refused" for spoof in own]),
                "level": sorted({spoof["ours_level"] for spoof in own}),
                "codes": dict(sorted(Counter(code for spoof in own for code in spoof["ours_codes"]).items())),
                "work_share": spread([spoof["work"] / spoof["honest_work"] for spoof in own]),
                "steps": spread([spoof["steps"] for spoof in own]),
            }
        )
    return rows


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Median, least and most."""
    if not values:
        return None
    return {"median": float(np.median(values)), "least": float(min(values)), "most": float(max(values))}


def text_of(results: Mapping[str, Any]) -> str:
    """The results as a person reads them."""
    lines: list[str] = []
    for setting in results["settings"]:
        lines.append(f"{setting['name']}: {setting['what']}")
        if setting["d_ref"] is None:
            lines.append("  nothing was done")
            continue
        d_ref, delta = setting["d_ref"], setting["delta"]
        lines.append(f"  d_ref {d_ref['median']:.4g} ({setting['seeds']} training seeds), delta {delta['median']:.4g}")
        refused = setting["honest_refused_as_published"]
        lines.append(f"  trainings whose honest proof is refused as published: {refused} of {setting['seeds']}")
        for row in (*setting["forgers"], setting["all"]):
            far = row["segment_l2_most"]
            lines.append(
                f"  {row['forger']:<7} accepted as published {shown(row['published_accepts'])}, of those whose "
                f"honest log is accepted {shown(row['published_accepts_of_valid'])}; every forged segment within delta "
                f"{shown(row['every_forged_segment_within_delta'])}; fixed "
                f"{shown(row['fixed_accepts'])}; ours at V1 {shown(row['ours_accepts_at_v1'])}; furthest segment "
                + (f"{far['median']:.3g} (most {far['most']:.3g})" if far else "none")
            )
    for row in results["spoofs"]:
        lines.append(
            f"{row['spoof']}: accepted as published {shown(row['published_accepts'])}, refused by ours "
            f"{shown(row['ours_refuses'])} at {', '.join(row['level'])} with {', '.join(row['codes'])}; work "
            f"{row['work_share']['median']:.1%} of what it claims"
        )
    honest = results["honest"]
    lines.append(
        f"honest: refused by ours {shown(honest['ours_refused'])}, accepted at V3 "
        f"{shown(honest['ours_accepted_at_v3'])}; refused as published {shown(honest['published_refused'])}, fixed "
        f"{shown(honest['fixed_refused'])}"
    )
    return "\n".join(lines)


def shown(share: Mapping[str, Any]) -> str:
    """A share in words."""
    if not share["n"]:
        return "0 of 0"
    return f"{share['count']} of {share['n']} ({share['low']:.1%} to {share['high']:.1%})"


def write(results: Mapping[str, Any], found: Iterable[Mapping[str, Any]], path: Path) -> None:
    """The figures as JSON, one row per forged log as CSV beside it."""
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(rounded(dict(results)), indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    write_text(path.with_suffix(".csv"), table_of(found))


def table_of(found: Iterable[Mapping[str, Any]]) -> str:
    """One line per forged log."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    names = ("forger", "target", "steps", "step_l2_median", "step_l2_most", "segment_l2_most", "published")
    more = ("every_forged_segment_within_delta", "fixed")
    rows.writerow(["setting", "seed", "delta", *names, *more, "fixed_refused_by", "ours_v1", "ours_codes"])
    for result in found:
        for log in result.get("logs", []):
            values = [f"{value:.6g}" if isinstance(value, float) else value for value in (log[name] for name in names)]
            ours = log["ours_v1"]
            rows.writerow(
                [
                    result["kind"],
                    result["seed"],
                    f"{result['delta']:.6g}",
                    *values,
                    *(log[name] for name in more),
                    " + ".join(log["fixed_refused_by"]),
                    ours["status"],
                    " + ".join(ours["codes"]),
                ]
            )
    return text.getvalue()
