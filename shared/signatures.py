"""Formats that are not text, recognised by their first bytes or by the extension of a name.

No library is used, because puremagic 1.30 and filetype 1.2 take any text that begins with "BM", "MZ" or "ID3" for an
image, a program or music.
"""

import re
import zlib
from functools import cache
from typing import Final, NamedTuple


class Format(NamedTuple):
    """A format that is not plain text.

    Attributes:
        media_type: the media type, for programs.
        title: what people call such a file, with an article.
        advice: what to do with such a file.
        endings: extensions that only such files have, separated by spaces.
        signatures: regular expressions that match the beginning of such files.
    """

    media_type: str
    title: str
    advice: str
    endings: str = ""
    signatures: tuple[bytes, ...] = ()


SAVE: Final = "Save its text as a .txt or .md file in UTF-8 and upload that."
UNPACK: Final = "Unpack it and upload the text files that are in it."
EXPORT: Final = "Export its text as .txt, .csv or .jsonl in UTF-8 and upload that."
OFFICE: Final = "application/vnd.openxmlformats-officedocument."
OPEN: Final = "application/vnd.oasis.opendocument."
ZIP: Final = rb"PK\x03\x04[\s\S]{26}"
NEAR: Final = rb"[\s\S]{0,3000}?"

FORMATS: Final = (
    Format("application/pdf", "a PDF document", SAVE, "pdf", (rb"\s{0,1024}%PDF-\d",)),
    Format("application/rtf", "a document in Rich Text Format", SAVE, "rtf", (rb"\s{0,64}\{\\rtf",)),
    Format("application/postscript", "a PostScript document", SAVE, "eps", (rb"\x04?%!PS", rb"\xc5\xd0\xd3\xc6")),
    Format(
        OFFICE + "wordprocessingml.document",
        "a Word document",
        SAVE,
        "docx docm dotx",
        (ZIP + NEAR + rb"PK\x03\x04[\s\S]{26}word/", ZIP + rb"word/"),
    ),
    Format(
        OFFICE + "spreadsheetml.sheet",
        "an Excel workbook",
        EXPORT,
        "xlsx xlsm xltx",
        (ZIP + NEAR + rb"PK\x03\x04[\s\S]{26}xl/", ZIP + rb"xl/"),
    ),
    Format(
        OFFICE + "presentationml.presentation",
        "a PowerPoint presentation",
        SAVE,
        "pptx pptm ppsx",
        (ZIP + NEAR + rb"PK\x03\x04[\s\S]{26}ppt/", ZIP + rb"ppt/"),
    ),
    Format(
        OPEN + "text", "an OpenDocument text", SAVE, "odt", (ZIP + rb"mimetype" + re.escape(OPEN).encode() + rb"text",)
    ),
    Format(
        OPEN + "spreadsheet",
        "an OpenDocument file",
        EXPORT,
        "ods odp odg",
        (ZIP + rb"mimetype" + re.escape(OPEN).encode(),),
    ),
    Format(
        "application/epub+zip",
        "an e-book",
        SAVE,
        "epub mobi azw3",
        (ZIP + rb"mimetypeapplication/epub", rb"[\s\S]{60}BOOKMOBI"),
    ),
    Format(
        "application/x-ole-storage",
        "an old Office document",
        SAVE,
        "doc xls ppt",
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",),
    ),
    Format("application/zip", "a zip archive", UNPACK, "zip jar war whl apk", (rb"PK(?:\x03\x04|\x05\x06|\x07\x08)",)),
    Format("application/gzip", "a gzip file", UNPACK, "gz tgz", (rb"\x1f\x8b",)),
    Format(
        "application/x-bzip2", "a bzip2 file", UNPACK, "bz2 tbz2", (rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)",)
    ),
    Format(
        "application/x-xz",
        "an xz file",
        UNPACK,
        "xz txz lzma",
        (rb"\xfd7zXZ\x00", rb"\x5d\x00\x00[\x00\x01\x04\x08\x10\x20\x40\x80][\x00-\x08][\x00\xff]"),
    ),
    Format(
        "application/zstd",
        "a Zstandard file",
        UNPACK,
        "zst",
        (rb"[\x22-\x28]\xb5\x2f\xfd", rb"[\x50-\x5f]\x2a\x4d\x18"),
    ),
    Format("application/x-7z-compressed", "a 7z archive", UNPACK, "7z", (rb"7z\xbc\xaf\x27\x1c",)),
    Format("application/vnd.rar", "a rar archive", UNPACK, "rar", (rb"Rar!\x1a\x07",)),
    Format("application/x-lz4", "an lz4 file", UNPACK, "lz4", (rb"\x04\x22\x4d\x18",)),
    Format("application/x-compress", "a file compressed by compress", UNPACK, "", (rb"\x1f[\x9d\xa0]",)),
    Format("application/x-tar", "a tar archive", UNPACK, "tar", (rb"[\s\S]{257}ustar[\x00 ]",)),
    Format(
        "application/x-cpio",
        "a cpio archive",
        UNPACK,
        "cpio",
        (rb"07070[127][0-7]{6}[0-9A-Fa-f]{20}", rb"\xc7\x71[\s\S]{10}"),
    ),
    Format("application/vnd.debian.binary-package", "an ar archive", UNPACK, "deb", (rb"!<arch>\n",)),
    Format("application/x-rpm", "an RPM package", UNPACK, "rpm", (rb"\xed\xab\xee\xdb",)),
    Format("application/vnd.ms-cab-compressed", "a cabinet archive", UNPACK, "cab", (rb"MSCF\x00{4}",)),
    Format("image/png", "a PNG picture", SAVE, "png", (rb"\x89PNG\r?\n",)),
    Format("image/jpeg", "a JPEG picture", SAVE, "jpg jpeg", (rb"\xff\xd8\xff",)),
    Format("image/gif", "a GIF picture", SAVE, "gif", (rb"GIF8[79]a[\s\S]{4}[\x00-\x1f\x80-\xff]",)),
    Format("image/tiff", "a TIFF picture", SAVE, "tif tiff", (rb"II\*\x00", rb"MM\x00\*")),
    Format("image/bmp", "a bitmap picture", SAVE, "bmp", (rb"BM[\s\S]{4}\x00{4}",)),
    Format("image/webp", "a WebP picture", SAVE, "webp", (rb"RIFF[\s\S]{4}WEBP",)),
    Format("image/svg+xml", "an SVG picture", SAVE, "svg"),
    Format(
        "image/vnd.microsoft.icon", "an icon", SAVE, "ico heic avif psd", (rb"\x00\x00[\x01\x02]\x00", rb"8BPS\x00")
    ),
    Format(
        "audio/mpeg",
        "a sound file",
        "Upload its transcript.",
        "mp3 wav flac ogg m4a wma aac mid",
        (rb"ID3[\x02-\x04]", rb"RIFF[\s\S]{4}WAVE", rb"fLaC\x00", rb"OggS\x00", rb"MThd\x00"),
    ),
    Format(
        "video/mp4",
        "a video",
        "Upload its transcript.",
        "mp4 m4v mov avi mkv webm wmv mpg mpeg",
        (rb"\x00[\s\S]{3}ftyp", rb"\x1a\x45\xdf\xa3", rb"RIFF[\s\S]{4}AVI ", rb"\x00\x00\x01[\xb3\xba]"),
    ),
    Format("application/vnd.sqlite3", "a SQLite database", EXPORT, "sqlite sqlite3", (rb"SQLite format 3\x00",)),
    Format("application/vnd.apache.parquet", "a Parquet file", EXPORT, "parquet", (rb"PAR[1E]\x15",)),
    Format("application/vnd.apache.avro", "an Avro file", EXPORT, "avro", (rb"Obj\x01",)),
    Format(
        "application/vnd.apache.arrow.file",
        "an Arrow file",
        EXPORT,
        "arrow feather orc",
        (rb"ARROW1\x00", rb"FEA1\x00", rb"ORC\x08"),
    ),
    Format("application/x-hdf5", "an HDF5 file", EXPORT, "h5 hdf5", (rb"\x89HDF\r\n\x1a\n",)),
    Format(
        "application/x-python-pickle",
        "a Python pickle",
        EXPORT,
        "pkl pickle",
        (
            rb"\([ld]p0\n",
            rb"\x80[\x02-\x05](?:\x95|[\x28\x29\x4b\x4d\x58\x5d\x63\x71\x7d\x8c\x8e\x43\x42])",
        ),
    ),
    Format("application/x-npy", "a NumPy file", EXPORT, "npy npz", (rb"\x93NUMPY",)),
    Format("application/x-ms-access", "an Access database", EXPORT, "mdb accdb", (rb"\x00\x01\x00\x00Standard",)),
    Format(
        "application/x-executable",
        "a program",
        SAVE,
        "exe dll dylib msi",
        (rb"\x7fELF", rb"MZ[\s\S]{58}[\s\S]\x00", rb"(?:\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe)"),
    ),
    Format(
        "application/java-vm",
        "compiled code",
        SAVE,
        "pyc wasm",
        (rb"\xca\xfe\xba\xbe", rb"\x00asm", rb"dex\n03\d\x00", rb"[\s\S]{2}\r\n[\x00-\x03]\x00{3}"),
    ),
    Format("font/ttf", "a font", SAVE, "ttf otf woff woff2", (rb"\x00\x01\x00\x00\x00", rb"wOF[F2]\x00", rb"OTTO\x00")),
    Format(
        "application/x-git",
        "Git data",
        SAVE,
        "",
        (rb"PACK\x00\x00\x00[\x02\x03]", rb"# v[23] git bundle\n", rb"DIRC\x00{3}"),
    ),
    Format(
        "application/pgp-encrypted",
        "an encrypted file",
        "Decrypt it and upload its text.",
        "gpg pgp",
        (
            rb"Salted__",
            rb"[\x84\x85\x8c][\s\S]{1,2}[\x02-\x04]",
            rb"-----BEGIN PGP MESSAGE-----",
            rb"age-encryption\.org/v1\n",
        ),
    ),
)

