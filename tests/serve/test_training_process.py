"""Training on corrections: the command makes the same kind of model; one process at a time, told of, and ended."""

import json
import time
from types import SimpleNamespace

import pytest

from segfocal.cli.composed import composed
from segfocal.cli.serve import going_on_from
from segfocal.serve import training_process
from tests.random_bundle import make_bundle
from tests.serve.browser import Visitor, chromium, served
from tests.serve.served import LIVER, SPLEEN, make_scans
from tests.system.commands import segfocal, small_training


class Process:
    """A process that ends when it is told to."""

    def __init__(self, command, *, stdin, stdout, stderr):
        self.command, self.status = command, None
        stdout.write(b"a warning\nerror: expected two cases; found one\n\n")

    def poll(self):
        return self.status

    def terminate(self):
        self.status = 130

    def wait(self, seconds=None):
        return self.status


@pytest.fixture
def no_process(monkeypatch):
    monkeypatch.setattr(training_process, "subprocess", SimpleNamespace(Popen=Process, DEVNULL=None))


@pytest.fixture
def trainer(make_client, tmp_path, no_process):
    make_scans(tmp_path)
    return make_client(train=True, train_options=("loss=focal",))


def save(client):
    scan = client.get("/api/scans").json()["scans"][0]["id"]
    session = "/api/sessions/" + client.post("/api/sessions", json={"scan": scan}).json()["session"]
    for name, place in (("liver", LIVER), ("spleen", SPLEEN)):
        client.post(f"{session}/prompts", json={"structure": name, "kind": "point", "world_mm": [place]})
    return client.post(f"{session}/save").json()


def make_progress(folder):
    """Leave in the folder of a run what it has written by its 25th step of 30, a row cut short."""
    folder.mkdir()
    (folder / "config.yaml").write_text("train: {steps: 30, minutes: null}\n")
    rows = [{"step": 20, "loss": 0.5, "val_dice": 0.8}, {"step": 25, "loss": 0.4}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step')


def test_it_trains_only_where_that_was_allowed(client):
    answer = client.post("/api/training")
    assert (answer.status_code, client.get("/api/training").json()["allowed"]) == (403, False)
    assert "train=true" in answer.json()["error"]


def test_one_at_a_time_on_what_was_saved_and_its_end_is_told(trainer, tmp_path):
    assert trainer.get("/api/about").json()["trains"]
    assert trainer.post("/api/training").status_code == 409  # nothing saved yet
    command = save(trainer)["train_command"]
    assert command.endswith(" loss=focal")
    folder = tmp_path / "sessions" / "training" / "run_001"
    begun = trainer.post("/api/training")
    assert (begun.status_code, begun.json()["state"], begun.json()["folder"]) == (202, "running", str(folder))
    assert trainer.post("/api/training").status_code == 409
    process = trainer.serving.training._process
    assert process.command[3:-1] == [word.strip("'") for word in command.split()][1:]
    make_progress(folder)
    told = trainer.get("/api/training").json()
    assert (told["step"], told["steps"], told["loss"], told["val_dice"]) == (25, 30, 0.4, 0.8)
    ended = trainer.delete("/api/training").json()
    assert (ended["state"], ended["why"]) == ("failed", "error: expected two cases; found one")
    assert trainer.post("/api/training").json()["folder"].endswith("run_002")
    trainer.serving.training._process.status = 0
    assert trainer.get("/api/training").json()["serve_command"].endswith("run_002/bundle")


def test_the_options_are_those_of_the_bundles_run_and_its_geometry(tmp_path):
    bundle = make_bundle(tmp_path / "run" / "bundle")
    assert going_on_from(bundle) == ()
    typed = ["model=unet", "data=csv", "data.root=x", "target=1", "loss=focal", "train.steps=9", "train.device=cpu"]
    typed += ["model.weights=before", "seed=3", "hydra.run.dir=y"]
    (bundle.parent / "run.json").write_text(json.dumps({"overrides": typed, "choices": {}, "error": None}))
    geometry = ("data.frame=SPL", "data.spacing_mm=[2.0,2.0]", "data.size=null", "data.window=[16,16]")
    expected = ("model=unet", "loss=focal", "train.steps=9", *geometry, "data.neighbours=0", f"model.weights={bundle}")
    assert going_on_from(bundle) == expected
    typed[0] = "experiment=lesions"  # a sweep, of which this was one run
    (bundle.parent / "run.json").write_text(json.dumps({"overrides": typed, "choices": {}, "error": None}))
    again = going_on_from(bundle)
    assert again == ("experiment=lesions", "hydra.mode=RUN", *expected[1:])
    config = composed("train", ["data=folder", "data.root=x", "target=5", *again]).config
    assert (config.model._target_, config.data.window) == ("segfocal.models.UNet", [16, 16])


@pytest.mark.slow
def test_a_corrected_scan_trains_the_model_on(spheres, make_client, tmp_path, monkeypatch):
    """One scan is corrected, the page's button is pressed, and the new bundle begins with the old one's weights."""
    run = tmp_path / "run"
    options = ["train.steps=2", "train.validate_every=0", "task.first.none=0"]
    assert segfocal(monkeypatch, "train", *small_training(spheres, run, *options)) == 0
    make_scans(tmp_path)
    more = (*going_on_from(run / "bundle"), f"cache={tmp_path}/prepared")
    client = make_client(train=True, train_options=more)
    save(client)
    client.post("/api/training")
    deadline = time.monotonic() + 300
    while (told := client.get("/api/training").json())["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert told["state"] == "done", told
    assert (told["step"], told["steps"]) == (2, 2)
    report = json.loads((tmp_path / "sessions" / "training" / "run_001" / "weights.json").read_text())
    assert report


@pytest.mark.slow
def test_the_pages_button_trains_says_how_far_and_stops(tmp_path, no_process):
    make_scans(tmp_path)
    with chromium() as browser, served(tmp_path, train=True) as address:
        person = Visitor(browser, address)
        person.open("one")
        person.press("p")
        person.click(LIVER)
        person.press("Control+s")
        person.page.wait_for_selector("#saved-dialog[open]")

        def says(text, button):
            for part, words in (("span", text), ("button", button)):
                person.page.wait_for_selector(f'#training {part}:text-is("{words}")')

        person.page.click("#training button")
        says("Preparing the scans.", "Stop")
        make_progress(tmp_path / "sessions" / "training" / "run_001")
        says("Step 25 of 30, loss 0.400, Dice 0.800.", "Stop")
        person.page.click("#training button")
        says("error: expected two cases; found one", "Train")
        assert person.foreign == person.complaints == []
