"""A promptable model that knows: its image is the truth, and it answers what of it lies in the box or under a click."""

import torch
from scipy import ndimage
from torch import nn

from segfocal.models import Answer, PromptableModel
from segfocal.models.sam.image_embedding import Embedding
from segfocal.prompts import as_clicks_and_boxes

SIDE = 32


class _Seen(nn.Module):
    count = 0

    def forward(self, image):
        self.count += len(image)
        return Embedding(tokens=image)


class Perfect(PromptableModel):
    """Answers ±8: inside where the image is bright and in the box; clicks add or take a whole component.

    asked: the prompts it was given, one window each.
    """

    def __init__(self, side=SIDE):
        nn.Module.__init__(self)
        self.image_encoder = _Seen()
        self.image_size, self.channel_order, self.multimask = side, None, False
        self.pixel_mean, self.pixel_std = 0.0, 1.0
        self.mask_size = self.image_shape = (side, side)
        self.asked = []

    def answer(self, embedding, prompt):
        prompt = as_clicks_and_boxes(prompt)
        logits = torch.full_like(embedding.tokens, -8.0)
        for row, image in enumerate(embedding.tokens[:, 0]):
            own = {name: value[row] for name, value in vars(prompt).items() if value is not None}
            self.asked.append(own)
            logits[row, 0][self.inside(image > 0.25, own)] = 8.0
        ones = torch.ones(len(logits), 1)
        return Answer(logits=logits, low_res_logits=logits, predicted_iou=ones)

    def inside(self, truth, prompt):
        side = torch.arange(self.image_size) + 0.5
        x0, y0, x1, y1 = prompt["boxes_xyxy"]
        found = truth & ((side > y0) & (side < y1))[:, None] & ((side > x0) & (side < x1))
        components = torch.from_numpy(ndimage.label(truth.numpy())[0])
        for (x, y), label in zip(prompt["points_xy"].round().long(), prompt["point_labels"], strict=True):
            if label >= 0:
                under = (components == components[y, x]) & truth
                found = found | under if label else found & ~under
        return found


class PerfectOfVolumes(Perfect):
    """The same of volumes. Of a mask it is shown, it answers all components that the mask touches."""

    def __init__(self, window=(8, SIDE, SIDE)):
        super().__init__()
        self.image_shape = self.mask_size = window

    def inside(self, truth, prompt):
        found = torch.zeros_like(truth)
        components = torch.from_numpy(ndimage.label(truth.numpy(), ndimage.generate_binary_structure(3, 3))[0])
        x0, y0, z0, x1, y1, z1 = prompt["boxes_xyxy"]
        if torch.isfinite(x0):
            touched = components[int(z0) : int(z1), int(y0) : int(y1), int(x0) : int(x1)].unique()
            found |= truth & torch.isin(components, touched)
        if "mask_logits" in prompt:
            found |= truth & torch.isin(components, components[(prompt["mask_logits"][0] > 0) & truth].unique())
        for (x, y, z), label in zip(prompt["points_xy"].round().long(), prompt["point_labels"], strict=True):
            if label >= 0:
                under = (components == components[z, y, x]) & truth
                found = found | under if label else found & ~under
        return found
