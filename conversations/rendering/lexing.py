"""Pygments tokens to spans: whole texts, and line by line with the lexer's state carried over.

A finished line keeps its colours for ever, so the cost of a growing code block is that of its new lines.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import Protocol, TypeAlias, cast

from pygments.lexer import ExtendedRegexLexer, Lexer, RegexLexer
from pygments.token import Comment, Text, _TokenType

from .languages import class_of, has_starred_comments

MAX_LINE = 500  # characters; a 48 kB line of JavaScript cost 70 s when coloured at every flush, 1,000 of Java 0.2 s

_MAX_STANDSTILL = 40  # empty matches in a row; a state table that loops must not hang a worker

_Token: TypeAlias = tuple[_TokenType, str]
_Match: TypeAlias = Callable[[str, int], re.Match[str] | None]
_Action: TypeAlias = Callable[[Lexer, re.Match[str]], Iterable[tuple[int, _TokenType, str]]]
_Transition: TypeAlias = tuple[str, ...] | int | str | None
_Rule: TypeAlias = tuple[_Match, _TokenType | _Action | None, _Transition]


class _Tables(Protocol):
    """What RegexLexer's metaclass compiles `tokens` into."""

    _tokens: dict[str, list[_Rule]]


class LineLexer:
    """Colours complete lines in order; a partial line can be tried without changing the state."""

    def __init__(self, lexer: Lexer | None) -> None:
        resumable = isinstance(lexer, RegexLexer) and not isinstance(lexer, ExtendedRegexLexer)
        self._lexer = lexer if resumable else None
        self._stack = ["root"]
        self._is_starred = self._lexer is not None and has_starred_comments(self._lexer)
        self._is_in_comment = False

    def line(self, text: str) -> str:
        """Spans of the next complete line, which ends in a newline."""
        comment, rest = self._split_comment(text)
        if comment:
            self._is_in_comment = not comment.endswith("*/")
        if len(text) > MAX_LINE:
            return escape(text, quote=False)
        return spans([(Comment, comment)]) + self._colour(rest, self._stack)

    def partial(self, text: str) -> str:
        """Spans of the line that is still being written."""
        comment, rest = self._split_comment(text)
        return spans([(Comment, comment)]) + self._colour(rest, self._stack.copy())

    def _split_comment(self, text: str) -> tuple[str, str]:
        """Cut off a starred comment at the line's start: Pygments matches such comments only as a whole."""
        if not self._is_in_comment and not (self._is_starred and text.lstrip().startswith("/*")):
            return "", text
        begin = 0 if self._is_in_comment else text.index("/*") + 2
        end = text.find("*/", begin)
        return (text, "") if end < 0 else (text[: end + 2], text[end + 2 :])

    def _colour(self, text: str, stack: list[str]) -> str:
        if self._lexer is None:
            return escape(text, quote=False)
        return _spans_or_plain(_lex(self._lexer, text, stack), text)


def colour_whole(lexer: Lexer, text: str) -> str:
    """Spans of a finished text in one pass, which also sees constructs that span lines."""
    return _spans_or_plain(((kind, value) for _at, kind, value in lexer.get_tokens_unprocessed(text)), text)


def _spans_or_plain(tokens: Iterable[_Token], text: str) -> str:
    try:
        return spans(tokens)
    except Exception:
        # Sixty lexers of others meet any text there is; colours are not worth a lost reply.
        return escape(text, quote=False)


def spans(tokens: Iterable[_Token]) -> str:
    """Join tokens into escaped HTML; neighbours of one class share a span."""
    parts: list[str] = []
    current, pending = "", ""
    for kind, value in tokens:
        name = class_of(kind)
        if name == current or not value.strip():
            pending += value
            continue
        parts.append(_span(current, pending))
        current, pending = name, value
    parts.append(_span(current, pending))
    return "".join(parts)


def _span(name: str, value: str) -> str:
    bare = value.rstrip()
    if not name or not bare:
        return escape(value, quote=False)
    return f'<span class="{name}">{escape(bare, quote=False)}</span>{value[len(bare) :]}'


def _lex(lexer: Lexer, text: str, stack: list[str]) -> Iterator[_Token]:
    """RegexLexer.get_tokens_unprocessed, but the stack of states belongs to the caller and is changed in place."""
    rules = cast(_Tables, lexer)._tokens
    at = standstill = 0
    while at < len(text):
        match, action, transition = _first_match(rules[stack[-1]], text, at)
        if match is None or standstill > _MAX_STANDSTILL:
            yield Text, text[at]
            if text[at] == "\n":
                stack[:] = ["root"]
            at, standstill = at + 1, 0
            continue
        yield from _apply(lexer, match, action)
        standstill = standstill + 1 if match.end() == at else 0
        at = match.end()
        _move(stack, transition)


def _first_match(
    rules: list[_Rule], text: str, at: int
) -> tuple[re.Match[str] | None, _TokenType | _Action | None, _Transition]:
    for match_at, action, transition in rules:
        if match := match_at(text, at):
            return match, action, transition
    return None, None, None


def _apply(lexer: Lexer, match: re.Match[str], action: _TokenType | _Action | None) -> Iterator[_Token]:
    if isinstance(action, _TokenType):
        yield action, match.group()
    elif action is not None:
        yield from ((kind, value) for _at, kind, value in action(lexer, match))


def _move(stack: list[str], transition: _Transition) -> None:
    """Push and pop states as Pygments does; the last state is never popped."""
    if isinstance(transition, int):
        del stack[max(len(stack) + transition, 1) :]
        return
    for state in (transition,) if isinstance(transition, str) else transition or ():
        if state == "#pop":
            del stack[max(len(stack) - 1, 1) :]
        else:
            stack.append(stack[-1] if state == "#push" else state)
