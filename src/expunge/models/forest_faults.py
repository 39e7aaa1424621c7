"""What an auditor without rows sees in a forest: whether it follows from its own counts, and who sits in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from expunge.models.features.edges import MOST_EDGES
from expunge.models.forest import PLACES, Forest, Grower
from expunge.models.splits import CANDIDATES, SILENT, best, chosen


def fault(arrays: Mapping[str, np.ndarray], present: np.ndarray, grower: Grower) -> str | None:
    """Why these arrays are no forest of the slots ``present``, or None; the ``grower`` needs to have no rows.

    That its counts are those of the rows is not seen here.
    """
    return next(_misshapen(arrays, len(present), grower), None) or next(
        _faults(Forest.of(arrays), present, grower), None
    )


def _misshapen(arrays: Mapping[str, np.ndarray], slots: int, grower: Grower) -> Iterator[str]:
    """So that whatever follows finds numbers that it can count with."""
    shapes = {name: np.shape(values) for name, values in arrays.items()}
    nodes, asking = ((shapes.get(name) or (0,))[:1] for name in ("tree", "sides"))
    needed = {
        "tree": nodes,
        "path": nodes,
        "counts": (*nodes, grower.classes),
        "split": (*nodes, 3),
        "sides": (*asking, CANDIDATES, grower.classes),
        "salts": (grower.trees,),
        "edges": (len(grower.edges), MOST_EDGES),
        "seats": (grower.trees, slots),
    }
    if shapes != needed:
        yield f"it has arrays of shapes {shapes}, those of the recipe and the rows are {needed}"
    if any(values.dtype != (np.float64 if name == "edges" else np.int64) for name, values in arrays.items()):
        yield "its arrays are not whole numbers of 64 bits, and edges reals of 64 bits"
    bounds = {
        "tree": (0, grower.trees - 1),
        "path": (1, PLACES - 1),
        "counts": (0, slots),
        "split": (SILENT, 2**31),
        "sides": (0, slots),
        "seats": (-1, PLACES - 1),
    }
    for name, (least, most) in bounds.items():
        if ((arrays[name] < least) | (arrays[name] > most)).any():
            yield f"{name} holds numbers that are not from {least} to {most}"
    if (arrays["split"][:, 0] != SILENT).sum() != len(arrays["sides"]):
        yield "its sides are not of the nodes that ask"
    if (np.diff(arrays["tree"] * PLACES + arrays["path"]) <= 0).any():
        yield "its nodes are not in the order of tree and path"


def _faults(forest: Forest, present: np.ndarray, grower: Grower) -> Iterator[str]:
    nodes, seats, divided = forest.nodes, forest.seats, forest.nodes.divided
    if not (np.array_equal(forest.salts, grower.salts) and np.array_equal(forest.edges, grower.edges)):
        yield "its salts are not the stream's, or its edges not those of the constants"
    if not np.array_equal(nodes.asks, grower.asks(nodes.path, nodes.counts)):
        yield "a node asks that may not, or asks nothing although it may"
    below = nodes.at[nodes.tree[divided, None], 2 * nodes.path[divided, None] + np.arange(2)]
    alone = len(nodes.tree) != grower.trees + below.size or (nodes.at[:, 1] < 0).any()
    if alone or len(nodes.at) != grower.trees or (below < 0).any():
        yield "its nodes are not a root for each tree and two for each node that is divided"
    counts = nodes.counts[nodes.asks]
    if (nodes.sides > counts[:, None]).any():
        yield "a candidate is said yes to by more rows than its node has"
    offered = grower.questions.candidates(grower.seed, nodes.tree[nodes.asks], nodes.path[nodes.asks])
    split = nodes.split[nodes.asks]
    if not np.array_equal(split[:, 0], best(counts, nodes.sides)):
        yield "a split is not the best of its counts"
    if not np.array_equal(split, chosen(counts, nodes.sides, offered)) or (nodes.split[~nodes.asks] != SILENT).any():
        yield "a split is not the candidate that the stream offers"
    yes = nodes.sides[split[:, 0] >= 0, split[split[:, 0] >= 0, 0]]
    if not np.array_equal(nodes.counts[below], np.stack([nodes.counts[divided] - yes, yes], axis=1)):
        yield "counts of two nodes do not add up to those of the node above them"
    roots = nodes.counts[nodes.path == 1]
    if (roots != roots[0]).any() or roots[0].sum() != present.sum():
        yield "the counts of a tree are not as many as the rows present"
    if (seats[:, ~present] >= 0).any():
        yield "a leaf seats a row that is not present"
    seated = nodes.at[np.arange(grower.trees)[:, None], seats[:, present]]
    if (seats[:, present] < 0).any() or (seated < 0).any() or divided[seated].any():
        yield "a row that is present has no seat at a leaf"
    if not np.array_equal(np.bincount(seated.ravel(), minlength=len(divided)), nodes.counts.sum(axis=1) * ~divided):
        yield "the counts of a leaf are not as many as it seats"
