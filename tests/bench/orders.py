"""What is asked of the upstream: the text of a question, for whoever passes it on."""

import msgspec


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `key` names it afterwards; a first token after `first_ms`, then `rate` a second, each with a paragraph of
    `filler` characters behind it.
    """

    key: str
    tokens: int
    rate: float = 50.0
    first_ms: float = 300.0
    filler: int = 0

    @property
    def question(self) -> str:
        return msgspec.json.encode(self).decode()


class Call(msgspec.Struct, kw_only=True):
    """What the upstream did for an order. Moments are of the monotonic clock; 0: it has not come to that (yet)."""

    arrived_ns: int
    first_ns: int = 0
    closed_ns: int = 0
    tokens: int = 0
    text: str = ""

    @property
    def delay_ms(self) -> float:
        """The upstream's own share of the time to the first token."""
        return (self.first_ns - self.arrived_ns) / 1e6


read_order = msgspec.json.Decoder(Order).decode
read_call = msgspec.json.Decoder(Call).decode
