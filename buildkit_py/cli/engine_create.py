"""`pyengine create` and `run -d`: docker's options to a ContainerRequest."""

from __future__ import annotations

import sys

from buildkit_py.cli.engine_containers import changing
from buildkit_py.cli.engine_images import platform_of, text_of, texts_of, wrong_arguments
from buildkit_py.cli.engine_run import LASTING, RUN, make_request
from buildkit_py.cli.reader import Command, read
from buildkit_py.core.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit_py.cli.reader import Value
    from buildkit_py.engine.containers import ContainerRequest, RestartPolicy
    from buildkit_py.oci.image import Healthcheck
    from buildkit_py.oci.reference import Reference

CREATE = Command(
    "pyengine create",
    "Make a container that does not run yet, and print its id.",
    tuple(option for option in RUN.options if option.name != "detach"),
    arguments=RUN.arguments,
    options_first=True,
    unsupported=RUN.unsupported,
)


def run_create(argv: Sequence[str]) -> int:
    values, arguments = read(CREATE, argv)
    print(_create(CREATE, values, arguments, start=False))
    return 0


def run_detached(values: dict[str, Value], arguments: Sequence[str]) -> int:
    """Make a container and start it, as `run -d` does; it stays where it cannot be started."""
    from buildkit_py.cli.common import report
    from buildkit_py.engine.containers import CannotStart

    try:
        print(_create(RUN, values, arguments, start=True))
    except CannotStart as error:
        report(error)
        return error.code_of_program
    return 0


def _create(
    command: Command, values: dict[str, Value], arguments: Sequence[str], *, start: bool
) -> str:
    if not arguments:
        raise wrong_arguments(command, "needs an image")
    from buildkit_py.cli.notices import tell_news, tell_unkept
    from buildkit_py.engine.events import News

    request = lasting_request(values, arguments)
    with changing(values) as engine:
        spec = engine.create(request, on_pull=_on_pull)
        tell_unkept(engine, spec)
        if start:
            news = News(engine.root, spec.group)
            try:
                engine.start(engine.find(spec.id))
                tell_news(news)
            except BaseException:
                if request.auto_remove:
                    engine.remove(engine.find(spec.id), force=True, volumes=True)
                raise
    return spec.id


def _on_pull(reference: Reference) -> None:
    from buildkit_py.cli.engine_images import pulling

    print(
        f"Unable to find image '{reference.familiar}' locally\n{pulling(reference)}",
        file=sys.stderr,
        flush=True,
    )


def lasting_request(values: dict[str, Value], arguments: Sequence[str]) -> ContainerRequest:
    """Return the request of a command line for a container that lasts."""
    from buildkit_py.engine.containers import ContainerRequest, NetworkUse
    from buildkit_py.engine.log_bounds import parse as parse_log
    from buildkit_py.engine.security_options import no_new_privileges

    short = make_request({**values, "network": "default"}, arguments)
    mode = text_of(values, "network") or "default"
    named = mode not in ("default", "bridge", "host", "none")
    if mode.startswith("container:"):
        raise InputError(f"`--network {mode}` is not supported yet", code="cli/bad-choice")
    aliases = tuple(texts_of(values, "network_alias"))
    if (aliases or text_of(values, "ip")) and not named:
        raise InputError(
            "network-scoped aliases and addresses are only supported for user-defined networks",
            code="cli/bad-choice",
        )
    if short.ports and mode in ("host", "none"):
        raise InputError(
            f"ports cannot be published with `--network {mode}`",
            code="engine/cannot-publish",
            hint="leave `-p` or `--network` away",
        )
    return ContainerRequest(
        image=short.image,
        platform=platform_of(values),
        name=short.name,
        command=short.command or None,
        entrypoint=None
        if short.entrypoint is None
        else (short.entrypoint,)
        if short.entrypoint
        else (),
        env=short.env,
        labels=short.labels,
        volumes=short.volumes,
        tmpfs=short.tmpfs,
        workdir=short.workdir,
        user=short.user,
        groups=tuple(texts_of(values, "group_add")),
        hostname=short.hostname,
        domainname=text_of(values, "domainname"),
        hosts=short.hosts,
        network_mode="host" if mode == "host" else "none" if mode == "none" else "networks",
        networks=(NetworkUse(mode, aliases, text_of(values, "ip")),) if named else (),
        ports=short.ports,
        read_only=short.read_only,
        init=bool(values["init"]),
        cap_add=tuple(texts_of(values, "cap_add")),
        cap_drop=tuple(texts_of(values, "cap_drop")),
        no_new_privileges=no_new_privileges(texts_of(values, "security_opt")),
        sysctls=dict(_pair(text, "--sysctl") for text in texts_of(values, "sysctl")),
        limits=short.limits,
        rlimits=short.rlimits,
        shm_bytes=short.shm_bytes,
        terminal=short.terminal,
        stdin_open=short.interactive,
        restart=restart_policy(text_of(values, "restart") or "no"),
        healthcheck=_healthcheck(values),
        stop_signal=text_of(values, "stop_signal"),
        stop_seconds=_stop_seconds(values),
        log=parse_log(
            text_of(values, "log_driver"),
            dict(_pair(text, "--log-opt") for text in texts_of(values, "log_opt")),
        ),
        auto_remove=bool(values["rm"]),
        pull=short.pull,
    )


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"`{option} {text}` is not NAME=VALUE", code="cli/bad-option")
    return name, value


def restart_policy(text: str) -> RestartPolicy:
    """Read `no`, `always`, `unless-stopped`, `on-failure[:N]`."""
    from buildkit_py.engine.containers import RestartPolicy

    name, colon, most = text.partition(":")
    match name:
        case "no" | "always" | "unless-stopped" if not colon:
            return RestartPolicy(name)
        case "on-failure" if not colon or (most.isascii() and most.isdigit()):
            return RestartPolicy("on-failure", int(most or 0))
    raise InputError(
        f"invalid restart policy `{text}`",
        code="cli/bad-choice",
        hint="`no`, `always`, `unless-stopped` or `on-failure[:MOST]`",
    )


def _healthcheck(values: dict[str, Value]) -> Healthcheck | None:
    from buildkit_py.dockerfile.durations import duration_ns
    from buildkit_py.oci.image import Healthcheck

    if values["no_healthcheck"]:
        return Healthcheck(("NONE",))

    def time(name: str) -> int:
        text = text_of(values, f"health_{name}")
        try:
            return duration_ns(text) if text else 0
        except ValueError as error:
            raise InputError(
                f"`--health-{name.replace('_', '-')} {text}` {error}", code="cli/bad-number"
            ) from None

    command = text_of(values, "health_cmd")
    retries = values["health_retries"]
    check = Healthcheck(
        ("CMD-SHELL", command) if command else (),
        time("interval"),
        time("timeout"),
        time("start_period"),
        time("start_interval"),
        retries if isinstance(retries, int) else 0,
    )
    return None if check == Healthcheck() else check


def _stop_seconds(values: dict[str, Value]) -> float | None:
    text = text_of(values, "stop_timeout")
    try:
        return float(text) if text else None
    except ValueError:
        raise InputError(f"invalid `--stop-timeout` `{text}`", code="cli/bad-number") from None


def refuse_lasting(values: dict[str, Value]) -> None:
    """Raise for an option that a container in the foreground does not have yet."""
    for option in LASTING:
        if values[option.name] != option.default:
            raise InputError(
                f"`{option.names[-1]}` is not supported without `-d` yet",
                code="cli/unsupported-option",
            )


COMMANDS: dict[str, tuple[Command, Callable[[Sequence[str]], int]]] = {
    "create": (CREATE, run_create)
}
