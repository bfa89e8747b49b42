"""RUN becomes a vertex. Counterpart: BuildKit's dispatchRun and dispatchRunMounts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

from buildkit_py.core.errors import InputError
from buildkit_py.dockerfile import ast, mounts
from buildkit_py.dockerfile.chain import Chain
from buildkit_py.dockerfile.config import with_shell
from buildkit_py.dockerfile.grammar import is_heredoc
from buildkit_py.dockerfile.paths import clean
from buildkit_py.dockerfile.stages import mount_origin
from buildkit_py.graph import ops
from buildkit_py.graph.vertex import Input

PIPES = "/dev/pipes"
"""Where heredoc scripts with a `#!` line are shown."""

CACHE_NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


class BadRun(InputError):
    code = "dockerfile/bad-run"


def lower_run(chain: Chain, instruction: ast.Run) -> None:
    """Add the step of a RUN and its history."""
    command, files, summary = _command(instruction)
    args = with_shell(chain.config.shell, command)
    if not args:
        raise BadRun("arguments are required", at=instruction.span, hint="give a program to run")
    made, inputs = _mounts(chain, instruction)
    request = chain.graph.request
    op = ops.Run(
        args=args,
        env=tuple(f"{name}={value}" for name, value in chain.env.items()),
        cwd=chain.cwd,
        user=chain.config.user,
        network=_network(instruction) or request.network,
        mounts=made,
        files=files,
        proxy_env=proxy_env(request.build_args, chain.env),
        hosts=request.hosts,
        security=_security(instruction),
    )
    chain.layer(op, inputs, _title(instruction) + summary, instruction.span)
    chain.record(f"RUN {history_text(chain, args)} # buildkit", layer=True)


def _title(instruction: ast.Run) -> str:
    # Variables stay as written: their values may be secrets, and names are shown and logged.
    return f"RUN{instruction.original.lstrip()[len(instruction.keyword.text) :]}"


def _command(instruction: ast.Run) -> tuple[ast.Command, tuple[ops.InlineFile, ...], str]:
    """Return the command, the script files it needs, and what the step's name says of heredocs.

    One heredoc alone is the script itself; with a `#!` line it is a program; a heredoc beside a
    command goes to the shell, which expands it.
    """
    command, heredocs = instruction.command, instruction.heredocs
    if isinstance(command, ast.ExecForm) or not heredocs:
        return command, (), ""
    word = command.text
    first = heredocs[0]
    if not is_heredoc(word.text.strip()):
        # The shell reads `<<-` itself, so it gets the tabs that the parser has cut.
        bodies = "".join(
            f"\n{each.span.text if each.chomp else each.content}{each.name}" for each in heredocs
        )
        return ast.ShellForm(ast.Word(word.text + bodies, word.span)), (), ""
    lines = first.content.strip().splitlines() or [""]
    summary = f" ({lines[0]}{'...' if len(lines) > 1 else ''})"
    if first.content.startswith("#!"):
        # As in BuildKit, it is the shell that starts the script.
        program = ast.ShellForm(ast.Word(f"{PIPES}/{first.name}", word.span))
        file = ops.InlineFile(first.name, first.content, 0o755)
        return program, (file,), summary
    return ast.ShellForm(ast.Word(first.content, word.span)), (), summary


def _network(instruction: ast.Run) -> Literal["none", "host"] | None:
    """Return what `--network` asks for; the parser has refused other values."""
    for flag in instruction.flags:
        if flag.name == "network":
            return "none" if flag.value == "none" else "host" if flag.value == "host" else None
    return None


def _security(instruction: ast.Run) -> Literal["sandbox", "insecure"]:
    insecure = False
    for flag in instruction.flags:
        if flag.name == "device":
            raise BadRun("`--device` is not supported yet", at=flag.span, code="dockerfile/not-yet")
        insecure = insecure or (flag.name == "security" and flag.value == "insecure")
    return "insecure" if insecure else "sandbox"


def proxy_env(build_args: Mapping[str, str], env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the proxies among the build arguments, in both cases, but for declared ones."""
    found: dict[str, str] = {}
    for name in sorted(build_args):
        if name.upper() in PROXIES and build_args[name]:
            found[name.upper()] = build_args[name]
    both = [(case, value) for name, value in found.items() for case in (name, name.lower())]
    return tuple(f"{name}={value}" for name, value in both if name not in env)


