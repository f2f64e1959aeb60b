"""One record, one line, nothing secret."""

import logging
import sys

import pytest

from ops import logs


def build_record(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("chat", logging.INFO, "file.py", 1, message, args, exc_info=None)


def format_line(message: str, *args: object) -> str:
    return logs.LineFormatter().format(build_record(message, *args))


def test_a_line_says_when_how_bad_who_and_what() -> None:
    token = logs.set_request_id("abc123")
    try:
        line = format_line("sent %s", "hello")
    finally:
        logs.reset_request_id(token)

    moment, rest = line.split(" ", 1)
    assert moment.endswith("Z")
    assert rest == "INFO chat [abc123] sent hello"


def test_outside_of_a_request_the_id_is_a_dash() -> None:
    assert " [-] " in format_line("x")


@pytest.mark.parametrize("char", ["\n", "\r", "\x1b", "\0", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u202e", "\x7f"])
def test_control_characters_are_written_out(char: str) -> None:
    line = format_line("GET /a%sINFO:root:fake", char)

    assert line.isprintable()
    assert "INFO:root:fake" in line
    assert len(line.splitlines()) == 1


def test_other_languages_stay_readable() -> None:
    assert format_line("naïve 你好 🙂").endswith("naïve 你好 🙂")


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise ValueError("broken\nINFO fake")
    except ValueError:
        record = build_record("failed")
        record.exc_info = sys.exc_info()

    line = logs.LineFormatter().format(record)

    assert len(line.splitlines()) == 1
    assert "failed\\nTraceback" in line
    assert "ValueError: broken\\nINFO fake" in line


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer CANARY.canary-canary", "Authorization: Bearer"),
        ("key sk-CANARYcanary1234 refused", "refused"),
        ("GET /accounts/setup/CANARYcanary/ 200", "/accounts/setup/[redacted]/ 200"),
        ('{"password": "CANARYcanary", "a": 1}', '"a": 1'),
        ("api_key=CANARYcanary&x=1", "x=1"),
        ("cookie sessionid=CANARYcanary; a=b", "a=b"),
        ("postgres://chatbox:CANARYcanary@db:5432/chatbox", "@db:5432/chatbox"),
        ("redis://:CANARYcanary@bus:6379/0", "@bus:6379/0"),
    ],
)
def test_secrets_do_not_reach_the_log(text: str, kept: str) -> None:
    line = format_line("%s", text)

    assert "canary" not in line.lower()
    assert kept in line
