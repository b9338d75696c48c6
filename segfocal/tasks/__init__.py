"""Tasks: how a model and a loss are trained on a batch.

Start with `semantic.py`, then `promptable.py`; `task.py` is the interface of both.
"""

from segfocal.tasks.first_prompt import FirstPrompt
from segfocal.tasks.promptable import Promptable
from segfocal.tasks.rounds import RoundPlan
from segfocal.tasks.semantic import Semantic
from segfocal.tasks.task import Task

__all__ = ["FirstPrompt", "Promptable", "RoundPlan", "Semantic", "Task"]
