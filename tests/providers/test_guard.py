"""Where calls may go. Literals and names, the form's questions and the connection itself."""

import asyncio
import socket
import ssl
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ThreadedResolver, web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from providers import http, runtime
from providers.endpoints import Endpoint
from providers.errors import AddressRefused, ProviderError, ProviderMoved, ProviderUnreachable
from providers.guard import (
    ANYWHERE,
    FORBIDDEN_PORTS,
    PUBLIC_ONLY,
    THIS_MACHINE,
    THIS_NETWORK,
    GuardedResolver,
    Kind,
    Reach,
    check_url,
    classify,
    parse_url,
)
from tests.fake_provider import FakeProvider

TRICKS = [
    "127.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "017700000001",
    "0177.0.0.1",
    "127.0.0.01",
    "0",
    "[::1]",
    "[::]",
    "[::ffff:7f00:1]",
    "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[::127.0.0.1]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[ff02::1]",
    "127.0.0.1",
    "127.0.0.1.",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "100.64.0.1",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "0.0.0.0",
    "[fd00:ec2::254]",
    "[fc00::1]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "①②⑦.⓪.⓪.①",
    "127.0.0.1%2f@good.test",
    "good.test\\@127.0.0.1",
    "good.test#@127.0.0.1",
    "user@good.test",
    "user:secret@good.test",
    "good.test:0",
    "good.test:70000",
    "good.test?x=1",
    "good.test\t",
    "good\n.test",
    " good.test",
    "",
]
NEVER = [
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "100.100.100.200",
    "[fd00:ec2::254]",
    "0.0.0.0",
    "[::]",
    "224.0.0.1",
    "[ff02::1]",
    "[fe80::1]",
    "[2002:7f00:1::]",
    "[::127.0.0.1]",
    "240.0.0.1",
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", TRICKS)
def test_no_address_of_this_network_passes_in_any_spelling(scheme: str, host: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        check_url(f"{scheme}://{host}/v1", allow_private=False)
    assert caught.value.detail


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", NEVER)
def test_some_addresses_are_refused_even_where_private_ones_are_allowed(scheme: str, host: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(f"{scheme}://{host}/v1", allow_private=True)


@pytest.mark.parametrize("scheme", ["file", "gopher", "ftp", "dict", "data", "unix", "jar", "javascript", "ws", ""])
def test_other_schemes_are_refused(scheme: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(f"{scheme}://good.test/v1", allow_private=True)


@pytest.mark.parametrize("port", sorted(FORBIDDEN_PORTS))
def test_ports_of_other_services_are_refused(port: int) -> None:
    with pytest.raises(AddressRefused):
        check_url(f"https://good.test:{port}/v1", allow_private=True)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", 'https://x" onclick="alert(1)', "https:good.test", "//good.test", "good.test"]
)
def test_what_is_not_an_address_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url, allow_private=True)


@pytest.mark.parametrize(
    ("url", "allow_private", "reach"),
    [
        ("https://api.openai.com/v1", False, PUBLIC_ONLY),
        ("HTTPS://API.OpenAI.com:443/v1", False, PUBLIC_ONLY),
        ("https://8.8.8.8/v1", False, PUBLIC_ONLY),
        ("https://[2606:4700::1]/v1", False, PUBLIC_ONLY),
        ("https://[64:ff9b::808:808]/v1", False, PUBLIC_ONLY),
        ("https://models.internal.test/v1", True, ANYWHERE),
        ("http://ollama:11434/v1", True, THIS_NETWORK),
        ("http://localhost:11434/v1", True, THIS_NETWORK),
        ("http://192.168.1.10:8000", True, THIS_NETWORK),
        ("http://100.64.0.7:8000", True, THIS_NETWORK),
        ("http://[::1]:8000/v1", True, THIS_NETWORK),
    ],
)
def test_honest_addresses_pass(url: str, allow_private: bool, reach: Reach) -> None:
    assert check_url(url, allow_private=allow_private)[1] == reach


def test_plain_http_never_leaves_this_network() -> None:
    for host in ("8.8.8.8", "good.test"):
        with pytest.raises(AddressRefused):
            check_url(f"http://{host}/v1", allow_private=False)
    with pytest.raises(AddressRefused):
        check_url("http://8.8.8.8/v1", allow_private=True)
    assert Kind.PUBLIC not in check_url("http://good.test/v1", allow_private=True)[1]


def test_an_origin_has_one_spelling() -> None:
    assert parse_url("HTTPS://API.Good.test./v1").origin == parse_url("https://api.good.test:443").origin
    assert parse_url("https://good.test").origin != parse_url("https://good.test:8443").origin
    assert parse_url("http://good.test:443").origin != parse_url("https://good.test").origin


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.255.255.254", Kind.LOOPBACK),
        ("::ffff:127.0.0.1", Kind.LOOPBACK),
        ("64:ff9b::7f00:1", Kind.LOOPBACK),
        ("64:ff9b::a00:1", Kind.PRIVATE),
        ("fe80::1%eth0", Kind.FORBIDDEN),
        ("2606:4700::1", Kind.PUBLIC),
        ("3fff::1", Kind.FORBIDDEN),
        ("2001:db8::1", Kind.FORBIDDEN),
        ("4000::1", Kind.FORBIDDEN),
    ],
)
def test_addresses_are_classified(address: str, kind: Kind) -> None:
    assert classify(address) is kind


