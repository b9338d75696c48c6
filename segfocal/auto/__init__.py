"""From a folder and a number of minutes to a model worth trusting: recipes raced, the winner cross-validated.

Start with `auto.py`; `recipes.py` says what is tried, `time_plan.py` how long, `race.py` which wins.
"""
