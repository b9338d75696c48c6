"""CC-Dice and the lesions of a case with many of them: ours against one distance transform a lesion, in one process.

The rival divides space as CC-Metrics does, by a transform of the whole volume for each lesion of the reference, in mm
here. The masks are balls of a radius of 2 to 9 voxels in 320×320×130, four of five of them predicted, moved by up
to two voxels, and some beside them. Prints a table with the ratio and writes JSON beside it under benchmarks/results.

    python benchmarks/lesions.py [repeats]
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
from scipy import ndimage

from segfocal.evaluate.case_lesions import Surroundings, structure_lesions
from segfocal.evaluate.case_metrics import measured_structures
from segfocal.evaluate.options import EvaluationSettings
from segfocal.grid import Grid, Volume
from segfocal.metrics import ComponentOverlaps, cc_dice_of

SHAPE, SPACING_MM, REACH = (320, 320, 130), (0.8, 0.8, 2.0), 9  # of a ball, in voxels
LESIONS = (5, 20, 100)
GRID = Grid(shape=SHAPE, affine=np.diag([*SPACING_MM, 1.0]))


def masks(count, seed=0):
    """Return a prediction and its reference."""
    rng = np.random.default_rng(seed)
    reference, prediction = np.zeros((2, *SHAPE), bool)
    squared = sum(axis**2 for axis in np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1, -REACH : REACH + 1])

    def draw(mask, centre, radius):
        mask[tuple(slice(c - REACH, c + REACH + 1) for c in centre)] |= squared <= radius**2

    for _ in range(count):
        centre, radius = rng.integers(REACH + 3, np.array(SHAPE) - REACH - 3), rng.uniform(2, REACH)
        draw(reference, centre, radius)
        if rng.random() < 0.8:
            draw(prediction, centre + rng.integers(-2, 3, 3), radius)
        if rng.random() < 0.2:
            draw(prediction, rng.integers(REACH + 3, np.array(SHAPE) - REACH - 3), 3)
    return prediction, reference


def ours(prediction, reference):
    return cc_dice_of(ComponentOverlaps.between(prediction, reference), SPACING_MM)


def transforms(prediction, reference):
    numbers, count = ndimage.label(reference, np.ones((3, 3, 3)))
    cells, nearest = np.zeros(SHAPE, np.int32), np.full(SHAPE, np.inf)
    for number in range(1, count + 1):
        distance = ndimage.distance_transform_edt(numbers != number, sampling=SPACING_MM)
        closer = distance < nearest
        cells[closer], nearest[closer] = number, distance[closer]
    right, size, found = (
        np.bincount(cells[mask], minlength=count + 1)[1:] for mask in (prediction & reference, reference, prediction)
    )
    return float(np.mean(2 * right / (size + found)))


def whole_case(prediction, reference):
    """Measure everything of the group lesions, rows of lesions.csv too."""
    settings = EvaluationSettings(groups=("lesions",))
    volumes = [Volume(array=np.asfortranarray(mask.astype(np.uint8)), grid=GRID) for mask in (prediction, reference)]
    ((metrics, counted),) = measured_structures("case", *volumes, {"lesion": 1}, settings)
    around = Surroundings(case="case", structure="lesion", grid=GRID, corner=counted.corner, scan=None)
    structure_lesions(counted, around, settings)
    return metrics.cc_dice


def measured(contender, pair, repeats):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        dice = contender(*pair)
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "cc_dice": dice}


def commit():
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def main():
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    load = os.getloadavg()[0]
    results = {}
    for count in LESIONS:
        pair = masks(count)
        rows = {each.__name__: measured(each, pair, repeats) for each in (ours, whole_case)}
        rows["transforms"] = measured(transforms, pair, 1)
        ratio = rows["transforms"]["seconds"] / rows["ours"]["seconds"]
        results[count] = {"ratio": ratio, **rows}
        for name, row in rows.items():
            print(f"{count:>4} lesions {name:>10}  {row['seconds']:8.3f} s  CC-Dice {row['cc_dice']:.6f}")
        print(f"{count:>4} lesions: ours is {ratio:.0f} times as fast as a transform for each")
    facts = {
        "date": str(date.today()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_at_start": round(load, 2),
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "shape": SHAPE,
        "spacing_mm": SPACING_MM,
        "repeats": repeats,
        "lesions": results,
    }
    (Path(__file__).parent / "results" / "lesions.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
