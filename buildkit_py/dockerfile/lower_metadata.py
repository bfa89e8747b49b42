"""The instructions that change only the environment, the image config and the history.

The texts of history entries are BuildKit's (dispatchEnv, dispatchCmd and so on in convert.go).
"""

from __future__ import annotations

from buildkit_py.core.errors import InputError
from buildkit_py.dockerfile import ast, golang
from buildkit_py.dockerfile.chain import Chain
from buildkit_py.dockerfile.config import (
    check_signal,
    exposed_ports,
    healthcheck,
    healthcheck_text,
    set_env,
    with_shell,
)
from buildkit_py.dockerfile.paths import clean
from buildkit_py.graph import ops


class BadMetadata(InputError):
    code = "dockerfile/bad-metadata"


def lower_env(chain: Chain, instruction: ast.Env) -> None:
    # Every value is expanded with what stood before the instruction.
    pairs = _pairs(chain, instruction.pairs, "ENV")
    env = chain.config.env
    for name, value in pairs:
        # `chain.env` has every name of the config: what it lacks needs no search, which would make
        # the time grow with the square of the variables.
        env = set_env(env, name, value) if name in chain.env else (*env, f"{name}={value}")
        chain.env[name] = value
    chain.configure(env=env)
    chain.record(" ".join(["ENV", *(f"{name}={value}" for name, value in pairs)]))


def lower_label(chain: Chain, instruction: ast.Label) -> None:
    pairs = _pairs(chain, instruction.pairs, "LABEL")
    chain.configure(labels={**chain.config.labels, **dict(pairs)})
    chain.record(" ".join(["LABEL", *(f"{name}={value}" for name, value in pairs)]))


def _pairs(chain: Chain, pairs: tuple[ast.Pair, ...], what: str) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for pair in pairs:
        name = chain.expand(pair.key)
        if not name:
            raise BadMetadata(
                f"{what} names can not be blank", at=pair.key.span, label="expands to nothing"
            )
        out.append((name, chain.expand(pair.value) if pair.value else ""))
    return out


def lower_arg(chain: Chain, instruction: ast.Arg) -> None:
    given, above = chain.graph.request.build_args, chain.graph.stages.arguments
    said: list[str] = []
    for pair in instruction.pairs:
        name = pair.key.text
        if name in given:
            value: str | None = given[name]
        elif pair.value is not None:
            value = chain.expand(pair.value)
        else:
            value = above.get(name)
        if value is not None:
            chain.env[name] = value
        chain.arguments[name] = value
        said.append(name if value is None else f"{name}={value}")
    chain.record(" ".join(["ARG", *said]))


def lower_workdir(chain: Chain, instruction: ast.Workdir) -> None:
    path = clean(chain.expand(instruction.path), chain.cwd)
    chain.configure(working_dir=path)
    makes_layer = path != "/"
    if makes_layer:
        title = f"WORKDIR{instruction.original.lstrip()[len(instruction.keyword.text) :]}"
        op = ops.MakeDirectory(path, chain.config.user)
        chain.layer(op, (), title, instruction.span)
    chain.record(f"WORKDIR {path}", layer=makes_layer)


def lower_cmd(chain: Chain, instruction: ast.Cmd) -> None:
    words = with_shell(chain.config.shell, instruction.command)
    chain.cmd_set = True
    chain.configure(cmd=words or None, args_escaped=True)
    chain.record(f"CMD {golang.quoted_list(words)}")


def lower_entrypoint(chain: Chain, instruction: ast.Entrypoint) -> None:
    words = with_shell(chain.config.shell, instruction.command)
    chain.configure(entrypoint=words or None)
    if not chain.cmd_set:
        # An inherited CMD was meant for the inherited program.
        chain.configure(cmd=None)
    chain.record(f"ENTRYPOINT {golang.quoted_list(words)}")


def lower_shell(chain: Chain, instruction: ast.Shell) -> None:
    words = tuple(word.text for word in instruction.command.words)
    chain.configure(shell=words)
    chain.record(f"SHELL {golang.plain_list(words)}")


def lower_user(chain: Chain, instruction: ast.User) -> None:
    user = chain.expand(instruction.user)
    chain.configure(user=user)
    chain.record(f"USER {user}")


def lower_expose(chain: Chain, instruction: ast.Expose) -> None:
    ports: list[str] = []
    # BuildKit sorts the words as written, before it expands them.
    for word in sorted(instruction.ports, key=lambda word: word.text):
        specs = chain.expansion(word).words
        ports += exposed_ports(specs, word.span)
        chain.graph.warnings += [_host_port(spec, word) for spec in specs if ":" in spec]
    chain.configure(exposed_ports=tuple(dict.fromkeys((*chain.config.exposed_ports, *ports))))
    chain.record(f"EXPOSE {golang.plain_list(ports)}")


def _host_port(spec: str, word: ast.Word) -> InputError:
    port = spec.rpartition(":")[2]
    return InputError(
        f"EXPOSE takes only the container's port of `{spec}`",
        code="dockerfile/expose-host-port",
        at=word.span,
        label="publishing is for `run -p`",
        hint=f"write `EXPOSE {port}`",
    )


def lower_volume(chain: Chain, instruction: ast.Volume) -> None:
    paths: list[str] = []
    for word in instruction.paths:
        path = chain.expand(ast.Word(word.text.strip(), word.span))
        if not path:
            raise BadMetadata("a VOLUME is blank", at=word.span, label="expands to nothing")
        paths.append(path)
    chain.configure(volumes=tuple(dict.fromkeys((*chain.config.volumes, *paths))))
    chain.record(f"VOLUME {golang.plain_list(paths)}")


def lower_stopsignal(chain: Chain, instruction: ast.Stopsignal) -> None:
    signal = check_signal(chain.expand(instruction.signal), instruction.signal.span)
    chain.configure(stop_signal=signal)
    chain.record(f"STOPSIGNAL {signal}")


def lower_healthcheck(chain: Chain, instruction: ast.Healthcheck) -> None:
    health = healthcheck(instruction)
    chain.configure(healthcheck=health)
    chain.record(f"HEALTHCHECK {healthcheck_text(health)}")


def lower_maintainer(chain: Chain, instruction: ast.Maintainer) -> None:
    chain.author = instruction.name.text
    chain.record(f"MAINTAINER {instruction.name.text}")


def lower_onbuild(chain: Chain, instruction: ast.Onbuild) -> None:
    # The one instruction without history.
    chain.configure(on_build=(*chain.config.on_build, instruction.trigger_text))
