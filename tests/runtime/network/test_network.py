"""The private network of root, on the real kernel."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from buildkit_py.runtime.kernel import netlink, nfnetlink
from buildkit_py.runtime.network import resolve
from buildkit_py.runtime.network.network import Network

from .conftest import Container

pytestmark = [pytest.mark.root]

MIRROR = "deb.debian.org"


def ours_on_the_host() -> dict[str, list[str]]:
    """Everything of ours that the host's own namespace shows."""
    with netlink.Netlink() as kernel, nfnetlink.Nftables() as tables:
        links = {link.index: link.name for link in kernel.links() if link.name[:4] == "bkpy"}
        return {
            "links": sorted(links.values()),
            "addresses": [a.address for a in kernel.addresses() if a.index in links],
            "routes": [route.destination for route in kernel.routes() if route.index in links],
            "tables": [table.name for table in tables.tables() if table.name[:4] == "bkpy"],
        }


NOTHING: dict[str, list[str]] = {"links": [], "addresses": [], "routes": [], "tables": []}


@pytest.mark.network
def test_a_container_resolves_and_reaches_the_package_mirror(
    networks: Callable[[], Network], containers: Callable[[Network], Container]
) -> None:
    network = networks()
    container = containers(network)
    server = resolve.reachable(resolve.host_resolver().nameservers)[0]

    addresses = container.ask(server, MIRROR)
    said = container.connect(addresses[0], 80, 10)

    assert said.startswith("HTTP/1.")
    assert network.kind == "bridge"
    network.close()
    assert ours_on_the_host() == NOTHING
