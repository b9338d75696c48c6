"""Where the tests find things: the repository and its demo scans."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "data" / "demo"
