"""Dockerfiles become graphs: whole plans as golden text, and each rule by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from buildkit_py.core.errors import InputError, InputErrors
from buildkit_py.dockerfile.describe import describe
from buildkit_py.dockerfile.lower import ImageRequest, Lowered, ResolvedImage
from buildkit_py.graph import ops
from buildkit_py.graph.vertex import Vertex
from buildkit_py.oci.image import ContainerConfig
from tests.conftest import Golden
from tests.dockerfile.lowering import (
    AMD64,
    ARM64,
    complaint,
    history,
    images,
    lowered,
    warnings,
)

FIXTURES = Path(__file__).parents[2] / "fixtures"

CASES: dict[str, dict[str, Any]] = {
    "c-multistage": {},
    "scoping": {"build_args": {"VERSION": "13", "HTTP_PROXY": "http://p", "no_proxy": "here"}},
    "mounts": {"build_args": {"BUILDKIT_CACHE_MOUNT_NS": "team"}},
    "heredocs": {},
    "copies": {},
    "shared-base": {"build_args": {"WHO": "me"}},
}


@pytest.mark.parametrize("case", CASES)
def test_the_plan_of_a_dockerfile(case: str, golden: Golden) -> None:
    folder = FIXTURES / "dockerfiles" / case

    made = lowered((folder / "Dockerfile").read_text(), **CASES[case])

    golden(folder / "plan.txt", describe(made))


@pytest.mark.parametrize("case", CASES)
def test_a_plan_keeps_its_promises(case: str) -> None:
    made = lowered((FIXTURES / "dockerfiles" / case / "Dockerfile").read_text(), **CASES[case])

    check_promises(made)


def check_promises(made: Lowered) -> None:
    """What everything that follows relies on."""
    seen: set[int] = set()
    for vertex in made.vertices:
        assert all(id(each.vertex) in seen for each in vertex.inputs), "inputs come first"
        seen.add(id(vertex))
    filled = [each for each in made.config.history if not each.empty_layer]
    below = made.base.config.diff_ids if made.base else ()
    assert made.config.diff_ids == below
    assert len(filled) == len(below) + len(made.layers)
    chain = made.root
    for layer in reversed(made.layers):
        assert chain is layer
        chain = layer.inputs[0].vertex
    assert isinstance(chain.op, (ops.Base, ops.Scratch))


def test_config_and_history_are_those_of_docker() -> None:
    """Recorded from docker 26.1, whose BuildKit is older than the one we follow.

    What differs is what BuildKit changed since: it shows the values of ARGs, writes EXPOSE and
    HEALTHCHECK otherwise, and lets a stage inherit the ARGs of the stage below.
    """
    changed = ("ARG ", "EXPOSE ", "HEALTHCHECK ")
    text = (FIXTURES / "dockerfiles" / "everything" / "Dockerfile").read_text()
    peer = json.loads((FIXTURES / "peers" / "docker-26.1" / "everything.json").read_text())
    base = ContainerConfig.from_data(peer["base"]["config"])
    below = len(peer["base"]["history"])

    for stage, request in (("one", {"target": "one"}), ("two", {"labels": {"cli": "1"}})):
        made = lowered(text, configs={"base": base}, build_args={"B": "bb"}, **request)
        check_promises(made)
        ours = [(each.created_by or "", each.empty_layer) for each in made.config.history[1:]]
        theirs = peer[stage]["history"][below:]

        assert made.config.author == peer[stage]["author"]
        assert made.config.config.to_data() == peer[stage]["config"]
        assert [empty for _, empty in ours] == [empty for _, empty in theirs]
        for (said, _), (expected, _) in zip(ours, theirs, strict=True):
            if expected.startswith(changed):
                assert said.split()[0] == expected.split()[0]
            elif stage == "two" and expected.startswith("RUN /bin/sh"):
                assert said == expected.replace("RUN", f"RUN {ARGS_OF_ONE}")
            else:
                assert said == expected


ARGS_OF_ONE = "|5 GLOBAL=g A=2 B=bb PRE=1-x E1=new"


def vertex(made: Lowered, text: str) -> Vertex:
    (found,) = (each for each in made.vertices if text in each.name)
    return found


def run(text: str, **request: Any) -> ops.Run:
    op = lowered(text, **request).root.op
    assert isinstance(op, ops.Run)
    return op


def copy(text: str, **request: Any) -> ops.Copy:
    op = lowered(text, **request).root.op
    assert isinstance(op, ops.Copy)
    return op


def test_scratch_has_a_path_and_a_directory() -> None:
    made = lowered("FROM scratch\nCOPY a /")

    assert made.base is None
    assert made.config.config.to_data() == {
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "WorkingDir": "/",
    }


def test_a_base_without_a_path_gets_one() -> None:
    made = lowered("FROM x", configs={"x": ContainerConfig(env=("A=1",))})

    assert made.config.config.env == (
        "A=1",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    )


def test_an_image_without_instructions_is_its_base() -> None:
    made = lowered("FROM x")

    assert (made.layers, made.root.op.components()["kind"]) == ((), "base")


def test_a_base_without_layers_is_empty() -> None:
    def resolve(requests: Sequence[ImageRequest]) -> Mapping[ImageRequest, ResolvedImage]:
        from buildkit_py.oci.image import ImageConfig

        made = images()(requests)
        return {
            each: ResolvedImage(found.reference, found.manifest, ImageConfig(AMD64))
            for each, found in made.items()
        }

    made = lowered("FROM empty\nCOPY a /", resolve=resolve)

    assert isinstance(made.root.inputs[0].vertex.op, ops.Scratch)
    assert made.base is not None


def test_names_do_not_show_values() -> None:
    made = lowered("FROM x\nARG SECRET=s3cret\nRUN echo $SECRET\nCOPY a $SECRET", target=None)

    assert [each.name for each in made.layers] == ["[2/3] RUN echo $SECRET", "[3/3] COPY a $SECRET"]


def test_lower_case_keywords_are_shown_in_capitals() -> None:
    assert lowered("from x\nrun  echo a").root.name == "[2/2] RUN  echo a"


def test_the_last_definition_wins_for_run_but_the_image_keeps_env() -> None:
    text = "FROM x\nENV A=env\nARG A=arg\nRUN true"

    assert run(text).env == ("PATH=/bin", "A=arg")
    assert lowered(text).config.config.env == ("PATH=/bin", "A=env")
    assert run("FROM x\nARG A=arg\nENV A=env\nRUN true").env == ("PATH=/bin", "A=env")


def test_an_arg_without_a_value_defines_nothing() -> None:
    assert run("FROM x\nENV A=env\nARG A\nRUN true").env == ("PATH=/bin", "A=env")
    assert run("FROM x\nARG A\nRUN true").env == ("PATH=/bin",)


def test_a_global_arg_enters_a_stage_only_when_asked_for() -> None:
    assert run("ARG A=g\nFROM x\nRUN true").env == ("PATH=/bin",)
    assert run("ARG A=g\nFROM x\nARG A\nRUN true").env == ("PATH=/bin", "A=g")
    assert run("ARG A=g\nFROM x\nARG A=own\nRUN true").env == ("PATH=/bin", "A=own")


def test_a_build_argument_beats_every_default() -> None:
    given = {"A": "cli"}

    assert run("ARG A=g\nFROM x\nARG A=own\nRUN true", build_args=given).env[1:] == ("A=cli",)
    assert run("FROM x\nARG A\nRUN true", build_args=given).env[1:] == ("A=cli",)


def test_values_of_one_env_are_those_before_it() -> None:
    made = lowered("FROM x\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc")

    assert made.config.config.env[1:] == ("abc=bye", "def=hello", "ghi=bye")


def test_the_platform_is_known_to_who_asks() -> None:
    text = "FROM x\nARG TARGETPLATFORM\nARG BUILDARCH\nARG TARGETSTAGE\nRUN true"

    op = run(text, platform=ARM64, build_platform=AMD64)

    assert op.env[1:] == ("TARGETPLATFORM=linux/arm64", "BUILDARCH=amd64", "TARGETSTAGE=default")


def test_from_may_name_its_platform() -> None:
    text = "FROM --platform=$BUILDPLATFORM x AS a\nFROM y\nCOPY --from=a /a /"
    asked: list[tuple[str, str]] = []

    def resolve(requests: Sequence[ImageRequest]) -> Mapping[ImageRequest, ResolvedImage]:
        asked.extend((each.reference, str(each.platform)) for each in requests)
        return images()(requests)

    lowered(text, platform=ARM64, build_platform=AMD64, resolve=resolve)

    assert asked == [
        ("docker.io/library/x:latest", "linux/amd64"),
        ("docker.io/library/y:latest", "linux/arm64"),
    ]


def test_a_platform_that_was_asked_for_is_written_into_the_image() -> None:
    text = "FROM --platform=linux/amd64 x"

    assert lowered(text, platform=ARM64).config.platform == AMD64
    assert lowered(text, platform=ARM64, platform_given=True).config.platform == ARM64


def test_only_reachable_images_are_resolved() -> None:
    asked: list[str] = []

    def resolve(requests: Sequence[ImageRequest]) -> Mapping[ImageRequest, ResolvedImage]:
        asked.extend(each.reference for each in requests)
        return images()(requests)

    text = "FROM unused AS u\nRUN false\nFROM base AS a\nFROM last\nCOPY --from=a / /x"
    lowered(text, resolve=resolve)

    assert asked == ["docker.io/library/base:latest", "docker.io/library/last:latest"]


def test_one_image_is_asked_for_once_and_is_one_vertex() -> None:
    rounds: list[int] = []

    def resolve(requests: Sequence[ImageRequest]) -> Mapping[ImageRequest, ResolvedImage]:
        rounds.append(len(requests))
        return images()(requests)

    text = "FROM x AS a\nRUN one\nFROM docker.io/library/x:latest\nCOPY --from=a /a /"
    made = lowered(text, resolve=resolve)

    assert rounds == [1]
    assert len([each for each in made.vertices if isinstance(each.op, ops.Base)]) == 1


def test_triggers_of_an_image_run_after_from_and_may_need_more_images() -> None:
    base = ContainerConfig(
        env=("PATH=/bin",),
        on_build=("ARG V=1", "RUN make $V", "COPY --from=tools /t /", "ENV DONE=$V"),
    )
    rounds: list[list[str]] = []

    def resolve(requests: Sequence[ImageRequest]) -> Mapping[ImageRequest, ResolvedImage]:
        rounds.append([each.reference for each in requests])
        return images({"base": base})(requests)

    made = lowered("FROM base\nRUN own", resolve=resolve)

    assert rounds == [["docker.io/library/base:latest"], ["docker.io/library/tools:latest"]]
    assert [each.name for each in made.layers] == [
        "[2/4] ONBUILD RUN make $V",
        "[3/4] ONBUILD COPY --from=tools /t /",
        "[4/4] RUN own",
    ]
    assert made.config.config.on_build == ()
    assert made.config.config.env == ("PATH=/bin", "DONE=1")


def test_triggers_are_not_inherited_by_grandchildren() -> None:
    text = "FROM x AS a\nONBUILD RUN t\nFROM a AS b\nFROM b\nRUN own"

    assert [each.name for each in lowered(text).layers] == [
        "[b 1/1] ONBUILD RUN t",
        "[stage-2 1/1] RUN own",
    ]


def test_a_bad_trigger_of_an_image_is_shown() -> None:
    expected = """\