ZLIB: Final = Format("application/zlib", "a file compressed by zlib", UNPACK)
ENDINGS: Final = {ending: found for found in FORMATS for ending in found.endings.split()}
HEAD_LENGTH: Final = 4096


@cache
def any_signature() -> tuple[re.Pattern[bytes], list[Format]]:
    """Return one pattern for all signatures, with a group for each format, and the formats in that order."""
    formats = [found for found in FORMATS if found.signatures]
    groups = [b"(" + b"|".join(found.signatures) + b")" for found in formats]
    return re.compile(b"|".join(groups)), formats


def format_of(data: bytes) -> Format | None:
    """Return the format of a file, according to its first bytes; None if it may be text."""
    head = data[:HEAD_LENGTH].removeprefix(b"\xef\xbb\xbf")
    # Nearly every file is text, so all signatures are tried in one step.
    pattern, formats = any_signature()
    if (match := pattern.match(head)) and match.lastindex:
        return formats[match.lastindex - 1]
    if re.match(rb"\x78[\x01\x5e\x9c\xda]", head) and is_zlib(head):
        return ZLIB
    # The specification lets a PDF begin within 1,024 bytes; its end distinguishes it from a text about PDFs.
    if b"%PDF-" in data[:1024] and re.search(rb"startxref\s+\d+\s+%%EOF\s*\Z", data[-1024:]):
        return FORMATS[0]
    return None


def format_by_name(name: str) -> Format | None:
    """Return the format of a file, according to its name; None if a file with this name may be text."""
    _, dot, ending = name.rpartition("/")[2].rpartition(".")
    return ENDINGS.get(ending.lower()) if dot else None


def is_zlib(head: bytes) -> bool:
    """Return whether zlib can decompress the bytes; their first two alone could also begin a text."""
    try:
        return bool(zlib.decompressobj().decompress(head, HEAD_LENGTH))
    except zlib.error:
        return False
