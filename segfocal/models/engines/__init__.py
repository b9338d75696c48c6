"""Engines: other programs than torch that run a bundle's network on the CPU, faster and within 1e-3 of its logits.

Start with `engine_choice.py`; then `engine_part.py` for what is run and checked, `kept_programs.py` for what is kept.
"""

from segfocal.models.engines.engine import ENGINES, EngineName, EnginePrecision
from segfocal.models.engines.engine_choice import EngineChoice, engines_of, run_by_engine

__all__ = ["ENGINES", "EngineChoice", "EngineName", "EnginePrecision", "engines_of", "run_by_engine"]
