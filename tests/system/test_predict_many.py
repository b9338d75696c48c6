"""Many scans at once: each gets its mask, bad ones are told and stop nothing, a repeated command does what is left."""

import hashlib
import json
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest

from segfocal.resample import ModelGrid
from tests.random_bundle import image, make_bundle
from tests.scans import AFFINES, make_scan
from tests.system.commands import segfocal


@pytest.fixture
def scans(tmp_path):
    for number, affine in enumerate(AFFINES.values()):
        make_scan(tmp_path / "scans" / f"p{number}" / "ct.nii.gz", image(number), affine)
    return tmp_path / "scans"


def states(folder):
    entries = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    return [(entry["name"], entry["state"]) for entry in entries]


def voxels(path):
    return np.asanyarray(nib.load(path).dataobj)


def test_each_scan_gets_the_mask_it_would_get_alone(random_bundle, scans, tmp_path, monkeypatch):
    assert (
        segfocal(monkeypatch, "predict", f"bundle={random_bundle}", f"input={scans}", f"output={tmp_path}/masks") == 0
    )
    for scan in sorted(scans.rglob("*.nii.gz")):
        alone = tmp_path / "alone" / scan.relative_to(scans)
        assert segfocal(monkeypatch, "predict", f"bundle={random_bundle}", f"input={scan}", f"output={alone}") == 0
        mask = tmp_path / "masks" / scan.relative_to(scans)
        assert mask.read_bytes() == alone.read_bytes()
        assert mask.with_name("ct.json").is_file()
    assert not list(tmp_path.rglob("*.scratch"))


def test_a_bad_scan_stops_nothing_and_is_explained(random_bundle, scans, tmp_path, monkeypatch, capsys):
    (scans / "broken.nii.gz").write_bytes(b"not a scan")
    assert (
        segfocal(monkeypatch, "predict", f"bundle={random_bundle}", f"input={scans}", f"output={tmp_path}/masks") == 0
    )
    out = capsys.readouterr().out
    assert "expected a whole NIfTI file" in out
    assert "3 done, 0 kept, 1 failed" in out
    assert ("broken.nii.gz", "failed") in states(tmp_path / "masks")


@pytest.mark.parametrize("more", [[], ["retry=false"]])
def test_it_fails_where_not_one_scan_has_a_mask(random_bundle, tmp_path, monkeypatch, capsys, more):
    for name in ("a", "b"):
        (tmp_path / "scans").mkdir(exist_ok=True)
        (tmp_path / "scans" / f"{name}.nii.gz").write_bytes(b"not a scan")
    command = ["predict", f"bundle={random_bundle}", f"input={tmp_path}/scans", f"output={tmp_path}/masks"]
    assert segfocal(monkeypatch, *command) == 1
    assert "error: expected a mask of one scan at least; found none, all 2 failed" in capsys.readouterr().err
    assert segfocal(monkeypatch, *command, *more) == 1
    make_scan(tmp_path / "scans" / "c.nii.gz", image(0))
    assert segfocal(monkeypatch, *command, *more) == 0
    assert segfocal(monkeypatch, *command, *more) == 0  # the mask of before counts


def test_a_scan_of_another_unit_is_warned_of_once_alone_among_many_and_by_an_ensemble(
    random_bundle, tmp_path, monkeypatch, capsys
):
    make_scan(tmp_path / "scans" / "ct.nii.gz", image(0))
    raised = make_scan(tmp_path / "scans" / "up.nii.gz", image(1) + 1024)
    bundle = f"bundle=[{random_bundle},{random_bundle}]"
    segfocal(monkeypatch, "predict", bundle, f"input={tmp_path}/scans", f"output={tmp_path}/masks")
    said = capsys.readouterr().out
    assert said.count("warning: up.nii.gz: 100.0 % of its voxels are above 700") == said.count("warning") == 1
    segfocal(monkeypatch, "predict", bundle, f"input={raised}", f"output={tmp_path}/one.nii.gz")
    assert capsys.readouterr().err.count("warning: ") == 1
    for report, share in (("masks/ct.json", None), ("masks/up.json", 1.0), ("one.json", 1.0)):
        told = json.loads((tmp_path / report).read_text())
        assert told.get("share_outside_training") == share
        assert ("warning" in told) == (share is not None)


