"""What a server without a model sends of an evaluation."""

import json

import nibabel as nib
import numpy as np
import pytest

from segfocal.errors import UserError
from tests.scans import make_scan
from tests.serve.served import AFFINE, KEY, SHAPE, wedge
from tests.serve.view.judged import LABELS, judge, masks, viewing


@pytest.fixture
def client_of(tmp_path):
    """Start servers that show results; everything goes through the whole application."""
    testclient = pytest.importorskip("starlette.testclient", reason="the extra serve is not installed")
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from segfocal.serve.address import Address
    from segfocal.serve.view.view_routes import build_view

    begun = []

    def start(results, images=None):
        app = build_view(viewing(results, images), Address(), key=KEY)
        bearer = {"Authorization": f"Bearer {KEY}"}
        client = testclient.TestClient(
            app, base_url="http://127.0.0.1:1528", headers=bearer, raise_server_exceptions=False
        )
        begun.append(client)
        return client.__enter__()

    yield start
    for client in begun:
        client.__exit__(None, None, None)


def opened(client, name):
    scan = next(one["id"] for one in client.get("/api/scans").json()["scans"] if one["name"] == name)
    told = client.post("/api/sessions", json={"scan": scan})
    assert told.status_code == 200, told.text
    return told.json()


def voxels(client, told, which):
    answer = client.get(f"/api/sessions/{told['session']}/{which}.bin?since=0")
    assert (answer.headers["X-Lower"], answer.headers["X-Upper"]) == ("0,0,0", ",".join(map(str, SHAPE)))
    return np.frombuffer(answer.content, answer.headers["X-Dtype"]).reshape(SHAPE, order="F")


def test_cases_come_with_the_worst_first_and_both_masks_on_the_scans_grid(client_of, tmp_path):
    client = client_of(judge(tmp_path))
    about = client.get("/api/about").json()
    assert about["viewing"]
    assert [one["name"] for one in about["structures"]] == list(LABELS)
    rows = client.get("/api/scans").json()["scans"]
    assert [row["name"] for row in rows] == ["gone", "bad", "good"]
    assert [row["mean_dice"] for row in rows][::2] == [0.0, 1.0]
    told = opened(client, "bad")
    assert np.allclose(told["affine"], AFFINE, atol=1e-4)
    reference, prediction = masks()
    numbers = np.array([0, 1, 0, 0, 0, 2])  # the spleen is the first structure, the liver the second
    assert np.array_equal(voxels(client, told, "reference"), numbers[reference])
    assert np.array_equal(voxels(client, told, "mask"), numbers[prediction])  # whose file runs the other way
    assert not voxels(client, opened(client, "gone"), "mask").any()
    image = client.get(told["image"]).content
    assert image == (tmp_path / "images" / "bad.nii.gz").read_bytes()


def test_slices_to_look_at_are_those_where_the_masks_differ(client_of, tmp_path):
    client = client_of(judge(tmp_path))
    path = f"/api/sessions/{opened(client, 'bad')['session']}/disagreement?structure="
    reference, prediction = masks()
    pixels = ((reference == 5) ^ (prediction == 5)).sum((0, 1))
    liver = client.get(path + "liver").json()["slices"]
    assert [row["mm2"] for row in liver] == sorted(6.0 * pixels[pixels > 0], reverse=True)
    assert {row["index"] for row in liver} == {5, 6, 7}
    spleen = client.get(path + "spleen").json()["slices"]
    assert [(row["index"], row["mm2"]) for row in spleen] == [(z, 30.0) for z in (2, 3, 4, 5)]
    assert client.get(path + "heart").status_code == 422


def test_scans_that_the_evaluation_does_not_know_are_named_or_black(client_of, tmp_path):
    results = judge(tmp_path, image=False)
    black = client_of(results)
    told = opened(black, "bad")
    assert not told["has_image"]
    (tmp_path / "black.nii.gz").write_bytes(black.get(told["image"]).content)
    sent = nib.load(tmp_path / "black.nii.gz")
    assert sent.shape == SHAPE
    assert not np.asarray(sent.dataobj).any()
    assert np.allclose(sent.affine, AFFINE, atol=1e-4)
    named = client_of(results, tmp_path / "images")
    assert opened(named, "bad")["has_image"]
    make_scan(tmp_path / "others" / "x.nii.gz", wedge(), AFFINE)
    with pytest.raises(UserError, match="scans named like the cases"):
        viewing(results, tmp_path / "others")


def test_results_hold_their_evaluations_in_folders_below(client_of, tmp_path):
    judge(tmp_path / "first" / "study", cases=("bad",), name="evaluation")
    judge(tmp_path / "first" / "study", cases=("good",), name="second")
    names = [row["name"] for row in client_of(tmp_path / "first" / "study").get("/api/scans").json()["scans"]]
    assert names == ["evaluation: bad", "second: bad", "second: good"]
    names = [row["name"] for row in client_of(tmp_path / "first").get("/api/scans").json()["scans"]]
    assert names == ["bad"]  # of study/evaluation, where cross-validate puts it
    with pytest.raises(UserError, match="an evaluation, or a folder"):
        viewing(tmp_path / "first" / "study" / "masks")


def test_a_file_that_is_gone_is_one_line_and_nothing_can_be_changed(client_of, tmp_path):
    client = client_of(judge(tmp_path))
    told = opened(client, "good")
    (tmp_path / "labels" / "bad.nii.gz").unlink()
    bad = next(one["id"] for one in client.get("/api/scans").json()["scans"] if one["name"] == "bad")
    answer = client.post("/api/sessions", json={"scan": bad})
    assert answer.status_code == 410
    assert "bad.nii.gz" in answer.json()["error"]
    assert client.get("/api/sessions/nothing/mask.bin").status_code == 404
    for path in ("prompts", "save", "undo"):
        assert client.post(f"/api/sessions/{told['session']}/{path}", json={}).status_code in (404, 405)
    assert client.post("/api/scans?name=x.nii").status_code == 405
    assert client.get("/api/about", headers={"Authorization": "Bearer other"}).status_code == 401
    assert json.loads(client.get("/healthz").content) == {"status": "ok"}
