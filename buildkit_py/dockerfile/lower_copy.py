"""COPY and ADD become vertices. Counterpart: BuildKit dockerfile2llb/convert_copy.go."""

from __future__ import annotations

import re

from buildkit_py.core.errors import InputError
from buildkit_py.dockerfile import ast, glob
from buildkit_py.dockerfile.chain import Chain
from buildkit_py.dockerfile.grammar import is_heredoc
from buildkit_py.dockerfile.ignore import BadIgnorePattern, Patterns
from buildkit_py.dockerfile.paths import clean, destination, with_pivot
from buildkit_py.dockerfile.stages import copy_origin
from buildkit_py.graph import ops
from buildkit_py.graph.vertex import Input, Vertex

_SYMBOLIC = re.compile(r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+")
_GIT_URL = re.compile(r"(?:git|ssh)://.*|git@[^/]+:.*|https?://[^?#]*\.git(?:[?#].*)?", re.DOTALL)


class BadCopy(InputError):
    code = "dockerfile/bad-copy"


def lower_copy(chain: Chain, instruction: ast.Copy | ast.Add) -> None:
    """Add the step of a COPY or ADD and its history."""
    is_add = isinstance(instruction, ast.Add)
    flags = {flag.name: flag for flag in instruction.flags if flag.name != "exclude"}
    paths, heredocs = _sources(instruction)
    written = [chain.expand(word) for word in paths]
    for word, text in zip(paths, written, strict=True):
        _refuse_remote(text, word, is_add=is_add)
        _check_wildcard(text, word)
    _refuse_remote_flags(flags)
    files = tuple(
        ops.InlineFile(each.name, chain.expand_body(each) if each.expand else each.content)
        for each in heredocs
    )
    to = chain.expand(instruction.dest)
    dest = destination(to, chain.cwd)
    _warn_of_overwriting(chain, instruction, len(written) + len(files), dest)
    chown = chain.expand_flag(flags["chown"]) if "chown" in flags else ""
    chmod = chain.expand_flag(flags["chmod"]) if "chmod" in flags else ""
    if chmod:
        check_mode(chmod, flags["chmod"])
    parents = is_set(flags.get("parents"))
    origin = None
    if "from" in flags and flags["from"].value:
        origin = copy_origin(chain.graph.stages, chain.index, flags["from"])
        chain.check_above(origin, "copy", flags["from"])
    exclude = tuple(flag.value or "" for flag in instruction.flags if flag.name == "exclude")
    _check_excludes(instruction)
    sources = tuple(with_pivot(text) if parents else clean(text) for text in written)

    inputs: list[Input] = []
    if sources:
        select = tuple(clean(source) for source in sources)
        inputs.append(Input(chain.source(origin, instruction.span), select, exclude))
    inline = tuple(file.name for file in files)
    if files:
        written_files = chain.graph.add(
            Vertex(
                ops.Inline(files),
                name="[internal] preparing inline document",
                span=instruction.span,
                stage=chain.label,
            )
        )
        inputs.append(Input(written_files, inline))
    op = ops.Copy(
        sources=sources or inline,
        dest=dest,
        chown=chown,
        chmod=chmod,
        unpack=is_add and bool(sources) and is_set(flags.get("unpack"), default=True),
        keep_owner=origin is not None,
        parents=parents,
        exclude=exclude,
        # As in BuildKit, whose link path does not know about --chmod.
        link=is_set(flags.get("link")) and not chmod,
        inline=inline if sources else (),
    )
    name = "ADD" if is_add else "COPY"
    title = f"{name}{instruction.original.lstrip()[len(instruction.keyword.text) :]}"
    chain.layer(op, inputs, title, instruction.span)
    options = [
        *(["--parents"] if parents else []),
        *([f"--chown={chown}"] if chown else []),
        *([f"--chmod={chmod}"] if chmod else []),
    ]
    said = [name, *options, *written, *(f"<<{each}" for each in inline), to]
    chain.record(f"{' '.join(said)} # buildkit", layer=True)


def is_set(flag: ast.Flag | None, *, default: bool = False) -> bool:
    """Return what a flag such as `--link` or `--link=false` says."""
    if flag is None:
        return default
    return flag.value is None or flag.value.lower() == "true"


def check_mode(text: str, flag: ast.Flag) -> None:
    """Raise BadCopy unless `text` is a mode: octal up to 07777, or symbolic as chmod(1) has it."""
    octal = text.isascii() and text.isdecimal() and not text.strip("01234567")
    if octal and int(text, 8) <= 0o7777:
        return
    if not octal and all(_SYMBOLIC.fullmatch(part) for part in text.split(",")):
        return
    raise BadCopy(
        f"invalid mode `{text}`",
        at=flag.span,
        hint="write it as `0755`, at most 07777, or as `u=rwX,go=rX`",
    )


def _sources(instruction: ast.Copy | ast.Add) -> tuple[list[ast.Word], list[ast.Heredoc]]:
    """Return the sources that are paths, and the heredocs that are sources."""
    if instruction.json:
        return list(instruction.sources), []
    paths = [
        word for word in instruction.sources if "<<" not in word.text or not is_heredoc(word.text)
    ]
    return paths, list(instruction.heredocs)


def is_git(text: str) -> bool:
    """Tell whether a source is a Git repository, as BuildKit's ADD recognises one."""
    return _GIT_URL.fullmatch(text) is not None


def _refuse_remote(text: str, word: ast.Word, *, is_add: bool) -> None:
    if is_git(text):
        what, short = "Git repositories", "a Git repository"
    elif text.startswith(("http://", "https://")):
        what, short = "URLs", "a URL"
    else:
        return
    if not is_add:
        raise BadCopy(
            f"the source of a COPY cannot be {short}", at=word.span, hint="use ADD for it"
        )
    raise BadCopy(
        f"ADD of {what} is not supported yet",
        at=word.span,
        code="dockerfile/not-yet",
        hint="fetch it in a RUN, or beforehand into the context",
    )


def _check_wildcard(text: str, word: ast.Word) -> None:
    try:
        glob.tokenize(text, deep=False)
    except glob.BadPattern as error:
        raise BadCopy(
            f"syntax error in pattern `{text}`: {error}",
            at=word.span,
            hint="a backslash takes the meaning of the next character: `\\[`",
        ) from None


def _check_excludes(instruction: ast.Copy | ast.Add) -> None:
    for flag in instruction.flags:
        if flag.name == "exclude":
            try:
                Patterns.of([flag.value or ""])
            except BadIgnorePattern as error:
                raise BadCopy(error.message, at=flag.span, hint=error.hint) from None


def _refuse_remote_flags(flags: dict[str, ast.Flag]) -> None:
    for name in ("checksum", "keep-git-dir"):
        if name in flags:
            raise BadCopy(
                f"`--{name}` needs a source that is a URL or a Git repository",
                at=flags[name].span,
            )


def _warn_of_overwriting(
    chain: Chain, instruction: ast.Copy | ast.Add, count: int, dest: str
) -> None:
    """Warn where several sources go to one name: all but the last may be lost, silently."""
    is_directory = dest.endswith("/") or dest == chain.cwd
    if count > 1 and not is_directory:
        chain.graph.warnings.append(
            InputError(
                "several sources, but the destination does not end in `/`",
                code="dockerfile/several-sources",
                at=instruction.dest.span,
                label="may become one file: the last source",
                hint=f"write `{instruction.dest.text}/`",
            )
        )
