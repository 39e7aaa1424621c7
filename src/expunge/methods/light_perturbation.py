"""A small change of the weights, stopped once forgotten rows are answered like rows never trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.core.statistics import stopping
from expunge.core.statistics.stopping import LOOKS
from expunge.methods.batch_norm import freeze_batch_norm
from expunge.methods.contract import Given, Need, Parent, check
from expunge.methods.divergence import divergence
from expunge.methods.fields import Between, tuned
from expunge.methods.impair_repair import labels_of
from expunge.methods.looks import LookRows, Region, Steering, length, undecided
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.schedule.plan import Role, Walk
from expunge.schedule.recipe import Optimiser, Recipe
from expunge.tasks.classification import Classification
from expunge.tasks.gradients import squared_gradients
from expunge.tasks.task import Task
from expunge.train.loop import Hooks
from expunge.train.objective import Answer, Loss, Pass, StepBatch

NOISE = 0.02
NO_VERDICT = "its stop rule is no verdict: a model that passes may have forgotten nothing; retrained references decide"


class Variant(Enum):
    """Towards beliefs about rows never seen, along what training on R alone changes, or shaken and mended."""

    ALIGN = "align"
    DIRECTION = "direction"
    NOISE = "noise"


class Expected(nn.Module):
    """Logarithms of a mean belief about rows of each class, from the logits of rows that were never trained on."""

    beliefs: torch.Tensor

    def __init__(self, logits: np.ndarray, classes: np.ndarray, device: torch.device) -> None:
        super().__init__()
        believed = torch.from_numpy(logits).to(device).softmax(dim=1)
        members = nn.functional.one_hot(torch.from_numpy(classes).to(device), believed.shape[1]).to(believed)
        self.register_buffer("beliefs", (members.T @ believed / members.sum(dim=0)[:, None]).log())

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        return self.beliefs[labels]


@dataclass(frozen=True, kw_only=True)
class LightPerturbation(ObjectiveMethod):
    """Change the weights a little, until an attack by loss tells forgotten rows from unseen ones no more.

    ``align`` minimises KL(q‖p) on F, with q the original's mean belief about calibration rows of the same class, and
    ``retain_weight``·CE on a sample of R as large as F. ``direction`` trains on that sample alone, then goes along the
    change as far as a line search says. ``noise`` adds Gaussian noise of length ``noise``·‖θ‖, less where the sample's
    squared gradients hold a weight, then trains on the sample. ``rate`` is a share of the training's own; no step leads
    farther than ``radius``·‖θ‖ from the original; batch norms stay in eval mode.

    F is looked at beside calibration rows of the same classes, 10 times at most, the first time before anything is
    done. What that does not decide is Undecided: the untouched model passes, F is answered worse than they are, fewer
    than 480 rows a side (it then goes on to its own end), or no look passes.
    """

    name = "light-perturbation"
    needs = frozenset({Need.FORGET, Need.RETAIN, Need.CALIBRATION, Need.GRADIENTS})
    citation = "our reading of the abstract of arXiv:2111.05528 and of arXiv:2404.03659"
    work = "1 a forgotten and 1 a retained row and pass, 1/3 a row and look"
    task: ClassVar[type[Task]] = Classification
    variant: Variant = Variant.ALIGN
    rate: float = tuned(0.1, Between(0.01, 1.0))
    epochs: int | float | None = 2
    batch_size: int | None = 64
    retain_weight: float = tuned(1.0, Between(0.1, 10.0))
    radius: float = 0.05
    noise: float = NOISE

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("retain_weight", "radius", "noise"):
            value = getattr(self, name)
            check(math.isfinite(value) and value >= 0, f"{name} {value} must be a finite number from 0")
        check(
            self.variant is Variant.NOISE or self.noise == NOISE,
            f"noise {self.noise} has no effect on the variant {self.variant.value}: leave it out, or choose noise",
        )
        check(not self.recalibrate, "recalibrate would change the model after its last look: leave it off")

    @property
    def walk(self) -> Walk:
        return Walk.PAIRED_BY_FORGET if self.variant is Variant.ALIGN else Walk.RETAIN

    def described(self, recipe: Recipe) -> Optimiser:
        return replace(super().described(recipe), rate=self.rate * recipe.optimiser.rate)

    def members(self, given: Given) -> tuple[np.ndarray, np.ndarray]:
        return given.sample(given.retain, len(given.forget)), given.forget

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        if self.variant is not Variant.ALIGN or parent.calibration is None:
            return
        known = labels_of(parent.calibration, parent.calibration.readable)
        alone = np.setdiff1d(labels_of(parent.examples, forget), known)
        if len(alone):
            raise InvalidArgument(
                f"method {self.name!r} in its variant align: rows of class {parent.recipe.classes[alone[0]]!r} are to "
                "be forgotten and no calibration row is of it, so that nothing says how to answer them; use the "
                "variant direction or noise"
            )

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        kept = self.retain_weight * batch.retain_loss(student)

        def pulled(answer: Answer) -> torch.Tensor:
            assert teacher is not None
            return divergence(teacher(Classification.labels(answer.batch)).to(answer.outputs), answer.outputs).mean()

        return batch.term(pulled, Pass(student, Role.FORGET)) + kept if self.variant is Variant.ALIGN else kept

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        """The first look, the noise, and what steers the rest."""
        freeze_batch_norm(student)
        if self.rate == 0 or self.epochs == 0:
            return Prepared()
        ground, aligned, shaken = self.ground(given), self.variant is Variant.ALIGN, self.variant is Variant.NOISE
        looks = LOOKS * ground.thirds if ground.judges else len(ground.matched) if aligned else 0
        squares = 3 * len(self.members(given)[0]) if shaken else 0
        if not self.step_follows(given, student, spent=looks + squares):
            return Prepared(still="nothing done: the budget covers no step beside the looks; a larger `budget` would")
        told = ground.ask(student, given.calibration, ground.matched) if looks else None
        teacher = Expected(told["beliefs"], ground.classes, given.device) if told is not None and aligned else None
        first = ground.look(student, told) if ground.judges else None
        if first is not None and (first.alike or first.harder):
            why = "untouched passes" if first.alike else "forgotten rows are answered worse than matched ones untouched"
            return Prepared(still=undecided(why, first))
        given.meter.kept = (LOOKS - 1) * ground.thirds
        region = Region(student, self.radius)
        if shaken:
            self.shake(given, student, region)
        total = self.plan(given, student, teacher, still=False).total

        def unjudged(done: int) -> str | None:
            rows = len(ground.forgotten)
            few = f"Undecided({rows} rows a side): the stop rule needs {stopping.FEWEST} pairs of forgotten and "
            return f"{few}calibration rows of one class, so that no look was taken" if done == total else None

        stop = unjudged
        if first is not None:
            stop = Steering(ground, region, student, first, total, self.variant is Variant.DIRECTION).stop
        return Prepared(hooks=Hooks(after_update=region.hold, stop=stop), teacher=teacher, notices=(NO_VERDICT,))

    def ground(self, given: Given) -> LookRows:
        """What looks ask. Retained rows are others than the steps', and in all looks as many as in all passes."""
        ours = self.members(given)[0]
        others = np.setdiff1d(given.retain, ours)
        count = max(1, round((self.epochs or 1) * len(given.forget) / LOOKS))
        return LookRows.of(given, given.sample(others if len(others) else ours, count))

    def shake(self, given: Given, student: nn.Module, region: Region) -> None:
        """Noise by the mean squared gradient s of the sample: in each weight as large as √(s̄ / (s + s̄)) has it."""
        given.declare(Need.GRADIENTS)
        sums = [torch.zeros_like(one) for one in region.gone()]
        for batch in given.batches(self.members(given)[0]):
            for total, part in zip(sums, squared_gradients(given.task, student, batch), strict=True):
                total += part
            given.meter.steps(len(batch))
        mean = torch.cat([one.flatten() for one in sums]).mean().clamp(min=1e-30)
        stream = given.stream("noise")
        drawn = [torch.from_numpy(stream.normal(one.numel())).to(one).reshape(one.shape) for one in sums]
        noise = [one * (mean / (held + mean)).sqrt() for one, held in zip(drawn, sums, strict=True)]
        region.place(noise, self.noise * region.norm / length(noise))
        region.hold()
