"""`intelRdt`: a container's shares of caches and memory bandwidth, in the file system resctrl.

Documentation/arch/x86/resctrl.rst; runtime-spec config-linux.md, "IntelRdt". The group is made
before the first process, which is put there before it does anything.
"""

from __future__ import annotations

import errno
import os

from buildkit_py.core.errors import HostError, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.oci.runtime_config import IntelRdt

MOUNT = "/sys/fs/resctrl"


class Group:
    """A group of the container's, and what of it is ours to remove.

    folder: of the group; made: with the container, and not there before
    """

    def __init__(self, config: IntelRdt, id: str, mount: str = MOUNT) -> None:
        self.config = config
        self.lines = [*filter(None, (config.l3_cache_schema, config.mem_bw_schema)),
                      *config.schemata]  # fmt: skip
        self.mount = mount
        self.folder = os.path.join(mount, config.closid.strip("/") or ("" if config.closid else id))
        self.is_own = not config.closid
        self.monitor = ""
        if config.enable_monitoring:
            self.monitor = os.path.join(self.folder, "mon_groups", id)

    def create(self) -> None:
        """Make the group, or compare the one that is there. Raises HostError, InputError."""
        if not os.path.exists(os.path.join(self.mount, "schemata")):
            raise HostError(
                f"`{self.mount}` is not there: linux.intelRdt cannot be carried out",
                code="host/resctrl",
                hint="mount -t resctrl resctrl /sys/fs/resctrl, on a processor that has it",
            )
        there = os.path.isdir(self.folder) and not self.is_own
        if not there and not self.is_own and not self.lines:
            raise InputError(
                f"linux.intelRdt.closID: there is no group `{self.config.closid}`",
                code="runtime/resctrl", hint="without a schema it must be there before",
            )  # fmt: skip
        if there:
            self._compare()
        else:
            self._make(self.folder)
            try:
                for line in self.lines:
                    self._write("schemata", f"{line}\n")
            except HostError:
                self._remove(self.folder)
                raise
        if self.monitor:
            try:
                self._make(self.monitor)
            except HostError:
                if self.is_own:
                    self._remove(self.folder)
                raise

    def add(self, pid: int) -> None:
        """Put a process into the group."""
        self._write("tasks", str(pid))
        if self.monitor:
            self._write(
                os.path.join("mon_groups", os.path.basename(self.monitor), "tasks"), str(pid)
            )

    def update(self, lines: list[str]) -> None:
        """Write other schemata of the group."""
        for line in lines:
            _parts(line)
            self._write("schemata", f"{line}\n")

    def remove(self) -> None:
        """Remove what is the container's own; what is not there is fine."""
        if self.monitor:
            self._remove(self.monitor)
        if self.is_own:
            self._remove(self.folder)

    def _compare(self) -> None:
        path = os.path.join(self.folder, "schemata")
        try:
            with open(path) as file:
                there = {_parts(line) for line in file if ":" in line}
        except OSError as error:
            raise HostError(f"resctrl: `{path}`: {error.strerror}", code="host/resctrl") from None
        for line in self.lines:
            name, wanted = _parts(line)
            if not any(name == other and wanted <= has for other, has in there):
                raise InputError(
                    f"linux.intelRdt: the group `{self.config.closid}` is there, without `{line}`",
                    code="runtime/resctrl",
                )

    def _write(self, name: str, text: str) -> None:
        path = os.path.join(self.folder, name)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise HostError(
                f"resctrl: `{path}`: {error.strerror}{self._status()}", code="host/resctrl"
            ) from None

    def _status(self) -> str:
        """Return the kernel's own words about the last write that it refused."""
        try:
            with open(os.path.join(self.mount, "info", "last_cmd_status")) as file:
                text = file.read().strip()
        except OSError:
            return ""
        return f": {text}" if text and text != "ok" else ""

    def _make(self, path: str) -> None:
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:  # what a runtime that was killed left: it has our name
            return
        except OSError as error:
            text = "no more groups" if error.errno == errno.ENOSPC else error.strerror
            raise HostError(f"resctrl: cannot make `{path}`: {text}", code="host/resctrl") from None

    def _remove(self, path: str) -> None:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise HostError(
                f"resctrl: cannot remove `{path}`: {error.strerror}", code="host/resctrl"
            ) from None


def _parts(line: str) -> tuple[str, frozenset[tuple[str, int]]]:
    """Return a schema's name and its values by domain: `L3:0=7f0;1=1f`, or of `MB` in tens."""
    name, _, rest = line.strip().partition(":")
    base = 10 if name.startswith("MB") else 16
    pairs = set()
    for each in filter(None, rest.split(";")):
        domain, _, value = each.partition("=")
        try:
            pairs.add((domain.strip(), int(value, base)))
        except ValueError:
            raise InputError(
                f"linux.intelRdt: `{line.strip()}` is no schema", code="runtime/resctrl"
            ) from None
    return name, frozenset(pairs)
