"""The outbound guard: which addresses this server may call on an administrator's word.

An address is written strictly or not at all, so that no two URL parsers can read it differently. A name is resolved
once, every address behind it is checked, and the connection goes to a checked one. The rules hold where the call is
made; the form asks the same questions only to answer sooner.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult

from providers.errors import AddressRefused


class Kind(Enum):
    """Where an address is, as far as we care."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    FORBIDDEN = "forbidden"


Reach = frozenset[Kind]
PUBLIC_ONLY: Reach = frozenset({Kind.PUBLIC})
THIS_MACHINE: Reach = frozenset({Kind.LOOPBACK})
THIS_NETWORK: Reach = frozenset({Kind.PRIVATE, Kind.LOOPBACK})
ANYWHERE: Reach = PUBLIC_ONLY | THIS_NETWORK

# SSH, Telnet, mail, name service, databases, caches, brokers, cluster control: nothing that speaks HTTP to chat with.
FORBIDDEN_PORTS = frozenset(
    {
        0,
        7,
        9,
        19,
        21,
        22,
        23,
        25,
        53,
        110,
        111,
        135,
        139,
        143,
        389,
        445,
        465,
        587,
        636,
        993,
        995,
        1433,
        1521,
        2049,
        2375,
    }
    | {
        2376,
        2379,
        2380,
        3306,
        3389,
        4369,
        5432,
        5672,
        5900,
        6000,
        6379,
        6380,
        6443,
        9042,
        9092,
        10250,
        11211,
        26379,
        27017,
    }
)
# Cloud metadata services, also where they look private or public: AWS, Alibaba, Oracle, Azure.
METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
# RFC 1918, RFC 6598 (carriers and overlay networks), RFC 4193
PRIVATE = [ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")]
GLOBAL_UNICAST = ip_network("2000::/3")
NAT64 = ip_network("64:ff9b::/96")
# 6to4 and Teredo carry an IPv4 address that somebody else's router would unwrap; 3fff::/20 is documentation.
FORBIDDEN_NETWORKS = [ip_network(text) for text in ("2002::/16", "2001::/32", "3fff::/20")]

URL = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?\.?))(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[!-~]*)?",
    re.ASCII | re.IGNORECASE,
)
# What C libraries read as an IPv4 address, however odd: 127.1, 0x7f.1, 2130706433.
NUMERIC_NAME = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """A base URL taken apart: scheme, host and port in their normal form."""

    scheme: str
    host: str
    port: int
    literal: IPv4Address | IPv6Address | None

    @property
    def origin(self) -> str:
        """What a key is bound to, for example `https://api.openai.com:443`."""
        return f"{self.scheme}://{self.host}:{self.port}"


def parse_url(url: str) -> Target:
    """Read a base URL strictly. Raises AddressRefused whose `detail` is a sentence for the administrator."""
    found = URL.fullmatch(url)
    if found is None or set(found["path"] or "") & set("?#\\"):
        raise AddressRefused(detail="Write it as https://name/path: no user name, query, fragment or unusual characters.")
    scheme = found["scheme"].lower()
    port = int(found["port"]) if found["port"] else {"http": 80, "https": 443}[scheme]
    if port in FORBIDDEN_PORTS or port > 65535:
        raise AddressRefused(detail=f"Port {port} is not one that models are served on.")
    host = (found["v6"] or found["name"]).lower().rstrip(".")
    return Target(scheme, f"[{host}]" if found["v6"] else host, port, _parse_literal(host, is_v6=bool(found["v6"])))


def _parse_literal(host: str, *, is_v6: bool) -> IPv4Address | IPv6Address | None:
    if not is_v6 and not NUMERIC_NAME.fullmatch(host):
        return None
    try:
        return IPv6Address(host) if is_v6 else IPv4Address(host)
    except ValueError as error:
        raise AddressRefused(detail="Write a numeric address in full, like 192.168.1.10.") from error


def choose_reach(target: Target, *, allow_private: bool) -> Reach:
    """Where a call may end up. Plain http stays on this network: the key would travel readable."""
    if target.scheme == "https":
        return ANYWHERE if allow_private else PUBLIC_ONLY
    if not allow_private:
        raise AddressRefused(detail="Use https, or allow an address on this network.")
    return THIS_NETWORK


def check_url(url: str, *, allow_private: bool) -> tuple[Target, Reach]:
    """Everything that can be said without asking the name service. Raises AddressRefused."""
    target = parse_url(url)
    reach = choose_reach(target, allow_private=allow_private)
    if target.literal is not None:
        check_address(target.literal, reach)
    elif target.host == "localhost" or target.host.endswith(".localhost"):
        _require(Kind.LOOPBACK, reach, target.host)
    return target, reach


def check_address(address: IPv4Address | IPv6Address | str, reach: Reach) -> None:
    """Raises AddressRefused unless this address is where a call may go."""
    _require(classify(address), reach, str(address))


def _require(kind: Kind, reach: Reach, host: str) -> None:
    if kind in reach:
        return
    if kind is Kind.FORBIDDEN:
        raise AddressRefused(detail=f"{host} is an address that is never called.")
    if kind is Kind.PUBLIC:
        raise AddressRefused(detail=f"{host} is on the internet: use https.")
    raise AddressRefused(detail=f"{host} is on this network, which is not allowed for this provider.")


def classify(address: IPv4Address | IPv6Address | str) -> Kind:
    """The kind of one address. IPv4 inside IPv6 (mapped, NAT64) counts as the IPv4 address; tunnels are forbidden.

    `ipaddress.is_global` alone is not enough: it is true for NAT64, 6to4, IPv4-compatible and multicast addresses.
    """
    address = _unwrap(ipaddress.ip_address(address))
    if address in METADATA or address.is_multicast or address.is_link_local or address.is_unspecified:
        return Kind.FORBIDDEN
    if address.is_loopback:
        return Kind.LOOPBACK
    if any(address in network for network in PRIVATE):
        return Kind.PRIVATE
    if address.version == 6 and (address not in GLOBAL_UNICAST or any(address in network for network in FORBIDDEN_NETWORKS)):
        return Kind.FORBIDDEN
    return Kind.PUBLIC if address.is_global else Kind.FORBIDDEN


def _unwrap(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


class GuardedResolver(AbstractResolver):
    """Asks another resolver and lets the answer through only if every address in it may be called.

    The connector connects to exactly what this returns; Host and SNI keep the name.
    """

    def __init__(self, *, reach: Reach, resolver: AbstractResolver) -> None:
        self._reach = reach
        self._resolver = resolver

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            check_address(result["host"], self._reach)
        return results

    async def close(self) -> None:
        await self._resolver.close()
