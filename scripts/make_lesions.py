"""Synthetic lesions in the demo CTs: a data set of many small targets, made up, to try losses and metrics by lesion on.

    python scripts/make_lesions.py [--output runs/synthetic_lesions] [--copies 8] [--seed 0] [--cases CASES.csv]
                                    [--finest-mm 2] [--split scans|copies]

Each copy of a scan gets 1 to 15 lesions of 2 to 20 mm in the liver and in and around the lungs: ellipsoids with an
uneven border that fades over a millimetre or so, darker or brighter than what they lie in. A copy ends 20 mm
beyond them, and its voxels are at most 2 mm long: in larger ones the smallest lesion has no contrast left. The label
holds lesions alone, 1 where a voxel lies at least half in one. NOTHING HERE IS A FINDING: every case, structure and
file is named synthetic.

Written: images/ and labels/ with a file a case, cases.csv (the parts of the scans, or by copies),
label_names.json, lesions.csv (where each lesion is and how large it was made), README.md. A seed gives the same files.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from segfocal.data.cases import read_cases
from segfocal.distance_transform import edt
from segfocal.errors import UserError
from segfocal.files import check_new, write_json, write_table
from segfocal.grid import Grid, Volume
from segfocal.io import nifti
from segfocal.resample import ModelGrid

STRUCTURE = "synthetic_lesion"
DEMO = Path(__file__).resolve().parents[1] / "data" / "demo" / "cases.csv"
MOST, DIAMETERS_MM = 15, (2.0, 20.0)
APART_MM = 10.0  # between the borders of two lesions: in voxels of 3 mm they never grow together
BLUR_MM = (0.3, 1.2)
AROUND_MM = 20.0  # of a scan around liver and lungs
# label values in the demo scans, and the contrast in HU of a lesion against what it lies in: metastases and cysts are
# 40 to 100 darker than a liver with contrast medium and some as much brighter; a solid nodule in air is soft tissue
SITES: dict[str, tuple[tuple[int, ...], tuple[tuple[float, float], ...]]] = {
    "liver": ((5,), ((-100.0, -40.0), (40.0, 100.0))),
    "lungs": ((10, 11, 12, 13, 14), ((750.0, 950.0),)),
}
README = """# Synthetic lesions

**Nothing here is a finding.** Every lesion was drawn into a scan by `scripts/make_lesions.py` (seed {seed}): its place,
size, shape and contrast are random numbers. The scans under them are {scans}; their licence holds.
A result on these files says how a method treats many small targets of unequal size, nothing about patients.
"""


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A lesion as it is drawn: its middle [3] in voxels, its radii [3] in mm along its own axes, and how it looks."""

    site: str
    middle: NDArray[np.float64]
    radii_mm: NDArray[np.float64]
    turn: Rotation
    bumps: NDArray[np.float64]
    contrast_hu: float
    blur_mm: float

    @property
    def diameter_mm(self) -> float:
        """The diameter of a ball of its volume, its bumps not counted."""
        return 2 * float(np.prod(self.radii_mm)) ** (1 / 3)

    @property
    def reach_mm(self) -> float:
        """How far from its middle it can be."""
        return float(self.radii_mm.max()) * 1.25


def drawn(rng: np.random.Generator, site: str, middle: NDArray[np.float64], diameter_mm: float) -> Lesion:
    """Return a lesion of random shape and contrast."""
    stretch = np.exp(rng.normal(0, 0.15, 3))
    contrasts = SITES[site][1]
    return Lesion(
        site=site,
        middle=middle,
        radii_mm=diameter_mm / 2 * np.clip(stretch / np.prod(stretch) ** (1 / 3), 0.7, 1.4),
        turn=Rotation.random(random_state=rng),
        bumps=rng.normal(0, 0.06, (3, 3)),
        contrast_hu=float(rng.uniform(*contrasts[rng.integers(len(contrasts))])),
        blur_mm=float(rng.uniform(*BLUR_MM)),
    )


