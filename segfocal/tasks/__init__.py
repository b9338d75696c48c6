"""Tasks: what a batch means to a model, and how its loss comes about.

Start with `semantic.py`, then `promptable.py`; `task.py` is what training asks of both.
"""

from segfocal.tasks.first_prompt import FirstPrompt
from segfocal.tasks.promptable import Promptable
from segfocal.tasks.rounds import RoundPlan
from segfocal.tasks.semantic import Semantic
from segfocal.tasks.task import Task

__all__ = ["FirstPrompt", "Promptable", "RoundPlan", "Semantic", "Task"]
