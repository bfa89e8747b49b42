"""`pyengine run`: docker's options to a RunRequest, and what people see meanwhile."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.engine_images import (
    ROOT,
    platform_of,
    pulling,
    root_of,
    text_of,
    texts_of,
    told,
    wrong_arguments,
)
from buildkit_py.cli.paint import print_notice
from buildkit_py.cli.reader import Command, Option, read
from buildkit_py.core.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit_py.cli.reader import Value
    from buildkit_py.engine.request import RunRequest
    from buildkit_py.oci.reference import Reference
    from buildkit_py.runtime.spec import Limits

LASTING = (
    Option("--cap-add", "list", "Add a capability, or ALL", metavar="NAME"),
    Option("--cap-drop", "list", "Take a capability away, or ALL", metavar="NAME"),
    Option("--domainname", "text", "NIS domain name", metavar="NAME"),
    Option("--group-add", "list", "Add a group", metavar="NAME|GID"),
    Option("--health-cmd", "text", "Check the health with a shell command", metavar="COMMAND"),
    Option("--health-interval", "text", "Time between checks (30s)", metavar="DURATION"),
    Option("--health-retries", "number", "Failures before it is unhealthy (3)", metavar="NUMBER"),
    Option("--health-start-interval", "text", "Time between checks at the start (5s)",
           metavar="DURATION"),
    Option("--health-start-period", "text", "Time in which failures do not count",
           metavar="DURATION"),
    Option("--health-timeout", "text", "Time that a check may take (30s)", metavar="DURATION"),
    Option("--init", "flag", "Let a first process of ours reap orphans and hand signals on"),
    Option("--ip", "text", "Address in its network", metavar="IP"),
    Option("--log-driver", "text", "json-file or local", metavar="DRIVER"),
    Option("--log-opt", "list", "Bound of its log: max-size, max-file", metavar="NAME=VALUE"),
    Option("--net-alias --network-alias", "list", "Further name in its network", metavar="NAME"),
    Option("--no-healthcheck", "flag", "Leave the image's health check away"),
    Option("--restart", "text", "no, always, unless-stopped or on-failure[:MOST]",
           metavar="POLICY"),
    Option("--security-opt", "list", "no-new-privileges", metavar="OPTION"),
    Option("--stop-signal", "text", "Signal that stops it", metavar="NAME"),
    Option("--stop-timeout", "text", "Seconds before it is killed (10)", metavar="SECONDS"),
    Option("--sysctl", "list", "Set a kernel parameter of its own", metavar="NAME=VALUE"),
)  # fmt: skip
"""Options of containers that last; without `-d` they are refused."""

RUN = Command(
    "pyengine run",
    "Run a program in a new container of an image, in the foreground, and exit as it exits."
    " What it writes to its root file system is gone afterwards, with or without --rm."
    " With -d it lasts: `pyengine ps`, `logs`, `stop`, `rm`.",
    (
        *LASTING,
        Option("-d --detach", "flag", "Let it run on its own, and print its id"),
        Option("--add-host", "list", "Add a line to /etc/hosts", metavar="NAME:IP"),
        Option("--cpus", "text", "Number of processors", metavar="NUMBER"),
        Option("--entrypoint", "text", "Program instead of the image's ENTRYPOINT",
               metavar="PROGRAM"),
        Option("-e --env", "list", "Set a variable; without a value, from the environment",
               metavar="NAME[=VALUE]"),
        Option("--env-file", "list", "Read variables from a file", metavar="PATH"),
        Option("-h --hostname", "text", "Host name of the container", metavar="NAME"),
        Option("-i --interactive", "flag", "Give it our standard input"),
        Option("-l --label", "list", "Set a label; nothing shows it yet", metavar="NAME=VALUE"),
        Option("-m --memory", "text", "Limit of memory", metavar="SIZE"),
        Option("--memory-reservation", "text", "Memory that it keeps when there is little",
               metavar="SIZE"),
        Option("--memory-swap", "text", "Limit of memory and swap together; -1 is none",
               metavar="SIZE"),
        Option("--name", "text", "Name of the container; nothing shows it yet", metavar="NAME"),
        Option("--net --network", "text", "default, bridge, host or none", metavar="MODE"),
        Option("--pids-limit", "text", "Number of processes and threads; -1 is no limit",
               metavar="NUMBER"),
        Option("--platform", "text", "Platform of the image", metavar="OS/ARCH"),
        Option("-p --publish", "list", "Publish a port", metavar="[[IP:]HOST:]PORT[/udp]"),
        Option("--pull", "text", "missing, always or never", metavar="WHEN", default="missing"),
        Option("--read-only", "flag", "Root file system that cannot be written"),
        Option("--rm", "flag", "Remove it at its end; without -d it always is"),
        ROOT,
        Option("--shm-size", "text", "Size of /dev/shm", metavar="SIZE"),
        Option("--tmpfs", "list", "Mount a tmpfs", metavar="PATH[:OPTION,...]"),
        Option("-t --tty", "flag", "Give it a terminal"),
        Option("--ulimit", "list", "Limit of its processes", metavar="NAME=SOFT[:HARD]"),
        Option("-u --user", "text", "User, and group", metavar="NAME|UID[:GROUP]"),
        Option("-v --volume", "list", "Mount a directory or a volume",
               metavar="[SOURCE:]TARGET[:ro]"),
        Option("-w --workdir", "text", "Working directory", metavar="PATH"),
    ),
    arguments="IMAGE [COMMAND [ARGUMENTS]]",
    options_first=True,
    unsupported=(
        "-a", "--annotation", "--attach", "--blkio-weight", "--blkio-weight-device", "-c",
        "--cgroup-parent", "--cgroupns", "--cidfile", "--cpu-count",
        "--cpu-percent", "--cpu-period", "--cpu-quota", "--cpu-rt-period", "--cpu-rt-runtime",
        "--cpu-shares", "--cpuset-cpus", "--cpuset-mems", "--detach-keys",
        "--device", "--device-cgroup-rule", "--device-read-bps", "--device-read-iops",
        "--device-write-bps", "--device-write-iops", "--disable-content-trust", "--dns",
        "--dns-option", "--dns-search", "--expose", "--gpus",

        "--io-maxbandwidth", "--io-maxiops",
        "--ip6", "--ipc", "--isolation", "--label-file", "--link", "--link-local-ip",
        "--mac-address",
        "--memory-swappiness", "--mount", "--net-rate",
        "--on-unhealthy", "--oom-kill-disable", "--oom-score-adj", "-P",
        "--pid", "--privileged", "--publish-all", "--publish-mode", "-q", "--quiet",
        "--runtime", "--sig-proxy",
        "--storage-opt", "--userns", "--uts", "--volume-driver", "--volumes-from",
    ),
)  # fmt: skip


def run_run(argv: Sequence[str]) -> int:
    """Run a container; return its exit code."""
    values, arguments = read(RUN, argv)
    if not arguments:
        raise wrong_arguments(RUN, "needs an image")
    if values["detach"]:
        from buildkit_py.cli.engine_create import run_detached

        return run_detached(values, arguments)
    if any(values[each.name] != each.default for each in LASTING):
        from buildkit_py.cli.engine_create import refuse_lasting

        refuse_lasting(values)
    if values["tty"] and values["interactive"] and not os.isatty(0):
        # docker's client says just this, with 1 and not 125.
        print("the input device is not a TTY", file=sys.stderr)
        return 1
    request = make_request(values, arguments)
    from buildkit_py.core.dirs import run_dir
    from buildkit_py.runtime.userns import enter

    run_files = run_dir()
    root = root_of(values)
    host = enter()
    from buildkit_py.runtime.zygote import Zygote

    with Zygote.start(host) as zygote:
        from buildkit_py.cli.common import end_in_order
        from buildkit_py.core.signals import miss_none
        from buildkit_py.engine.run import Talk, run

        end_in_order()
        miss_none()
        looked = request.pull != "always"
        talk = Talk(print_notice, lambda reference: _on_pull(reference, looked=looked), told(_say))
        end = run(request, root=root, host=host, zygote=zygote, run_dir=run_files, talk=talk)
    if end.message:
        _say(f"pyengine: {end.message}")
    return end.code


def _say(text: str) -> None:
    import contextlib

    from buildkit_py.core.draw import printable

    # When our terminal or the reader of our stderr is gone, the program's end still counts.
    with contextlib.suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)


def _on_pull(reference: Reference, *, looked: bool) -> None:
    if looked:
        _say(f"Unable to find image '{reference.familiar}' locally")
    _say(pulling(reference))


def make_request(values: dict[str, Value], arguments: Sequence[str]) -> RunRequest:
    """Return the request of a command line, with the environment's part of it."""
    from typing import cast

    from buildkit_py.build.limits import parse_hosts, parse_ulimits
    from buildkit_py.engine.command import read_variables
    from buildkit_py.engine.mounts import parse_tmpfs, parse_volume
    from buildkit_py.engine.request import NetworkMode, PullPolicy, RunRequest
    from buildkit_py.runtime.network import publish

    entrypoint = values["entrypoint"]
    cwd = os.getcwd()
    return RunRequest(
        image=arguments[0],
        platform=platform_of(values),
        command=tuple(arguments[1:]),
        entrypoint=entrypoint if isinstance(entrypoint, str) else None,
        env=(
            *from_files(texts_of(values, "env_file")),
            *read_variables(texts_of(values, "env"), os.environ),
        ),
        volumes=tuple(parse_volume(text, cwd=cwd) for text in texts_of(values, "volume")),
        tmpfs=tuple(parse_tmpfs(text) for text in texts_of(values, "tmpfs")),
        workdir=text_of(values, "workdir"),
        user=text_of(values, "user"),
        interactive=bool(values["interactive"]),
        terminal=bool(values["tty"]),
        network=cast(
            NetworkMode,
            _one_of("--network", text_of(values, "network") or "default",
                    ("default", "bridge", "host", "none")),
        ),
        ports=tuple(
            port for text in texts_of(values, "publish") for port in publish.parse(text)
        ),
        name=text_of(values, "name"),
        hostname=text_of(values, "hostname"),
        hosts=parse_hosts(texts_of(values, "add_host")),
        read_only=bool(values["read_only"]),
        limits=_limits(values),
        rlimits=parse_ulimits(texts_of(values, "ulimit")),
        shm_bytes=size_of(values, "shm_size"),
        labels={
            text.partition("=")[0]: text.partition("=")[2] for text in texts_of(values, "label")
        },
        pull=cast(
            PullPolicy,
            _one_of("--pull", text_of(values, "pull"), ("missing", "always", "never")),
        ),
    )  # fmt: skip


