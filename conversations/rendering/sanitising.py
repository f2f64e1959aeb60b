"""The allowlist every piece of model text passes before it may reach a page."""

import nh3

_ALERTS = ("note", "tip", "important", "warning", "caution")

_cleaner = nh3.Cleaner(
    tags={
        *("p", "br", "hr", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "input"),
        *("strong", "em", "del", "code", "sub", "sup", "kbd", "mark", "a"),
        *("table", "thead", "tbody", "tr", "th", "td", "div", "section"),
    },
    clean_content_tags={"script", "style"},
    attributes={"a": {"href", "title"}, "ol": {"start"}, "input": {"checked"}},
    tag_attribute_values={
        "a": {"target": {"_blank"}},
        "th": {"align": {"left", "center", "right"}},
        "td": {"align": {"left", "center", "right"}},
        "div": {"tabindex": {"0"}, "role": {"region"}, "aria-label": {"Table"}},
    },
    set_tag_attribute_values={"input": {"type": "checkbox", "disabled": ""}},
    allowed_classes={
        "ul": {"contains-task-list"},
        "ol": {"contains-task-list"},
        "li": {"task-list-item"},
        "input": {"task-list-item-checkbox"},
        "sup": {"footnote-ref"},
        "section": {"footnotes"},
        "p": {"markdown-alert-title", "plain"},
        "div": {"table", "markdown-alert", *(f"markdown-alert-{name}" for name in _ALERTS)},
    },
    url_schemes={"http", "https", "mailto"},
    url_relative=lambda url: url if url.startswith("#") else None,
    link_rel="noopener noreferrer nofollow",
    strip_comments=True,
)


def sanitise(html: str) -> str:
    """Return only allowlisted tags, attributes and addresses, balanced. Doing it twice changes nothing."""
    return _cleaner.clean(html)
