"""Docker's configuration and credential helpers."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from buildkit_py.core.errors import HostError, InputError
from buildkit_py.registry.credentials import ANONYMOUS, Credentials, find_credentials


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def configured(folder: Path, config: object) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return {"DOCKER_CONFIG": str(folder), "PATH": f"{folder}:/usr/bin:/bin"}


def helper(folder: Path, name: str, script: str) -> None:
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_a_configuration_we_are_nobody(tmp_path: Path) -> None:
    assert find_credentials("docker.io", {"DOCKER_CONFIG": str(tmp_path)}) == ANONYMOUS
    assert find_credentials("docker.io", {"HOME": str(tmp_path)}) == ANONYMOUS


@pytest.mark.parametrize(
    "key",
    ["registry.example:5000", "https://registry.example:5000", "http://registry.example:5000/v2/"],
)
def test_a_key_may_be_a_host_or_a_url(tmp_path: Path, key: str) -> None:
    environment = configured(tmp_path, {"auths": {key: {"auth": encoded("me:a:b")}}})

    found = find_credentials("registry.example:5000", environment)

    assert found == Credentials("me", "a:b")


@pytest.mark.parametrize("registry", ["registry.example", "registry.example:5001", "docker.io"])
def test_a_secret_belongs_to_one_host_and_port(tmp_path: Path, registry: str) -> None:
    secret = {"auths": {"registry.example:5000": {"auth": encoded("me:secret")}}}

    assert find_credentials(registry, configured(tmp_path, secret)) == ANONYMOUS


def test_the_hub_has_a_key_of_its_own(tmp_path: Path) -> None:
    environment = configured(
        tmp_path, {"auths": {"https://index.docker.io/v1/": {"auth": encoded("me:pass")}}}
    )

    assert find_credentials("docker.io", environment) == Credentials("me", "pass")


def test_a_helper_for_a_host_wins_over_the_one_for_all(tmp_path: Path) -> None:
    environment = configured(
        tmp_path,
        {"credsStore": "all", "credHelpers": {"registry.example": "one"}, "auths": {}},
    )
    answer = '{"ServerURL":"%s","Username":"%s","Secret":"from '
    helper(tmp_path, "one", f"""read -r server; printf '{answer}one"}}' "$server" me""")
    helper(tmp_path, "all", f"""read -r server; printf '{answer}all"}}' "$server" "<token>" """)

    assert find_credentials("registry.example", environment) == Credentials("me", "from one")
    assert find_credentials("other.example", environment).identity_token == "from all"


def test_a_helper_gets_the_server_on_its_input(tmp_path: Path) -> None:
    environment = configured(tmp_path, {"credsStore": "all"})
    helper(tmp_path, "all", f"cat >{tmp_path}/asked; echo credentials not found; exit 1")

    assert find_credentials("docker.io", environment) == ANONYMOUS
    assert (tmp_path / "asked").read_text() == "https://index.docker.io/v1/"


def test_what_a_helper_does_not_have_is_looked_up_in_the_file(tmp_path: Path) -> None:
    environment = configured(
        tmp_path, {"credsStore": "all", "auths": {"r.example": {"auth": encoded("me:pass")}}}
    )
    helper(tmp_path, "all", "echo credentials not found in native keychain; exit 1")

    assert find_credentials("r.example", environment) == Credentials("me", "pass")


def test_a_missing_helper_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="`docker-credential-gone` is not installed"):
        find_credentials("r.example", configured(tmp_path, {"credsStore": "gone"}))


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "a b"])
def test_the_name_of_a_helper_cannot_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="invalid credential helper"):
        find_credentials("r.example", configured(tmp_path, {"credsStore": name}))


def test_a_failing_helper_is_an_error_that_does_not_show_secrets(tmp_path: Path) -> None:
    environment = configured(tmp_path, {"credsStore": "all"})
    helper(tmp_path, "all", """echo '{"Secret": "hush"'""")

    with pytest.raises(HostError, match="its answer is not understood") as caught:
        find_credentials("r.example", environment)

    assert "hush" not in str(caught.value)


def test_credentials_do_not_show_in_repr() -> None:
    assert "hush" not in repr(Credentials("me", "hush", "hush", "hush"))


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_damaged_configuration_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(InputError, match="cannot be read") as caught:
        find_credentials("r.example", {"DOCKER_CONFIG": str(tmp_path)})

    assert caught.value.code == "registry/bad-config"


def test_the_environment_may_hold_the_configuration(tmp_path: Path) -> None:
    config = json.dumps({"auths": {"r.example": {"username": "me", "password": "pass"}}})

    found = find_credentials("r.example", {"DOCKER_AUTH_CONFIG": config})

    assert found == Credentials("me", "pass")
