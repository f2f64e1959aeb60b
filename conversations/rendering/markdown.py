"""One block of Markdown to safe HTML.

comrak writes escaped HTML; links, images, tables and a few inline tags are rewritten in it; the sanitiser
speaks; code and formulas, which we make ourselves from text, go in last. So markup of ours never passes the
sanitiser and text of others always does.
"""

import re
import secrets
from dataclasses import dataclass, field
from html import escape, unescape

from comrak import ExtensionOptions, ParseOptions, RenderOptions, render_markdown

from . import code, maths
from .sanitising import sanitise

MAX_BLOCK = 32_768  # characters; the largest of 6,787 real blocks had 4,000, hostile ones may cost their square
MAX_RATIO = 8  # HTML characters for one of Markdown: 64 kB of "> " would nest 32,000 quotes
_FREE = 2_048  # short texts may be rich

_HOLD = f"hold{secrets.token_hex(16)}n"
_HELD = re.compile(_HOLD + r"(\d+);")
# Every alternative begins with "<" or "&", so the search skips all other text.
_REWRITTEN = re.compile(
    "<(?:"
    r'pre><code(?: class="language-(?P<language>[^"]*)")?[^>]*>(?P<code>[^<]*)</code></pre>\n?'
    r"|code>[^<]*</code>"
    r'|span data-math-style="(?P<style>inline|display)">(?P<math>[^<]*)</span>'
    r'|img src="(?P<src>[^"]*)" alt="(?P<alt>[^"]*)"[^>]*>'
    r'|sup class="footnote-ref"><a [^>]*>(?P<footnote>[^<]*)</a></sup>'
    r'|(?P<back>a [^>]*class="footnote-backref"[^>]*>[^<]*(?:<sup[^>]*>[^<]*</sup>)?</a>)'
    r'|a href="(?P<href>[^"]*)"[^>]*>'
    r"|(?P<end>/a>)"
    r"|(?P<table>/?table>)"
    r")|&lt;(?P<tag>br ?/?|/?(?:sub|sup|kbd|mark))&gt;"
)
_TARGET = re.compile(r"(?:https?://(?:[^/?#\\]*@)?(?P<host>[^/?#\\@]+)|mailto:[^?#]|#)", re.IGNORECASE)
_TABLE_BEGIN = '<div class="table" tabindex="0" role="region" aria-label="Table"><table>'
_DELIMITER_ROW = re.compile(r"^[ \t>|:+*-]*\|[ \t>|:+*-]*$", re.MULTILINE)
_CLOSING_TAGS = re.compile(r"(?:</\w+>|\s)*")


def _extensions() -> ExtensionOptions:
    options = ExtensionOptions()
    options.table = options.strikethrough = options.autolink = options.tasklist = True
    options.footnotes = options.alerts = options.math_dollars = options.math_latex = True
    options.cjk_friendly_emphasis = True
    return options


def _rendering() -> RenderOptions:
    options = RenderOptions()
    options.escape = options.tasklist_classes = True
    return options


_EXTENSIONS, _PARSING, _RENDERING = _extensions(), ParseOptions(), _rendering()


def render_markdown_block(text: str, *, is_open: bool = False) -> str:
    """Safe HTML of one block. With `is_open`, code at its very end is left uncoloured for now."""
    if len(text) > MAX_BLOCK or _has_monstrous_table(text):
        return plain(text)
    html = render_markdown(text, _EXTENSIONS, _PARSING, _RENDERING)
    if len(html) > MAX_RATIO * max(len(text), _FREE):
        return plain(text)
    rewriting = _Rewriting(is_open=is_open)
    html = sanitise(_REWRITTEN.sub(rewriting.replace, html))
    return _HELD.sub(rewriting.restore, html) if rewriting.held else html


def plain(text: str) -> str:
    """The text itself, shown with its own line breaks."""
    return PLAIN_BEGIN + escape(text, quote=False) + PLAIN_END


PLAIN_BEGIN, PLAIN_END = '<p class="plain">', "</p>\n"


def formula(lines: list[str], opener: str, closer: str) -> str:
    """A display formula that stands alone, from its lines with the delimiters still around it."""
    source = "\n".join(lines).strip().removeprefix(opener).removesuffix(closer)
    return f"<p>{maths.render_math(source, display=True)}</p>\n"


def open_formula(text: str) -> str:
    """A formula that is still being written: its source, or nothing before it has any."""
    source = text.strip(" \t\n$\\[")
    return f'<p><code class="math-source">{escape(source, quote=False)}</code></p>\n' if source else ""


def _has_monstrous_table(text: str) -> bool:
    """Short rows are filled up to the header's width: 64 kB of them became 150 MB."""
    if "|" not in text:
        return False
    widest = max((row.count("|") + 1 for row in _DELIMITER_ROW.findall(text)), default=0)
    return widest * text.count("\n") * len("<td></td>\n") > MAX_RATIO * max(len(text), _FREE)


@dataclass(slots=True)
class _Rewriting:
    """One pass over comrak's HTML, in which every "<" is comrak's own."""

    is_open: bool
    held: list[str] = field(default_factory=list)
    link: str = ""  # what closes the link that is open: "</a>", or nothing when the link was dropped
    is_in_link: bool = False

    def replace(self, match: re.Match[str]) -> str:
        kind = match.lastgroup
        if kind == "code":
            return self._hold(self._code(match))
        if kind == "math":
            return self._hold(maths.render_math(unescape(match["math"]), display=match["style"] == "display"))
        if kind == "alt":
            return self._image(match["src"], match["alt"])
        if kind == "href":
            return self._open_link(match["href"], match.string[match.end() : match.string.find("</a>", match.end())])
        if kind == "end":
            self.is_in_link = False
            return self.link
        return _rewrite_tag(match)

    def restore(self, match: re.Match[str]) -> str:
        return self.held[int(match[1])]

    def _hold(self, html: str) -> str:
        self.held.append(html)
        return f"{_HOLD}{len(self.held) - 1};"

    def _code(self, match: re.Match[str]) -> str:
        language = code.language_of(unescape(match["language"] or ""))
        is_growing = self.is_open and _CLOSING_TAGS.fullmatch(match.string, match.end())
        show = code.plain_figure if is_growing else code.figure
        return show(unescape(match["code"]), language)

    def _image(self, source: str, alt: str) -> str:
        """A picture is never fetched by the reader's browser: it becomes a link, or its text inside one."""
        begin = "" if self.is_in_link else _begin_link(source, alt)
        return f"{begin}{alt or escape(source, quote=False)}</a>" if begin else alt

    def _open_link(self, href: str, text: str) -> str:
        begin = _begin_link(href, text)
        self.is_in_link, self.link = True, "</a>" if begin else ""
        return begin


def _begin_link(href: str, text: str) -> str:
    """The opening tag, which names the real host unless the text is the address; "" if it may not be a link."""
    target = _TARGET.match(unescape(href))
    if target is None:
        return ""
    if target["host"] is None:
        return f'<a href="{href}">'
    if text and href.endswith(text):
        return f'<a href="{href}" target="_blank">'
    return f'<a href="{href}" title="{escape(target["host"])}" target="_blank">'


def _rewrite_tag(match: re.Match[str]) -> str:
    if match["tag"]:
        return f"<{match['tag']}>"
    if match["table"]:
        return _TABLE_BEGIN if match["table"] == "table>" else "</table></div>"
    if match["footnote"]:
        return f'<sup class="footnote-ref">{match["footnote"]}</sup>'
    return "" if match["back"] else match[0]
