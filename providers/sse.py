"""Server-sent events, taken apart as the bytes arrive (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Bytes stay bytes until a whole payload is there, so a character cut in half by the network is never decoded in halves.
"""

LINE_MAX_BYTES = 1024 * 1024
# Events with another name are not ours to act on.
KNOWN_EVENTS = frozenset({b"", b"message", b"error"})
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class SseParser:
    """Give it what the network gave, get the payloads that are complete. Holds at most one line and one event.

    `is_broken`: something exceeded the limit. What came before it was returned, nothing more will come.
    """

    __slots__ = ("_data", "_data_bytes", "_event", "_is_after_cr", "_is_first", "_rest", "is_broken")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = b""
        self._is_after_cr = False
        self._is_first = True
        self.is_broken = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Payloads that this chunk completed, in order."""
        if self._is_after_cr and chunk[:1] == b"\n":  # the second half of a CRLF
            chunk = chunk[1:]
        lines = chunk.splitlines()  # on bytes: LF, CR and CRLF, nothing else
        self._is_after_cr = chunk[-1:] == b"\r"
        if not lines:
            return []
        open_line = b"" if chunk[-1:] in b"\r\n" else lines.pop()
        if lines and self._rest:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        payloads = self._take_lines(lines)
        self._rest += open_line
        self.is_broken |= len(self._rest) > LINE_MAX_BYTES
        return payloads

    def finish(self) -> list[bytes]:
        """At the end of the stream: what is left, for servers that forget the last blank line."""
        rest, self._rest = bytes(self._rest), bytearray()
        return self._take_lines([rest, b""])

    def _take_lines(self, lines: list[bytes]) -> list[bytes]:
        payloads = []
        for line in lines:
            if self.is_broken:
                break
            if line[:5] == b"data:":
                self._take_data(line[6:] if line[5:6] == b" " else line[5:])
            elif not line:
                if self._data and self._event in KNOWN_EVENTS:
                    payloads.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data, self._data_bytes, self._event = [], 0, b""
            else:
                self._take_field(line)
        return payloads

    def _take_data(self, data: bytes) -> None:
        self._data_bytes += len(data)
        self.is_broken |= self._data_bytes > LINE_MAX_BYTES
        self._data.append(data)
        self._is_first = False

    def _take_field(self, line: bytes) -> None:
        """Everything rarer than data: event names, comments, a byte order mark, and what nobody knows."""
        if self._is_first and line.startswith(BYTE_ORDER_MARK):
            line = line.removeprefix(BYTE_ORDER_MARK)
            if line.startswith(b"data:"):
                self._take_data(line[5:].removeprefix(b" "))
        self._is_first = False
        if line.startswith(b"event:"):
            self._event = line[6:].strip()