def history_text(chain: Chain, args: tuple[str, ...]) -> str:
    """Return `|2 A=1 B=2 /bin/sh -c …`: the ARGs in force, then the program."""
    values = [f"{name}={chain.env.get(name, '')}" for name in chain.arguments]
    count = [f"|{len(values)}"] if values else []
    return " ".join([*count, *values, *args])


def _mounts(chain: Chain, instruction: ast.Run) -> tuple[tuple[ops.Mount, ...], list[Input]]:
    """Return the mounts, and what they read; an input's index counts the root, which is 0."""
    made: list[ops.Mount] = []
    inputs: list[Input] = []
    sockets = 0
    for flag in instruction.flags:
        if flag.name != "mount":
            continue
        asked = mounts.parse_mount(flag, partial(_expanded, chain, flag))
        if asked.type == "secret":
            made.append(_secret(asked, chain.cwd))
            continue
        if asked.type == "ssh":
            made.append(_ssh(asked, chain.cwd, sockets))
            sockets += 1
            continue
        target = mounts.target_path(asked, chain.cwd, flag)
        if asked.type == "tmpfs":
            if asked.source_stage or asked.source:
                chain.graph.warnings.append(_ignored(flag))
            size = asked.size_bytes
            read_only = asked.read_only
            made.append(ops.Mount("tmpfs", target, size_bytes=size, read_only=read_only))
            continue
        number = None
        source = clean(asked.source)
        if asked.source_stage or asked.type == "bind":
            origin = None
            if asked.source_stage:
                stages = chain.graph.stages
                origin = mount_origin(stages, chain.index, flag, asked.source_stage)
            chain.check_above(origin, "mount", flag)
            inputs.append(Input(chain.source(origin, flag.span), select=(source,)))
            number = len(inputs)
        if asked.type == "bind":
            made.append(ops.Mount("bind", target, number, source=source, read_only=asked.read_only))
            continue
        namespace = chain.graph.request.build_args.get(CACHE_NAMESPACE, "")
        name = asked.id or clean(asked.target)
        made.append(
            ops.Mount(
                "cache",
                target,
                number,
                source=source,
                read_only=asked.read_only,
                id=f"{namespace}/{name}" if namespace else name,
                sharing=asked.sharing,
                mode=0o755 if asked.mode is None else asked.mode,
                uid=asked.uid or 0,
                gid=asked.gid or 0,
            )
        )
    return tuple(made), inputs


def _expanded(chain: Chain, flag: ast.Flag, value: str) -> str:
    return chain.expand(ast.Word(value, flag.span))


def _ignored(flag: ast.Flag) -> InputError:
    return InputError(
        "a tmpfs mount takes nothing from anywhere",
        code="dockerfile/useless-option",
        at=flag.span,
        label="`from` and `source` mean nothing here",
    )


def _secret(asked: mounts.MountRequest, cwd: str) -> ops.Mount:
    name = asked.id or asked.source or asked.target.rstrip("/").rpartition("/")[2]
    target = clean(asked.target, cwd) if asked.target else ""
    if not target and not asked.env:
        target = f"/run/secrets/{name.rpartition('/')[2]}"
    return ops.Mount(
        "secret",
        target,
        id=name,
        env=asked.env,
        required=asked.required,
        read_only=True,
        mode=0o400 if asked.mode is None else asked.mode,
        uid=asked.uid or 0,
        gid=asked.gid or 0,
    )


def _ssh(asked: mounts.MountRequest, cwd: str, number: int) -> ops.Mount:
    default = f"/run/buildkit/ssh_agent.{number}"
    return ops.Mount(
        "ssh",
        clean(asked.target, cwd) if asked.target else default,
        id=asked.id or "default",
        required=asked.required,
        read_only=True,
        mode=0o600 if asked.mode is None else asked.mode,
        uid=asked.uid or 0,
        gid=asked.gid or 0,
    )
