"""What the metadata instructions do to an image config. Every function is pure.

Values arrive expanded. Source of the exact results: BuildKit dockerfile2llb/convert.go and
convert_expose.go, moby/sys/signal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from buildkit_py.core.data import replace
from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Span
from buildkit_py.dockerfile import golang
from buildkit_py.dockerfile.ast import ExecForm, Healthcheck, ShellForm
from buildkit_py.dockerfile.durations import duration_ns
from buildkit_py.oci.image import ContainerConfig
from buildkit_py.oci.image import Healthcheck as HealthcheckConfig
from buildkit_py.runtime.spec import DEFAULT_PATH

DEFAULT_SHELL = ("/bin/sh", "-c")
SIGNALS = frozenset(
    "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT"
    " STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX".split()
)
_REAL_TIME = 15
"""RTMIN+1 to RTMIN+15, RTMAX-1 to RTMAX-14."""


class BadPort(InputError):
    code = "dockerfile/bad-port"


class BadSignal(InputError):
    code = "dockerfile/bad-signal"


def set_env(env: Sequence[str], name: str, value: str) -> tuple[str, ...]:
    """Return `env` with NAME=value in the place of the old one, or at the end."""
    out = list(env)
    for at, each in enumerate(out):
        if each.partition("=")[0] == name:
            out[at] = f"{name}={value}"
            return tuple(out)
    return (*env, f"{name}={value}")


def with_path(config: ContainerConfig) -> ContainerConfig:
    """Add the default PATH where the image has none."""
    if any(each.startswith("PATH=") for each in config.env):
        return config
    return replace(config, env=(*config.env, f"PATH={DEFAULT_PATH}"))


def with_shell(shell: Sequence[str] | None, command: ShellForm | ExecForm) -> tuple[str, ...]:
    """Return the argv of CMD, ENTRYPOINT or RUN: a shell form gets the shell in front."""
    if isinstance(command, ExecForm):
        return tuple(word.text for word in command.words)
    return (*(shell or DEFAULT_SHELL), command.text.text)


def exposed_ports(specs: Iterable[str], at: Span) -> tuple[str, ...]:
    """Return `80/tcp` for each port of EXPOSE: `[[ip:]host:]port[-port][/protocol]`."""
    ports: list[str] = []
    for spec in specs:
        host, _, port = spec.rpartition(":")
        port, _, protocol = port.partition("/")
        protocol = protocol.lower() or "tcp"
        if protocol not in ("tcp", "udp", "sctp"):
            raise BadPort(
                f"invalid proto `{protocol}` in `{spec}`",
                at=at,
                hint="a port's protocol is `tcp`, `udp` or `sctp`",
            )
        first, last = _port_range(port, f"invalid container port `{port}`", spec, at)
        host_port = host.rpartition(":")[2]
        if host_port:
            low, high = _port_range(host_port, f"invalid host port `{host_port}`", spec, at)
            if high - low != last - first and first != last:
                raise BadPort(f"the port ranges `{port}` and `{host_port}` differ in length", at=at)
        ports += [f"{number}/{protocol}" for number in range(first, last + 1)]
    return tuple(ports)


def _port_range(text: str, complaint: str, spec: str, at: Span) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = [first, last if dash else first]
    if not all(n.isascii() and n.isdecimal() and len(n) < 8 and int(n) <= 65535 for n in numbers):
        raise BadPort(
            complaint if text else f"no port in `{spec}`",
            at=at,
            hint="a port is a number from 0 to 65535, or a range such as `8000-8010`",
        )
    low, high = int(numbers[0]), int(numbers[1])
    if high < low:
        raise BadPort(f"invalid port range `{text}`: it runs backwards", at=at)
    return low, high


def check_signal(text: str, at: Span) -> str:
    """Return the signal as written, if there is such a signal."""
    if text.isascii() and text.isdecimal():
        if int(text) != 0:
            return text
    else:
        name = text.upper().removeprefix("SIG")
        base, sign, number = name[:5], name[5:6], name[6:]
        real_time = (base, sign) in (("RTMIN", "+"), ("RTMAX", "-"))
        if name in SIGNALS:
            return text
        if real_time and number.isascii() and number.isdecimal() and len(number) < 3:
            most = _REAL_TIME if base == "RTMIN" else _REAL_TIME - 1
            if 1 <= int(number) <= most:
                return text
    raise BadSignal(
        f"invalid signal `{text}`", at=at, hint="use a name such as `SIGTERM`, or a number"
    )


def healthcheck(instruction: Healthcheck) -> HealthcheckConfig:
    """Return what HEALTHCHECK puts into the config; the parser has checked its flags."""
    command = instruction.command
    if command is None:
        return HealthcheckConfig(test=("NONE",))
    if isinstance(command, ExecForm):
        test = ("CMD", *(word.text for word in command.words))
    else:
        test = ("CMD-SHELL", command.text.text)
    given = {flag.name: flag.value or "0" for flag in instruction.flags}
    return HealthcheckConfig(
        test=test,
        interval=duration_ns(given.get("interval", "0")),
        timeout=duration_ns(given.get("timeout", "0")),
        start_period=duration_ns(given.get("start-period", "0")),
        start_interval=duration_ns(given.get("start-interval", "0")),
        retries=int(given.get("retries", "0")),
    )


def healthcheck_text(health: HealthcheckConfig) -> str:
    """Return a health check as BuildKit writes it into the history: a Go struct."""
    return (
        f"{{Test:{golang.plain_list(health.test)}"
        f" Interval:{golang.format_duration(health.interval)}"
        f" Timeout:{golang.format_duration(health.timeout)}"
        f" StartPeriod:{golang.format_duration(health.start_period)}"
        f" StartInterval:{golang.format_duration(health.start_interval)}"
        f" Retries:{health.retries}}}"
    )
