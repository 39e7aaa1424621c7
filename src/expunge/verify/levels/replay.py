"""Levels V2 to V4: what a record says was carried out is carried out again, from the verifier's own copy of the data.

V2 replays segments that the verifier draws once the bundle is fixed, V3 all of them, V4 trains from nothing without a
checkpoint. Called once V0 and V1 hold. Bits are compared where this machine computes as the record's did, and nowhere
else: a difference elsewhere is undecided, never fraud.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from expunge.core.errors import InvalidArgument
from expunge.core.wording import counted
from expunge.records.limits import Code, refused
from expunge.schedule.seats import emptied_steps
from expunge.train.examples import Examples
from expunge.train.names import buffer_names
from expunge.train.perturbation import commitment_of, draw_noise, read_key
from expunge.train.segment import Training
from expunge.verify.levels import environment, resummed
from expunge.verify.levels.contents import Contents
from expunge.verify.levels.execution import Difference, SegmentReplay, changes, check_model, untraced
from expunge.verify.levels.method_replay import check_method
from expunge.verify.levels.preprocessing import check_constants, check_inferred
from expunge.verify.levels.segments import Draw, Segment, always_replayed, draw, listed, missed, needed, segments_of
from expunge.verify.levels.sums import check_arithmetic
from expunge.verify.levels.twin import check_twin
from expunge.verify.opened import OpenedRecord
from expunge.verify.outcomes import EvidenceMissing
from expunge.verify.state_files import StateFiles, missing_sentence

LIKELY = 0.95  # the chance for which the number of segments to draw is named
NO_TWIN = (
    "an approximate method starts from its parent's model, which is the owner's: a twin run without any checkpoint "
    "would train the parent again, on the forgotten rows too; verify the parent's record at V4 and this one at V3"
)


class Replay:
    """The checks of one record from V2 on, by the names that the table has; they share what is costly to read."""

    def __init__(self, opened: OpenedRecord) -> None:
        self._opened, self._supplied = opened, opened.supplied
        self._files = StateFiles(opened, opened.supplied.checkpoints)
        self._noise: np.ndarray | None = None
        self._contents: Contents | None = None
        self._changes: dict[Segment, float] = {}
        self._segments = segments_of(self._files.states)
        self._device = environment.device_of(opened)

    def check_exactness(self) -> str:
        """The record claims bits at all."""
        return environment.check_exactness(self._opened)

    def check_code(self) -> str:
        """All code that the record names is built in, or is the very code that the verifier trusts."""
        return environment.check_code(self._opened)

    def under_noise(self) -> bool:
        """Whether the run was trained under secret noise."""
        perturbed, given = self._opened.recipe.perturbation != 0, self._supplied.noise_key
        if given is not None and not perturbed:
            raise InvalidArgument(f"the noise key {given} has no use here: the run was trained without noise")
        return perturbed

    def check_noise(self) -> str:
        """The secret noise comes out of the key that was announced before the training."""
        announced, given = self._opened.record.noise_commitment, self._supplied.noise_key
        if given is None:
            raise EvidenceMissing(
                "the run was trained under secret noise, which nothing in the bundle determines: ask the owner for "
                "noise.key, which reveals it for good, and give it with `noise_key`"
            )
        key = read_key(given)
        if announced is None or commitment_of(key) != announced.hex():
            raise EvidenceMissing(
                f"{given} is not the noise key that was announced before the training (SHA-256 "
                f"{'none' if announced is None else announced.hex()[:16] + '…'}): ask for that one"
            )
        self._noise = draw_noise(self._opened.recipe, key, self._opened.schedule.seed)
        return f"drawn again under the key announced as {announced.hex()[:16]}…"

    def check_without_rows(self) -> str:
        """Steps can only be carried out again on their rows."""
        raise EvidenceMissing(
            "no data were given, and steps can only be carried out again on their rows: give them with `data` PATH "
            "(what was forgotten may be missing)"
        )

    def with_rows(self) -> bool:
        """Whether the verifier brought rows, which are read from here on."""
        if self._supplied.data is not None:
            self._contents = Contents(self._opened, self._supplied.data, self._supplied.salts)
        return self._contents is not None

    def check_constants(self) -> str:
        """Scales and layouts are what a column's kind fixes, so that no row had a part in them."""
        return check_constants(self._opened)

    def check_content(self) -> str:
        """Every row that must be there is the one that was committed."""
        return self._rows.check_leaves()

    def check_preprocessing(self) -> str:
        """What columns and classes are taken for hangs on no forgotten row."""
        return check_inferred(self._opened, self._rows)

    def check_environment(self) -> str:
        """Fingerprint and self-test here are the record's, field by field; sums are the same on every machine."""
        if self._opened.solved:
            return check_arithmetic(self._opened)
        return environment.check_environment(self._opened, self._device)

    def check_initial(self) -> str:
        """The initial weights of all shards come out of the seed as the record has them, bit for bit."""
        return environment.check_initial(self._opened)

    def check_method(self) -> str:
        """A method with steps of its own, from its parent's model, comes to the weights of the record."""
        return check_method(self._opened, self._rows.rows, self._files, self._device, self._noise)

    def check_method_whole(self) -> str:
        """The whole execution of a method with steps of its own was carried out again."""
        return "execution verified: the whole method was carried out again bit for bit"

    def check_no_twin(self) -> str:
        """A method with steps of its own begins with the owner's model: no twin decides about that."""
        raise EvidenceMissing(NO_TWIN)

    def check_states(self) -> str:
        """All files of states are there, each the state of its leaf."""
        states = self._files.states
        if not states:
            raise EvidenceMissing("no state was recorded, so there is nothing to start a segment from: ask for V4")
        missing = self._files.missing
        if missing:
            raise EvidenceMissing(missing_sentence(missing, len(states)))
        if set(self._files.buffers) != set(buffer_names(self._training.recipe)):
            raise refused(
                Code.CHECKPOINT_LEAF_MISMATCH,
                f"the record calls {counted(len(self._files.buffers), 'tensor')} of a state buffers, and they are not "
                "those of the recipe's model: how far its weights move would be measured on the wrong ones",
            )
        self._changes = changes(self._files, self._training, self._segments)  # how far weights move between states
        return f"{counted(len(states), 'state')} read, each that of its leaf"

    def check_model(self) -> str:
        """The model is made of the last states of the shards that are alive."""
        return check_model(self._opened, self._last)

    def check_some(self) -> str:
        """Segments that the verifier draws, and those that no draw decides about, give the recorded bits."""
        total = len(self._segments)
        drawn = self._draw()
        odd = self._execution.replay(drawn.chosen, self._supplied.progress)
        _refuse(odd, f"{len(drawn.chosen)} of {counted(total, 'segment')}", _by_chance(drawn))
        environment.check_nothing_beside(self._opened)
        told = _spotted(drawn, total, sum(self._training.recipe.stage_epochs))
        return f"{told}{untraced(self._opened)}"

    def check_all(self) -> str:
        """Every segment gives the recorded bits."""
        total = counted(len(self._segments), "segment")
        _refuse(self._execution.replay(self._segments, self._supplied.progress), f"all {total}")
        environment.check_nothing_beside(self._opened)
        return (
            f"execution verified: all {total} executed again bit for bit, those taken over from an earlier run "
            f"included{untraced(self._opened)}"
        )

    def check_twin(self) -> str:
        """The whole training from nothing, without a checkpoint, comes to the weights of the record."""
        told = check_twin(self._opened, self._training, self._supplied.progress)
        environment.check_nothing_beside(self._opened)
        return f"trained from nothing, without a checkpoint: {told}"

    def check_passed(self) -> str:
        """On its way from the initial weights the twin came through every recorded state."""
        if self._opened.solved:
            return self.check_sums_whole()
        return (
            "execution verified: trained again from the initial weights through all "
            f"{counted(len(self._files.states), 'state')} on record, bit for bit{untraced(self._opened)}"
        )

    def check_tree(self) -> str:
        """A tree of a forest that the verifier draws grows again as it is on record."""
        return resummed.check_one_tree(self._opened, self._rows.train)

    def check_sums(self) -> str:
        """The rows that are present, added up again, give the recorded sums and the weights."""
        return resummed.check_against(self._opened, self._rows.train)

    def check_sums_whole(self) -> str:
        """All rows were added up again, and not a part of them."""
        return "execution verified: all rows that are present were added up again bit for bit"

    def check_sums_anew(self) -> str:
        """The rows alone, added up from nothing, give the weights."""
        return resummed.check_anew(self._opened, self._rows.train)

    @property
    def _rows(self) -> Contents:
        assert self._contents is not None, "no rows were given"
        return self._contents

    @cached_property
    def _training(self) -> Training:
        opened = self._opened
        examples = Examples(opened.recipe, self._rows.train, self._device)
        present = np.setdiff1d(np.arange(len(examples)), opened.tombstones)
        return Training(
            recipe=opened.recipe,
            schedule=opened.schedule,
            examples=examples.only(present) if len(opened.tombstones) else examples,
            emptied=opened.tombstones,
            noise=self._noise,
        )

    @cached_property
    def _execution(self) -> SegmentReplay:
        return SegmentReplay(self._opened, self._training, self._files)

    def _last(self, shard: int) -> dict[str, torch.Tensor]:
        return self._files.load(shard, max(state.step for state in self._files.states if state.shard == shard))

    def _draw(self) -> Draw:
        emptied = {
            shard: emptied_steps(self._opened.schedule, shard, self._opened.tombstones)
            for shard in {segment.shard for segment in self._segments}
        }
        always = always_replayed(self._segments, emptied, self._changes.__getitem__)
        return draw(self._segments, always, self._supplied.segments, self._supplied.chance)


