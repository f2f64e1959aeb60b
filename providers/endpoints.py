"""From a provider's row to something that may be called: checked address, opened key, both at the moment of use."""

from dataclasses import dataclass, field

from django.conf import settings

from ops.crypto import UndecipherableError
from ops.engines import model as engine
from ops.logs import redact
from providers.errors import ProviderRefused, ProviderUnreachable
from providers.guard import THIS_MACHINE, Reach, check_url
from providers.models import Provider


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to call, with which key, and where the connection may lead."""

    base_url: str
    api_key: str = field(repr=False)
    reach: Reach

    def redact(self, text: str) -> str:
        """The text without this key, however the provider quoted it back, nor anything that looks like one."""
        return redact(text.replace(self.api_key, mask_key(self.api_key)) if self.api_key else text)


def mask_key(key: str) -> str:
    """What may be shown of a key: `••••` and its last four characters, those only of a key that is long enough."""
    return f"••••{key[-4:] if len(key) >= 16 else ''}" if key else ""


def build_endpoint(provider: Provider) -> Endpoint:
    """Raises AddressRefused, ProviderRefused (key unreadable or saved for another host), ProviderUnreachable."""
    if provider.is_local:
        return build_local_endpoint()
    target, reach = check_url(provider.base_url, allow_private=provider.allow_private_address)
    key = _open_key(provider)
    if key and provider.api_key_origin != target.origin:
        raise ProviderRefused(detail=f"the key was saved for {provider.api_key_origin or 'no host'}, not for {target.origin}")
    return Endpoint(provider.base_url, key, reach)


def build_local_endpoint() -> Endpoint:
    """The embedded model, wherever it listens since its last start."""
    port = engine.find_port(settings.RUN_DIR)
    if port is None:
        raise ProviderUnreachable(detail="the embedded model is not running")
    return Endpoint(f"http://127.0.0.1:{port}/v1", settings.LOCAL_MODEL_KEY, THIS_MACHINE)


def _open_key(provider: Provider) -> str:
    try:
        key: str = provider.api_key
    except UndecipherableError as error:
        raise ProviderRefused(detail=str(error)) from error
    if not (key.isascii() and key.isprintable()):
        raise ProviderRefused(detail="the key holds characters that no header may carry")
    return key
