"""`--change`."""

from __future__ import annotations

import pytest

from buildkit_py.core.draw import draw
from buildkit_py.core.errors import InputError
from buildkit_py.engine.changes import BadChange, apply_changes
from buildkit_py.oci.image import ContainerConfig


def test_every_instruction_that_docker_import_takes() -> None:
    config = apply_changes(
        ContainerConfig(env=("A=1",)),
        [
            'CMD ["a", "b c"]',
            "ENTRYPOINT run it",
            'ENV A=2 B=$A C="x y"',
            "EXPOSE 80 53/udp 8000-8001",
            "LABEL one=1 two=$B",
            "user 5:6",
            'VOLUME ["/data"]',
            "WORKDIR /a",
            "WORKDIR b/../c",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK NONE",
            "ONBUILD RUN x",
        ],
    )

    assert config.cmd == ("a", "b c")
    assert config.entrypoint == ("/bin/sh", "-c", "run it")
    assert config.env == ("A=2", "B=1", "C=x y")
    assert config.exposed_ports == ("80/tcp", "53/udp", "8000/tcp", "8001/tcp")
    assert config.labels == {"one": "1", "two": "1"}
    assert (config.user, config.volumes, config.working_dir) == ("5:6", ("/data",), "/a/c")
    assert (config.stop_signal, config.on_build) == ("SIGINT", ("RUN x",))
    assert config.healthcheck is not None
    assert config.healthcheck.test == ("NONE",)


@pytest.mark.parametrize("text", ["RUN x", "FROM x", "COPY a b", "ARG x", 'SHELL ["sh"]'])
def test_instructions_that_need_a_build_are_refused(text: str) -> None:
    with pytest.raises(BadChange, match=text.split()[0]):
        apply_changes(ContainerConfig(), [text])


def test_a_change_that_cannot_be_read_is_shown() -> None:
    with pytest.raises(InputError) as caught:
        apply_changes(ContainerConfig(), ["CDM sh"])

    assert "--change:1:1" in draw(caught.value)
    assert "did you mean `CMD`?" in draw(caught.value)
