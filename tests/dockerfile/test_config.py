"""Image configs and history: each metadata instruction, and Go's way to write things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.dockerfile import golang
from buildkit_py.dockerfile.config import set_env
from buildkit_py.dockerfile.durations import duration_ns
from tests.dockerfile.lowering import complaint, history, lowered


def config(text: str, **request: Any) -> dict[str, Any]:
    data = lowered(f"FROM x\n{text}", **request).config.config.to_data()
    return {key: value for key, value in data.items() if key not in ("Env", "Cmd")}


@pytest.mark.parametrize(
    ("text", "expected", "said"),
    [
        ("EXPOSE 80", {"ExposedPorts": {"80/tcp": {}}}, "EXPOSE [80/tcp]"),
        (
            "EXPOSE 90/UDP 80-82",
            {"ExposedPorts": {"80/tcp": {}, "81/tcp": {}, "82/tcp": {}, "90/udp": {}}},
            "EXPOSE [80/tcp 81/tcp 82/tcp 90/udp]",
        ),
        ("EXPOSE 8080:80/sctp", {"ExposedPorts": {"80/sctp": {}}}, "EXPOSE [80/sctp]"),
        ("EXPOSE 127.0.0.1:8080:80", {"ExposedPorts": {"80/tcp": {}}}, "EXPOSE [80/tcp]"),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}, "VOLUME [/a /b]"),
        ('VOLUME ["/a b"]', {"Volumes": {"/a b": {}}}, "VOLUME [/a b]"),
        ("USER me:us", {"User": "me:us"}, "USER me:us"),
        ("STOPSIGNAL SIGKILL", {"StopSignal": "SIGKILL"}, "STOPSIGNAL SIGKILL"),
        ("STOPSIGNAL 9", {"StopSignal": "9"}, "STOPSIGNAL 9"),
        ("STOPSIGNAL rtmin+3", {"StopSignal": "rtmin+3"}, "STOPSIGNAL rtmin+3"),
        ("STOPSIGNAL RTMAX-14", {"StopSignal": "RTMAX-14"}, "STOPSIGNAL RTMAX-14"),
        ("LABEL a=b \"c d\"='e f'", {"Labels": {"a": "b", "c d": "e f"}}, "LABEL a=b c d=e f"),
        ("LABEL key some text", {"Labels": {"key": "some text"}}, "LABEL key=some text"),
        ('SHELL ["/bin/a", "-c"]', {"Shell": ["/bin/a", "-c"]}, "SHELL [/bin/a -c]"),
        ('ENTRYPOINT ["a", "b c"]', {"Entrypoint": ["a", "b c"]}, 'ENTRYPOINT ["a" "b c"]'),
        (
            'ENTRYPOINT a "b"',
            {"Entrypoint": ["/bin/sh", "-c", 'a "b"']},
            'ENTRYPOINT ["/bin/sh" "-c" "a \\"b\\""]',
        ),
        ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}, None),
        (
            'HEALTHCHECK --retries=3 --timeout=0 CMD ["a", "b"]',
            {"Healthcheck": {"Test": ["CMD", "a", "b"], "Retries": 3}},
            "HEALTHCHECK {Test:[CMD a b] Interval:0s Timeout:0s StartPeriod:0s"
            " StartInterval:0s Retries:3}",
        ),
        (
            "HEALTHCHECK --interval=1m --start-period=1.5s --start-interval=5ms CMD a $b",
            {
                "Healthcheck": {
                    "Test": ["CMD-SHELL", "a $b"],
                    "Interval": 60_000_000_000,
                    "StartPeriod": 1_500_000_000,
                    "StartInterval": 5_000_000,
                }
            },
            "HEALTHCHECK {Test:[CMD-SHELL a $b] Interval:1m0s Timeout:0s StartPeriod:1.5s"
            " StartInterval:5ms Retries:0}",
        ),
        ("WORKDIR /", {"WorkingDir": "/"}, "WORKDIR /"),
    ],
)
def test_an_instruction_changes_config_and_history(
    text: str, expected: dict[str, Any], said: str | None
) -> None:
    made = lowered(f"FROM x\n{text}")

    assert config(text) == expected
    assert made.layers == ()
    assert made.config.history[-1].empty_layer
    assert made.config.history[-1].comment == "buildkit.dockerfile.v0"
    if said is not None:
        assert history(f"FROM x\n{text}") == [said]


def test_ports_are_split_after_expansion() -> None:
    text = "ARG PORTS='1 2/udp'\nEXPOSE $PORTS"

    assert config(text) == {"ExposedPorts": {"1/tcp": {}, "2/udp": {}}}


def test_the_shell_of_the_image_serves_cmd() -> None:
    made = lowered('FROM x\nSHELL ["bash", "-ec"]\nCMD a b').config.config

    assert (made.cmd, made.args_escaped) == (("bash", "-ec", "a b"), True)


def test_onbuild_is_kept_as_written_and_has_no_history() -> None:
    text = "ONBUILD RUN echo \\\n  $A\nonbuild   copy . /src"

    assert config(text) == {"OnBuild": ["RUN echo   $A", "copy . /src"]}
    assert history(f"FROM x\n{text}") == []


def test_the_maintainer_is_the_author() -> None:
    made = lowered("FROM x\nMAINTAINER Some One <a@b>").config

    assert made.author == "Some One <a@b>"
    assert made.history[-1].created_by == "MAINTAINER Some One <a@b>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EXPOSE x", "invalid container port `x`"),
        ("EXPOSE 65536", "invalid container port `65536`"),
        ("EXPOSE -1", "invalid container port `-1`"),
        ("EXPOSE ²", "invalid container port `²`"),
        ("EXPOSE 9-8", "invalid port range `9-8`: it runs backwards"),
        ("EXPOSE 80/icmp", "invalid proto `icmp` in `80/icmp`"),
        ("EXPOSE x:80", "invalid host port `x`"),
        ("EXPOSE /tcp", "no port in `/tcp`"),
        ("EXPOSE 1-3:80-81", "the port ranges `80-81` and `1-3` differ in length"),
        ("STOPSIGNAL 0", "invalid signal `0`"),
        ("STOPSIGNAL SIGNOPE", "invalid signal `SIGNOPE`"),
        ("STOPSIGNAL RTMIN+16", "invalid signal `RTMIN+16`"),
        ("STOPSIGNAL RTMAX-15", "invalid signal `RTMAX-15`"),
    ],
)
def test_a_bad_value_is_refused(text: str, message: str) -> None:
    assert message in complaint(f"FROM x\n{text}")


def test_a_bad_port_is_shown() -> None:
    assert (
        complaint("FROM x\nEXPOSE 80 70000/tcp")
        == """\