def lesions_for(labels: NDArray, spacing_mm: NDArray[np.float64], rng: np.random.Generator) -> list[Lesion]:
    """Return the lesions of a copy, each in a site that the scan has, none near another."""
    depths = {}
    for site, (values, _) in SITES.items():
        inside = np.isin(labels, values)
        if inside.any():
            depths[site] = edt(inside, spacing=spacing_mm.tolist())
    found: list[Lesion] = []
    for _ in range(int(rng.integers(1, MOST + 1))):
        site = list(depths)[rng.integers(len(depths))]
        diameter = float(np.exp(rng.uniform(*np.log(DIAMETERS_MM))))
        for _ in range(50):
            # half the radius inside the organ: a lesion of the lungs may lie on the pleura
            places = np.argwhere(depths[site] >= min(diameter / 4, depths[site].max()))
            one = drawn(rng, site, places[rng.integers(len(places))] + rng.uniform(-0.2, 0.2, 3), diameter)
            gaps = [np.linalg.norm((one.middle - other.middle) * spacing_mm) - other.reach_mm for other in found]
            if all(gap - one.reach_mm > APART_MM for gap in gaps):
                found.append(one)
                break
    return found


def share_inside(
    lesion: Lesion, shape: Sequence[int], spacing_mm: NDArray[np.float64]
) -> tuple[tuple[slice, ...], NDArray[np.float64]]:
    """Return a box of voxels, and the share in [0,1] of each that the lesion has: 1/2 on its border."""
    reach = np.ceil((lesion.reach_mm + 4 * lesion.blur_mm) / spacing_mm).astype(int) + 1
    low = np.maximum(np.round(lesion.middle).astype(int) - reach, 0)
    high = np.minimum(np.round(lesion.middle).astype(int) + reach + 1, shape)
    voxels = np.moveaxis(np.indices(high - low), 0, -1) + low
    own = lesion.turn.apply(((voxels - lesion.middle) * spacing_mm).reshape(-1, 3)) / lesion.radii_mm
    far = np.linalg.norm(own, axis=1)
    towards = own / np.maximum(far, 1e-9)[:, None]
    uneven = (
        1 + np.einsum("ni,ij,nj->n", towards, lesion.bumps, towards) + 0.1 * np.sin(4 * towards[:, 0] * towards[:, 1])
    )
    outside_mm = (far / uneven - 1) * lesion.radii_mm.mean()
    share = 1 / (1 + np.exp(np.clip(outside_mm / lesion.blur_mm * 1.7, -60, 60)))
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)), share.reshape(high - low)


def with_lesions(
    image: NDArray, labels: NDArray, spacing_mm: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8], list[dict[str, Any]]]:
    """Return the image with lesions, their mask, and a row for each."""
    image, mask = image.astype(np.float32), np.zeros(image.shape, np.uint8)
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(lesions_for(labels, spacing_mm, rng), start=1):
        box, share = share_inside(one, image.shape, spacing_mm)
        image[box] += one.contrast_hu * share
        own = share >= 0.5
        at = np.clip(np.round(one.middle).astype(int), 0, np.array(image.shape) - 1)
        if not own.any():  # smaller than a voxel: that which holds its middle
            own[tuple(at - [part.start for part in box])] = True
        pieces, _ = ndimage.label(own, np.ones((3, 3, 3)))
        own = pieces == np.bincount(pieces[own]).argmax()  # bumps of a coarse scan may come off
        mask[box][own] = 1
        rows.append(
            {
                "lesion": number,
                "site": one.site,
                "i": int(at[0]),
                "j": int(at[1]),
                "k": int(at[2]),
                "made_diameter_mm": round(one.diameter_mm, 2),
                "voxels": int(own.sum()),
                "contrast_hu": round(one.contrast_hu, 1),
                "blur_mm": round(one.blur_mm, 2),
            }
        )
    return image, mask, rows


