"""Draws docs/pictures/badge_*.svg, the badges of README, from pyproject.toml, so that they are true without a network.

python docs/pictures/badges.py
"""

import re
from pathlib import Path

PLACE = Path(__file__).parent
PROJECT = (PLACE.parents[1] / "pyproject.toml").read_text()
LETTER, GAP, HEIGHT = 6.6, 10, 20  # of 11 px DejaVu Sans, on the safe side


def badges():
    """Return what is on each badge: its file, the name and the value."""
    python = re.search(r'^requires-python = "(.+)"$', PROJECT, re.MULTILINE)[1].replace(">=", "≥ ")
    licence = re.search(r'^license = "(.+)"$', PROJECT, re.MULTILINE)[1]
    typed = "py.typed" if '"Typing :: Typed"' in PROJECT else "none"
    return {
        "badge_python.svg": ("Python", python),
        "badge_licence.svg": ("licence", licence),
        "badge_types.svg": ("types", typed),
    }


def drawn(name, value):
    """Return a badge as SVG: the name on grey, the value on blue."""
    left, right = (round(len(text) * LETTER + GAP) for text in (name, value))
    text = 'font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" fill="#fff" text-anchor="middle"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{HEIGHT}" role="img" '
        f'aria-label="{name}: {value}">\n'
        f'<rect width="{left + right}" height="{HEIGHT}" rx="3" fill="#1d5fa8"/>\n'
        f'<path d="M3 0h{left - 3}v{HEIGHT}H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#4a4f57"/>\n'
        f'<g {text}><text x="{left / 2}" y="14">{name}</text><text x="{left + right / 2}" y="14">{value}</text></g>\n'
        "</svg>\n"
    )


if __name__ == "__main__":
    for file, (name, value) in badges().items():
        (PLACE / file).write_text(drawn(name, value), encoding="utf-8")
