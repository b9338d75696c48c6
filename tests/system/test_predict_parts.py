"""Many scans in parts, as of a SLURM array: any order gives one run's masks and manifest; so do commands that share."""

import json
import subprocess
import sys

import pytest

from segfocal.predict import parts
from tests.random_bundle import image
from tests.scans import AFFINES, make_scan
from tests.system.commands import segfocal

CODE = "import sys; from segfocal.cli.main import main; sys.exit(main())"


def make_scans(folder, count, broken=1):
    for number in range(count):
        make_scan(folder / f"p{number:03}.nii.gz", image(number, (12, 11, 5)), list(AFFINES.values())[number % 3])
    for number in range(broken):
        (folder / f"broken{number:03}.nii.gz").write_bytes(b"not a scan")
    return folder


def masks(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.nii.gz")}


def ends(folder):
    """The last line of each scan, without what differs from run to run."""
    last = {}
    for line in (folder / "manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        entry["sha256"] = {name: value for name, value in entry.get("sha256", {}).items() if not name.endswith("json")}
        last[entry["name"]] = {key: value for key, value in entry.items() if key not in ("seconds", "peak_gib")}
    return last


def begun(folder):
    """How often each scan was begun."""
    entries = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    return [entry["name"] for entry in entries if entry["state"] == "begun"]


def test_parts_in_any_order_make_one_runs_masks_and_manifest(random_bundle, tmp_path, monkeypatch, capsys):
    scans = make_scans(tmp_path / "scans", 6)
    command = ["predict", f"bundle={random_bundle}", f"input={scans}"]
    assert segfocal(monkeypatch, *command, f"output={tmp_path}/one") == 0
    codes = [segfocal(monkeypatch, *command, f"output={tmp_path}/parts", f"part={n}/4") for n in (3, 1, 4, 2)]
    assert codes == [0, 0, 0, 0]
    assert masks(tmp_path / "parts") == masks(tmp_path / "one")
    assert ends(tmp_path / "parts") == ends(tmp_path / "one")
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {
        path.name for path in (tmp_path / "one").iterdir()
    }
    capsys.readouterr()
    assert segfocal(monkeypatch, *command, f"output={tmp_path}/parts", "retry=false") == 0
    assert "0 done, 6 kept, 1 failed" in capsys.readouterr().out


def test_a_part_without_scans_is_no_error_and_a_wrong_one_is_one_line(random_bundle, tmp_path, monkeypatch, capsys):
    scans = make_scans(tmp_path / "scans", 1, broken=0)
    command = ["predict", f"bundle={random_bundle}", f"input={scans}", f"output={tmp_path}/masks"]
    assert segfocal(monkeypatch, *command, "part=2/2") == 0
    assert segfocal(monkeypatch, *command, "part=3/2") == 1
    assert "expected part=auto or part=NUMBER/COUNT" in capsys.readouterr().err


def test_auto_takes_what_is_free_and_leaves_no_claims_behind(random_bundle, tmp_path, monkeypatch, capsys):
    scans = make_scans(tmp_path / "scans", 3)
    command = ["predict", f"bundle={random_bundle}", f"input={scans}", f"output={tmp_path}/masks", "part=auto"]
    assert segfocal(monkeypatch, *command) == 0
    assert "3 done, 0 kept, 1 failed" in capsys.readouterr().out
    names = {path.name.split(".")[0] for path in (tmp_path / "masks").iterdir()}
    assert names - {""} == {"manifest", "p000", "p001", "p002"}
    assert not (tmp_path / "masks" / parts.PARTS).exists()


@pytest.mark.slow
def test_commands_that_share_a_folder_make_no_scan_twice_and_finish_what_a_killed_one_left(random_bundle, tmp_path):
    scans = make_scans(tmp_path / "scans", 90, broken=3)
    shared = [sys.executable, "-c", CODE, "predict", f"bundle={random_bundle}", f"input={scans}"]
    subprocess.run([*shared, f"output={tmp_path}/one"], check=True, stdout=subprocess.DEVNULL)
    shared += [f"output={tmp_path}/masks", "part=auto"]
    running = [subprocess.Popen(shared, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for _ in range(6):
        running[0].stdout.readline()
    running[0].kill()
    said = [one.communicate(timeout=300)[0] for one in running]
    assert [one.returncode for one in running[1:]] == [0, 0]
    assert masks(tmp_path / "masks") == masks(tmp_path / "one")
    subprocess.run(shared[:-1], check=True, stdout=subprocess.DEVNULL)  # the killed one's part joins
    made = begun(tmp_path / "masks")
    assert len(made) - len(set(made)) <= 2  # those that the killed one had in work
    assert {name: entry["state"] for name, entry in ends(tmp_path / "masks").items()} == {
        name: entry["state"] for name, entry in ends(tmp_path / "one").items()
    }
    assert all("kept, 3 failed" in text for text in said[1:])
