"""The real client of 3D Slicer's and napari's plugins against a server that listens: what it draws is answered.

The model knows the truth (tests/inference/perfect.py), so masks are known in closed form.
"""

import json
import threading

import httpx
import numpy as np
import pytest
from scipy import ndimage

from segfocal import models
from segfocal.errors import UserError
from segfocal.inference.segment import segment
from segfocal.io import volumes
from segfocal.predict.options import PromptOptions
from segfocal.predict.prompts import prompts_of_scan
from segfocal.serve.options import ServeLimits
from tests.random_bundle import MODEL
from tests.serve.nninteractive.conftest import KEY, SPACING, perfect_bundle, stored_grid, wedge

remote = pytest.importorskip("nnInteractive.inference.remote.remote_session")
LARGE, SMALL = (ndimage.label(wedge())[0] == value for value in (1, 2))
BOX = [[4, 5], [2, 14], [3, 17]]  # round the large one on slice 4


def mask_of(viewer):
    return viewer.target_buffer.astype(bool)


def only(array, *slices):
    kept = np.zeros_like(array)
    kept[list(slices)] = array[list(slices)]
    return kept


def session_of(server):
    """Return the session that was opened last."""
    sessions = server.serving.sessions
    return sessions.find(list(sessions.all())[-1])


def predicted(server, folder):
    """Return the mask [k,j,i] that `predict prompts=` gives for the prompts of the session that was opened last."""
    session, bundle = session_of(server), server.serving.predictor.bundle
    scan = volumes.read(session.scan.files[0])
    (folder / "prompts.json").write_text(json.dumps(session.prompts()))
    for file in session.folder.glob("mask_*.nii.gz"):
        (folder / file.name).write_bytes(file.read_bytes())
    options = PromptOptions(file=folder / "prompts.json", propagation=server.options.propagation)
    with prompts_of_scan(options, scan.grid, bundle) as prompts:
        return (segment(scan, bundle, prompts=prompts).array == 5).transpose()


def test_a_scripted_session_gives_the_mask_of_predict_prompts(server, viewer, tmp_path):
    assert viewer.original_image_shape == (1, 9, 20, 24)
    assert viewer.add_bbox_interaction(BOX, include_interaction=True) == [[1, 8], [3, 14], [4, 15]]
    assert np.array_equal(mask_of(viewer), LARGE)
    assert viewer.add_point_interaction([4, 16, 20], include_interaction=True) is not None
    assert np.array_equal(mask_of(viewer)[4], (LARGE | SMALL)[4])
    assert np.array_equal(mask_of(viewer), predicted(server, tmp_path))
    viewer.add_point_interaction([4, 16, 20], include_interaction=False)
    assert not (mask_of(viewer) & SMALL)[4].any()
    assert np.array_equal(mask_of(viewer), predicted(server, tmp_path))
    assert viewer.undo() is True
    assert np.array_equal(mask_of(viewer)[4], (LARGE | SMALL)[4])
    assert viewer.undo() is True
    assert np.array_equal(mask_of(viewer), LARGE)
    assert viewer.undo() is True
    assert not mask_of(viewer).any()
    assert viewer.undo() is False
    assert server.serving.sessions.all()[session_of(server).id].done == 0


def test_the_file_that_is_answered_lies_where_the_rule_says(server, viewer):
    assert session_of(server).grid.difference(stored_grid()) is None
    assert np.array_equal(volumes.read(session_of(server).scan.files[0]).array, wedge().transpose())


def test_without_auto_zoom_the_slice_alone_is_answered_and_predict_carries(viewer):
    viewer.set_do_autozoom(False)
    viewer.add_bbox_interaction(BOX, include_interaction=True)
    assert np.array_equal(mask_of(viewer), only(LARGE, 4))
    assert viewer._predict() is not None
    assert np.array_equal(mask_of(viewer), LARGE)
    assert viewer._predict() is None  # nothing changed


