"""SAM-Med2D's training step, ours against segment_anything's modules: same weights, images, prompts, in one process.

One step is a forward pass of all rounds and its backward pass: images are encoded, each is asked for several masks, by
a box first, then by one more click each round together with the previous answer; the adapters, the prompt encoder and
the mask decoder are trained. Prints seconds (median, quartiles), masks a second, the ratio to ours and the largest
memory in use beyond weights and images; writes JSON under benchmarks/results. The contenders take turns, each with a
step that is not counted first.

    repeated     stock attention over padded windows; one embedding copied for every mask; all mask tokens decoded
    re-encoded   the same, and the images are encoded again in every round
    ours         models.sam_med2d; `checkpointed` is the same with checkpointing=true

    python benchmarks/sam.py [device] [--dtypes float32 bfloat16 float16] [--repeats 5] [--contenders ours repeated …]
                             [--images 2] [--masks 5] [--rounds 9] [--image-size 256]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from segfocal import models
from segfocal.models.sam import upstream
from segfocal.models.sam.architecture import VIT_B
from segfocal.prompts import Prompt

WARM_UP = 1
REFERENCE = "ours"
CONTENDERS = (REFERENCE, "checkpointed", "repeated", "re-encoded")


class StockBlock(upstream.EncoderBlock):
    """segment_anything's block with SAM-Med2D's adapter beside the MLP."""

    def forward(self, x):
        attended, (h, w) = self.norm1(x), x.shape[1:3]
        if self.window_size:
            attended, padded = upstream.window_partition(attended, self.window_size)
        attended = self.attn(attended)
        if self.window_size:
            attended = upstream.window_unpartition(attended, self.window_size, padded, (h, w))
        x = x + attended
        normal = self.norm2(x)
        return x + self.mlp(normal) + self.beside(normal)

    def beside(self, tokens):
        maps, adapter = tokens.permute(0, 3, 1, 2), self.Adapter
        seen = adapter.spatial(maps * adapter.channel(maps.mean((2, 3)))[:, :, None, None])
        return adapter.norm((maps + seen).permute(0, 2, 3, 1))


def stock_block(index, tokens):
    """Return a block of ViT-B for images of `tokens` a side."""
    window = 0 if index in VIT_B.global_blocks else VIT_B.window
    return StockBlock(VIT_B.width, VIT_B.heads, use_rel_pos=True, window_size=window, input_size=(tokens, tokens))


class StockDecoder(upstream.MaskDecoder):
    """segment_anything's decoder of one embedding a prompt: SAM-Med2D hands it a copy for each."""

    def predict_masks(self, image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings):
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(sparse_prompt_embeddings), -1, -1), sparse_prompt_embeddings], dim=1)
        source = image_embeddings + dense_prompt_embeddings
        b, c, h, w = source.shape
        answers, source = self.transformer(source, image_pe.repeat_interleave(b, dim=0), tokens)
        upscaled = self.output_upscaling(source.transpose(1, 2).reshape(b, c, h, w))
        queries = [mlp(answers[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)]
        masks = torch.stack(queries, dim=1) @ upscaled.flatten(2)
        return masks.unflatten(2, upscaled.shape[2:]), self.iou_prediction_head(answers[:, 0])


class Stock(torch.nn.Module):
    """The parts of `ours` put together from segment_anything's own classes, with the same parameters."""

    def __init__(self, ours):
        super().__init__()
        size, tokens = ours.image_size, ours.image_size // 16
        with torch.device("meta"):
            self.image_encoder = upstream.ImageEncoderViT(
                img_size=size,
                depth=VIT_B.depth,
                use_rel_pos=True,
                window_size=VIT_B.window,
                global_attn_indexes=VIT_B.global_blocks,
            )
            self.prompt_encoder = upstream.PromptEncoder(
                embed_dim=256,
                image_embedding_size=(tokens, tokens),
                input_image_size=(size, size),
                mask_in_chans=16,
            )
            transformer = upstream.TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048)
            self.mask_decoder = StockDecoder(transformer_dim=256, transformer=transformer)
            self.image_encoder.blocks = torch.nn.ModuleList(stock_block(index, tokens) for index in range(VIT_B.depth))
        for block, our in zip(self.image_encoder.blocks, ours.image_encoder.blocks, strict=True):
            block.Adapter = our.Adapter
            for norm in (block.norm1, block.norm2):
                norm.eps = our.norm1.eps
        trained = {name for name, parameter in ours.named_parameters() if parameter.requires_grad}
        self.load_state_dict(ours.state_dict(keep_vars=True), assign=True)  # which makes all of them trained
        for name, parameter in ours.named_parameters():
            parameter.requires_grad_(name in trained)


