"""Which scans a server shows: those of a folder, without its labels; and how formats other than NIfTI are sent."""

import nibabel as nib
import numpy as np
import pytest

from segfocal.serve.disagreement import disagreement
from segfocal.serve.refusal import Refused
from segfocal.serve.scans import ScanList
from tests.pictures import make_png
from tests.scans import make_scan
from tests.serve.served import AFFINE, LIVER, SHAPE, opened, sessions_in, wedge, world


def names(inputs, folder):
    scans = ScanList(inputs, uploads=folder / "uploads", output=folder / "out", channels=1)
    return {scan.name: None if scan.label is None else scan.label.name for scan in scans.all()}


def test_labels_of_a_data_set_are_no_scans_but_known_to_theirs(tmp_path):
    for name in ("a", "b"):
        make_scan(tmp_path / "data" / "images" / f"{name}.nii.gz", wedge(), AFFINE)
        make_scan(tmp_path / "data" / "labels" / f"{name}.nii.gz", (wedge() > 0).astype(np.uint8), AFFINE)
    assert names(tmp_path / "data", tmp_path) == {"a.nii.gz": "a.nii.gz", "b.nii.gz": "b.nii.gz"}


def test_a_folder_of_scans_alone_and_one_scan(tmp_path):
    file = make_scan(tmp_path / "scans" / "deep" / "a.nii.gz", wedge(), AFFINE)
    make_scan(tmp_path / "scans" / "b.nii.gz", wedge(), AFFINE)
    assert names(tmp_path / "scans", tmp_path) == {"b.nii.gz": None, "deep/a.nii.gz": None}
    assert names(file, tmp_path) == {"a.nii.gz": None}
    assert names(tmp_path / "scans" / "**" / "*.nii.gz", tmp_path) == {"b.nii.gz": None, "deep/a.nii.gz": None}
    assert names(None, tmp_path) == {}


def test_labels_beside_their_scans_are_no_scans(tmp_path):
    """As in data/demo: a list of cases names some of them, names of files tell the others."""
    image, label = wedge(), (wedge() > 0).astype(np.uint8)
    for name in ("a_image", "b_image", "c", "d_label", "e", "f_t1"):
        make_scan(tmp_path / "data" / f"{name}.nii.gz", image, AFFINE)
    for name in ("a_label", "b_label", "c_seg", "f_truth"):
        make_scan(tmp_path / "data" / f"{name}.nii.gz", label, AFFINE)
    rows = ["name,image,label", "a,a_image.nii.gz,a_label.nii.gz", "f,f_t1.nii.gz,f_truth.nii.gz"]
    (tmp_path / "data" / "cases.csv").write_text("\n".join(rows))
    (tmp_path / "data" / "ages.csv").write_text("name,age\na,61\n")
    wanted = {"a_image.nii.gz": "a_label.nii.gz", "b_image.nii.gz": "b_label.nii.gz", "c.nii.gz": "c_seg.nii.gz"}
    wanted |= {"d_label.nii.gz": None, "e.nii.gz": None, "f_t1.nii.gz": "f_truth.nii.gz"}
    assert names(tmp_path / "data", tmp_path) == wanted
    listed = {"a_image.nii.gz": "a_label.nii.gz", "f_t1.nii.gz": "f_truth.nii.gz"}
    assert names(tmp_path / "data" / "cases.csv", tmp_path) == listed


def test_slices_unlike_the_label_come_with_the_largest_difference_first(tmp_path):
    """Of 2 mm by 3 mm a pixel: 110 pixels on slices 2 and 4, 99 on slice 1, and what the model marks on slice 3."""
    make_scan(tmp_path / "scans" / "images" / "one.nii.gz", wedge(), AFFINE)
    label = np.where(wedge() > 0, 5, 0).astype(np.uint8)
    label[:, :, 3] = 0  # nothing is wanted where the click will answer
    label[:, :, 5:] = 0
    make_scan(tmp_path / "scans" / "labels" / "one.nii.gz", label, AFFINE)
    session = opened(tmp_path)
    session.add_prompt("point", "liver", [LIVER])
    rows = [row for row in disagreement(session, "liver") if row["kind"] == "differs"]
    marked = int((session.mask()[:, :, 3] == 5).sum())
    assert 99 < marked < 110
    told = [(row["index"], row["dice"], row["mm2"]) for row in rows]
    assert told == [(2, 0.0, 660.0), (4, 0.0, 660.0), (3, 0.0, 6.0 * marked), (1, 0.0, 594.0)]
    assert np.allclose(rows[1]["world_mm"], world(10, 7, 4), atol=1e-3)  # of the larger piece, rows 6–14, columns 3–12
    with pytest.raises(Refused, match="structure liver or spleen"):
        disagreement(session, "heart")


def test_a_picture_is_sent_as_nifti_and_its_mask_saved_as_a_picture(tmp_path):
    files_sent = pytest.importorskip("segfocal.serve.files_sent", exc_type=ImportError)
    picture = np.zeros((40, 30), np.uint8)
    picture[10:20, 5:25] = 100
    (tmp_path / "scans").mkdir()
    make_png(tmp_path / "scans" / "one.png", picture)
    sessions = sessions_in(tmp_path)
    session = sessions.open(sessions.scans.all()[0].id)
    sent = nib.load(files_sent.image_file(session))
    assert sent.shape == session.grid.shape
    place = (session.grid.affine @ [*np.argwhere(np.asarray(sent.dataobj) > 0)[30], 1.0])[:3].tolist()
    session.add_prompt("point", "liver", [place])
    assert ((session.mask() == 5) == (np.asarray(sent.dataobj) > 0)).mean() > 0.95
    files = session.save(tmp_path / "corrected")
    assert files.mask.name == "one.png"


def test_names_that_would_lead_elsewhere_are_names(tmp_path):
    scans = ScanList(None, uploads=tmp_path / "uploads", output=tmp_path / "out", channels=1)
    place = scans.place_for("<img src=x onerror=alert(1)>.NII.GZ")
    assert place.parent == tmp_path / "uploads" / "0001"
    assert place.name.endswith(".nii.gz")
    assert not set("<>() ") & set(place.name)


def test_a_place_of_the_world_is_the_voxels(tmp_path):
    make_scan(tmp_path / "scans" / "one.nii.gz", wedge(), AFFINE)
    grid = opened(tmp_path).grid
    assert grid.shape == SHAPE
    assert np.allclose((grid.affine @ [1, 2, 3, 1])[:3], world(1, 2, 3), atol=1e-4)  # float32 of the header
