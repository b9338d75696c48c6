"""Tasks: what a batch means to a model, and how its loss comes about."""

from segfocal.tasks.promptable import Promptable
from segfocal.tasks.protocol import Task
from segfocal.tasks.semantic import Semantic

__all__ = ["Promptable", "Semantic", "Task"]
