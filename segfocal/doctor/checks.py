"""What the doctor can find wrong with a data set: every check, its severity and what to do, and a finding of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # worst first


@dataclass(frozen=True)
class Check:
    """What one check looks for. mended: what fix=true does about it, "" for what a person has to decide."""

    severity: Severity
    finds: str
    do: str
    mended: str = ""


_AGAIN = "copy or convert it again from its source"
_GRID = "resample the label onto its image"
_RESAMPLED = (
    "the label is resampled onto the image's grid, or takes its header where they differ by half a voxel at most"
)

CHECKS: dict[str, Check] = {
    # The list
    "case_list": Check("error", "a case list that training refuses", "mend the list"),
    "missing_file": Check("error", "a listed image or label that is not there", "add it, or drop the case"),
    "name_twice": Check("error", "two cases of one name", "give each a name of its own"),
    "file_twice": Check("error", "one image listed twice", "list it once, in one split"),
    "label_without_image": Check("warning", "a label that no image belongs to", "add the image, or remove the label"),
    # Files and headers
    "empty_file": Check("error", "a file of no bytes", _AGAIN),
    "no_nifti": Check("error", "bytes without a NIfTI header", _AGAIN),
    "not_packed": Check("error", "a .nii.gz that is not gzip", "rename it to .nii", "written as its name says"),
    "packed": Check("error", "a .nii that is gzip", "rename it to .nii.gz", "written as its name says"),
    "damaged": Check("error", "a file that is cut short or damaged, or a header that promises more than it", _AGAIN),
    "bytes_after": Check(
        "error", "bytes that are not gzip after the packed content", "copy it again", "the bytes are left out"
    ),
    "unreadable": Check("error", "a file that cannot be read for another reason", "see its message"),
    "voxel_type": Check("error", "colours or complex numbers", "convert it to one real number a voxel"),
    "not_3d": Check("error", "fewer than three axes", "stack the slices into one volume"),
    "several_volumes": Check("error", "several volumes in one file", "save each as a file of its own"),
    "empty_volume": Check("error", "an axis of no voxels", _AGAIN),
    "no_place": Check("error", "an affine that is singular or not finite", "convert it again, or set its sform"),
    "absurd_spacing": Check("error", "a spacing below 0.01 mm or above 50 mm", "check the unit, and set the spacing"),
    "wrong_unit": Check(
        "error", "a spacing that only makes sense in the header's unit, m or micron, which readers pass over",
        "write the spacing in mm", "the affine is scaled to mm",
    ),
    "unit": Check("note", "a unit that is not mm", "readers take it for mm"),
    "forms_disagree": Check(
        "warning", "sform and qform that differ by more than a tenth of a voxel: programs will differ too",
        "decide for one", "both become the one in force here, the sform",
    ),
    "pixdim": Check(
        "warning", "spacings of the header that are not those of its affine", "decide for one", "those of the affine"
    ),
    "no_orientation": Check("warning", "neither sform nor qform: left and right are a guess", "convert it again"),
    "oblique": Check("note", "axes more than 5° off those of the body", "nothing: slices are taken as they are"),
    "byte_order": Check("note", "big-endian numbers", "nothing: they are read"),
    "one_slice": Check("note", "a volume of one slice", "nothing, if it is one"),
    # Voxels of the image
    "not_finite": Check(
        "error", "NaN or infinite voxels", "replace them",
        "in an image the smallest finite value, in a label 0 takes their place",
    ),
    "constant_volume": Check("error", "an image of one value", _AGAIN),
    "constant_slices": Check("warning", "slices of one value between others", "convert the scan again"),
    "padding": Check("note", "slices of one value at the ends", "nothing, or crop them"),
    "no_hounsfield": Check(
        "warning", "a CT without the scale of Hounsfield units: no air, or air at 0",
        "apply rescale slope and intercept; if it is none, or cropped, modality=other",
    ),
    "normalised": Check(
        "warning", "intensities that were normalised already", "give the scan as it was measured",
    ),
    "image_is_label": Check("error", "a label in place of the image", "give the scan"),
    "swapped": Check("error", "image and label in each other's place", "swap them"),
    # Voxels of the label
    "not_whole": Check("error", "a label with parts of numbers", "give a label map rather than probabilities"),
    "almost_whole": Check(
        "error", "label values within 0.001 of whole numbers", "round them", "rounded"
    ),
    "not_a_label_map": Check("error", "label values below 0 or above 999", "give the label map"),
    "empty_label": Check("warning", "a label without voxels", "nothing, if there is nothing to find"),
    "no_background": Check("warning", "a label without background", "check what its values mean"),
    "unknown_value": Check(
        "error", "label values that the list of names does not know", "name them, or correct the label"
    ),
    "tiny_components": Check(
        "note", "separate specks of fewer than 4 voxels", "look at them: a slip of the brush, or small lesions"
    ),
    # Image and label
    "grid_shape": Check("error", "image and label of different shapes", _GRID, _RESAMPLED),
    "grid_spacing": Check("error", "image and label of different spacings", _GRID, _RESAMPLED),
    "grid_direction": Check("error", "image and label turned against each other", _GRID, _RESAMPLED),
    "grid_origin": Check("error", "image and label moved against each other", _GRID, _RESAMPLED),
    "channel_grid": Check("error", "channels of a case on different grids", "resample them onto the first"),
    "apart": Check("error", "a label that shares no space with its image", "pair the right files"),
    # The data set
    "leak": Check("error", "the same voxels in two splits", "keep one of them"),
    "duplicate": Check("warning", "the same voxels in two cases of one split", "keep one of them"),
    "same_label": Check("warning", "the same label, not empty, of two different images", "pair the right files"),
    "never_found": Check("note", "a named label value that no case holds", "check the names"),
    "mixed_orientations": Check(
        "note", "array axes that run another way than in most cases", "nothing: training turns them"
    ),
    "odd_spacing": Check(
        "warning", "a spacing more than 3 times that of the median case, or less than a third", "check the header"
    ),
    "odd_intensity": Check(
        "warning", "intensities on a scale more than 10 times that of the median case, or less than a tenth",
        "check the rescaling",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found: the check, where (a case, a file, or the data set), and what exactly."""

    check: str
    found: str
    case: str = ""
    file: Path | None = None

    @property
    def severity(self) -> Severity:
        """How bad it is: an error stops training or spoils what is learnt."""
        return CHECKS[self.check].severity

    @property
    def do(self) -> str:
        """What to do about it."""
        return CHECKS[self.check].do

    def row(self) -> dict[str, str | bool]:
        """Return it as a row of a table."""
        return {
            "severity": self.severity,
            "check": self.check,
            "case": self.case,
            "file": str(self.file or ""),
            "found": self.found,
            "do": self.do,
            "mendable": bool(CHECKS[self.check].mended),
        }


def worst_first(findings: list[Finding]) -> list[Finding]:
    """Return findings by severity, then check in the order of `CHECKS`, then case."""
    order = list(CHECKS)
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), order.index(f.check), f.case, str(f.file)))
