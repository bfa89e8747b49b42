"""Pull an image: its manifest for one platform, its config and its layers, into a store.

Every blob is checked by size while it comes, and by digest before it is kept; a broken transfer
goes on where it broke. Layers that the store has are not asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Protocol

from buildkit_py.core.digest import Digest
from buildkit_py.core.errors import RemoteError
from buildkit_py.core.threads import block_signals
from buildkit_py.oci.image import (
    CONFIG,
    DOCKER_CONFIG,
    MOST_METADATA_BYTES,
    BadImage,
    Descriptor,
    ImageConfig,
    Manifest,
)
from buildkit_py.oci.platform import Platform
from buildkit_py.oci.reference import Reference
from buildkit_py.registry.client import Repository
from buildkit_py.registry.errors import Broken, Misbehaved, Temporary
from buildkit_py.registry.manifests import NoPlatform, WrongContent, find_manifest
from buildkit_py.registry.retry import LONGEST_SECONDS, TRIES, Sleep
from buildkit_py.registry.transport import Response, Transport

AT_ONCE = 4
CHUNK_BYTES = 1 << 18
MOST_RESUMES = 200
"""How often one blob is taken up again, though each time a little more came."""


class Writer(Protocol):
    """Content on its way in; leaving the `with` block without a commit forgets it.

    `commit` raises a RemoteError when digest or size are not those that were expected.
    """

    def write(self, data: bytes) -> object: ...
    def commit(self, expected: Digest | None = None, size: int | None = None) -> object: ...


class Content(Protocol):
    def has(self, digest: Digest) -> bool: ...
    def read(self, digest: Digest) -> bytes: ...
    def put(self, data: bytes) -> object: ...
    def writer(self) -> AbstractContextManager[Writer]: ...


class Images(Protocol):
    def put(self, name: str, descriptor: Descriptor) -> object: ...


class Store(Protocol):
    """What a pull needs of the store."""

    @property
    def content(self) -> Content: ...
    @property
    def images(self) -> Images: ...


Progress = Callable[[Descriptor, int], None]
"""Called with a blob and how many of its bytes are here; from several threads."""


class Cancelled(RemoteError):
    """Another part of the pull failed, or the user gave up. Never the error people see."""

    code = "registry/cancelled"


def resolve(
    reference: Reference,
    platform: Platform,
    *,
    transport: Transport | None = None,
    environment: Mapping[str, str] | None = None,
) -> Descriptor:
    """Return the descriptor of the manifest that a reference means now; no layer is fetched.

    Raises RemoteError: Unreachable when no registry was spoken to.
    """
    stopped = threading.Event()
    with _transport(transport) as (used, _):
        repository = _repository(reference, used, stopped, environment)
        return find_manifest(repository, platform)[0]


def pull(
    reference: Reference,
    platform: Platform,
    store: Store,
    *,
    progress: Progress | None = None,
    transport: Transport | None = None,
    environment: Mapping[str, str] | None = None,
    sleep: Sleep | None = None,
    watch: Callable[[Callable[[], None]], Callable[[], None]] | None = None,
) -> Descriptor:
    """Pull an image into the store under `reference.name`; return its manifest's descriptor.

    transport: by default the network, with the proxies and authorities of the environment
    environment: where proxies and docker's configuration are looked up; by default ours
    sleep: how to wait before trying again
    watch: given what ends the pull, from any thread; returns what is called at its end

    Raises RemoteError: Unreachable when no registry was spoken to (another source may be tried),
    NotFound, Denied, NoPlatform, WrongContent, and others with their codes.
    """
    stopped = threading.Event()
    with _transport(transport) as (used, close):
        repository = _repository(reference, used, stopped, environment)
        if sleep is not None:
            repository.sleep = sleep

        def known(digest: Digest) -> bytes | None:
            return store.content.read(digest) if store.content.has(digest) else None

        def give_up() -> None:
            # Threads that wait for bytes notice it by their connections ending.
            stopped.set()
            close()

        forget = None if watch is None else watch(give_up)
        try:
            descriptor, data = find_manifest(repository, platform, known)
            manifest = Manifest.from_bytes(data)
            _pull_config(repository, manifest, platform, store.content, stopped)
            _pull_layers(repository, manifest, store.content, progress, stopped, give_up)
        finally:
            if forget is not None:
                forget()
    store.content.put(data)
    store.images.put(reference.name, descriptor)
    return descriptor


def _pull_config(
    repository: Repository,
    manifest: Manifest,
    platform: Platform,
    content: Content,
    stopped: threading.Event,
) -> None:
    """Pull the config before any layer: it may be a reason not to."""
    if manifest.config.media_type not in (CONFIG, DOCKER_CONFIG):
        raise BadImage(
            f"{repository.image} is no container image but `{manifest.config.media_type}`"
        )
    if manifest.config.size > MOST_METADATA_BYTES:
        raise BadImage(f"the config of {repository.image} is larger than {MOST_METADATA_BYTES}")
    if not content.has(manifest.config.digest):
        _pull_blob(repository, manifest.config, content, lambda count: None, stopped)
    config = ImageConfig.from_bytes(content.read(manifest.config.digest))
    if len(config.diff_ids) != len(manifest.layers):
        raise BadImage(
            f"{repository.image} has {len(manifest.layers)} layers, "
            f"but its config names {len(config.diff_ids)}"
        )
    # Images from nothing, made by simple tools, may leave the platform out.
    if config.platform.architecture and not platform.accepts(config.platform):
        raise NoPlatform(f"{repository.image} is made for {config.platform}, not for {platform}")


def _pull_layers(
    repository: Repository,
    manifest: Manifest,
    content: Content,
    progress: Progress | None,
    stopped: threading.Event,
    give_up: Callable[[], None],
) -> None:
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    def report(layer: Descriptor, count: int) -> None:
        if progress is not None:
            progress(layer, count)

    missing: dict[Digest, Descriptor] = {}
    for layer in manifest.layers:
        if content.has(layer.digest):
            report(layer, layer.size)
        else:
            missing.setdefault(layer.digest, layer)
    if not missing:
        return

    def one(layer: Descriptor) -> None:
        _pull_blob(repository, layer, content, lambda count: report(layer, count), stopped)

    with ThreadPoolExecutor(min(AT_ONCE, len(missing)), "pull", block_signals) as pool:
        try:
            jobs = [pool.submit(one, layer) for layer in missing.values()]
            if wait(jobs, return_when=FIRST_EXCEPTION).not_done:
                give_up()
                pool.shutdown(cancel_futures=True)
            failures = [
                error for each in jobs if not each.cancelled() and (error := each.exception())
            ]
        except BaseException:
            give_up()
            pool.shutdown(cancel_futures=True)
            raise
    for failure in failures:
        if not isinstance(failure, Cancelled):
            raise failure


def _pull_blob(
    repository: Repository,
    descriptor: Descriptor,
    content: Content,
    report: Callable[[int], None],
    stopped: threading.Event,
) -> None:
    """Pull one blob; after a break go on from there, as long as each try brings something."""
    received = 0
    failures = 0
    with content.writer() as writer:
        for _ in range(MOST_RESUMES):
            before = received
            try:
                with closing(_chunks(repository, descriptor, received)) as chunks:
                    for chunk in chunks:
                        if stopped.is_set():
                            raise Cancelled("the pull was given up")
                        writer.write(chunk)
                        received += len(chunk)
                        report(received)
                break
            except Temporary as error:
                if stopped.is_set():
                    raise Cancelled("the pull was given up") from None
                if received == descriptor.size:
                    break
                failures = 1 if received > before else failures + 1
                pause = error.after_seconds or 0.5 * 2 ** (failures - 1)
                if failures == TRIES or pause > LONGEST_SECONDS:
                    raise
                repository.sleep(pause)
        if received != descriptor.size:
            raise Broken(
                f"{repository.name} breaks the transfer of {descriptor.digest} all the time"
            )
        try:
            writer.commit(descriptor.digest, descriptor.size)
        except RemoteError as error:
            raise WrongContent(
                f"{repository.name} sent other bytes for {repository.image}: {error.message}"
            ) from None


def _chunks(repository: Repository, descriptor: Descriptor, start: int) -> Generator[bytes]:
    """Give the bytes of a blob from `start` on, exactly as many as its descriptor states.

    Raises WrongContent as soon as it is known that there are more, Broken when fewer come.
    """
    left = descriptor.size - start
    headers = {"Range": f"bytes={start}-"} if start else {}
    with repository.send("GET", f"blobs/{descriptor.digest}", headers) as response:
        skip = _skipped(repository, response, descriptor, start)
        while left:
            chunk = response.read(min(CHUNK_BYTES, skip or left))
            if not chunk:
                raise Broken(f"{repository.name} ended {descriptor.digest} {left} bytes too early")
            if skip:
                skip -= len(chunk)
            else:
                left -= len(chunk)
                yield chunk
        if response.read(1):
            raise WrongContent(
                f"{repository.name} sent more than the {descriptor.size} bytes of "
                f"{descriptor.digest}"
            )


def _skipped(repository: Repository, response: Response, descriptor: Descriptor, start: int) -> int:
    """Check the head of a blob's response; return how many bytes to drop before `start`."""
    if response.status == 404:
        raise RemoteError(
            f"{repository.name} lacks {descriptor.digest} of {repository.image}",
            code="registry/missing-blob",
        )
    if response.status == 206 and start:
        if not response.headers.get("content-range", "").startswith(f"bytes {start}-"):
            raise Misbehaved(f"{repository.name} sent another range than was asked for")
        return 0
    if response.status != 200:
        raise Misbehaved(
            f"{repository.name} answers with status {response.status} for {descriptor.digest}"
        )
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) != descriptor.size:
        raise WrongContent(
            f"{repository.name} has {length} bytes for {descriptor.digest}, "
            f"but the manifest states {descriptor.size}"
        )
    return start


@contextmanager
def _transport(given: Transport | None) -> Iterator[tuple[Transport, Callable[[], None]]]:
    """Give a transport, and what ends its connections; only a transport of ours is ended."""
    if given is not None:
        yield given, lambda: None
        return
    from buildkit_py.registry.web import Web

    web = Web()
    try:
        yield web, web.close
    finally:
        web.close()


def _repository(
    reference: Reference,
    transport: Transport,
    stopped: threading.Event,
    environment: Mapping[str, str] | None,
) -> Repository:
    def pause(seconds: float) -> None:
        if stopped.wait(seconds):
            raise Cancelled("the pull was given up")

    return Repository(reference, transport, environment=environment, sleep=pause)
