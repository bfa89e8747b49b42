"""A limit of config.json as what it is to the kernel: a text for a file of a cgroup."""

from __future__ import annotations

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from buildkit_py.oci.runtime_config import Cpu, Resources

    Has = Callable[[str], bool]
    """Tells whether the container's cgroup has a file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One write. setting: what asked for it, beneath `linux.resources`

    lacking: what a kernel without the file means: an error, a warning, or nothing, as it is for
        limits that kernels lost over time and that runc and crun pass over
    """

    file: str
    text: str
    setting: str
    lacking: Literal["refuse", "warn", "ignore"] = "refuse"

    @property
    def controller(self) -> str:
        return self.file.partition(".")[0]


class BadResource(InputError):
    """A limit that no kernel takes."""

    code = "runtime/resource"


def check(resources: Resources) -> None:
    """Refuse limits that contradict each other. Raises BadResource."""
    memory = resources.memory
    if memory.limit and memory.limit > 0 and memory.swap and 0 < memory.swap < memory.limit:
        raise BadResource(
            f"`memory.swap` counts memory and swap together and is below `memory.limit`: "
            f"{memory.swap} < {memory.limit}"
        )
    for file in resources.unified:
        if "/" in file or file in ("", ".", ".."):
            raise BadResource(f"`unified` names no file of a cgroup: `{file}`")


def number(value: int) -> str:
    """Return a limit as cgroup2 writes it, with -1 for no limit."""
    return "max" if value < 0 else str(value)


def idle_and_places(cpu: Cpu) -> Iterator[Row]:
    """Yield what both versions of cgroups write alike of the processors."""
    if cpu.idle:
        yield Row("cpu.idle", str(cpu.idle), "cpu.idle", "warn")
    if cpu.cpus:
        yield Row("cpuset.cpus", cpu.cpus, "cpu.cpus")
    if cpu.mems:
        yield Row("cpuset.mems", cpu.mems, "cpu.mems")
