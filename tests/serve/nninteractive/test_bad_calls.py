"""What a viewer may get wrong: each is a status 4xx with one line, and the server goes on answering."""

import json
import re
import struct

import httpx
import numpy as np
import pytest

from segfocal.serve.nninteractive.packed_array import pack
from segfocal.serve.options import ServeLimits
from tests.serve.nninteractive.conftest import KEY, SPACING, wedge

IMAGE = wedge()[None]
MASK = np.zeros(wedge().shape, dtype=np.uint8)
MASK[4, 5, 6] = 1
ONE = {"include_interaction": True}
POINT, BBOX, SCRIBBLE = "/add_point_interaction", "/add_bbox_interaction", "/add_scribble_interaction"
LASSO, INITIAL = "/add_lasso_interaction", "/add_initial_seg_interaction"
IMAGE_AT, TARGET = "/set_image", "/set_target_buffer"


@pytest.fixture(scope="module")
def small(begin):
    """A server that takes arrays of at most 1 MiB."""
    return begin(limits=ServeLimits(upload_mib=1))


@pytest.fixture(scope="module")
def call(small):
    """Return a function that makes one call as a viewer with an image and a mask, and returns the answer."""
    headers = {"Authorization": f"Bearer {KEY}"}
    client = httpx.Client(base_url=small.url, headers=headers, timeout=60)
    client.headers["X-Lease-Token"] = client.post("/claim").json()["lease_token"]

    def made(path, *, body=None, meta=None, data=None, headers=None, text=None):
        content = json.dumps(body) if body is not None else text if text is not None else data
        own = {} if meta is None else {"X-Meta": meta if isinstance(meta, str) else json.dumps(meta)}
        return client.post(path, content=content, headers={**own, **(headers or {})})

    assert made("/set_image", data=pack(IMAGE), meta={"image_properties": {"spacing": SPACING}}).status_code == 200
    assert made("/set_target_buffer", body={"shape": [9, 20, 24], "dtype": "uint8"}).status_code == 200
    yield made
    client.close()


def huge(shape, dtype=b"int16"):
    """Return a packed array that claims a shape and holds nothing."""
    header = struct.pack(f"<4sBBBB{len(dtype)}s", b"NNIA", 1, 1, len(shape), len(dtype), dtype)
    return header + struct.pack(f"<{len(shape)}q", *shape) + struct.pack("<I", 0)


def box(*spans):
    return {"body": {"bbox_coords": list(map(list, spans)), **ONE}}


def lasso(*spans):
    return {"data": pack(MASK[4:5]), "meta": {**ONE, "interaction_bbox": spans}}


def saying(**properties):
    return {"data": pack(IMAGE), "meta": {"image_properties": properties}}


def spacing(*values):
    return saying(spacing=list(values))


