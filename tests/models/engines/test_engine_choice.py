"""Engines answer as torch does, are converted once, and where they cannot, torch answers and it is said in a line."""

import json
import sys
from dataclasses import replace
from time import sleep

import pytest
import torch
from torch import nn

from segfocal import models
from segfocal.errors import UserError, noted
from segfocal.models.engines import EngineChoice, engine_choice, engines_of, run_by_engine
from segfocal.models.engines.engine import NotConvertible
from segfocal.models.engines.engine_part import EnginePart
from segfocal.models.engines.tensor_parts import TensorDecoder, TensorNetwork, TensorPart
from segfocal.prompts import Prompt
from tests.inference.perfect import Perfect
from tests.models.sam.small_models import small

INSTALLED = [
    pytest.param(name, marks=pytest.mark.skipif(not engine_choice.find_spec(name), reason=f"{name} is not installed"))
    for name in ("openvino", "onnxruntime")
]
SLOW_EXPORT = [INSTALLED[0], pytest.param("onnxruntime", marks=[*INSTALLED[1].marks, pytest.mark.slow])]  # of torch
SAM = {"_target_": "segfocal.models.sam_tiny", "image_size": 32, "width": 48, "depth": 1, "decoder_width": 32}
PROMPT_UNET = {"_target_": "segfocal.models.PromptUNet", "image_size": 32, "widths": [16, 24]}
NETWORKS = {
    "2-D": ({"_target_": "segfocal.models.UNet", "classes": 2, "widths": [8, 8, 16]}, (1, 32, 24)),
    "2.5-D": ({"_target_": "segfocal.models.UNet", "channels": 3, "widths": [8, 8, 16]}, (3, 24, 32)),
    "3-D": ({"_target_": "segfocal.models.UNet", "dims": 3, "widths": [4, 8, 8]}, (1, 8, 16, 24)),
    "sam_tiny": (SAM, (1, 32, 32)),
    "prompt_unet": (PROMPT_UNET, (1, 32, 32)),
}


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "segfocal" / "engines"


def built(config):
    torch.manual_seed(0)
    return models.build(config).eval()


def images(count, shape, seed=1):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


class Slow(nn.Module):
    """A network that takes two hundredths of a second."""

    def forward(self, x):
        sleep(0.02)
        return x


class SlowOfOne(Slow):
    """A network that is slow of one input, and quick of several."""

    def forward(self, x):
        return super().forward(x) if len(x) == 1 else x


class Doubling:
    """An engine whose program holds nothing: it runs the network itself, times a factor, and counts conversions."""

    name, version = "openvino", "1"

    def __init__(self, factor=1.0, refuses=False):
        self.factor, self.refuses, self.converted, self.networks = factor, refuses, 0, {}

    def convert(self, network, example, free):
        if self.refuses:
            raise NotConvertible("an operation of its own")
        self.converted += 1
        key = f"program {type(network).__name__}".encode()
        self.networks[key] = network
        return {"program": key}

    def load(self, program, *, precision):
        network = self.networks[program["program"]]
        return lambda inputs: [self.factor * answer for answer in network(*inputs)]


@pytest.fixture
def engine(monkeypatch):
    """An engine that answers as torch does, in the place of OpenVINO."""
    engine = Doubling()
    monkeypatch.setitem(engine_choice._MADE, "openvino", lambda: engine)
    monkeypatch.setattr(engine_choice, "find_spec", lambda name: name)
    monkeypatch.setattr(engine_choice, "_is_slower", lambda *_: False)
    return engine


def placed(model, choice, shape=(1, 32, 24), **facts):
    return run_by_engine(model, choice, shape=shape, facts=facts)


@torch.no_grad()
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", SLOW_EXPORT)
def test_logits_are_within_a_thousandth_of_torchs_for_any_batch(name, network):
    config, shape = NETWORKS[network]
    model = built(config)
    running = placed(model, EngineChoice(name=name), shape)
    for count in (4, 1, 3):
        theirs, ours = running(images(count, shape)), model(images(count, shape))
        assert theirs.dtype == torch.float32
        torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-3)
        assert torch.equal(theirs > 0, ours > 0)
    assert engines_of(running)[0].startswith(f"{name} ")


