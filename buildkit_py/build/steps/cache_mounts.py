"""`RUN --mount=type=cache`: directories that outlive builds and never reach a layer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from buildkit_py.build.steps.services import Services
from buildkit_py.core.digest import sha256
from buildkit_py.core.errors import HostError
from buildkit_py.core.files import Lock
from buildkit_py.graph.ops import Mount
from buildkit_py.runtime.spec import Bind
from buildkit_py.store.trees import remove_tree

_STRICTEST = ("private", "locked", "shared")
_POLL_SECONDS = 0.05


@contextmanager
def cache_mounts(
    services: Services, mounts: Sequence[Mount], *, wipe: bool
) -> Iterator[dict[Mount, Bind]]:
    """Give the binds of all cache directories of one step, made where they are missing.

    wipe: the step runs again on purpose (`--no-cache`): a cache begins empty, but only once in
        a build: a later step finds what an earlier one left
    sharing: `locked` waits for other users; `private` gets a directory that nobody uses now

    All are locked in one order, so that no two steps wait for each other, and each once, so that
    none waits for itself. Waiting ends when the build is stopped.
    """
    by_name: dict[str, list[Mount]] = {}
    for mount in mounts:
        by_name.setdefault(_name(mount), []).append(mount)
    base = os.path.join(services.store.root, "cache-mounts")
    with ExitStack() as stack:
        binds: dict[Mount, Bind] = {}
        for name, same in sorted(by_name.items()):
            os.makedirs(base, mode=0o700, exist_ok=True)
            sharing = min((each.sharing for each in same), key=_STRICTEST.index)
            path, lock = _lock(services, os.path.join(base, name), sharing)
            stack.callback(lock.release)
            if services.first(f"cache mount {path}") and wipe:
                remove_tree(path)
            _make(services, path, same[0])
            for mount in same:
                binds[mount] = Bind(path, mount.target, read_only=mount.read_only, recursive=False)
        yield binds


def _name(mount: Mount) -> str:
    # A hash, never the id itself: an id such as `../../etc` must not lead anywhere.
    identity = f"{mount.id or mount.target}\0{_mode(mount):o}\0{mount.uid}\0{mount.gid}"
    return sha256(identity.encode("utf-8", "surrogateescape")).removeprefix("sha256:")[:32]


def _mode(mount: Mount) -> int:
    return 0o755 if mount.mode is None else mount.mode


def _lock(services: Services, base: str, sharing: str) -> tuple[str, Lock]:
    """Return a directory's path and its lock, held."""
    number = 0
    while True:
        path = base if number == 0 else f"{base}-{number}"
        lock = Lock(f"{path}.lock", shared=sharing == "shared")
        # Never in one blocking call: Ctrl-C could not end it.
        while not lock.acquire(wait=False):
            if sharing == "private":
                break
            services.check()
            services.pause(_POLL_SECONDS)
        else:
            return path, lock
        number += 1


def _make(services: Services, path: str, mount: Mount) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    try:
        if services.host.ids != "single":
            os.chown(path, mount.uid, mount.gid)
        os.chmod(path, _mode(mount))
    except OSError as error:
        os.rmdir(path)
        raise HostError(
            f"a cache directory cannot be given to {mount.uid}:{mount.gid}: {error.strerror}",
            code="build/owner-not-mapped",
            hint="the user's range of subordinate ids is too small for this id",
        ) from None
