"""`netDevices`: devices of this machine moved into a container's network namespace.

Their permanent addresses of global scope go with them, which the kernel would drop; all else that
they have it keeps. How they get back is the kernel's: runtime-spec config-linux.md, "Network
Devices".
"""

from __future__ import annotations

import errno
import os
import socket

from buildkit_py.core.errors import HostError
from buildkit_py.runtime.kernel import netlink, processes
from buildkit_py.runtime.kernel.netlink import ADDRESS, Netlink, NetlinkError, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_PERMANENT = 0x80  # include/uapi/linux/if_addr.h
_IFA_BROADCAST = 4
_KEPT = (netlink.IFA_ADDRESS, netlink.IFA_LOCAL, _IFA_BROADCAST)


def move(pid: int, devices: Mapping[str, str]) -> None:
    """Move devices into the network namespace of a process, and bring them up.

    devices: names here to names there, "" keeps the name
    Raises HostError that names the device.
    """
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Netlink() as here, Netlink(_socket_in(there)) as inside:
            for name, new_name in devices.items():
                _move(here, inside, there, name, new_name or name)
    finally:
        os.close(there)


def _socket_in(netns_fd: int) -> socket.socket:
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        processes.enter_network(netns_fd)
        try:
            return netlink.open_socket(socket.NETLINK_ROUTE)
        finally:
            processes.enter_network(own)
    except OSError as error:
        raise HostError(
            f"the container's network cannot be entered: {error.strerror}",
            code="host/net-device", hint=_hint(),
        ) from None  # fmt: skip
    finally:
        os.close(own)


def _hint() -> str | None:
    return "only root may move devices of this machine" if os.geteuid() != 0 else None


def _move(here: Netlink, inside: Netlink, there: int, name: str, new_name: str) -> None:
    try:
        link = here.link(name)
        addresses = _addresses(here, link.index)
        links = inside.links()
        if any(each.name == new_name for each in links):
            # The kernel would find out only when it has moved the device.
            raise NetlinkError("rename it", errno.EEXIST)
        before = {each.index for each in links}
        here.run(netlink.change_link(link.index, what=name, name=new_name, netns_fd=there))
        # Its index may be another now, and with `%d` the kernel chose the name.
        (moved,) = [each for each in inside.links() if each.index not in before]
        for payload in addresses:
            _add(inside, moved.index, payload, moved.name)
        inside.run(netlink.change_link(moved.index, what=moved.name, up=True))
    except NetlinkError as error:
        raise HostError(
            f"network device `{name}` cannot become `{new_name}` of the container: {error.message}",
            code="host/net-device", hint=_hint(),
        ) from None  # fmt: skip


def _addresses(here: Netlink, index: int) -> list[bytes]:
    """Return a device's permanent addresses of global scope, as the kernel tells them."""
    found = []
    for payload in here.dump(
        "list the addresses", netlink.RTM_GETADDR, ADDRESS.pack(0, 0, 0, 0, 0)
    ):
        _, _, flags, scope, owner = ADDRESS.unpack_from(payload)
        if owner == index and flags & _PERMANENT and scope == netlink.RT_SCOPE_UNIVERSE:
            found.append(payload)
    return found


def _add(inside: Netlink, index: int, payload: bytes, name: str) -> None:
    family, prefix, _, scope, _ = ADDRESS.unpack_from(payload)
    given = netlink.attributes(payload[ADDRESS.size :])
    kept = b"".join(netlink.attribute(kind, given[kind]) for kind in _KEPT if kind in given)
    inside.run(
        Request(
            f"give `{name}` its addresses", netlink.RTM_NEWADDR,
            ADDRESS.pack(family, prefix, 0, scope, index) + kept,
            netlink.NLM_F_CREATE | netlink.NLM_F_EXCL,
        )
    )  # fmt: skip
