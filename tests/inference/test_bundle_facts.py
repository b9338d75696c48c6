"""bundle.json is checked against one schema before anything is built or allocated: one line for what it refuses."""

import json
import time

import pytest

from segfocal import models
from segfocal.errors import UserError
from segfocal.files import read_json, write_json
from segfocal.inference import bundle as bundles
from segfocal.inference.bundle import Bundle
from tests.inference.bundles import bundle_of

CONFIG = {"_target_": "segfocal.models.UNet", "channels": 1, "classes": 1, "widths": [4, 4, 8]}

INTENSITY = "segfocal.intensity"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    bundles.save(Bundle(**(vars(bundle_of(models.build(CONFIG))) | {"model_config": CONFIG})), folder)
    return folder


def refused(saved, facts):
    before = read_json(saved / "bundle.json")
    (saved / "bundle.json").write_text(facts if isinstance(facts, str) else json.dumps(facts))
    began = time.process_time()
    try:
        with pytest.raises(UserError) as told:
            bundles.load(saved)
        assert bundles.read_channels(saved) == 1  # asked for a first look, which is never an error
        assert isinstance(bundles.read_structure_names(saved), list)
        bundles.read_intensity(saved)
    finally:
        write_json(saved / "bundle.json", before)
    assert time.process_time() - began < 2
    assert "\n" not in str(told.value)
    assert str(saved) in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("window", [-1, 128.5, "x", [], {}, 1e9, None, True])
def test_a_window_of_another_type_or_size_is_refused(saved, window):
    facts = read_json(saved / "bundle.json")
    assert "$.window" in refused(saved, facts | {"window": window})
    assert "$.window" in refused(saved, facts | {"window": [window, 8]})
    assert "$.window" in refused(saved, facts | {"window": [8, 8, window]})


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"spacing_mm": [1e9, 1e9]}, "$.spacing_mm[0]"),
        ({"spacing_mm": [1e-300, 1]}, "$.spacing_mm[0]"),
        ({"spacing_mm": ["1", 1]}, "$.spacing_mm[0]"),
        ({"spacing_mm": 1}, "$.spacing_mm"),
        ({"size": [0, 8]}, "$.size[0]"),
        ({"neighbours": 10**9}, "$.neighbours"),
        ({"neighbours": True}, "$.neighbours"),
        ({"channels": 10**9}, "$.channels"),
        ({"window": [4096, 4096], "channels": 16, "neighbours": 1}, "channels and neighbours"),
        ({"structures": []}, "$.structures"),
        ({"structures": [{"value": 1}]}, "$.structures[0].name"),
        ({"structures": [{"name": "", "value": 1}]}, "$.structures[0].name"),
        ({"structures": [{"name": "a", "value": "1"}]}, "$.structures[0].value"),
        ({"structures": [{"name": "a", "value": 1}, {"name": "b", "value": 1}]}, "its own value"),
        ({"structures": {"a": 1}}, "$.structures"),
        ({"structures": [{"name": "a", "value": 1, "of": "12"}]}, "$.structures[0].of"),
        ({"intensity": {"_target_": f"{INTENSITY}.Window", "lower": "a", "upper": "b"}}, "$.intensity.lower"),
        ({"intensity": {"_target_": f"{INTENSITY}.Window", "lower": 0}}, "upper"),
        ({"intensity": {"_target_": f"{INTENSITY}.PerChannel", "each": [{"_target_": "os.system"}]}}, "os.system"),
        ({"intensity": []}, "$.intensity"),
        ({"model": {"_target_": []}}, "$.model"),
        ({"model": CONFIG | {"widths": [1e9, 4, 8]}}, "$.model"),
        ({"model": CONFIG | {"widths": [8] * 1000}}, "$.model"),
        ({"model": CONFIG | {"widths": [60000, 60000, 60000]}}, "MiB for a model of more"),
        ({"model": CONFIG | {"widths": "abc"}}, "bundle.json"),
        ({"postprocess": []}, "$.postprocess"),
        ({"postprocess": {"ball": {"minimum_mm3": "5"}}}, "minimum_mm3"),
        ({"link": ["sigmoid"]}, "$.link"),
        ({"needs_prompts": "no"}, "$.needs_prompts"),
        ({"frame": 5}, "$.frame"),
        ({"frame": "XYZ"}, "bundle.json"),
        ({"training": None}, "$.training"),
        ({"format": {"a": [1]}}, "format {'a': [1]}"),
    ],
)  # fmt: skip
def test_each_field_has_its_type_and_its_bounds(saved, change, place):
    assert place in refused(saved, read_json(saved / "bundle.json") | change)