def test_a_repeated_command_does_what_is_left(random_bundle, scans, tmp_path, monkeypatch, capsys):
    command = ["predict", f"bundle={random_bundle}", f"input={scans}/**/*.nii.gz", f"output={tmp_path}/masks"]
    segfocal(monkeypatch, *command)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "masks").rglob("*.nii.gz")}
    gone = tmp_path / "masks" / "p1" / "ct.nii.gz"
    gone.unlink()
    make_scan(scans / "p3" / "ct.nii.gz", image(3))
    make_scan(scans / "p0" / "ct.nii.gz", image(7))  # another scan under the old name
    capsys.readouterr()
    assert segfocal(monkeypatch, *command) == 0
    assert "3 done, 1 kept, 0 failed" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "masks").rglob("*.nii.gz")}
    assert [p.parent.name for p in after if before.get(p) == after[p]] == ["p2"]
    assert segfocal(monkeypatch, *command, "overlap=0.25") == 0
    assert "4 done, 0 kept, 0 failed" in capsys.readouterr().out


def test_a_file_of_the_users_is_not_replaced(random_bundle, scans, tmp_path, monkeypatch, capsys):
    theirs = tmp_path / "masks" / "p1" / "ct.nii.gz"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"drawn by hand")
    assert (
        segfocal(monkeypatch, "predict", f"bundle={random_bundle}", f"input={scans}", f"output={tmp_path}/masks") == 0
    )
    assert "2 done, 0 kept, 1 failed" in capsys.readouterr().out
    assert theirs.read_bytes() == b"drawn by hand"


def test_a_file_of_the_users_is_not_replaced_by_the_second_try_either(random_bundle, scans, tmp_path, monkeypatch):
    theirs = tmp_path / "masks" / "p1" / "ct.nii.gz"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"drawn by hand")
    for _ in range(2):
        segfocal(monkeypatch, "predict", f"bundle={random_bundle}", f"input={scans}", f"output={tmp_path}/masks")
    assert theirs.read_bytes() == b"drawn by hand"


def test_a_mask_corrected_in_place_is_the_users(random_bundle, scans, tmp_path, monkeypatch, capsys):
    masks = tmp_path / "masks"
    command = ["predict", f"bundle={random_bundle}", f"input={scans}", f"output={masks}", "separate=true"]
    assert segfocal(monkeypatch, *command) == 0
    last = json.loads((masks / "manifest.jsonl").read_text().splitlines()[-1])
    written = sorted(masks.joinpath("p2").iterdir())
    assert last["sha256"] == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in written}
    corrected = [masks / "p0" / "ct.nii.gz", masks / "p1" / "ct_liver.nii.gz"]
    for path in corrected:
        path.write_bytes(b"corrected by hand")
    for _ in range(2):  # neither at once nor after the failure was noted
        capsys.readouterr()
        assert segfocal(monkeypatch, *command, "batch_size=3") == 0
        assert "2 failed: expected an output that does not exist yet" in capsys.readouterr().out
    assert [path.read_bytes() for path in corrected] == [b"corrected by hand"] * 2
    assert segfocal(monkeypatch, *command, "batch_size=3", "overwrite=true") == 0
    assert "2 done, 1 kept, 0 failed" in capsys.readouterr().out
    assert all(np.isin(voxels(path), [0, 1, 5]).all() for path in corrected)


@pytest.mark.parametrize(
    ("state", "recorded", "replaced"),
    [
        ("done", None, True),  # of a version that recorded nothing
        ("begun", None, True),
        ("writing", {}, True),  # killed while it wrote
        ("begun", {}, False),  # killed before it wrote: drawn since
        ("failed", {}, False),
    ],
)
def test_after_a_kill_what_a_run_wrote_is_ours(
    random_bundle, scans, tmp_path, monkeypatch, capsys, state, recorded, replaced
):
    masks = tmp_path / "masks"
    theirs = make_scan(masks / "p1" / "ct.nii.gz", image(0))
    before = theirs.read_bytes()
    half = theirs.with_name(".0123abcd.ct.nii.gz")  # as a killed writer leaves it
    half.touch()
    entry = {"name": "p1/ct.nii.gz", "state": state, "input": [], "signature": "of another", "message": ""}
    entry |= {} if recorded is None else {"sha256": recorded}
    (masks / "manifest.jsonl").write_text(json.dumps(entry) + "\n")
    assert segfocal(monkeypatch, "predict", f"bundle={random_bundle}", f"input={scans}", f"output={masks}") == 0
    assert (theirs.read_bytes() != before) is replaced
    assert half.exists() is (state != "writing")
    assert f"{2 + replaced} done" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "text"), [("list.txt", "{0}\n\n{1}\n"), ("list.csv", "name,image\na,{0}\nb,{1}\n")])
