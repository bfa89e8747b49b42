"""Records: what is written is read again, from older and newer programs too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.core.data import dataclass, field
from buildkit_py.engine import coding, containers
from buildkit_py.engine.containers import ContainerSpec, NetworkUse, RestartPolicy, State
from buildkit_py.oci.image import Healthcheck
from buildkit_py.runtime.network.publish import parse
from buildkit_py.runtime.spec import Bind, Container, Overlay, Tmpfs

TEXTS = st.text(max_size=20)


@dataclass(frozen=True, slots=True)
class Inner:
    name: str = ""


@dataclass(frozen=True, slots=True)
class Outer:
    texts: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    inner: Inner | None = None
    names: frozenset[str] = frozenset()
    number: float = 0.0


KNOWN: dict[str, type] = {"Inner": Inner, "Outer": Outer}


@given(
    st.builds(
        Outer,
        st.tuples(TEXTS, TEXTS),
        st.dictionaries(TEXTS, TEXTS, max_size=3),
        st.none() | st.builds(Inner, TEXTS),
        st.frozensets(TEXTS, max_size=3),
        st.floats(allow_nan=False),
    )
)
def test_what_is_written_is_read_again(value: Outer) -> None:
    assert coding.from_bytes(coding.to_bytes(value), KNOWN, "it") == value


def test_a_label_named_like_our_own_mark_is_a_label() -> None:
    value = Outer(labels={"is": "Inner", "of": "x"})

    assert coding.from_bytes(coding.to_bytes(value), KNOWN, "it") == value


def test_other_versions_fields_are_left_out_and_missing_ones_have_their_defaults() -> None:
    data = b'{"is":"Outer","texts":["a"],"from the future":{"is":"map","of":{}}}'

    assert coding.from_bytes(data, KNOWN, "it") == Outer(("a",))


@pytest.mark.parametrize("data", [b"", b"{", b"[]]", b'{"is":"Other"}', b'{"of":1}', b"\xff"])
def test_a_damaged_record_is_told(data: bytes) -> None:
    with pytest.raises(coding.DamagedRecord, match="the record of it is damaged"):
        coding.from_bytes(data, KNOWN, "it")


def test_a_containers_whole_spec_lasts(tmp_path: Path) -> None:
    spec = ContainerSpec(
        "a" * 64, "web", "shop", "2024-01-01T00:00:00Z", "nginx", "sha256:1",
        Container(("sh",), Overlay(("/l",), "/u", "/w", volatile=False),
                  mounts=(Bind("/s", "/t"), Tmpfs("/x")), capabilities=frozenset({"CHOWN"}),
                  rlimits={"nofile": (1, 2)}),
        labels={"a": "b"}, hosts=(("name", "192.0.2.1"),), networks=(NetworkUse("n", ("x",)),),
        ports=parse("127.0.0.1:80:80/udp"), restart=RestartPolicy("on-failure", 3),
        healthcheck=Healthcheck(("CMD", "true"), 1),
    )  # fmt: skip

    containers.write_spec(str(tmp_path), spec)

    assert containers.read_spec(str(tmp_path)) == spec


def test_a_lost_or_torn_state_is_that_of_a_container_that_ended(tmp_path: Path) -> None:
    assert containers.read_state(str(tmp_path)).status == "exited"
    (tmp_path / "state.json").write_text("{")
    assert containers.read_state(str(tmp_path)).exit_code == 137
    containers.write_state(str(tmp_path), State("running", pid=1))
    assert containers.read_state(str(tmp_path)) == State("running", pid=1)
    assert json.loads((tmp_path / "state.json").read_text())["pid"] == 1


@pytest.mark.parametrize("name", ["-x", ".x", "a/b", "a b", "ä"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(containers.BadName):
        containers.check_name(name)
