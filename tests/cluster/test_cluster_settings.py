"""What a worker may take and how many there are: checked before anything is started."""

import pytest

from segfocal.cluster.cluster_settings import ClusterSettings
from segfocal.errors import UserError


@pytest.mark.parametrize(
    ("given", "meant", "most"), [([1, None], (1, None), 10**6), (3, (3, 3), 3), ([2], (2, 2), 2), ([1, 4], (1, 4), 4)]
)
def test_actors_are_least_and_most_or_one_number(given, meant, most):
    settings = ClusterSettings.of({"kind": "ray", "actors": given}, imports="mine")
    assert (settings.actors, settings.most, settings.imports) == (meant, most, ("mine",))


def test_what_a_worker_takes_in_rays_words():
    assert ClusterSettings(gpus=0.5, cpus=2, memory_gib=1.5).resources == {"CPU": 2, "GPU": 0.5, "memory": 1610612736}
    assert ClusterSettings().resources == {"CPU": 1}


@pytest.mark.parametrize(
    "wrong",
    [{"actors": [0, 2]}, {"actors": [3, 1]}, {"actors": [1, 2, 3]}, {"gpus": -1}, {"gpus": 1.5}, {"cpus": 0},
     {"memory_gib": 0}, {"retries": -1}, {"case_minutes": -2}],
)  # fmt: skip
def test_a_value_out_of_range_is_one_line_with_its_name(wrong):
    with pytest.raises(UserError, match=f"cluster.{next(iter(wrong))}") as told:
        ClusterSettings.of({"kind": "ray", **wrong})
    assert "\n" not in str(told.value)
