from collections.abc import AsyncIterator

import pytest
from controlled_world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.add_node()
    await world.start()
    yield world
    await world.kill()
