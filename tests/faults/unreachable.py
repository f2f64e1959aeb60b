"""The provider is not to be found, or not who it should be. Nobody is asked in its stead, and nothing is said in the clear."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.faults.catalog import fault
from tests.faults.misbehaving import REFUSED_S
from tests.faults.promises import promise
from tests.faults.rig import Rig


class Impostor:
    """Speaks TLS with a certificate that nobody vouches for. `heard`: what it was told by those who did not mind."""

    def __init__(self) -> None:
        self.heard = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard += await reader.read(1024)
        writer.close()


@asynccontextmanager
async def running_impostor(home: Path) -> AsyncIterator[tuple[Impostor, int]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(home / "impostor.pem"))
    impostor = Impostor()
    server = await asyncio.start_server(impostor.serve, "127.0.0.1", 0, ssl=context)
    try:
        yield impostor, server.sockets[0].getsockname()[1]
    finally:
        server.close()


def make_certificate(path: Path) -> Path:
    """Key and self-signed certificate for 127.0.0.1, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
    signed = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + signed.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


@fault("F14b", "the provider's name is unknown, or its certificate is nobody's")
async def be_unreachable(rig: Rig) -> str:
    async with running_impostor(rig.home) as (impostor, port):
        await rig.add_model("nameless", "https://models.invalid/v1")
        await rig.add_model("untrusted", f"https://127.0.0.1:{port}/v1")
        taken = [f"{name} after {await expect_unreachable(rig, name):.1f} s" for name in ("nameless", "untrusted")]
    promise(not impostor.heard, f"somebody without a certificate was told {impostor.heard[:80]!r}")
    return f"failed: {', '.join(taken)}; nothing was said to an impostor"


async def expect_unreachable(rig: Rig, model: str) -> float:
    started = time.monotonic()
    asked, viewer = await rig.ask_scripted(model=model)
    state = await viewer.wait_end(asked.reply, REFUSED_S)
    error = viewer.get(asked.reply).error
    promise((state, error) == ("failed", "provider_unreachable"), f"{model}: {state} {error}")
    return time.monotonic() - started
