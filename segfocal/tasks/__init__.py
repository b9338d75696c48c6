"""Tasks: what a batch means to a model, and how its loss comes about."""

from segfocal.tasks.first import FirstPrompt
from segfocal.tasks.promptable import Promptable
from segfocal.tasks.protocol import Task
from segfocal.tasks.rounds import RoundPlan
from segfocal.tasks.semantic import Semantic

__all__ = ["FirstPrompt", "Promptable", "RoundPlan", "Semantic", "Task"]
