"""What a picture of a case shows."""

import numpy as np

from segfocal.report.case_picture import worst_piece


def test_of_many_lesions_the_one_with_most_wrong_voxels_is_shown():
    true, found = np.zeros((2, 9, 40, 40), bool)
    true[2:6, 2:10, 2:10] = True  # 256 voxels, of which 32 are missed
    found[2:6, 3:10, 2:10] = True
    true[1:3, 30:34, 30:36] = True  # 48 voxels, all missed
    found[7, 20, 20:25] = True  # 5 voxels where nothing is
    missed = true.copy()
    missed[:, :20] = False
    assert np.array_equal(worst_piece(true, found), missed)


def test_what_is_one_piece_is_shown_whole():
    true, found = np.zeros((2, 5, 20, 20), bool)
    true[1:4, 5:12, 5:12] = True
    found[1:4, 8:16, 8:16] = True
    assert np.array_equal(worst_piece(true, found), true | found)
    assert not worst_piece(true & False, found & False).any()
