"""One build, from a request to an image in the store.

The caller has entered the namespaces it needs (runtime.userns) and started the zygote; the no-op
path (recall.py) was tried before. Nothing here prints: what happens goes to a sink.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Literal, cast

from buildkit_py.build import entitlements, exporters, recall
from buildkit_py.build.bases import Bases
from buildkit_py.build.image import assemble
from buildkit_py.build.limits import bound, parse_hosts, parse_ulimits
from buildkit_py.build.local import LocalContext
from buildkit_py.build.memory import Remembered
from buildkit_py.build.packing import Packing
from buildkit_py.build.request import BuildRequest
from buildkit_py.build.steps.carry_out import CarryOut
from buildkit_py.build.steps.look import exclusions
from buildkit_py.build.steps.services import Services
from buildkit_py.build.stopping import Stopping
from buildkit_py.core.data import dataclass
from buildkit_py.core.digest import Digest, sha256
from buildkit_py.core.errors import InputError
from buildkit_py.core.events import Event, Sink, StepStarted
from buildkit_py.core.text import did_you_mean
from buildkit_py.dockerfile.ast import Dockerfile, From
from buildkit_py.dockerfile.glob import match as wildcard_match
from buildkit_py.dockerfile.lower import lower
from buildkit_py.dockerfile.parse import parse, source_of
from buildkit_py.dockerfile.request import Lowered, LowerRequest
from buildkit_py.graph.ops import Local
from buildkit_py.graph.solve import Result, Solver
from buildkit_py.graph.vertex import Vertex
from buildkit_py.oci.image import CONFIG, MANIFEST, Descriptor
from buildkit_py.oci.platform import machine_platform, parse_platform
from buildkit_py.oci.reference import parse_reference
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.network.network import Network
from buildkit_py.runtime.network.resolve import RESOLV_CONF, host_resolver
from buildkit_py.runtime.zygote import Zygote
from buildkit_py.store.layers.pack import pack
from buildkit_py.store.memory import Database
from buildkit_py.store.snapshots import SnapshotId
from buildkit_py.store.store import Store

NETWORKS = ("default", "none", "host")


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made.

    image: digest of the config, the image's id
    blobs: manifest, config and layers
    """

    image: Digest
    manifest: Descriptor
    names: tuple[str, ...]
    blobs: tuple[Descriptor, ...]


