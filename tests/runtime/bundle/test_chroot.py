"""Containers without a mount namespace of their own, and containers without a program."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.bundle.conftest import Bundle

pytestmark = pytest.mark.root


def table(bundle: Bundle) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(bundle.folder) in line or " proc " in line]


def test_in_the_machines_mount_namespace_nothing_is_mounted(bundle: Bundle) -> None:
    bundle.without("mount")
    bundle.config["mounts"] = []
    before = table(bundle)
    out = bundle.run(
        "ls -d /bin /../../proc/1; pwd; : > /dev/null && test -c /dev/null && echo node"
    )

    assert out.split() == ["/bin", "/", "node"]
    assert table(bundle) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mounts": [{"destination": "/tmp", "type": "tmpfs"}]}, "mounts: needs a mount namespace"),
        ({"root": {"path": "rootfs", "readonly": True}}, "root.readonly: needs"),
        ({"linux": {"rootfsPropagation": "shared"}}, "linux.rootfsPropagation: needs"),
        ({"linux": {"maskedPaths": ["/proc/kcore"]}}, "linux.maskedPaths: needs a mount"),
    ],
)
def test_what_would_change_the_machine_is_refused(
    bundle: Bundle, change: dict[str, object], said: str
) -> None:
    bundle.without("mount")
    bundle.config["mounts"] = []
    bundle.config |= change

    assert said in bundle.run_fails()


@pytest.fixture
def holder(bundle: Bundle) -> Iterator[str]:
    """A mount namespace that somebody else has; returns its path."""
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", "mount -t tmpfs held /mnt; echo ready; exec sleep 1000"],
        stdout=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            yield f"/proc/{program.pid}/ns/mnt"
        finally:
            program.kill()


SCRIPT = (
    "readlink /proc/self/ns/mnt; cat /proc/1/comm; ls -d /bin; grep -c held /proc/self/mountinfo"
)


def test_a_mount_namespace_is_joined(bundle: Bundle, holder: str) -> None:
    bundle.join("mount", holder)
    before = table(bundle)
    out = bundle.run(f"{SCRIPT}; true")

    # What is outside of its root it does not see.
    assert out.split() == [os.readlink(holder), "sh", "/bin", "0"]
    assert table(bundle) == before


def test_a_further_program_has_the_same_root(bundle: Bundle, holder: str) -> None:
    bundle.join("mount", holder)
    bundle.create("sleep 1000")
    bundle.ok("start", bundle.id)
    out = bundle.ok("exec", bundle.id, "sh", "-c", f"{SCRIPT}; true")

    assert out.split() == [os.readlink(holder), "sleep", "/bin", "0"]


@pytest.mark.parametrize("words", [(), ("--no-pivot",)])
def test_a_further_program_on_the_machines_mounts_or_a_moved_root(
    bundle: Bundle, words: tuple[str, ...]
) -> None:
    if not words:
        bundle.without("mount")
        bundle.config["mounts"] = []
    bundle.create("sleep 1000", *words)
    bundle.ok("start", bundle.id)

    assert bundle.ok("exec", bundle.id, "ls", "/").split() == sorted(os.listdir(bundle.rootfs))


def test_a_container_without_a_program_is_created_and_not_started(bundle: Bundle) -> None:
    del bundle.config["process"]
    before = set(os.listdir("/proc"))
    assert bundle.call(*bundle.made("create"), capture_output=False, stdout=-3, stderr=-3)
    assert bundle.status() == "created"
    assert str(bundle.state()["pid"]) not in before

    assert "has no `process`" in bundle.fails("start", bundle.id)
    assert bundle.status() == "created"
    assert "no `process` to start from" in bundle.fails("exec", bundle.id, "true")
    file = bundle.folder / "process.json"
    file.write_text(json.dumps({"args": ["hostname"], "cwd": "/", "env": ["PATH=/bin"]}))
    assert bundle.ok("exec", "--process", str(file), bundle.id)
    bundle.ok("delete", "--force", bundle.id)


def test_to_run_nothing_is_an_error_that_leaves_nothing(bundle: Bundle) -> None:
    del bundle.config["process"]

    assert "there is nothing to start" in bundle.run_fails()
    assert bundle.is_gone()
