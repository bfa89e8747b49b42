"""A container made from a request and an image: its directory, wholly or not at all.

Done by whoever asks, without a supervisor: any number of containers may be made at once. The
directory is built in the session's folder and gets its place by one rename.
"""

from __future__ import annotations

import os
import posixpath
import random
from collections.abc import Callable
from contextlib import ExitStack

from buildkit_py.core.data import replace
from buildkit_py.core.errors import InputError
from buildkit_py.engine import containers, limit_checks, volume_records
from buildkit_py.engine.command import argv_of, environment_of
from buildkit_py.engine.containers import ContainerRequest, ContainerSpec, FileRequest
from buildkit_py.engine.images import Progress, find_or_pull, now
from buildkit_py.engine.mounts import VolumeRequest, uncovered
from buildkit_py.engine.signal_names import parse_signal
from buildkit_py.engine.volumes import bind_of, check_targets, fill, make_workdir
from buildkit_py.oci.image import ContainerConfig, Healthcheck
from buildkit_py.oci.reference import Reference
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.kernel import capabilities
from buildkit_py.runtime.spec import Account, Bind, Container, Directory, MountSpec, Overlay
from buildkit_py.runtime.users import resolve_account
from buildkit_py.store.snapshots import Active
from buildkit_py.store.store import Store

ADJECTIVES = (
    "able bold brave bright calm clever cool eager fair fast fine fond glad keen kind lucid merry"
    " neat nimble proud quick quiet ready sharp steady sunny swift tidy vivid warm wise witty"
).split()
NOUNS = (
    "babbage bell bohr boole church curie dijkstra euler floyd gauss germain goedel hamilton hoare"
    " hopper kepler knuth lamarr liskov lovelace mendel minsky naur neumann noether pascal perlis"
    " ritchie shannon thompson turing wirth"
).split()
DEFAULT_STOP_SECONDS = 10.0
LOCKS = "containers"
"""The lock of the root under which names are given."""


class NameTaken(InputError):
    code = "engine/name-taken"


class BadRestart(InputError):
    code = "engine/bad-restart"


def create(
    request: ContainerRequest,
    *,
    store: Store,
    host: Host,
    group: str | None,
    on_pull: Callable[[Reference], None] = lambda reference: None,
    progress: Progress | None = None,
) -> ContainerSpec:
    """Make a container that does not run yet, and return what it is.

    group: whose supervisor will look after it; None is its own
    Raises BuildkitError; then nothing of it is left.
    """
    id = os.urandom(32).hex()
    if request.name:
        containers.check_name(request.name)
    if request.auto_remove and request.restart.name != "no":
        raise BadRestart("a container that is removed at its end cannot be restarted")
    limit_checks.check(request.limits)
    limits, warnings = limit_checks.kept(request.limits, host.cgroups)
    request = replace(request, limits=limits)
    with ExitStack() as stack:
        record, image = find_or_pull(
            store, request.image, platform=request.platform, policy=request.pull,
            on_pull=on_pull, progress=progress,
        )  # fmt: skip
        made_of = {request.image_label: record.config} if request.image_label else {}
        manifest = store.images.manifest(record.descriptor.digest)
        active = store.snapshots.prepare(store.snapshots.unpack_image(manifest, image))
        undo = ExitStack()
        undo.callback(active.discard)
        stack.enter_context(undo)
        final = containers.directory_of(store.root, id)
        temporary = store.session.temporary("c")
        os.mkdir(temporary, 0o700)
        files = _write_files(temporary, final, request.files)
        volumes, anonymous = _volumes(store.root, request, image.config)
        stage = _Stage(os.path.join(temporary, "volumes"), id)
        mounts, account, cwd = _prepare(
            store, request, image.config, active, volumes, stage, files, stack
        )
        spec = ContainerSpec(
            id=id,
            name=request.name,
            group=id if group is None else group,
            created=now(),
            image=request.image,
            image_id=record.config,
            container=_container(request, image.config, id, final, active, host, mounts, account,
                                 cwd),
            labels={**image.config.labels, **request.labels, **made_of},
            hosts=request.hosts,
            network_mode=request.network_mode,
            networks=request.networks,
            ports=request.ports,
            exposed_ports=tuple(
                dict.fromkeys((*image.config.exposed_ports, *request.exposed_ports))
            ),
            stdin_open=request.stdin_open,
            restart=request.restart,
            healthcheck=_healthcheck(request.healthcheck, image.config.healthcheck),
            stop_signal=parse_signal(request.stop_signal or image.config.stop_signal or "TERM"),
            stop_seconds=_stop_seconds(request.stop_seconds),
            volumes=tuple(
                each.source
                for each in volumes
                if each.kind == "volume" and each.source not in anonymous
            ),
            anonymous=anonymous,
            log=request.log,
            auto_remove=request.auto_remove,
            warnings=warnings,
        )  # fmt: skip
        undo.pop_all()
        active.keep(os.path.join(temporary, "layer"))
        with open(os.path.join(temporary, "lock"), "xb"):
            pass
        containers.write_state(temporary, containers.State())
        return _settle(store, spec, temporary, final, stage)


