import logging

import pytest

from ocr_ray.cluster.monitoring import monitoring


def test_a_failure_is_logged_once_and_a_stop_is_not_caught(caplog: pytest.LogCaptureFixture) -> None:
    for error in (ZeroDivisionError("of a plot"), MemoryError()):
        with caplog.at_level(logging.WARNING), monitoring("a plot of this test"):
            raise error
    assert caplog.messages == [
        "a plot of this test failed, the job goes on without: ZeroDivisionError: of a plot"
    ]
    with pytest.raises(SystemExit, match="3"), monitoring("a plot of this test"):
        raise SystemExit(3)
