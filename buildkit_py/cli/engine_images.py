"""`pyengine import`, `images`, `rmi`, `pull`."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.reader import Command, Option, read
from buildkit_py.core.dirs import state_root
from buildkit_py.core.errors import BuildkitError, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from buildkit_py.cli.reader import Value
    from buildkit_py.core.errors import StateError
    from buildkit_py.engine.images import ImageRow
    from buildkit_py.oci.image import Descriptor
    from buildkit_py.oci.platform import Platform
    from buildkit_py.oci.reference import Reference
    from buildkit_py.store.images import ImageRecord
    from buildkit_py.store.store import Store

ROOT = Option("--root", "text", "State root (BUILDKIT_PY_ROOT)", metavar="DIR")

IMPORT = Command(
    "pyengine import",
    "Make an image of a tar of a root file system, and print its id.",
    (
        Option("-c --change", "list", "Apply an instruction, such as `CMD [\"sh\"]`",
               metavar="INSTRUCTION"),
        Option("-m --message", "text", "Comment of the image", metavar="TEXT"),
        Option("--platform", "text", "Platform of the files", metavar="OS/ARCH"),
        ROOT,
    ),
    arguments="ROOTFS.tar|- [NAME[:TAG]]",
)  # fmt: skip
IMAGES = Command(
    "pyengine images",
    "List images, the newest first. SIZE is that of the layers as the store keeps them.",
    (
        Option("-a --all", "flag", "Nothing to do: there are no intermediate images"),
        Option("--digests", "flag", "Show digests of manifests"),
        Option("--format", "text", "`json`, `table`, or a template with {{.Repository}} {{.Tag}}"
               " {{.ID}} {{.Digest}} {{.CreatedSince}} {{.CreatedAt}} {{.Size}}",
               metavar="FORMAT"),
        Option("--no-trunc", "flag", "Show whole ids"),
        Option("-q --quiet", "flag", "Show only ids"),
        ROOT,
    ),
    arguments="[NAME[:TAG]]",
    unsupported=("--filter", "-f", "--tree"),
)  # fmt: skip
RMI = Command(
    "pyengine rmi",
    "Take names of images away, and remove what nothing refers to any more.",
    (
        Option("-f --force", "flag", "Remove an image given by id with all of its names"),
        ROOT,
    ),
    arguments="IMAGE...",
    unsupported=("--no-prune", "--platform"),
)
PULL = Command(
    "pyengine pull",
    "Get an image from the registry that its name says.",
    (
        Option("--platform", "text", "Platform to get it for", metavar="OS/ARCH"),
        Option("-q --quiet", "flag", "Print only the name"),
        ROOT,
    ),
    arguments="NAME[:TAG|@DIGEST]",
    unsupported=("-a", "--all-tags", "--disable-content-trust"),
)


def open_store(values: dict[str, Value]) -> Store:
    """Open the store for what unpacks nothing and removes no snapshot."""
    from buildkit_py.store.store import Store

    root = root_of(values)
    if os.geteuid() != 0 and _has_sessions(root):
        # One that was killed may have left files of subordinate ids, and opening sweeps it away.
        from buildkit_py.runtime.userns import enter

        enter()
    return Store.open(root, overlay="copy")


def _has_sessions(root: str) -> bool:
    try:
        return bool(os.listdir(os.path.join(root, "tmp")))
    except FileNotFoundError:
        return False


def root_of(values: dict[str, Value]) -> str:
    return state_root(text_of(values, "root") or None)


def text_of(values: dict[str, Value], name: str) -> str:
    value = values[name]
    return value if isinstance(value, str) else ""


def texts_of(values: dict[str, Value], name: str) -> list[str]:
    value = values[name]
    return value if isinstance(value, list) else []


def platform_of(values: dict[str, Value]) -> Platform:
    """Return the platform that was asked for, else this machine's."""
    from buildkit_py.oci.platform import machine_platform, parse_platform

    text = text_of(values, "platform") or os.environ.get("DOCKER_DEFAULT_PLATFORM")
    return parse_platform(text) if text else machine_platform(os.uname().machine)


def wrong_arguments(command: Command, what: str) -> InputError:
    return InputError(
        f"`{command.name}` {what}",
        code="cli/arguments",
        hint=f"usage: {command.name} [OPTIONS] {command.arguments}",
    )


def run_import(argv: Sequence[str]) -> int:
    values, arguments = read(IMPORT, argv)
    if len(arguments) not in (1, 2):
        raise wrong_arguments(IMPORT, "takes a tar, or `-`, and a name")
    from buildkit_py.engine.images import import_image

    source, name = arguments[0], arguments[1] if len(arguments) == 2 else None
    with _opened(source) as file, open_store(values) as store:
        record = import_image(
            store,
            file,
            name,
            platform=platform_of(values),
            changes=texts_of(values, "change"),
            message=text_of(values, "message"),
            what="-" if source == "-" else os.path.basename(source),
        )
    print(record.config)
    return 0


