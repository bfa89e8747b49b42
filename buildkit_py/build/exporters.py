"""What becomes of an image besides being in the store: archives, files with its id.

`-o type=image` names it and `--load` does nothing more, for the store is shared. The kinds that
are not supported say so before anything is built (`check`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from buildkit_py.build.request import BuildRequest, Output
from buildkit_py.build.steps.services import Services
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.oci.image import Descriptor

SUPPORTED = ("image", "oci", "docker")
_KEYS = {
    "image": {"name", "push"},
    "oci": {"dest", "name", "tar"},
    "docker": {"dest", "name", "tar"},
}


class BadOutput(InputError):
    """An `--output` has a type, a key or a value that is not supported."""

    code = "build/bad-output"


def parse_output(text: str) -> Output:
    """Read `type=oci,dest=x.tar`, or a bare path, which docker takes as `type=local`."""
    import csv

    fields = next(csv.reader([text]))
    attributes: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            if len(fields) == 1:
                attributes = {"type": "local" if text != "-" else "tar", "dest": text}
                break
            raise BadOutput(f"invalid `--output` `{text}`: `{field}` has no `=`")
        attributes[key.strip().lower()] = value
    kind = attributes.pop("type", "")
    if kind not in SUPPORTED:
        raise BadOutput(
            f"`--output type={kind}` is not supported yet"
            if kind
            else f"invalid `--output` `{text}`: it has no `type`",
            hint=f"supported: {', '.join(f'type={each}' for each in SUPPORTED)}",
        )
    if unknown := sorted(set(attributes) - _KEYS[kind]):
        raise BadOutput(
            f"`--output type={kind}` does not support `{unknown[0]}` yet",
            hint=f"supported: {', '.join(sorted(_KEYS[kind]))}",
        )
    if attributes.get("push", "false") not in ("false", "0"):
        raise BadOutput("`push=true` is not supported yet")
    if kind in ("oci", "docker") and not attributes.get("dest"):
        raise BadOutput(
            f"`--output type={kind}` needs `dest`", hint="`dest=image.tar`, or `dest=-`"
        )
    return Output(kind, attributes)


def export(
    request: BuildRequest, services: Services, manifest: Descriptor, names: Sequence[str]
) -> None:
    """Write every output that was asked for."""
    for output in request.outputs:
        given = [each for each in output.attributes.get("name", "").split(",") if each]
        if output.type == "image":
            from buildkit_py.oci.reference import parse_reference

            for name in given:
                services.store.images.put(parse_reference(name).name, manifest)
            continue
        whole = output.attributes.get("tar", "true") not in ("false", "0")
        _write(services, output, manifest, given or list(names), whole)


def _write(
    services: Services, output: Output, manifest: Descriptor, names: Sequence[str], tar: bool
) -> None:
    from buildkit_py.store import archive

    dest = output.attributes["dest"]
    docker = output.type == "docker"
    content = services.store.content
    if not tar:
        if docker:
            raise BadOutput("`tar=false` is for `type=oci`")
        archive.write_layout(content, manifest, names, dest)
        return
    if dest == "-":
        with os.fdopen(os.dup(1), "wb") as standard:
            archive.write_archive(content, manifest, names, standard, docker=docker)
        return
    part = f"{dest}.part-{os.getpid()}"
    try:
        with open(part, "xb") as file:  # never through a link that somebody laid
            archive.write_archive(content, manifest, names, file, docker=docker)
        os.replace(part, dest)
    except OSError as error:
        if os.path.exists(part):
            os.unlink(part)
        raise HostError(
            f"cannot write `{dest}`: {error.strerror}", code="build/cannot-write"
        ) from None
