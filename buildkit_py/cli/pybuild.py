"""`pybuild`: a Dockerfile becomes an image. Imports follow the work: see docs/startup.md."""

from __future__ import annotations

import os
import sys

from buildkit_py.build.request import BuildRequest
from buildkit_py.cli.common import (
    Terminated,
    end_in_order,
    end_unread,
    open_many,
    prepare,
    report,
    report_bug,
)
from buildkit_py.cli.reader import Command, HelpWanted, Option, read
from buildkit_py.core.errors import BuildkitError, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from buildkit_py.build.recall import Answer
    from buildkit_py.cli.reader import Value
    from buildkit_py.core.events import Sink

SUBCOMMANDS = ("lint", "parse")
LATER = ("fmt", "lsp", "graph", "context", "ls", "du", "prune", "history", "cache", "bake",
         "debug")  # fmt: skip

BUILD = Command(
    "pybuild",
    "Build an OCI image from a Dockerfile, without Docker and without a daemon.",
    (
        Option("--add-host", "list", "Add a line to /etc/hosts of RUN", metavar="NAME=IP"),
        Option("--allow", "list", "Let the Dockerfile use network.host or security.insecure",
               metavar="NAME"),
        Option("--build-arg", "list", "Set an ARG; without a value, from the environment",
               metavar="NAME[=VALUE]"),
        Option("-f --file", "text", "Path of the Dockerfile (default: CONTEXT/Dockerfile)",
               metavar="PATH"),
        Option("--iidfile", "text", "Write the image's id to a file", metavar="PATH"),
        Option("-j --jobs", "number", "Steps to run at once (default: one a processor, at least 4)",
               metavar="N"),
        Option("--label", "list", "Set a label of the image", metavar="NAME=VALUE"),
        Option("--load", "flag", "Nothing to do: the image is in the store at once"),
        Option("--metadata-file", "text", "Write digests and names as JSON", metavar="PATH"),
        Option("--network", "text", "Network of RUN: default, none, host", metavar="MODE",
               default="default"),
        Option("--no-cache", "flag", "Run every step again"),
        Option("--no-cache-filter", "list", "Run the steps of these stages again",
               metavar="STAGE,..."),
        Option("-o --output", "list", "Also write the image: type=oci|docker,dest=FILE",
               metavar="TYPE,..."),
        Option("--platform", "text", "Platform to build for", metavar="OS/ARCH"),
        Option("--progress", "text", "auto, plain, tty, quiet or rawjson", metavar="KIND"),
        Option("--pull", "flag", "Ask the registry for base images, though the store has them"),
        Option("-q --quiet", "flag", "Print only the image's id"),
        Option("--root", "text", "State root (BUILDKIT_PY_ROOT)", metavar="DIR"),
        Option("--shm-size", "text", "Size of /dev/shm of RUN", metavar="SIZE"),
        Option("--strict", "flag", "Warnings are errors"),
        Option("-t --tag", "list", "Name the image; may be repeated", metavar="NAME[:TAG]"),
        Option("--target", "text", "Stage to build (default: the last one)", metavar="STAGE"),
        Option("--ulimit", "list", "Limit of RUN", metavar="NAME=SOFT[:HARD]"),
        Option("--version", "flag", "Print the version"),
    ),
    arguments="CONTEXT",
    unsupported=(
        "--annotation", "--attest", "--build-context", "--builder", "--cache-from",
        "--cache-to", "--call", "--cgroup-parent", "--check", "--debug", "--explain", "--isolation",
        "--memory", "--policy", "--provenance", "--push", "--resource", "--sbom", "--secret",
        "--security-opt", "--squash", "--ssh", "--rm", "--force-rm", "-m",
    ),
)  # fmt: skip
PROGRESS = ("auto", "plain", "tty", "quiet", "rawjson", "none")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pybuild` and return its exit code."""
    if argv is None:
        prepare()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] == "lint":
        from buildkit_py.cli import lint

        return lint.run(arguments[1:])
    try:
        if arguments and arguments[0] == "parse":
            from buildkit_py.cli import parse

            return parse.run(arguments[1:])
        refuse_later(arguments)
        return _build(arguments)
    except BuildkitError as error:
        return report(error)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except Terminated:
        print("\nterminated", file=sys.stderr)
        return 143
    except BrokenPipeError:
        return end_unread()
    except Exception as error:  # the last resort: a report instead of a traceback
        return report_bug(error)


def refuse_later(arguments: Sequence[str]) -> None:
    """Raise for a command that is still to come, also where its help is asked for."""
    if arguments and arguments[0] in LATER:
        raise InputError(f"`pybuild {arguments[0]}` is not supported yet", code="cli/not-yet")


def _build(argv: Sequence[str]) -> int:
    try:
        values, arguments = read(BUILD, argv)
    except HelpWanted:
        from buildkit_py.cli.help import print_help

        print_help(BUILD, epilog=f"Other commands: {', '.join(SUBCOMMANDS)}.")
        return 0
    if values["version"]:
        from buildkit_py import __version__

        print(f"pybuild {__version__}")
        return 0
    refuse_later(arguments)
    try:
        request = make_request(values, arguments)
    except FileNotFoundError:
        from buildkit_py.core.errors import HostError

        raise HostError("the directory you are in was removed", code="cli/no-directory") from None
    progress = _progress(values)
    from buildkit_py.build import recall

    answer = recall.recall(request)
    from buildkit_py.cli.progress import make_sink

    sink = make_sink(progress, sys.stderr)
    if answer is not None:
        _replay(answer, sink)
        return _tell(request, answer.image, answer.manifest, answer.size, sink)
    return _build_anew(request, sink)


def _build_anew(request: BuildRequest, sink: Sink) -> int:
    """Do all that needs namespaces, threads and heavy imports, in that order."""
    from buildkit_py.core.dirs import run_dir
    from buildkit_py.runtime.userns import enter

    run = run_dir()
    host = enter()
    from buildkit_py.runtime.zygote import Zygote

    with Zygote.start(host) as zygote:
        from buildkit_py.core.signals import miss_none

        end_in_order()
        miss_none()
        open_many()
        from buildkit_py.build.builder import build

        built = build(request, sink, host, zygote, run_dir=run)
    return _tell(request, built.image, built.manifest.digest, built.manifest.size, sink)


def _replay(answer: Answer, sink: Sink) -> None:
    """Show a no-op build's steps, all of them from the cache."""
    from buildkit_py.core.events import StepEnded, StepStarted, Warned

    for number, name in enumerate(answer.steps, 1):
        sink.emit(StepStarted(number, name))
        sink.emit(StepEnded(number, cached=True))
    for warning in answer.warnings:
        sink.emit(Warned(warning))


def _tell(request: BuildRequest, image: str, manifest: str, size: int, sink: Sink) -> int:
    """Print and write the digests that were asked for."""
    if request.iidfile is not None:
        _write(request.iidfile, image)
    if request.metadata_file is not None:
        import json

        from buildkit_py.oci.reference import parse_reference

        data: dict[str, object] = {
            "containerimage.config.digest": image,
            "containerimage.descriptor": {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": manifest,
                "size": size,
            },
            "containerimage.digest": manifest,
        }
        if request.tags:
            data["image.name"] = ",".join(parse_reference(tag).name for tag in request.tags)
        _write(request.metadata_file, json.dumps(data, indent=2))
    if request.quiet:
        print(image)
    else:
        names = ", ".join(request.tags)
        print(f"\n{image}{f' named {names}' if names else ''}", file=sys.stderr)
    return 0


def _write(path: str, text: str) -> None:
    from buildkit_py.core.errors import HostError

    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise HostError(
            f"cannot write `{path}`: {error.strerror}", code="cli/cannot-write"
        ) from None


def _progress(values: dict[str, Value]) -> str:
    kind = str(values["progress"] or os.environ.get("BUILDKIT_PROGRESS") or "auto")
    if kind not in PROGRESS:
        raise InputError(
            f"unknown `--progress` `{kind}`",
            code="cli/unknown-progress",
            hint=f"one of {', '.join(PROGRESS)}",
        )
    return "quiet" if values["quiet"] or kind == "none" else kind


def make_request(values: dict[str, Value], arguments: Sequence[str]) -> BuildRequest:
    """Return the request that a command line makes, with the environment's part of it."""
    from buildkit_py.core.dirs import state_root

    if len(arguments) != 1:
        raise InputError(
            "`pybuild` needs a build context"
            if not arguments
            else f"`pybuild` takes one build context, not {len(arguments)}",
            code="cli/one-context",
            hint="`pybuild .` builds from this directory",
        )
    if values["jobs"] == 0:
        raise InputError("`--jobs` is at least 1", code="cli/no-jobs")
    context = arguments[0]
    if context == "-" or "://" in context or context.startswith("git@"):
        raise InputError(
            f"the build context `{context}` is not a directory: archives, Git and HTTP are not"
            " supported yet",
            code="cli/not-a-directory",
        )
    file = _text(values["file"])
    if file == "-":
        raise InputError("a Dockerfile on standard input is not supported yet", code="cli/not-yet")
    outputs = []
    for text in _texts(values["output"]):
        from buildkit_py.build.exporters import parse_output

        outputs.append(parse_output(text))
    return BuildRequest(
        root=state_root(_text(values["root"])),
        context=os.path.abspath(context),
        file=file,
        tags=_tags(_texts(values["tag"])),
        build_args=_build_args(_texts(values["build_arg"])),
        labels=_pairs("--label", _texts(values["label"])),
        target=_text(values["target"]) or None,
        platform=_text(values["platform"]) or os.environ.get("DOCKER_DEFAULT_PLATFORM") or None,
        pull=bool(values["pull"]),
        no_cache=bool(values["no_cache"]),
        no_cache_filter=tuple(
            stage for text in _texts(values["no_cache_filter"]) for stage in text.split(",")
        ),
        network=str(values["network"]),
        add_hosts=tuple(_texts(values["add_host"])),
        allow=tuple(_texts(values["allow"])),
        shm_size=parse_size("--shm-size", _text(values["shm_size"])),
        ulimits=tuple(_texts(values["ulimit"])),
        outputs=tuple(outputs),
        iidfile=_text(values["iidfile"]),
        metadata_file=_text(values["metadata_file"]),
        quiet=bool(values["quiet"]),
        jobs=values["jobs"] if isinstance(values["jobs"], int) else 0,
        strict=bool(values["strict"]),
        source_date_epoch=_epoch(_texts(values["build_arg"])),
    )


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Value) -> list[str]:
    return value if isinstance(value, list) else []


def _tags(texts: Sequence[str]) -> tuple[str, ...]:
    if any("@" in text for text in texts):
        raise InputError("a tag must not contain a digest", code="cli/tag-with-digest")
    return tuple(texts)


def _build_args(texts: Sequence[str]) -> dict[str, str]:
    """Return build arguments; one without a value comes from the environment, if it is there."""
    arguments: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise InputError(f"invalid `--build-arg` `{text}`", code="cli/bad-build-arg")
        if equals:
            arguments[name] = value
        elif name in os.environ:
            arguments[name] = os.environ[name]
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch and "SOURCE_DATE_EPOCH" not in arguments:
        arguments["SOURCE_DATE_EPOCH"] = epoch
    return arguments


def _epoch(texts: Sequence[str]) -> int | None:
    value = _build_args(texts).get("SOURCE_DATE_EPOCH")
    if not value:
        return None
    if not value.isascii() or not value.isdigit():
        raise InputError(
            f"invalid SOURCE_DATE_EPOCH `{value}`",
            code="cli/bad-epoch",
            hint="a whole number of seconds since 1970",
        )
    return int(value)


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name:
            raise InputError(f"invalid `{option}` `{text}`", code="cli/bad-label")
        pairs[name] = value
    return pairs


def parse_size(option: str, text: str | None) -> int:
    """Read a size such as `64m` or `1.5GiB` as docker does, in powers of 1024; None is 0."""
    if text is None:
        return 0
    number = text.strip().lower().removesuffix("b").removesuffix("i")
    factor = 1
    if number and number[-1] in "kmgtp":
        factor = 1024 ** ("kmgtp".index(number[-1]) + 1)
        number = number[:-1]
    try:
        size = float(number) * factor
    except ValueError:
        size = -1.0
    if not 0 <= size < 1 << 62:
        raise InputError(
            f"invalid size `{text}` for `{option}`", code="cli/bad-size", hint="such as `64m`"
        )
    return int(size)


def run() -> NoReturn:
    """Run `pybuild` as a program; end at once, without the interpreter's slow farewell."""
    code = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = end_unread()
    os._exit(code)
