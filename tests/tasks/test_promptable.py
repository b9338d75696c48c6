"""Promptable training: prompts of the target, rounds of corrections, one mean loss."""

from dataclasses import replace

import pytest
import torch

from segfocal import models
from segfocal.batch import Batch, Origin, SampleKey
from segfocal.losses import CCDiceLoss, WeightedSum
from segfocal.models import UNet
from segfocal.prompts import ABSENT
from segfocal.tasks import FirstPrompt, Promptable, RoundPlan
from tests.tasks.models import PROMPTED, SAM_MED2D, Listening, batch, criterion, several, tiny, with_iou_head


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("empty", [False, True])
def test_promptable_loss_is_finite_and_reaches_the_encoder(rounds, empty):
    task = Promptable(model=tiny(), criterion=criterion(), rounds=rounds)
    report = task(batch(empty=empty))
    report.total.backward()
    assert torch.isfinite(report.total)
    assert task.model.image_encoder.to_half[0].weight.grad.abs().sum() > 0


def trace(rounds):
    """Return the losses of six steps of training with the defaults, as they were before there were round plans."""
    task = Promptable(model=tiny(), criterion=with_iou_head(), rounds=rounds)
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-3)
    losses = []
    for step in range(6):
        generator = torch.Generator().manual_seed(step)
        target = torch.zeros(4, 1, 32, 32, dtype=torch.uint8)
        for i in range(3):
            y, x = torch.randint(0, 16, (2,), generator=generator).tolist()
            target[i, 0, y : y + 6 + i, x : x + 12] = 1
        image = torch.rand(4, 1, 32, 32, generator=generator)
        keys = tuple(SampleKey(3, step, i) for i in range(4))
        report = task(Batch(image=image, target=target, keys=keys, origins=(Origin("a"),) * 4))
        report.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(report.total.item())
    return losses


@pytest.mark.parametrize(
    ("rounds", "recorded"),
    [
        (1, [3.1082764, 2.1661053, 1.8458163, 1.7720968, 1.7595785, 1.7798926]),
        (3, [3.0709736, 2.1756339, 1.9008933, 1.7666613, 1.7543761, 1.7591629]),
    ],
)
def test_the_defaults_train_as_they_always_did(rounds, recorded):
    assert trace(rounds) == pytest.approx(recorded, rel=1e-4)  # other processors round otherwise, six steps long


def one_pass(trained_rounds, step, *, autocast=False):
    """Return the loss of a step of three rounds, its gradients by name, and what listened to its answers."""
    task = Promptable(model=tiny(), criterion=criterion(), rounds=3, trained_rounds=trained_rounds, first=PROMPTED)
    listening = Listening(task.model)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        report = task(batch(step=step))
    report.total.backward()
    gradients = {name: p.grad for name, p in task.named_parameters() if p.grad is not None and p.grad.any()}
    return report.total.item(), gradients, listening


def test_a_drawn_round_is_one_of_those_that_all_train_and_the_only_one_with_gradients():
    answers = set()
    for step in range(8):
        loss, _, drawn = one_pass("drawn", step)
        _, _, every = one_pass("all", step)
        number = len(drawn.answers)
        torch.testing.assert_close(drawn.answers[-1].logits, every.answers[number - 1].logits)
        task = Promptable(model=tiny(), criterion=criterion(), rounds=3)
        expected = task.criterion(every.answers[number - 1].logits, task.loss_target(batch(step=step)))
        assert loss == pytest.approx(expected.total.item(), rel=1e-5)
        assert [answer.logits.requires_grad for answer in drawn.answers] == [False] * (number - 1) + [True]
        answers.add(number)
    assert answers == {1, 2, 3}


def test_rounds_without_gradients_take_none_from_the_round_that_is_trained_in_bf16():
    step = next(step for step in range(20) if len(one_pass("drawn", step)[2].answers) == 3)
    exact, cast = one_pass("drawn", step)[1], one_pass("drawn", step, autocast=True)[1]
    assert exact.keys() == cast.keys()
    whole = [torch.cat([gradients[name].flatten() for name in exact]) for gradients in (exact, cast)]
    assert torch.nn.functional.cosine_similarity(*whole, dim=0) > 0.98


