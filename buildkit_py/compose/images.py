"""Images of services, brought here: built from their contexts, or pulled.

Done before anything else of a plan, and before any thread begins: a build's zygote is a fork.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

from buildkit_py import __version__
from buildkit_py.compose.carry_out import AT_ONCE, Told
from buildkit_py.compose.plan import in_order
from buildkit_py.compose.request import LABEL, image_of, platform_of, rlimits_of
from buildkit_py.compose.waiting import ServiceFailed
from buildkit_py.core.errors import BuildFailed, BuildkitError, HostError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildkit_py.build.request import BuildRequest
    from buildkit_py.build.stopping import Stopping
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
    at_once: int = AT_ONCE,
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
    ids.update(_build_all(requests, engine, sink, tell, at_once))
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
    file = os.path.join(build.context, build.dockerfile) if build.dockerfile else None
    if build.dockerfile_inline is not None:
        file = f"services.{service.name}.build.dockerfile_inline"  # what messages call it
    return BuildRequest(
        root=root,
        context=build.context,
        file=file,
        text=build.dockerfile_inline,
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
        ulimits=tuple(
            f"{name}={soft}:{hard}"
            for name, (soft, hard) in rlimits_of(build.others.get("ulimits") or {}).items()
        ),
        quiet=True,
    )


def _build_all(
    requests: Mapping[str, BuildRequest],
    engine: Engine,
    sink: Callable[[str], Sink],
    tell: Callable[[Told], None],
    at_once: int,
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
    from buildkit_py.build.stopping import Stopping
    from buildkit_py.runtime.zygote import Zygote

    stopping = Stopping()

    def one(name: str, request: BuildRequest) -> str:
        tell(Told("Image", request.tags[0], "Building"))
        try:
            built = build(
                request, sink(name), engine.host, zygote, run_dir=engine.run_dir,
                stopping=stopping,
            )  # fmt: skip
        except BuildkitError as error:
            tell(Told("Image", request.tags[0], "Error", "error"))
            raise _of_service(name, error) from error
        tell(Told("Image", request.tags[0], "Built", "done"))
        return built.image

    with Zygote.start(engine.host) as zygote, _many_files():
        ids.update(_each(left, one, stopping, at_once))
    return ids


def _of_service(name: str, error: BuildkitError) -> BuildkitError:
    """Return an error of a service's build as one that names the service."""
    if isinstance(error, BuildFailed | HostError | StateError) or error.at is not None:
        error.notes = (*error.notes, f"in the build of service `{name}`")
        return error
    return ServiceFailed(f"service `{name}`: {error.message}", hint=error.hint, notes=error.notes)


def _each(
    requests: Mapping[str, BuildRequest],
    work: Callable[[str, BuildRequest], str],
    stopping: Stopping,
    at_once: int,
) -> dict[str, str]:
    """Do all builds, some at once; the first failure stops the others, and is raised."""
    from buildkit_py.core.threads import block_signals

    ids: dict[str, str] = {}
    after = order(requests)
    waiting = dict(requests)
    running: dict[Future[str], str] = {}
    with ThreadPoolExecutor(max(1, min(at_once, len(requests))), "build", block_signals) as pool:
        try:
            while waiting or running:
                for name in [each for each in waiting if after[each] <= ids.keys()]:
                    running[pool.submit(work, name, waiting.pop(name))] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    ids[running.pop(future)] = future.result()
        except BaseException:
            stopping.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return ids


def order(requests: Mapping[str, BuildRequest]) -> dict[str, set[str]]:
    """Return for each build those that come before it; all others may run at the same time.

    Builds of one Dockerfile share steps: one after the other, the later ones find them done. And
    what speaks of an image that another one makes, in FROM most likely, comes behind that.
    """
    texts = {name: _text(request) for name, request in requests.items()}
    needs = {
        name: {
            other
            for other, made in requests.items()
            if other != name and any(tag in texts[name] for tag in made.tags)
        }
        for name in requests
    }
    after: dict[str, set[str]] = {}
    last: dict[tuple[str, str], str] = {}
    for name in in_order(needs):
        request = requests[name]
        key = (request.context, request.file or "") if request.text is None else ("", texts[name])
        after[name] = needs[name] & after.keys()  # a ring is broken where it is met
        if key in last:
            after[name].add(last[key])
        last[key] = name
    return after


def _text(request: BuildRequest) -> str:
    """Return a Dockerfile's text with the values of its arguments."""
    text = request.text
    if text is None:
        try:
            path = request.file or os.path.join(request.context, "Dockerfile")
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(fd, encoding="utf-8", errors="replace") as file:
                text = file.read(1 << 20)
        except OSError:
            text = ""  # the build complains
    return "\n".join([text, *request.build_args.values()])


@contextmanager
def _many_files() -> Iterator[None]:
    """Let this process have as many open files as it may: a walk holds one for each level.

    Only meanwhile: what is started later has the limit that the caller has.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


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
