"""Needs of tests (markers that skip, or fail under `--must`), golden files, the rootless user."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fixtures.bases import host
from tests.rootless import PATH, RootlessUser, unprivileged, why_no_rootless

Golden = Callable[[Path, str], None]


def why_no_root() -> str:
    return "" if os.geteuid() == 0 else "this is not root"


@functools.cache
def why_no_network() -> str:
    """The host's package mirror stands for the package registries."""
    mirror = mirror_host()
    if any(name.lower() in ("http_proxy", "https_proxy") for name in os.environ):
        return ""
    try:
        socket.create_connection((mirror, 80), timeout=10).close()
    except OSError as error:
        return f"`{mirror}` cannot be reached: {error}"
    return ""


def mirror_host() -> str:
    """Return the host of the first package source that apt uses here for Debian."""
    return urlsplit(host.stanzas("bookworm")[0]["URIs"].split()[0]).hostname or "deb.debian.org"


def why_no_peer(name: str) -> str:
    return "" if shutil.which(name, path=PATH) else f"`{name}` is not installed"


@functools.cache
def why_no_feature(feature: str) -> str:
    """Return why this kernel lacks a feature, or an empty text; unknown names are a mistake."""
    here = FEATURES[feature]()
    return "" if here else f"kernel {platform.release()} is without `{feature}`"


def has_overlay() -> bool:
    if os.geteuid() == 0 and shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", "overlay"], check=False)
    return "\toverlay\n" in Path("/proc/filesystems").read_text()


def has_file_system(kind: str) -> bool:
    text = Path("/proc/self/mountinfo").read_text()
    return f" - {kind} " in text


def has_user_namespaces() -> bool:
    return subprocess.run(["unshare", "-U", "true"], capture_output=True).returncode == 0


FEATURES: dict[str, Callable[[], bool]] = {
    "overlay": has_overlay,
    "cgroup1": lambda: has_file_system("cgroup"),
    "cgroup2": lambda: has_file_system("cgroup2"),
    "only-cgroup2": lambda: has_file_system("cgroup2") and not has_file_system("cgroup"),
    "fuse": lambda: Path("/dev/fuse").exists(),
    "seccomp": lambda: Path("/proc/sys/kernel/seccomp/actions_avail").exists(),
    "tun": lambda: Path("/dev/net/tun").exists(),
    "user": has_user_namespaces,
}

NEEDS: dict[str, Callable[..., str]] = {
    "root": why_no_root,
    "rootless": why_no_rootless,
    "network": why_no_network,
    "kernel": why_no_feature,
    "peer": why_no_peer,
}
"""Marker to a function that takes the marker's arguments and says why the need is not met."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="rewrite golden files that differ")
    parser.addoption(
        "--must",
        action="append",
        default=[],
        metavar="NEED",
        choices=sorted(NEEDS),
        help="fail, do not skip, where this need is not met (./check)",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    for need, why_not in NEEDS.items():
        for marker in item.iter_markers(need):
            if reason := why_not(*marker.args):
                stop = pytest.fail if need in item.config.getoption("--must") else pytest.skip
                stop(f"needs {need}: {reason}")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare text with a golden file; `pytest --accept` writes it instead."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--accept"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing; run pytest --accept, then review it"
        assert text == path.read_text(), f"{path} differs; review, then run pytest --accept"

    return compare


@pytest.fixture
def rootless_user() -> Iterator[RootlessUser]:
    """An unprivileged user with subordinate ids, own directories and a clean environment.

    A test that asks for it bears the marker `rootless`.
    """
    with unprivileged() as user:
        yield user