class Work:
    """Images, prompts and targets of one step, and the step of each contender."""

    def __init__(self, asked, device):
        self.images, self.masks, self.rounds = asked.images, asked.masks, asked.rounds
        count, size = asked.images * asked.masks, asked.image_size
        generator = torch.Generator().manual_seed(0)
        self.image = torch.rand(asked.images, 3, size, size, generator=generator).to(device)
        low = torch.rand(count, 2, generator=generator) * size / 2
        self.boxes = torch.cat([low, low + size / 4], dim=1).to(device)
        self.clicks = (torch.rand(count, asked.rounds, 2, generator=generator) * size).to(device)
        self.labels = (torch.rand(count, asked.rounds, generator=generator) < 0.5).long().to(device)
        self.target = (torch.rand(count, 1, size, size, generator=generator) < 0.1).float().to(device)

    def loss(self, logits, iou):
        return F.binary_cross_entropy_with_logits(logits, self.target) + iou.float().square().mean()

    def ours(self, model):
        """Return the loss and the last answer."""
        embedding = model.encode(self.image)
        blank = Prompt.none(len(self.boxes), device=self.boxes.device)
        prompt, loss = blank.with_boxes(self.boxes), 0.0
        for turn in range(self.rounds):
            answer = model.answer(embedding, prompt)
            loss = loss + self.loss(answer.logits, answer.predicted_iou)
            prompt = replace(
                blank, points_xy=self.clicks[:, : turn + 1], point_labels=self.labels[:, : turn + 1]
            ).with_mask(answer.low_res_logits.detach().float())
        return loss, answer.low_res_logits

    def stock(self, stock, ours, *, encodings):
        """Return the loss and the last answer."""
        image = (self.image.flip(1) - ours.pixel_mean) / ours.pixel_std
        points, boxes, masks, loss = None, self.boxes, None, 0.0
        for turn in range(self.rounds):
            if turn < encodings:
                embedding = stock.image_encoder(image).repeat_interleave(self.masks, dim=0)
            sparse, dense = stock.prompt_encoder(points, boxes, masks)
            low_res, iou = stock.mask_decoder(embedding, stock.prompt_encoder.get_dense_pe(), sparse, dense, True)
            best = iou.argmax(1, keepdim=True)
            low_res = torch.take_along_dim(low_res, best[:, :, None, None], dim=1)
            logits = F.interpolate(low_res.float(), self.target.shape[2:], mode="bilinear", align_corners=False)
            loss = loss + self.loss(logits, torch.take_along_dim(iou, best, dim=1))
            points, boxes = (self.clicks[:, : turn + 1], self.labels[:, : turn + 1]), None
            masks = low_res.detach().float().sigmoid()
        return loss, low_res


