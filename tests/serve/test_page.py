"""The page: what it is made of, and a person's way through it in a real Chromium."""

import gzip
import hashlib
import json
import re

import numpy as np
import pytest

from segfocal.io import nifti
from tests import ROOT
from tests.scans import affine_of, make_scan
from tests.serve.browser import SIZES, Visitor, chromium, served
from tests.serve.served import AFFINE, LIVER, SPLEEN, make_scans, wedge, world
from tests.serve.test_session import predicted

PAGE = ROOT / "segfocal" / "serve" / "page"
BUILD = ROOT / "scripts" / "niivue"
OWN = sorted(path for path in PAGE.iterdir() if path.is_file())
MOST_BYTES = 1_200_000


def test_the_bundle_is_the_one_that_was_built():
    sums = dict(line.split("  ")[::-1] for line in (PAGE / "vendor" / "SHA256SUMS").read_text().splitlines())
    found = {name: hashlib.sha256((PAGE / "vendor" / name).read_bytes()).hexdigest() for name in sums}
    assert found == sums
    assert set(sums) == {"niivue.js", "LICENCES.txt"}


def test_the_lock_file_says_what_was_bundled_and_names_no_registry():
    lock = json.loads((BUILD / "package-lock.json").read_text())
    wanted = json.loads((BUILD / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
        assert f"{name} {version} (BSD-2-Clause)" in (PAGE / "vendor" / "LICENCES.txt").read_text()
    assert not [name for name, one in lock["packages"].items() if "resolved" in one]
    assert all("integrity" in one for name, one in lock["packages"].items() if name)


def test_the_page_is_light():
    sent = [path for path in PAGE.rglob("*") if path.suffix in {".html", ".css", ".js", ".svg"}]
    assert sum(len(gzip.compress(path.read_bytes())) for path in sent) < MOST_BYTES


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_a_file_of_the_page_asks_no_other_host(path):
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`]*", path.read_text()))
    assert addresses <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", [path for path in OWN if path.suffix == ".js"], ids=lambda path: path.name)
def test_names_reach_the_page_as_text_alone(path):
    risky = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    assert not re.search(risky, path.read_text())


def test_the_page_holds_no_script_or_style_in_its_text():
    html = (PAGE / "index.html").read_text()
    assert re.findall(r"<script[^>]*>(.*?)</script>", html, re.S) == [""]
    assert not re.search(r"<style|\sstyle=|\son\w+=", html)
    icons = set(re.findall(r'href="#(icon-[\w-]+)"', html))
    assert icons <= set(re.findall(r'symbol id="(icon-[\w-]+)"', html))


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def address(tmp_path):
    make_scans(tmp_path, "one", "<i onclick=alert(1)>two")
    with served(tmp_path) as found:
        yield found


INSIDE, OUTSIDE = world(6, 8, 3), world(1, 18, 3)


@pytest.mark.slow
def test_open_box_points_scribble_undo_carry_save(browser, address, tmp_path):
    """The saved mask is that of `predict prompts=` of the saved prompts, and nothing was asked of another host."""
    person = Visitor(browser, address)
    person.open("one")
    person.press("ArrowDown")  # from the middle slice, 4, to 3
    person.press("b")
    person.draw(world(2, 1, 3), world(17, 14, 3))
    person.press("p")
    person.click(LIVER)
    person.click(INSIDE)
    person.press("2", "ArrowUp", "s")
    person.draw(world(19, 14, 4), SPLEEN, world(20.6, 16, 4))
    person.press("n")
    person.click(world(12, 18, 4))
    person.press("Control+z")
    person.press("c")
    person.press("Control+s")
    person.page.wait_for_selector("#saved-dialog[open]")
    file = tmp_path / "corrected" / "prompts" / "one.json"
    saved = nifti.read(tmp_path / "corrected" / "labels" / "one.nii.gz")
    assert np.array_equal(saved.array, predicted(file))
    assert {int(value) for value in np.unique(saved.array)} == {0, 1, 5}
    assert np.allclose(saved.grid.affine, AFFINE, atol=1e-4)
    assert (saved.array == 5).any((0, 1)).sum() == 7  # carried: the wedge runs from slice 1 to 7
    assert person.foreign == []
    assert person.complaints == []
    kinds = [body.get("kind") for name, body in person.sent if name == "prompts"]
    assert kinds == ["box", "point", "point", "scribble", "point"]


@pytest.mark.slow
def test_brush_and_eraser_change_the_mask_where_they_pass(browser, address, tmp_path):
    """What is seen while painting gives way to the server's answer; undo takes a stroke back."""
    person = Visitor(browser, address)
    person.open("one")
    person.press("2", "d")
    person.page.evaluate("segfocal.setBrush(3)")
    person.draw(world(3, 15, 4), world(8, 15, 4))
    painted = person.page.evaluate("segfocal.labels.counts[1][4]")
    assert painted > 5
    person.press("e")
    person.draw(world(3, 15, 4), world(3, 16, 4))
    erased = person.page.evaluate("segfocal.labels.counts[1][4]")
    assert 0 < erased < painted
    person.press("Control+z")
    assert person.page.evaluate("segfocal.labels.counts[1][4]") == painted
    person.press("Control+s")
    person.page.wait_for_selector("#saved-dialog[open]")
    saved = nifti.read(tmp_path / "corrected" / "labels" / "one.nii.gz").array
    assert (saved == 1).sum() == painted
    assert saved[5, 15, 4] == 1
    assert person.complaints == []


@pytest.mark.slow
def test_slices_to_look_at_are_gone_to_the_largest_difference_first(browser, tmp_path):
    """The label wants the liver on slices 1 to 7; the clicks answer 2 and 5: two are empty in between, six differ."""
    make_scan(tmp_path / "scans" / "images" / "one.nii.gz", wedge(), AFFINE)
    label = np.where(wedge() > 0, 5, 0).astype(np.uint8)
    label[18:22] = 0
    make_scan(tmp_path / "scans" / "labels" / "one.nii.gz", label, AFFINE)
    with served(tmp_path) as address:
        person = Visitor(browser, address)
        person.open("one")
        person.press("p")
        for slice_ in (5, 2):
            person.page.evaluate("place => segfocal.viewer.moveToPlace(place)", world(9, 7, slice_))
            person.click(world(9, 7, slice_))
        pixels = (label == 5).sum((0, 1))
        assert pixels.tolist() == [0, 99, 90, 100, 90, 90, 88, 88, 0]

        def says(text):
            person.page.wait_for_selector(f'#problem-text:text("{text}")')  # asked of the server after each change

        says("7 slices. Press . for the first.")

        def slice_seen():
            x, y, z = person.page.evaluate("segfocal.viewer.place")
            return round((np.linalg.inv(AFFINE) @ [x, y, z, 1])[2])

        for expected in (3, 4, 3, 1, 4, 6, 7):
            person.page.click("#problem-on")
            for _ in range(200):  # until the server has said which slice
                if slice_seen() != expected:
                    person.page.wait_for_timeout(50)
            assert slice_seen() == expected
        says("7 of 7: 528 mm² differ, Dice 0.00")
        person.page.click("#problem-on")
        says("1 of 7: empty between marked slices.")
        person.page.click("#problem-back")
        says("7 of 7")
        person.press(",")
        says("6 of 7: 528 mm²")
        assert person.complaints == []


@pytest.mark.slow
def test_a_click_sends_the_world_place_that_is_seen_there(browser, address):
    """The scan's axes run to left, posterior, superior, and are turned; a pixel is 0.5 mm or less."""
    person = Visitor(browser, address)
    person.open("one")
    person.press("ArrowDown", "p")
    person.click(LIVER)
    person.press("n")
    person.click(OUTSIDE)
    sent = [body for name, body in person.sent if name == "prompts"]
    assert [body["positive"] for body in sent] == [True, False]
    for body, place in zip(sent, [LIVER, OUTSIDE], strict=True):
        assert np.allclose(body["world_mm"], [place], atol=0.5)


@pytest.mark.slow
def test_the_picture_shows_the_voxels_where_the_world_has_them(browser, address):
    """Bright voxels of the file are bright on the screen at their own places in all three planes, others are dark."""
    pil = pytest.importorskip("PIL.Image")
    import io

    person = Visitor(browser, address)
    person.open("one")
    array = wedge()
    rng = np.random.default_rng(3)
    for plane, axis in {"axial": 2, "coronal": 1, "sagittal": 0}.items():
        person.page.evaluate("place => segfocal.viewer.moveToPlace(place)", world(10, 8, 4))
        person.rest()
        shot = pil.open(io.BytesIO(person.page.screenshot())).convert("L")
        seen, true = [], []
        for _ in range(60):
            voxel = [int(rng.integers(1, size - 1)) for size in array.shape]
            voxel[axis] = (10, 8, 4)[axis]
            near = tuple(slice(max(0, one - 1), one + 2) for one in voxel)
            if len(np.unique(array[near])) > 1:  # a border, which is drawn smoothly
                continue
            x, y = person.pixel(world(*voxel), plane)
            if min(abs(x - one) + abs(y - other) for one, other in [person.pixel(world(10, 8, 4), plane)]) < 6:
                continue
            seen.append(shot.getpixel((round(x) + 2, round(y) + 2)) > 90)
            true.append(bool(array[tuple(voxel)]))
        assert len(true) > 10
        assert 0 < sum(true) < len(true)
        assert seen == true


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "axes"), [("int16", "SAR"), ("uint8", "LPS"), ("uint16", "RAS"), ("float32", "PIR")])
def test_colours_made_here_are_those_of_the_shader(browser, tmp_path, kind, axes):
    """Chromium draws in software: the page colours voxels itself; NiiVue's own pass shows the same."""
    pil = pytest.importorskip("PIL.Image")
    import io

    voxels = np.random.default_rng(0).normal(60, 40, (24, 20, 9)).clip(0, 250)
    affine = affine_of(spacing_mm=(2.0, 3.0, 4.0), axes=axes)
    make_scan(tmp_path / "scans" / "noise.nii.gz", voxels.astype(kind), affine)
    shots = []
    with served(tmp_path) as address:
        person = Visitor(browser, address)
        person.open("noise")
        assert person.page.evaluate("segfocal.viewer.inSoftware")
        for here in ("true", "false"):
            person.page.evaluate(f"segfocal.viewer.inSoftware = {here}; segfocal.viewer.setWindow(20.5, 180.25)")
            person.rest()
            shot = person.page.locator("#stage").screenshot()
            shots.append(np.asarray(pil.open(io.BytesIO(shot)).convert("L"), dtype=int))
        assert person.complaints == []
    assert shots[0].std() > 30
    differs = np.abs(shots[0] - shots[1])
    assert differs.max() <= 8  # 3-D adds up many voxels, each within a level
    assert (differs > 2).mean() < 1e-3


@pytest.mark.slow
def test_a_reload_shows_every_prompt_again_and_names_are_text(browser, address):
    person = Visitor(browser, address)
    person.open("onclick")
    person.press("p")
    person.click(world(9, 7, 4))
    person.page.reload()
    person.page.wait_for_selector("body[data-ready]")
    person.rest()
    assert person.page.evaluate("segfocal.markers.prompts.map(({kind}) => kind)") == ["point"]
    assert person.page.locator(".scan[aria-current] .name").inner_text() == "<i onclick=alert(1)>two.nii.gz"
    assert person.page.evaluate("segfocal.labels.counts[0].reduce((one, other) => one + other)") > 0
    assert person.page.locator("#scans i, #scan-title i").count() == 0


@pytest.mark.slow
def test_what_goes_wrong_is_one_line_and_the_page_goes_on(browser, address, tmp_path):
    person = Visitor(browser, address)
    person.open("one")
    person.press("p")
    make_scan(tmp_path / "scans" / "one.nii.gz", wedge()[:, :, :5], AFFINE)  # the scan is another one now
    person.click(world(9, 7, 4))
    said = person.page.locator("#alert span").inner_text()
    assert said
    assert "\n" not in said
    person.page.click("#alert button")
    assert person.page.locator("#alert").is_hidden()
    person.open("onclick")
    person.click(world(9, 7, 4))
    assert person.page.evaluate("segfocal.session.facts.prompts") == 1


@pytest.mark.slow
def test_a_dropped_file_is_opened(browser, tmp_path):
    (tmp_path / "scans").mkdir()
    make_scan(tmp_path / "elsewhere" / "dropped.nii.gz", wedge(), AFFINE)
    with served(tmp_path, inputs=None) as address:
        person = Visitor(browser, address)
        assert "drop one here" in person.page.locator("#no-scans").inner_text()
        person.page.set_input_files("input[type=file]", tmp_path / "elsewhere" / "dropped.nii.gz")
        person.page.wait_for_selector("#empty", state="hidden")
        assert person.page.locator("#scan-title strong").inner_text() == "dropped.nii.gz"
        assert person.foreign == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_anybody_can_use_it(browser, address, tmp_path, size, scheme):
    """axe-core finds nothing serious: names, focus, contrast; and nothing is cut off."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    person = Visitor(browser, address, size=size, scheme=scheme)
    found = {"empty": axe.Axe().run(person.page)}
    person.open("one")
    person.press("b")
    person.draw(world(2, 1, 4), world(17, 14, 4))
    found["open"] = axe.Axe().run(person.page)
    person.picture(tmp_path / f"{size}_{scheme}.png")
    person.page.keyboard.press("?")
    found["help"] = axe.Axe().run(person.page)
    serious = {
        name: [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in result.response["violations"]
               if one["impact"] in ("serious", "critical")]
        for name, result in found.items()
    }  # fmt: skip
    assert serious == {"empty": [], "open": [], "help": []}
    wide = "document.documentElement.scrollWidth > innerWidth || document.documentElement.scrollHeight > innerHeight"
    assert not person.page.evaluate(wide)
