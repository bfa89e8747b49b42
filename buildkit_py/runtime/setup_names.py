"""Set-up operations that give the new namespaces names and parameters; see setup.py."""

from __future__ import annotations

import os

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.runtime.kernel.paths import open_beneath
from buildkit_py.runtime.kernel.processes import setdomainname, sethostname

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.runtime.setup import Workspace


@dataclass(frozen=True, slots=True)
class WriteSysctl:
    """Set a kernel parameter of the new namespaces through our own /proc.

    name: with dots, or a path beneath /proc/sys, in which a dot is a part of a name
    optional: docker's defaults, which a kernel or a small user namespace may refuse
    """

    name: str
    value: str
    optional: bool

    def describe(self) -> str:
        return f"sysctl {self.name} = {self.value}"

    def run(self, work: Workspace) -> None:
        if work.proc < 0:
            raise InputError(
                f"sysctl `{self.name}` needs a /proc in the container", code="runtime/sysctl",
                hint="add one to `mounts`",
            )  # fmt: skip
        path = "sys/" + (self.name if "/" in self.name else self.name.replace(".", "/"))
        try:
            fd = open_beneath(work.proc, path, os.O_WRONLY)
            try:
                os.write(fd, self.value.encode())
            finally:
                os.close(fd)
        except OSError as error:
            if not self.optional:
                raise HostError(
                    f"sysctl `{self.name}` cannot be set: {error.strerror}", code="host/sysctl"
                ) from None


@dataclass(frozen=True, slots=True)
class SetHostname:
    name: str

    def describe(self) -> str:
        return f"sethostname `{self.name}`"

    def run(self, work: Workspace) -> None:
        sethostname(self.name)


@dataclass(frozen=True, slots=True)
class SetDomainname:
    name: str

    def describe(self) -> str:
        return f"setdomainname `{self.name}`"

    def run(self, work: Workspace) -> None:
        setdomainname(self.name)