def check_prompts(running, model):
    """Ask both about two images without a prompt, with boxes, clicks and masks, one an image or two."""
    for prompts, clicks in ((2, 0), (2, 1), (2, 3), (4, 1)):
        prompt = Prompt.none(prompts, device=torch.device("cpu")).with_boxes(
            torch.tensor([[4.0, 6.0, 20.0, 30.0]]).expand(prompts, 4)
        )
        for seed in range(clicks):
            prompt = prompt.with_clicks(32 * images(prompts, (2,), seed), torch.ones(prompts).long())
        first = model.answer(model.encode(images(2, (1, 32, 32))), prompt)
        for asked in (prompt, prompt.with_mask(first.low_res_logits)):
            theirs = running.answer(running.encode(images(2, (1, 32, 32))), asked)
            ours = model.answer(model.encode(images(2, (1, 32, 32))), asked)
            for one, other in zip(theirs, ours, strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize("name", SLOW_EXPORT)
def test_prompts_are_answered_as_torch_answers_them(name, hides):
    model = built(SAM)
    model.prompt_encoder.hides_absent = hides  # as SAM's own families
    running = placed(model, EngineChoice(name=name), (1, 32, 32))
    check_prompts(running, model)
    assert running.mask_decoder.run is not None


@torch.no_grad()
@pytest.mark.parametrize("name", SLOW_EXPORT)
def test_a_correction_decoder_is_a_program_of_its_own(name, tmp_path):
    model = small(size=32, correction_decoder=True).eval()
    running = placed(model, EngineChoice(name=name, folder=tmp_path), (1, 32, 32))
    check_prompts(running, model)
    assert running.mask_decoder.run is not None
    assert running.correction_decoder.run is not None
    kept = {one.read_bytes() for one in tmp_path.rglob("*decoder*.safetensors")}
    assert len(kept) == 2


@torch.no_grad()
@pytest.mark.parametrize("name", SLOW_EXPORT)
def test_prompts_to_a_prompt_unet_are_answered_as_torch_answers_them(name):
    model = built(PROMPT_UNET)
    running = placed(model, EngineChoice(name=name), (1, 32, 32))
    check_prompts(running, model)
    assert running.unet.run is not None


@torch.no_grad()
def test_of_a_prompt_unet_one_program_answers_every_prompt(engine, tmp_path):
    model = built(PROMPT_UNET)
    running = placed(model, EngineChoice(folder=tmp_path), (1, 32, 32))
    check_prompts(running, model)
    assert engine.converted == 1
    assert engines_of(running) == ["openvino 1"]
    assert engines_of(model) == ["torch"]


def test_a_promptable_model_of_another_kind_is_torchs_with_a_note(engine, tmp_path):
    model = Perfect().eval()
    with noted() as notes:
        assert placed(model, EngineChoice(folder=tmp_path), (1, 32, 32)) is model
    assert notes == ["torch runs the network: openvino cannot (Perfect is a promptable model of a kind of its own)"]


@pytest.mark.parametrize("name", INSTALLED)
def test_a_network_is_converted_once_and_kept_beside_the_bundle(name, tmp_path, monkeypatch):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    model, choice = built(NETWORKS["2-D"][0]), EngineChoice(name=name, folder=bundle)
    first = placed(model, choice)
    made = engine_choice._MADE[name]()
    monkeypatch.setattr(type(made), "convert", lambda *_: pytest.fail("converted again"))
    with torch.no_grad():
        assert torch.equal(placed(model, choice)(images(2, (1, 32, 24))), first(images(2, (1, 32, 24))))
    assert len(list((bundle / "engines").iterdir())) == 1


@torch.no_grad()
@pytest.mark.parametrize("network", ["2-D", "sam_tiny", "prompt_unet"])
def test_auto_leaves_to_torch_what_it_does_faster_and_remembers_it(engine, network, tmp_path, monkeypatch):
    (config, shape), asked = NETWORKS[network], []
    monkeypatch.setattr(engine_choice, "_is_slower", lambda part, _: asked.append(part) or True)
    model, auto = built(config), EngineChoice(folder=tmp_path)
    assert engines_of(placed(model, auto, shape)) == ["torch"]
    parts = len(asked)
    assert placed(model, auto, shape) is model
    assert len(asked) == engine.converted == parts
    by_name = placed(model, EngineChoice(name="openvino", folder=tmp_path), shape)  # which is the user's word
    assert engines_of(by_name) == ["openvino 1"]
    assert engines_of(placed(model, auto, shape)) == ["torch"]


@torch.no_grad()
def test_each_part_runs_where_it_is_faster(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_choice, "_is_slower", lambda part, _: isinstance(part.network, TensorDecoder))
    running = placed(built(SAM), EngineChoice(folder=tmp_path), (1, 32, 32))
    assert isinstance(running.image_encoder, EnginePart)
    assert not isinstance(running.mask_decoder, EnginePart)
    assert engines_of(running) == ["openvino 1", "torch"]
    check_prompts(running, built(SAM))


def test_the_slower_one_is_told_by_the_clock():
    part = TensorPart(network=TensorNetwork(nn.Identity()), example=(torch.zeros(1, 4),), free=((0,),))
    assert engine_choice._is_slower(part, lambda inputs: sleep(0.02) or list(inputs))
    slow = replace(part, network=TensorNetwork(Slow()))
    assert not engine_choice._is_slower(slow, list)
    of_one = replace(part, network=TensorNetwork(SlowOfOne()), example=(torch.zeros(2, 4),))
    assert not engine_choice._is_slower(of_one, lambda inputs: sleep(0.01) or list(inputs))


@pytest.mark.parametrize("name", INSTALLED)
def test_what_an_engine_cannot_run_is_one_line(name):
    class Odd(nn.Module):
        def forward(self, image):
            return torch.linalg.eigvalsh(image @ image.mT)

    with pytest.raises(UserError, match=rf"expected a network that {name} can run.*Set engine=torch"):
        placed(Odd(), EngineChoice(name=name))


@pytest.mark.skipif(not engine_choice.find_spec("openvino"), reason="openvino is not installed")
def test_openvino_is_imported_without_its_telemetry():
    engine_choice._MADE["openvino"]()
    assert sys.modules["openvino_telemetry"] is None


def test_without_openvino_auto_is_torch_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_choice, "find_spec", lambda name: None)
    model = built(NETWORKS["2-D"][0])
    with noted() as notes:
        assert placed(model, EngineChoice(folder=tmp_path)) is model
    assert notes == []
    assert engines_of(model) == ["torch"]
    with pytest.raises(UserError, match=r"the package openvino .* pip install 'segfocal\[cpu\]'"):
        placed(model, EngineChoice(name="openvino"))


