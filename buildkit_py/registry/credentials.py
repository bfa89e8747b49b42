"""Who we are at a registry: docker's config.json and its credential helpers.

`credHelpers` names a helper for one host, `credsStore` one for all, `auths` holds secrets itself.
A secret belongs to one host and is returned for no other. Nothing here writes.
Source: docker/cli cli/config, docker-credential-helpers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.errors import HostError, InputError

HUB = "docker.io"
HUB_KEY = "https://index.docker.io/v1/"
"""Under this name docker keeps the credentials of docker.io."""

HELPER_SECONDS = 60.0
_NAMES = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and password, or a token that stands for both; empty means anonymous."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)


ANONYMOUS = Credentials()


def find_credentials(registry: str, environment: Mapping[str, str]) -> Credentials:
    """Return the credentials for a registry, named as in a reference (`docker.io`, `h:5000`).

    Raises InputError for a configuration that cannot be read, HostError for a helper that fails.
    """
    config = read_config(environment)
    helpers = config.get("credHelpers")
    helper = _for_host(helpers, registry) if isinstance(helpers, dict) else None
    if helper is None:
        helper = config.get("credsStore")
    if isinstance(helper, str) and helper:
        found = ask_helper(helper, HUB_KEY if registry == HUB else registry, environment)
        if found:
            return found
    auths = config.get("auths")
    entry = _for_host(auths, registry) if isinstance(auths, dict) else None
    return _from_entry(entry, registry) if isinstance(entry, dict) else ANONYMOUS


def read_config(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return docker's configuration, {} when there is none.

    DOCKER_AUTH_CONFIG holds it, else `config.json` in DOCKER_CONFIG, else in ~/.docker.
    """
    import json

    text = environment.get("DOCKER_AUTH_CONFIG")
    where = "DOCKER_AUTH_CONFIG"
    if not text:
        folder = environment.get("DOCKER_CONFIG") or os.path.join(
            environment.get("HOME") or os.path.expanduser("~"), ".docker"
        )
        where = os.path.join(folder, "config.json")
        try:
            with open(where, encoding="utf-8") as file:
                text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, UnicodeError) as error:
            raise _bad_config(where, str(error)) from None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad_config(where, str(error)) from None
    if not isinstance(value, dict):
        raise _bad_config(where, "not a JSON object")
    return value


def ask_helper(name: str, server: str, environment: Mapping[str, str]) -> Credentials:
    """Return what the program `docker-credential-NAME` keeps for a server.

    The program comes from PATH; the name may not lead elsewhere.
    """
    import json
    import subprocess

    if not _NAMES.issuperset(name) or name.startswith("."):
        raise InputError(
            f"invalid credential helper `{name}` in docker's configuration",
            code="registry/credential-helper",
        )
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=HELPER_SECONDS,
            env=dict(environment),
        )
    except FileNotFoundError:
        raise HostError(
            f"the credential helper `{program}` is not installed",
            code="registry/credential-helper",
            hint="install it, or take `credsStore` and `credHelpers` out of docker's config.json",
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _helper_failed(program, str(error)) from None
    output = done.stdout.decode(errors="replace").strip()
    if done.returncode != 0:
        if "credentials not found" in output:
            return ANONYMOUS
        raise _helper_failed(program, output or done.stderr.decode(errors="replace").strip())
    try:
        value = json.loads(output)
        username, secret = str(value["Username"]), str(value["Secret"])
    except (ValueError, KeyError, TypeError, RecursionError):
        # What it wrote may hold the secret: it is not repeated.
        raise _helper_failed(program, "its answer is not understood") from None
    if username == "<token>":
        return Credentials(identity_token=secret)
    return Credentials(username, secret)


def host_of(key: str) -> str:
    """Return the host of a key of `auths`, which may be a host or a URL."""
    host = key.partition("://")[2] or key
    host = host.partition("/")[0].lower()
    return HUB if host in ("index.docker.io", "docker.io", "registry-1.docker.io") else host


def _for_host(table: Mapping[str, Any], registry: str) -> Any:
    if registry in table:
        return table[registry]
    for key in sorted(table):
        if host_of(key) == host_of(registry):
            return table[key]
    return None


def _from_entry(entry: Mapping[str, Any], registry: str) -> Credentials:
    import base64

    def text(key: str) -> str:
        value = entry.get(key)
        return value if isinstance(value, str) else ""

    username, password = text("username"), text("password")
    if text("auth"):
        try:
            decoded = base64.b64decode(text("auth"), validate=True).decode()
        except ValueError:
            decoded = ""
        username, colon, password = decoded.partition(":")
        if not colon:
            raise InputError(
                f"the credentials for `{registry}` in docker's configuration are damaged",
                code="registry/bad-config",
                hint="log in again",
            )
        # Docker pads with NUL what it encodes itself.
        password = password.strip("\0")
    return Credentials(username, password, text("identitytoken"), text("registrytoken"))


def _bad_config(where: str, reason: str) -> InputError:
    return InputError(f"`{where}` cannot be read: {reason}", code="registry/bad-config")


def _helper_failed(program: str, reason: str) -> HostError:
    return HostError(
        f"the credential helper `{program}` failed: {' '.join(reason.split())[:200]}",
        code="registry/credential-helper",
    )
