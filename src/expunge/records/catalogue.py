"""What code without torch must know of a method, a task or a model: one row each, held to the classes by a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from expunge.core.values import Certified, Exact


class Execution(Enum):
    """How a run came about: by the schedule's steps, by steps of the method's own, or by solving for its weights."""

    SCHEDULE = "schedule"
    OWN_STEPS = "own-steps"
    SOLVE = "solve"


@dataclass(frozen=True)
class MethodRow:
    """An algorithm that is built in and can earn more than passed tests: its highest guarantee, its fields."""

    name: str
    ceiling: type[Exact] | type[Certified]
    fields: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TaskRow:
    """A task; a linear one has one minimum under a linear model, of one of ``numbers`` labels are no classes."""

    name: str
    linear: bool = False
    numbers: bool = False


METHOD_ROWS = (
    MethodRow("train", Exact),
    MethodRow("retrain", Exact, frozenset({"training_seed"})),
    MethodRow("exact-replay", Exact),
    MethodRow("certified-logistic", Certified, frozenset({"bound", "decay", "delta", "epsilon", "steps"})),
)
TASK_ROWS = (
    TaskRow("classification"),
    TaskRow("logistic", linear=True),
    TaskRow("squared", linear=True),
    TaskRow("regression", numbers=True),
)

ROWS: Mapping[str, MethodRow] = {row.name: row for row in METHOD_ROWS}
EXACT_FIELDS: Mapping[str, frozenset[str]] = {row.name: row.fields for row in METHOD_ROWS if row.ceiling is Exact}
EXACT_METHODS = frozenset(EXACT_FIELDS)
CERTIFIED_METHODS = frozenset(row.name for row in METHOD_ROWS if row.ceiling is Certified)
TASK_NAMES = tuple(row.name for row in TASK_ROWS)
ACCUMULATED_MODELS = ("ridge", "patch-ridge", "naive-bayes", "forest")  # functions of sums over rows, without steps
MODEL_NAMES = ("mlp", "cnn", "resnet18", "linear", *ACCUMULATED_MODELS)
LINEAR_TASKS = tuple(row.name for row in TASK_ROWS if row.linear)
NUMBER_TASKS = tuple(row.name for row in TASK_ROWS if row.numbers)


def execution_of(algorithm: str, *, foreign: bool, accumulated: bool = False) -> Execution:
    """How a method of this name works; one with sources of its own (``foreign``) takes steps that nobody else knows.

    ``accumulated`` says that the recipe's model is a function of sums. Records of the first form name no execution:
    this is what they are read as.
    """
    if algorithm not in EXACT_METHODS or foreign:
        return Execution.OWN_STEPS
    return Execution.SOLVE if accumulated else Execution.SCHEDULE
