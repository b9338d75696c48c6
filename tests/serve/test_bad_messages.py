"""Bad messages: each is refused with a status and one line that says what was expected, and the server goes on."""

import errno
import json
import os

import pytest

from tests.serve.served import LIVER, SPLEEN, make_scans

POINT = {"structure": "liver", "kind": "point", "world_mm": [LIVER]}
FAR = [[9e9, 0.0, 0.0]]
BODIES = {
    "outside": (POINT | {"world_mm": FAR}, 422, "places inside the scan"),
    "just outside": (POINT | {"world_mm": [[LIVER[0] + 60, *LIVER[1:]]]}, 422, "places inside the scan"),
    "NaN": ('{"structure":"liver","kind":"point","world_mm":[[NaN,0,0]]}', 400, "finite numbers"),
    "infinity": ('{"structure":"liver","kind":"point","world_mm":[[1e999,0,0]]}', 400, "finite numbers"),
    "no JSON": ("{", 400, "JSON"),
    "bytes": (b"\xff\xfe\x00", 400, "JSON in UTF-8"),
    "deep": ("[" * 500, 400, "deep"),
    "a list": ([], 422, "to be"),
    "text for a number": (POINT | {"world_mm": [["1", 2, 3]]}, 422, "world_mm[0][0]"),
    "two numbers": (POINT | {"world_mm": [[1.0, 2.0]]}, 422, "world_mm[0]"),
    "no place": (POINT | {"world_mm": []}, 422, "1 place of a point"),
    "two places": (POINT | {"world_mm": [LIVER, LIVER]}, 422, "1 place of a point"),
    "three corners": (POINT | {"kind": "box", "world_mm": [LIVER] * 3}, 422, "2 places of a box"),
    "a flat box": (POINT | {"kind": "box", "world_mm": [LIVER, LIVER]}, 422, "a box with an extent"),
    "a kind": (POINT | {"kind": "<script>"}, 422, "kind point, box"),
    "a structure": (POINT | {"structure": "heart\u202e\n"}, 422, "structure liver or spleen"),
    "no structure": ({"kind": "point", "world_mm": [LIVER]}, 422, "structure liver or spleen"),
    "an unknown key": (POINT | {"colour": "red"}, 422, "colour"),
    "a plane": (POINT | {"plane": "oblique"}, 422, "plane"),
    "true for 1": (POINT | {"revision": True}, 422, "revision"),
    "a key twice": ('{"kind":"point","kind":"box"}', 400, "each key once"),
    "many places": (POINT | {"kind": "scribble", "world_mm": [[0, 0, 0]] * 10_001}, 422, "world_mm"),
    "a negative box": (POINT | {"kind": "box", "positive": False, "world_mm": [LIVER, SPLEEN]}, 422, "round the"),
    "a huge body": (b" " * ((1 << 20) + 1), 413, "at most 1 MiB"),
    "a huge number": ('{"revision":' + "9" * 400 + "}", 400, "digits"),
}


def check(told, status, words, client):
    said = told.json()
    assert told.status_code == status, told.text
    assert words in said["error"]
    assert set(said) == {"error", "expected", "found", "do"}
    assert len(told.text.splitlines()) == 1
    assert len(said["error"]) < 400
    assert said["error"].isprintable()
    assert "Traceback" not in told.text
    assert client.get("/healthz").json() == {"status": "ok"}


def send(client, address, body, method="post"):
    raw = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return getattr(client, method)(address, content=raw, headers={"Content-Type": "application/json"})


def test_prompts_of_every_bad_kind_are_refused_and_nothing_changes(client, session):
    for body, status, words in BODIES.values():
        check(send(client, f"{session}/prompts", body), status, words, client)
    assert client.get(session).json()["revision"] == 0
    assert client.post(f"{session}/prompts", json=POINT).status_code == 200


ACTIONS = [
    ("edits", {"world_mm": [LIVER], "radius_mm": -1.0}, 422, "radius_mm above 0"),
    ("edits", {"world_mm": [LIVER], "radius_mm": 1e9}, 422, "radius_mm above 0"),
    ("edits", {"world_mm": FAR, "radius_mm": 2.0}, 422, "places inside"),
    ("edits", {"world_mm": [LIVER]}, 422, "radius_mm, which is needed"),
    ("carry", {"reach_mm": -1.0}, 422, "reach_mm"),
    ("carry", {"reach_mm": "far"}, 422, "reach_mm"),
    ("reset", {"structure": "heart"}, 422, "structure liver or spleen"),
    ("undo", {}, 409, "something to undo"),
    ("redo", {}, 409, "something to redo"),
    ("predict", {}, 422, "without a prompt"),
    ("absent", {"structure": "liver", "world_mm": FAR}, 422, "places inside"),
]


def test_other_actions_of_every_bad_kind_are_refused_and_nothing_changes(client, session):
    for action, body, status, words in ACTIONS:
        check(send(client, f"{session}/{action}", body, "put" if action == "edits" else "post"), status, words, client)
    assert client.get(session).json()["revision"] == 0


NOBODYS = ["0" * 32, "..%2f..%2fetc", "%00", "a" * 5000, "é"]


