"""Base images: from the store where they are, else pulled from the registry they name."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from buildkit_py.build.steps.services import Services
from buildkit_py.core.digest import Digest
from buildkit_py.core.errors import BuildkitError
from buildkit_py.core.events import StepEnded, StepStarted, StepStatus
from buildkit_py.core.text import did_you_mean
from buildkit_py.dockerfile.request import ImageRequest, ResolvedImage
from buildkit_py.graph.solve import Cancelled
from buildkit_py.oci.image import BadImage, Descriptor, ImageConfig
from buildkit_py.oci.reference import parse_reference


class Bases:
    """Finds the images that a Dockerfile starts from.

    pull: ask the registry though the store has the image (`--pull`)
    stages: names of the stages, for suggestions

    configs: what was found, by manifest digest
    names: manifest digest by image name, of all images found by a name
    steps: how many steps were announced
    """

    def __init__(self, services: Services, *, pull: bool, stages: Sequence[str] = ()) -> None:
        self.services = services
        self.pull = pull
        self.stages = stages
        self.configs: dict[Digest, ImageConfig] = {}
        self.names: dict[str, str] = {}
        self.steps = 0

    def resolve(self, requests: Sequence[ImageRequest]) -> Mapping[ImageRequest, ResolvedImage]:
        return {request: self._resolve(request) for request in requests}

    def _resolve(self, request: ImageRequest) -> ResolvedImage:
        found = None if self.pull else self._in_store(request)
        if found is None:
            found = self._pull(request)
        descriptor, config = found
        layers = len(self.services.store.images.manifest(descriptor.digest).layers)
        if layers != len(config.diff_ids):
            # What we built upon it would be an image whose halves do not fit each other.
            raise BadImage(
                f"`{request.reference}` has {layers} layers, but its config names"
                f" {len(config.diff_ids)}",
                at=request.span,
            )
        self.configs[descriptor.digest] = config
        name = parse_reference(request.reference).name
        self.names[name] = descriptor.digest
        return ResolvedImage(request.reference, descriptor.digest, config)

    def _in_store(self, request: ImageRequest) -> tuple[Descriptor, ImageConfig] | None:
        images = self.services.store.images
        name = parse_reference(request.reference).name
        descriptor = images.get(name)
        if descriptor is None:
            return None
        config = images.config(images.manifest(descriptor.digest).config.digest)
        fits = request.platform.accepts(config.platform)
        return (descriptor, config) if fits else None

    def _pull(self, request: ImageRequest) -> tuple[Descriptor, ImageConfig]:
        from buildkit_py.registry.pull import pull

        self.steps += 1
        number = self.steps
        reference = parse_reference(request.reference)
        self.services.sink.emit(
            StepStarted(number, f"[internal] pull {reference.name} for {request.platform}")
        )
        started = time.monotonic()
        done: set[str] = set()

        def progress(blob: Descriptor, count: int) -> None:
            if count >= blob.size and blob.digest not in done:
                done.add(blob.digest)
                self.services.sink.emit(
                    StepStatus(number, blob.digest, count, blob.size, done=True)
                )

        try:
            descriptor = pull(
                reference, request.platform, self.services.store, progress=progress,
                watch=self.services.running,
            )  # fmt: skip
        except BuildkitError as error:
            if self.services.stopped():
                self.services.sink.emit(StepEnded(number, cancelled=True))
                raise Cancelled from None
            self.services.sink.emit(StepEnded(number, error=error.message))
            if error.at is None:
                error.at = request.span
            word = request.span.text.rpartition("=")[2]
            if word not in self.stages and (near := did_you_mean(word, self.stages)):
                error.hint = f"no stage is called `{word}`: {near}"
            raise
        self.services.sink.emit(StepEnded(number, seconds=time.monotonic() - started))
        images = self.services.store.images
        return descriptor, images.config(images.manifest(descriptor.digest).config.digest)