class Named:
    """A sink that also keeps the names of all steps, for the record of a no-op build."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.names: list[str] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            self.names.append(event.name)
        self.sink.emit(event)


def build(
    request: BuildRequest,
    sink: Sink,
    host: Host,
    zygote: Zygote,
    *,
    run_dir: str,
    stopping: Stopping | None = None,
) -> Built:
    """Build what was asked for; the image is in the store, tagged, and exported afterwards.

    Raises InputError, BuildFailed, HostError, RemoteError, StateError; and KeyboardInterrupt
    after everything that ran has ended.
    stopping: for a build in a thread: it then raises Cancelled where the order to stop came
    """
    started_ns = time.time_ns()
    recall.forget(request)
    names = [parse_reference(tag).name for tag in request.tags]
    if request.network not in NETWORKS:
        raise InputError(
            f"unknown network `{request.network}`",
            code="build/unknown-network",
            hint="`default`, `none` or `host`",
        )
    with ExitStack() as stack:
        context = stack.enter_context(LocalContext(request.context, request.file, request.text))
        file = parse(source_of(context.dockerfile.name, context.dockerfile.data))
        overlay = host.overlay or "copy"
        store = Store.open(request.root, overlay=overlay, single_id=host.ids == "single")
        stack.callback(store.close)
        database = stack.enter_context(Database(os.path.join(request.root, "memory.db")))
        network = Network.open(host, zygote, run_dir=run_dir, purpose="build")
        stack.enter_context(network)
        named = Named(sink)
        limits, rlimits = bound(host, parse_ulimits(request.ulimits))
        services = Services(
            store=store,
            database=database,
            host=host,
            zygote=zygote,
            network=network,
            sink=named,
            stubs=_stubs(store),
            resolver=host_resolver(),
            host_resolv_conf=_read_text(RESOLV_CONF),
            hostname=request.build_args.get("BUILDKIT_SANDBOX_HOSTNAME", "buildkitsandbox"),
            limits=limits,
            rlimits=rlimits,
            shm_bytes=request.shm_size,
            strict=request.strict,
            epoch_ns=None
            if request.source_date_epoch is None
            else request.source_date_epoch * 1_000_000_000,
        )
        if stopping is not None:
            stack.enter_context(stopping.ends_by(services.stop))
        for notice in host.notices:
            services.notice_once(notice)
        bases = Bases(services, pull=request.pull, stages=_stage_names(file))
        lowered = lower(file, _lower_request(request), bases.resolve)
        entitlements.require(lowered.vertices, request.allow, network=request.network)
        for warning in [*lowered.warnings, *_unknown_stages(request, lowered)]:
            services.warn(warning)
        again = _again(request)
        packing = stack.enter_context(
            Packing(
                lambda id: pack(store.snapshots, store.content, id, check=services.check),
                services.stop,
            )
        )
        layers = frozenset(lowered.layers)
        steps = CarryOut(
            services,
            contexts={"context": context},
            images=bases.configs,
            now=lambda: _time(request),
            again=again,
            committed=lambda vertex, id: packing.begin(id) if vertex in layers else None,
        )
        solver = Solver(
            Remembered(database, store.snapshots),
            steps,
            named,
            jobs=request.jobs or max(4, os.cpu_count() or 1),
            clock=time.monotonic,
            no_cache=again,
        )
        if stopping is not None:
            stack.enter_context(stopping.ends_by(solver.cancel))
        solution = solver.solve([lowered.root], first_number=bases.steps + 1)
        packing.finish()
        built = _finish(request, services, lowered, solution.results, names)
        exporters.export(request, services, built.manifest, names)
        if not request.pull:
            _keep_record(request, context, lowered, steps, built, named.names, bases, started_ns)
        return built


def _lower_request(request: BuildRequest) -> LowerRequest:
    here = machine_platform(os.uname().machine)
    target = parse_platform(request.platform) if request.platform else here
    if not here.accepts(target):
        raise InputError(
            f"cannot build for `{target}` on `{here}`: emulation is not supported yet",
            code="build/foreign-platform",
        )
    return LowerRequest(
        platform=target,
        build_platform=here,
        target=request.target,
        platform_given=request.platform is not None,
        build_args=request.build_args,
        labels=request.labels,
        network=cast(Literal["default", "none", "host"], request.network),
        hosts=parse_hosts(request.add_hosts),
    )


def _stage_names(file: Dockerfile) -> list[str]:
    return [each.name.text for each in file.instructions if isinstance(each, From) and each.name]


def _unknown_stages(request: BuildRequest, lowered: Lowered) -> list[InputError]:
    """Return a complaint for each name of `--no-cache-filter` that no stage of this build has."""
    known = {vertex.stage.lower() for vertex in lowered.vertices if vertex.stage}
    return [
        InputError(
            f"`--no-cache-filter`: no stage of this build is called `{name}`",
            code="build/unknown-stage",
            hint=did_you_mean(name, known),
        )
        for name in request.no_cache_filter
        if name.lower() not in known
    ]


def _again(request: BuildRequest) -> Callable[[Vertex], bool]:
    """Return which steps run again though they are remembered."""
    stages = {name.lower() for name in request.no_cache_filter}
    if request.no_cache:
        return lambda vertex: True
    return lambda vertex: vertex.stage.lower() in stages


def _finish(
    request: BuildRequest,
    services: Services,
    lowered: Lowered,
    results: Mapping[Vertex, Result],
    names: Sequence[str],
) -> Built:
    """Pack the layers of the final chain, write config and manifest, give the image its names."""
    store = services.store
    layers = []
    times = []
    for vertex in lowered.layers:
        result = results[vertex]
        assert result.snapshot is not None
        layer = pack(store.snapshots, store.content, SnapshotId(result.snapshot))
        layers.append((layer.descriptor, layer.diff_id))
        times.append(result.created)
    base_layers: tuple[Descriptor, ...] = ()
    if lowered.base is not None:
        base_layers = store.images.manifest(lowered.base.manifest).layers
        for each in base_layers:
            store.content.size(each.digest)  # never an image whose layers are gone
    config, manifest = assemble(
        lowered.config,
        layers,
        times,
        base_layers=base_layers,
        base_history=len(lowered.base.config.history) if lowered.base else 0,
        epoch=_time(request) if request.source_date_epoch is not None else None,
    )
    image = store.content.put(config)
    kept = store.content.put(manifest)
    descriptor = Descriptor(MANIFEST, kept.digest, kept.size)
    if not names:
        store.images.put(None, descriptor)
    for name in names:
        store.images.put(name, descriptor)
    parts = (descriptor, Descriptor(CONFIG, image.digest, image.size), *base_layers)
    return Built(image.digest, descriptor, tuple(names), parts + tuple(d for d, _ in layers))


def _keep_record(
    request: BuildRequest,
    context: LocalContext,
    lowered: Lowered,
    steps: CarryOut,
    built: Built,
    step_names: Sequence[str],
    bases: Bases,
    started_ns: int,
) -> None:
    """Keep what a no-op build is answered from, unless something is too young to be sure of."""
    if request.outputs:
        return
    watch = recall.Watch(context.path, started_ns)
    try:
        for vertex in lowered.vertices:
            for source in vertex.inputs:
                if isinstance(source.vertex.op, Local) and source.select is not None:
                    watch.look(
                        context.fd,
                        source.select,
                        filter=steps.filter_of(source.vertex.op.name),
                        exclude=exclusions(source.exclude),
                        matches=wildcard_match,
                    )
    except (InputError, OSError):
        return  # the context changes under us: the next build looks again
    if not watch.settled:
        return
    texts = {}
    if request.text is None:
        texts[context.dockerfile.path] = sha256(context.dockerfile.data)
    if context.ignore is not None:
        texts[context.ignore.path] = sha256(context.ignore.data)
    recall.keep(
        request,
        recall.Answer(
            built.image,
            built.manifest.digest,
            built.manifest.size,
            step_names,
            steps.services.warnings,
        ),
        texts=texts,
        absent=context.absent,
        files=watch.files,
        folders=watch.folders,
        names={
            **dict.fromkeys(built.names, built.manifest.digest),
            **bases.names,
        },
        blobs={each.digest: each.size for each in built.blobs},
    )


def _time(request: BuildRequest) -> str:
    """Return the time that new layers get: now, or SOURCE_DATE_EPOCH."""
    if request.source_date_epoch is not None:
        moment = datetime.fromtimestamp(request.source_date_epoch, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    now = time.time_ns()
    moment = datetime.fromtimestamp(now // 1_000_000_000, UTC)
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{now % 1_000_000_000:09d}".rstrip("0").rstrip(".")
    return f"{text}Z"


def _stubs(store: Store) -> str:
    path = store.session.temporary("stubs-")
    os.mkdir(path, 0o755)
    return path


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