def test_a_model_in_memory_is_torchs_under_auto(engine):
    model = built(NETWORKS["2-D"][0])
    assert placed(model, EngineChoice()) is model
    assert engine.converted == 0


def test_torch_takes_over_from_an_engine_that_differs_on_the_first_window(engine, tmp_path):
    model, window = built(NETWORKS["2-D"][0]), images(2, (1, 32, 24))
    running = placed(model, EngineChoice(folder=tmp_path))
    engine.factor = 1.5
    with noted() as notes, torch.no_grad():
        assert torch.equal(running(window), model(window))
    assert len(notes) == 1
    assert notes[0].startswith("torch runs the network: openvino 1 is ")
    assert engines_of(running) == ["torch"]
    engine.factor = 1.0
    required = placed(model, EngineChoice(name="openvino"))
    engine.factor = 1.5
    with pytest.raises(UserError, match=r"answers of openvino 1 within 0\.001 of torch's"):
        required(window)


def test_air_does_not_vouch_for_the_windows_that_follow(engine, tmp_path):
    model, air = built(NETWORKS["2-D"][0]), torch.zeros(2, 1, 32, 24)
    running = placed(model, EngineChoice(name="openvino", folder=tmp_path))
    with torch.no_grad():
        engine.factor = 1.5
        assert torch.equal(running(air), model(air))  # torch's
        with pytest.raises(UserError, match="Set engine=torch"):
            running(images(2, (1, 32, 24)))


def test_the_first_batch_is_compared_in_what_is_answered(engine, tmp_path):
    """On its most varied image; torch runs that one alone, the engine all of them, once."""
    model, windows = built(NETWORKS["2-D"][0]), images(3, (1, 32, 24))
    windows[:2] *= 0.1
    running = placed(model, EngineChoice(name="openvino", folder=tmp_path))
    sizes, run, plain = {"engine": [], "torch": []}, running.run, running.part.network
    running.run = lambda inputs: (sizes["engine"].append(len(inputs[0])), run(inputs))[1]
    plain.register_forward_hook(lambda _, inputs, __: sizes["torch"].append(len(inputs[0])))
    with torch.no_grad():
        for _ in range(2):
            running(windows)
    assert sizes["torch"][0] == 1
    assert sizes["engine"] == [3, 3]


def test_a_network_that_cannot_be_converted_is_torchs_with_a_note(engine, tmp_path):
    engine.refuses = True
    model = built(NETWORKS["2-D"][0])
    with noted() as notes:
        assert placed(model, EngineChoice(folder=tmp_path)) is model
    assert notes == ["torch runs the network: openvino cannot (an operation of its own)"]
    with pytest.raises(UserError, match="expected a network that openvino can run; found an operation of its own"):
        placed(model, EngineChoice(name="openvino"))
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_another_network_is_not_kept(engine, tmp_path):
    engine.factor = 1.5
    with noted() as notes:
        placed(built(NETWORKS["2-D"][0]), EngineChoice(folder=tmp_path))
    assert "its answer to a phantom" in notes[0]
    assert list(tmp_path.iterdir()) == []


