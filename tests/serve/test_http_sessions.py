"""What a page or a script does over HTTP: open, click, carry, undo, brush, save, and read what changed."""

import gzip
import json

import nibabel as nib
import numpy as np

from segfocal.data.cases import read_cases
from tests.serve.served import AFFINE, LIVER, SHAPE, SPLEEN, wedge, world


def click(client, session, place=LIVER, structure="liver", **more):
    body = {"structure": structure, "kind": "point", "world_mm": [place], **more}
    return client.post(f"{session}/prompts", json=body)


def mask_of(client, session):
    data = client.get(f"{session}/mask.nii.gz").content
    return np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(data)).dataobj)


def test_a_whole_afternoon_of_a_scan(client, session, tmp_path):
    told = click(client, session).json()
    assert (told["revision"], told["prompts"], told["pending"], told["can_undo"]) == (1, 1, False, True)
    assert told["changed"]["lower"][2:] + told["changed"]["upper"][2:] == [3, 4]
    scribble = {"structure": "spleen", "kind": "scribble", "world_mm": [SPLEEN, world(19, 16, 4)]}
    assert client.post(f"{session}/prompts", json=scribble).json()["revision"] == 2
    assert client.post(f"{session}/carry", json={}).json()["reach_mm"] is None
    assert client.post(f"{session}/undo").json()["reach_mm"] == 0
    assert client.post(f"{session}/redo").json()["revision"] == 5
    brush = {"structure": None, "world_mm": [LIVER], "radius_mm": 0.5, "plane": "axial"}
    assert client.put(f"{session}/edits", json=brush).json()["edited"]
    saved = client.post(f"{session}/save").json()
    assert saved["saved_revision"] == saved["revision"] == 6
    mask = mask_of(client, session)
    assert np.array_equal(np.asarray(nib.load(saved["mask"]).dataobj), mask)
    expected = np.where(wedge() > 0, 5, 0)
    expected[18:22, 13:18, 2:6], expected[9, 7, 3] = 1, 0
    assert (mask != expected).mean() < 0.01  # the model sees other pixels than the scan's
    case = read_cases(tmp_path / "corrected").cases[0]
    assert (case.name, str(case.label)) == ("one", saved["mask"])
    assert str(tmp_path / "corrected") in saved["train_command"]
    assert client.get("/api/scans").json()["scans"][0]["status"] == "saved"


def test_the_changed_part_is_the_whole_masks(client, session):
    click(client, session)
    before = mask_of(client, session)
    told = click(client, session, SPLEEN, "spleen").json()
    part = client.get(f"{session}/mask.bin?since=1")
    low, high = (list(map(int, part.headers[name].split(","))) for name in ("x-lower", "x-upper"))
    assert {"lower": low, "upper": high} == told["changed"]
    box = np.frombuffer(part.content, part.headers["x-dtype"]).reshape(np.subtract(high, low), order="F")
    before[tuple(map(slice, low, high))] = box
    assert np.array_equal(before, mask_of(client, session))
    assert client.get(f"{session}/mask.bin?since=2").status_code == 204
    assert len(client.get(f"{session}/mask.bin").content) == np.prod(SHAPE)


def test_a_mask_that_is_known_is_not_sent_again(client, session):
    tag = client.get(f"{session}/mask.nii.gz").headers["etag"]
    assert client.get(f"{session}/mask.nii.gz", headers={"If-None-Match": tag}).status_code == 304
    click(client, session)
    assert client.get(f"{session}/mask.nii.gz", headers={"If-None-Match": tag}).status_code == 200


def test_the_image_is_the_scans_own_file(client, session, tmp_path):
    told = client.get(session).json()
    assert client.get(told["image"]).content == (tmp_path / "scans" / "one.nii.gz").read_bytes()
    assert np.allclose(told["affine"], AFFINE, atol=1e-4)  # float32 of the header
    assert (told["shape"], told["slice_axis"]) == (list(SHAPE), 2)


def test_what_was_drawn_is_told_again(client, session):
    click(client, session, positive=False, plane="coronal")
    drawn = client.get(f"{session}/prompts").json()["prompts"]
    assert [(one["kind"], one["positive"], one["plane"], one["world_mm"]) for one in drawn] == [
        ("point", False, "coronal", [LIVER])
    ]
    entries = client.get(f"{session}/prompts.json").json()
    assert entries == [{"structure": "liver", "point": LIVER, "inside": False, "space": "world"}]


def test_a_scan_that_is_opened_twice_has_one_session(client, session):
    click(client, session)
    scan = client.get(session).json()["scan"]
    again = client.post("/api/sessions", json={"scan": scan})
    assert (again.status_code, again.json()["revision"]) == (200, 1)


def test_another_server_goes_on_where_the_first_ended(client, session, make_client):
    click(client, session)
    mask = mask_of(client, session)
    other = make_client()
    assert np.array_equal(mask_of(other, session), mask)
    assert other.post(f"{session}/undo").json()["prompts"] == 0


def test_a_file_that_is_uploaded_is_a_scan_also_after_a_restart(client, make_client, tmp_path):
    data = (tmp_path / "scans" / "two.nii.gz").read_bytes()
    told = client.post("/api/scans?name=dropped.nii.gz", content=data)
    assert (told.status_code, told.json()["name"]) == (201, "dropped.nii.gz")
    names = {scan["name"]: scan["id"] for scan in make_client().get("/api/scans").json()["scans"]}
    assert names["dropped.nii.gz"] == told.json()["id"]
    opened = client.post("/api/sessions", json={"scan": told.json()["id"]}).json()
    assert click(client, f"/api/sessions/{opened['session']}").json()["changed"]


def test_slices_to_look_at_are_empty_ones_between_others_and_those_unlike_the_label(client, session, tmp_path):
    for z in (2, 6):
        click(client, session, world(9, 7, z))
    rows = client.get(f"{session}/disagreement?structure=liver").json()["slices"]
    assert [(row["index"], row["kind"]) for row in rows] == [(3, "empty"), (4, "empty"), (5, "empty")]
    assert np.allclose(rows[0]["world_mm"], world(11.5, 9.5, 3), atol=1e-3)


def test_a_closed_session_is_read_again_and_a_forgotten_one_is_gone(client, session):
    click(client, session)
    assert client.post(f"{session}/close").status_code == 200
    assert client.get(f"{session}/progress").json()["doing"] is None
    assert client.get(session).json()["revision"] == 1
    assert client.delete(session).status_code == 200
    assert client.get(session).status_code == 404
    assert client.get("/api/sessions").json() == {"sessions": []}


def test_about_says_what_the_model_can(client):
    told = client.get("/api/about").json()
    assert [one["name"] for one in told["structures"]] == ["liver", "spleen"]
    assert (told["prompts"]["point"], told["without_prompt"], told["folder"]) == (True, False, True)
    assert told["limits"]["sessions"] == 8
    json.dumps(told)


def test_the_page_is_sent_with_a_policy_that_lets_in_nothing_from_elsewhere(client):
    for path in ("/", "/page/index.html"):
        told = client.get(path)
        policy = told.headers["content-security-policy"]
        assert told.status_code == 200
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert "http" not in policy
