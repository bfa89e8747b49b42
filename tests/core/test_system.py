"""What the system refuses is the machine's, or the fault of a path that was written."""

from __future__ import annotations

import errno
import os

import pytest

from buildkit_py.core.system import of_path, of_system


def error(number: int, path: str | bytes | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


def test_a_full_disk_is_the_machine_s() -> None:
    told = of_system(error(errno.ENOSPC, b"/s/x"))

    assert told is not None
    assert told.exit_code == 3
    assert told.message == "`/s/x`: no space left on device"
    assert told.hint == "free some space, or choose another state root with `--root`"


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR])
def test_a_path_that_cannot_be_is_its_writer_s(number: int) -> None:
    told = of_path(error(number, "/a"))

    assert told is not None
    assert told.exit_code == 2
    assert of_system(error(number, "/a")) is None


def test_a_zero_byte_is_a_path_that_cannot_be() -> None:
    assert of_path(error(errno.EINVAL, "/a\0b")) is not None
    assert of_path(error(errno.EINVAL, "/ab")) is None


def test_a_long_path_is_cut() -> None:
    told = of_path(error(errno.ENAMETOOLONG, "a" * 5000))

    assert told is not None
    assert len(told.message) < 300
