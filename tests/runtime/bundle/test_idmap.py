"""Idmapped mounts, on the real kernel: whose files are seen, and whose are made."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rootless import RootlessUser
from tests.runtime.bundle.conftest import Bundle
from tests.runtime.bundle.test_rootless import config, place, run

__all__ = ["place"]  # a fixture

pytestmark = [pytest.mark.root, pytest.mark.kernel("user")]


@pytest.fixture
def data(bundle: Bundle) -> Path:
    """A directory of the host with a file in it, both root's."""
    place = bundle.folder / "data"
    place.mkdir()
    (place / "file").write_text("of the host\n")
    return place


@pytest.fixture
def nested(data: Path) -> Iterator[Path]:
    """A directory with another file system mounted in it."""
    inner = data / "inner"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "test", str(inner)], check=True)
    try:
        (inner / "file").touch()
        yield data
    finally:
        subprocess.run(["umount", str(inner)], check=True)


def rows(container: int, host: int, size: int = 10) -> list[dict[str, int]]:
    return [{"containerID": container, "hostID": host, "size": size}]


def mount_mapped(bundle: Bundle, data: Path, *options: str, maps: Any = None) -> None:
    bundle.mount("/data", "bind", str(data), "rbind", *options)
    if maps is not None:
        bundle.mounts[-1] |= {"uidMappings": maps, "gidMappings": maps}


def own_users(bundle: Bundle, host: int = 100_000) -> None:
    """Give the container a user namespace of its own."""
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = rows(0, host, 1000)
    for folder, folders, files in os.walk(bundle.rootfs):
        for name in ("", *folders, *files):
            os.lchown(os.path.join(folder, name), host, host)


OWNERS = "stat -c %u:%g /data/file"


def test_files_have_the_ids_of_the_map(bundle: Bundle, data: Path) -> None:
    mount_mapped(bundle, data, "idmap", maps=rows(0, 1000))

    assert bundle.run(OWNERS) == "1000:1000\n"


def test_maps_need_no_option(bundle: Bundle, data: Path) -> None:
    mount_mapped(bundle, data, maps=rows(0, 1000))

    assert bundle.run(OWNERS) == "1000:1000\n"


def test_uids_and_gids_have_maps_of_their_own(bundle: Bundle, data: Path) -> None:
    mount_mapped(bundle, data, "idmap")
    bundle.mounts[-1] |= {"uidMappings": rows(0, 7), "gidMappings": rows(0, 9)}

    assert bundle.run(OWNERS) == "7:9\n"


def test_what_is_made_belongs_to_whom_it_is_mapped_from(bundle: Bundle, data: Path) -> None:
    os.chown(data, 0, 0)
    mount_mapped(bundle, data, "idmap", maps=rows(0, 1000))
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.run("touch /data/made")

    made = (data / "made").stat()
    assert (made.st_uid, made.st_gid) == (0, 0)


def test_a_container_with_a_user_namespace_lends_its_maps(bundle: Bundle, data: Path) -> None:
    own_users(bundle)
    mount_mapped(bundle, data)
    assert bundle.run(OWNERS) == "65534:65534\n"

    bundle.mounts[-1]["options"].append("idmap")
    assert bundle.run(f"{OWNERS}; touch /data/made") == "0:0\n"
    assert (data / "made").stat().st_uid == 0


def test_a_map_of_its_own_beside_a_user_namespace(bundle: Bundle, data: Path) -> None:
    own_users(bundle)
    mount_mapped(bundle, data, "idmap", maps=rows(0, 100_005))

    assert bundle.run(OWNERS) == "5:5\n"


def test_a_joined_user_namespace_lends_its_maps(bundle: Bundle, data: Path) -> None:
    own_users(bundle)
    holder = subprocess.Popen(["unshare", "-U", "sleep", "60"])
    try:
        path = f"/proc/{holder.pid}/ns/user"
        while os.readlink(path) == os.readlink("/proc/self/ns/user"):
            assert holder.poll() is None
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{name}").write_text("0 100000 1000\n")
        del bundle.linux["uidMappings"], bundle.linux["gidMappings"]
        bundle.join("user", path)
        mount_mapped(bundle, data, "idmap")

        assert bundle.run(OWNERS) == "0:0\n"
    finally:
        holder.kill()
        holder.wait()