def around_the_sites(scan: Volume, labels: Volume, finest_mm: float) -> tuple[Volume, Volume]:
    """Return both up to 20 mm around the sites, no side of a voxel longer than `finest_mm`; labels of sites alone."""
    values = [value for values, _ in SITES.values() for value in values]
    sites = np.isin(labels.array, values)
    if not sites.any():
        raise UserError(expected="a scan with a liver or lungs in its label", found="neither", do="leave it out")
    margins = np.ceil(AROUND_MM / np.array(scan.grid.spacing_mm)).astype(int)
    low = np.maximum(np.argwhere(sites).min(0) - margins, 0)
    high = np.minimum(np.argwhere(sites).max(0) + margins + 1, sites.shape)
    moved = scan.grid.affine.copy()
    moved[:3, 3] += moved[:3, :3] @ low
    grid = Grid(shape=tuple((high - low).tolist()), affine=moved)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    scan, labels = Volume(array=scan.array[box], grid=grid), Volume(array=labels.array[box] * sites[box], grid=grid)
    first, second, third = (min(side, finest_mm) for side in grid.spacing_mm)
    if (first, second, third) == grid.spacing_mm:
        return scan, labels
    finer = ModelGrid(frame=grid.frame, spacing_mm=(first, second, third))
    found = finer.labels(labels, values)
    return finer.image(scan), Volume(array=np.array([0, *values], np.uint8)[found.array], grid=found.grid)


def make(
    output: Path, *, cases: Path, copies: int, seed: int, finest_mm: float = DIAMETERS_MM[0], split: str = "scans"
) -> list[dict[str, Any]]:
    """Write the data set into `output`; return a row a lesion. By "copies" every other copy of each scan validates."""
    listed = read_cases(cases).cases
    rows: list[dict[str, str]] = []
    lesions: list[dict[str, Any]] = []
    check_new(output / "cases.csv", overwrite=False)
    for number, case in enumerate(listed):
        scan, labels = around_the_sites(nifti.read(case.image), nifti.read_labels(case.label), finest_mm)
        for copy in range(copies):
            name = f"synthetic_{case.name}_{copy:02d}"
            rng = np.random.default_rng([seed, number, copy])
            image, mask, found = with_lesions(scan.array, labels.array, np.array(scan.grid.spacing_mm), rng)
            places = [output / folder / f"{name}.nii.gz" for folder in ("images", "labels")]
            for place in places:
                place.parent.mkdir(parents=True, exist_ok=True)
            volumes = [Volume(array=array, grid=scan.grid) for array in (np.round(image).astype(np.int16), mask)]
            nifti.write(places[0], volumes[0], like=scan.grid)
            nifti.write(places[1], volumes[1], like=scan.grid)
            part = (case.split or "") if split == "scans" else ("train", "val")[copy % 2]
            relative = [str(place.relative_to(output)) for place in places]
            rows.append({"name": name, "image": relative[0], "label": relative[1], "split": part})
            lesions += [{"case": name, **row} for row in found]
    write_json(output / "label_names.json", {"1": STRUCTURE})
    write_table(output / "lesions.csv", lesions)
    (output / "README.md").write_text(README.format(seed=seed, scans=", ".join(case.name for case in listed)))
    write_table(output / "cases.csv", rows)
    return lesions


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/synthetic_lesions"))
    parser.add_argument("--cases", type=Path, default=DEMO, help="a CSV of CT scans with name, image, label and split")
    parser.add_argument("--copies", type=int, default=8, help="of each scan")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--finest-mm", type=float, default=DIAMETERS_MM[0], help="longest side of a voxel")
    parser.add_argument(
        "--split",
        choices=["scans", "copies"],
        default="scans",
        help="held out: the scans listed as val, or every other copy of each scan, in bodies that training has",
    )
    asked = parser.parse_args()
    try:
        lesions = make(**vars(asked))
    except (UserError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    cases = {row["case"] for row in lesions}
    print(f"{len(lesions)} synthetic lesions in {len(cases)} copies of scans: {asked.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
