"""The unprivileged user that rootless tests get is really unprivileged, and has its ids."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.rootless import RootlessUser


@pytest.mark.rootless
def test_the_user_is_nobody_special(rootless_user: RootlessUser) -> None:
    script = "id -ru; id -u; grep -h CapPrm /proc/self/status"

    done = rootless_user.run(["sh", "-c", script])

    uid = str(rootless_user.uid)
    assert uid != "0"
    assert done.stdout.split() == [uid, uid, "CapPrm:", "0" * 16]


@pytest.mark.rootless
def test_the_user_can_import_the_project_and_map_its_ids(rootless_user: RootlessUser) -> None:
    script = "import buildkit_py.oci.image, lark; print(buildkit_py.__name__)"

    imported = rootless_user.run([rootless_user.python, "-c", script])
    mapped = rootless_user.run(["unshare", "--map-auto", "--map-root-user", "id", "-u"])

    assert imported.stdout == "buildkit_py\n"
    assert mapped.stdout == "0\n"


@pytest.mark.rootless
@pytest.mark.kernel("tun")
def test_the_user_gets_open_device_nodes_and_nobody_else_does(rootless_user: RootlessUser) -> None:
    before = os.stat("/dev/net/tun")

    rootless_user.run(["sh", "-c", ": 3<>/dev/net/tun"])

    after = os.stat("/dev/net/tun")
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)


@pytest.mark.rootless
def test_home_and_run_are_the_users_own_and_files_can_be_taken_along(
    rootless_user: RootlessUser, tmp_path: Path
) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "file").write_text("text\n")

    copy = rootless_user.take(tmp_path / "context")
    done = rootless_user.run(["sh", "-c", 'cat "$0/file"; echo >"$0/new"', str(copy)])

    assert done.stdout == "text\n"
    assert (copy / "new").stat().st_uid == rootless_user.uid
