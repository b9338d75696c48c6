"""Every number of the README's results is that of the file its row names; the demo's stand in docs/results.md."""

import json
import re
import runpy
from statistics import fmean

import pytest

from tests import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PAGE = (ROOT / "README.md").read_text()
NUMBER = re.compile(r"\d+(?:\.\d+)?")
SECTION = PAGE.partition("\n## Results\n")[2].partition("\n## ")[0]
COLUMNS, _, *ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*", SECTION, re.M)
]
FOCAL_DICE = ("jobs", "20 focal + Dice")
MS = ("forward_backward", "median")
CONTENDERS = {"segfocal": ("ours", "ours, torch"), "MONAI": ("monai", "loop")}
# Where the numbers of each row are, in their order: what of the file, and what it is multiplied by.
FIGURES = {
    "Dice after": {
        "segfocal": [("arms", "ours", "mean")],
        "nnU-Net": [("arms", "nnunet_3d_fullres", "mean"), ("arms", "nnunet_2d", "mean")],
        "MONAI": [("arms", "monai", "mean")],
    },
    "A mask of": {column: [("rows", name, "median") for name in names] for column, names in CONTENDERS.items()},
    "Memory for": {column: [("rows", name, "beyond_gib", 0) for name in names] for column, names in CONTENDERS.items()},
    "Focal + Dice": {
        "segfocal": [(*FOCAL_DICE, f"ours {how}", *MS) for how in ("eager", "compiled")],
        "MONAI": [(*FOCAL_DICE, f"MONAI 1.6.1 DiceFocalLoss{how}", *MS) for how in ("", ", compiled")],
        "SAM-Med2D": [(*FOCAL_DICE, f"SAM-Med2D's formula{how}", *MS) for how in ("", ", compiled")],
    },
    "Focal loss": {
        column: [("rows", name, kind, "failed") for kind in ("float32", "float16")]
        for column, name in {"segfocal": "ours", "MONAI": "MONAI", "SAM-Med2D": "SAM-Med2D"}.items()
    },
}
TIMES = {"Focal + Dice": 1000}  # ms of seconds


def value_at(path, places):
    value = json.loads(path.read_text())
    for place in places:
        value = value[place]
    return value


def named(row):
    return next(beginning for beginning in FIGURES if row[0].startswith(beginning))


def test_the_table_has_five_rows_and_columns_for_all():
    assert COLUMNS == ["", "segfocal", "nnU-Net", "MONAI", "SAM-Med2D", "file"]
    assert [named(row) for row in ROWS] == list(FIGURES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_number_of_a_row_is_the_files(row):
    shown, target = re.fullmatch(r"\[`(.*)`\]\((.*)\)", row[-1]).groups()
    file = ROOT / target
    assert file.parent == RESULTS
    assert file.name == shown
    for column, cell in zip(COLUMNS[1:-1], row[1:-1], strict=True):
        places = FIGURES[named(row)].get(column, [])
        numbers = NUMBER.findall(cell.replace("2-D", ""))
        values = [value_at(file, place) * TIMES.get(named(row), 1) for place in places]
        assert [f"{v:.{len(n.partition('.')[2])}f}" for n, v in zip(numbers, values, strict=True)] == numbers, column
        assert bool(numbers) == (cell != "–")


def test_what_was_measured_is_said_as_it_was():
    """Words of the rows and of the text below: seconds of training, slices, threads, cases, all finite."""
    first, mask, _, _, safety = ROWS
    trained = json.loads((RESULTS / "leave_one_out_cpu_aorta_300s.json").read_text())
    assert f"after {trained['seconds']:.0f} s" in first[0]
    assert trained["threads"] == 2
    assert "two CPU threads" in SECTION
    assert trained["arms"]["ours"]["folds"] == 3
    work = json.loads((RESULTS / "inference_cpu_unet_300x512_1.json").read_text())["work"]
    assert re.match(r"300 slices .* unet, 1 classes", work)
    assert "300 slices" in mask[0]
    judged = json.loads((RESULTS / "rivals_safety.json").read_text())["rows"]
    assert {one[kind]["cases"] for one in judged.values() for kind in ("float32", "float16")} == {240}
    assert "240 cases" in safety[0]
    assert judged["MONAI"]["float32"]["non-finite"] == judged["MONAI"]["float16"]["non-finite"] == 0
    assert "MONAI's are all finite" in " ".join(SECTION.split())


def test_the_demos_numbers_are_those_of_the_results():
    page = (ROOT / "docs" / "results.md").read_text().partition("## Liver, the default experiment")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\| \d .*", page, flags=re.M)[:3]
    ]
    assert re.findall(r"liver Dice, (?:no prompt|box): ([\d.]+)", PAGE) == [rows[0][1], rows[0][3]]
    took = re.search(r"(\d+), (\d+) and (\d+) s on two CPU threads", " ".join(PAGE.split())).groups()
    assert list(took) == [row[5] for row in rows]
    assert "on two threads" in page[:2000]


def test_the_clicks_of_the_readme_are_those_of_three_seeds():
    rows = json.loads((RESULTS / "prompt_unet_half_cpu.json").read_text())["rows"]
    mean = {(r["structure"], r["prompt"]): fmean(r["values"]) for r in rows if r["protocol"] == "slices"}
    asked = [(one, clicks) for one in ("liver", "spleen", "aorta", "stomach", "mean of others") for clicks in "15"]
    told = " ".join(PAGE.partition("`prompt_unet`, trained on one CT")[2].partition("More in")[0].split())
    assert re.findall(r"0\.\d{3}", told) == [f"{mean[one]:.3f}" for one in asked]


def test_the_badges_say_what_the_project_says():
    place = ROOT / "docs" / "pictures"
    made = runpy.run_path(str(place / "badges.py"))
    for file, (name, value) in made["badges"]().items():
        assert f"docs/pictures/{file}" in PAGE
        assert (place / file).read_text() == made["drawn"](name, value)
