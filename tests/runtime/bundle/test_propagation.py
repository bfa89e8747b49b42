"""Mounts that travel: from the machine into a container and back, where that is asked for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.bundle.conftest import Bundle

pytestmark = pytest.mark.root


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


@pytest.fixture
def shared(bundle: Bundle) -> Iterator[Path]:
    """A shared mount of the machine."""
    place = bundle.folder / "shared"
    place.mkdir()
    mount("-t", "tmpfs", "test", str(place))
    try:
        mount("--make-shared", str(place))
        (place / "inside").mkdir()
        (place / "outside").mkdir()
        yield place
    finally:
        for name in ("inside", "outside", ""):
            subprocess.run(["umount", "-l", str(place / name)], capture_output=True)


def table(bundle: Bundle) -> list[str]:
    """Return the mounts that a test makes, and those that no test may remove."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    ours = (str(bundle.folder), " made ")
    fixed = ("/", "/proc", "/sys", "/dev")
    return [
        line for line in lines if any(each in line for each in ours) or line.split()[4] in fixed
    ]


def test_shared_mounts_of_a_container_reach_the_machine(bundle: Bundle, shared: Path) -> None:
    privileged(bundle)
    bundle.linux["rootfsPropagation"] = "rshared"
    bundle.mount("/data", "bind", str(shared), "rbind", "rshared")
    before = table(bundle)
    bundle.run("mount -t tmpfs made /data/inside && touch /data/inside/file")

    new = [line for line in table(bundle) if line not in before]
    assert [line.split()[4] for line in new] == [str(shared / "inside")]
    assert (shared / "inside" / "file").exists()


@pytest.mark.parametrize("pivot", [True, False])
@pytest.mark.parametrize("word", ["shared", "rshared"])
def test_nothing_else_of_a_container_reaches_the_machine(
    bundle: Bundle, shared: Path, word: str, pivot: bool
) -> None:
    """Also where the root itself lies on a shared mount, and nothing of the machine's goes."""
    privileged(bundle)
    root = shared / "inside" / "rootfs"
    subprocess.run(["cp", "-a", str(bundle.rootfs), str(root)], check=True)
    bundle.config["root"]["path"] = str(root)
    bundle.linux["rootfsPropagation"] = word
    bundle.mount("/data", "bind", str(bundle.folder), "rbind", "rprivate")
    before = table(bundle)
    bundle.run("mount -t tmpfs made /tmp; mount -t tmpfs made /data", *["--no-pivot"][pivot:])

    assert table(bundle) == before


def test_mounts_of_the_machine_reach_a_slave(bundle: Bundle, shared: Path) -> None:
    bundle.mount("/data", "bind", str(shared), "rbind", "rslave")
    bundle.create("sleep 1000")
    bundle.ok("start", bundle.id)
    mount("-t", "tmpfs", "made", str(shared / "outside"))
    (shared / "outside" / "file").touch()

    assert bundle.ok("exec", bundle.id, "ls", "/data/outside") == "file\n"


@pytest.mark.parametrize("root", ["", "rslave", "rprivate", "slave", "private"])
def test_a_slave_tells_the_machine_nothing(bundle: Bundle, shared: Path, root: str) -> None:
    privileged(bundle)
    if root:
        bundle.linux["rootfsPropagation"] = root
    bundle.mount("/data", "bind", str(shared), "rbind", "rshared")
    before = table(bundle)
    bundle.run("mount -t tmpfs made /data/inside")

    assert table(bundle) == before


def privileged(bundle: Bundle) -> None:
    """Let the container mount."""
    for names in bundle.process["capabilities"].values():
        names.append("CAP_SYS_ADMIN")
