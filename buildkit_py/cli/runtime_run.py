"""`pyruntime create`, `run`, `start` and `exec`: what makes processes."""

from __future__ import annotations

import os

from buildkit_py.cli.reader import BadOption, Command, Option
from buildkit_py.cli.runtime_common import content, fail, one, root_of, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.cli.reader import Value
    from buildkit_py.runtime.bundle.execute import ExecWishes
    from buildkit_py.runtime.bundle.life import Created, Wishes


_BUNDLE = (
    Option("-b --bundle", "text", "The bundle's directory", metavar="DIR", default="."),
    Option("-f --config", "text", "Another name of config.json", metavar="FILE"),
    Option("--console-socket", "text", "Who gets the terminal", metavar="SOCKET"),
    Option("--pid-file", "text", "Write the first process's number there", metavar="FILE"),
    Option("--preserve-fds", "number", "Pass so many descriptors from 3 on", metavar="N"),
    Option("--pidfd-socket", "text", "Who gets a descriptor of its process", metavar="SOCKET"),
    Option("--no-pivot", "flag", "Leave the machine's root beneath, for an initramfs"),
    Option("--no-new-keyring", "flag", "Keep the caller's session keyring"),
)

CREATE = Command("pyruntime create", "Make a container that waits for its start.", _BUNDLE,
                 arguments="ID")  # fmt: skip

RUN = Command(
    "pyruntime run", "Create a container, start it, wait for its end, and delete it.",
    (*_BUNDLE, Option("-d --detach", "flag", "Do not wait"),
     Option("--keep", "flag", "Do not delete it at its end"),
     Option("--no-subreaper", "flag", "Nothing: orphans are the caller's")),
    arguments="ID",
)  # fmt: skip

START = Command("pyruntime start", "Let a created container's program run.", (), arguments="ID")

EXEC = Command(
    "pyruntime exec", "Run a further program in a container.",
    (
        Option("--cwd", "text", "Working directory", metavar="DIR"),
        Option("-e --env", "list", "Set a variable", metavar="NAME=VALUE"),
        Option("-t --tty", "flag", "Give it a terminal"),
        Option("-u --user", "text", "Ids it runs as", metavar="UID[:GID]"),
        Option("-g --additional-gids", "list", "One more group", metavar="GID"),
        Option("-p --process", "text", "JSON of the process, not the others", metavar="FILE"),
        Option("-d --detach", "flag", "Do not wait"),
        Option("--pid-file", "text", "Write the process's number there", metavar="FILE"),
        Option("--process-label", "text", "SELinux label", metavar="LABEL"),
        Option("--apparmor", "text", "AppArmor profile", metavar="PROFILE"),
        Option("--no-new-privs", "flag", "No program gains privileges"),
        Option("-c --cap", "list", "Add a capability", metavar="NAME"),
        Option("--preserve-fds", "number", "Pass so many descriptors from 3 on", metavar="N"),
        Option("--ignore-paused", "flag", "Also in a paused container"),
        Option("--console-socket", "text", "Who gets the terminal", metavar="SOCKET"),
        Option("--pidfd-socket", "text", "Who gets a descriptor of its process", metavar="SOCKET"),
        Option("--cgroup", "list", "One beneath the container's, of hierarchies with a controller",
               metavar="[CONTROLLER:]PATH"),
    ),
    arguments="ID COMMAND [ARGUMENTS]", options_first=True,
)  # fmt: skip