BOTH = "stat -c %u /data/file /data/inner/file"


def test_only_ridmap_maps_what_is_mounted_beneath(bundle: Bundle, nested: Path) -> None:
    mount_mapped(bundle, nested, "idmap", maps=rows(0, 1000))
    assert bundle.run(BOTH) == "1000\n0\n"

    bundle.mounts[-1]["options"] = ["rbind", "ridmap"]
    assert bundle.run(BOTH) == "1000\n1000\n"


def test_read_only_mapped(bundle: Bundle, data: Path) -> None:
    mount_mapped(bundle, data, "idmap", "ro", maps=rows(0, 1000))

    assert "Read-only" in bundle.run(f"{OWNERS}; ! touch /data/made 2>&1")


def test_a_single_file_mapped(bundle: Bundle, data: Path) -> None:
    bundle.mount("/etc/file", "bind", str(data / "file"), "bind", "idmap")
    bundle.mounts[-1] |= {"uidMappings": rows(0, 12), "gidMappings": rows(0, 12)}

    assert bundle.run("stat -c %u /etc/file") == "12\n"


def test_a_new_file_system_mapped(bundle: Bundle) -> None:
    bundle.mount("/data", "tmpfs", "tmpfs", "idmap")
    bundle.mounts[-1] |= {"uidMappings": rows(0, 1000), "gidMappings": rows(0, 1000)}

    assert bundle.run("stat -c %u:%g /data") == "1000:1000\n"


def test_a_file_system_that_knows_no_maps_is_named(bundle: Bundle) -> None:
    bundle.mount("/data", "bind", "/proc", "bind", "idmap")
    bundle.mounts[-1] |= {"uidMappings": rows(0, 1000), "gidMappings": rows(0, 1000)}
    error = bundle.run_fails()

    assert "the ids of `/proc`, a file system `proc`, cannot be mapped: Invalid argument" in error
    assert "knows no mapped ids" in error


def test_the_mount_beneath_that_knows_no_maps_is_named(bundle: Bundle, nested: Path) -> None:
    inner = nested / "inner"
    subprocess.run(["mount", "-t", "proc", "test", str(inner)], check=True)
    try:
        mount_mapped(bundle, nested, "ridmap", maps=rows(0, 1000))
        error = bundle.run_fails()
    finally:
        subprocess.run(["umount", str(inner)], check=True)

    assert f"`{inner}`, a file system `proc`," in error


def test_a_new_file_system_that_knows_no_maps_is_named(bundle: Bundle) -> None:
    bundle.mount("/data", "mqueue", "mqueue", "idmap")
    bundle.mounts[-1] |= {"uidMappings": rows(0, 1000), "gidMappings": rows(0, 1000)}

    assert "`/data`, a file system `mqueue`, cannot be mapped" in bundle.run_fails()


def test_a_remount_is_too_late(bundle: Bundle) -> None:
    bundle.mount("/tmp", "none", "none", "remount", "idmap")
    bundle.mounts[-1] |= {"uidMappings": rows(0, 1000), "gidMappings": rows(0, 1000)}

    assert "`/tmp`: what is mounted is mapped no more" in bundle.run_fails()


@pytest.mark.rootless
def test_a_user_without_root_is_told_why_not(rootless_user: RootlessUser, place: Path) -> None:
    made = config(rootless_user)
    source = str(place / "rootfs" / "tmp")
    made["mounts"].append(
        {"destination": "/data", "source": source, "type": "bind", "options": ["bind", "idmap"]}
    )
    done = run(rootless_user, place, made)

    assert done.returncode == 1
    assert "only root may map the ids of this machine's file systems" in done.stderr
    assert json.loads((place / "config.json").read_text()) == made