def test_prompts_that_wait_are_answered_together_and_undone_one_by_one(viewer):
    assert viewer.add_bbox_interaction(BOX, include_interaction=True, run_prediction=False) is None
    assert viewer.add_point_interaction([4, 16, 20], include_interaction=True, run_prediction=False) is None
    assert not mask_of(viewer).any()
    assert viewer.undo() is True  # the point, which waited
    assert viewer._predict() == [[1, 8], [3, 14], [4, 15]]
    assert np.array_equal(mask_of(viewer), LARGE)


def test_a_painted_scribble_is_a_line_of_the_structure(viewer):
    viewer.add_bbox_interaction(BOX, include_interaction=True)
    stroke = np.zeros((1, 3, 4), dtype=np.uint8)
    stroke[0, 1, :3] = 1
    viewer.add_scribble_interaction(stroke, include_interaction=True, interaction_bbox=[[4, 5], [15, 18], [19, 23]])
    assert np.array_equal(mask_of(viewer)[4], (LARGE | SMALL)[4])
    whole = np.zeros(wedge().shape, dtype=np.float32)
    whole[4, 16, 19:22] = 1
    viewer.add_scribble_interaction(whole, include_interaction=False)
    assert not (mask_of(viewer) & SMALL)[4].any()


def test_a_lasso_is_answered_within_its_region(viewer):
    region = np.zeros((1, 14, 16), dtype=bool)
    region[0, 1:13, 2:15] = True
    viewer.add_lasso_interaction(region, include_interaction=True, interaction_bbox=[[4, 5], [2, 16], [3, 19]])
    assert np.array_equal(mask_of(viewer)[4], LARGE[4])


def test_a_negative_box_or_lasso_empties_its_region(server, viewer, tmp_path):
    viewer.add_bbox_interaction([[4, 5], [2, 19], [3, 23]], include_interaction=True)
    assert np.array_equal(mask_of(viewer)[4], (LARGE | SMALL)[4])
    viewer.add_bbox_interaction([[4, 5], [15, 18], [18, 23]], include_interaction=False)
    assert np.array_equal(mask_of(viewer)[4], LARGE[4])
    assert np.array_equal(mask_of(viewer), predicted(server, tmp_path))
    assert viewer.undo() is True
    region = np.ones((1, 3, 2), dtype=bool)
    viewer.add_lasso_interaction(region, include_interaction=False, interaction_bbox=[[4, 5], [15, 18], [20, 22]])
    assert not mask_of(viewer)[4, 15:18, 20:22].any()
    assert np.array_equal((mask_of(viewer) & LARGE)[4], LARGE[4])
    assert np.array_equal(mask_of(viewer), predicted(server, tmp_path))


def test_a_session_begins_with_a_mask_that_ends_where_it_ends(server, viewer, tmp_path):
    begun = only(LARGE, 3, 4).astype(np.uint8)
    assert viewer.add_initial_seg_interaction(begun) is None
    assert np.array_equal(viewer.target_buffer, begun)
    viewer.add_point_interaction([4, 16, 20], include_interaction=True)
    assert np.array_equal(mask_of(viewer)[3:5].any(axis=0), (LARGE | SMALL)[3:5].any(axis=0))
    assert not mask_of(viewer)[[0, 1, 2, 5, 6, 7, 8]].any()
    assert np.array_equal(mask_of(viewer), predicted(server, tmp_path))
    assert viewer.undo() is True
    assert np.array_equal(viewer.target_buffer, begun)
    assert viewer.undo() is False  # a mask that was begun with stays


def test_a_reset_begins_anew(viewer):
    viewer.add_bbox_interaction(BOX, include_interaction=True)
    viewer.reset_interactions()
    assert not viewer.target_buffer.any()
    assert viewer.undo() is False
    viewer.add_point_interaction([2, 16, 20], include_interaction=True)
    assert np.array_equal(mask_of(viewer)[2], SMALL[2])


