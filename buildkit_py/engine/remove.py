"""Taking a container's directory away, so that a crash half-way leaves nothing in the way."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from buildkit_py.core.files import Lock
from buildkit_py.engine import containers
from buildkit_py.engine.coding import DamagedRecord
from buildkit_py.engine.containers import ContainerSpec
from buildkit_py.engine.events import path_of
from buildkit_py.store.trees import remove_tree


def remove_directory(root: str, spec: ContainerSpec, *, with_volumes: bool) -> None:
    """Remove a container that does not run, its name, and with its anonymous volumes or without.

    Of several at once one removes it, and the others have nothing to do.
    """
    with taken_away(root, spec, with_volumes=with_volumes):
        pass


@contextlib.contextmanager
def taken_away(root: str, spec: ContainerSpec, *, with_volumes: bool) -> Iterator[None]:
    """Take a container out of its place; what is in it is removed at the end of the block.

    Its directory is moved among the unfinished things: from then on it is gone for everybody, and
    what a crash leaves of it is swept by the next session.
    """
    doomed = os.path.join(root, "tmp", f"gone-{spec.id}-{os.urandom(4).hex()}")
    own = Lock(os.path.join(doomed, "lock"))
    with Lock(os.path.join(root, "locks", "sessions")):
        # A directory in there whose lock nobody holds is swept.
        os.mkdir(doomed, 0o700)
        own.acquire()
    try:
        with Lock(os.path.join(root, "locks", "containers")):
            link = os.path.join(root, "names", spec.name)
            with contextlib.suppress(OSError):
                if os.path.basename(os.readlink(link)) == spec.id:
                    os.unlink(link)
            with contextlib.suppress(FileNotFoundError):
                os.rename(containers.directory_of(root, spec.id), os.path.join(doomed, "container"))
        others = {
            name
            for known in (containers.all_of(root) if with_volumes and spec.anonymous else ())
            for name in (*known.spec.volumes, *known.spec.anonymous)
        }
        for name in set(spec.anonymous) - others if with_volumes else ():
            with contextlib.suppress(FileNotFoundError):
                os.rename(os.path.join(root, "volumes", name), os.path.join(doomed, name))
        forget_journal(root, spec.group)
        yield
        for name in os.listdir(doomed):
            if name != "lock":
                remove_tree(os.path.join(doomed, name))
        with Lock(os.path.join(root, "locks", "sessions")):
            os.unlink(os.path.join(doomed, "lock"))
            os.rmdir(doomed)
    finally:
        own.release()


def forget_journal(root: str, group: str) -> None:
    """Remove the events of a group that has no container any more.

    Under the lock of those that make containers, so that a new one's events are not lost.
    """
    with Lock(os.path.join(root, "locks", "containers")):
        if any(_is_in(root, id, group) for id in containers.identifiers(root)):
            return
        for path in (path_of(root, group), f"{path_of(root, group)}.1"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _is_in(root: str, id: str, group: str) -> bool:
    """Tell whether a container is of a group; one that cannot be read may be of any."""
    try:
        return containers.read_spec(containers.directory_of(root, id)).group == group
    except FileNotFoundError:
        return False
    except DamagedRecord:
        return True
