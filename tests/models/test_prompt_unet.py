"""`prompt_unet`: image and prompt meet in the first layer, each prompt counts alone, and an absent one not at all."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from segfocal import models
from segfocal.batch import Batch, Origin, SampleKey
from segfocal.inference import bundle as bundles
from segfocal.intensity import Percentiles
from segfocal.models import PromptUNet
from segfocal.models.prior import prior_logits
from segfocal.prompts import ABSENT, Prompt, as_clicks_and_boxes
from segfocal.prompts.prompt_channels import KINDS, draw_prompts
from segfocal.resample import ModelGrid
from segfocal.structure import Structure
from segfocal.tasks import FirstPrompt, Promptable, RoundPlan
from tests.models.sam.small_models import four_prompts, rows
from tests.tasks.models import batch, criterion, with_iou_head

SIDE = 32


def small(**options):
    torch.manual_seed(0)
    return PromptUNet(**({"image_size": SIDE, "widths": (16, 24, 32)} | options))


@pytest.fixture(scope="module")
def model():
    return small().eval()


def images(count, channels=1, seed=1):
    return torch.rand(count, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def every_kind():
    """Return five prompts: none, a box, a click, a box with a click outside, and a mask with a click."""
    first = four_prompts()
    masks = 4 * torch.randn(5, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    parts = {name: torch.cat([value, value[2:3]]) for name, value in vars(first).items() if value is not None}
    return Prompt(**(parts | {"mask_logits": masks, "has_mask": torch.arange(5) == 4}))


@torch.no_grad()
def test_the_shares_of_the_first_layer_are_one_convolution_of_image_and_prompt_channels(model):
    image, prompt = images(5), every_kind()
    seen = torch.cat([(image - 0.35) / 0.3, draw_prompts(prompt, (SIDE, SIDE), click_radius=3.0)], dim=1)
    first, second = model.image_encoder.conv, model.prompt_encoder.conv
    features = F.conv2d(seen, torch.cat([first.weight, second.weight], dim=1), first.bias, padding=1)
    logits, predicted_iou = model.unet(features)
    answer = model.decode(model.encode(image), prompt)
    torch.testing.assert_close(answer.logits, logits, rtol=1e-4, atol=1e-4)  # float32, sums in another order
    torch.testing.assert_close(answer.predicted_iou, predicted_iou, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_an_embedding_answers_again_and_again_as_a_new_one(model):
    image, prompt = images(5), every_kind()
    embedding = model.encode(image)
    first = model.decode(embedding, Prompt.none(5, device=image.device))
    again = model.decode(embedding, prompt)
    assert again.logits.equal(model.decode(model.encode(image), prompt).logits)
    assert first.logits.equal(model(image))


@torch.no_grad()
def test_a_prompt_is_answered_in_company_as_alone(model):
    image, prompt = images(5), every_kind()
    together = model.decode(model.encode(image), prompt)
    assert together.logits.shape == together.low_res_logits.shape == (5, 1, SIDE, SIDE)
    assert together.predicted_iou.shape == (5, 1)
    for n in range(5):
        alone = model.decode(model.encode(image[n : n + 1]), rows(prompt, slice(n, n + 1)))
        for several, one in zip(together, alone, strict=True):
            torch.testing.assert_close(several[n : n + 1], one, rtol=1e-4, atol=1e-5)  # order of float32 sums


@torch.no_grad()
def test_several_prompts_about_an_image_are_answered_as_about_its_copies(model):
    image, prompt = images(2), rows(every_kind(), [0, 1, 2, 3, 4, 2])
    several = model.decode(model.encode(image), prompt)
    copies = model.decode(model.encode(image.repeat_interleave(3, dim=0)), prompt)
    for one, other in zip(several, copies, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_absent_prompt_is_the_same_wherever_it_is_and_padding_changes_nothing(model):
    embedding, none = model.encode(images(1)), Prompt.none(1, device=torch.device("cpu"))
    answer = model.decode(embedding, none).logits
    for xy in ([3.0, 4.0], [torch.nan, 1e30]):
        assert model.decode(embedding, replace(none, points_xy=torch.tensor([[xy]]))).logits.equal(answer)
    prompt, embedding = every_kind(), model.encode(images(5))
    padded = prompt.with_clicks(torch.full((5, 2), 7.0), torch.full((5,), ABSENT))
    assert model.decode(embedding, padded).logits.equal(model.decode(embedding, prompt).logits)


@torch.no_grad()
def test_every_kind_of_prompt_changes_the_answer(model):
    logits = model.decode(model.encode(images(1)), every_kind()).logits
    for one in range(5):
        for other in range(one):
            assert (logits[one] - logits[other]).abs().max() > 1e-3
    inside = Prompt.none(2, device=logits.device).only_clicks(torch.full((2, 1, 2), 9.0), torch.tensor([[1], [0]]))
    logits = model.decode(model.encode(images(1)), inside).logits
    assert (logits[0] - logits[1]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("value", [0.0, 0.35, 1.0])
def test_a_lone_click_in_an_image_of_one_value_is_seen_where_it_is(model, value):
    """No norm makes NaN of it, or hides it: the answer changes most around the click."""
    embedding = model.encode(torch.full((1, 1, SIDE, SIDE), value))
    none = Prompt.none(1, device=torch.device("cpu"))
    clicked = none.only_clicks(torch.tensor([[[20.0, 11.0]]]), torch.tensor([[1]]))
    change = (model.decode(embedding, clicked).logits - model.decode(embedding, none).logits).abs()[0, 0]
    assert change.isfinite().all()
    near = torch.zeros_like(change, dtype=torch.bool)
    near[11 - 4 : 11 + 5, 20 - 4 : 20 + 5] = True  # the disc, and one pixel that a convolution sees it from
    assert change[near].mean() > 2 * change[~near].mean()
    assert change[near].mean() > 0.05


@torch.no_grad()
@pytest.mark.parametrize("kind", ["a box as large as the window", "a mask of nothing"])
def test_a_level_that_is_the_same_everywhere_is_seen(model, kind):
    """An instance norm would take it away."""
    embedding = model.encode(images(1))
    none = Prompt.none(1, device=torch.device("cpu"))
    box, nothing = torch.tensor([[0.0, 0.0, SIDE, SIDE]]), torch.full((1, 1, SIDE, SIDE), -20.0)
    asked = none.with_boxes(box) if "box" in kind else none.with_mask(nothing)
    change = model.decode(embedding, asked).logits - model.decode(embedding, none).logits
    assert change[..., 8:-8, 8:-8].abs().mean() > 0.02


@pytest.mark.parametrize("brightness", [0.0, 1.0])
def test_gradients_are_finite_and_reach_every_parameter(brightness):
    model = small(prior="auto")
    task = Promptable(model=model, criterion=with_iou_head(), first=FirstPrompt(none=1, box=1, point=1), rounds=3)
    silent = {name for name, _ in task.named_parameters()}
    for step in range(3):
        task.zero_grad()
        given = batch(step=step)
        task(replace(given, image=brightness * given.image)).total.backward()
        assert all(p.grad.isfinite().all() for p in task.parameters() if p.grad is not None)
        silent -= {name for name, p in task.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert not silent


def test_a_few_steps_with_corrections_lower_the_loss():
    task = Promptable(model=small(), criterion=criterion(), rounds=2, first=FirstPrompt(none=0, box=1, point=1))
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        report = task(batch(structures=2))
        optimizer.zero_grad()
        report.total.backward()
        optimizer.step()
        losses.append(report.total.item())
    assert losses[-1] < 0.8 * losses[0]


def test_every_kind_of_prompt_is_trained_and_reaches_its_channels():
    first = FirstPrompt(none=0, box=1, point=1, scribble=1, lasso=1)
    plan = RoundPlan(scribbles=0.4, lassos=0.4, drop=0.2)
    task = Promptable(model=small(), criterion=criterion(), rounds=3, first=first, plan=plan)
    reached = torch.zeros(8)
    for step in range(4):
        task.zero_grad()
        task(batch(step=step, structures=2)).total.backward()
        reached += task.model.prompt_encoder.conv.weight.grad.abs().sum((0, 2, 3))
    assert (reached > 0).all()


@torch.no_grad()
def test_neighbouring_slices_are_channels_of_the_image():
    model = small(channels=3).eval()
    image = images(2, channels=3)
    answer = model.decode(model.encode(image), rows(every_kind(), [1, 2]))
    assert answer.logits.shape == (2, 1, SIDE, SIDE)
    for channel in range(3):
        other = image.clone()
        other[:, channel] = 0.5
        assert (model.decode(model.encode(other), rows(every_kind(), [1, 2])).logits - answer.logits).abs().max() > 1e-3


def test_weights_fit_any_image_size_and_a_bundle_gives_them_back(tmp_path):
    trained, larger = small(prior="auto"), small(image_size=2 * SIDE, prior="auto")
    with torch.no_grad():
        trained.unet.logits.weight.add_(1)
    larger.load_state_dict(trained.state_dict())
    loaded = saved_and_loaded(trained, tmp_path, prompts=list(KINDS))
    with torch.no_grad():
        assert loaded(images(2)).equal(trained.eval()(images(2)))


def saved_and_loaded(model, folder, **named):
    """Return a model from a bundle whose facts name the given arguments."""
    config = {"_target_": "segfocal.models.PromptUNet", "image_size": SIDE, "widths": [16, 24, 32], "prior": "auto"}
    bundle = bundles.Bundle(
        model=model, model_config=config | named, grid=ModelGrid(spacing_mm=(2.0, 2.0)), window=(SIDE, SIDE),
        intensity=Percentiles(), structures=(Structure(name="a", value=1),), training={}, needs_prompts=True,
    )  # fmt: skip
    bundles.save(bundle, folder)
    return bundles.load(folder).model


@torch.no_grad()
def test_a_bundle_of_before_scribbles_answers_them_as_clicks_and_boxes(tmp_path):
    before = small(prior="auto", prompts=("clicks", "box", "mask")).eval()
    assert before.prompt_encoder.conv.weight.shape[1] == 4
    loaded = saved_and_loaded(before, tmp_path)  # its facts name no kinds
    embedding, asked = loaded.encode(images(5)), every_kind()
    assert loaded.decode(embedding, asked).logits.equal(before.decode(before.encode(images(5)), asked).logits)
    asked = asked.with_scribbles(strokes()).with_lassos(strokes().flip(2))
    answer = loaded.decode(embedding, asked).logits
    assert answer.equal(loaded.decode(embedding, as_clicks_and_boxes(asked)).logits)
    assert not answer.equal(loaded.decode(embedding, every_kind()).logits)


def strokes():
    """Return five images of a line inside, and of one outside."""
    drawn = torch.zeros(5, 2, SIDE, SIDE)
    drawn[:, 0, 9, 4:20] = 1
    drawn[:, 1, 20:30, 25] = 1
    return drawn


@torch.no_grad()
@pytest.mark.parametrize("kind", ["scribbles", "lassos"])
@pytest.mark.parametrize("side", [0, 1])
def test_a_stroke_has_channels_of_its_own_inside_and_outside(model, kind, side):
    embedding, none = model.encode(images(5)), Prompt.none(5, device=torch.device("cpu"))
    drawn = strokes()
    drawn[:, 1 - side] = 0
    asked = replace(none, **{kind: drawn})
    answer = model.decode(embedding, asked).logits
    assert (answer - model.decode(embedding, none).logits).abs().max() > 1e-3
    assert (answer - model.decode(embedding, replace(none, **{kind: drawn.flip(1)})).logits).abs().max() > 1e-3
    blank = replace(none, **{kind: torch.zeros_like(drawn)})
    assert model.decode(embedding, blank).logits.equal(model.decode(embedding, none).logits)


@torch.no_grad()
def test_an_answer_is_the_mask_of_the_next_prompt(model):
    embedding = model.encode(images(5))
    first = model.decode(embedding, every_kind())
    second = model.decode(embedding, every_kind().with_mask(first.low_res_logits))
    assert second.logits.isfinite().all()
    assert first.low_res_logits.equal(first.logits)


@torch.no_grad()
def test_first_predictions_lie_around_the_prior():
    model = small(prior="auto").eval()
    logits = prior_logits("auto", [0.88, 0.1, 0.02], "sigmoid")
    model.start_from(logits)
    answer = model.decode(model.encode(images(5)), every_kind()).logits
    assert answer.mean().item() == pytest.approx(logits.mean().item(), abs=0.7)
    assert answer.std() < 1.5


def test_bf16_is_finite_and_near():
    model = small()
    exact = model.decode(model.encode(images(5)), every_kind()).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model.decode(model.encode(images(5)), every_kind()).logits
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.2)  # two to three digits, through some ten layers


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_size": 30}, "model.image_size to be a multiple of 4; got 30"),
        ({"image_size": 0}, "model.image_size"),
        ({"widths": (16,)}, "at least two model.widths"),
        ({"widths": (16, 20)}, "multiples of 8"),
        ({"click_radius": -1.0}, "model.click_radius from 0 to 32"),
        ({"click_radius": 1e4}, "model.click_radius from 0 to 32"),
        ({"click_radius": float("nan")}, "model.click_radius from 0 to 32"),
        ({"prior": 2.0}, "model.prior"),
        ({"prompts": ["clicks", "box"]}, "model.prompts of clicks, box, mask, scribbles, lassos, the first three"),
        ({"prompts": ["clicks", "box", "mask", "mask"]}, "model.prompts"),
        ({"prompts": ["clicks", "box", "mask", "words"]}, "model.prompts"),
    ],
)
def test_what_cannot_be_says_what_can(options, words):
    with pytest.raises(ValueError, match=words):
        small(**options)


def test_it_gives_one_mask_a_prompt(model):
    with pytest.raises(ValueError, match="several masks"):
        model.decode(model.encode(images(1)), rows(every_kind(), [1]), multimask=True)
    with pytest.raises(ValueError, match=r"task\.multimask=single"):
        Promptable(model=model, criterion=with_iou_head(), multimask="best_predicted")


def test_the_default_is_of_a_size_for_a_cpu():
    assert sum(p.numel() for p in models.PromptUNet().parameters()) == 1_908_993


def of_volumes(**options):
    torch.manual_seed(0)
    return PromptUNet(**({"image_size": (8, 16, 24), "widths": (16, 24, 32)} | options)).eval()


def volume_prompts():
    """Return four prompts about volumes: none, a box, a click with a mask, and a click outside."""
    prompt = Prompt.none(4, device=torch.device("cpu"), axes=3)
    boxes = torch.full((4, 6), torch.nan)
    boxes[1] = torch.tensor([3.0, 2.0, 1.0, 15.0, 9.0, 6.0])
    xyz, labels = torch.tensor([[9.0, 4.0, 5.0]]).expand(4, 3), torch.tensor([ABSENT, ABSENT, 1, 0])
    masks = torch.randn(4, 1, 8, 16, 24, generator=torch.Generator().manual_seed(5))
    prompt = prompt.with_boxes(boxes).with_clicks(xyz, labels).with_mask(masks)
    return replace(prompt, has_mask=torch.arange(4) == 2)


@torch.no_grad()
def test_of_volumes_too_the_first_layer_is_one_convolution_of_image_and_prompt():
    model, prompt = of_volumes(), volume_prompts()
    image = torch.rand(4, 1, 8, 16, 24, generator=torch.Generator().manual_seed(1))
    seen = torch.cat([(image - 0.35) / 0.3, draw_prompts(prompt, (8, 16, 24), click_radius=3.0)], dim=1)
    first, second = model.image_encoder.conv, model.prompt_encoder.conv
    features = F.conv3d(seen, torch.cat([first.weight, second.weight], dim=1), first.bias, padding=1)
    logits, predicted_iou = model.unet(features)
    answer = model.decode(model.encode(image), prompt)
    assert answer.logits.shape == (4, 1, 8, 16, 24)
    torch.testing.assert_close(answer.logits, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(answer.predicted_iou, predicted_iou, rtol=1e-4, atol=1e-4)
    assert model(image)[0].equal(answer.logits[0])


@torch.no_grad()
def test_a_prompt_about_a_volume_is_answered_in_company_as_alone():
    model, prompt = of_volumes(), volume_prompts()
    image = torch.rand(1, 1, 8, 16, 24, generator=torch.Generator().manual_seed(1))
    together = model.decode(model.encode(image), prompt).logits
    for row in range(4):
        alone = Prompt(**{name: value[row : row + 1] for name, value in vars(prompt).items() if value is not None})
        found = model.decode(model.encode(image), alone).logits
        torch.testing.assert_close(found[0], together[row], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(16, 24), (4, 4, 4, 4), (6, 16, 16)])
def test_volumes_that_cannot_be_say_what_can(size):
    with pytest.raises(ValueError, match=r"model\.image_size to be a multiple of 4; got .*three of volumes"):
        of_volumes(image_size=size)


def test_volumes_are_learnt_with_every_kind_of_prompt_and_correction():
    model = of_volumes(image_size=(8, 16, 16)).train()
    first = FirstPrompt(none=0, box=0.3, point=0.3, scribble=0.2, lasso=0.2)
    plan = RoundPlan(click_at="largest", scribbles=0.2, lassos=0.2, drop=0.2)
    task = Promptable(model=model, criterion=criterion(), first=first, plan=plan, rounds=3, masks_per_image=2)
    target = torch.zeros(2, 2, 8, 16, 16, dtype=torch.uint8)
    target[:, 0, 2:6, 3:9, 4:12] = target[:, 1, 1:5, 10:14, 2:8] = 1
    image = (target.sum(1, keepdim=True) * 0.4 + 0.1).float()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for step in range(12):
        keys = tuple(SampleKey(1, step, i) for i in range(2))
        report = task(Batch(image=image, target=target, keys=keys, origins=(Origin("a"),) * 2))
        optimizer.zero_grad()
        report.total.backward()
        optimizer.step()
        losses.append(report.total.item())
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
