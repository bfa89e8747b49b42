"""The examples of our rules, read by hadolint: where it says something else, that is on purpose."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from buildkit_py.dockerfile.lint.registry import all_rules
from tests.dockerfile.test_rules import Example, examples
from tests.rootless import PATH

DIFFERENT = {
    ("DL3002", "good"): "it reports stages that are only copied from",
    ("DL3006", "bad"): "it takes a registry's port for a tag",
    ("DL3006", "good"): "it tells names of stages apart by case, and sees no variable in a default",
    ("DL3008", "good"): "it takes variables for packages",
    ("DL3009", "bad"): "any `rm -rf` contents it",
    ("DL3013", "bad"): "it does not look at what stands beside `-r`",
    ("DL3018", "good"): "it takes variables for packages",
    ("DL3020", "good"): "it knows neither Git repositories nor variables",
    ("DL3024", "bad"): "it tells names of stages apart by case",
    ("DL3025", "good"): "it complains though SHELL is set",
    ("DL3033", "good"): "it takes variables for packages",
    ("DL3041", "good"): "it takes variables for packages",
    ("DL3042", "good"): "it knows only one place for a cache mount",
    ("DL3047", "good"): "it asks BusyBox's wget for an option that it lacks",
    ("DL3064", "good"): "it goes by parts of names",
    ("DL4006", "good"): "it sees neither `set -o pipefail` nor a parent stage's SHELL",
}


def hadolint_code(example: Example) -> str:
    return example.rule.alias or example.rule.code


def says_the_same(example: Example) -> bool:
    program = shutil.which("hadolint", path=PATH)
    assert program is not None
    done = subprocess.run(
        [program, "--no-fail", "--format", "json", "-"],
        input=example.text,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {entry["code"] for entry in json.loads(done.stdout)}
    return (hadolint_code(example) in found) == example.is_bad


@pytest.mark.peer("hadolint")
@pytest.mark.slow
def test_hadolint_says_the_same_but_where_it_is_wrong() -> None:
    different = {
        (hadolint_code(example), "bad" if example.is_bad else "good")
        for example in examples()
        if hadolint_code(example).startswith("DL") and not says_the_same(example)
    }

    assert different == set(DIFFERENT)


def test_a_rule_that_differs_says_so_on_its_page() -> None:
    pages = {rule.alias or rule.code: rule.page for rule in all_rules()}

    assert [code for code, _ in DIFFERENT if "hadolint" not in pages[code]] == []
