"""A service of the model made what the engine is asked for.

`carried.check` has found before that all of it can be carried out, `values.check` that it is right.
"""

from __future__ import annotations

import os

from buildkit_py import __version__
from buildkit_py.compose.errors import BadValue
from buildkit_py.compose.grants import FILES_LABEL
from buildkit_py.core.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit_py.compose import model
    from buildkit_py.compose.grants import Contents
    from buildkit_py.engine.containers import ContainerRequest, FileRequest, RestartPolicy
    from buildkit_py.engine.log_bounds import LogBounds
    from buildkit_py.engine.mounts import VolumeRequest
    from buildkit_py.oci.image import Healthcheck
    from buildkit_py.oci.platform import Platform
    from buildkit_py.runtime.network.publish import Port
    from buildkit_py.runtime.spec import Limits, Tmpfs

LABEL = "com.docker.compose."


def image_of(project: str, service: model.Service) -> str:
    return service.image or f"{project}-{service.name}"


def platform_of(project: model.Project, service: model.Service) -> Platform:
    """Return the platform of a service: its own, the environment's, or this machine's."""
    from buildkit_py.oci.platform import machine_platform, parse_platform

    text = service.platform or project.environment.get("DOCKER_DEFAULT_PLATFORM")
    return parse_platform(text) if text else machine_platform(os.uname().machine)


def faults(project: model.Project, contents: Contents) -> list[InputError]:
    """Return what is wrong with the values of services, before anything is begun."""
    found: list[InputError] = []
    for name, service in project.services.items():
        try:
            request_of(project, service, name=name, labels={}, contents=contents)
        except InputError as error:
            error.at = error.at or project.at("services", name)
            found.append(error)
    return found


def labels_of(
    project: model.Project,
    service: model.Service,
    number: int,
    hash: str,
    *,
    files: str = "",
    oneoff: str = "",
    replaces: str = "",
) -> dict[str, str]:
    """Return a container's labels, those of docker compose among them.

    files: the digest of its files; oneoff: the slug of one made by `run`
    replaces: id of the container whose place it takes
    """
    needs = ",".join(
        f"{name}:{each.condition}:{str(each.restart).lower()}"
        for name, each in service.depends_on.items()
    )
    made = {
        **service.labels,
        f"{LABEL}config-hash": hash,
        f"{LABEL}container-number": str(number),
        f"{LABEL}depends_on": needs,
        f"{LABEL}oneoff": "True" if oneoff else "False",
        f"{LABEL}project": project.name,
        f"{LABEL}project.config_files": ",".join(project.files),
        f"{LABEL}project.working_dir": project.folder,
        f"{LABEL}service": service.name,
        f"{LABEL}version": __version__,
    }
    if oneoff:
        made[f"{LABEL}slug"] = oneoff
    if replaces:
        made[f"{LABEL}replace"] = replaces
    if files:
        made[FILES_LABEL] = files
    return made


def request_of(
    project: model.Project,
    service: model.Service,
    *,
    name: str,
    labels: Mapping[str, str],
    contents: Contents,
    aliases: bool = True,
    kept: Mapping[str, str] | None = None,
) -> ContainerRequest:
    """Return what the engine is asked for. `carried.check` found nothing before.

    aliases: whether it answers to the service's name and aliases
    kept: volumes without a name that the container had, by target: they go on in this one
    Raises ComposeError.
    """
    from buildkit_py.engine.containers import ContainerRequest, NetworkUse
    from buildkit_py.engine.security_options import no_new_privileges

    uses = sorted(service.networks.items(), key=lambda item: (-item[1].priority, item[0]))
    grace = service.stop_grace_period_ns
    others = service.others
    return ContainerRequest(
        image=image_of(project.name, service),
        platform=platform_of(project, service),
        name=name,
        command=service.command,
        entrypoint=service.entrypoint,
        env=tuple(
            key if value is None else f"{key}={value}"
            for key, value in service.environment.items()
        ),
        labels=labels,
        image_label=f"{LABEL}image",
        volumes=_volumes(project, service, kept or {}),
        tmpfs=_tmpfs(service),
        files=_files(service, contents),
        workdir=service.working_dir or "",
        user=service.user or "",
        hostname=service.hostname or "",
        domainname=service.domainname or "",
        hosts=tuple(_host(project, service, at) for at in range(len(service.extra_hosts))),
        network_mode=(
            "host" if service.network_mode == "host"
            else "none" if service.network_mode == "none" else "networks"
        ),
        networks=tuple(
            NetworkUse(
                project.networks[key].name,
                tuple(dict.fromkeys((service.name, *use.aliases))) if aliases else (),
                use.ipv4_address or "",
            )
            for key, use in uses
        ),
        ports=_ports(service),
        exposed_ports=_exposed_ports(project, service),
        read_only=service.read_only,
        init=bool(service.init),
        cap_add=service.cap_add,
        cap_drop=service.cap_drop,
        no_new_privileges=no_new_privileges(others.get("security_opt") or ()),
        limits=_limits(service),
        sysctls={str(key): str(value) for key, value in (others.get("sysctls") or {}).items()},
        rlimits=rlimits_of(service.others.get("ulimits") or {}),
        shm_bytes=int(others.get("shm_size") or 0),
        groups=tuple(str(each) for each in others.get("group_add") or ()),
        terminal=service.tty,
        stdin_open=service.stdin_open,
        restart=_restart(service),
        healthcheck=_healthcheck(service),
        stop_signal=service.stop_signal or "",
        stop_seconds=None if grace is None else grace / 1e9,
        log=_log(project, service),
        pull="never",  # what is missing was pulled or built before
    )  # fmt: skip