error[dockerfile/bad-mount]: unsupported mount type `bnd`
 --> ONBUILD of docker.io/library/x:latest:1:5
  |
1 | RUN --mount=type=bnd,target=/a true
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^

hint: did you mean `bind`?"""

    base = ContainerConfig(on_build=("RUN --mount=type=bnd,target=/a true",))

    assert complaint("FROM x", configs={"x": base}) == expected


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ("FROM y", "`FROM` cannot be a trigger"),
        ("MAINTAINER y", "`MAINTAINER` cannot be a trigger"),
        ("RUM x", "unknown instruction `RUM`"),
        ("RUN a\nRUN b", "a trigger is one instruction"),
        ("COPY a\nEXPOSE", "ONBUILD of docker.io/library/x:latest:1:6"),
    ],
)
def test_a_trigger_must_be_one_instruction_of_a_stage(trigger: str, message: str) -> None:
    base = ContainerConfig(on_build=(trigger,))

    assert message in complaint("FROM x", configs={"x": base})


def test_a_base_by_digest_is_named_with_it_once() -> None:
    name = f"docker.io/library/x@sha256:{'0' * 64}"

    assert lowered(f"FROM {name}").root.name == f"[1/1] FROM {name}"


def test_files_may_be_asked_of_nothing() -> None:
    made = lowered("FROM x\nCOPY --from=scratch /a /b")

    assert isinstance(made.root.inputs[1].vertex.op, ops.Scratch)


def test_a_plan_shows_the_author() -> None:
    assert "author Some One\n" in describe(lowered("FROM x\nMAINTAINER Some One"))


def test_entrypoint_clears_an_inherited_cmd_only() -> None:
    assert lowered('FROM x\nENTRYPOINT ["e"]').config.config.cmd is None
    assert lowered('FROM x\nCMD ["c"]\nENTRYPOINT ["e"]').config.config.cmd == ("c",)
    inherited = 'FROM x AS a\nCMD ["c"]\nFROM a\nENTRYPOINT ["e"]'
    assert lowered(inherited).config.config.cmd is None


def test_empty_commands_are_not_written() -> None:
    made = lowered("FROM x\nCMD []\nENTRYPOINT []").config.config

    assert (made.cmd, made.entrypoint, made.args_escaped) == (None, None, True)
    assert history("FROM x\nCMD []\nENTRYPOINT []") == ["CMD []", "ENTRYPOINT []"]


def test_workdir_is_relative_to_the_one_before_and_owned_by_the_user() -> None:
    made = lowered("FROM x\nWORKDIR /a/\nUSER me\nWORKDIR b/../c\nWORKDIR /\nRUN true")

    first, second, last = (each.op for each in made.layers)
    assert first == ops.MakeDirectory("/a", "")
    assert second == ops.MakeDirectory("/a/c", "me")
    assert isinstance(last, ops.Run)
    assert (last.cwd, last.user) == ("/", "me")


def test_the_working_directory_of_the_base_counts() -> None:
    base = ContainerConfig(working_dir="/srv/", user="www", shell=("/bin/ash", "-c"))
    op = run("FROM x\nRUN pwd", configs={"x": base})

    assert (op.cwd, op.user, op.args) == ("/srv", "www", ("/bin/ash", "-c", "pwd"))


def test_proxies_reach_every_run_outside_of_its_key() -> None:
    text = "FROM x\nRUN true"
    op = run(text, build_args={"HTTP_PROXY": "http://p", "no_proxy": "a"})

    assert op.proxy_env == (
        "HTTP_PROXY=http://p",
        "http_proxy=http://p",
        "NO_PROXY=a",
        "no_proxy=a",
    )
    assert op.components() == run(text).components()
    assert history(text, build_args={"HTTP_PROXY": "http://p"}) == history(text)


def test_a_declared_proxy_is_an_argument_like_any_other() -> None:
    op = run("FROM x\nARG HTTP_PROXY\nRUN true", build_args={"HTTP_PROXY": "http://p"})

    assert op.env[1:] == ("HTTP_PROXY=http://p",)
    assert op.proxy_env == ("http_proxy=http://p",)


def test_labels_of_the_command_line_come_last() -> None:
    made = lowered("FROM x\nLABEL a=1 b=2", labels={"b": "3"})

    assert made.config.config.labels == {"a": "1", "b": "3"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM x\nRUN a", "default"),
        ("FROM x\nRUN --network=none a", "none"),
        ("FROM x\nRUN --network=host a", "host"),
    ],
)
def test_the_network_of_a_run(text: str, expected: str) -> None:
    assert run(text).network == expected


def test_the_network_of_the_build_is_the_default() -> None:
    assert run("FROM x\nRUN a", network="none").network == "none"
    assert run("FROM x\nRUN --network=host a", network="none").network == "host"


@pytest.mark.parametrize(
    ("written", "dest"),
    [
        (".", "/app/"),
        ("./", "/app/"),
        ("b", "/app/b"),
        ("b/", "/app/b/"),
        ("/", "/"),
        ("/x/../y/.", "/y/"),
        ("../../..", "/"),
    ],
)
def test_the_destination_is_absolute_and_keeps_its_slash(written: str, dest: str) -> None:
    assert copy(f"FROM x\nWORKDIR /app\nCOPY a {written}").dest == dest


def test_sources_never_leave_the_root() -> None:
    assert copy("FROM x\nCOPY ../../a /b/../../c ./d/ /x/").sources == ("/a", "/c", "/d")


def test_the_link_path_does_not_know_chmod() -> None:
    assert copy("FROM x\nCOPY --link a /").link
    assert not copy("FROM x\nCOPY --link=false a /").link
    assert not copy("FROM x\nCOPY --link --chmod=644 a /").link


def test_a_program_may_be_allowed_more() -> None:
    assert run("FROM x\nRUN --security=insecure a").security == "insecure"
    assert run("FROM x\nRUN --security=sandbox a").security == "sandbox"


@pytest.mark.parametrize(
    "mode", ["0", "644", "07777", "u=rwX,go=rX", "+x", "a-w", "g=u", "u+s,o+t"]
)
def test_a_mode_is_octal_or_symbolic(mode: str) -> None:
    assert copy(f"FROM x\nCOPY --chmod={mode} a /").chmod == mode


@pytest.mark.parametrize("mode", ["8", "77777", "rwx", "u", "u=z", "x=r", "u=r,"])
def test_anything_else_is_no_mode(mode: str) -> None:
    assert "invalid mode" in complaint(f"FROM x\nCOPY --chmod={mode} a /")


def test_a_copy_from_a_later_stage_is_shown() -> None:
    expected = """\
