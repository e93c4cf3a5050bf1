"""What all tests need.

looptime asks for the current event loop before each test, also before those that are not async, and so makes one that
nobody closes; the warning about it then fails whatever test is running. With the loop set to None it makes none.
"""

from __future__ import annotations

import asyncio

asyncio.set_event_loop(None)
