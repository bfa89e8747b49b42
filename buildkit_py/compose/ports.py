"""The short form of a port: `[[ADDRESS:][PUBLISHED]:]TARGET[/PROTOCOL]`, with ranges.

Two ranges of one length pair up; a published range for one target stays a range. Source:
docker/go-connections nat, and compose-go types.ParsePortConfig (whose order this keeps).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


PROTOCOLS = ("tcp", "udp", "sctp")


def parse_port(text: str) -> list[dict[str, Any]]:
    """Return the ports of a short form in their long form. Raises ValueError."""
    body, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash and protocol else "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"`{protocol}` is no protocol; there are {', '.join(PROTOCOLS)}")
    address, published, target = _split(body)
    if not target:
        raise ValueError("the container's port is missing")
    if address and not is_address(address):
        raise ValueError(f"`{address}` is no IP address")
    first, last = _range(target, "container's")
    start, end = _range(published, "published") if published else (0, 0)
    if published and end - start != last - first and last != first:
        raise ValueError("the two ranges of ports have different lengths")
    out = []
    for offset in range(last - first + 1):
        entry: dict[str, Any] = {"mode": "ingress"}
        if address:
            entry["host_ip"] = address
        entry["target"] = first + offset
        if published:
            entry["published"] = (
                str(start + offset) if end - start == last - first else f"{start}-{end}"
            )
        entry["protocol"] = protocol
        out.append(entry)
    # Go sorts by the text of the port.
    return sorted(out, key=lambda entry: f"{entry['target']}/{entry['protocol']}")


def _split(body: str) -> tuple[str, str, str]:
    """Return address, published port and target; an IPv6 address may have brackets or not."""
    parts = body.split(":")
    target = parts[-1]
    if len(parts) == 1:
        return "", "", target
    if len(parts) == 2:
        return "", parts[0], target
    address = ":".join(parts[:-2])
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    return address, parts[-2], target


def _range(text: str, which: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    ends = []
    for each in (low, high) if dash else (low,):
        if not (each.isascii() and each.isdigit()) or int(each) > 65535:
            raise ValueError(f"`{text}` is no {which} port")
        ends.append(int(each))
    if ends[-1] < ends[0]:
        raise ValueError(f"the range `{text}` runs backwards")
    return ends[0], ends[-1]


def is_address(text: str) -> bool:
    """Say whether a text is an IPv4 or IPv6 address."""
    import socket

    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True