def test_a_list_names_scans(random_bundle, scans, tmp_path, monkeypatch, name, text):
    (scans / name).write_text(text.format("p0/ct.nii.gz", "p2/ct.nii.gz"))
    segfocal(monkeypatch, "predict", f"bundle={random_bundle}", f"input={scans / name}", f"output={tmp_path}/masks")
    assert sorted(p.parent.name for p in (tmp_path / "masks").rglob("*.nii.gz")) == ["p0", "p2"]


def test_a_list_that_goes_upwards_writes_nothing_outside_output(random_bundle, tmp_path, monkeypatch):
    for name in ("lists/local/a.nii.gz", "scans/b.nii.gz"):
        make_scan(tmp_path / name, image(1))
    (tmp_path / "lists" / "list.txt").write_text("local/a.nii.gz\n../scans/b.nii.gz\n")
    output = tmp_path / "res" / "masks"
    options = [f"bundle={random_bundle}", f"input={tmp_path}/lists/list.txt", f"output={output}"]
    assert segfocal(monkeypatch, "predict", *options) == 0
    masks = sorted((tmp_path / "res").rglob("*.nii.gz"))
    assert masks == [output / "lists" / "local" / "a.nii.gz", output / "scans" / "b.nii.gz"]


def test_a_link_in_output_leads_no_mask_out_of_it(random_bundle, scans, tmp_path, monkeypatch, capsys):
    others = make_scan(tmp_path / "others" / "ct.nii.gz", image(5))
    before = others.read_bytes()
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "p1").symlink_to(others.parent)
    options = [f"bundle={random_bundle}", f"input={scans}", f"output={tmp_path}/masks", "overwrite=true"]
    assert segfocal(monkeypatch, "predict", *options) == 1
    assert "a link that leads out of it" in capsys.readouterr().err
    assert others.read_bytes() == before


@pytest.mark.parametrize(
    ("names", "options", "says"),
    [
        (["a.nii", "a.nii.gz"], [], "a.json for two of them"),
        (["a.nii.gz", "a_liver.nii.gz"], ["separate=true"], "a_liver.nii.gz for two of them"),
        (["in/a.nii.gz", "in/b.nii.gz"], ["output={}/in"], "the same file as input and output"),
        (["a.nii.gz", "masks/a.nii.gz"], ["input='{}/**/*.nii.gz'"], "the same file as input and output"),
    ],
)
def test_outputs_that_are_one_file_are_refused_before_work(
    random_bundle, tmp_path, monkeypatch, capsys, names, options, says
):
    scans = tmp_path / "scans"
    for number, name in enumerate(names):
        make_scan(scans / name, image(number))
    before = {path: path.read_bytes() for path in scans.rglob("*.nii*")}
    given = {"bundle": random_bundle, "input": scans / "in" if "in/" in names[0] else scans, "output": scans / "masks"}
    given |= dict(option.format(scans).split("=", 1) for option in options)
    command = [f"{key}={value}" for key, value in given.items()]
    assert segfocal(monkeypatch, "predict", *command, "overwrite=true") == 1
    assert says in capsys.readouterr().err
    assert {path: path.read_bytes() for path in scans.rglob("*.nii*")} == before


def test_masks_inside_the_folder_of_scans_are_not_taken_for_scans(random_bundle, scans, monkeypatch, capsys):
    command = ["predict", f"bundle={random_bundle}", f"input={scans}", f"output={scans}/masks"]
    segfocal(monkeypatch, *command)
    capsys.readouterr()
    segfocal(monkeypatch, *command)
    assert "3 scans: 3 done before, 0 to do" in capsys.readouterr().out