error[dockerfile/bad-from]: cannot copy from stage `b`
 --> Dockerfile:2:6
  |
2 | COPY --from=b / /
  |      ^^^^^^^^ it needs to be defined before current stage `a`

hint: move stage `b` above this one"""

    assert complaint("FROM x AS a\nCOPY --from=b / /\nFROM x AS b", target="a") == expected


def test_a_remote_source_is_refused_with_its_place() -> None:
    expected = """\
error[dockerfile/not-yet]: ADD of Git repositories is not supported yet
 --> Dockerfile:2:5
  |
2 | ADD https://example.com/a/b.git#main:sub /src
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

hint: fetch it in a RUN, or beforehand into the context"""

    assert complaint("FROM x\nADD https://example.com/a/b.git#main:sub /src") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COPY https://a/b /", "the source of a COPY cannot be a URL"),
        ("COPY git@host:a/b /", "the source of a COPY cannot be a Git repository"),
        ("ADD http://a/b /", "ADD of URLs is not supported yet"),
        ("ADD --checksum=sha256:0 a /", "`--checksum` needs a source that is a URL"),
        ("COPY [a /", "`[` is not closed"),
        ("COPY --exclude=[ a /", "`[` is not closed"),
        ("RUN []", "arguments are required"),
        ("RUN --device=gpu a", "`--device` is not supported yet"),
        ("STOPSIGNAL FOO", "invalid signal `FOO`"),
        ("EXPOSE 70000", "invalid container port `70000`"),
        ("VOLUME $NOTHING", "a VOLUME is blank"),
        ("ENV $NOTHING=1", "ENV names can not be blank"),
        ("ENV a=${", "missing `}` in `${`"),
    ],
)
def test_a_wrong_instruction_is_refused(text: str, message: str) -> None:
    assert message in complaint(f"FROM x\n{text}")


def test_all_wrong_instructions_are_told_at_once() -> None:
    with pytest.raises(InputErrors) as caught:
        lowered("FROM x\nEXPOSE x\nSTOPSIGNAL y\nRUN ok\nCOPY [ /")

    assert [each.at.line for each in caught.value.errors if each.at] == [2, 3, 5]


def test_named_contexts_are_refused_for_now() -> None:
    with pytest.raises(InputError, match="not supported yet"):
        lowered("FROM x", named_contexts={"x": "dir"})


def test_several_sources_to_one_name_are_warned_of() -> None:
    expected = """\
