"""Bundles of a user without root: with the one id that is the user's."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.rootless import RootlessUser
from tests.runtime.bundle.conftest import make_root, plain_config

pytestmark = [pytest.mark.rootless, pytest.mark.kernel("user")]


@pytest.fixture
def place(rootless_user: RootlessUser) -> Path:
    """A bundle that belongs to the user."""
    folder = rootless_user.home / "bundle"
    make_root(folder / "rootfs")
    if os.geteuid() == 0:
        owner = f"{rootless_user.uid}:{rootless_user.gid}"
        subprocess.run(["chown", "-hR", owner, str(folder)], check=True)
    return folder


def config(user: RootlessUser) -> dict[str, Any]:
    made = plain_config()
    made["linux"]["namespaces"].append({"type": "user"})
    for key, host in (("uidMappings", user.uid), ("gidMappings", user.gid)):
        made["linux"][key] = [{"containerID": 0, "hostID": host, "size": 1}]
    made["mounts"][2]["options"].remove("gid=5")  # nobody has that id here
    return made


def run(
    user: RootlessUser, place: Path, config: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    (place / "config.json").write_text(json.dumps(config))
    program = [user.python, "-m", "buildkit_py.cli.pyruntime", "--root", str(user.home / "states")]
    done = user.run([*program, "run", "--bundle", str(place), "a"], check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_one_id_is_enough(rootless_user: RootlessUser, place: Path) -> None:
    made = config(rootless_user)
    made["hostname"] = "box"
    script = "id -u; hostname; cat /proc/self/uid_map; touch /tmp/mine; : > /dev/null && echo null"
    made["process"]["args"] = ["sh", "-c", f"{script}; exit 5"]
    done = run(rootless_user, place, made)

    assert done.returncode == 5, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines == ["0", "box", f"0 {rootless_user.uid} 1", "null"]
    assert (place / "rootfs" / "tmp" / "mine").stat().st_uid == rootless_user.uid
    assert os.listdir(rootless_user.home / "states") == []


def test_without_a_user_namespace_it_is_refused(rootless_user: RootlessUser, place: Path) -> None:
    done = run(rootless_user, place, plain_config())

    assert done.returncode == 1
    assert "without root a container needs a user namespace" in done.stderr


def test_ids_of_others_are_refused(rootless_user: RootlessUser, place: Path) -> None:
    made = config(rootless_user)
    made["linux"]["uidMappings"][0]["hostID"] = 0
    done = run(rootless_user, place, made)

    assert done.returncode == 1
    assert "[host/" in done.stderr
    assert os.listdir(rootless_user.home / "states") == []


def ranges(name: str) -> list[tuple[int, int]]:
    user = pwd.getpwnam(name)
    return [
        (int(first), int(size))
        for line in Path("/etc/subuid").read_text().splitlines()
        for owner, first, size in [line.split(":")]
        if owner in (name, str(user.pw_uid))
    ]


def test_ranges_are_mapped_by_newuidmap(rootless_user: RootlessUser, place: Path) -> None:
    first, size = ranges(rootless_user.name)[0]
    made = config(rootless_user)
    for key in ("uidMappings", "gidMappings"):
        made["linux"][key].append({"containerID": 1, "hostID": first, "size": size})
    script = "cat /proc/self/uid_map; touch /tmp/a; chown 1000:7 /tmp/a; stat -c %u:%g /tmp/a"
    made["process"]["args"] = ["sh", "-c", f"{script}; rm /tmp/a"]
    made["process"]["user"]["additionalGids"] = [5]
    done = run(rootless_user, place, made)

    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows == [["0", str(rootless_user.uid), "1"], ["1", str(first), str(size)], ["1000:7"]]


def test_another_user_of_a_mapped_range(rootless_user: RootlessUser, place: Path) -> None:
    first, size = ranges(rootless_user.name)[0]
    made = config(rootless_user)
    for key in ("uidMappings", "gidMappings"):
        made["linux"][key].append({"containerID": 1, "hostID": first, "size": size})
    made["process"]["user"] = {"uid": 1000, "gid": 1000}
    made["process"]["args"] = ["sh", "-c", "id -u; id -g; : > /dev/null; kill -0 $$ && echo alive"]
    done = run(rootless_user, place, made)

    assert (done.stdout.split(), done.stderr) == (["1000", "1000", "alive"], "")


def test_ranges_of_others_are_refused_by_newuidmap(
    rootless_user: RootlessUser, place: Path
) -> None:
    made = config(rootless_user)
    made["linux"]["uidMappings"].append({"containerID": 1, "hostID": 1 << 30, "size": 10})
    done = run(rootless_user, place, made)

    assert done.returncode == 1
    assert "newuidmap refused the mappings" in done.stderr
    assert "`/etc/subuid`" in done.stderr
