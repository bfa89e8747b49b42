"""Hearing from the kernel that a cgroup ran out of memory.

v1: an eventfd that is registered at the cgroup, Documentation/admin-guide/cgroup-v1/memory.rst,
"OOM Control"; v2: `memory.events`, whose readers are woken when it changes.
"""

from __future__ import annotations

import os
import select

from buildkit_py.core.errors import HostError
from buildkit_py.runtime.kernel import oci_cgroup_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.runtime.kernel.oci_cgroups import Cgroup


class OomWatch:
    """One descriptor to be polled, for the events of a cgroup; -1 where memory is not counted.

    events: what to poll it for
    """

    def __init__(self, cgroup: Cgroup) -> None:
        self.fd = -1
        self.events = 0
        self._known = 0
        for place in cgroup.places:
            if place.unified and self.fd < 0:
                self._watch_v2(oci_cgroup_files.open_directory(place.mount, place.path))
            elif "memory" in place.controllers:
                self.close()
                self._watch_v1(oci_cgroup_files.open_directory(place.mount, place.path))

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def happened(self) -> int:
        """Return how often memory ran out since it was asked last; for who was woken."""
        if self.events & select.POLLIN:
            return os.eventfd_read(self.fd)
        before, self._known = self._known, self._count()
        return max(0, self._known - before)

    def _watch_v1(self, folder: int) -> None:
        try:
            control = os.open("memory.oom_control", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
            try:
                self.fd = os.eventfd(0, os.EFD_CLOEXEC)
                events = os.open("cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
                try:
                    os.write(events, f"{self.fd} {control}".encode())
                finally:
                    os.close(events)
            finally:
                os.close(control)
        except OSError as error:
            self.close()
            raise HostError(
                f"cgroup: {error.filename or 'cgroup.event_control'}: {error.strerror}",
                code="host/cgroup",
            ) from None
        finally:
            os.close(folder)
        self.events = select.POLLIN

    def _watch_v2(self, folder: int) -> None:
        try:
            self.fd = os.open("memory.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:  # the controller is not on, or is one of v1
            return
        finally:
            os.close(folder)
        self.events = select.POLLPRI
        self._known = self._count()

    def _count(self) -> int:
        try:
            lines = os.pread(self.fd, 4096, 0).decode().splitlines()
        except OSError:  # the cgroup is gone
            return self._known
        return int(dict(line.split(" ", 1) for line in lines).get("oom_kill", "0"))
