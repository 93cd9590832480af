"""Writes one JSON line per test while pytest runs, so that a run that is cut keeps what was finished."""

import json
import os

MESSAGE_CHARS_MAX = 4000

_file = None
_phases = {}


def _write(record):
    if _file is not None:
        os.write(_file, (json.dumps(record) + "\n").encode())


def _text(report):
    longrepr = report.longrepr
    # A skip is (file, line, reason).
    text = longrepr[-1] if isinstance(longrepr, tuple) else report.longreprtext
    return str(text)[-MESSAGE_CHARS_MAX:]


def pytest_configure(config):
    global _file
    os.makedirs("out", exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    _file = os.open(os.path.abspath("out/ultimate_mcp_report.jsonl"), flags, 0o600)


def pytest_collectreport(report):
    if report.outcome != "passed":
        outcome = "error" if report.failed else "skipped"
        name = report.nodeid or "collection"
        _write({"name": name, "outcome": outcome, "duration_seconds": 0.0, "message": _text(report)})


def pytest_runtest_logstart(nodeid, location):
    _phases[nodeid] = []
    _write({"started": nodeid})


def pytest_runtest_logreport(report):
    _phases.setdefault(report.nodeid, []).append(report)


def pytest_runtest_logfinish(nodeid, location):
    reports = _phases.pop(nodeid, [])
    outcome, message = "passed", None
    for report in reports:
        if report.failed:
            outcome = "failed" if report.when == "call" else "error"
            message = _text(report)
            break
        if report.skipped:
            outcome = "skipped"
            message = getattr(report, "wasxfail", None) or _text(report)
    duration = sum(report.duration for report in reports)
    _write({"name": nodeid, "outcome": outcome, "duration_seconds": duration, "message": message})