@pytest.mark.parametrize("options", [["flips=[h,w]"], ["precision=bf16"], ["accumulate=fp16"], ["crop=body"]])
def test_settings_of_the_sweep_change_little(random_bundle, scans, tmp_path, monkeypatch, options):
    scan = scans / "p0" / "ct.nii.gz"
    assert (
        segfocal(
            monkeypatch, "predict", f"bundle={random_bundle}", f"input={scan}", f"output={tmp_path}/m.nii.gz", *options
        )
        == 0
    )
    assert set(np.unique(voxels(tmp_path / "m.nii.gz"))) <= {0, 1, 5}


def test_bundles_that_see_scans_differently_do_not_go_together(random_bundle, scans, tmp_path, monkeypatch, capsys):
    other = make_bundle(tmp_path / "other", grid=ModelGrid(spacing_mm=(1.0, 1.0)))
    options = [f"bundle=[{random_bundle},{other}]", f"input={scans}/p0/ct.nii.gz", f"output={tmp_path}/m.nii.gz"]
    assert segfocal(monkeypatch, "predict", *options) == 1
    assert "expected bundles with the same grid" in capsys.readouterr().err


def spoiled(folder):
    """Ten scans that cannot be segmented, each for a reason of its own."""
    folder.mkdir()
    array = image(0)
    (folder / "empty.nii.gz").write_bytes(b"")
    (folder / "text.nii.gz").write_text("not a scan")
    (folder / "letter.nii").write_text("not a scan either, but longer than a header is: " * 12)
    whole = make_scan(folder / "cut.nii.gz", array)
    whole.write_bytes(whole.read_bytes()[:2000])
    whole = make_scan(folder / "flipped_bit.nii.gz", array)
    damaged = bytearray(whole.read_bytes())
    damaged[len(damaged) // 2] ^= 16
    whole.write_bytes(damaged)
    make_scan(folder / "nan.nii.gz", np.where(array > 140, np.nan, array).astype(np.float32))
    make_scan(folder / "series.nii.gz", np.zeros((8, 8, 4, 3), np.int16))
    make_scan(folder / "flat.nii.gz", np.zeros((8, 8), np.int16))
    make_scan(folder / "singular.nii.gz", array, np.diag([1.0, 0.0, 1.0, 1.0]), qform_code=0)
    make_scan(folder / "metres.nii.gz", array, np.diag([5e3, 5e3, 1.0, 1.0]))


@pytest.mark.slow
def test_two_hundred_scans_ten_of_them_broken_and_a_kill_half_way(random_bundle, tmp_path):
    rng, scans = np.random.default_rng(0), tmp_path / "scans"
    for number in range(190):
        shape = tuple(int(n) for n in rng.integers(6, 40, 3))
        make_scan(scans / f"p{number:03}.nii.gz", image(number, shape), list(AFFINES.values())[number % 3])
    spoiled(scans / "bad")

    def command(output):
        code = "import sys; from segfocal.cli.main import main; sys.exit(main())"
        return [sys.executable, "-c", code, "predict", f"bundle={random_bundle}", f"input={scans}", f"output={output}"]

    undisturbed = subprocess.run(command(tmp_path / "a"), capture_output=True, text=True, check=True).stdout
    assert "190 done, 0 kept, 10 failed" in undisturbed
    killed = subprocess.Popen(command(tmp_path / "b"), stdout=subprocess.DEVNULL)
    manifest = tmp_path / "b" / "manifest.jsonl"
    while not manifest.is_file() or manifest.read_text().count('"done"') < 95:
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    finished = [name for name, state in states(tmp_path / "b") if state == "done"]
    before = {name: (tmp_path / "b" / name).stat().st_mtime_ns for name in finished}
    again = subprocess.run(command(tmp_path / "b"), capture_output=True, text=True, check=True).stdout
    assert f"{190 - len(finished)} done, {len(finished)} kept, 10 failed" in again
    assert all((tmp_path / "b" / name).stat().st_mtime_ns == stamp for name, stamp in before.items())
    masks = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.nii.gz"))
    assert len(masks) == 190
    for mask in masks:
        assert (tmp_path / "a" / mask).read_bytes() == (tmp_path / "b" / mask).read_bytes()
    assert sorted(p.relative_to(tmp_path / "b") for p in (tmp_path / "b").rglob("*.nii.gz")) == masks
