"""What the doctor can find wrong with a data set: every check, its severity and what to do, and a finding of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # worst first


class Check(str, Enum):
    """One thing that the doctor looks for; the value names it in `doctor.json` and in docs/doctor.md."""

    # The list
    CASE_LIST = "case_list"
    MISSING_FILE = "missing_file"
    NAME_TWICE = "name_twice"
    FILE_TWICE = "file_twice"
    LABEL_WITHOUT_IMAGE = "label_without_image"
    PASSED_OVER = "passed_over"
    PREVIEW = "preview"
    # Files and headers
    EMPTY_FILE = "empty_file"
    NO_NIFTI = "no_nifti"
    NOT_PACKED = "not_packed"
    PACKED = "packed"
    DAMAGED = "damaged"
    BYTES_AFTER = "bytes_after"
    UNREADABLE = "unreadable"
    VOXEL_TYPE = "voxel_type"
    NOT_3D = "not_3d"
    SEVERAL_VOLUMES = "several_volumes"
    EMPTY_VOLUME = "empty_volume"
    NO_PLACE = "no_place"
    ABSURD_SPACING = "absurd_spacing"
    WRONG_UNIT = "wrong_unit"
    UNIT = "unit"
    FORMS_DISAGREE = "forms_disagree"
    PIXDIM = "pixdim"
    NO_ORIENTATION = "no_orientation"
    OBLIQUE = "oblique"
    SHEARED = "sheared"
    BYTE_ORDER = "byte_order"
    ONE_SLICE = "one_slice"
    # Voxels of the image
    NOT_FINITE = "not_finite"
    CONSTANT_VOLUME = "constant_volume"
    CONSTANT_SLICES = "constant_slices"
    PADDING = "padding"
    NO_HOUNSFIELD = "no_hounsfield"
    NORMALISED = "normalised"
    IMAGE_IS_LABEL = "image_is_label"
    SWAPPED = "swapped"
    # Voxels of the label
    NOT_WHOLE = "not_whole"
    ALMOST_WHOLE = "almost_whole"
    NOT_A_LABEL_MAP = "not_a_label_map"
    EMPTY_LABEL = "empty_label"
    NO_BACKGROUND = "no_background"
    UNKNOWN_VALUE = "unknown_value"
    TINY_COMPONENTS = "tiny_components"
    CONTOURS = "contours"
    # Image and label
    GRID_SHAPE = "grid_shape"
    GRID_SPACING = "grid_spacing"
    GRID_DIRECTION = "grid_direction"
    GRID_ORIGIN = "grid_origin"
    GRID_TURNED = "grid_turned"
    GRID_NEAR = "grid_near"
    CHANNEL_GRID = "channel_grid"
    APART = "apart"
    # The data set
    LEAK = "leak"
    DUPLICATE = "duplicate"
    SAME_LABEL = "same_label"
    NEVER_FOUND = "never_found"
    MIXED_ORIENTATIONS = "mixed_orientations"
    ODD_SPACING = "odd_spacing"
    ODD_INTENSITY = "odd_intensity"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class About:
    """What a check is about, for people.

    Args:
        severity: how bad it is; an error stops training or spoils what is learnt.
        finds: what is wrong where the check finds something.
        do: what to do about it.
        mended: what fix=true does about it in a copy; "" for what a person has to decide.
    """

    severity: Severity
    finds: str
    do: str
    mended: str = ""


_AGAIN = "copy or convert it again from its source"
_GRID = "resample the label onto its image"
_RESAMPLED = (
    "the label is resampled onto the image's grid, or takes its header where they differ by half a voxel at most"
)

CHECKS: dict[Check, About] = {
    # The list
    Check.CASE_LIST: About("error", "a case list that training refuses", "mend the list"),
    Check.MISSING_FILE: About("error", "a listed image or label that is not there", "add it, or drop the case"),
    Check.NAME_TWICE: About("error", "two cases of one name", "give each a name of its own"),
    Check.FILE_TWICE: About("error", "one image listed twice", "list it once, in one split"),
    Check.LABEL_WITHOUT_IMAGE: About(
        "warning", "a label that no image belongs to", "add the image, or remove the label"
    ),
    Check.PASSED_OVER: About(
        "warning", "a scan or a folder of scans that training does not read",
        "name it as the others, or take it away",
    ),
    Check.PREVIEW: About("note", "a picture beside scans", "nothing: training does not read it"),
    # Files and headers
    Check.EMPTY_FILE: About("error", "a file of no bytes", _AGAIN),
    Check.NO_NIFTI: About("error", "bytes without a NIfTI header", _AGAIN),
    Check.NOT_PACKED: About("error", "a .nii.gz that is not gzip", "rename it to .nii", "written as its name says"),
    Check.PACKED: About("error", "a .nii that is gzip", "rename it to .nii.gz", "written as its name says"),
    Check.DAMAGED: About(
        "error", "a file that is cut short or damaged, or a header that promises more than it", _AGAIN
    ),
    Check.BYTES_AFTER: About(
        "error", "bytes that are not gzip after the packed content", "copy it again", "the bytes are left out"
    ),
    Check.UNREADABLE: About("error", "a file that cannot be read for another reason", "see its message"),
    Check.VOXEL_TYPE: About("error", "colours or complex numbers", "convert it to one real number a voxel"),
    Check.NOT_3D: About("error", "fewer than three axes", "stack the slices into one volume"),
    Check.SEVERAL_VOLUMES: About("error", "several volumes in one file", "save each as a file of its own"),
    Check.EMPTY_VOLUME: About("error", "an axis of no voxels", _AGAIN),
    Check.NO_PLACE: About("error", "an affine that is singular or not finite", "convert it again, or set its sform"),
    Check.ABSURD_SPACING: About(
        "error", "a spacing below 0.01 mm or above 50 mm", "check the unit, and set the spacing"
    ),
    Check.WRONG_UNIT: About(
        "warning", "a unit of metres or microns, by which spacings are scaled here and by ITK, but not by nibabel",
        "write the spacing in mm", "written in mm",
    ),
    Check.UNIT: About("note", "no unit, or an unknown one", "nothing: it is taken for mm"),
    Check.FORMS_DISAGREE: About(
        "warning", "sform and qform that differ by more than a tenth of a voxel: programs will differ too",
        "decide for one", "both become the one in force here, the sform",
    ),
    Check.PIXDIM: About(
        "warning", "spacings of the header that are not those of its affine", "decide for one", "those of the affine"
    ),
    Check.NO_ORIENTATION: About("warning", "neither sform nor qform: left and right are a guess", "convert it again"),
    Check.OBLIQUE: About("note", "axes more than 5° off those of the body", "nothing: slices are taken as they are"),
    Check.SHEARED: About(
        "note", "axes that are not at right angles, as of a tilted gantry: ITK refuses them",
        "nothing: distances and volumes are right",
    ),
    Check.BYTE_ORDER: About("note", "big-endian numbers", "nothing: they are read"),
    Check.ONE_SLICE: About("note", "a volume of one slice", "nothing, if it is one"),
    # Voxels of the image
    Check.NOT_FINITE: About(
        "error", "NaN or infinite voxels", "replace them",
        "in an image the smallest finite value, in a label 0 takes their place",
    ),
    Check.CONSTANT_VOLUME: About("error", "an image of one value", _AGAIN),
    Check.CONSTANT_SLICES: About("warning", "slices of one value between others", "convert the scan again"),
    Check.PADDING: About("note", "slices of one value at the ends", "nothing, or crop them"),
    Check.NO_HOUNSFIELD: About(
        "warning", "a CT without the scale of Hounsfield units: no air, or air at 0",
        "apply rescale slope and intercept; if it is none, or cropped, modality=other",
    ),
    Check.NORMALISED: About(
        "warning", "intensities that were normalised already", "give the scan as it was measured",
    ),
    Check.IMAGE_IS_LABEL: About("error", "a label in place of the image", "give the scan"),
    Check.SWAPPED: About("error", "image and label in each other's place", "swap them"),
    # Voxels of the label
    Check.NOT_WHOLE: About("error", "a label with parts of numbers", "give a label map rather than probabilities"),
    Check.ALMOST_WHOLE: About(
        "warning", "label values within 0.01 of whole numbers", "nothing: they are rounded when read", "rounded"
    ),
    Check.NOT_A_LABEL_MAP: About("error", "label values below 0 or above 999, as an image has", "give the label map"),
    Check.EMPTY_LABEL: About("warning", "a label without voxels", "nothing, if there is nothing to find"),
    Check.NO_BACKGROUND: About("warning", "a label without background", "check what its values mean"),
    Check.UNKNOWN_VALUE: About(
        "error", "label values that the list of names does not know", "name them, or correct the label"
    ),
    Check.TINY_COMPONENTS: About(
        "note", "separate specks of fewer than 4 voxels", "look at them: a slip of the brush, or small lesions"
    ),
    Check.CONTOURS: About(
        "warning", "contours of a structure set (RTSTRUCT) that enclose nothing and are passed over",
        "draw them again, if they were to enclose something",
    ),
    # Image and label
    Check.GRID_SHAPE: About("error", "image and label of different shapes", _GRID, _RESAMPLED),
    Check.GRID_SPACING: About("error", "image and label of different spacings", _GRID, _RESAMPLED),
    Check.GRID_DIRECTION: About("error", "image and label turned against each other", _GRID, _RESAMPLED),
    Check.GRID_ORIGIN: About("error", "image and label moved against each other", _GRID, _RESAMPLED),
    Check.GRID_TURNED: About("note", "image and label stored along other axes", "nothing: the label is turned"),
    Check.GRID_NEAR: About(
        "note", "voxels of image and label apart by less than a tenth of one", "nothing: they are taken for the same"
    ),
    Check.CHANNEL_GRID: About("error", "channels of a case on different grids", "resample them onto the first"),
    Check.APART: About("error", "a label that shares no space with its image", "pair the right files"),
    # The data set
    Check.LEAK: About("error", "the same voxels in two splits", "keep one of them"),
    Check.DUPLICATE: About("warning", "the same voxels in two cases of one split", "keep one of them"),
    Check.SAME_LABEL: About("warning", "the same label, not empty, of two different images", "pair the right files"),
    Check.NEVER_FOUND: About("note", "a named label value that no case holds", "check the names"),
    Check.MIXED_ORIENTATIONS: About(
        "note", "array axes that run another way than in most cases", "nothing: training turns them"
    ),
    Check.ODD_SPACING: About(
        "warning", "a spacing more than 3 times that of the median case, or less than a third", "check the header"
    ),
    Check.ODD_INTENSITY: About(
        "warning", "intensities on a scale more than 10 times that of the median case, or less than a tenth",
        "check the rescaling",
    ),
}  # fmt: skip


Found = tuple[Check, str]  # a check and what it found, in words; who reads the file adds case and file


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found.

    Args:
        check: the check that found it.
        found: what exactly, in words.
        case: the name of the case, "" of the whole data set.
        file: the file, None of the whole data set.
    """

    check: Check
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
            "check": self.check.value,
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
