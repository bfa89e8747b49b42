"""The examples in every rule's docstring: a Bad one is found, a Good one is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from buildkit_py.core.source import Source
from buildkit_py.dockerfile.ignore import Patterns
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.registry import all_rules
from buildkit_py.dockerfile.lint.rule import Rule
from buildkit_py.dockerfile.lint.settings import NOTHING, Settings
from buildkit_py.dockerfile.parse import parse
from buildkit_py.oci.image import ImageConfig
from buildkit_py.oci.platform import parse_platform

_HEADING = re.compile(r"(Bad|Good)(?: \((.*)\))?:$")


class Example(NamedTuple):
    """given: what the heading says in brackets."""

    rule: Rule
    is_bad: bool
    given: str
    text: str


def examples() -> Iterator[Example]:
    for rule in all_rules():
        blocks: list[tuple[bool, str, list[str]]] = []
        for line in rule.page.split("\n"):
            if found := _HEADING.match(line):
                blocks.append((found[1] == "Bad", found[2] or "", []))
            elif blocks:
                blocks[-1][2].append(line[4:])
        for is_bad, given, lines in blocks:
            yield Example(rule, is_bad, given, "\n".join(lines).strip("\n") + "\n")


def settings_of(given: str) -> Settings:
    """Read `with trusted-registries: a, b` or `with [strict-labels, ]label-schema: name: kind`."""
    strict = given.startswith("with strict-labels, ")
    key, _, value = given.removeprefix("with strict-labels, ").removeprefix("with ").partition(": ")
    if key == "trusted-registries":
        return Settings(trusted_registries=tuple(value.split(", ")))
    if key == "label-schema":
        name, _, kind = value.partition(": ")
        return Settings(label_schema=((name, kind),), strict_labels=strict)
    return NOTHING


def file_of(example: Example) -> File:
    dockerfile = parse(Source("Dockerfile", example.text))
    if example.given.startswith("with .dockerignore: "):
        text = example.given.partition(": ")[2]
        return File(dockerfile, ignore=Patterns.parse(Source(".dockerignore", text)))
    if " is " in example.given:
        name, _, platform = example.given.partition(" is ")
        return File(dockerfile, bases={name: ImageConfig(parse_platform(platform))})
    return File(dockerfile, settings=settings_of(example.given))


@pytest.mark.parametrize(
    "example",
    list(examples()),
    ids=lambda each: f"{each.rule.code}-{'bad' if each.is_bad else 'good'}",
)
def test_a_bad_example_is_found_and_a_good_one_is_not(example: Example) -> None:
    found = list(example.rule.check(file_of(example)))

    assert bool(found) == example.is_bad
    for finding in found:
        assert 0 <= finding.span.start < finding.span.end <= len(example.text)
        assert not finding.message.endswith(".")


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.code)
def test_a_rule_has_a_page_with_both_kinds_of_examples(rule: Rule) -> None:
    kinds = {example.is_bad for example in examples() if example.rule is rule}

    assert kinds == {True, False}
    assert len(rule.heading) < 90


def test_a_file_is_named_as_its_rule() -> None:
    for rule in all_rules():
        assert rule.name.rpartition(".")[2].replace("_", "") == rule.code.lower()


def test_a_rule_that_is_known_without_being_imported_has_no_other_name() -> None:
    for rule in all_rules():
        if rule.is_known:
            assert not {"name", "alias", "experimental"} & set(vars(rule.module))


def test_all_checks_of_buildkit_are_there() -> None:
    checks = """
        StageNameCasing FromAsCasing NoEmptyContinuation ConsistentInstructionCasing
        DuplicateStageName ReservedStageName JSONArgsRecommended MaintainerDeprecated
        UndefinedArgInFrom WorkdirRelativePath UndefinedVar MultipleInstructionsDisallowed
        LegacyKeyValueFormat InvalidBaseImagePlatform RedundantTargetPlatform
        SecretsUsedInArgOrEnv InvalidDefaultArgInFrom FromPlatformFlagConstDisallowed
        CopyIgnoredFile InvalidDefinitionDescription ExposeProtoCasing ExposeInvalidFormat
    """.split()

    assert set(checks) == {rule.code for rule in all_rules() if not rule.code.startswith("DL")}


def test_the_rules_of_hadolint_that_find_most_are_there() -> None:
    codes = """
        DL3008 DL4006 DL3003 DL3066 DL3059 DL3015 DL3047 DL4000 DL3006 DL3018 DL3009 DL4001 DL3042
        DL3013 DL3033 DL3025 DL3041 DL3020 DL3007 DL3045 DL3064 DL3000 DL3027 DL3032 DL3002
    """.split()

    assert set(codes) <= {code for rule in all_rules() for code in (rule.code, rule.alias)}


def test_what_puts_a_finding_right_leaves_nothing_to_find() -> None:
    fixed = 0
    for example in examples():
        findings = list(example.rule.check(file_of(example)))
        edits = [edit for finding in findings for edit in finding.edits]
        if not edits or not all(finding.edits for finding in findings):
            continue
        text = example.text
        for edit in sorted(edits, key=lambda edit: edit.span.start, reverse=True):
            text = text[: edit.span.start] + edit.text + text[edit.span.end :]

        assert list(example.rule.check(file_of(example._replace(text=text)))) == []
        fixed += 1
    assert fixed >= 8