def test_a_new_target_buffer_is_told_everything(viewer):
    viewer.add_bbox_interaction(BOX, include_interaction=True)
    viewer.set_target_buffer(np.zeros(wedge().shape, dtype=bool))
    viewer.add_point_interaction([4, 8, 9], include_interaction=True)
    assert np.array_equal(mask_of(viewer), LARGE)


def test_another_image_in_the_same_session_replaces_the_first(server, viewer):
    before = session_of(server)
    viewer.add_bbox_interaction(BOX, include_interaction=True)
    image = np.ascontiguousarray(wedge()[:, ::-1])
    viewer.set_image(image[None].astype(np.float16), {"spacing": SPACING})
    viewer.set_target_buffer(np.zeros(image.shape, dtype=np.int32))
    viewer.add_bbox_interaction([[4, 5], [6, 18], [3, 17]], include_interaction=True)
    assert np.array_equal(mask_of(viewer), LARGE[:, ::-1])
    assert not before.folder.exists()
    assert not before.scan.files[0].exists()


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ((0, 1, 2), {"orientation": "SAR"}),
        ((2, 1, 0), {}),  # [x,y,z], as readers of NIfTI hand it on
        ((1, 0, 2), {}),
        ((2, 1, 0), {"affine": [[-2.0, 0, 0, 5], [0, -3.0, 0, 7], [0, 0, 5.0, 9], [0, 0, 0, 1]]}),
    ],
)
def test_slices_are_found_in_any_order_of_the_axes(server, order, said):
    spacing = [SPACING[axis] for axis in order]
    with server.connect() as viewer:
        viewer.set_image(wedge().transpose(order)[None], {"spacing": spacing, **said})
        viewer.set_target_buffer(np.zeros([wedge().shape[axis] for axis in order], dtype=np.uint8))
        viewer.add_bbox_interaction([BOX[axis] for axis in order], include_interaction=True)
        assert np.array_equal(mask_of(viewer), LARGE.transpose(order))


def test_axes_are_those_that_the_server_was_told(begin):
    server = begin(viewer_axes="SAR")
    with server.connect() as viewer:
        viewer.set_image(wedge()[None], {"spacing": [1.0, 1.0, 9.0]})
        assert session_of(server).grid.frame == "RAS"
        viewer.set_image(wedge()[None], {"spacing": SPACING, "orientation": "SPR"})
        assert session_of(server).grid.frame == "RPS"  # a sender knows better
    with pytest.raises(UserError, match=r"viewer_axes=SSS"):
        begin(viewer_axes="SSS")