class StubResolver(AbstractResolver):
    """Gives one answer after the other, and remembers being asked."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        self.asked += 1
        answer = self.answers.pop(0)
        return [ResolveResult(hostname=host, host=one, port=port, family=_family(one), proto=0, flags=0) for one in answer]

    async def close(self) -> None:
        pass


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


async def fetch(url: str, reach: Reach, resolver: AbstractResolver | None = None) -> bytes:
    async with http.open_session(reach, resolver=resolver or ThreadedResolver()) as session:
        return await http.fetch(Endpoint(url, "sk-secret", reach), "/models", session=session)


def fetch_in_vain(coroutine: Coroutine[Any, Any, bytes], error: type[ProviderError]) -> ProviderError:
    with pytest.raises(error) as caught:
        runtime.run(coroutine)
    return caught.value


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["93.184.215.14", "127.0.0.1"],
        ["93.184.215.14", "::1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::ffff:127.0.0.1"],
    ],
)
def test_every_address_behind_a_name_must_pass(fake: FakeProvider, answer: list[str]) -> None:
    url = f"https://good.test:{fake.port}/v1"
    fetch_in_vain(fetch(url, PUBLIC_ONLY, StubResolver(answer)), AddressRefused)
    assert fake.calls == []


def test_a_name_on_this_network_may_not_lead_plain_http_outside() -> None:
    fetch_in_vain(fetch("http://ollama.test:8000/v1", THIS_NETWORK, StubResolver(["93.184.215.14"])), AddressRefused)


def test_the_connection_goes_to_the_checked_address_and_asks_once(fake: FakeProvider) -> None:
    resolver = StubResolver(["127.0.0.1"], ["127.0.0.2"])
    runtime.run(fetch(f"http://good.test:{fake.port}/v1", THIS_MACHINE, resolver))
    assert resolver.asked == 1
    assert fake.calls[0].headers["Host"] == f"good.test:{fake.port}"


def test_a_rebinding_name_is_checked_again_for_a_new_connection(fake: FakeProvider) -> None:
    resolver = GuardedResolver(reach=PUBLIC_ONLY, resolver=StubResolver(["93.184.215.14"], ["127.0.0.1"]))

    async def ask_twice() -> None:
        assert (await resolver.resolve("good.test", 443))[0]["host"] == "93.184.215.14"
        with pytest.raises(AddressRefused):
            await resolver.resolve("good.test", 443)

    runtime.run(ask_twice())


def test_an_unknown_name_is_unreachable() -> None:
    fetch_in_vain(fetch("https://no-such-host.invalid/v1", PUBLIC_ONLY), ProviderUnreachable)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://127.0.0.1:6379/", "file:///etc/passwd", "/v1/models"])
def test_redirects_are_not_followed(fake: FakeProvider, status: int, location: str) -> None:
    fake.script(status=status, headers={"Location": location}, body="")
    fetch_in_vain(fetch(fake.base_url, THIS_MACHINE), ProviderMoved)
    assert len(fake.calls) == 1


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[int, list[str | None]]]:
    """A server whose certificate nobody signed, and the names that clients asked it for."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(write_certificate(tmp_path))
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    runner = runtime.run(start_tls_server(context))
    yield runner.addresses[0][1], names
    runtime.run(runner.cleanup())
    runtime.get_loop().set_exception_handler(None)


def write_certificate(directory: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "good.test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = directory / "server.pem"
    path.write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(encoding))
    return path


async def start_tls_server(context: ssl.SSLContext) -> web.AppRunner:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)  # the client hangs up in the handshake
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    return runner


def test_a_bad_certificate_is_refused_and_the_name_was_asked_for(tls_server: tuple[int, list[str | None]]) -> None:
    port, names = tls_server
    resolver = StubResolver(["127.0.0.1"])
    fetch_in_vain(fetch(f"https://good.test:{port}/v1", ANYWHERE, resolver), ProviderUnreachable)
    assert names == ["good.test"]