def from_files(paths: Sequence[str]) -> list[str]:
    """Return the variables of `--env-file`s."""
    from buildkit_py.engine.command import read_environment_file

    variables = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise InputError(
                f"cannot read `{path}`: {error.strerror}", code="cli/cannot-open"
            ) from None
        variables += read_environment_file(data, path, os.environ)
    return variables


def _one_of(option: str, text: str, known: Sequence[str]) -> str:
    if text not in known:
        raise InputError(
            f"`{option} {text}` is not supported yet",
            code="cli/bad-choice",
            hint=f"one of {', '.join(known)}",
        )
    return text


def size_of(values: dict[str, Value], name: str) -> int:
    """Return a size in bytes, 0 when none was given."""
    from buildkit_py.engine.mounts import parse_size

    text = text_of(values, name)
    try:
        return parse_size(text) if text else 0
    except ValueError:
        raise InputError(
            f"invalid size `{text}` for `--{name.replace('_', '-')}`",
            code="cli/bad-size",
            hint="such as `64m`",
        ) from None


def _limits(values: dict[str, Value]) -> Limits:
    from buildkit_py.runtime.spec import Limits

    swap = text_of(values, "memory_swap")
    return Limits(
        memory_bytes=size_of(values, "memory"),
        reservation_bytes=size_of(values, "memory_reservation"),
        swap_bytes=-1 if swap == "-1" else size_of(values, "memory_swap"),
        cpus=_cpus(text_of(values, "cpus")),
        pids=_pids(text_of(values, "pids_limit")),
    )


def _cpus(text: str) -> float:
    try:
        cpus = float(text or 0)
    except ValueError:
        cpus = -1.0
    if not 0 <= cpus < 1 << 20:
        raise InputError(f"invalid `--cpus` `{text}`", code="cli/bad-number", hint="such as `1.5`")
    return cpus


def _pids(text: str) -> int:
    """Return the number; 0 and less are no limit, as docker has it."""
    try:
        return max(int(text or 0), 0)
    except ValueError:
        raise InputError(f"invalid `--pids-limit` `{text}`", code="cli/bad-number") from None


COMMANDS: dict[str, tuple[Command, Callable[[Sequence[str]], int]]] = {"run": (RUN, run_run)}
