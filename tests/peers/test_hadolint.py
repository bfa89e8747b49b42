"""The examples of our rules, read by hadolint: where it says something else, that is on purpose."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from buildkit_py.dockerfile.lint.registry import all_rules
from buildkit_py.dockerfile.lint.settings import Settings
from tests.dockerfile.test_rules import Example, examples, settings_of
from tests.rootless import PATH

DIFFERENT = {
    ("DL3002", "good"): "it reports stages that are only copied from",
    ("DL3006", "bad"): "it takes a registry's port for a tag",
    ("DL3006", "good"): "it tells names of stages apart by case, and sees no variable in a default",
    ("DL3008", "good"): "it takes variables for packages",
    ("DL3009", "bad"): "any `rm -rf` contents it",
    ("DL3013", "bad"): "it does not look at what stands beside `-r`",
    ("DL3018", "good"): "it takes variables for packages",
    ("DL3014", "good"): "it knows neither `yes` nor apt's option",
    ("DL3016", "bad"): "it does not know `npm i`",
    ("DL3016", "good"): "it takes variables for packages",
    ("DL3019", "good"): "it knows only one place for a cache mount",
    ("DL3020", "good"): "it knows neither Git repositories nor variables",
    ("DL3021", "good"): "it takes `.` for a file",
    ("DL3022", "good"): "it tells names of stages apart by case",
    ("DL3024", "bad"): "it tells names of stages apart by case",
    ("DL3025", "good"): "it complains though SHELL is set",
    ("DL3029", "good"): "a stage may be meant for one platform",
    ("DL3033", "good"): "it takes variables for packages",
    ("DL3037", "good"): "it takes variables for packages",
    ("DL3041", "good"): "it takes variables for packages",
    ("DL3042", "good"): "it knows only one place for a cache mount",
    ("DL3044", "good"): "it does not see single quotes",
    ("DL3045", "good"): "it does not know that `scratch` has but one directory",
    ("DL3047", "good"): "it asks BusyBox's wget for an option that it lacks",
    ("DL3054", "good"): "it knows no expressions",
    ("DL3055", "good"): "it knows hashes of 7 and of 40 digits only",
    ("DL3064", "good"): "it goes by parts of names",
    ("DL4006", "good"): "it sees neither `set -o pipefail` nor a parent stage's SHELL",
}


def hadolint_code(example: Example) -> str:
    return example.rule.alias or example.rule.code


def variables(settings: Settings) -> dict[str, str]:
    """Return the settings of an example as hadolint's variables."""
    return {
        "HADOLINT_TRUSTED_REGISTRIES": ",".join(settings.trusted_registries),
        "HADOLINT_REQUIRE_LABELS": ",".join(":".join(each) for each in settings.label_schema),
        "HADOLINT_STRICT_LABELS": str(settings.strict_labels),
    }


def says_the_same(example: Example) -> bool:
    program = shutil.which("hadolint", path=PATH)
    assert program is not None
    done = subprocess.run(
        [program, "--no-fail", "--format", "json", "--info", "DL3057", "-"],
        input=example.text,
        env=variables(settings_of(example.given)),
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
