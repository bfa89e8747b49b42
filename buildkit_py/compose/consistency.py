"""What the parts of a project must be to each other; all complaints at once.

Checked for the services that are switched on. What was complained of before is not missed again.
Source: compose-go loader/validate.go.
"""

from __future__ import annotations

from buildkit_py.compose.errors import Inconsistent
from buildkit_py.compose.shapes import SHAPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildkit_py.compose.project import Project
    from buildkit_py.core.errors import InputError


class _Check:
    """Collects complaints about one service."""

    def __init__(self, project: Project, name: str, errors: list[InputError]) -> None:
        self.project = project
        self.name = name
        self.errors = errors
        self.path = ("services", name)

    def wrong(self, message: str, *path: str, hint: str | None = None, label: str = "") -> None:
        at = self.project.at("services", self.name, *path)
        text = f"service `{self.name}` {message}"
        self.errors.append(Inconsistent(text, at=at, hint=hint, label=label))

    def may_have_source(self) -> bool:
        """Say whether a key that was complained of before says where the image is from."""
        broken = {
            path[2] for path in self.project.blame.broken if path[:2] == self.path and path[2:]
        }
        return bool(broken & {"build", "image", "provider"} or broken - SHAPES["service"].keys())


def check(project: Project) -> list[InputError]:
    """Return what is inconsistent in a project."""
    errors: list[InputError] = []
    for name, service in project.services.items():
        each = _Check(project, name, errors)
        _source(each, service)
        _build(each, service)
        _networks(each, service)
        _others(each, service)
        _resources(each, service)
        _limits(each, service)
        _mounts(each, service)
    for name, secret in project.parts("secrets").items():
        if not secret.keys() & {"external", "file", "environment"}:
            message = f"secret `{name}` must declare either `file` or `environment`"
            errors.append(Inconsistent(message, at=project.at("secrets", name)))
    errors += _cycles(project)
    return errors


def container_names(project: Project) -> list[InputError]:
    """Return the complaints about containers that would have one name."""
    errors: list[InputError] = []
    seen: dict[str, str] = {}
    for name, service in project.services.items():
        container = service.get("container_name")
        if container in seen:
            message = f"the container name `{container}` is already that of `{seen[container]}`"
            at = project.at("services", name, "container_name")
            errors.append(Inconsistent(message, at=at))
        elif container:
            seen[container] = name
    return errors


def _source(each: _Check, service: dict[str, Any]) -> None:
    if not service.keys() & {"build", "image", "provider"} and not each.may_have_source():
        each.wrong("has neither an image nor a build context specified")
    test = service.get("healthcheck", {}).get("test")
    if test and test[0] not in ("CMD", "CMD-SHELL", "NONE"):
        each.wrong(
            "has a health check that starts with none of `CMD`, `CMD-SHELL`, `NONE`",
            "healthcheck",
            "test",
            hint="a single string is a shell command",
        )


def _build(each: _Check, service: dict[str, Any]) -> None:
    build = service.get("build")
    if build is None:
        return
    project = each.project
    if build.keys() >= {"dockerfile", "dockerfile_inline"}:
        each.wrong("declares both `dockerfile` and `dockerfile_inline`", "build", "dockerfile")
    for name, context in build.get("additional_contexts", {}).items():
        if not context.startswith("service:"):
            continue
        target = context.removeprefix("service:")
        path = ("build", "additional_contexts", name)
        if target not in project.services:
            if not project.has("services", target):
                message = f"takes the context `{name}` from `{target}`, which is no service"
                each.wrong(message, *path)
        elif "build" not in project.services[target] and not project.blame.is_broken(
            "services", target, "build"
        ):
            each.wrong(f"takes the context `{name}` from `{target}`, which is not built", *path)
    platforms, platform = build.get("platforms"), service.get("platform")
    if platforms and platform and platform not in platforms:
        each.wrong(f"is for `{platform}`, which `build.platforms` leaves out", "build", "platforms")
    for at, secret in enumerate(build.get("secrets", ())):
        if not project.has("secrets", str(secret.get("source"))):
            path = ("build", "secrets", str(at))
            each.wrong(f"refers to the undefined build secret `{secret.get('source')}`", *path)


def _networks(each: _Check, service: dict[str, Any]) -> None:
    project = each.project
    networks, mode = service.get("networks") or {}, service.get("network_mode", "")
    if mode and networks:
        each.wrong("declares both `network_mode` and `networks`", "network_mode")
    for name in networks:
        if not project.has("networks", name):
            each.wrong(
                f"refers to the undefined network `{name}`",
                "networks",
                name,
                label="not among the networks",
                hint=_near(name, project.parts("networks"))
                or f"add it below `networks:`: `{name}:`",
            )
    if mode.startswith("service:") and not project.has("services", mode.removeprefix("service:")):
        each.wrong(f"shares the network of `{mode[8:]}`, which is no service", "network_mode")


