"""Hand-written Markdown files and what counts as safe HTML."""

import re
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib

CORPUS = sorted(Path(__file__).parent.glob("*.md"))

_NAMES = """
p br hr blockquote h1 h2 h3 h4 h5 h6 ul ol li input strong em del code sub sup kbd mark a table thead tbody tr th td
div section figure figcaption span button pre math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom
mprescripts mroot mrow mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover semantics
"""
_TAGS = frozenset(_NAMES.split())
_FORBIDDEN = re.compile(r"on.*|style|id|name|src|srcset|srcdoc|formaction|action|xlink:href", re.IGNORECASE)
_HREF = re.compile(r"https?://|mailto:|#")


def find_dangers(html: str) -> list[str]:
    """Everything in the parsed HTML that a page must not hold; empty when it is safe."""
    root = html5lib.parseFragment(html, treebuilder="etree", namespaceHTMLElements=False)
    return [danger for element in root.iter() for danger in _dangers_of(element)]


def _dangers_of(element: Element) -> list[str]:
    if not isinstance(element.tag, str):
        return ["comment"]
    tag = element.tag.rpartition("}")[2]
    if tag == "DOCUMENT_FRAGMENT":
        return []
    dangers = [] if tag in _TAGS else [f"<{tag}>"]
    dangers += [f"{tag} {name}" for name in element.attrib if _FORBIDDEN.fullmatch(str(name))]
    href = element.attrib.get("href", "#")
    return dangers if _HREF.match(href) else [*dangers, f"href {href}"]