def test_changed_weights_architecture_window_or_version_are_converted_anew(engine, tmp_path):
    model, choice = built(NETWORKS["2-D"][0]), EngineChoice(folder=tmp_path)
    placed(model, choice, built_of="a")
    placed(model, choice, built_of="a")
    assert engine.converted == 1
    placed(model, choice, built_of="b")
    placed(model, choice, (1, 32, 32), built_of="b")
    engine.version = "2"
    placed(model, choice, (1, 32, 32), built_of="b")
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    placed(model, choice, (1, 32, 32), built_of="b")
    assert engine.converted == 5
    assert len(list((tmp_path / "engines").iterdir())) == 1  # what is stale was removed


def kept_in(folder):
    (file,) = (folder / "engines").glob("*.safetensors")
    return file


def test_a_file_that_was_changed_is_never_run(engine, tmp_path):
    model, choice = built(NETWORKS["2-D"][0]), EngineChoice(folder=tmp_path)
    placed(model, choice)
    file = kept_in(tmp_path)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with noted() as notes:
        placed(model, choice)
    assert engine.converted == 2
    assert notes == [f"{file} is not as it was written: the network is converted again"]
    placed(model, choice)
    assert engine.converted == 2


def test_a_file_that_came_with_a_bundle_is_never_run_nor_replaced(engine, tmp_path, user_cache, monkeypatch):
    model, choice = built(NETWORKS["2-D"][0]), EngineChoice(folder=tmp_path / "bundle")
    choice.folder.mkdir()
    placed(model, choice)
    theirs = kept_in(choice.folder).read_bytes()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    with noted() as notes:
        placed(model, choice)
        placed(model, choice)
    assert engine.converted == 2
    assert notes == []
    assert kept_in(choice.folder).read_bytes() == theirs
    assert len(list((tmp_path / "other" / "segfocal" / "engines").glob("*.safetensors"))) == 1


def test_of_a_read_only_bundle_the_users_cache_keeps_the_network(engine, tmp_path, user_cache, monkeypatch):
    monkeypatch.setattr("segfocal.models.engines.kept_programs.os.access", lambda path, mode: False)
    choice = EngineChoice(folder=tmp_path / "bundle")
    choice.folder.mkdir()
    for _ in range(2):
        placed(built(NETWORKS["2-D"][0]), choice)
    assert engine.converted == 1
    assert list(choice.folder.iterdir()) == []
    record = json.loads(next(user_cache.glob("*.json")).read_text())
    assert record["made_of"]["shape"] == [1, 32, 24]


def test_where_nothing_can_be_kept_the_network_runs_all_the_same(engine, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    choice = EngineChoice(folder=tmp_path / "bundle")
    choice.folder.mkdir()
    with noted() as notes:
        running = placed(built(NETWORKS["2-D"][0]), choice)
    assert engines_of(running) == ["openvino 1"]
    assert len(notes) == 1
    assert notes[0].startswith("the converted network cannot be kept: ")


def test_the_choice_is_what_it_was_asked(tmp_path):
    choice = EngineChoice(folder=tmp_path)
    assert not choice.required
    assert replace(choice, name="openvino").required


def test_a_network_whose_norms_the_engine_sums_badly_is_converted_with_steadier_ones(engine, tmp_path, monkeypatch):
    """The first form is off, the second is not: it is kept, and answers as torch does."""
    load, factors = engine.load, iter([1.01, 1.0])

    def loaded(program, *, precision):
        run, factor = load(program, precision=precision), next(factors, 1.0)
        return lambda inputs: [factor * answer for answer in run(inputs)]

    monkeypatch.setattr(engine, "load", loaded)
    model, window = built(NETWORKS["2-D"][0]), images(2, (1, 32, 24))
    running = placed(model, EngineChoice(name="openvino", folder=tmp_path))
    assert engine.converted == 2
    with torch.no_grad():
        torch.testing.assert_close(running(window), model(window), rtol=0, atol=1e-4)
    assert len(list((tmp_path / "engines").iterdir())) == 1


@pytest.mark.skipif(not engine_choice.find_spec("openvino"), reason="openvino is not installed")
def test_openvino_keeps_to_torch_where_a_window_is_mostly_air():
    """Features with a mean far from zero: the sums of a plain norm would be off by 0.01 in logits."""
    model = built({"_target_": "segfocal.models.UNet", "dims": 3, "widths": [4, 8, 8]})
    with torch.no_grad():
        for parameter in model.network.output_block.parameters():
            parameter.mul_(4)
    window = torch.zeros(1, 1, 32, 48, 48)
    window[..., 12:20, 12:20, 12:20] = images(1, (1, 8, 8, 8))
    running = placed(model, EngineChoice(name="openvino"), (1, 32, 48, 48))
    with torch.no_grad():
        torch.testing.assert_close(running(window).sigmoid(), model(window).sigmoid(), rtol=0, atol=1e-3)
