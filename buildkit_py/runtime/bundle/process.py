"""What a bundle's process is given and denied, just before its program starts."""

from __future__ import annotations

import contextlib
import os
import stat

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.oci.runtime_config import Capabilities, Process
from buildkit_py.runtime import confine, setup
from buildkit_py.runtime.kernel import capabilities, processes, scheduling, seccomp
from buildkit_py.runtime.kernel.paths import open_beneath
from buildkit_py.runtime.kernel.syscalls import CLONE_NEWTIME
from buildkit_py.runtime.setup import SetupOp, Workspace
from buildkit_py.runtime.users import UnknownAccount, resolve_account


@dataclass(frozen=True, slots=True)
class SetOom:
    """`oomScoreAdj`: how ready the kernel is to kill it when memory is short."""

    score: int

    def describe(self) -> str:
        return f"oom_score_adj {self.score}"

    def run(self, work: Workspace) -> None:
        try:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write(str(self.score))
        except OSError as error:
            work.note(f"oomScoreAdj {self.score} cannot be set: {error.strerror}")


@dataclass(frozen=True, slots=True)
class GiveStreams:
    """Give the program what it reads and writes, so that it may open `/dev/stdout` again.

    As runc and crun do: not /dev/null, which is everybody's; a terminal keeps its group. Root opens
    them as they are.
    """

    uid: int
    gid: int

    def describe(self) -> str:
        return f"standard streams to {self.uid}:{self.gid}"

    def run(self, work: Workspace) -> None:
        for fd in (0, 1, 2):
            try:
                state = os.fstat(fd)
                if stat.S_ISCHR(state.st_mode) and state.st_rdev == os.makedev(1, 3):
                    continue
                gid = -1 if stat.S_ISCHR(state.st_mode) else self.gid
                if state.st_uid != self.uid or gid not in (-1, state.st_gid):
                    os.fchown(fd, self.uid, gid)
            except OSError:  # closed; or another's, on a file system that knows no such id
                continue


@dataclass(frozen=True, slots=True)
class SetScheduling:
    """The scheduler, the priority of input and output, the memory policy, the personality."""

    process: Process
    personality: str
    memory_mode: int = -1
    memory_nodes: frozenset[int] = frozenset()

    def describe(self) -> str:
        return "scheduling"

    def run(self, work: Workspace) -> None:
        plan = self.process.scheduler
        if plan is not None:
            flags = sum(scheduling.FLAGS[name] for name in plan.flags)
            scheduling.set_scheduler(
                scheduling.POLICIES[plan.policy], flags, plan.nice, plan.priority, plan.runtime,
                plan.deadline, plan.period,
            )  # fmt: skip
        if self.process.io_priority is not None:
            io = self.process.io_priority
            scheduling.set_io_priority(scheduling.IO_CLASSES[io.cls], io.priority)
        if self.memory_mode >= 0:
            scheduling.set_memory_policy(self.memory_mode, self.memory_nodes)
        if self.personality:
            scheduling.set_personality(scheduling.PERSONALITIES[self.personality])


@dataclass(frozen=True, slots=True)
class SetLabel:
    """The label that a security module gives to the program: AppArmor's or SELinux's."""

    module: str
    text: str

    def describe(self) -> str:
        return f"{self.module} label `{self.text}`"

    def run(self, work: Workspace) -> None:
        name = "attr/apparmor/exec" if self.module == "apparmor" else "attr/exec"
        text = f"exec {self.text}" if self.module == "apparmor" else self.text
        # Through our own procfs, and our own thread's file (CVE-2019-19921, CVE-2025-52881).
        try:
            fd = open_beneath(work.proc, f"{os.getpid()}/{name}", os.O_WRONLY)
        except OSError as error:
            raise HostError(
                f"this machine has no {self.module}: {error.strerror}", code="host/label"
            ) from None
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


@dataclass(frozen=True, slots=True)
class LoadProgram:
    """Load a filter of system calls that asks nobody."""

    program: bytes
    flags: int

    def describe(self) -> str:
        return f"seccomp filter of {len(self.program) // 8} instructions"

    def run(self, work: Workspace) -> None:
        seccomp.load(self.program, self.flags)