warning[dockerfile/several-sources]: several sources, but the destination does not end in `/`
 --> Dockerfile:2:10
  |
2 | COPY a b /dst
  |          ^^^^ may become one file: the last source

hint: write `/dst/`"""

    assert warnings("FROM x\nCOPY a b /dst") == expected
    assert warnings("FROM x\nWORKDIR /dst\nCOPY a b /dst\nCOPY a b .\nCOPY a /y") == ""


def test_an_undefined_variable_is_warned_of() -> None:
    expected = """\
warning[dockerfile/undefined-variable]: the variable `VERZION` is not defined
 --> Dockerfile:3:7
  |
3 | ENV a=$VERZION
  |       ^^^^^^^^ expands to nothing

hint: did you mean `VERSION`?"""

    assert warnings("FROM x\nARG VERSION=1\nENV a=$VERZION") == expected
    assert warnings("FROM x\nARG V\nENV a=$V b=${W:-w} c=$$ d=$1") == ""


def test_an_undefined_variable_in_a_heredoc_is_marked_there() -> None:
    text = "FROM x\nCOPY <<conf /etc/\nlisten 80\nhost $host\nconf"

    assert (
        warnings(text)
        == """\
warning[dockerfile/undefined-variable]: the variable `host` is not defined
 --> Dockerfile:4:6
  |
