"""A scan as a model sees it: resampled through the plane and with its neighbours, in whatever parts it is read."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segfocal.data.case import Case
from segfocal.data.store.prepare import prepare
from segfocal.data.store.prepared_case import Preparation
from segfocal.errors import UserError
from segfocal.grid import Grid
from segfocal.inference.sliding.model_input import ModelInput
from segfocal.intensity import Percentiles, PerChannel, Window
from segfocal.io import volumes
from segfocal.resample import ModelGrid
from tests.inference.bundles import BALL, UNIT, noise, scan_of
from tests.inference.neighbours import expected
from tests.scans import affine_of, make_sphere_case


@given(
    depth=st.integers(1, 20),
    thickness=st.sampled_from([0.4, 1.0, 2.3]),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    percentiles=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_slices_read_in_any_parts_are_the_volume_resampled_through_plane(depth, thickness, cuts, percentiles):
    scan = scan_of(noise(max(depth, 2), 7, 6), spacing_mm=(thickness, 1.0, 1.0))
    grid = ModelGrid(frame="RAS", spacing_mm=(1.0, 1.3, 0.8))
    if grid.of(Grid(shape=scan.grid.shape, affine=np.eye(4))).shape[0] == 1:
        return
    try:
        whole = grid.image(scan).array
    except UserError:  # a scan that would become a single slice
        return
    kind = Percentiles() if percentiles else UNIT
    image = ModelInput(scan, grid, kind)
    edges = sorted({0, len(whole), *[min(c, len(whole)) for c in cuts]})
    parts = [image.slices(low, high)[0].numpy() for low, high in itertools.pairwise(edges)]
    np.testing.assert_allclose(np.concatenate(parts), kind(whole), atol=2e-5)  # rounding, over a window's narrow range


@given(
    depth=st.integers(1, 12),
    neighbours=st.integers(0, 4),
    cuts=st.lists(st.integers(0, 12), max_size=6),
    spacing=st.sampled_from([None, (1.6, 0.7)]),
)
@settings(max_examples=100, deadline=None)
def test_slices_read_in_any_parts_have_their_neighbours(depth, neighbours, cuts, spacing):
    slices, grid = noise(depth, 6, 5), ModelGrid(frame="RAS", spacing_mm=spacing)
    plain = ModelInput(scan_of(slices), grid, Percentiles()).whole()[0].numpy()
    image = ModelInput(scan_of(slices), grid, Percentiles(), neighbours=neighbours)
    edges = sorted({0, depth, *[min(c, depth) for c in cuts]})
    parts = [image.slices(low, high).numpy() for low, high in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected(plain, neighbours))
    np.testing.assert_array_equal(image.slices(depth // 2, depth).numpy(), expected(plain, neighbours)[:, depth // 2 :])
    assert image.shape == image.whole().shape == (2 * neighbours + 1, *plain.shape)


def test_training_and_inference_see_channels_and_neighbours_alike(tmp_path):
    affine = affine_of(spacing_mm=(1.1, 0.8, 2.5), axes="PIR", degrees=(9.0, -6.0, 14.0))
    files = [make_sphere_case(tmp_path, f"c{i}", shape=(11, 9, 12), affine=affine, seed=i) for i in range(2)]
    case = Case(name="both", image=files[0][0], more=(files[1][0],), label=files[0][1])
    maps = PerChannel(each=(Percentiles(), Window(lower=-20.0, upper=90.0)))
    seen = Preparation(grid=ModelGrid(spacing_mm=(1.3, 0.9)), intensity=maps, structures=BALL)
    (ready,) = prepare([case], seen, tmp_path / "cache")
    image = ModelInput(volumes.read_channels(case.images), seen.grid, maps, neighbours=2).whole().numpy()
    for z in range(ready.shape[0]):
        np.testing.assert_allclose(ready.slice(z, neighbours=2)[0], image[:, z], atol=2**-12)  # float16 on disk