def _near(name: str, known: dict[str, Any]) -> str | None:
    from buildkit_py.core.text import did_you_mean

    return did_you_mean(name, known)


def _others(each: _Check, service: dict[str, Any]) -> None:
    """Services, volumes, configs, secrets and models that it names exist."""
    project = each.project
    for name, dependency in (service.get("depends_on") or {}).items():
        if project.has("services", name):
            continue
        if name in project.disabled and not dependency.get("required", False):
            continue
        off = name in project.disabled
        each.wrong(
            f"depends on undefined service `{name}`",
            "depends_on",
            name,
            label="its profiles are not active" if off else "no such service",
            hint=None if off else _near(name, project.services),
        )
    for at, mount in enumerate(service.get("volumes", ())):
        source = mount.get("source")
        if mount.get("type") == "volume" and source and not project.has("volumes", source):
            each.wrong(
                f"refers to the undefined volume `{source}`",
                "volumes",
                str(at),
                label="not among the volumes",
                hint=_near(source, project.parts("volumes"))
                or f"add it below `volumes:`, or write `./{source}` for a directory",
            )
    for section, one in (("configs", "config"), ("secrets", "secret")):
        for at, granted in enumerate(service.get(section, ())):
            source = granted.get("source", "")
            if not project.has(section, source):
                hint = _near(source, project.parts(section))
                each.wrong(f"refers to the undefined {one} `{source}`", section, str(at), hint=hint)
    for name in service.get("models") or ():
        if not project.has("models", name):
            each.wrong(f"refers to the undefined model `{name}`", "models", name)


def _resources(each: _Check, service: dict[str, Any]) -> None:
    """Replicas are said once, and fit the container's name."""
    deploy = service.get("deploy")
    scale = service.get("scale")
    replicas = deploy.get("replicas") if deploy is not None else None
    if scale is not None and replicas is not None and scale != replicas:
        each.wrong("has distinct values for `scale` and `deploy.replicas`", "scale")
    elif scale is not None and deploy is not None:
        service["deploy"] = {**deploy, "replicas": scale}
    counts: list[tuple[int | None, tuple[str, ...]]] = [
        (scale, ("scale",)),
        (replicas, ("deploy", "replicas")),
    ]
    for value, path in counts:
        if value is not None and value < 0:
            each.wrong(f"has a negative `{'.'.join(path)}`", *path)
    count = scale if scale is not None else replicas if replicas is not None else 1
    if count > 1 and service.get("container_name"):
        each.wrong(
            f"has {count} containers, but `container_name` names one of them",
            "container_name",
        )
    for at, rule in enumerate((service.get("develop") or {}).get("watch", ())):
        if not rule.get("target") and rule.get("action") not in ("rebuild", "restart"):
            where = ("develop", "watch", str(at))
            each.wrong("watches files without a `target` for them", *where)


def _limits(each: _Check, service: dict[str, Any]) -> None:
    """A limit is said once: at the service or below `deploy`."""
    resources = (service.get("deploy") or {}).get("resources", {})
    pairs = (
        ("cpus", "limits", "cpus"),
        ("mem_limit", "limits", "memory"),
        ("mem_reservation", "reservations", "memory"),
        ("pids_limit", "limits", "pids"),
    )
    for key, section, name in pairs:
        here, there = service.get(key), resources.get(section)
        if here is not None and there is not None and there.get(name) != here:
            each.wrong(
                f"has distinct values for `{key}` and `deploy.resources.{section}.{name}`", key
            )


def _mounts(each: _Check, service: dict[str, Any]) -> None:
    seen: dict[str, str] = {}
    entries = [
        *(
            ("tmpfs", at, text.partition(":")[0])
            for at, text in enumerate(service.get("tmpfs", ()))
        ),
        *(
            ("volumes", at, mount.get("target", ""))
            for at, mount in enumerate(service.get("volumes", ()))
        ),
    ]
    for section, at, target in entries:
        if target in seen:
            message = f"mounts `{target}` twice: `{seen[target]}` does so, too"
            each.wrong(message, section, str(at))
        seen.setdefault(target, f"{section}.{at}")


def _cycles(project: Project) -> list[InputError]:
    """Return one complaint for each cycle of dependencies."""
    services = project.services
    done: set[str] = set()
    errors: list[InputError] = []

    for first in services:
        trail: list[str] = []
        stack: list[tuple[str, bool]] = [(first, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                trail.pop()
                done.add(name)
                continue
            if name in trail:
                cycle = [*trail[trail.index(name) :], name]
                at = project.at("services", cycle[-2], "depends_on", name)
                message = f"dependency cycle detected: {' -> '.join(cycle)}"
                errors.append(Inconsistent(message, at=at, label="leads back"))
                continue
            if name in done:
                continue
            trail.append(name)
            stack.append((name, True))
            stack += [
                (each, False)
                for each in sorted(services[name].get("depends_on") or (), reverse=True)
                if each in services
            ]
    return errors
