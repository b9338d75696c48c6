"""Files that are written whole have the permissions of any new file, whatever library wrote them."""

import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from segfocal.files import write_json, written_beside


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_gets_the_permissions_of_the_users_umask(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        with written_beside(tmp_path / "a.safetensors") as temporary:
            save_file({"a": torch.ones(2)}, temporary)  # which makes its file with 0600
        write_json(tmp_path / "a.json", 1)
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "a.safetensors": mode,
        "a.json": mode,
    }
