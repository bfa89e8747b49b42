"""The image that comes out: names, ids, labels, arguments, archives, config and history."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Golden
from tests.stories.conftest import Image, Person

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "golden"


def test_several_names_and_only_the_id(anyone: Person) -> None:
    context = anyone.context("FROM busybox\nLABEL names=several\n")

    done = anyone.pybuild(
        "-q", "-t", "several", "-t", "several:2", "-t", "example.org/team/s", context
    )

    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", done.stdout)
    assert "#1" not in done.stderr
    names = anyone.names()
    three = [names[f"docker.io/library/several:{tag}"] for tag in ("latest", "2")]
    three.append(names["example.org/team/s:latest"])
    assert len(set(three)) == 1
    assert anyone.manifest("example.org/team/s:latest")["config"]["digest"] == done.image


def test_a_name_moves_to_the_newest_image(anyone: Person) -> None:
    first = anyone.build("FROM busybox\nLABEL n=1\n", None, "-t", "moves")
    second = anyone.build("FROM busybox\nLABEL n=2\n", None, "-t", "moves")

    assert anyone.manifest("docker.io/library/moves:latest") == second.manifest
    assert first.manifest != second.manifest


@pytest.mark.parametrize("again", [False, True], ids=["built", "recalled"])
def test_files_with_ids(anyone: Person, again: bool) -> None:
    context = anyone.context("FROM busybox\nLABEL files=ids\n")
    iid, metadata = anyone.folder / "iid", anyone.folder / "metadata"
    options = ("--iidfile", iid, "--metadata-file", metadata, "-t", "ids:a", "-t", "ids:b")
    for _ in range(2 if again else 0):
        anyone.pybuild(*options, context)
    done = anyone.pybuild(*options, context)

    digest = anyone.names()["docker.io/library/ids:a"]
    assert iid.read_text() == done.image
    assert json.loads(metadata.read_text()) == {
        "containerimage.config.digest": done.image,
        "containerimage.descriptor": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": len(anyone.blob(digest)),
        },
        "containerimage.digest": digest,
        "image.name": "docker.io/library/ids:a,docker.io/library/ids:b",
    }


STAGES = """\
FROM busybox AS first
RUN echo first stage ran; touch /one
FROM nothing.invalid/never AS unused
RUN exit 1
FROM first AS second
RUN echo second stage ran; touch /two
"""


def test_target_builds_only_what_it_needs(anyone: Person) -> None:
    first = anyone.build(STAGES, None, "--target", "FIRST")
    second = anyone.build(STAGES)

    assert first.done.output == ["first stage ran"]
    assert second.done.output == ["first stage ran", "second stage ran"]
    assert [set(each.entries) for each in second.new] == [{"one"}, {"two"}]


ARGUMENTS = """\
ARG BASE=nothing.invalid/never
FROM $BASE
ARG WHO=nobody
ARG FROM_ENVIRONMENT=default
ARG ABSENT=default
RUN echo who=$WHO environment=$FROM_ENVIRONMENT absent=$ABSENT other=$OTHER
"""


def test_build_arguments_with_and_without_a_value(anyone: Person) -> None:
    made = anyone.build(
        ARGUMENTS,
        None,
        *("--build-arg", "BASE=busybox", "--build-arg=WHO=ann"),
        *("--build-arg", "FROM_ENVIRONMENT", "--build-arg", "ABSENT", "--build-arg", "OTHER=x"),
        env={"FROM_ENVIRONMENT": "from outside"},
    )

    assert made.done.output == ["who=ann environment=from outside absent=default other="]
    assert made.history[-1] == (
        "RUN |3 WHO=ann FROM_ENVIRONMENT=from outside ABSENT=default /bin/sh -c"
        " echo who=$WHO environment=$FROM_ENVIRONMENT absent=$ABSENT other=$OTHER # buildkit"
    )


def test_labels_of_the_command_line_win(anyone: Person) -> None:
    made = anyone.build(
        "FROM busybox\nLABEL a=file b=file\n", None, "--label", "b=line", "--label", "c=x=y"
    )

    assert made.config["config"]["Labels"] == {"a": "file", "b": "line", "c": "x=y"}


TWO = """\
FROM busybox AS one
RUN echo run of one; echo same > /same
FROM busybox AS two
COPY --from=one /same /same
RUN echo run of two
"""


def test_no_cache_and_no_cache_of_one_stage(anyone: Person) -> None:
    anyone.build(TWO)

    cached = anyone.build(TWO, cached=True)
    one = anyone.build(TWO, None, "--no-cache-filter", "one", cached=True)
    both = anyone.build(TWO)

    assert cached.done.output == []
    assert one.done.output == ["run of one"]
    assert both.done.output == ["run of one", "run of two"]
    # What stage one made is the same file, so the copy and what follows came from the cache.
    assert one.manifest == cached.manifest


@pytest.mark.root
@pytest.mark.peer("skopeo")
@pytest.mark.peer("umoci")
def test_an_archive_is_read_by_skopeo_and_umoci(person: Person) -> None:
    path = person.folder / "image.tar"
    made = person.build(
        "FROM busybox\nRUN mkdir /d && echo text > /d/f && chown 5:6 /d/f && ln -s f /d/link\n"
        "RUN rm -r /etc/group\n"
        'CMD ["cat", "/d/f"]\n',
        None,
        f"--output=type=oci,dest={path}",
        *("-t", "archived:1"),
    )
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(person.folder)}

    def run(*command: str) -> str:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = json.loads(run("skopeo", "inspect", f"oci-archive:{path}"))
    config = json.loads(run("skopeo", "inspect", "--config", f"oci-archive:{path}"))
    layout = person.folder / "layout"
    layout.mkdir()
    with tarfile.open(path) as tar:
        tar.extractall(layout, filter="tar")
    tags = run("umoci", "ls", "--layout", str(layout)).split()
    run("umoci", "unpack", "--image", f"{layout}:{tags[0]}", str(person.folder / "bundle"))
    rootfs = person.folder / "bundle/rootfs"

    assert told["Architecture"] == made.config["architecture"]
    assert told["Layers"] == [each["digest"] for each in made.manifest["layers"]]
    assert config == made.config
    assert tags == ["1"]
    assert (rootfs / "d/link").read_text() == "text\n"
    assert ((rootfs / "d/f").stat().st_uid, (rootfs / "d/f").stat().st_gid) == (5, 6)
    assert not (rootfs / "etc/group").exists()
    assert (rootfs / "bin/busybox").exists()


@pytest.mark.peer("skopeo")
@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_archives_of_anyone(anyone: Person, kind: str) -> None:
    path = anyone.folder / "image.tar"
    made = anyone.build(
        "FROM busybox\nRUN touch /f\n", None, f"-otype={kind},dest={path}", "-t", "archived:2"
    )

    told = subprocess.run(
        ["skopeo", "inspect", "--config", f"{kind}-archive:{path}"],
        capture_output=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(anyone.folder)},
    )

    assert json.loads(told.stdout) == made.config
    if kind == "docker":
        with tarfile.open(path) as tar:
            file = tar.extractfile("manifest.json")
            assert file is not None
            assert json.load(file)[0]["RepoTags"] == ["archived:2"]


REPRODUCED = """\
FROM busybox
ARG SOURCE_DATE_EPOCH
RUN echo epoch=$SOURCE_DATE_EPOCH
WORKDIR /made/by/workdir
COPY f /copied/f
"""


@pytest.mark.parametrize("how", ["environment", "argument"])
def test_the_same_image_at_another_time(anyone: Person, how: str) -> None:
    """`--no-cache` twice, with SOURCE_DATE_EPOCH: one digest, and its times are the epoch's.

    As in BuildKit, files that are copied keep their time, and those of a RUN have the real one.
    """
    env = {"SOURCE_DATE_EPOCH": "1700000000"} if how == "environment" else None
    options = () if env else ("--build-arg", "SOURCE_DATE_EPOCH=1700000000")
    context = anyone.context(REPRODUCED, {"f": "f"})

    one, two = (
        anyone.image(anyone.pybuild("--no-cache", *options, context, env=env)) for _ in range(2)
    )

    assert one.done.output == ["epoch=1700000000"]
    assert one.done.image == two.done.image
    assert one.config["created"] == "2023-11-14T22:13:20Z"
    times = {each["created"] for each in one.config["history"][1:]}
    assert times == {"2023-11-14T22:13:20Z"}


ALL = """\
# check=skip=all
ARG BASE=busybox
FROM ${BASE} AS base
MAINTAINER Ada Lovelace <ada@example.org>
ONBUILD ARG TRIGGERED=yes
ONBUILD RUN echo triggered=$TRIGGERED > /triggered
ONBUILD COPY --chmod=0600 f /from-trigger

