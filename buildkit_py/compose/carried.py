"""What of a project can be carried out: every key that cannot is named, none is left out silently.

`check` finds the keys that the engine does not act on yet, `notices` those that docker compose
does not act on either: they are told, and the project runs.
"""

from __future__ import annotations

from buildkit_py.compose.errors import ComposeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from buildkit_py.compose import model
    from buildkit_py.core.errors import InputError
    from buildkit_py.core.source import Span

_OF_OTHERS = ("develop", "group_add", "shm_size", "sysctls", "ulimits")
"""Of what has no attribute in the model: what other commands act on, or `request_of` reads."""
_IGNORED_OF_DEPLOY = (
    "endpoint_mode", "labels", "placement", "resources", "rollback_config", "update_config",
)  # fmt: skip
_BUILD = ("extra_hosts", "network", "no_cache", "pull", "shm_size", "ulimits")
_PULL_POLICIES = (None, "missing", "if_not_present", "always", "never", "build")


class NotCarriedOut(ComposeError):
    """A key is read and checked, but the engine does not act on it yet."""

    code = "compose/not-carried-out"


def check(project: model.Project) -> list[InputError]:
    """Return a complaint for each key that cannot be carried out, at its place."""
    from buildkit_py.engine.mounts import check_volume_name
    from buildkit_py.engine.network_records import check_name as check_network_name

    found: list[InputError] = []

    def no(*path: str) -> None:
        found.append(_refused(project, *path))

    for key in _named(project.others):
        no(key)
    for name, network in project.networks.items():
        at = ("networks", name)
        found += _misnamed(check_network_name, network.name, project.at(*at, "name"))
        if network.driver not in (None, "", "bridge", "default"):
            no(*at, "driver")
        if network.driver_options:
            no(*at, "driver_opts")
        if len(network.subnets) > 1:
            no(*at, "ipam", "config")
        for each in network.subnets:
            for key in _named(each):
                if key not in ("subnet", "gateway") or ":" in str(each[key]):
                    no(*at, "ipam", "config", "0", key)
        for key in _named(network.others):
            no(*at, key)
    for name, volume in project.volumes.items():
        at = ("volumes", name)
        # One of another name cannot be there: the plan says that it is not found.
        if not volume.external:
            found += _misnamed(check_volume_name, volume.name, project.at(*at, "name"))
        if volume.driver not in (None, "", "local"):
            no(*at, "driver")
        if volume.driver_options:
            no(*at, "driver_opts")
        for key in _named(volume.others):
            no(*at, key)
    for section, files in (("secrets", project.secrets), ("configs", project.configs)):
        for name, file in files.items():
            if file.external:
                no(section, name, "external")
            for key in _named(file.others):
                no(section, name, key)
    for service in project.services.values():
        for path in _not_of_service(service):
            no("services", service.name, *path)
    return found


def check_builds(project: model.Project) -> list[InputError]:
    """Return a complaint for each key that keeps an image from being built, at its place."""
    return [
        _refused(project, "services", service.name, *path)
        for service in project.services.values()
        if service.build is not None
        for path in _not_of_build(service.build)
    ]


def _refused(project: model.Project, *path: str) -> NotCarriedOut:
    is_entry = path[-1].isdigit()
    what = f"this entry of `{path[-2]}`" if is_entry else f"`{path[-1]}`"
    return NotCarriedOut(
        f"{what} is not carried out yet", at=project.at(*path), label=".".join(path)
    )


def _misnamed(check: Callable[[str], None], name: str, at: Span) -> list[InputError]:
    """Return the complaint of a name that the engine would refuse, at its place."""
    from buildkit_py.core.errors import InputError

    try:
        check(name)
    except InputError as error:
        error.at = at
        return [error]
    return []


def _named(others: Mapping[str, object]) -> list[str]:
    return [key for key, value in others.items() if value and not key.startswith("x-")]


