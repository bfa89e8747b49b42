"""The uplink without root: pasta or slirp4netns, programs that carry packets by plain sockets.

The helper runs beside the zygote, in our user namespace and the host's network namespace, and
makes a tap link in the network's namespace. It may not reach the host's loopback, and it opens
no port. The host is reached by the address that its own packets to the world have: pasta would
give it to the namespace, where it would lead nowhere, so it is told another one. Both programs
terminate TCP themselves, so a large MTU is right, whatever the way out takes.

Measured traps: pasta of 2023 without `-f` goes to the background and keeps our descriptors; with
`-f` it does not say when it is ready, so we wait for the default route that it makes. With
`--dns-forward` it also answers *for* the host's nameserver, whose own address then falls silent.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network

from buildkit_py.core.data import dataclass
from buildkit_py.runtime.kernel import netlink
from buildkit_py.runtime.network import resolve, subnets
from buildkit_py.runtime.network.nat import host_networks
from buildkit_py.runtime.network.uplink import NetworkUnavailable, Zygote

TUN = "/dev/net/tun"
FOLDERS: tuple[str, ...] = ("/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/usr/local/sbin")
MTU = 65520  # the largest that both take
PATIENCE_SECONDS = 10.0

RTMGRP_IPV4_ROUTE = 0x40
# TEST-NET-2 (RFC 5737): nobody's, so nothing else is hidden by it.
PASTA_FORWARDER = "198.51.100.53"
SLIRP_NETWORK = IPv4Network("10.0.2.0/24")
SLIRP_FORWARDER = "10.0.2.3"
_SOMEWHERE = ("198.51.100.53", 9)  # TEST-NET-2, too: for a question about routes, nothing is sent

# Descriptors of the helper.
_NETNS, _WORDS, _READY, _EXIT = 0, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Program:
    """One kind of helper.

    argv: from its path, the name of the link to make, whether to forward DNS questions, and a
        subnet for its ends
    forwarder: the address that answers them
    says_ready: writes a byte to descriptor 3; others are ready with their default route
    hides: addresses outside that nobody reaches through it
    """

    name: str
    argv: Callable[[str, str, bool, subnets.Subnet], list[str]]
    forwarder: str
    says_ready: bool
    hides: IPv4Network | None = None

    def reaches(self, address: str) -> str:
        """Return an address if it can be reached, "" otherwise."""
        hidden = self.hides is not None and subnets.is_in(address, self.hides)
        return "" if hidden else address


def _pasta(path: str, link: str, forward: bool, subnet: subnets.Subnet) -> list[str]:
    ports = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
    dns = ["--dns-forward", PASTA_FORWARDER] if forward else []
    quiet = ["-q", "-f", "-4", "--no-dhcp", "--no-ra", "--no-map-gw"]
    mask = str(IPv4Network((0, subnets.UPLINK_PREFIX)).netmask)
    ends = ["-a", subnet.near_end, "-n", mask, "-g", subnet.host_end]
    where = ["-I", link, "--netns", f"/proc/self/fd/{_NETNS}"]
    return [path, "--config-net", *quiet, *ports, *dns, *ends, *where]


def _slirp(path: str, link: str, forward: bool, _: subnets.Subnet) -> list[str]:
    dns = [] if forward else ["--disable-dns"]
    safe = ["--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"]
    life = [f"--ready-fd={_READY}", f"--exit-fd={_EXIT}"]
    where = ["--netns-type=path", f"/proc/self/fd/{_NETNS}", link]
    return [path, "--configure", f"--mtu={MTU}", *safe, *dns, *life, *where]


PROGRAMS: tuple[Program, ...] = (
    Program("pasta", _pasta, PASTA_FORWARDER, says_ready=False),
    Program("slirp4netns", _slirp, SLIRP_FORWARDER, says_ready=True, hides=SLIRP_NETWORK),
)


def find(name: str) -> str:
    """Return the path of a helper in the fixed folders, "" where it is not installed."""
    for folder in FOLDERS:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    return ""


class Helper:
    """The uplink without root; see the module.

    Raises NetworkUnavailable from the constructor, with what each helper said.
    """

    host_link = ""

    def __init__(
        self,
        zygote: Zygote,
        netns_fd: int,
        events: socket.socket,
        link: str,
        resolver: resolve.Resolver,
    ) -> None:
        """Start the first helper that works.

        events: an rtnetlink socket of the namespace, ours from now on
        link: name of the link to make in the namespace
        resolver: of the host; questions are forwarded where a container can ask none of it
        """
        self.notices: list[str] = []
        self.nameserver = ""
        self.host_address = ""
        self.mtu = MTU  # until the link is asked
        self._pidfd = self._exit_fd = -1
        forward = not resolve.reachable(resolver.nameservers)
        with events:
            _check_tun()
            self.subnet = choose_subnet(resolver)
            events.bind((0, RTMGRP_IPV4_ROUTE))
            said = []
            for program in PROGRAMS:
                path = find(program.name)
                if not path:
                    said.append(f"`{program.name}` is not installed")
                    continue
                trouble = self._try(program, zygote, netns_fd, events, path, link, forward)
                if not trouble:
                    self.nameserver = program.forwarder if forward else ""
                    self.host_address = program.reaches(own_address())
                    return
                said.append(f"`{program.name}` failed: {trouble}")
        raise NetworkUnavailable(
            "no helper connects a private network: " + "; ".join(said),
            hint="install the package `passt` or `slirp4netns`",
        )

    def _try(
        self,
        program: Program,
        zygote: Zygote,
        netns_fd: int,
        events: socket.socket,
        path: str,
        link: str,
        forward: bool,
    ) -> str:
        """Start one program and wait until it carries packets; return what went wrong."""
        words, their_words = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        ready, their_ready = os.pipe2(os.O_CLOEXEC)
        their_exit, self._exit_fd = os.pipe2(os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._pidfd = zygote.spawn_helper(
                program.argv(path, link, forward, self.subnet),
                [netns_fd, null, their_words, their_ready, their_exit],
            )
        except OSError as error:
            self.close()
            return error.strerror or str(error)
        finally:
            for fd in (null, their_words, their_ready, their_exit):
                os.close(fd)
        try:
            wait = ready if program.says_ready else events.fileno()
            if self._wait(wait, events if not program.says_ready else None):
                return ""
            self.close()
            return _last_line(words) or "it did not start"
        finally:
            os.close(words)
            os.close(ready)

    def _wait(self, fd: int, events: socket.socket | None) -> bool:
        """Wait for the helper's word, or for its default route; False when it ended or hangs."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(self._pidfd, select.POLLIN)
        until = time.monotonic() + PATIENCE_SECONDS
        while (left := until - time.monotonic()) > 0:
            seen = dict(poll.poll(left * 1000))
            if fd in seen:
                if events is None:
                    return bool(os.read(fd, 1))
                if _has_default_route(events.recv(1 << 16)):
                    return True
            elif self._pidfd in seen:
                return False
        return False

    def close(self) -> None:
        """End the helper and wait until it is gone. Safe to call twice."""
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass
            else:
                select.select([self._pidfd], [], [], PATIENCE_SECONDS)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._exit_fd >= 0:
            os.close(self._exit_fd)
            self._exit_fd = -1


