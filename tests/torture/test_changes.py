"""Outputs and folders that change while a command works. Outputs that appear: tests/test_outputs.py."""

import os

import pytest

from commands import OLD, TEMPORARY, end, furnish, is_whole, left, run, start

TORTURE = pytest.mark.torture
FOREIGN = b"another program's"


def at_work(folder, command, *options):
    """A command that has looked at its outputs and waits for its input, a pipe; what to write there."""
    name = "in.cmb" if command == "decode" else "in.png"
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    os.mkfifo(folder / name)
    effort = ["--effort", "fast"] if command == "encode" else []
    process = start(command, name, *options, *effort, "-q", cwd=folder)
    pipe = os.open(folder / name, os.O_WRONLY)  # opens when the command does
    return process, pipe, data


def go_on(process, pipe, data):
    os.write(pipe, data)
    os.close(pipe)
    return end(process)


def works(folder, name):
    """Whether an output is whole."""
    path = folder / "out" / name
    return is_whole(path) if name.endswith(".cmb") else path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("command", "suffix"), [("decode", "png"), pytest.param("encode", "cmb", marks=TORTURE)])
class TestAnOutput:
    def test_whose_name_becomes_a_folders_is_one_line(self, command, suffix, tmp_path):
        folder = furnish(tmp_path)
        work = at_work(folder, command, "-o", f"out/x.{suffix}")
        (folder / "out" / f"x.{suffix}").mkdir()
        assert go_on(*work).failed_in_a_line()
        assert left(folder / "out") == [f"x.{suffix}"]

    def test_that_becomes_a_link_is_followed(self, command, suffix, tmp_path):
        folder = furnish(tmp_path)
        work = at_work(folder, command, "-o", f"out/x.{suffix}")
        (folder / "out" / f"x.{suffix}").symlink_to(f"y.{suffix}")
        assert go_on(*work).code == 0
        assert (folder / "out" / f"x.{suffix}").is_symlink()
        assert works(folder, f"y.{suffix}")

    def test_whose_folder_is_gone_is_one_line(self, command, suffix, tmp_path):
        folder = furnish(tmp_path)
        work = at_work(folder, command, "-o", f"out/x.{suffix}")
        (folder / "out").rmdir()
        done = go_on(*work)
        assert done.code == 0 or done.failed_in_a_line()
        assert done.code == 1 or works(folder, f"x.{suffix}")

    def test_whose_folder_is_a_file_now_is_one_line(self, command, suffix, tmp_path):
        folder = furnish(tmp_path)
        work = at_work(folder, command, "--output-dir", "out")
        (folder / "out").rmdir()
        (folder / "out").write_bytes(FOREIGN)
        assert go_on(*work).failed_in_a_line()
        assert (folder / "out").read_bytes() == FOREIGN

    def test_whose_folder_has_another_name_is_whole_or_not_there(self, command, suffix, tmp_path):
        folder = furnish(tmp_path)
        (folder / "out" / f"x.{suffix}").write_bytes(OLD)
        work = at_work(folder, command, "-o", f"out/x.{suffix}")
        (folder / "out").rename(folder / "elsewhere")
        done = go_on(*work)
        assert done.code == 0 or done.failed_in_a_line()
        assert (folder / "elsewhere" / f"x.{suffix}").read_bytes() == OLD

    def test_of_a_changed_input_is_that_of_what_was_read(self, command, suffix, tmp_path):
        folder = furnish(tmp_path)
        work = at_work(folder, command, "-o", f"out/x.{suffix}")
        (folder / f"in.{'cmb' if command == 'decode' else 'png'}").unlink()
        (folder / f"in.{'cmb' if command == 'decode' else 'png'}").write_bytes(FOREIGN)
        assert go_on(*work).code == 0
        assert works(folder, f"x.{suffix}")


@TORTURE
@pytest.mark.parametrize("count", [2, 8])
def test_many_encoders_of_one_output_leave_one_whole_file(count, tmp_path, record_property):
    """As it is looked at all the while."""
    folder = furnish(tmp_path)
    output = folder / "out" / "out.cmb"
    command = ("encode", "in.png", "-o", output, "--effort", "fast", "-q")
    processes = [start(*command, "--seed", seed, cwd=folder) for seed in range(count)]
    looks = 0
    while None in [process.poll() for process in processes]:
        if output.exists():
            assert is_whole(output)
            looks += 1
    assert [end(process).code for process in processes] == [0] * count
    assert is_whole(output)
    assert left(folder / "out") == ["out.cmb"]
    record_property("looks at an output of several encoders", looks)


@TORTURE
def test_of_encoders_that_replace_nothing_one_wins(tmp_path):
    folder = furnish(tmp_path)
    command = ("encode", "in.png", "--output-dir", "out", "--effort", "fast", "-q")
    processes = [start(*command, "--seed", seed, cwd=folder) for seed in range(3)]
    done = [end(process) for process in processes]
    assert sorted(one.code for one in done) == [0, 1, 1]
    assert all(one.code == 0 or one.failed_in_a_line() for one in done)
    assert is_whole(folder / "out" / "in.cmb")
    assert not [name for name in left(folder / "out") if name.startswith(TEMPORARY)]
    assert run(*command, cwd=folder).code == 1
