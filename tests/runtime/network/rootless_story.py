"""A private network without root, as a program of its own: `python -m` this, as some user.

Arguments: the helper that may be used (`none`: none is installed, `shut`: no tun), and a port on
the host's loopback that nobody inside may reach, or `wait` (to be killed), or `ask` (only a
nameserver). Prints one JSON object with what happened.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

from buildkit_py.runtime.kernel import netlink
from buildkit_py.runtime.network import helper, resolve
from buildkit_py.runtime.network.network import Network
from buildkit_py.runtime.network.publish import Proxy, bind, parse
from tests.runtime.network.people import Inhabitant, Machine, Refused, plugged

MIRROR = "deb.debian.org"
FILE = "/debian/dists/bookworm/main/binary-amd64/Packages.xz"


def map_ids(pid: int, kind: str, own: int) -> None:
    with open(f"/etc/sub{kind}") as table:
        fields = [line.strip().split(":") for line in table]
    names = (os.environ["USER"], str(own))
    _, first, count = next(each for each in fields if each[0] in names)
    ids = ["0", str(own), "1", "1", first, count]
    subprocess.run([f"new{kind}map", str(pid), *ids], check=True)


def main() -> None:
    program, *more = sys.argv[1:]
    if program == "none":
        helper.FOLDERS = ()
    elif program == "shut":
        helper.TUN = "/proc/1/mem"  # there, and not ours to open
    else:
        helper.PROGRAMS = tuple(each for each in helper.PROGRAMS if each.name == program)
    zygote = Inhabitant()
    pid = zygote.order("own")["pid"]
    map_ids(pid, "uid", os.getuid())
    map_ids(pid, "gid", os.getgid())
    run_dir = os.path.join(os.environ["XDG_RUNTIME_DIR"], "buildkit-py")
    story: dict[str, object] = {}
    with Network.open(Machine(rootless=True), zygote, run_dir=run_dir, purpose="test") as network:
        one, two = (plugged(network, Inhabitant(zygote)) for _ in range(2))
        story["notices"] = network.notices
        story["kind"] = network.kind
        resolver = resolve.host_resolver()
        text, _ = resolve.resolv_conf(resolver, forwarder=network.nameserver)
        answer = one.ask(resolve.parse(text).nameservers[0], MIRROR)
        if more == ["ask"]:
            print(json.dumps({"answer": answer}))
            return
        address = answer[0]
        story["file"] = one.fetch(address, MIRROR, FILE)
        two.serve(8000, "two")
        story["neighbour"] = one.connect(two.interface.address, 8000)
        with Proxy(zygote, network.netns_fd) as proxy:
            (bound,) = bind(parse("8000"))
            proxy.carry(bound, two.interface.address)
            story["published"] = [say(each, bound.host_port) for each in own_addresses()]
        story["host"] = ours = own_addresses()
        if more == ["wait"]:
            print(json.dumps(story), flush=True)
            sys.stdin.read()
        gateways = [network.host_address or one.interface.gateway, gateway_of_host()]
        if program == "slirp4netns":
            gateways.append("10.0.2.2")
        said = {}
        for address in (*gateways, *ours):
            try:
                said[address] = one.connect(address, int(more[0]), 1)
            except Refused:
                said[address] = ""
        story["said"] = said
    print(json.dumps(story))


def say(address: str, port: int) -> str:
    with socket.create_connection((address, port), timeout=5) as connection:
        connection.sendall(b"x")
        return connection.recv(100).decode()


def own_addresses() -> list[str]:
    with netlink.Netlink() as kernel:
        return [a.address for a in kernel.addresses()]


def gateway_of_host() -> str:
    with netlink.Netlink() as kernel:
        return next(route.gateway for route in kernel.routes() if route.prefix == 0)


if __name__ == "__main__":
    main()