def _limits(service: model.Service) -> Limits:
    from buildkit_py.runtime.spec import Limits

    given = service.limits
    return Limits(
        memory_bytes=given.memory_bytes or 0,
        swap_bytes=given.memory_swap_bytes or 0,
        reservation_bytes=given.memory_reservation_bytes or 0,
        cpus=round(float(given.cpus or 0), 6),  # read as 32 bits, as compose-go does
        pids=max(given.pids or 0, 0),
    )


def _ports(service: model.Service) -> tuple[Port, ...]:
    from buildkit_py.runtime.network.publish import parse

    ports: list[Port] = []
    for port in service.ports:
        address = port.host_ip or ""
        if ":" in address:
            address = f"[{address.strip('[]')}]"
        published = port.published or ""
        host = f"{address}:{published}:" if address else f"{published}:" if published else ""
        ports += parse(f"{host}{port.target}/{port.protocol}")
    return tuple(ports)


def _exposed_ports(project: model.Project, service: model.Service) -> tuple[str, ...]:
    from buildkit_py.dockerfile.config import exposed_ports

    if not service.expose:
        return ()
    return exposed_ports(service.expose, project.at("services", service.name, "expose"))


def _volumes(
    project: model.Project, service: model.Service, kept: Mapping[str, str]
) -> tuple[VolumeRequest, ...]:
    from buildkit_py.engine.mounts import VolumeRequest

    found: dict[str, VolumeRequest] = {
        target: VolumeRequest("volume", name, target) for target, name in kept.items()
    }
    for at, mount in enumerate(service.mounts):
        target = os.path.normpath(mount.target)
        copy = not mount.options.get("nocopy", False)
        source = mount.source or ""
        if mount.kind == "bind":
            if not mount.create_host_path and not os.path.lexists(source):
                raise BadValue(
                    f"there is no `{source}` to mount",
                    at=project.at("services", service.name, "volumes", str(at), "source"),
                )
            found[target] = VolumeRequest("bind", source, target, mount.read_only)
        elif mount.kind == "volume" and source:
            name = project.volumes[source].name
            found[target] = VolumeRequest("volume", name, target, mount.read_only, copy)
        elif mount.kind == "volume" and target not in kept:
            found[target] = VolumeRequest("anonymous", "", target, mount.read_only, copy)
    return tuple(found.values())


def _tmpfs(service: model.Service) -> tuple[Tmpfs, ...]:
    from buildkit_py.engine.mounts import parse_tmpfs
    from buildkit_py.runtime.spec import Tmpfs

    made = [parse_tmpfs(text) for text in service.tmpfs]
    for mount in service.mounts:
        if mount.kind == "tmpfs":
            mode = mount.options.get("mode")
            made.append(
                Tmpfs(
                    mount.target,
                    int(mount.options.get("size") or 0),
                    0o1777 if mode is None else mode if type(mode) is int else int(mode, 8),
                    mount.read_only,
                    allowed=(),
                )
            )
    return tuple(made)


def _files(service: model.Service, contents: Contents) -> tuple[FileRequest, ...]:
    from buildkit_py.engine.containers import FileRequest

    made = []
    for section, granted in (("secrets", service.secrets), ("configs", service.configs)):
        for each in granted:
            data = contents[section, each.source]
            made.append(
                FileRequest(
                    each.target, data, 0o444 if each.mode is None else each.mode,
                    int(each.uid or 0), int(each.gid or 0),
                )
            )  # fmt: skip
    return tuple(made)


def _host(project: model.Project, service: model.Service, at: int) -> tuple[str, str]:
    text = service.extra_hosts[at]
    name, sign, address = text.partition("=" if "=" in text else ":")
    if not sign or not name or not address:
        place = project.at("services", service.name, "extra_hosts", str(at))
        raise BadValue(f"`{text}` is not NAME=ADDRESS", at=place)
    return name, address.strip("[]")


def rlimits_of(given: Mapping[str, object]) -> dict[str, tuple[int, int]]:
    """Return resource limits by name, soft and hard; -1 is no limit, as the engine has it."""
    made = {}
    for name, value in given.items():
        if isinstance(value, dict):
            made[name] = (int(value["soft"]), int(value["hard"]))
        else:
            made[name] = (int(str(value)), int(str(value)))
    return made


def _log(project: model.Project, service: model.Service) -> LogBounds:
    from buildkit_py.engine.log_bounds import parse

    given = service.others.get("logging") or {}
    options = {key: str(value) for key, value in (given.get("options") or {}).items()}
    try:
        return parse(given.get("driver") or "", options)
    except InputError as error:
        error.at = project.at("services", service.name, "logging")
        raise


def _restart(service: model.Service) -> RestartPolicy:
    from buildkit_py.engine.containers import RestartPolicy

    policy = (service.others.get("deploy") or {}).get("restart_policy")
    if policy is not None:
        match policy.get("condition", "any"):
            case "none" | "no":
                return RestartPolicy("no")
            case "on-failure":
                return RestartPolicy("on-failure", int(policy.get("max_attempts") or 0))
            case "unless-stopped":
                return RestartPolicy("unless-stopped")
            case _:
                return RestartPolicy("always")
    name, _, most = (service.restart or "no").partition(":")
    match name:
        case "no" | "always" | "unless-stopped":
            return RestartPolicy(name)
        case _:
            return RestartPolicy("on-failure", int(most or 0))


def _healthcheck(service: model.Service) -> Healthcheck | None:
    from buildkit_py.oci.image import Healthcheck

    check = service.healthcheck
    if check is None:
        return None
    if check.disable:
        return Healthcheck(("NONE",))
    return Healthcheck(
        check.test,
        check.interval_ns or 0,
        check.timeout_ns or 0,
        check.start_period_ns or 0,
        check.start_interval_ns or 0,
        check.retries or 0,
    )
