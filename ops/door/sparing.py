"""What the door leaves out, since nobody looks at it."""

from typing import Any

from ops.door.wrapping import find_methods


def spare_forms(http: Any) -> None:
    """Twisted takes every form apart, and Django again, with its own limits; the parser for the type alone takes 0.7 ms."""
    find_methods(http, "_parseContentType")
    http._parseContentType = lambda _line: b""


def spare_colours(protocol: Any) -> None:
    """autobahn colours the words of a debug line that is off, for every frame."""
    find_methods(protocol, "hltype", "hlval")
    protocol.hltype = protocol.hlval = lambda value, *_: value