def no_way_out(error: NetworkUnavailable) -> str:
    """Return what people should know of a network that has to do without an uplink."""
    advice = f". To change that, {error.hint}" if error.hint else ""
    return (
        "containers reach each other, and published ports lead to them, but nothing beyond"
        f" their networks can be reached: {error.message}{advice}"
    )


def _check_tun() -> None:
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        known = {
            errno.EACCES: "let others use it, as root: `chmod 0666 /dev/net/tun`",
            errno.ENOENT: "load the kernel module `tun`",
            errno.ENODEV: "load the kernel module `tun`",
        }
        raise NetworkUnavailable(
            f"`{TUN}` cannot be opened: {error.strerror}", hint=known.get(error.errno or 0)
        ) from error


def choose_subnet(resolver: resolve.Resolver) -> subnets.Subnet:
    """Return a subnet apart from everything the host reaches; other networks do not see ours."""
    with netlink.Netlink() as kernel:
        foreign, _ = host_networks(kernel.routes(), {})
    avoid = [IPv4Address(address) for address in resolve.reachable(resolver.nameservers)]
    return subnets.choose([*foreign, SLIRP_NETWORK], [], avoid)


def own_address() -> str:
    """Return the address under which this host speaks with the world, "" without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(_SOMEWHERE)
        except OSError:
            return ""
        address: str = asked.getsockname()[0]
        return address


def _has_default_route(data: bytes) -> bool:
    return any(
        kind == netlink.RTM_NEWROUTE and netlink.decode_route(payload).prefix == 0
        for kind, _, _, payload in netlink.messages(data)
    )


def _last_line(fd: int) -> str:
    try:
        lines = os.read(fd, 1 << 16).decode(errors="replace").strip().splitlines()
    except BlockingIOError:
        return ""
    return lines[-1].strip() if lines else ""