def _settle(
    store: Store, spec: ContainerSpec, temporary: str, final: str, stage: _Stage
) -> ContainerSpec:
    """Give the container its name and its place."""
    names = os.path.join(store.root, "names")
    for each in (names, os.path.dirname(final)):
        os.makedirs(each, mode=0o700, exist_ok=True)
    with store.session.lock(LOCKS):
        name = spec.name or _free_name(names)
        spec = replace(spec, name=name)
        containers.write_spec(temporary, spec)
        claim(store.root, name, spec.id)
        for volume in stage.names:
            volume_records.place(store.root, stage.folder, volume)
        if stage.names:
            os.rmdir(stage.folder)
        os.rename(temporary, final)
        for volume in stage.names:
            volume_records.settle(store.root, volume)
    return spec


class _Stage:
    """Volumes without a name, where they are until their container has its place."""

    def __init__(self, folder: str, container: str) -> None:
        self.folder = folder
        self.container = container
        self.names: list[str] = []

    def add(self, request: VolumeRequest, root: int) -> Bind:
        """Make a volume, filled with what the image has there."""
        self.names.append(request.source)
        data = volume_records.stage(self.folder, request.source, self.container)
        if request.copy:
            fill(root, request.target, data)
        return Bind(data, request.target, read_only=request.read_only)

    def settled(self, root: str, mount: MountSpec) -> MountSpec:
        """Return a mount as it will be."""
        if isinstance(mount, Bind) and mount.source.startswith(f"{self.folder}/"):
            path = mount.source.removeprefix(self.folder)
            return replace(mount, source=f"{root}/volumes{path}")
        return mount


def claim(root: str, name: str, id: str) -> None:
    """Give a name to a container; the lock of names is held. Raises NameTaken."""
    link = os.path.join(root, "names", name)
    try:
        os.symlink(f"../containers/{id}", link)
    except FileExistsError:
        other = os.path.basename(os.readlink(link))
        if other != id and os.path.isdir(containers.directory_of(root, other)):
            raise NameTaken(
                f'Conflict. The container name "/{name}" is already in use by container'
                f' "{other}". You have to remove (or rename) that container to be able to reuse'
                " that name."
            ) from None
        os.unlink(link)  # of one that was killed half-way
        os.symlink(f"../containers/{id}", link)


def _free_name(names: str) -> str:
    while True:
        name = f"{random.choice(ADJECTIVES)}_{random.choice(NOUNS)}"
        if not os.path.lexists(os.path.join(names, name)):
            return name
        name += str(random.randrange(1000))
        if not os.path.lexists(os.path.join(names, name)):
            return name


def _write_files(temporary: str, final: str, files: tuple[FileRequest, ...]) -> list[MountSpec]:
    """Write the files of a request beside the layer, and return the binds that show them."""
    mounts: list[MountSpec] = []
    for number, each in enumerate(files):
        os.makedirs(os.path.join(temporary, "files"), mode=0o711, exist_ok=True)
        path = os.path.join(temporary, "files", str(number))
        text = each.text
        # Its mode comes last: until then a secret is nobody's but ours.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
        os.chown(path, each.uid, each.gid)
        os.chmod(path, each.mode)
        mounts.append(Bind(os.path.join(final, "files", str(number)), each.target))
    return mounts


def _volumes(
    root: str, request: ContainerRequest, config: ContainerConfig
) -> tuple[list[VolumeRequest], tuple[str, ...]]:
    """Return all volumes, with names for those that have none, and those names.

    One without a name that comes from an earlier container, by its digits, stays without one.
    """
    targets = [*(each.target for each in request.volumes), *(t.target for t in request.tmpfs)]
    targets += [each.target for each in request.files]
    wanted = [
        *request.volumes,
        *(VolumeRequest("anonymous", "", path) for path in uncovered(config.volumes, targets)),
    ]
    named = [
        replace(each, source=os.urandom(32).hex()) if each.kind == "anonymous" else each
        for each in wanted
    ]
    anonymous = tuple(
        each.source
        for each in named
        if each.kind == "anonymous" or (each.kind == "volume" and _is_anonymous(root, each.source))
    )
    return named, anonymous