def values(where="percentiles", **changes):
    """Return `training_values` of one channel with something changed."""
    rising, shape = [-3, -2, -1, 0, 1, 2, 3.5], [0.2, 0.5, 0.7, 1.5]
    facts = {
        name: dict.fromkeys(("least", "median", "most"), row)
        for name, row in (("percentiles", rising), ("shape", shape))
    }
    return {"training_values": [facts | {where: facts[where] | changes}]}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"training_values": 5}, "$.training_values"),
        ({"training_values": {}}, "$.training_values"),
        ({"training_values": []}, "training_values of 1 channels"),
        ({"training_values": [None, None]}, "training_values of 1 channels"),
        ({"training_values": [[]]}, "$.training_values[0]"),
        ({"training_values": [{}]}, "$.training_values[0].percentiles, which is needed"),
        (values(least="abc"), "$.training_values[0].percentiles.least"),
        (values(least=[1, 2, 3]), "7 numbers each, of 0.5, 5.0"),
        (values(least=[0] * 100_000), "7 numbers each, of 0.5, 5.0"),
        (values("shape", most=[1, 2, 3]), "4 numbers each, of 25th, 50th, 75th, 0"),
        (values(median=[1, 2, 3, 4, 5, 6, float("nan")]), "finite number"),
        (values(median=[1, 2, 3, 4, 5, 6, float("inf")]), "finite number"),
        (values(median=[1, 2, 3, 4, 5, 6, 1e300]), "$.training_values[0].percentiles.median[6]"),
        (values(median=[1, 2, 3, 4, 5, 6, True]), "$.training_values[0].percentiles.median[6]"),
        (values(median=[1, 2, 3, 4, 5, 6, "7"]), "$.training_values[0].percentiles.median[6]"),
        (values(least=[-3, -2, -1, 0, 1, 2, 4]), "least ≤ median ≤ most"),
        (values("shape", most=[0.2, 0.5, 0.7, 0.1]), "least ≤ median ≤ most"),
        (values(most=[9, 8, 9, 9, 9, 9, 9]), "rise from one percentile to the next"),
        (values("shape", least=[0.2, 0.1, 0.7, 0.1]), "rise from one percentile to the next"),
    ],
)  # fmt: skip
def test_training_values_are_finite_in_order_and_of_every_channel(saved, change, place):
    assert place in refused(saved, read_json(saved / "bundle.json") | change)


def test_training_values_as_they_should_be_are_read(saved):
    facts = read_json(saved / "bundle.json")
    write_json(saved / "bundle.json", facts | values())
    assert bundles.load(saved).training_values[0].shape.most == (0.2, 0.5, 0.7, 1.5)
    write_json(saved / "bundle.json", facts)


@pytest.mark.parametrize(
    "text", ["[]", "null", "5", "[" * 100_000, '{"format": 1, "window": ' + "9" * 5000 + "}", "{", ""]
)
def test_a_file_of_another_form_is_refused(saved, text):
    refused(saved, text)


def test_a_field_that_a_newer_version_adds_is_passed_over(saved):
    facts = read_json(saved / "bundle.json")
    write_json(saved / "bundle.json", facts | {"threshold": {"ball": 0.5}})
    assert bundles.load(saved).window == (8, 8)
    write_json(saved / "bundle.json", facts)


@pytest.mark.parametrize("path", ["/home/ada/secret/sam.pth", "C:\\Users\\Ada\\sam.pth", "sam.pth"])
def test_a_bundle_does_not_tell_where_on_a_machine_its_first_weights_lay(tmp_path, path):
    made = vars(bundle_of(models.build(CONFIG))) | {"model_config": CONFIG}
    training = {"steps": 3, "weights": {"path": path, "licence": "Apache-2.0"}}
    bundles.save(Bundle(**(made | {"training": training})), tmp_path)
    assert bundles.load(tmp_path).training == {"steps": 3, "weights": {"path": "sam.pth", "licence": "Apache-2.0"}}
    assert training["weights"]["path"] == path  # of the run, which stays with its user
