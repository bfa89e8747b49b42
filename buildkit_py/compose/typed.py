"""A bound project made a typed one: `model.Project`."""

from __future__ import annotations

from buildkit_py.compose import model
from buildkit_py.compose.units import duration_ns
from buildkit_py.core.data import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from buildkit_py.compose.project import Project

    Data = dict[str, Any]


class _Rest:
    """The keys of one part that nobody has asked for yet."""

    def __init__(self, data: Data) -> None:
        self.data = dict(data)

    def take(self, key: str, default: Any = None) -> Any:
        return self.data.pop(key, default)

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(self.take(key, ()))

    def time(self, key: str) -> int | None:
        text = self.take(key)
        return None if text is None else duration_ns(text)

    def size(self, key: str) -> int | None:
        text = self.take(key)
        return None if text is None else int(text)

    def table(self, key: str, make: Callable[[Data], Any]) -> dict[str, Any]:
        return {name: make(part or {}) for name, part in (self.take(key) or {}).items()}

    def many(self, key: str, make: Callable[[Data], Any]) -> tuple[Any, ...]:
        return tuple(make(part) for part in self.take(key) or ())

    def one(self, key: str, make: Callable[[Data], Any]) -> Any:
        part = self.take(key)
        return None if part is None else make(part)


def typed(project: Project) -> model.Project:
    """Return a project as the engine reads it."""
    rest = _Rest(project.values)
    for section in ("name", "services", "networks", "volumes", "secrets", "configs"):
        rest.take(section)
    return model.Project(
        name=project.name,
        folder=project.folder,
        files=tuple(project.files),
        services={name: _service(name, part) for name, part in project.services.items()},
        disabled={name: _service(name, part) for name, part in project.disabled.items()},
        networks={k: _network(project.name, k, p) for k, p in project.parts("networks").items()},
        volumes={k: _volume(project.name, k, p) for k, p in project.parts("volumes").items()},
        secrets={
            key: _file(project.name, key, part, project.secret_values.get(key))
            for key, part in project.parts("secrets").items()
        },
        configs={
            key: _file(project.name, key, part, project.config_values.get(key))
            for key, part in project.parts("configs").items()
        },
        environment=project.environment,
        place=project.at,
        value_place=project.value_at,
        others=rest.data,
    )


def _service(name: str, part: Data) -> model.Service:
    rest = _Rest(part)
    deploy = dict(rest.take("deploy") or {})
    scale = rest.take("scale")
    replicas = deploy.pop("replicas", None)
    resources = dict(deploy.pop("resources", {}))
    service = model.Service(
        name=name,
        image=rest.take("image"),
        build=rest.one("build", _build),
        command=rest.one("command", tuple),
        entrypoint=rest.one("entrypoint", tuple),
        environment=rest.take("environment", {}),
        labels=rest.take("labels", {}),
        ports=rest.many("ports", lambda port: model.Port(**_without_others(port))),
        expose=rest.texts("expose"),
        mounts=rest.many("volumes", _mount),
        tmpfs=rest.texts("tmpfs"),
        networks=rest.table("networks", _membership),
        network_mode=rest.take("network_mode"),
        depends_on=rest.table("depends_on", lambda d: model.Dependency(**_without_others(d))),
        healthcheck=rest.one("healthcheck", _healthcheck),
        restart=rest.take("restart"),
        secrets=rest.many("secrets", lambda part: _granted(part, "/run/secrets/")),
        configs=rest.many("configs", lambda part: _granted(part, "/")),
        limits=_limits(rest, resources),
        user=rest.take("user"),
        working_dir=rest.take("working_dir"),
        hostname=rest.take("hostname"),
        domainname=rest.take("domainname"),
        init=rest.take("init"),
        read_only=rest.take("read_only", False),
        privileged=rest.take("privileged", False),
        cap_add=rest.texts("cap_add"),
        cap_drop=rest.texts("cap_drop"),
        extra_hosts=rest.texts("extra_hosts"),
        tty=rest.take("tty", False),
        stdin_open=rest.take("stdin_open", False),
        container_name=rest.take("container_name"),
        stop_signal=rest.take("stop_signal"),
        stop_grace_period_ns=rest.time("stop_grace_period"),
        scale=scale if scale is not None else replicas if replicas is not None else 1,
        profiles=rest.texts("profiles"),
        attach=rest.take("attach", True),
        pull_policy=rest.take("pull_policy"),
        platform=rest.take("platform"),
    )
    left = {key: value for key, value in resources.items() if value}
    if left:
        deploy["resources"] = left
    if deploy:
        rest.data["deploy"] = deploy
    return replace(service, others=rest.data) if rest.data else service