BAD = {
    "lease of another": ("/undo", {"body": {}, "headers": {"X-Lease-Token": "another"}}, 410, "connect again"),
    "no lease": ("/undo", {"body": {}, "headers": {"X-Lease-Token": ""}}, 410, "no token"),
    "another key": ("/undo", {"body": {}, "headers": {"Authorization": "Bearer x"}}, 401, "token of this server"),
    "no JSON": (POINT, {"text": "{coordinates"}, 400, "expected JSON"),
    "no UTF-8": (POINT, {"text": b"\xff\xfe{"}, 400, "UTF-8"),
    "deep JSON": ("/predict", {"text": "[" * 5000}, 400, "the request's body"),
    "another form": (POINT, {"body": [1, 2]}, 422, "mapping"),
    "two numbers": (POINT, {"body": {"coordinates": [1, 2], **ONE}}, 422, "at least 3 items"),
    "text as coordinate": (POINT, {"body": {"coordinates": ["1", 2, 3], **ONE}}, 422, "number"),
    "neither in nor out": (POINT, {"body": {"coordinates": [1, 2, 3]}}, 422, "include_interaction"),
    "NaN": (POINT, {"text": '{"coordinates": [NaN, 1, 1], "include_interaction": true}'}, 400, "NaN"),
    "a point outside": (POINT, {"body": {"coordinates": [9, 1, 1], **ONE}}, 422, "inside the image"),
    "a point far off": (POINT, {"body": {"coordinates": [1e300, 1, 1], **ONE}}, 422, "inside the"),
    "a point before": (POINT, {"body": {"coordinates": [0, -1, 1], **ONE}}, 422, "inside the image"),
    "a box outside": (BBOX, box((4, 5), (20, 30), (0, 9)), 422, "inside"),
    "a box inside out": (BBOX, box((4, 5), (9, 3), (0, 9)), 422, "half-open"),
    "a flat box": (BBOX, box((4, 4), (3, 9), (0, 9)), 422, "at least one"),
    "a box of slices": (BBOX, box((2, 5), (3, 9), (0, 9)), 422, "one slice"),
    "a box on another plane": (BBOX, box((2, 6), (3, 4), (0, 9)), 422, r"axis 1 \(coronal\)"),
    "a box of pairs": (BBOX, box((4, 5), (3, 9)), 422, "at least 3"),
    "truncated blosc2": (IMAGE_AT, {"data": pack(IMAGE)[:-7], "meta": {}}, 422, "cut short"),
    "no array": (IMAGE_AT, {"data": b"", "meta": {}}, 422, "cut short"),
    "another file": (IMAGE_AT, {"data": b"\x89PNG\r\n\x1a\n" + bytes(100), "meta": {}}, 422, "begins with NNIA"),
    "wrong dtype": (IMAGE_AT, {"data": pack(IMAGE.astype(np.complex64)), "meta": {}}, 422, "complex64"),
    "three axes": (IMAGE_AT, {"data": pack(IMAGE[0]), "meta": {}}, 422, "4 axes"),
    "two channels": (IMAGE_AT, {"data": pack(np.concatenate([IMAGE, IMAGE])), "meta": {}}, 422, "1 channel"),
    "huge shape": (IMAGE_AT, {"data": huge([1, 1 << 20, 1 << 20, 1 << 20]), "meta": {}}, 413, "at most 1,048,576"),
    "overflowing shape": (IMAGE_AT, {"data": huge([1 << 62] * 4), "meta": {}}, 413, "at most 1,048,576"),
    "huge body": (IMAGE_AT, {"data": bytes(2 << 20), "meta": {}}, 413, "a body of at most"),
    "voxels that are none": (IMAGE_AT, {"data": pack(IMAGE * np.float32(np.nan)), "meta": {}}, 422, "finite"),
    "NaN spacing": (IMAGE_AT, spacing(float("nan"), 1, 1), 400, "NaN"),
    "no spacing": (IMAGE_AT, spacing(0, 1, 1), 422, "greater than"),
    "a spacing back": (IMAGE_AT, spacing(1, -1, 1), 422, "greater than"),
    "two spacings": (IMAGE_AT, spacing(1, 1), 422, "at least 3"),
    "no frame": (IMAGE_AT, saying(orientation="SSS"), 422, "three letters"),
    "a flat affine": (IMAGE_AT, saying(affine=[[0.0] * 4] * 4), 422, "inverted"),
    "another structure": (IMAGE_AT, saying(structure="../x"), 422, "liver or spleen"),
    "no header": (SCRIBBLE, {"data": pack(MASK)}, 422, "include_interaction"),
    "a scribble of nothing": (SCRIBBLE, {"data": pack(MASK * 0), "meta": ONE}, 422, "1 to 200,000"),
    "a scribble elsewhere": (SCRIBBLE, {"data": pack(MASK[1:]), "meta": ONE}, 422, "image's shape"),
    "a scribble too large": (SCRIBBLE, {"data": huge([9, 20, 25], b"float64"), "meta": ONE}, 413, "at most"),
    "a lasso beyond": (LASSO, lasso([9, 10], [0, 20], [0, 24]), 422, "inside the image"),
    "a lasso that is larger": (LASSO, lasso([4, 5], [0, 9], [0, 24]), 422, "as large as"),
    "a mask elsewhere": (INITIAL, {"data": pack(MASK[1:]), "meta": {}}, 422, "image's shape"),
    "another target": (TARGET, {"body": {"shape": [9, 20, 25], "dtype": "uint8"}}, 422, "image's shape"),
    "a target of text": (TARGET, {"body": {"shape": [9, 20, 24], "dtype": "O"}}, 422, "uint8"),
    "zoom by word": ("/set_do_autozoom", {"body": {"do_autozoom": "yes"}}, 422, "true or false"),
    "a path of none": ("/add_sphere_interaction", {"body": {}}, 404, "address"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_call_is_one_line_and_the_server_lives(call, name):
    path, request, status, said = BAD[name]
    answer = call(path, **request)
    assert answer.status_code == status, answer.text
    line = answer.json().get("detail") or answer.json()["error"]
    assert "\n" not in line
    assert line.startswith("expected ")
    assert re.search(said, line, re.IGNORECASE), line
    answer = call("/add_point_interaction", body={"coordinates": [4, 8, 9], **ONE, "run_prediction": False})
    assert json.loads(answer.headers["X-Meta"]) == {"ran_prediction": False, "bbox": None}


def test_calls_out_of_order_say_what_comes_first(small):
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=small.url, headers=headers, timeout=60) as client:
        client.headers["X-Lease-Token"] = client.post("/claim").json()["lease_token"]
        point = json.dumps({"coordinates": [4, 8, 9], **ONE})
        assert "call set_image" in client.post("/add_point_interaction", content=point).json()["detail"].lower()
        client.post("/set_image", content=pack(IMAGE), headers={"X-Meta": "{}"})
        told = client.post("/add_point_interaction", content=point).json()["detail"].lower()
        assert "call set_target_buffer" in told
        client.post("/release")
