"""From folders to sections: runs that forgot the same examples from the same model, against the same references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path

from expunge.core.errors import InvalidArgument
from expunge.records.evaluation import Compared, Evaluation, MemoryEvidence
from expunge.report.facts import Facts, Unlearning, read_facts

MOST_RUNS = 400


@dataclass(frozen=True)
class Section:
    """Runs that may stand in one table. ``labels`` name them, ``retrained`` are references among the folders given."""

    original: str
    runs: tuple[Facts, ...]
    labels: tuple[str, ...]
    retrained: tuple[Facts, ...]
    training: Facts | None

    @property
    def first(self) -> Facts:
        """Any run of the section: what defines it is the same for all."""
        return (self.runs or self.retrained)[0]

    @property
    def numbers(self) -> bool:
        """Whether labels are numbers and no classes."""
        return self.first.told.recipe.get("classes") == []

    @property
    def unlearning(self) -> Unlearning:
        found = self.first.unlearning
        assert found is not None
        return found

    @property
    def named(self) -> tuple[tuple[str, Facts], ...]:
        """Every run of the table with its label."""
        return tuple(zip(self.labels, self.runs, strict=True))

    @cached_property
    def evaluations(self) -> tuple[tuple[str, Evaluation], ...]:
        """Every evaluation with the label of its run."""
        return tuple((label, run.evaluation) for label, run in self.named if run.evaluation is not None)

    @property
    def evaluation(self) -> Evaluation | None:
        """The first of them: what it says of the original and of the references holds for all."""
        return self.evaluations[0][1] if self.evaluations else None

    @property
    def memory(self) -> MemoryEvidence | None:
        """What the first evaluation that can say so says of memory: of original and references it holds for all."""
        return next((one.memory for _, one in self.evaluations if one.memory is not None), None)

    @property
    def references(self) -> tuple[Compared, ...]:
        """The references that every evaluation of the section measured."""
        return () if self.evaluation is None else self.evaluation.references

    def twin(self, run: Facts) -> str | None:
        """Digest of the retrained model of the same lineage, where the evaluation or a folder given holds one."""
        for model in references_of(run):
            if model.lineage_seed == run.told.lineage_seed:
                return model.weights_digest
        for other in (*self.retrained, *self.runs):
            same = (other.told.lineage_seed, other.tombstones) == (run.told.lineage_seed, run.tombstones)
            if other is not run and other.is_retraining and same:
                return other.weights_digest
        return None


@dataclass(frozen=True)
class Loaded:
    """All sections, the trainings that stand alone, and where the data are said to be now."""

    sections: tuple[Section, ...]
    trainings: tuple[Facts, ...]
    data: str | None

    @property
    def runs(self) -> tuple[Facts, ...]:
        """Every run once, in the order of the page."""
        found = [run for section in self.sections for run in (*section.runs, *section.retrained)]
        parents = [section.training for section in self.sections if section.training is not None]
        unique = {str(run.folder): run for run in (*parents, *self.trainings, *found)}
        return tuple(unique.values())


def references_of(run: Facts) -> tuple[Compared, ...]:
    return () if run.evaluation is None else run.evaluation.references


def load(
    runs: Sequence[PathLike[str] | str] | PathLike[str] | str,
    data: str | None = None,
    *,
    original: Path | str | None = None,
) -> Loaded:
    """Read and check run folders. ``original`` names the folder of the model that the runs came from."""
    facts = _read(runs)
    if original is not None:
        facts = _with_original(facts, read_facts(Path(original)))
    trainings = [run for run in facts if run.trained]
    sections = _sections([run for run in facts if run.unlearning is not None], trainings)
    used = {section.original for section in sections}
    serving = {str(run.folder) for section in sections for run in (*section.runs, *section.retrained)}
    alone = (run for run in trainings if run.weights_digest not in used and str(run.folder) not in serving)
    return Loaded(sections, tuple(alone), data)


def _read(runs: Sequence[PathLike[str] | str] | PathLike[str] | str) -> list[Facts]:
    given = runs if isinstance(runs, Sequence) and not isinstance(runs, str) else [runs]
    for run in given:
        if not isinstance(run, str | PathLike):
            raise InvalidArgument(f"`runs` {run!r:.80} must be runs, or their folders")
    folders = {Path(run).resolve(): Path(run) for run in given}
    if not folders:
        raise InvalidArgument("nothing to report was named: give at least one run folder")
    if len(folders) > MOST_RUNS:
        raise InvalidArgument(
            f"{len(folders)} runs are too many for one page that stays below 1 MB: report at most {MOST_RUNS} at a time"
        )
    return [read_facts(folder) for folder in folders.values()]


def _with_original(facts: list[Facts], found: Facts) -> list[Facts]:
    if all(run.folder.resolve() != found.folder.resolve() for run in facts):
        facts = [found, *facts]
    children = [run.unlearning for run in facts if run.unlearning is not None]
    if not any(found.weights_digest == child.parent for child in children):
        raise InvalidArgument(
            f"`original` {found.folder} holds the weights {found.weights_digest[:12]}…, none of the runs came from "
            "them: name the run that was unlearned, or leave it out"
        )
    return facts


def _sections(runs: list[Facts], trainings: list[Facts]) -> tuple[Section, ...]:
    grouped: dict[tuple[str, ...], list[Facts]] = {}
    for run in runs:
        if run.evaluation is not None:
            lineages = tuple(sorted(model.weights_digest for model in references_of(run)))
            grouped.setdefault((*_asked(run), run.evaluation.original.weights_digest, *lineages), []).append(run)
    for run in runs:
        if run.evaluation is None:
            place = next((key for key in grouped if key[: len(_asked(run))] == _asked(run)), (*_asked(run), ""))
            grouped.setdefault(place, []).append(run)
    order = {str(run.folder): at for at, run in enumerate(runs)}
    found = [sorted(group, key=lambda run: order[str(run.folder)]) for group in grouped.values()]
    found.sort(key=lambda group: order[str(group[0].folder)])
    return tuple(_section(group, trainings) for group in found)


def _asked(run: Facts) -> tuple[str, str, str]:
    """Data, parent and forget set: what must be the same in one table."""
    assert run.unlearning is not None
    return run.told.dataset_root, run.unlearning.parent, run.unlearning.forget_digest


def _section(group: list[Facts], trainings: list[Facts]) -> Section:
    evaluated = [run for run in group if run.evaluation is not None]
    measured = {model.weights_digest for run in evaluated for model in references_of(run)}
    measured |= {run.evaluation.same_as for run in evaluated if run.evaluation is not None and run.evaluation.same_as}
    unread = [run for run in group if run.evaluation is None and run.is_retraining and run.weights_digest in measured]
    rows = tuple(run for run in group if run not in unread)
    afresh = [run for run in trainings if run not in rows and _same_rows(run, group[0])]
    retrained = (*unread, *(run for run in afresh if not evaluated or run.weights_digest in measured))
    first = group[0].unlearning
    assert first is not None
    evaluation = evaluated[0].evaluation if evaluated else None
    original = first.parent if evaluation is None else evaluation.original.weights_digest
    training = next((run for run in trainings if run.weights_digest == original), None)
    return Section(original, rows, _labels(rows), retrained, training)


def _same_rows(training: Facts, run: Facts) -> bool:
    """Whether a training left out what a run has forgotten."""
    asked = (run.told.dataset_root, run.tombstones)
    return training.is_retraining and (training.told.dataset_root, training.tombstones) == asked


def _labels(runs: tuple[Facts, ...]) -> tuple[str, ...]:
    """The method's name; where several runs share it, with the settings that tell them apart, or a number."""
    labels: list[str] = []
    for run in runs:
        peers = [other for other in runs if other.method == run.method]
        label = run.method
        if len(peers) > 1 and run.unlearning is not None:
            settings = [dict(peer.unlearning.settings) for peer in peers if peer.unlearning is not None]
            own = dict(run.unlearning.settings)
            telling = [name for name in own if any(other.get(name) != own[name] for other in settings)]
            label += f" ({', '.join(f'{name} {own[name]}' for name in telling)})" if telling else ""
        labels.append(label)
    return tuple(_numbered(labels))


def _numbered(labels: list[str]) -> list[str]:
    return [
        label if labels.count(label) == 1 else f"{label} ({labels[: at + 1].count(label)})"
        for at, label in enumerate(labels)
    ]


def replayed(section: Section, run: Facts) -> bool | None:
    """Whether an exact run's weights are those of its retrained twin; none where there is no twin to compare with."""
    twin = section.twin(run) if run.is_exact else None
    return None if twin is None else twin == run.weights_digest


def without_names(loaded: Loaded) -> Loaded:
    """The same, with the names that rules carry left out."""
    sections = tuple(
        replace(
            section,
            runs=tuple(_anonymous(run) for run in section.runs),
            retrained=tuple(_anonymous(run) for run in section.retrained),
        )
        for section in loaded.sections
    )
    return replace(loaded, sections=sections)


def _anonymous(run: Facts) -> Facts:
    if run.unlearning is None:
        return run
    rules = tuple("subject:…" if rule.startswith("subject:") else rule for rule in run.unlearning.rules)
    return replace(run, unlearning=replace(run.unlearning, rules=tuple(dict.fromkeys(rules))))
