"""Which model a bundle makes a server of."""

import pytest

from segfocal.errors import UserError
from segfocal.inference import bundle as bundles
from segfocal.inference import ensemble
from segfocal.inference.predictor import Predictor
from segfocal.inference.sliding.sliding_options import SlidingOptions
from tests.random_bundle import make_bundle
from tests.serve import browser
from tests.serve.served import make_scans, options_in

PROMPTED = {"_target_": "segfocal.models.PromptUNet", "image_size": 16, "widths": [8, 8]}


def ensemble_in(folder, **changes):
    members = [bundles.load(make_bundle(folder / f"{seed}", seed=seed, **changes)) for seed in range(2)]
    ensemble.save(members, folder / "run" / "bundle", facts={})


@pytest.fixture
def served():
    pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    from segfocal.serve.run_server import served

    return served


def test_the_bundle_of_auto_is_served_with_all_its_members(tmp_path, served):
    ensemble_in(tmp_path)
    predictor = served(options_in(tmp_path))
    assert len(predictor.models) == 2
    assert [one.name for one in predictor.bundle.structures] == ["liver", "spleen"]


def test_several_models_that_answer_prompts_are_refused_before_anything_listens(tmp_path, served):
    ensemble_in(tmp_path, config=PROMPTED, needs_prompts=True)
    with pytest.raises(UserError, match="one bundle for prompts"):
        served(options_in(tmp_path))


@pytest.mark.slow
def test_the_page_of_a_model_without_prompts_offers_the_whole_scan_and_no_carrying(tmp_path):
    make_scans(tmp_path, "one")
    members = [bundles.load(make_bundle(tmp_path / f"{seed}", seed=seed)) for seed in range(2)]
    predictor = Predictor(members, sliding=SlidingOptions(engine="torch"))
    with browser.chromium() as found, browser.served(tmp_path, predictor) as address:
        person = browser.Visitor(found, address)
        person.open("one")
        person.page.click("#predict")
        person.page.wait_for_selector("#undo:enabled")
        person.rest()
        assert person.page.is_disabled("#carry")
        assert person.page.inner_text("#model-hint") == ""
        assert person.complaints == []
