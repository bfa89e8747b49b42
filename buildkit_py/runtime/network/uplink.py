"""The seam between a network of ours and the world: NAT by the kernel, or a helper program."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_py.core.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

LINK_PREFIX = "bkpy"  # of every link, table and rule that we make on the host


class NetworkUnavailable(HostError):
    """This machine gives us no private network; the caller may use the host's, and say so."""

    code = "network/unavailable"


class Zygote(Protocol):
    """What the network needs of the zygote, which lives where containers come from.

    For root that is this machine itself, for others a user namespace of ours.
    """

    def new_network_namespace(
        self, socket_specs: Sequence[tuple[int, int, int]]
    ) -> tuple[int, list[int]]:
        """Return a descriptor of a new namespace, and sockets (family, type, protocol) in it.

        No process stays in it: with the descriptors the namespace is gone.
        """

    def spawn_helper(
        self, argv: Sequence[str], descriptors: Sequence[int], *, netns_fd: int = -1
    ) -> int:
        """Start a program and return its pidfd.

        descriptors: what become descriptors 0, 1, 2, ... of the program, which gets no others
        netns_fd: a network namespace for it to run in, instead of the host's
        It is killed when this process ends, however it ends.
        """


class Uplink(Protocol):
    """What carries a network's packets to the world and back.

    mtu: the largest packet that the way out takes
    nameserver: address of a forwarder that the containers can ask, "" without one
    host_address: address under which containers reach this host, "" without one
    host_link: name of the link, and of the table, that it needs on this host, "" without them
    notices: what the user should know, each a sentence
    """

    mtu: int
    nameserver: str
    host_address: str
    host_link: str
    notices: list[str]

    def close(self) -> None: ...
