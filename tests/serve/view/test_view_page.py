"""The page that looks at an evaluation, in a real Chromium: lists, masks and slices; nothing to edit."""

import io

import numpy as np
import pytest

from tests.serve.browser import SIZES, Visitor, chromium
from tests.serve.served import AFFINE, world
from tests.serve.view.judged import judge, masks, viewed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def address(tmp_path):
    with viewed(judge(tmp_path)) as found:
        yield found


def colour_at(person, place):
    """Return red, green and blue of the pixel at which a place of the axial plane is seen."""
    pil = pytest.importorskip("PIL.Image")
    person.rest()
    x, y = person.pixel(place)
    return pil.open(io.BytesIO(person.page.screenshot())).convert("RGB").getpixel((round(x) + 3, round(y) + 3))


def slice_of(person):
    """Return the slice of the file on which the crosshair is."""
    return round((np.linalg.inv(AFFINE) @ [*person.page.evaluate("segfocal.viewer.place"), 1])[2])


def test_the_worst_case_is_first_and_opens_where_it_is_worst(browser, address):
    person = Visitor(browser, address)
    rows = person.page.locator(".scan .name")
    assert rows.all_inner_texts() == ["gone", "bad", "good"]
    facts = person.page.locator(".scan .facts").all_inner_texts()
    assert facts[0] == "No prediction"
    assert facts[2] == "Dice 1.000 · mean of 2"
    person.open("bad")
    dice = person.page.locator("#structures .volume").all_inner_texts()
    reference, prediction = masks()
    for text, value in zip(dice, (1, 5), strict=True):
        one, two = reference == value, prediction == value
        assert text == f"Dice {2 * (one & two).sum() / (one.sum() + two.sum()):.2f}"
    assert slice_of(person) == 2  # of the spleen, the first structure, equally wrong on slices 2 to 5
    assert person.page.locator("#problem-text").inner_text().startswith("1 of 4: 30 mm² differ")
    person.press("2", ".")
    assert person.page.locator("#problem-text").inner_text().startswith("1 of 3: ")
    assert slice_of(person) == int(((reference == 5) ^ (prediction == 5)).sum((0, 1)).argmax())
    assert person.complaints == []
    assert person.foreign == []


def test_prediction_reference_and_difference_are_told_apart(browser, address):
    person = Visitor(browser, address)
    person.open("bad")
    person.page.evaluate("segfocal.setOpacity(1)")
    liver = world(9, 7, 6)  # is missed there
    person.page.evaluate("place => segfocal.viewer.moveToPlace(place)", world(2, 2, 6))
    assert len(set(colour_at(person, liver))) == 1  # grey: nothing is predicted
    person.page.click("#compare [data-shown=reference]")
    red, green, blue = colour_at(person, liver)
    assert green > max(red, blue)  # the second structure
    person.press("x")
    red, green, blue = colour_at(person, liver)
    assert red > 2 * blue
    assert red > 1.5 * green
    assert person.page.locator("#differences li").all_inner_texts() == [
        "in both", "missed", "too much", "another structure",
    ]  # fmt: skip
    person.page.evaluate("place => segfocal.viewer.moveToPlace(place)", world(2, 2, 3))
    assert max(colour_at(person, liver)) - min(colour_at(person, liver)) < 30  # in both
    red, _, blue = colour_at(person, world(22, 15, 3))
    assert blue > red + 50  # too much
    person.press("x")
    assert person.page.locator("#compare [aria-pressed=true]").inner_text() == "Prediction"


def test_there_is_nothing_to_edit(browser, address):
    person = Visitor(browser, address)
    person.open("good")
    for place in ("#tools", "#save", "#carry", "#undo", "#brush-size", "#choose-file"):
        assert person.page.locator(place).is_hidden()
    person.press("b", "p", "c", "Control+z")
    person.page.mouse.click(*person.pixel(world(9, 7, 4)))
    assert [name for name, _ in person.sent] == ["sessions"]
    person.page.keyboard.press("m")
    person.page.wait_for_selector("#scan-title strong:text('gone')")
    person.rest()
    person.page.reload()
    person.page.wait_for_selector("body[data-ready]")
    assert person.page.locator("#scan-title strong").inner_text() == "gone"
    assert person.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_anybody_can_look(browser, address, tmp_path, size, scheme):
    """axe-core finds nothing serious, and nothing is cut off."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    person = Visitor(browser, address, size=size, scheme=scheme)
    found = {"empty": axe.Axe().run(person.page)}
    person.open("bad")
    person.press("x", "x")
    found["difference"] = axe.Axe().run(person.page)
    person.picture(tmp_path / f"{size}_{scheme}.png")
    serious = {
        name: [one["id"] for one in result.response["violations"] if one["impact"] in ("serious", "critical")]
        for name, result in found.items()
    }
    assert serious == {"empty": [], "difference": []}
    wide = "document.documentElement.scrollWidth > innerWidth || document.documentElement.scrollHeight > innerHeight"
    assert not person.page.evaluate(wide)