def _is_anonymous(root: str, name: str) -> bool:
    try:
        return len(name) == 64 and volume_records.read(root, name).anonymous
    except volume_records.UnknownVolume:
        return False


def _prepare(
    store: Store,
    request: ContainerRequest,
    config: ContainerConfig,
    active: Active,
    volumes: list[VolumeRequest],
    stage: _Stage,
    files: list[MountSpec],
    stack: ExitStack,
) -> tuple[list[MountSpec], Account, str]:
    """Return mounts, account and working directory, all of which are there afterwards."""
    cwd = request.workdir or config.working_dir or "/"
    if not cwd.startswith("/"):
        raise InputError(
            f"the working directory `{cwd}` is invalid: it needs to be an absolute path",
            code="engine/bad-workdir",
        )
    cwd = posixpath.normpath(f"/{cwd.lstrip('/')}")
    mounts: list[MountSpec] = [*request.tmpfs, *files]
    with active.mount() as root:
        account = resolve_account(root, request.user or config.user, groups=request.groups)
        for each in volumes:
            if each.kind == "anonymous":
                mounts.append(stage.add(each, root))
                continue
            if each.kind == "volume":
                volume_records.ensure(store, each.source)
            mounts.append(bind_of(store, each, root, stack))
        check_targets(mounts)
        make_workdir(root, cwd, mounts)
    return [stage.settled(store.root, each) for each in mounts], account, cwd


def _container(
    request: ContainerRequest,
    config: ContainerConfig,
    id: str,
    final: str,
    active: Active,
    host: Host,
    mounts: list[MountSpec],
    account: Account,
    cwd: str,
) -> Container:
    layer = os.path.join(final, "layer")
    on_host = request.network_mode == "host"
    hostname = request.hostname or (os.uname().nodename if on_host else id[:12])
    return Container(
        args=_arguments(request, config),
        # Not volatile: what a database wrote and synced must be there after a crash.
        root=Overlay(
            active.lower, f"{layer}/fs", f"{layer}/work",
            userxattr=host.overlay == "userxattr", volatile=False,
        )
        if active.lower
        else Directory(f"{layer}/fs"),
        env=environment_of((f"HOSTNAME={hostname}", *config.env), request.env),
        cwd=cwd,
        account=account,
        hostname=hostname,
        domainname=request.domainname,
        no_new_privileges=request.no_new_privileges,
        network="host" if on_host else "private",
        mounts=tuple(mounts),
        limits=request.limits,
        rlimits=request.rlimits,
        shm_bytes=request.shm_bytes or 64 << 20,
        read_only=request.read_only,
        terminal=request.terminal,
        sysctls=request.sysctls,
        stubs=False,  # what is made in its own layer stays there, as with docker
        init=request.init,
        capabilities=granted(request.cap_add, request.cap_drop),
    )  # fmt: skip


def _arguments(request: ContainerRequest, config: ContainerConfig) -> tuple[str, ...]:
    if request.entrypoint is not None:
        words = (*request.entrypoint, *(request.command or ()))
        return argv_of(ContainerConfig(cmd=words))
    if request.command is not None:
        return argv_of(replace(config, cmd=None), request.command)
    return argv_of(config)


def granted(add: tuple[str, ...], drop: tuple[str, ...]) -> frozenset[str] | None:
    """Return the capabilities of a container, None for docker's; moby oci/caps TweakCapabilities.

    Raises InputError for a name that is none.
    """
    if not add and not drop:
        return None

    def read(names: tuple[str, ...]) -> set[str]:
        found = set()
        for name in names:
            short = name.upper().removeprefix("CAP_")
            if short != "ALL" and short not in capabilities.NAMES:
                raise InputError(f"unknown capability `{name}`", code="engine/unknown-capability")
            found.add(short)
        return found

    added, dropped = read(add), read(drop)
    everything = set(capabilities.NAMES)
    if "ALL" in added:
        return frozenset(everything - dropped)
    if "ALL" in dropped:
        return frozenset(added)
    return frozenset(capabilities.DOCKER - dropped | added)


def _stop_seconds(given: float | None) -> float:
    return DEFAULT_STOP_SECONDS if given is None else given


def _healthcheck(wanted: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    """Return the check that counts: what the request leaves open is the image's."""
    check = wanted or image
    if wanted is not None and image is not None:
        check = Healthcheck(
            wanted.test or image.test,
            wanted.interval or image.interval,
            wanted.timeout or image.timeout,
            wanted.start_period or image.start_period,
            wanted.start_interval or image.start_interval,
            wanted.retries or image.retries,
        )
    if check is None or not check.test or check.test[0] == "NONE":
        return None
    return check
