"""Presets, families and single codes."""

from __future__ import annotations

import pytest

from buildkit_py.core.errors import InputError
from buildkit_py.dockerfile.lint.rule import Severity
from buildkit_py.dockerfile.lint.select import PRESETS, select


def codes(*arguments: str | None, **named: object) -> set[str]:
    return {active.code for active in select(*arguments, **named).active}  # type: ignore[arg-type]


def test_a_preset_has_its_own_codes() -> None:
    assert {code[:2] for code in codes("hadolint")} == {"DL"}
    assert not any(code.startswith("DL") for code in codes("buildkit"))
    assert "DL4000" in codes("hadolint")
    assert "MaintainerDeprecated" in codes("buildkit")


def test_a_complaint_is_made_once() -> None:
    for preset in PRESETS:
        active = select(preset).active
        named = [code for each in active for code in (each.code, each.alias) if code]

        assert len(named) == len(set(named))


def test_no_preset_is_the_default_one() -> None:
    assert codes() == codes("default")
    assert "DL3008" not in codes()
    assert {"DL3008", "DL3007", "UndefinedVar"} <= codes("strict")


def test_experimental_rules_run_only_when_they_are_named() -> None:
    assert all("InvalidDefinitionDescription" not in codes(preset) for preset in PRESETS)
    assert codes(None, only=["InvalidDefinitionDescription"]) == {"InvalidDefinitionDescription"}


def test_what_is_selected_runs_alone_or_beside_a_preset() -> None:
    assert codes(None, only=["DL3008"]) == {"DL3008"}
    assert codes("default", only=["DL3008"]) == codes("default") | {"DL3008"}


def test_families_and_beginnings() -> None:
    assert codes(None, only=["DL"]) == codes("hadolint") | {"DL3057"}
    assert codes(None, only=["BK"]) > codes("buildkit")
    assert codes(None, only=["DL300"]) == {c for c in codes("hadolint") if c.startswith("DL300")}
    assert codes(None, only=["ALL"]) > codes("strict")


def test_an_alias_selects_and_ignores_and_is_shown() -> None:
    assert codes(None, only=["DL4000"]) == {"DL4000"}
    assert "MaintainerDeprecated" not in codes("default", ignore=["DL4000"])
    assert "DL4000" not in codes("hadolint", ignore=["MaintainerDeprecated"])


def test_hadolint_has_its_own_severities() -> None:
    (buildkit,) = select(None, only=["MaintainerDeprecated"]).active
    (hadolint,) = select(None, only=["DL4000"]).active

    assert (buildkit.severity, hadolint.severity) == (Severity.WARNING, Severity.ERROR)


def test_a_severity_can_be_changed() -> None:
    (active,) = select(None, only=["DL4000"], severities={"DL4000": Severity.STYLE}).active

    assert active.severity == Severity.STYLE


def test_codes_of_others_can_be_ignored_but_not_selected() -> None:
    assert codes("default", ignore=["SC2086", "DL3999"]) == codes("default")
    with pytest.raises(InputError, match="unknown rule `DL3999`"):
        select(None, only=["DL3999"])


@pytest.mark.parametrize(
    ("arguments", "named", "hint"),
    [
        (("hadolnt",), {}, "did you mean `hadolint`?"),
        ((None,), {"only": ["StageName"]}, "did you mean `StageNameCasing`?"),
        ((None,), {"ignore": ["nonsense"]}, "`pybuild lint --list-rules` shows all"),
    ],
)
def test_a_misspelt_name_is_told(
    arguments: tuple[str | None], named: dict[str, list[str]], hint: str
) -> None:
    with pytest.raises(InputError) as caught:
        select(*arguments, **named)  # type: ignore[arg-type]

    assert caught.value.hint == hint
