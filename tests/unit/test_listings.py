"""Listings of containers are read as storage writes them, and compared in the order that storage has."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.names import ALWAYS_KEPT, LONGEST_BLOB_NAME, result_name, utf16_length
from shared.storage.listings import Follower, Listed, PageReader, is_marker, order, reordered

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ODD_NAMES: Final = [
    "a.txt",
    "a",
    "a b",
    " a ",
    "a+b",
    "a%20b",
    "%",
    "a&b<c>'\"",
    "&amp;",
    "]]>",
    "<Name>x</Name>",
    "folder/a.txt",
    "é ñ ß",
    "e\u0301",
    "日本語.txt",
    "🍷👩‍👩‍👧‍👦.txt",
    "\u2028\x85\xa0",
    "\ue000\uffe0",
    "a\tb\nc\rd",
    "\x01\x1f",
    "\ufffe\uffff",
    "n" * 1024,
]
XML_REFUSES: Final = {*map(chr, range(32)), "\ufffe", "\uffff"}


def written_name(name: str) -> str:
    """Return the element of a name: one that XML cannot hold is encoded as a whole."""
    if XML_REFUSES & set(name):
        return f'<Name Encoded="true">{quote(name, safe="")}</Name>'
    return f"<Name>{escape(name)}</Name>"


def written_blob(name: str, length: int = 5, metadata: str = "<Metadata />") -> str:
    """Return the element of a blob, as the service writes it."""
    return (
        f"<Blob>{written_name(name)}<VersionId>v</VersionId><Properties><Creation-Time>never</Creation-Time>"
        f"<Last-Modified>{format_datetime(NOW, usegmt=True)}</Last-Modified><Etag>0x8D</Etag>"
        f"<Content-Length>{length}</Content-Length><Content-Type>text/plain</Content-Type><Content-MD5 />"
        f"</Properties>{metadata}<OrMetadata /></Blob>"
    )


def written_page(blobs: Iterable[str], token: str = "") -> bytes:
    """Return a page of a listing, with the byte order mark that the service writes."""
    marker = f"<NextMarker>{escape(token)}</NextMarker>" if token else "<NextMarker />"
    page = (
        '\ufeff<?xml version="1.0" encoding="utf-8"?>'
        '<EnumerationResults ServiceEndpoint="https://example.blob.core.windows.net/" ContainerName="incoming">'
        f"<Prefix>claims/</Prefix><MaxResults>5000</MaxResults><Blobs>{''.join(blobs)}</Blobs>{marker}"
        "</EnumerationResults>"
    )
    return page.encode()


def read(page: bytes, *, prefix: str = "", piece: int = 1 << 20) -> PageReader:
    """Read a page in pieces of that many bytes."""
    reader = PageReader(len(prefix))
    for begin in range(0, len(page), piece):
        reader.parser.Parse(page[begin : begin + piece])
    reader.parser.Parse(b"", True)  # it takes no names
    return reader


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_all_names_are_read_as_they_are(piece: int) -> None:
    """Wherever the network cuts a character, an entity or an element."""
    reader = read(written_page(map(written_blob, ODD_NAMES)), piece=piece)
    assert [blob.name for blob in reader.blobs] == ODD_NAMES
    assert all(blob[1:] == ("0x8D", NOW, 5, {}, "") for blob in reader.blobs)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)))
def test_any_names_are_read_as_they_are(names: list[str]) -> None:
    """As above."""
    assert [blob.name for blob in read(written_page(map(written_blob, names)), piece=100).blobs] == names


@pytest.mark.parametrize("name", ["a.txt", "🍷", "\x01", "claims/a"])
def test_the_prefix_is_cut_off(name: str) -> None:
    """Also from a name that is encoded."""
    reader = read(written_page([written_blob(f"claims/{name}")]), prefix="claims/")
    assert [blob.name for blob in reader.blobs] == [name]


@pytest.mark.parametrize("token", ["", "2!100!MDAwMDE-", "a&b<c>"])
def test_the_token_of_the_next_page_is_read(token: str) -> None:
    """None after the last page, which may be without blobs, as others may."""
    for names in ([], ["a.txt"]):
        reader = read(written_page(map(written_blob, names), token))
        assert reader.token == (token or None)
        assert len(reader.blobs) == len(names)


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_metadata_is_that_of_its_blob(piece: int) -> None:
    """Of any name, also one that the listing itself has: the uploader chooses them."""
    names = ["source_etag", "Name", "Etag", "Last-Modified", "Content-Length", "Blob", "Blobs", "Metadata"]
    names += ["NextMarker", "Properties", "EnumerationResults", "x-ms-invalid-name"]
    values = {name: f"of {name} & <more> 🍷" for name in names}
    metadata = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
    blobs = [
        written_blob("a", metadata=f"<Metadata>{metadata}</Metadata>"),
        written_blob("b"),
        written_blob("c", metadata="<Metadata><empty /></Metadata>"),
    ]
    reader = read(written_page(blobs), piece=piece)
    expected = [("a", values), ("b", {}), ("c", {"empty": ""})]
    assert reader.blobs == [Listed(name, "0x8D", NOW, 5, known) for name, known in expected]
    assert reader.token is None


def test_a_blob_without_a_length_is_empty() -> None:
    """As some emulators and folders are listed; an etag may be quoted."""
    written = written_blob("a").replace("<Content-Length>5</Content-Length>", "").replace("0x8D", '"0x8D"')
    assert read(written_page([written])).blobs == [Listed("a", "0x8D", NOW, 0, {})]


@pytest.mark.parametrize(
    ("name", "length", "metadata", "expected"),
    [
        ("a", 0, {}, False),
        ("a/", 0, {}, True),
        ("a/", 1, {}, False),
        ("a", 0, {"hdi_isfolder": "true"}, True),
        ("a", 9, {"hdi_isfolder": "true"}, False),
        ("a", 0, {"hdi_isfolder": "True"}, True),
        ("a", 0, {"hdi_isfolder": "false"}, False),
        ("a", 0, {"hdi_isfolder": ""}, False),
    ],
)
def test_folders_are_no_files(name: str, length: int, metadata: dict[str, str], *, expected: bool) -> None:
    """Of a hierarchical namespace, and of tools that have folders; these have no content."""
    assert is_marker(name, length, metadata) is expected
    assert Listed(name, "0x8D", NOW, length, metadata).is_marker is expected


@pytest.mark.parametrize(
    ("tier", "is_archived"),
    [("<AccessTier>Hot</AccessTier>", False), ("", False), ("<AccessTier>Archive</AccessTier>", True)],
)
def test_the_archive_tier_is_seen(tier: str, *, is_archived: bool) -> None:
    """Also while a blob is being rehydrated; accounts of some kinds have no tiers."""
    status = "<ArchiveStatus>rehydrate-pending-to-hot</ArchiveStatus>" if is_archived else ""
    written = written_blob("a").replace("<Content-Type>", f"{tier}{status}<Content-Type>")
    assert [blob.is_archived for blob in read(written_page([written])).blobs] == [is_archived]


def test_names_are_ordered_by_utf16_code_units() -> None:
    """An emoji comes before the last characters of the basic plane; by characters it would come after them."""
    assert order("🍷") < order("\ue000") < order("\uffff")
    assert order("a") < order("a-b") < order("a.json") < order("a/b")


FRAGMENTS: Final = st.sampled_from(
    ["a", "b", "-", ".", ".json", ".j", "/", " ", "!", "~", "\x01", "é", "\ud7ff", "\ue000", "\uffff", "🍷", "💥"]
)
SHORT: Final = st.lists(FRAGMENTS, min_size=1, max_size=5).map("".join)
LONG: Final = st.builds(
    lambda character, length, ending: shortened(character * 1024, length) + ending,
    st.sampled_from("a🍷"),
    st.integers(985, 1019),
    SHORT.map(lambda text: text[:3]),
).map(lambda name: shortened(name, LONGEST_BLOB_NAME))
NAMES: Final = st.sets(SHORT | LONG, max_size=12)


def shortened(name: str, length: int) -> str:
    """Return as much of a name as has that many code units."""
    return name.encode("utf-16-le")[: 2 * length].decode("utf-16-le", "ignore")


def listed(names: Iterable[str]) -> list[Listed]:
    """Return blobs in the order of storage."""
    return [Listed(name, "0x8D", NOW, 0, {}) for name in sorted(names, key=order)]


async def yielded(blobs: Iterable[Listed]) -> AsyncIterator[Listed]:
    """Yield blobs as a listing does."""
    for blob in blobs:
        yield blob


@settings(max_examples=40)
@given(NAMES)
@example({"a", "a-b", "a.json", "a/b", "a.", "a.j"})
@example({"n" * 1024, "n" * 995, "n" * 996 + "~", "n" * 994 + "🍷", "n" * 995 + "🍷"})
def test_files_come_in_the_order_of_their_other_names(names: set[str]) -> None:
    """As if all of them had been sorted."""

    async def collect() -> list[tuple[bytes, Listed]]:
        return [found async for found in reordered(yielded(listed(names)), result_name, ALWAYS_KEPT)]

    found = asyncio.run(collect())
    assert found == sorted(((order(result_name(blob.name)), blob) for blob in listed(names)), key=lambda pair: pair[0])


def test_little_is_held_back_for_the_order() -> None:
    """A million files take no memory: all but those that begin alike are passed on."""
    taken = 0

    async def counted() -> AsyncIterator[Listed]:
        nonlocal taken
        for blob in listed(f"{number:05}{ending}" for number in range(2000) for ending in ("", "-", ".", "/a", "0")):
            taken += 1
            yield blob

    async def most_held() -> int:
        most = passed = 0
        async for _ in reordered(counted(), result_name, ALWAYS_KEPT):
            most, passed = max(most, taken - passed), passed + 1
        assert passed == 10_000
        return most

    assert asyncio.run(most_held()) < 10


@settings(max_examples=40)
@given(NAMES, NAMES)
def test_a_follower_passes_each_blob_once(names: set[str], asked: set[str]) -> None:
    """Before the first key that is not before it, or with the key that it has."""
    blobs = listed(names)

    async def follow() -> tuple[list[tuple[list[Listed], Listed | None]], tuple[list[Listed], Listed | None]]:
        follower = Follower(yielded(blobs))
        return [await follower.up_to(order(name)) for name in sorted(asked, key=order)], await follower.up_to(None)

    steps, (rest, last) = asyncio.run(follow())
    previous = b""
    for key, (passed, found) in zip(sorted(map(order, asked)), steps, strict=True):
        assert passed == [blob for blob in blobs if previous <= order(blob.name) < key and blob.name not in asked]
        assert found == next((blob for blob in blobs if order(blob.name) == key), None)
        previous = key
    assert rest == [blob for blob in blobs if order(blob.name) > previous]
    assert last is None


@settings(max_examples=40)
@given(NAMES, NAMES, NAMES)
def test_each_file_meets_its_outcome_and_its_claim(files: set[str], ended: set[str], claimed: set[str]) -> None:
    """However odd the names are; what is left belongs to no file."""

    async def walk() -> tuple[dict[str, tuple[bool, bool]], list[str]]:
        outcomes = Follower(yielded(listed(map(result_name, ended))))
        claims = Follower(yielded(listed(map(result_name, claimed))))
        met, left = {}, []
        async for key, file in reordered(yielded(listed(files)), result_name, ALWAYS_KEPT):
            passed, claim = await claims.up_to(key)
            _, outcome = await outcomes.up_to(key)
            left += passed
            met[file.name] = (outcome is not None, claim is not None)
        passed, _ = await claims.up_to(None)
        return met, [claim.name for claim in left + passed]

    met, left = asyncio.run(walk())
    assert met == {name: (name in ended, name in claimed) for name in files}
    assert sorted(left) == sorted(map(result_name, claimed - files))
    assert all(utf16_length(name) <= LONGEST_BLOB_NAME for name in files)