def test_a_session_that_is_not_there_or_another_servers(client):
    for name in NOBODYS:
        for address in ("", "/mask.nii.gz", "/prompts.json", "/progress", "/image.nii.gz", "/disagreement"):
            check(client.get(f"/api/sessions/{name}{address}"), 404, "expected", client)
        for action in ("prompts", "undo", "save", "close"):
            body = POINT if action == "prompts" else {}
            check(send(client, f"/api/sessions/{name}/{action}", body), 404, "expected", client)
        check(client.delete(f"/api/sessions/{name}"), 404, "expected", client)
        check(client.post("/api/sessions", json={"scan": name}), 404, "the id of a scan", client)


def test_two_tabs_on_one_session(client, session):
    assert client.post(f"{session}/prompts", json=POINT | {"revision": 0}).status_code == 200
    check(client.post(f"{session}/prompts", json=POINT | {"revision": 0}), 409, "revision 1", client)
    check(client.post(f"{session}/save", json={"revision": 0}), 409, "another tab", client)
    assert client.post(f"{session}/prompts", json=POINT | {"revision": 1}).status_code == 200


@pytest.mark.parametrize("spoilt", ["deleted", "another"])
def test_a_scan_that_is_deleted_or_changed_meanwhile(client, session, tmp_path, spoilt):
    client.post(f"{session}/prompts", json=POINT)
    file = tmp_path / "scans" / "one.nii.gz"
    data = file.read_bytes()
    file.unlink()
    if spoilt == "another":
        file.write_bytes(data + b"\0")
    for told in (
        client.post(f"{session}/prompts", json=POINT),
        client.get(f"{session}/image.nii.gz"),
        client.post(f"{session}/save"),
    ):
        check(told, 410, "the scan one.nii.gz", client)
    assert client.get(f"{session}/prompts.json").json()[0]["structure"] == "liver"


UPLOADS = {
    "no name": ("", b"x", 415),
    "no scan": ("notes.txt", b"x", 415),
    "a folder": ("../../up.nii.gz", b"x", 422),
    "another folder": ("..\\up.nii.gz", b"x", 422),
    "an absolute path": ("/etc/up.nii.gz", b"x", 422),
    "a hidden file": (".nii.gz", b"x", 422),
    "a NUL": ("a%00.nii.gz", b"x", 422),
    "nothing": ("a.nii.gz", b"", 422),
    "other bytes": ("a.nii.gz", b"\x1f\x8b" + b"x" * 400, 422),
    "a picture that is none": ("a.png", b"\x89PNG\r\n\x1a\n", 422),
}


def test_uploads_of_every_bad_kind_leave_nothing(client, tmp_path):
    for name, data, status in UPLOADS.values():
        check(client.post(f"/api/scans?name={name}", content=data), status, "expected", client)
    data = (tmp_path / "scans" / "one.nii.gz").read_bytes()
    check(client.post("/api/scans?name=a.nii.gz", content=data[: len(data) // 2]), 422, "expected", client)
    assert [path for path in (tmp_path / "sessions").rglob("*") if path.is_file()] == []
    assert len(client.get("/api/scans").json()["scans"]) == 2


def test_an_upload_that_is_larger_than_is_taken(make_client, tmp_path):
    from segfocal.serve.options import ServeLimits

    make_scans(tmp_path)
    client = make_client(limits=ServeLimits(upload_mib=1))
    check(client.post("/api/scans?name=a.nii.gz", content=b"x" * ((1 << 20) + 1)), 413, "at most 1 MiB", client)
    pieces = (b"x" * (1 << 18) for _ in range(5))  # whose length nobody told
    check(client.post("/api/scans?name=a.nii.gz", content=pieces), 413, "at most 1 MiB", client)


OUTSIDE = ["../__init__.py", "..%2f__init__.py", "%2e%2e/session.py", "/etc/passwd", ".hidden.js", "a%00.js", "no.js"]


def test_the_page_has_no_way_out_of_its_folder(client):
    for path in OUTSIDE:
        check(client.get(f"/page/{path}"), 404, "expected", client)


def test_addresses_and_methods_that_there_are_none_of(client):
    check(client.get("/api/nothing"), 404, "an address", client)
    check(client.delete("/api/about"), 405, "another method", client)
    check(client.put("/healthz"), 405, "another method", client)


def test_a_full_disk_while_saving_leaves_what_was_there(client, session, monkeypatch, tmp_path):
    client.post(f"{session}/prompts", json=POINT)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        check(client.post(f"{session}/save"), 507, "room on the disk", client)
        check(client.post(f"{session}/prompts", json=POINT), 507, "room on the disk", client)
    assert client.get(session).json()["revision"] == 1
    assert client.post(f"{session}/save").status_code == 200


def test_a_fault_of_ours_is_one_line_too(client, session, monkeypatch, capsys):
    monkeypatch.setattr("segfocal.serve.files_sent.drawn_prompts", lambda _: 1 / 0)
    check(client.get(f"{session}/prompts"), 500, "a fault of the server", client)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_server_that_is_full_says_when_to_come_back(make_client, tmp_path):
    from segfocal.serve.options import ServeLimits

    make_scans(tmp_path)
    client = make_client(limits=ServeLimits(sessions=1))
    first, second = (scan["id"] for scan in client.get("/api/scans").json()["scans"])
    opened = client.post("/api/sessions", json={"scan": first}).json()["session"]
    told = client.post("/api/sessions", json={"scan": second})
    check(told, 503, "at most 1 scans open", client)
    assert int(told.headers["retry-after"]) > 0
    client.post(f"/api/sessions/{opened}/close")
    assert client.post("/api/sessions", json={"scan": second}).status_code == 201