def _without_others(part: Data) -> Data:
    """Drop the users' own keys of a part that has no room for them."""
    return {key: value for key, value in part.items() if not key.startswith("x-")}


def _limits(rest: _Rest, resources: Data) -> model.Limits:
    """Take the limits of a service; what `deploy` says goes before what the service says."""
    limits = _Rest(resources.pop("limits", None) or {})
    reservations = _Rest(resources.pop("reservations", None) or {})
    cpus, memory, pids = rest.take("cpus"), rest.size("mem_limit"), rest.take("pids_limit")
    reserved = rest.size("mem_reservation")
    deploy_memory, deploy_reserved = limits.size("memory"), reservations.size("memory")
    made = model.Limits(
        cpus=limits.take("cpus", cpus),
        memory_bytes=memory if deploy_memory is None else deploy_memory,
        memory_reservation_bytes=reserved if deploy_reserved is None else deploy_reserved,
        memory_swap_bytes=rest.size("memswap_limit"),
        pids=limits.take("pids", pids),
    )
    for name, left in (("limits", limits), ("reservations", reservations)):
        if left.data:
            resources[name] = left.data
    return made


def _build(part: Data) -> model.Build:
    rest = _Rest(part)
    return model.Build(
        context=rest.take("context", "."),
        dockerfile=rest.take("dockerfile"),
        dockerfile_inline=rest.take("dockerfile_inline"),
        target=rest.take("target"),
        args=rest.take("args", {}),
        labels=rest.take("labels", {}),
        tags=rest.texts("tags"),
        others=rest.data,
    )


def _mount(part: Data) -> model.Mount:
    rest = _Rest(part)
    kind = rest.take("type", "volume")
    options = dict(rest.take(kind) or {})
    create = options.pop("create_host_path", False) if kind == "bind" else False
    return model.Mount(
        kind=kind,
        target=rest.take("target", ""),
        source=rest.take("source"),
        read_only=rest.take("read_only", False),
        create_host_path=create,
        options=options,
        others=rest.data,
    )


def _granted(part: Data, folder: str) -> model.Granted:
    mode = part.get("mode")
    source = part.get("source", "")
    target = part.get("target") or f"{folder}{source}"
    return model.Granted(
        source=source,
        # A bare name of a secret is a file in the usual place.
        target=target if target.startswith("/") else f"{folder}{target}",
        uid=part.get("uid"),
        gid=part.get("gid"),
        mode=None if mode is None else int(mode, 8),
    )


def _membership(part: Data) -> model.Membership:
    rest = _Rest(part)
    return model.Membership(
        aliases=rest.texts("aliases"),
        ipv4_address=rest.take("ipv4_address"),
        ipv6_address=rest.take("ipv6_address"),
        mac_address=rest.take("mac_address"),
        priority=rest.take("priority", 0),
        others=rest.data,
    )


def _healthcheck(part: Data) -> model.Healthcheck:
    rest = _Rest(part)
    return model.Healthcheck(
        test=rest.texts("test"),
        interval_ns=rest.time("interval"),
        timeout_ns=rest.time("timeout"),
        start_period_ns=rest.time("start_period"),
        start_interval_ns=rest.time("start_interval"),
        retries=rest.take("retries"),
        disable=rest.take("disable", False),
    )


def _network(project: str, key: str, part: Data) -> model.Network:
    rest = _Rest(part)
    ipam = dict(rest.take("ipam") or {})
    subnets = tuple(ipam.pop("config", ()))
    made = model.Network(
        key=key,
        name=rest.take("name", f"{project}_{key}"),
        driver=rest.take("driver"),
        driver_options=rest.take("driver_opts", {}),
        internal=rest.take("internal", False),
        external=rest.take("external", False),
        labels=rest.take("labels", {}),
        subnets=subnets,
    )
    if ipam:
        rest.data["ipam"] = ipam
    return replace(made, others=rest.data) if rest.data else made


def _volume(project: str, key: str, part: Data) -> model.Volume:
    rest = _Rest(part)
    return model.Volume(
        key=key,
        name=rest.take("name", f"{project}_{key}"),
        driver=rest.take("driver"),
        driver_options=rest.take("driver_opts", {}),
        external=rest.take("external", False),
        labels=rest.take("labels", {}),
        others=rest.data,
    )


def _file(project: str, key: str, part: Data, value: str | None) -> model.FileObject:
    rest = _Rest(part)
    content = rest.take("content")
    return model.FileObject(
        key=key,
        name=rest.take("name", f"{project}_{key}"),
        file=rest.take("file"),
        content=content if value is None else value,
        environment=rest.take("environment"),
        external=rest.take("external", False),
        others=rest.data,
    )
