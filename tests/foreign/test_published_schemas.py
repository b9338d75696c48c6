"""The JSON Schemas in docs/schemas are those that the reader goes by."""

import json
import runpy

import pytest

from tests import ROOT

FOLDER = ROOT / "docs" / "schemas"
WRITTEN = runpy.run_path(str(FOLDER / "write.py"))["schemas"]()


@pytest.mark.parametrize("name", WRITTEN)
def test_a_published_schema_is_up_to_date(name):
    assert json.loads((FOLDER / name).read_text()) == WRITTEN[name], "run python docs/schemas/write.py"


def test_every_published_schema_is_written_by_the_script():
    assert {path.name for path in FOLDER.glob("*.json")} == set(WRITTEN)
