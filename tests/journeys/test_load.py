"""Many people at once: they wait for their turn, and nobody is sent away."""

import asyncio

import aiohttp
import pytest

from providers import runtime
from tests.journeys.conftest import EMAIL, PASSWORD
from tests.journeys.product import Product

pytestmark = pytest.mark.usefixtures("admin_state")
AT_ONCE = 150


async def read_at_once(product: Product) -> list[int]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        credentials = {"email": EMAIL, "password": PASSWORD}
        async with session.post(f"{product.address}/api/v1/auth/token", json=credentials) as response:
            session.headers["Authorization"] = f"Bearer {(await response.json())['access']}"

        async def read() -> int:
            async with session.get(f"{product.address}/api/v1/conversations") as response:
                return response.status

        return await asyncio.gather(*(read() for _ in range(AT_ONCE)))


def test_burst_of_requests_is_served(product: Product) -> None:
    assert set(runtime.run(read_at_once(product))) == {200}