def _opened(source: str) -> BinaryIO:
    if "://" in source:
        raise InputError("import from a URL is not supported yet", code="cli/not-yet")
    if source == "-":
        return sys.stdin.buffer
    try:
        return open(source, "rb")
    except OSError as error:
        raise InputError(
            f"cannot open `{source}`: {error.strerror}", code="cli/cannot-open"
        ) from None


def run_images(argv: Sequence[str]) -> int:
    values, arguments = read(IMAGES, argv)
    if len(arguments) > 1:
        raise wrong_arguments(IMAGES, "takes one name at the most")
    from buildkit_py.cli import tables
    from buildkit_py.engine.images import list_images

    with open_store(values) as store:
        rows = list_images(store, arguments[0] if arguments else None, on_damage=_tell_damage)
    whole = bool(values["no_trunc"])
    if values["quiet"]:
        for id in dict.fromkeys(_shown_id(row, whole=whole) for row in rows):
            print(id)
        return 0
    fields = [_fields(row, whole=whole) for row in rows]
    columns = ["Repository", "Tag", "ID", "CreatedSince", "Size"]
    if values["digests"]:
        columns.insert(2, "Digest")
    print(tables.render(fields, text_of(values, "format"), columns, HEADINGS), end="")
    return 0


def _tell_damage(record: ImageRecord, error: StateError) -> None:
    name = record.name or record.config
    print(
        f"pyengine: the image `{name}` is left out: {error.message};"
        f" `pyengine rmi {name}` removes it",
        file=sys.stderr,
    )


HEADINGS = {"ID": "IMAGE ID", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT"}
"""Where a heading is not the field's name in capitals."""


def _shown_id(row: ImageRow, *, whole: bool) -> str:
    return row.id if whole else row.id.removeprefix("sha256:")[:12]


def _fields(row: ImageRow, *, whole: bool) -> dict[str, str]:
    from buildkit_py.cli.tables import age, moment
    from buildkit_py.core.text import human_size

    return {
        "Containers": "N/A",
        "CreatedAt": moment(row.created),
        "CreatedSince": age(row.created),
        "Digest": row.digest,
        "ID": _shown_id(row, whole=whole),
        "Repository": row.repository or "<none>",
        "SharedSize": "N/A",
        "Size": human_size(row.size_bytes),
        "Tag": row.tag or "<none>",
        "UniqueSize": "N/A",
    }


def run_rmi(argv: Sequence[str]) -> int:
    values, arguments = read(RMI, argv)
    if not arguments:
        raise wrong_arguments(RMI, "takes at least one image")
    from buildkit_py.cli.common import report
    from buildkit_py.runtime.userns import enter
    from buildkit_py.store.removal import remove_image
    from buildkit_py.store.store import Store

    root = root_of(values)  # before we look like root
    # Snapshots hold files of subordinate ids, which only their namespace may remove.
    host = enter()
    code = 0
    with Store.open(root, overlay=host.overlay or "copy", single_id=host.ids == "single") as store:
        for text in arguments:
            try:
                for line in remove_image(store, text, force=bool(values["force"])):
                    print(line)
            except BuildkitError as error:
                report(error)
                code = 1
    return code


def run_pull(argv: Sequence[str]) -> int:
    values, arguments = read(PULL, argv)
    if len(arguments) != 1:
        raise wrong_arguments(PULL, "takes one name")
    from buildkit_py.oci.reference import parse_reference
    from buildkit_py.registry.pull import pull

    reference = parse_reference(arguments[0])
    quiet = bool(values["quiet"])
    with open_store(values) as store:
        before = store.images.get(reference.name)
        if not quiet:
            if reference.tag == "latest" and ":" not in arguments[0].rpartition("/")[2]:
                print("Using default tag: latest")
            print(pulling(reference), flush=True)
        descriptor = pull(
            reference,
            platform_of(values),
            store,
            progress=None if quiet else told(lambda line: print(line, flush=True)),
        )
    if not quiet:
        new = before is None or before.digest != descriptor.digest
        what = "Downloaded newer image for" if new else "Image is up to date for"
        print(f"Digest: {descriptor.digest}\nStatus: {what} {reference.familiar}")
    print(reference.name)
    return 0


def pulling(reference: Reference) -> str:
    """Return docker's first line of a pull."""
    what = reference.tag or reference.digest
    place = reference.repository
    if reference.registry != "docker.io":
        place = f"{reference.registry}/{place}"
    return f"{what}: Pulling from {place}"


def told(tell: Callable[[str], None]) -> Callable[[Descriptor, int], None]:
    """Return a progress that tells each blob once, when it is here."""
    done: set[str] = set()

    def progress(blob: Descriptor, count: int) -> None:
        if count >= blob.size and blob.digest not in done:
            done.add(blob.digest)
            tell(f"{blob.digest[7:19]}: Pull complete")

    return progress


COMMANDS: dict[str, tuple[Command, Callable[[Sequence[str]], int]]] = {
    "images": (IMAGES, run_images),
    "import": (IMPORT, run_import),
    "pull": (PULL, run_pull),
    "rmi": (RMI, run_rmi),
}
