"""Markdown to safe HTML, whole or while it is being written.

Pure text work: no Django, no database, no network. The state shown to a reader is a function of the
text so far alone, so any chunking, a reconnect or a second worker gives the same page.
"""

from .live import LiveRenderer, render, render_blocks
from .ops import Op, apply_ops

__all__ = ["LiveRenderer", "Op", "apply_ops", "render", "render_blocks"]
