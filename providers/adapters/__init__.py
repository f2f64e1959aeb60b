"""The wire protocols, one module each. `providers.models.Adapter` names them."""

from providers.adapters import openai
from providers.adapters.base import WireProtocol
from providers.models import Adapter

PROTOCOLS: dict[str, WireProtocol] = {Adapter.OPENAI: openai}


def get_protocol(adapter: str) -> WireProtocol:
    return PROTOCOLS[adapter]
