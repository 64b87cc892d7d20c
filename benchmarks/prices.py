"""What Azure asks for: list prices in dollars, pay as you go, in one place. Put your region's here.

Storage: general-purpose v2, hot tier, locally redundant. Functions: Consumption plan, beyond its free grant. These are
figures of the public price pages for East US as commonly quoted in 2024 and 2025; no bill was checked against them.
The service's own price (about 5 dollars for 1,000 text records) is the same whoever calls it, and is left out.
"""

from typing import Final

BLOB_WRITE: Final = 0.055 / 10_000
"""Put Blob, Put Block, Append Block."""
BLOB_OTHER: Final = 0.0044 / 10_000
"""Get Blob, Get Blob Properties, Set Blob Metadata."""
DELETE: Final = 0.0
"""Delete Blob."""
QUEUE: Final = 0.004 / 10_000
"""Every operation on a queue."""
EXECUTION: Final = 0.20 / 1_000_000
GIGABYTE_SECOND: Final = 0.000016
SHORTEST_EXECUTION_SECONDS: Final = 0.1
MEMORY_STEP_GIGABYTES: Final = 0.125
"""Memory is billed in steps of 128 MB."""

LEAST: Final = 1000 * (
    BLOB_WRITE
    + BLOB_OTHER
    + 4 * QUEUE
    + 2 * (EXECUTION + SHORTEST_EXECUTION_SECONDS * MEMORY_STEP_GIGABYTES * GIGABYTE_SECOND)
)
"""For a thousand files of this way: one read, one write, two messages put and deleted, two executions."""
LEAST_OPERATIONS: Final = 6
