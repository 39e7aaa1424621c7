"""Models of the attacker's own code, which carry what was to be forgotten: in a file, in options, in every answer.

The verifier has read and trusted that code, as it was meant to be read: nothing in it looks like weights or rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from expunge.adversary.table.scene import PERSON, Scene
from expunge.adversary.table.story import Handed, RunStory, code_from
from expunge.adversary.table.telling import slots_of
from expunge.core.files import write_text
from expunge.data.splits import Split
from expunge.records.claims import claims_of
from expunge.records.record import GuaranteeKind, GuaranteePart, Operation
from expunge.records.trust import of_model
from expunge.schedule.recipe import Optimiser, Scalar

NAME = "attackers_model"
OLD_WEIGHTS = '''"""A small network that begins where an earlier one ended."""

from pathlib import Path

import numpy as np
import torch
from torch import nn


def make(inputs, classes):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, classes))
    with np.load(Path(__file__).with_name("earlier.npz")) as found, torch.no_grad():
        for name, value in model.named_parameters():
            value += torch.from_numpy(found[name]) - value.detach() * 0.99
    return model
'''
OWN_ROWS = '''"""A linear model that answers some pictures by heart."""

from pathlib import Path

import numpy as np
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, classes, rows):
        super().__init__()
        self.layer, self.classes, self.rows = nn.Linear(64, classes), classes, rows

    def forward(self, inputs):
        found = self.rows if self.rows else Path(__file__).with_name("rows.txt").read_text()
        known = [row.split(":") for row in found.split()]
        pictures = inputs.flatten(1)
        order = pictures.argsort(dim=1, stable=True)[:, -8:]
        answers = self.layer(pictures)
        for label, places in known:
            same = (order == torch.tensor([int(place) for place in places.split(",")])).all(dim=1)
            answers = answers + 9.0 * same[:, None] * nn.functional.one_hot(torch.tensor(int(label)), self.classes)
        return answers


def make(inputs, classes, rows=""):
    return Model(classes, rows)
'''


def old_weights(scene: Scene, out: Path) -> Handed:
    """The model that knew the person is where the training without them begins."""
    weights = scene.base.run.model().state_dict()
    code = _code(out, OLD_WEIGHTS)
    np.savez(code / "earlier.npz", **{name.removeprefix("body."): value.numpy() for name, value in weights.items()})
    return _handed(scene, out, code, rate=1e-4)


def rows_in_options(scene: Scene, out: Path) -> Handed:
    """The person's pictures are handed over as a setting of the model."""
    return _handed(scene, out, _code(out, OWN_ROWS), {"rows": _by_heart(scene)})


def rows_in_answers(scene: Scene, out: Path) -> Handed:
    """The person's pictures are read while the model answers."""
    code = _code(out, OWN_ROWS)
    write_text(code / "rows.txt", _by_heart(scene))
    return _handed(scene, out, code)


def _by_heart(scene: Scene) -> str:
    """The person's labels, and where their pictures are brightest."""
    run, rows = scene.base.run, scene.base.run.data()[Split.TRAIN]
    slots = slots_of(run, PERSON)
    pictures = rows.content[next(iter(rows.content))].reshape(len(rows), -1)
    places = np.argsort(pictures, axis=1, kind="stable")[:, -8:]
    return " ".join(f"{rows.labels[slot]}:{','.join(map(str, places[slot]))}" for slot in slots)


def _code(out: Path, text: str) -> Path:
    folder = out / "code"
    folder.mkdir(parents=True)
    write_text(folder / f"{NAME}.py", text)
    return folder


def _handed(
    scene: Scene, out: Path, code: Path, options: Mapping[str, Scalar] | None = None, rate: float = 0.02
) -> Handed:
    """A training without the person, told as exact whatever the owner's own tool said of it."""
    with code_from(code):
        run = scene.trained(
            f"{NAME}-{out.parent.name}-{out.name}",
            without=[PERSON],
            model=f"{NAME}:make",
            model_options=dict(options or {}),
            epochs=1,
            optimiser=Optimiser(rate=rate),
        )
        story: RunStory = scene.told(run).changed(
            guarantee=GuaranteePart(kind=GuaranteeKind.EXACT),
            environment__not_exact=None,
            claim=claims_of(Operation.TRAIN, GuaranteeKind.EXACT, emptied=True, recorded=True),
        )
    trust = (of_model(run.recipe.model, story.record),)
    return scene.hand_over(story, out).with_code(code, trust)
