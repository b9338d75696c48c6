"""What lies below a folder: links are followed, each folder once, and a circle of links ends."""

import os

from segfocal.io.walk import walk


def names(paths, root):
    return [path.relative_to(root).as_posix() for path in paths]


def test_links_to_folders_are_followed_and_hidden_names_are_not_seen(tmp_path):
    for name in ("data/a/x", "data/.b/x", "data/a/.x", "away/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.symlink(tmp_path / "away", tmp_path / "data" / "link")
    found = walk(tmp_path / "data")
    assert names(found.files, tmp_path / "data") == ["a/x", "link/y"]
    assert names(found.folders, tmp_path / "data") == [".", "a", "link"]
    assert found.again == []


def test_a_circle_of_links_ends_and_is_named(tmp_path):
    root = tmp_path / "data"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "x").touch()
    os.symlink(root / "a", root / "a" / "b" / "loop")
    os.symlink("..", root / "up")
    os.symlink(root / "a" / "b", root / "again")
    os.symlink("self", root / "self")
    found = walk(root)
    assert names(found.files, root) == ["a/b/x", "self"]
    assert names(found.again, root) == ["a/b/loop", "again", "up"]


def test_what_really_lies_there_goes_before_a_link_to_it(tmp_path):
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "x").touch()
    os.symlink("z", tmp_path / "a")
    found = walk(tmp_path)
    assert (names(found.files, tmp_path), names(found.again, tmp_path)) == (["z/x"], ["a"])
