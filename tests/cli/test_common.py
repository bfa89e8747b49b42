"""What all programs share: what is a mistake of ours, and what only looks like one."""

from __future__ import annotations

import pytest

from buildkit_py.cli.common import report_bug


def test_ctrl_c_stays_ctrl_c_in_whatever_python_wraps_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before 3.12 what `__set_name__` raises becomes a RuntimeError: seen while importing."""
    error = RuntimeError("Error calling __set_name__ on 'cached_property' instance")
    error.__cause__ = KeyboardInterrupt()

    assert report_bug(error) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"
