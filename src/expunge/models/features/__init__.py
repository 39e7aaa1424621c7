"""Maps from rows to whole numbers, for models that are sums over rows. ``MAPS`` is the one visible table."""

from __future__ import annotations

from expunge.models.features.contract import FeatureMap
from expunge.models.features.cosine import CosineMap
from expunge.models.features.patches import PatchMap
from expunge.models.features.table import TableMap
from expunge.models.features.words import WordMap

MAPS: dict[str, type[FeatureMap]] = {one.name: one for one in (TableMap, CosineMap, PatchMap, WordMap)}
