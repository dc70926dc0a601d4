"""Waiting for a condition, with a deadline. The tests know no other way to wait."""

import time


def until(condition, what, seconds=15):
    """Waits until `condition()` is true and returns what it was; fails after `seconds`, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if deadline < time.monotonic():
            raise AssertionError(f"waited {seconds} s in vain until {what}")
        time.sleep(0.01)