def test_two_viewers_at_once_have_each_their_own(server):
    def work(shift, errors):
        try:
            image, truth = (np.roll(array, shift, axis=2) for array in (wedge(), LARGE))
            with server.connect() as viewer:
                viewer.set_image(image[None], {"spacing": SPACING})
                viewer.set_target_buffer(np.zeros(image.shape, dtype=np.uint8))
                for _ in range(3):
                    box = [BOX[0], BOX[1], [BOX[2][0] + shift, BOX[2][1] + shift]]
                    viewer.add_bbox_interaction(box, include_interaction=True)
                    assert np.array_equal(mask_of(viewer), truth)
                    viewer.reset_interactions()
        except BaseException as error:
            errors.append(error)

    errors = []
    threads = [threading.Thread(target=work, args=(shift, errors)) for shift in (0, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_viewer_that_leaves_leaves_nothing(begin):
    server = begin()
    with server.connect() as viewer:
        viewer.set_image(wedge()[None], {"spacing": SPACING})
        assert len(server.serving.scans.all()) == len(server.serving.sessions.all()) == 1
    assert server.serving.scans.all() == []
    assert server.serving.sessions.all() == {}
    assert not list((server.options.sessions / "uploads").iterdir())


def test_a_server_that_ends_forgets_its_viewers(begin):
    server = begin()
    viewer = server.connect()
    viewer.set_image(wedge()[None], {"spacing": SPACING})
    server.close()
    assert not list((server.options.sessions / "uploads").iterdir())
    assert [place.name for place in server.options.sessions.iterdir() if place.is_dir()] == ["uploads"]


def test_a_session_that_was_deleted_on_the_page_is_a_lost_one(server, viewer):
    session = session_of(server).id
    assert httpx.delete(f"{server.url}/api/sessions/{session}", headers=dict(viewer._http.headers)).is_success
    with pytest.raises(remote.SessionExpiredError, match="Connect again"):
        viewer.add_point_interaction([1, 1, 1], include_interaction=True)
    assert httpx.post(f"{server.url}/release", headers=dict(viewer._http.headers)).is_success


def test_a_model_without_prompts_segments_the_scan_and_enables_no_tool(begin):
    bundle = perfect_bundle(model=models.build(MODEL).eval(), model_config=MODEL, window=(16, 16), needs_prompts=False)
    server = begin(bundle)
    with server.connect() as viewer:
        assert not any(viewer.supported_interactions.values())
        assert not viewer.supports_initial_label
        viewer.set_image(wedge()[None], {"spacing": SPACING, "structure": "spleen"})
        viewer.set_target_buffer(np.zeros(wedge().shape, dtype=np.uint8))
        with pytest.raises(httpx.HTTPStatusError, match="422"):
            viewer.add_point_interaction([4, 8, 9], include_interaction=True)
        assert viewer.undo() is False
        viewer._predict()
        scan = volumes.read(session_of(server).scan.files[0])
        assert np.array_equal(mask_of(viewer), (segment(scan, bundle).array == 1).transpose())
        assert viewer.undo() is True
        assert not mask_of(viewer).any()


def test_a_full_server_says_so_in_the_clients_own_words(begin):
    server = begin(limits=ServeLimits(sessions=1))
    with server.connect(), pytest.raises(remote.ServerAtCapacityError, match=r"at most 1 viewers.*full"):
        server.connect()
    server.connect().close()


def test_a_lease_that_is_lost_is_told_and_a_new_one_works(begin):
    server = begin(silent_seconds=1e-6, limits=ServeLimits(sessions=1))
    for _ in range(2):  # the lease of the first one ended in silence, and left its place
        viewer = server.connect()
        with pytest.raises(remote.SessionExpiredError, match="Connect again"):
            viewer.lease_status()
    server = begin(limits=ServeLimits(sessions=1))
    viewer = server.connect()
    status = viewer.lease_status()
    assert status["idle_timeout_seconds"] == 1800.0
    assert 1700 < status["remaining_seconds"] <= 1800
    assert 1700 < viewer.heartbeat() <= 1800
    httpx.post(f"{server.url}/release", headers=dict(viewer._http.headers))
    with pytest.raises(remote.SessionExpiredError, match="Connect again"):
        viewer.add_point_interaction([1, 1, 1], include_interaction=True)
    server.connect().close()


def test_another_key_is_refused(server):
    for key in ("another", ""):
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            server.connect(key=key)
    assert server.connect().ping() is True


def test_capabilities_say_what_the_bundle_knows(server, begin):
    told = httpx.get(f"{server.url}/capabilities", headers={"Authorization": f"Bearer {KEY}"}).json()
    assert told["supported_interactions"] == {
        "points": True, "bbox2d": True, "bbox3d": False, "scribble": True, "lasso": True,
    }  # fmt: skip
    assert told["segfocal"]["structures"] == ["liver", "spleen"]
    assert (told["supports_initial_label"], told["supports_zero_shot_label_refinement"]) == (True, False)
    assert told["license"] == "!!MISSING!!"
    licensed = begin(perfect_bundle(training={"weights": {"licence": "Apache-2.0"}}))
    assert licensed.connect().license == "Apache-2.0"