def _not_of_service(service: model.Service) -> Iterator[tuple[str, ...]]:
    """Give the paths of keys of a service that are not carried out."""
    from buildkit_py.engine.security_options import is_known

    for key in _named(service.others):
        value = service.others[key]
        if key == "deploy":
            yield from _not_of_deploy(value)
        elif key == "links":
            yield from (("links", str(at)) for at, link in enumerate(value) if not _is_name(link))
        elif key == "logging":
            yield from _not_of_logging(value)
        elif key == "security_opt":
            yield from (
                ("security_opt", str(at)) for at, option in enumerate(value) if not is_known(option)
            )
        elif key not in _OF_OTHERS:
            yield (key,)
    if service.build is not None:
        yield from _not_of_build(service.build)
    if service.privileged:
        yield ("privileged",)
    if service.network_mode not in (None, "host", "none"):
        yield ("network_mode",)
    if service.network_mode and service.ports:
        yield ("ports",)
    if service.pull_policy not in _PULL_POLICIES:
        yield ("pull_policy",)
    for key, use in service.networks.items():
        for name in ("ipv6_address", "mac_address"):
            if getattr(use, name):
                yield ("networks", key, name)
        yield from (("networks", key, each) for each in _named(use.others))
    for at, mount in enumerate(service.mounts):
        known = {"volume": ("nocopy",), "tmpfs": ("size", "mode"), "bind": ()}.get(mount.kind)
        if known is None:
            yield ("volumes", str(at), "type")
            continue
        left = [each for each in _named(mount.options) if each not in known]
        yield from (("volumes", str(at), mount.kind, each) for each in left)
        yield from (("volumes", str(at), each) for each in _named(mount.others))
    for at, port in enumerate(service.ports):
        if port.protocol not in ("tcp", "udp"):
            yield ("ports", str(at), "protocol")


def _is_name(link: str) -> bool:
    """Say whether a link gives a service no further name: then the network's names do."""
    service, colon, alias = link.partition(":")
    return not colon or service == alias


def _not_of_deploy(deploy: Mapping[str, object]) -> Iterator[tuple[str, ...]]:
    if deploy.get("mode", "replicated") != "replicated":
        yield ("deploy", "mode")
    known = (*_IGNORED_OF_DEPLOY, "mode", "restart_policy")
    yield from (("deploy", key) for key in _named(deploy) if key not in known)


def _not_of_logging(logging: Mapping[str, object]) -> Iterator[tuple[str, ...]]:
    if logging.get("driver") not in (None, "", "json-file", "local"):
        yield ("logging", "driver")
    options = logging.get("options") or {}
    assert isinstance(options, dict)
    known = ("max-size", "max-file")
    yield from (("logging", "options", key) for key in _named(options) if key not in known)


def notices(project: model.Project) -> list[str]:
    """Return what is said of what neither docker compose nor we act on."""
    found = []
    for name, service in project.services.items():
        inside = [project.networks[key].internal for key in service.networks]
        if service.ports and inside and all(inside):
            place = project.at("services", name, "ports").place
            found.append(
                f"{place}: the ports of `{name}` are not published: its networks are all internal"
            )
        deploy = service.others.get("deploy") or {}
        keys = [key for key in _named(deploy) if key in _IGNORED_OF_DEPLOY]
        if "resources" in keys:
            keys.remove("resources")
            keys += [f"resources.{key}" for key in _named(deploy["resources"])]
        policy = deploy.get("restart_policy") or {}
        keys += [f"restart_policy.{key}" for key in ("delay", "window") if policy.get(key)]
        if keys:
            place = project.at("services", name, "deploy").place
            found.append(
                f"{place}: `{name}`: docker compose ignores"
                f" {', '.join(f'`deploy.{key}`' for key in sorted(keys))}, and so do we"
            )
    return found


def _not_of_build(build: model.Build) -> Iterator[tuple[str, ...]]:
    if "://" in build.context or build.context.startswith("git@"):
        yield ("build", "context")
    yield from (("build", key) for key in _named(build.others) if key not in _BUILD)
