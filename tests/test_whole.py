"""Files that are written whole or not at all: modes, owners, other files in the way, file systems without links."""

import os
import stat
import sys
import threading

import pytest

from combiner_codec.whole import TEMPORARY, whole_file

ROOT = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root gives files away")
OLD, NEW = b"what was there before", b"what is written"


def write(path, **options):
    with whole_file(path, **options) as file:
        file.write(NEW)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("replace", [True, False])
def test_a_new_file_has_the_usual_mode(replace, sync, tmp_path):
    mask = os.umask(0o027)
    try:
        write(tmp_path / "x", replace=replace, sync=sync)
    finally:
        os.umask(mask)
    assert (tmp_path / "x").read_bytes() == NEW and names(tmp_path) == ["x"]
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "x").write_bytes(OLD)
    with pytest.raises(RuntimeError), whole_file(tmp_path / "x") as file:
        file.write(NEW)
        raise RuntimeError
    assert (tmp_path / "x").read_bytes() == OLD and names(tmp_path) == ["x"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("kind", ["file", "empty", "folder", "dangling link"])
def test_what_has_appeared_is_not_replaced(kind, links, tmp_path, monkeypatch):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(FileExistsError), whole_file(tmp_path / "x", replace=False) as file:
        file.write(NEW)
        if kind == "folder":
            (tmp_path / "x").mkdir()
        elif kind == "dangling link":
            (tmp_path / "x").symlink_to("nowhere")
        else:
            (tmp_path / "x").write_bytes(OLD if kind == "file" else b"")
    assert names(tmp_path) == ["x"]
    assert kind != "file" or (tmp_path / "x").read_bytes() == OLD
    assert kind != "dangling link" or os.readlink(tmp_path / "x") == "nowhere"


def no_links(*arguments, **options):
    raise PermissionError(1, "Operation not permitted")  # what FAT says


def test_without_links_a_new_file_is_placed_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    write(tmp_path / "x", replace=False)
    assert (tmp_path / "x").read_bytes() == NEW and names(tmp_path) == ["x"]
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_of_many_writers_at_once_one_wins(tmp_path):
    def attempt(number):
        try:
            with whole_file(tmp_path / "x", replace=False, sync=False) as file:
                file.write(bytes([number]) * 1000)
                start.wait()
        except FileExistsError:
            lost.append(number)

    start, lost = threading.Barrier(8), []
    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = set(range(8)) - set(lost)
    assert (tmp_path / "x").read_bytes() == bytes([winner]) * 1000 and names(tmp_path) == ["x"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o755])
def test_what_replaces_a_file_is_never_more_open_than_that(mode, tmp_path):
    """Looked at while it is written, and after."""
    (tmp_path / "x").write_bytes(OLD)
    (tmp_path / "x").chmod(mode)
    with whole_file(tmp_path / "x") as file:
        file.write(NEW)
        (temporary,) = tmp_path.glob(f"{TEMPORARY}*")
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode and (tmp_path / "x").read_bytes() == NEW


@ROOT
def test_owner_and_group_stay(tmp_path):
    (tmp_path / "x").write_bytes(OLD)
    os.chown(tmp_path / "x", 1234, 2345)
    write(tmp_path / "x")
    found = (tmp_path / "x").stat()
    assert (found.st_uid, found.st_gid) == (1234, 2345)


@ROOT
def test_a_group_that_cannot_be_kept_hands_nothing_to_another(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(OLD)
    (tmp_path / "x").chmod(0o664)
    os.chown(tmp_path / "x", -1, 2345)

    def refused(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    write(tmp_path / "x")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o604


@pytest.mark.parametrize(("number", "fails"), [(22, False), (95, False), (5, True)])
def test_a_file_system_that_cannot_sync_is_no_error_and_a_broken_disk_is(number, fails, tmp_path, monkeypatch):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "x").write_bytes(OLD)
    if fails:
        with pytest.raises(OSError, match="Input/output"):
            write(tmp_path / "x")
    else:
        write(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == (OLD if fails else NEW) and names(tmp_path) == ["x"]


def test_file_and_folder_are_synced_around_the_change_of_name(tmp_path, monkeypatch):
    happened, replace = [], os.replace

    def fsync(descriptor):
        happened.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    def renamed(*names):
        happened.append("name")
        replace(*names)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", renamed)
    write(tmp_path / "x")
    assert happened == ["file", "name", "folder"]
    happened.clear()
    write(tmp_path / "x", sync=False)
    assert happened == ["name"]
