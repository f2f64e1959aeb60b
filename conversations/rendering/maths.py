r"""LaTeX to MathML that needs neither script nor style.

math-core writes `style=`, which the content security policy forbids, and ids and links for numbered
equations; its output is therefore rebuilt from an allowlist and the known styles become classes.
"""

import re
from functools import lru_cache
from html import escape

from math_core import LatexError, LatexToMathML

MAX_SOURCE = 2_000  # characters; the converter recurses, so depth must be bounded before it starts
MAX_DEPTH = 60  # open braces and environments; 20,000 of them crash the process
MAX_OUTPUT_RATIO = 60

_converter = LatexToMathML(fancy_error=False, max_expansions=0)
_TAG = re.compile(r"<(/?)([A-Za-z]+)([^<>]*?)(/?)>")
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
_DEEPER = re.compile(r"\\[\\{}]|\\left(?![a-z])|\\begin(?![a-z])|\\right(?![a-z])|\\end(?![a-z])|[{}]")
_ELEMENTS = (
    "math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow mspace msqrt mstyle "
    "msub msubsup msup mtable mtd mtext mtr munder munderover semantics merror"
)
_TAGS = frozenset(_ELEMENTS.split())
_PROPERTIES = (
    "display displaystyle scriptlevel width height depth voffset lspace rspace accent accentunder stretchy symmetric "
    "fence separator form largeop movablelimits maxsize minsize mathvariant linethickness notation columnspan rowspan"
)
_ATTRIBUTES = frozenset(_PROPERTIES.split())
_VALUES = re.compile(r"[A-Za-z0-9.%#+ -]{0,40}")
_CLASSES = {
    "text-align:left": "math-left",
    "text-align:right": "math-right",
    "padding-left:0": "math-flush-left",
    "padding-right:0": "math-flush-right",
    "padding-left:1em": "math-gap-left",
    "border-left:0.05em solid currentcolor": "math-rule-left",
    "border-right:0.05em solid currentcolor": "math-rule-right",
    "border-top:0.05em solid currentcolor": "math-rule-top",
    "border-bottom:0.05em solid currentcolor": "math-rule-bottom",
    "border-left:0.05em dashed currentcolor": "math-dash-left",
    "border-right:0.05em dashed currentcolor": "math-dash-right",
    "border-top:0.05em dashed currentcolor": "math-dash-top",
    "border-bottom:0.05em dashed currentcolor": "math-dash-bottom",
    "width:100%": "math-wide",
    "width:50%": "math-half",
    "width:7.5%": "math-narrow",
    "margin-left:-0.16666667em": "math-pull",
}
_COLOURS = {"color": "mathcolor", "background-color": "mathbackground"}


@lru_cache(maxsize=512)
def render_math(source: str, *, display: bool) -> str:
    """Return MathML, or the escaped source in `<code class="math-error">` when it cannot be set."""
    if len(source) > MAX_SOURCE or _depth(source) > MAX_DEPTH:
        return _as_source(source)
    try:
        mathml = _converter.convert_with_local_state(source, displaystyle=display)
    except LatexError:
        return _as_source(source)
    if len(mathml) > MAX_OUTPUT_RATIO * max(len(source), 20):
        return _as_source(source)
    return _TAG.sub(_keep_tag, mathml)


def _as_source(source: str) -> str:
    return f'<code class="math-error">{escape(source, quote=False)}</code>'


def _depth(source: str) -> int:
    """Deepest nesting of braces, `\\left` and environments; closers that close nothing count for nothing."""
    depth = deepest = 0
    for match in _DEEPER.finditer(source):
        token = match[0]
        if token in ("{", "\\left", "\\begin"):
            depth += 1
            deepest = max(deepest, depth)
        elif token in ("}", "\\right", "\\end"):
            depth = max(depth - 1, 0)
    return deepest


def _keep_tag(match: re.Match[str]) -> str:
    closing, name, attributes, empty = match.groups()
    if name not in _TAGS:
        return ""
    if closing:
        return f"</{name}>"
    return f"<{name}{_keep_attributes(attributes)}{empty}>" if attributes else match[0]


def _keep_attributes(attributes: str) -> str:
    kept: list[str] = []
    classes: list[str] = []
    for name, value in _ATTRIBUTE.findall(attributes):
        if name == "style":
            _translate_style(value, kept, classes)
        elif name == "class" and re.fullmatch(r"menclose-[a-z]{1,30}", value):
            classes.append(value)
        elif name in _ATTRIBUTES and _VALUES.fullmatch(value):
            kept.append(f' {name}="{value}"')
    if classes:
        kept.append(f' class="{" ".join(classes)}"')
    return "".join(kept)


def _translate_style(style: str, kept: list[str], classes: list[str]) -> None:
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name in _COLOURS and re.fullmatch(r"#[0-9A-Fa-f]{6}", value):
            kept.append(f' {_COLOURS[name]}="{value}"')
        elif known := _CLASSES.get(f"{name}:{value}"):
            classes.append(known)
