"""`netDevices`: devices of the machine in a container, with new names and the same addresses."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rootless import RootlessUser
from tests.runtime.bundle.conftest import Bundle
from tests.runtime.bundle.test_rootless import config, place, run

__all__ = ["place"]  # a fixture

pytestmark = pytest.mark.root


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def device() -> Iterator[str]:
    """One end of a pair, with addresses, down; the other end stays here."""
    name = f"bkt{os.getpid() % 100000}a"
    ip("link", "add", name, "mtu", "1400", "type", "veth", "peer", "name", f"{name[:-1]}b")
    try:
        ip("addr", "add", "10.99.7.1/24", "dev", name)
        ip("addr", "add", "10.99.8.1/32", "peer", "10.99.8.2/32", "dev", name)
        ip("addr", "add", "169.254.7.7/16", "scope", "link", "dev", name)
        yield name
    finally:
        subprocess.run(["ip", "link", "del", f"{name[:-1]}b"], capture_output=True)


def inside(bundle: Bundle) -> list[dict[str, object]]:
    """Return what `ip` finds in the network of a container that is created only."""
    bundle.create("true")
    pid = bundle.state()["pid"]
    text = subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-json", "addr"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    rows: list[dict[str, object]] = json.loads(text)
    return [row for row in rows if row["ifname"] != "lo"]


def addresses(row: dict[str, object]) -> list[tuple[str, int]]:
    entries = row["addr_info"]
    assert isinstance(entries, list)
    return [(e.get("local"), e["prefixlen"]) for e in entries if e["scope"] == "global"]


def test_a_device_with_a_new_name_and_its_addresses(bundle: Bundle, device: str) -> None:
    mac = (Path("/sys/class/net") / device / "address").read_text().strip()
    bundle.linux["netDevices"] = {device: {"name": "eth7"}}
    (row,) = inside(bundle)

    assert (row["ifname"], row["mtu"], row["address"]) == ("eth7", 1400, mac)
    assert addresses(row) == [("10.99.7.1", 24), ("10.99.8.1", 32)]
    assert "UP" in str(row["flags"])
    assert "169.254.7.7" not in str(row)
    assert not (Path("/sys/class/net") / device).exists()


def test_a_device_keeps_its_name_where_none_is_given(bundle: Bundle, device: str) -> None:
    bundle.linux["netDevices"] = {device: {}}

    assert [row["ifname"] for row in inside(bundle)] == [device]


def test_the_kernel_completes_a_template(bundle: Bundle, device: str) -> None:
    bundle.linux["netDevices"] = {device: {"name": "net%d"}}
    (row,) = inside(bundle)

    assert row["ifname"] == "net0"
    assert len(addresses(row)) == 2


def test_hooks_find_the_device_there(bundle: Bundle, device: str) -> None:
    file = bundle.folder / "found"
    hook = f"nsenter -t $(grep -o '\"pid\": *[0-9]*' | grep -o '[0-9]*') -n ip link > {file}"
    bundle.config["hooks"] = {
        "createRuntime": [
            {"path": "/bin/sh", "args": ["sh", "-c", hook], "env": [f"PATH={os.environ['PATH']}"]}
        ]
    }
    bundle.linux["netDevices"] = {device: {"name": "eth7"}}
    bundle.create("true")

    assert "eth7" in file.read_text()


@pytest.mark.parametrize("name", ["", "lo"])
def test_what_cannot_be_moved_is_named_and_stays(bundle: Bundle, device: str, name: str) -> None:
    given = "nosuch0" if not name else device
    bundle.linux["netDevices"] = {given: {"name": name}}
    error = bundle.run_fails()

    assert f"network device `{given}` cannot become `{name or given}` of the container" in error
    assert "No such device" in error if not name else "File exists" in error
    assert (Path("/sys/class/net") / device).exists()
    assert bundle.is_gone()


@pytest.mark.rootless
def test_a_user_without_root_is_told_why_not(rootless_user: RootlessUser, place: Path) -> None:
    made = config(rootless_user)
    made["linux"]["netDevices"] = {"lo": {"name": "eth7"}}
    done = run(rootless_user, place, made)

    assert done.returncode == 1
    assert "only root may move devices of this machine" in done.stderr