def _refuse(found: list[Difference], replayed: str, drawn: str = "") -> None:
    if found:
        raise refused(
            min((difference.code for difference in found), key=list(Code).index),
            f"of {replayed} replayed these give other bits here than the record says, twice the same: "
            f"{', '.join(map(str, found))}; they were not carried out as recorded{drawn}",
        )


def _by_chance(drawn: Draw) -> str:
    return f"; drawn: {listed(drawn.drawn)}" if drawn.drawn else ""


def _spotted(drawn: Draw, total: int, epochs: int) -> str:
    """How many segments, which, and with which probability bad ones would have been missed."""
    replayed = len(drawn.chosen)
    told = f"{replayed} of {counted(total, 'segment')} executed again bit for bit"
    if drawn.pool == len(drawn.drawn):
        return f"{told}, so none was left to chance"
    rows = "; ".join(
        f"{counted(bad, 'bad one')} among them would be missed with probability "
        f"{float(missed(drawn.pool, bad, len(drawn.drawn))):.4g}"
        for bad in dict.fromkeys((1, min(epochs, drawn.pool)))
    )
    return (
        f"{told}: {len(drawn.always)} whatever the draw (first ones, those with an empty chair and all after, the "
        f"least and the largest changes), {len(drawn.drawn)} drawn here from the other {drawn.pool}; {rows}; "
        f"`segments` {needed(drawn.pool, 1, LIKELY)} would meet a single one with {LIKELY:.0%}{_by_chance(drawn)}"
    )
