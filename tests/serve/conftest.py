"""A server of two scans, and a client that has its key."""

import pytest

from tests.serve.served import KEY, make_scans, options_in, perfect_predictor


@pytest.fixture
def make_client(tmp_path):
    """Start servers in the folder of the test; what is asked of them goes through the whole application."""
    testclient = pytest.importorskip("starlette.testclient", reason="the extra serve is not installed")
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from segfocal.serve.http_app import Serving, build_app

    begun = []

    def start(*, key=KEY, headers=None, predictor=None, **changes):
        serving = Serving.of(options_in(tmp_path, **changes), predictor or perfect_predictor())
        client = testclient.TestClient(
            build_app(serving, key=KEY),
            base_url="http://127.0.0.1:1527",
            headers={"Authorization": f"Bearer {key}"} if headers is None else headers,
            raise_server_exceptions=False,
            follow_redirects=False,
        )
        begun.append(client)
        client.serving = serving
        return client.__enter__()

    yield start
    for client in begun:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client, tmp_path):
    make_scans(tmp_path)
    return make_client()


@pytest.fixture
def session(client):
    """The address of a session of the first scan."""
    scan = client.get("/api/scans").json()["scans"][0]["id"]
    return "/api/sessions/" + client.post("/api/sessions", json={"scan": scan}).json()["session"]