def _create(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    from buildkit_py.runtime.bundle.life import create

    made = create(root_of(given), one(words, CREATE), _wishes(given, values))
    warn(given, made.warnings)
    if made.terminal >= 0:
        from buildkit_py.runtime.bundle.end import delete

        delete(root_of(given), words[0], force=True)
        raise BadOption("a container with a terminal needs `--console-socket`")
    return 0


def _wishes(given: dict[str, Value], values: dict[str, Value]) -> Wishes:
    from buildkit_py.runtime.bundle.life import Wishes

    preserve = values["preserve_fds"]
    listen = os.environ.get("LISTEN_FDS", "")
    listen_fds = int(listen) if listen.isascii() and listen.isdecimal() else 0
    manager = given["cgroup_manager"]
    if manager not in (None, "cgroupfs", "systemd", "disabled"):
        raise BadOption(f"`--cgroup-manager {manager}`: `cgroupfs`, `systemd` or `disabled`")
    return Wishes(
        bundle=str(values["bundle"]),
        config=str(values["config"] or ""),
        console_socket=str(values["console_socket"] or ""),
        pid_file=str(values["pid_file"] or ""),
        preserve=(preserve if isinstance(preserve, int) else 0) + listen_fds,
        listen_fds=listen_fds,
        pidfd_socket=str(values["pidfd_socket"] or ""),
        no_pivot=bool(values["no_pivot"]),
        no_new_keyring=bool(values["no_new_keyring"]),
        systemd_cgroup=bool(given["systemd_cgroup"]) or manager == "systemd",
        no_cgroup=manager == "disabled",
    )


def _run(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    from buildkit_py.runtime.bundle import life
    from buildkit_py.runtime.bundle.end import delete

    id, root = one(words, RUN), root_of(given)
    try:
        made = life.create(root, id, _wishes(given, values), meanwhile=_get_ready)
    except life.CannotRun as error:
        fail(given, error)
        return error.program_code
    warn(given, made.warnings)
    try:
        if made.terminal >= 0 and values["detach"]:
            raise BadOption("with `--detach` a terminal needs `--console-socket`")
        if values["detach"]:
            warn(given, life.start(root, id))
            return 0
        code = _attend(given, made, begin=lambda: life.start(root, id))
    except life.CannotRun as error:
        fail(given, error)
        code = error.program_code
    except BaseException:
        delete(root, id, force=True)
        raise
    if not values["keep"]:
        # By force: what could not be started may not be dead yet.
        warn(given, delete(root, id, force=True))
    return code


def _get_ready() -> None:
    """Import what attending a container takes, while it sets itself up: that costs no time then."""
    from buildkit_py.engine import signals, terminal  # noqa: F401


def _start(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    from buildkit_py.runtime.bundle.life import start

    warn(given, start(root_of(given), one(words, START)))
    return 0


def _exec(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    from buildkit_py.runtime.bundle import life
    from buildkit_py.runtime.bundle.execute import execute

    if not words:
        raise BadOption("`pyruntime exec` takes a container's id")
    wishes = _exec_wishes(values, words[1:])
    try:
        made = execute(root_of(given), words[0], wishes)
    except life.CannotRun as error:
        fail(given, error)
        return error.program_code
    if values["detach"]:
        if made.terminal >= 0:
            import signal

            signal.pidfd_send_signal(made.pidfd, signal.SIGKILL)
            raise BadOption("with `--detach` a terminal needs `--console-socket`")
        warn(given, made.warnings)
        return 0
    return _attend(given, made, begin=lambda: made.warnings)


def _exec_wishes(values: dict[str, Value], args: list[str]) -> ExecWishes:
    from buildkit_py.runtime.bundle.execute import ExecWishes

    def many(name: str) -> tuple[str, ...]:
        value = values[name]
        return tuple(value) if isinstance(value, list) else ()

    process = None
    if path := values["process"]:
        process = content(str(path))
    user, preserve = values["user"], values["preserve_fds"]
    return ExecWishes(
        args=tuple(args),
        process=process,
        cwd=str(values["cwd"] or ""),
        env=many("env"),
        user=user if isinstance(user, str) else None,
        groups=many("additional_gids"),
        terminal=bool(values["tty"]),
        add_capabilities=many("cap"),
        no_new_privileges=bool(values["no_new_privs"]),
        apparmor=str(values["apparmor"] or ""),
        label=str(values["process_label"] or ""),
        console_socket=str(values["console_socket"] or ""),
        pid_file=str(values["pid_file"] or ""),
        preserve=preserve if isinstance(preserve, int) else 0,
        ignore_paused=bool(values["ignore_paused"]),
        cgroups=many("cgroup"),
        pidfd_socket=str(values["pidfd_socket"] or ""),
    )


def _attend(given: dict[str, Value], made: Created, *, begin: Callable[[], list[str]]) -> int:
    """Start a program and stay with it; return its exit code, 128+n for signal n."""
    from contextlib import ExitStack

    from buildkit_py.engine.signals import forwarded
    from buildkit_py.engine.terminal import Output, carry_input, keep_line_ends, raw

    child = _Child(made)
    with ExitStack() as stack:
        outputs: list[Output] = []
        if made.terminal >= 0:
            child.fit()
            if not os.isatty(1):
                keep_line_ends(made.terminal)
            if os.isatty(0):
                stack.enter_context(raw(0))
            carry_input(0, os.dup(made.terminal))
            outputs.append(Output(os.dup(made.terminal), 1, "terminal"))
        stack.enter_context(forwarded(child, on_resize=child.fit))
        warn(given, begin())
        end = os.waitid(os.P_PIDFD, made.pidfd, os.WEXITED)
        for output in outputs:
            output.join(2.0)
    assert end is not None
    return end.si_status if end.si_code == os.CLD_EXITED else 128 + end.si_status


class _Child:
    """A container's first process, which is our child, for signals and the terminal's size."""

    def __init__(self, made: Created) -> None:
        self.made = made

    def kill(self, number: int = 9) -> None:
        import signal

        try:
            signal.pidfd_send_signal(self.made.pidfd, number)
        except ProcessLookupError:
            return

    def fit(self) -> None:
        from buildkit_py.runtime.kernel.processes import set_window_size

        for fd in (0, 1, 2):
            if os.isatty(fd) and self.made.terminal >= 0:
                size = os.get_terminal_size(fd)
                set_window_size(self.made.terminal, size.lines, size.columns)
                return


COMMANDS = {
    "create": (CREATE, _create),
    "run": (RUN, _run),
    "start": (START, _start),
    "exec": (EXEC, _exec),
}
