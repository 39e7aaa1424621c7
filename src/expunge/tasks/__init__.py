"""What makes a model usable by every method and probe: losses, signals, outputs."""

from __future__ import annotations

from expunge.tasks.classification import Classification
from expunge.tasks.linear import Logistic, Squared
from expunge.tasks.regression import Regression
from expunge.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (Classification(), Logistic(), Squared(), Regression())}
