"""Merges the parts of a document that was cut, as far as the outcome has them besides entities.

The unknown fields of the document are those of its first part; offsets in them count from 0. `parts` lists later parts.
An offset in the unknown fields of a listed part or of its entities counts from the `offset` of the part, because the
app cannot know that it is an offset. `fields` are all unknown fields of the part, unless it has the same as the first
part. A part is not listed if it has the same fields as the first part, and nothing in them or in unknown fields of its
entities can be an offset. `charactersCount` and `transactionsCount` are sums.
"""

from typing import Any, Final

import msgspec

from shared.ner.model import DocumentResult, others_of
from shared.ner.passing_on import MAX_NAMES, left_out, quoted, trim

encode = msgspec.json.encode

COUNTS: Final = ("charactersCount", "transactionsCount")
"""Statistics of a document that are the sums over its parts."""
LARGEST_OPEN: Final = 64 * 1024
"""Bytes of the unknown fields of a document that was cut; the ledger has them after each step. More are left out."""


class OpenDocument(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A document of which parts may be missing; `number` is its number in the file, from 0, or -1 if it is not cut.

    Attributes:
        is_written: whether its beginning has been written.
        has_entities: whether any of its entities has been.
        is_incomplete: whether a part of it gave no result, or an error.
        warnings: of all parts until now.
        statistics: sums of all parts until now.
        fields: unknown fields of the first part; `statistics` in them are those that are not sums.
        parts: the later parts that the outcome lists.
        omitted: the first fields that were left out, in words.
        omitted_count: how many fields were left out.
    """

    number: int
    is_written: bool = False
    has_entities: bool = False
    is_incomplete: bool = False
    warnings: list[dict[str, Any]] = []
    statistics: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    parts: list[dict[str, Any]] = []
    omitted: list[str] = []
    omitted_count: int = 0

    def with_part(self, result: DocumentResult, offset: int) -> "OpenDocument":
        """Return the document with the next part, which begins at `offset`."""
        changed = msgspec.structs.replace(
            self,
            is_written=True,
            has_entities=self.has_entities or bool(result.entities),
            warnings=self.warnings + result.warnings,
        )
        others, statistics = others_of(result), result.statistics or {}
        if self.number < 0 and not offset:
            return msgspec.structs.replace(changed, statistics=statistics, fields=others)
        counts = {name: value for name, value in statistics.items() if name in COUNTS and type(value) is int}
        if len(counts) < len(statistics):
            others = others | {"statistics": {name: each for name, each in statistics.items() if name not in counts}}
        differs = offset > 0 and in_order(others) != in_order(self.fields)
        kept, names = dict(others), list[str]()
        if self.number >= 0 and (differs or not offset):
            names = trim([("", kept)], LARGEST_OPEN - len(encode((self.fields, self.parts))))
        words = [f"{quoted(name)} at offset {offset:,}" for name in names]
        has_offsets = may_hold_offset(others) or any(others_of(entity) for entity in result.entities)
        entry = {"offset": offset} | ({"fields": kept} if differs else {})
        sums = {name: self.statistics.get(name, 0) + count for name, count in counts.items()}
        return msgspec.structs.replace(
            changed,
            statistics=self.statistics | sums,
            fields=self.fields if offset else kept,
            parts=[*self.parts, entry] if offset and (differs or has_offsets) else self.parts,
            omitted=(self.omitted + words)[:MAX_NAMES],
            omitted_count=self.omitted_count + len(names),
        )

    def end(self) -> bytes:
        """Return the JSON text that follows the entities."""
        fields, parts, warnings = dict(self.fields), self.parts, self.warnings
        if "parts" in fields and (parts or self.number >= 0):
            # The service has a field of this name, but in a document that was cut, the name always means the same.
            parts = [{"offset": 0, "fields": self.fields}, *parts]
        if self.omitted_count:
            why = f"together, those of a document that was cut may have {LARGEST_OPEN:,} bytes"
            warnings = [*warnings, left_out(self.omitted, why, self.omitted_count)]
        statistics = self.statistics | fields.pop("statistics", {})
        members = {"warnings": warnings} | ({"statistics": statistics} if statistics else {}) | fields
        return b"], " + encode(members | ({"parts": parts} if parts else {}))[1:]


def in_order(fields: dict[str, Any]) -> bytes:
    """Return fields as JSON, in the order of their names: unlike Python, it distinguishes 1, 1.0 and true."""
    return encode(fields, order="sorted")


def may_hold_offset(value: Any) -> bool:
    """Return whether a value contains a whole number, which may be an offset."""
    if isinstance(value, dict | list):
        return any(may_hold_offset(each) for each in (value.values() if isinstance(value, dict) else value))
    return type(value) is int