4 | host $host
  |      ^^^^^ expands to nothing"""
    )


def test_a_global_argument_that_was_not_brought_in_is_warned_of() -> None:
    drawn = warnings("ARG VERSION=1\nFROM x\nENV a=$VERSION")

    assert "hint: declare `ARG VERSION` in this stage to bring it in" in drawn


def test_an_undeclared_build_argument_is_warned_of() -> None:
    expected = """\
warning[dockerfile/undeclared-build-arg]: the build argument `VERZION` is used nowhere
 --> --build-arg:1:1
  |
1 | VERZION
  | ^^^^^^^ no ARG declares it

hint: did you mean `VERSION`?"""
    known = {"HTTP_PROXY": "p", "BUILDKIT_INLINE_CACHE": "1", "TARGETARCH": "x", "VERSION": "2"}

    assert warnings("FROM x\nARG VERSION", build_args={"VERZION": "2"}) == expected
    assert warnings("FROM x\nARG VERSION", build_args=known) == ""


def test_a_host_port_in_expose_is_warned_of() -> None:
    assert "hint: write `EXPOSE 80/udp`" in warnings("FROM x\nEXPOSE 8080:80/udp")


def test_a_plan_is_the_same_every_time() -> None:
    text = (FIXTURES / "dockerfiles" / "mounts" / "Dockerfile").read_text()

    assert describe(lowered(text)) == describe(lowered(text))
