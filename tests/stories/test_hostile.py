"""A Dockerfile by somebody hostile: what it may not do, and that nothing hangs or is blamed on us."""

from __future__ import annotations

import pytest

from tests.stories.conftest import Person

pytestmark = [pytest.mark.kernel("overlay")]


@pytest.mark.parametrize(
    ("flag", "name"), [("--security=insecure", "security.insecure"), ("--network=host", "network.host")]
)
def test_a_dockerfile_cannot_give_itself_more_than_the_sandbox(
    anyone: Person, flag: str, name: str
) -> None:
    context = anyone.context(f"FROM busybox\nRUN {flag} touch /ran\n")

    refused = anyone.pybuild(context, code=2)

    assert "error[build/not-allowed]" in refused.stderr
    assert f"--allow {name}" in refused.stderr
    assert not refused.ran

    allowed = anyone.pybuild("--allow", name, context)

    assert allowed.ran[-1].endswith("touch /ran")
