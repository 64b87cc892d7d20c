"""What a file costs in calls of storage and of the service, counted on the wire."""

from collections.abc import Awaitable, Callable

from shared.outcome import OutcomeStatus
from tests.integration.conftest import TEXT, ProxiedWay
from tests.proxy import Service

SHARED_BLOBS = "app/"
"""How the names begin of what all files share: read and written by the clock, whatever their number."""


async def test_a_file_of_one_job_costs_nine_calls_of_storage(
    make_proxied_way: Callable[..., Awaitable[ProxiedWay]],
) -> None:
    """And two of the service, if the job has ended at the first poll."""
    way = await make_proxied_way()
    way.blobs.create_container(way.settings.state_container)
    way.name = "counted.txt"
    way.switch(jobSeconds=0)
    way.upload(TEXT)
    await way.pipeline.submit(way.name)
    assert (await way.poll_until_outcome()).status is OutcomeStatus.SUCCEEDED
    calls = [call for call in way.proxies.calls if not call.blob.startswith(SHARED_BLOBS)]
    assert [call.operation for call in calls] == [
        "Get Blob",  # the upload
        "Put Blob",  # the claim
        "Get Blob Properties",  # of an outcome
        "Submit Job",
        "Put Blob",  # the record
        "Put Message",
        "Get Job",
        "Get Blob Properties",  # of the upload: is it still the newest?
        "Put Blob",  # the outcome
        "Delete Blob",  # the claim
        "Delete Blob",  # the record
    ]
    assert sum(call.service is not Service.NER for call in calls) == 9
    await way.aclose()


async def test_a_poll_of_a_job_that_runs_costs_two_calls_of_storage(
    make_proxied_way: Callable[..., Awaitable[ProxiedWay]],
) -> None:
    """The record and the message."""
    way = await make_proxied_way()
    way.name = "polled.txt"
    way.switch(jobEnd="never")
    way.upload(TEXT)
    await way.pipeline.submit(way.name)
    body = way.message().content.encode()
    before = len(way.proxies.calls)
    await way.pipeline.poll(body)
    calls = [call for call in way.proxies.calls[before:] if not call.blob.startswith(SHARED_BLOBS)]
    assert [call.operation for call in calls] == ["Get Job", "Put Blob", "Put Message"]
    way.switch()
    await way.aclose()


async def test_an_event_of_a_file_that_has_ended_costs_four_calls(
    make_proxied_way: Callable[..., Awaitable[ProxiedWay]],
) -> None:
    """And none of the service."""
    way = await make_proxied_way()
    way.name = "ended.txt"
    way.switch(jobSeconds=0)
    way.upload(TEXT)
    await way.pipeline.submit(way.name)
    await way.poll_until_outcome()
    before = len(way.proxies.calls)
    await way.pipeline.submit(way.name)
    calls = [call for call in way.proxies.calls[before:] if not call.blob.startswith(SHARED_BLOBS)]
    assert [call.operation for call in calls] == ["Get Blob", "Put Blob", "Get Blob Properties", "Delete Blob"]
    await way.aclose()
