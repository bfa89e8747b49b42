"""Which proxy a URL goes through, by the environment: HTTP_PROXY, HTTPS_PROXY, NO_PROXY.

NO_PROXY is read as Go's httpproxy reads it, so that what works for docker works here: names match
their sub-domains, `.name` only those, `*` everything, addresses and CIDR blocks match
addresses, and an entry may have a port. Loopback never goes through a proxy.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Proxy:
    host: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def proxy_for(scheme: str, host: str, port: int, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a server, or None to connect directly.

    Raises InputError for a proxy that is not an http:// URL.
    """
    name = f"{scheme}_proxy"
    url = environment.get(name.upper()) or environment.get(name)
    if not url or is_loopback(host):
        return None
    excluded = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    if any(_excludes(entry.strip(), host, port) for entry in excluded.split(",")):
        return None
    return _read(url, name.upper())


def is_loopback(host: str) -> bool:
    """Tell whether a host is `localhost`, in 127.0.0.0/8, or ::1, by its writing alone."""
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _read(url: str, name: str) -> Proxy:
    from base64 import b64encode
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port:
        # The URL may hold a password: it is not repeated.
        raise InputError(
            f"`{name}` is not the URL of an HTTP proxy",
            code="registry/bad-proxy",
            hint="write it as `http://HOST:PORT`; proxies of other kinds are not supported",
        )
    headers = {}
    if parts.username:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(secret.encode()).decode()}"
    return Proxy(parts.hostname, port, headers)


def _excludes(entry: str, host: str, port: int) -> bool:
    import ipaddress

    if not entry:
        return False
    if entry == "*":
        return True
    host = host.strip("[]").lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        network = None
    if network is not None:
        return address is not None and address in network
    name, colon, wanted_port = entry.lower().rpartition(":")
    if colon and wanted_port.isdigit() and (":" not in name or name.endswith("]")):
        if int(wanted_port) != port:
            return False
        name = name.strip("[]")
    else:
        name = entry.lower()
    if address is not None:
        return name == host
    name = name.removeprefix("*")
    if name.startswith("."):
        return host.endswith(name)
    return host == name or host.endswith(f".{name}")
