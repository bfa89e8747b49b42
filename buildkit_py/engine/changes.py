"""`--change`: instructions of a Dockerfile applied to an image's config, without a build."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from buildkit_py.core.data import replace
from buildkit_py.core.errors import InputError
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.config import (
    check_signal,
    exposed_ports,
    healthcheck,
    set_env,
    with_shell,
)
from buildkit_py.dockerfile.parse import parse_instruction
from buildkit_py.dockerfile.paths import clean
from buildkit_py.dockerfile.words import expansion
from buildkit_py.oci.image import ContainerConfig


class BadChange(InputError):
    """The instruction cannot change a config."""

    code = "engine/bad-change"


def apply_changes(config: ContainerConfig, changes: Sequence[str]) -> ContainerConfig:
    """Return the config after all changes, in order. Raises InputError with the place at fault."""
    for text in changes:
        config = _apply(config, parse_instruction(text, name="--change"))
    return config


def _apply(config: ContainerConfig, instruction: ast.Instruction) -> ContainerConfig:
    env = dict(each.split("=", 1) for each in config.env if "=" in each)

    def expand(word: ast.Word | None) -> str:
        return expansion(word.text, env, at=word.span).text if word is not None else ""

    changes: dict[str, Any]
    match instruction:
        case ast.Cmd():
            words = with_shell(config.shell, instruction.command)
            changes = {"cmd": words or None, "args_escaped": True}
        case ast.Entrypoint():
            changes = {"entrypoint": with_shell(config.shell, instruction.command) or None}
        case ast.Env():
            changed = config.env
            for pair in instruction.pairs:
                changed = set_env(changed, _name(expand(pair.key), pair), expand(pair.value))
            changes = {"env": changed}
        case ast.Label():
            labels = {_name(expand(p.key), p): expand(p.value) for p in instruction.pairs}
            changes = {"labels": {**config.labels, **labels}}
        case ast.Expose():
            ports = [
                port
                for word in instruction.ports
                for port in exposed_ports(expansion(word.text, env, at=word.span).words, word.span)
            ]
            changes = {"exposed_ports": tuple(dict.fromkeys((*config.exposed_ports, *ports)))}
        case ast.Volume():
            paths = [expand(word) for word in instruction.paths]
            changes = {"volumes": tuple(dict.fromkeys((*config.volumes, *paths)))}
        case ast.User():
            changes = {"user": expand(instruction.user)}
        case ast.Workdir():
            changes = {"working_dir": clean(expand(instruction.path), config.working_dir or "/")}
        case ast.Stopsignal():
            word = instruction.signal
            changes = {"stop_signal": check_signal(expand(word), word.span)}
        case ast.Healthcheck():
            changes = {"healthcheck": healthcheck(instruction)}
        case ast.Onbuild():
            changes = {"on_build": (*config.on_build, instruction.trigger_text)}
        case _:
            raise BadChange(
                f"`{instruction.keyword.text}` cannot change an image",
                at=instruction.keyword.span,
                hint="CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER,"
                " VOLUME or WORKDIR",
            )
    return replace(config, **changes)


def _name(text: str, pair: ast.Pair) -> str:
    if not text:
        raise BadChange("a name can not be blank", at=pair.key.span, label="expands to nothing")
    return text