@dataclass(frozen=True, slots=True)
class BecomeUser:
    """Ids, and the five sets of capabilities; capabilities(7), "Effect of user ID changes"."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    bounding: int
    effective: int
    permitted: int
    inheritable: int
    ambient: int

    def describe(self) -> str:
        return f"become {self.uid}:{self.gid}, capabilities {self.permitted:#x}"

    def run(self, work: Workspace) -> None:
        try:
            try:
                os.setgroups(self.groups)
            except PermissionError:  # as where a user without root mapped one id
                if self.groups:
                    work.note("setgroups is forbidden here: additional groups are left out")
            capabilities.drop_bounding(self.bounding)
            capabilities.keep_permitted(True)
            processes.set_ids(self.uid, self.gid)
        except OSError as error:
            raise HostError(
                f"the container cannot run as {self.uid}:{self.gid}: {error.strerror}",
                code="host/ids",
            ) from None
        # What the kernel would refuse as a whole is left out and told: config.md, "capabilities".
        held = capabilities.permitted()
        permitted = self.permitted & held
        effective = self.effective & permitted
        inheritable = self.inheritable & held & self.bounding
        capabilities.set_sets(effective, permitted, inheritable)
        capabilities.keep_permitted(False)
        ambient = self.ambient & ~capabilities.raise_ambient(self.ambient)
        for name, wanted, given in (
            ("permitted", self.permitted, permitted),
            ("effective", self.effective, effective),
            ("inheritable", self.inheritable, inheritable),
            ("ambient", self.ambient, ambient),
        ):
            if left := capabilities.names_of(wanted & ~given):
                work.note(f"{name} capabilities cannot be given: {', '.join(left)}")


def confinement(process: Process, *, filter: SetupOp | None, warnings: list[str]) -> list[SetupOp]:
    """Return the last operations, in the order in which the kernel still allows them."""
    operations: list[SetupOp] = []
    if process.rlimits:
        operations.append(confine.SetLimits(process.rlimits))
    if filter is not None and not process.no_new_privileges:
        operations.append(filter)  # while we may without no_new_privs
    operations.append(_become(process, warnings))
    if process.no_new_privileges:
        operations.append(confine.GainNothing())
        if filter is not None:
            operations.append(filter)
    return operations


def _become(process: Process, warnings: list[str]) -> BecomeUser:
    sets = process.capabilities or Capabilities()
    names = set(capabilities.NAMES)
    unknown: set[str] = set()

    def bits(wanted: frozenset[str]) -> int:
        unknown.update(wanted - names)
        return capabilities.mask(wanted & names)

    user = process.user
    made = BecomeUser(
        user.uid, user.gid, user.additional_gids or (), bits(sets.bounding), bits(sets.effective),
        bits(sets.permitted), bits(sets.inheritable), bits(sets.ambient),
    )  # fmt: skip
    if unknown:
        text = f"unknown capabilities are ignored: {', '.join(sorted(unknown))}"
        if any(name.islower() for name in unknown):
            text += "; their names are such as `CAP_KILL`"
        warnings.append(text)
    return made


@dataclass(frozen=True, slots=True)
class MakeConsole:
    """A file that the terminal is bound on, made while the root may be written to."""

    def describe(self) -> str:
        return "make `/dev/console`"

    def run(self, work: Workspace) -> None:
        if work.dev < 0:  # the host's own is bound there
            work.dev = work.place("/dev", directory=True)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                work.pts = open_beneath(work.root, "dev/pts", os.O_PATH | os.O_DIRECTORY)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.close(os.open("console", flags, 0o600, dir_fd=work.dev))
        except FileExistsError:
            # By descriptor, and never through a link of the image (CVE-2025-52565).
            mode = os.lstat("console", dir_fd=work.dev).st_mode
            if stat.S_ISLNK(mode) or stat.S_ISDIR(mode):
                raise InputError(
                    "`/dev/console` of the container is a link or a directory",
                    code="runtime/device-exists",
                ) from None


@dataclass(frozen=True, slots=True)
class OpenSession:
    """setsid, a keyring of our own unless it is not wanted, and the terminal."""

    terminal: bool
    uid: int
    size: tuple[int, int]
    keyring: bool

    def describe(self) -> str:
        return "setsid" + (", terminal" if self.terminal else "")

    def run(self, work: Workspace) -> None:
        os.setsid()
        if self.keyring:
            with contextlib.suppress(OSError):  # a kernel without keyrings
                processes.join_new_session_keyring()
        if self.terminal:
            if work.pts < 0:
                raise InputError(
                    "a terminal needs a devpts on /dev/pts", code="runtime/no-devpts",
                    hint="add it to `mounts`",
                )  # fmt: skip
            slave = confine.open_terminal(work, self.uid)
            if self.size != (0, 0):
                processes.set_window_size(slave, *self.size)
            self._console(work, slave)
            os.close(slave)

    def _console(self, work: Workspace, slave: int) -> None:
        place = os.open("console", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=work.dev)
        setup.bind_fd(slave, place)


def with_home(env: tuple[str, ...], uid: int, root_fd: int) -> tuple[str, ...]:
    """Add HOME from the container's own table where nobody said it, as runc and crun do.

    What is said twice is as it was said last: programs disagree about which they take.
    """
    values = dict(entry.split("=", 1) for entry in env)
    if not values.get("HOME"):
        values["HOME"] = "/"
        with contextlib.suppress(UnknownAccount, OSError):
            values["HOME"] = resolve_account(root_fd, str(uid)).home
    return tuple(f"{name}={value}" for name, value in values.items())


@dataclass(frozen=True, slots=True)
class EnterTime:
    """A time namespace of its own, entered by execve; time_namespaces(7).

    offsets: (clock, seconds, nanoseconds)
    """

    offsets: tuple[tuple[str, int, int], ...]

    def describe(self) -> str:
        return "new time namespace" + "".join(f", {name} {s}" for name, s, _ in self.offsets)

    def run(self, work: Workspace) -> None:
        processes.unshare(CLONE_NEWTIME)
        rows = "".join(f"{name} {s} {n}\n" for name, s, n in self.offsets)
        if rows:
            with open("/proc/self/timens_offsets", "w") as file:
                file.write(rows)
