"""Stores to pull into, and a registry to pull from."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from buildkit_py.store.content import Content
from buildkit_py.store.images import Images
from buildkit_py.store.session import open_session
from tests.registry.servers import docker_registry


@dataclass(frozen=True)
class Store:
    """A real store's content and images."""

    content: Content
    images: Images


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    session = open_session(str(tmp_path / "root"))
    content = Content(session)
    yield Store(content, Images(session, content))
    session.close()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test may depend on the credentials and proxies of whoever runs it."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a docker-registry; a test that asks for it bears `peer("docker-registry")`."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own, and a certificate for 127.0.0.1."""

    ca: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("tls")
    made = Authority(folder / "cert.pem", folder / "cert.pem", folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + [
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ]
        + ["-keyout", str(made.key), "-out", str(made.certificate)],
        check=True,
        capture_output=True,
    )
    return made
