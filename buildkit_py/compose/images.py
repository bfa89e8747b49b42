"""Images of services, brought here: built from their contexts, or pulled.

Done before anything else of a plan, and before any thread begins: a build's zygote is a fork.
"""

from __future__ import annotations

import os

from buildkit_py import __version__
from buildkit_py.compose.carry_out import Told
from buildkit_py.compose.request import LABEL, image_of, platform_of
from buildkit_py.compose.waiting import ServiceFailed
from buildkit_py.core.errors import BuildFailed, BuildkitError, HostError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildkit_py.build.request import BuildRequest
    from buildkit_py.compose import model
    from buildkit_py.compose.plan import Action
    from buildkit_py.core.events import Sink
    from buildkit_py.engine.client import Engine


def bring(
    actions: Sequence[Action],
    project: model.Project,
    engine: Engine,
    *,
    sink: Callable[[str], Sink],
    tell: Callable[[Told], None],
    no_cache: bool = False,
    pull: bool = False,
    build_args: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Do the `build` and `pull` actions of a plan; return the ids of the images, by service.

    sink: gives where the events of a service's build go
    pull: also for images that are here already, in the FROM of builds
    """
    ids: dict[str, str] = {}
    for action in actions:
        if action.kind == "pull":
            ids[action.service] = _pull(action, project, engine, tell)
    builds = [action.service for action in actions if action.kind == "build"]
    requests = {
        name: request_of_build(
            project, project.services[name], engine.root, no_cache=no_cache, pull=pull,
            build_args=build_args,
        )
        for name in builds
    }  # fmt: skip
    ids.update(_build_all(requests, engine, sink, tell))
    return ids


def request_of_build(
    project: model.Project,
    service: model.Service,
    root: str,
    *,
    no_cache: bool = False,
    pull: bool = False,
    build_args: Mapping[str, str] | None = None,
) -> BuildRequest:
    """Return the build of a service's image. `request.check` found nothing before."""
    from buildkit_py.build.request import BuildRequest

    build = service.build
    assert build is not None
    arguments = {**build.args, **(build_args or {})}
    values = {
        name: project.environment.get(name) if value is None else value
        for name, value in arguments.items()
    }
    hosts = build.others.get("extra_hosts") or ()
    return BuildRequest(
        root=root,
        context=build.context,
        file=os.path.join(build.context, build.dockerfile) if build.dockerfile else None,
        tags=(image_of(project.name, service), *build.tags),
        build_args={name: value for name, value in values.items() if value is not None},
        labels={
            **build.labels,
            f"{LABEL}project": project.name,
            f"{LABEL}service": service.name,
            f"{LABEL}version": __version__,
        },
        target=build.target,
        platform=service.platform or project.environment.get("DOCKER_DEFAULT_PLATFORM"),
        pull=pull or bool(build.others.get("pull")),
        no_cache=no_cache or bool(build.others.get("no_cache")),
        network=str(build.others.get("network") or "default"),
        add_hosts=tuple(str(each).replace("=", ":", 1) for each in hosts),
        shm_size=int(build.others.get("shm_size") or 0),
        quiet=True,
    )


def _build_all(
    requests: Mapping[str, BuildRequest],
    engine: Engine,
    sink: Callable[[str], Sink],
    tell: Callable[[Told], None],
) -> dict[str, str]:
    from buildkit_py.build import recall

    ids = {}
    left: dict[str, BuildRequest] = {}
    for name, request in requests.items():
        answer = recall.recall(request)
        if answer is None:
            left[name] = request
        else:
            ids[name] = answer.image
            tell(Told("Image", request.tags[0], "Built", "done"))
    if not left:
        return ids
    from buildkit_py.build.builder import build
    from buildkit_py.runtime.zygote import Zygote

    with Zygote.start(engine.host) as zygote:
        for name, request in left.items():
            tell(Told("Image", request.tags[0], "Building"))
            try:
                built = build(request, sink(name), engine.host, zygote, run_dir=engine.run_dir)
            except BuildkitError as error:
                tell(Told("Image", request.tags[0], "Error", "error"))
                if isinstance(error, BuildFailed | HostError | StateError) or error.at is not None:
                    raise
                raise ServiceFailed(
                    f"service `{name}`: {error.message}", hint=error.hint, notes=error.notes
                ) from error
            ids[name] = built.image
            tell(Told("Image", request.tags[0], "Built", "done"))
    return ids


def _pull(
    action: Action, project: model.Project, engine: Engine, tell: Callable[[Told], None]
) -> str:
    from buildkit_py.engine.images import find_or_pull

    service = project.services[action.service]
    tell(Told("Image", action.target, "Pulling"))
    try:
        record, _ = find_or_pull(
            engine.store, action.target, platform=platform_of(project, service), policy="always"
        )
    except BuildkitError:
        tell(Told("Image", action.target, "Error", "error"))
        raise
    tell(Told("Image", action.target, "Pulled", "done"))
    return record.config