error[dockerfile/bad-port]: invalid container port `70000`
 --> Dockerfile:2:11
  |
2 | EXPOSE 80 70000/tcp
  |           ^^^^^^^^^

hint: a port is a number from 0 to 65535, or a range such as `8000-8010`"""
    )


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (60_000_000_000, "1m0s"),
        (245_000_000_000, "4m5s"),
        (245_001_000_000, "4m5.001s"),
        (18_367_001_000_000, "5h6m7.001s"),
        (480_000_000_001, "8m0.000000001s"),
        (3_600_000_000_000, "1h0m0s"),
        (-1_500_000_000, "-1.5s"),
    ],
)
def test_durations_are_written_as_in_go(nanoseconds: int, text: str) -> None:
    assert golang.format_duration(nanoseconds) == text


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_duration_is_read_as_it_was_written(nanoseconds: int) -> None:
    assert duration_ns(golang.format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a b", '"a b"'),
        ('"\\', '"\\"\\\\"'),
        ("\a\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'),
        ("\x00\x7f", '"\\x00\\x7f"'),
        ("é日", '"é日"'),
        ("\u200b\U000e0001", '"\\u200b\\U000e0001"'),
    ],
)
def test_strings_are_quoted_as_in_go(text: str, quoted: str) -> None:
    assert golang.quote(text) == quoted


def test_new_variables_are_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []

    def counted(env: Sequence[str], name: str, value: str) -> tuple[str, ...]:
        searched.append(name)
        return set_env(env, name, value)

    monkeypatch.setattr("buildkit_py.dockerfile.lower_metadata.set_env", counted)
    env = lowered(
        "FROM base\nENV a=1 b=2 a=3\nARG c=4\nENV c=5 PATH=/x\nENV b=6\n"
    ).config.config.env

    assert env == ("PATH=/x", "a=3", "b=6", "c=5")
    assert searched == ["a", "c", "PATH", "b"]