def steps(asked, device):
    """Return the model and, by name, a function that makes a contender's loss and last answer."""
    torch.manual_seed(0)
    model = models.sam_med2d(image_size=asked.image_size).to(device).train()
    for block in model.image_encoder.blocks:
        torch.nn.init.ones_(block.Adapter.norm.weight)  # as trained ones: at 0 they would say nothing
        for table in (block.attn.rel_pos_h, block.attn.rel_pos_w):
            torch.nn.init.normal_(table, std=0.1)
    work, stock = Work(asked, device), Stock(model)

    def ours(checkpointing):
        model.checkpointing = model.image_encoder.checkpointing = checkpointing
        return work.ours(model)

    return model, {
        "ours": lambda: ours(False),
        "checkpointed": lambda: ours(True),
        "repeated": lambda: work.stock(stock, model, encodings=1),
        "re-encoded": lambda: work.stock(stock, model, encodings=work.rounds),
    }


def measure(model, contenders, device, dtype, repeats):
    """Return a row for each contender: seconds, the difference of its answer to ours, peak memory in GiB."""
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def step(name):
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            loss, answer = contenders[name]()
        scaler.scale(loss).backward()
        return answer.detach().float()

    rows = {name: {"seconds": []} for name in contenders}
    first = step(REFERENCE)
    for name, row in rows.items():
        model.zero_grad(set_to_none=True)
        row["difference"] = ((step(name) - first).abs().max() / first.abs().max()).item()
        row["finite"] = all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
        model.zero_grad(set_to_none=True)
        row["peak_gib"] = peak_gib(lambda name=name: step(name), device)
    for _ in range(repeats):
        for name, row in rows.items():
            model.zero_grad(set_to_none=True)
            step(name)  # not counted: the memory that another gave back would be this one's to take
            model.zero_grad(set_to_none=True)
            wait(device)
            begun = time.perf_counter()
            step(name)
            wait(device)
            row["seconds"].append(time.perf_counter() - begun)
    for row in rows.values():
        row["median"] = statistics.median(row["seconds"])
    return rows


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_gib(call, device):
    """Return the largest memory in use while a call runs, beyond what was in use before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**30
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    used = most = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":  # bytes taken, or less than zero for given back
            used += event.nbytes()
            most = max(most, used)
    return most / 2**30


def report(rows, count):
    print(f"{'':14}{'median, s':>11}{'fastest, s':>12}{'× ours':>8}{'masks/s':>9}{'peak, GiB':>11}{'difference':>12}")
    for name, row in rows.items():
        ratio = row["median"] / rows[REFERENCE]["median"]
        line = f"{name:14}{row['median']:11.3f}{min(row['seconds']):12.3f}{ratio:8.2f}{count / row['median']:9.1f}"
        print(line + f"{row['peak_gib']:11.2f}{row['difference']:12.1e}" + ("" if row["finite"] else "  not finite"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", nargs="?", default="cpu")
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    for option, default in (("images", 2), ("masks", 5), ("rounds", 9), ("image-size", 256), ("repeats", 5)):
        parser.add_argument(f"--{option}", type=int, default=default)
    asked = parser.parse_args()
    device = torch.device(asked.device)
    model, contenders = steps(asked, device)
    contenders = {name: step for name, step in contenders.items() if name in {REFERENCE, *asked.contenders}}
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    work = (
        f"{asked.images} images of {asked.image_size}×{asked.image_size} × {asked.masks} masks, {asked.rounds} rounds"
    )
    made = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    for dtype in asked.dtypes:
        load = os.getloadavg()[0]  # processes that want a core
        print(f"\n{work}, {dtype}, {where}, load {load:.1f}, {asked.repeats} repeats")
        rows = measure(model, contenders, device, getattr(torch, dtype), asked.repeats)
        report(rows, asked.images * asked.masks)
        facts = {"date": str(date.today()), "machine": f"{platform.machine()}, {where}", "torch": torch.__version__}
        facts |= {"command": " ".join(["python", *sys.argv]), "commit": made.stdout.strip() or "unknown"}
        facts |= {"work": work, "dtype": dtype, "load": load, "repeats": asked.repeats, "rows": rows}
        out = Path(__file__).parent / "results" / f"sam_{device.type}_{dtype}_{asked.image_size}.json"
        out.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
