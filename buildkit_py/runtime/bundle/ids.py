"""The maps of a container's user namespace, written from outside; user_namespaces(7)."""

from __future__ import annotations

import os

from buildkit_py.core.errors import HostError, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.oci.runtime_config import Config, IdMapping


def map_ids(pid: int, config: Config) -> None:
    """Write the maps for a process that waits for them; with newuidmap where the kernel refuses."""
    linux = config.linux
    if not linux.uid_mappings or not linux.gid_mappings:
        raise InputError(
            "a new user namespace needs uidMappings and gidMappings", code="runtime/no-mappings"
        )
    for name, rows in (("uid", linux.uid_mappings), ("gid", linux.gid_mappings)):
        if not any(each.container == 0 < each.size for each in rows):
            raise InputError(
                f"linux.{name}Mappings: id 0 of the container is not mapped",
                code="runtime/no-mappings", hint="what sets the container up is root in it",
            )  # fmt: skip
    write_maps(pid, linux.uid_mappings, linux.gid_mappings)


def write_maps(pid: int, uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> None:
    is_root = os.geteuid() == 0
    if is_root or _is_own(gids, os.getegid()):
        if not is_root:
            _write(pid, "setgroups", "deny")
        _write(pid, "gid_map", _text(gids))
    else:
        _by_helper("newgidmap", pid, gids)
    if is_root or _is_own(uids, os.geteuid()):
        _write(pid, "uid_map", _text(uids))
    else:
        _by_helper("newuidmap", pid, uids)


def _is_own(mappings: Sequence[IdMapping], id: int) -> bool:
    """Say whether this is the one map that everybody may write."""
    return len(mappings) == 1 and mappings[0].size == 1 and mappings[0].host == id


def _text(mappings: Sequence[IdMapping]) -> str:
    return "".join(f"{each.container} {each.host} {each.size}\n" for each in mappings)


def _write(pid: int, name: str, text: str) -> None:
    try:
        fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise HostError(
            f"the ids of the user namespace cannot be mapped: {name}: {error.strerror}",
            code="host/ids",
        ) from None


def _by_helper(name: str, pid: int, mappings: Sequence[IdMapping]) -> None:
    from buildkit_py.runtime.userns import HELPERS, find_helper

    program = find_helper(name)
    if program is None:
        raise HostError(
            f"`{name}` is not installed: only one's own id can be mapped", code="host/ids",
            hint="apt-get install uidmap, or dnf install shadow-utils",
        )  # fmt: skip
    words = [str(n) for each in mappings for n in (each.container, each.host, each.size)]
    code = os.spawnve(os.P_WAIT, program, [program, str(pid), *words], {"PATH": ":".join(HELPERS)})
    if code:
        raise HostError(
            f"{name} refused the mappings", code="host/newuidmap",
            hint="are these ids yours, in `/etc/subuid` and `/etc/subgid`?",
        )  # fmt: skip
