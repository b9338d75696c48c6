"""python docs/schemas/write.py: the JSON Schemas of files that other programs write for segfocal, or read of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from segfocal.inference.bundle_facts import BundleFacts
from segfocal.inference.prompted import prompt_entries

FOLDER = Path(__file__).resolve().parent


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each format by the name of its file."""
    return {"bundle.json": BundleFacts.model_json_schema(), "prompts.json": prompt_entries.schema()}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