FROM base AS whole
LABEL org.example.title="a title" org.example.size=12
ENV PATH=/opt/bin:$PATH LANG=C.UTF-8
ARG VERSION=1.2 OTHER
WORKDIR /src/a directory
COPY --chown=1000:1000 --chmod=0644 f g /dst/
ADD f /added/
RUN --network=none echo $VERSION > version
USER nobody:nogroup
VOLUME /data /cache
EXPOSE 80 443/tcp 53/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --retries=3 CMD test -e /dst/f
SHELL ["/bin/sh", "-o", "pipefail", "-c"]
ONBUILD RUN echo for later
ENTRYPOINT ["/bin/cat"]
CMD ["/dst/f"]
"""


def readable(image: Image) -> str:
    """Return config and layers as text without what differs from day to day."""
    config: dict[str, Any] = json.loads(json.dumps(image.config))
    config["rootfs"]["diff_ids"] = len(config["rootfs"]["diff_ids"])
    config["created"] = "[TIME]"
    config["architecture"] = "[ARCHITECTURE]"
    for each in config["history"]:
        each["created"] = "[TIME]"
    lines = [json.dumps(config, indent=1)]
    for layer in image.new:
        lines += ["", "layer:"]
        for each in layer.entries.values():
            lines.append(f"{each.mode:04o} {each.uid}:{each.gid} {each.size} {each.name}")
    return "\n".join(lines) + "\n"


def test_all_instructions(anyone: Person, golden: Golden) -> None:
    made = anyone.build(ALL, {"f": "f", "g": "gg"})

    golden(GOLDEN / "all-instructions.txt", readable(made))


def test_triggers_of_an_image(anyone: Person, golden: Golden) -> None:
    """ONBUILD of an image runs in the build that starts from it, and not in the one after."""
    anyone.build(ALL, {"f": "f"}, "--target", "base", "-t", "with-triggers")

    made = anyone.build("FROM with-triggers\nRUN cat /triggered\n", {"f": "f"}, "-t", "triggered")
    after = anyone.build("FROM triggered\nRUN touch /after\n")

    assert made.done.output == ["triggered=yes"]
    golden(GOLDEN / "triggers.txt", readable(made))
    assert after.history[len(made.history) :] == ["RUN /bin/sh -c touch /after # buildkit"]
