"""A sweep of two losses, one of them better."""

import pytest

from tests.compare.runs import make_run


@pytest.fixture
def sweep(tmp_path):
    """Two losses with four seeds on two cases, one of them better by about 0.1; one failed run."""
    for seed in range(4):
        noise = 0.01 * seed
        make_run(tmp_path / f"a{seed}", {"x": 0.80 + noise, "y": 0.70 - noise}, "loss=a", f"seed={seed}", "steps=9")
        make_run(tmp_path / f"b{seed}", {"x": 0.69 + noise, "y": 0.61 - noise}, "loss=b", f"seed={seed}", "steps=9")
    make_run(tmp_path / "b9", {}, "loss=b", "seed=9", "steps=9", error="expected a target; found none")
    return tmp_path
