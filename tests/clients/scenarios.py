"""What the suites in Python share: their scenarios run one after the other, each with a line of its own."""

import time

_scenarios = []


def scenario(function):
    """Scenarios run in the order in which they stand in their file."""
    _scenarios.append(function)
    return function


def run_all(subject):
    """Runs every scenario on `subject`, also after one has failed; returns how many failed."""
    failed = 0
    for function in _scenarios:
        name = function.__name__.replace("_", " ")
        began = time.monotonic()
        try:
            function(subject)
            verdict = "ok    "
        except Exception as error:  # A scenario that fails must not hide the next ones.
            verdict = "FAILED"
            failed += 1
            name += f": {type(error).__name__} {error}"
        print(f"  {verdict}  {time.monotonic() - began:3.0f} s  {name}", flush=True)
    return failed


def exit_code(failed):
    """Prints the last line of a suite."""
    print(f"{len(_scenarios) - failed} passed, {failed} failed")
    return 1 if failed else 0