def silent_after(task, steps=4, **options):
    """Return the names of parameters that no batch of a few reached with a gradient."""
    silent = {name for name, p in task.named_parameters() if p.requires_grad}
    for step in range(steps):
        task.zero_grad()
        task(batch(step=step, **options)).total.backward()
        silent -= {name for name, p in task.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    return silent


def test_all_parameters_learn_from_mixed_prompts_rounds_and_the_iou_head():
    first = FirstPrompt(none=1, box=1, point=1)
    assert not silent_after(Promptable(model=tiny(), criterion=with_iou_head(), first=first, rounds=4))


def test_in_the_plan_of_sam_med2d_every_kind_of_prompt_learns():
    task = Promptable(model=several(True), criterion=with_iou_head(), multimask="best_true", **SAM_MED2D)
    silent = silent_after(task, steps=6)
    assert all(
        "mask_decoder.output_hypernetworks_mlps.0." in name for name in silent
    )  # the single mask is never decoded


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sam_vit_b", "sam_med2d", "lite_medsam", "mobile_sam", "sam_tiny", "PromptUNet"])
def test_every_trained_parameter_of_the_published_models_learns_within_an_epoch_of_mixed_prompts(name):
    side = 128 if name in ("sam_tiny", "PromptUNet") else 256
    model = getattr(models, name)().train()
    first = FirstPrompt(none=1, box=1, point=1, box_point=1)
    chooses = "best_true" if model.multimask else "single"
    task = Promptable(model=model, criterion=with_iou_head(), first=first, rounds=3, multimask=chooses)
    silent = {key for key, p in task.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(task.parameters(), lr=1e-3)  # what starts at zero hides what lies behind it for a step
    for step in range(8):
        small = batch(step=step, count=2)
        whole = replace(small, image=enlarged(small.image, side), target=enlarged(small.target, side))
        task(whole).total.backward()
        silent -= {key for key, p in task.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        optimizer.step()
        optimizer.zero_grad()
        if not silent:
            return
    assert not silent


def enlarged(pixels, side):
    return pixels.repeat_interleave(side // 32, -1).repeat_interleave(side // 32, -2)


@pytest.mark.slow
@pytest.mark.parametrize("multimask", ["single", "best_predicted"])
def test_two_hundred_steps_in_bf16_stay_finite(multimask):
    model = several(multimask != "single")
    task = Promptable(model=model, criterion=with_iou_head(), multimask=multimask, **SAM_MED2D)
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-3)
    for step in range(200):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            report = task(batch(step=step, structures=2))
        report.total.backward()
        assert report.total.isfinite()
        assert all(p.grad.isfinite().all() for p in task.parameters() if p.grad is not None)
        optimizer.step()
        optimizer.zero_grad()
    assert all(p.isfinite().all() for p in task.parameters())


def test_the_same_keys_give_the_same_loss():
    task = Promptable(model=tiny(), criterion=criterion(), rounds=2)
    assert task(batch()).total == task(batch()).total


@pytest.mark.parametrize("structures", [1, 3])
@pytest.mark.parametrize("many", [None, 2])
def test_the_prompts_of_a_sample_do_not_depend_on_the_batch(structures, many):
    def prompts_of(images):
        model = several()
        heard = Listening(model)
        whole = batch(structures=structures)
        part = Batch(
            image=whole.image[images], target=whole.target[images], keys=whole.keys[images], origins=(Origin("a"),) * 4
        )
        Promptable(model=model, criterion=criterion(), first=PROMPTED, masks_per_image=many, rounds=2)(part)
        return heard.prompts

    together, alone, m = prompts_of(slice(0, 4)), prompts_of(slice(2, 3)), many or structures
    for one, of_many in zip(alone, together, strict=True):
        rows = slice(2 * m, 3 * m)
        assert torch.equal(one.points_xy, of_many.points_xy[rows])
        assert torch.equal(one.point_labels, of_many.point_labels[rows])
        assert torch.equal(one.boxes_xyxy.nan_to_num(-1), of_many.boxes_xyxy[rows].nan_to_num(-1))


def test_a_batch_draws_one_kind_together_and_samples_each_their_own():
    kinds = {"batch": set(), "sample": set()}
    for drawn_by, seen in kinds.items():
        model = several()
        heard = Listening(model)
        first = replace(PROMPTED, drawn_by=drawn_by)
        task = Promptable(model=model, criterion=criterion(), first=first)
        for step in range(8):
            task(batch(step=step))
        seen |= {int(prompt.boxes_xyxy.isfinite().all(1).sum()) for prompt in heard.prompts}
    assert kinds["batch"] == {0, 4}
    assert kinds["sample"] - {0, 4}


def test_processes_that_share_a_step_draw_the_same_kind_and_the_same_numbers_of_clicks():
    whole = batch(count=4)
    shapes = []
    for images in (slice(0, 2), slice(2, 4)):
        model = several()
        heard = Listening(model)
        part = Batch(
            image=whole.image[images], target=whole.target[images], keys=whole.keys[images], origins=(Origin("a"),)
        )
        Promptable(model=model, criterion=criterion(), **SAM_MED2D)(part)
        shapes.append([(p.points_xy.shape, bool(p.boxes_xyxy.isfinite().all())) for p in heard.prompts])
    assert shapes[0] == shapes[1]


def test_the_rounds_of_sam_med2d():
    model = several(True)
    heard = Listening(model)
    Promptable(model=model, criterion=with_iou_head(), multimask="best_predicted", **SAM_MED2D)(batch())
    first, *later = heard.prompts
    assert first.mask_logits is None
    assert len(later) == 8
    alone = [(prompt.point_labels == ABSENT).all().item() for prompt in later]
    assert alone[-1]
    assert sum(alone) == 2
    for answer, prompt, bare in zip(heard.answers, later, alone, strict=False):
        assert prompt.boxes_xyxy.isnan().all()
        best = answer.predicted_iou.argmax(1)
        assert torch.equal(prompt.mask_logits[:, 0], answer.low_res_logits[torch.arange(4), best].detach())
        assert bare or prompt.point_labels.shape[1] in (1, 3, 5, 9)


def test_a_round_with_the_mask_alone_passes_the_clicks_on_to_the_next():
    model = several()
    heard = Listening(model)
    first = FirstPrompt(none=0, box=0, point=1)
    Promptable(model=model, criterion=criterion(), first=first, plan=RoundPlan(mask_only=2), rounds=3)(batch())
    one, alone, both = heard.prompts
    assert (alone.point_labels == ABSENT).all()
    assert alone.has_mask.all()
    assert torch.equal(both.points_xy[:, :1], one.points_xy)
    assert both.points_xy.shape[1] == 2


def test_each_prompt_is_compared_with_the_mask_of_its_structure():
    seen = []

    class Keeping(WeightedSum):
        def forward(self, logits, target, predicted_iou=None, candidates=None):
            seen.append(target)
            return super().forward(logits, target, predicted_iou, candidates)

    plain, terms = batch(structures=3), criterion()
    keeping = Keeping(dict(terms.terms), dict(terms.weights))
    Promptable(model=several(), criterion=keeping, first=PROMPTED)(plain)
    assert seen[0].shape == (12, 1, 32, 32)
    for i in range(4):
        for k in range(3):
            assert torch.equal(seen[0][3 * i + k, 0], plain.target[i, k])


def test_an_image_of_several_structures_is_encoded_once_and_prompted_for_each():
    model = several()
    heard, encoded = Listening(model), []
    model.image_encoder.register_forward_hook(lambda *_: encoded.append(1))
    first = FirstPrompt(none=0, box=1, point=0, jitter_pixels=0, jitter_share=0)
    Promptable(model=model, criterion=criterion(), first=first, rounds=3)(batch(structures=3))
    assert len(encoded) == 1
    boxes = heard.prompts[0].boxes_xyxy.reshape(4, 3, 4)
    assert boxes[0].tolist() == [[5, 8, 17, 20], [5, 12, 14, 23], [5, 16, 11, 26]]


@pytest.mark.parametrize("multimask", ["single", "best_true"])
def test_decoding_again_gives_the_same_loss_and_gradient(multimask):
    found = []
    for recompute in (False, True):
        options = SAM_MED2D | {"multimask": multimask, "recompute": recompute}
        task = Promptable(model=several(multimask != "single"), criterion=with_iou_head(), **options)
        report = task(batch(structures=2))
        report.total.backward()
        found.append((report.total, [p.grad for p in task.parameters()]))
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, rtol=1e-4, atol=1e-7)  # sums over rounds in another order


@pytest.mark.parametrize("multimask", ["single", "best_predicted", "best_true"])
def test_under_bf16_autocast_loss_and_gradient_are_finite(multimask):
    model = several(multimask != "single")
    task = Promptable(model=model, criterion=with_iou_head(), multimask=multimask, **SAM_MED2D)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        report = task(batch(structures=2))
    report.total.backward()
    assert report.total.dtype == torch.float32
    assert torch.isfinite(report.total)
    assert all(torch.isfinite(p.grad).all() for p in task.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": UNet(widths=(8, 16, 16))}, "task=semantic"),
        ({"rounds": 0}, "rounds"),
        ({"masks_per_image": 0}, "task.masks_per_image"),
        ({"plan": RoundPlan(mask_only="last")}, "task.rounds ≥ 2"),
    ],
)
def test_an_option_that_does_not_fit_names_what_does(options, words):
    with pytest.raises(ValueError, match=words):
        Promptable(**{"model": tiny(), "criterion": criterion()} | options)


def test_several_structures_need_a_prompt_each_time():
    with pytest.raises(ValueError, match=r"task\.first\.none=0 with 3 targets"):
        Promptable(model=tiny(), criterion=criterion()).check_structures(3)
    Promptable(model=tiny(), criterion=criterion(), first=PROMPTED).check_structures(3)


def test_a_task_says_whether_its_model_needs_prompts():
    assert not Promptable(model=tiny(), criterion=criterion()).needs_prompts
    assert Promptable(model=tiny(), criterion=criterion(), first=PROMPTED).needs_prompts


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'roundz'"):
        Promptable(model=tiny(), criterion=criterion(), roundz=2)


@pytest.mark.parametrize("many", [None, 2])
def test_each_mask_comes_with_its_own_cells(many):
    plain = batch(structures=3)
    cells = plain.target.int() * torch.arange(1, 13).reshape(4, 3, 1, 1).int()  # a number of its own for each mask
    task = Promptable(model=tiny(), criterion=criterion(a=CCDiceLoss()), first=PROMPTED, masks_per_image=many, rounds=2)
    marked = replace(plain, cells=cells)
    masks, found = task.loss_target(marked), task.loss_cells(marked)
    assert found.shape == masks.shape
    for mask, one in zip(masks, found, strict=True):
        assert torch.equal(one > 0, mask > 0)
        assert len(one.unique()) == 2
    report = task(marked)
    assert report.terms["a"] > 0
    assert task.loss_cells(plain) is None
