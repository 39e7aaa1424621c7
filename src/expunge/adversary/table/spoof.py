"""Attacks by whoever has a model's weights and nothing else: trainings that never were."""

from __future__ import annotations

from pathlib import Path

from expunge.adversary.table.attempt import Make
from expunge.adversary.table.scene import Scene
from expunge.adversary.table.story import Handed


def spoofed(name: str) -> Make:
    """8, 9, 10: a made-up training with the weights of a real one at its end, under a key that the auditor trusts."""

    def make(scene: Scene, out: Path) -> Handed:
        made = scene.spoof(name)
        assert made.bundle is not None
        assert made.trusted is not None
        return Handed(bundle=made.bundle, keys=made.trusted, data=scene.plain.data)

    return make
