"""Texts for the benchmark of texts: the scripts of the world, and texts that are made to take long."""

import json
from typing import Final

from shared.json_documents import MAX_DOCUMENTS

BYTES: Final = 20 * 1024 * 1024
"""The default of NER_MAX_BLOB_BYTES."""
SCRIPTS: Final = {
    "English": "We met Dr. Smith at the Blue Heron in New York, and it was late.\nNobody knew why.\n\n",
    "English, typographic": "We met Dr. Smith at the “Blue Heron” – in Zürich’s café. Nobody knew why…\n\n",
    "Russian": "Мы встретили доктора в Петербурге, и было поздно. Никто не знал почему.\n",
    "Arabic": "التقينا بالطبيب في القاهرة، وكان الوقت متأخرا. لا أحد يعرف لماذا.\n",
    "Hebrew, with vowels": "פָּגַשְׁנוּ אֶת הָרוֹפֵא בִּירוּשָׁלַיִם, וְהָיָה מְאֻחָר.\n",
    "Hindi": "हम दिल्ली में डॉक्टर से मिले, और देर हो चुकी थी। कोई नहीं जानता था।\n",
    "Thai": "เมื่อวานนี้เราไปเที่ยวที่กรุงเทพฯ และได้พบกับเพื่อนเก่า ",
    "Chinese": "今天天气很好，我们去北京的公园散步。没有人知道为什么。\n",
    "Japanese": "田中さんは東京駅で友達に会いました。とても楽しかったです。\n",
    "Korean": "우리는 서울에서 의사를 만났고 늦었습니다. 아무도 이유를 몰랐습니다.\n",
    "emoji": "We met at the Blue Heron 🍷 with the family 👨‍👩‍👧 and it was fine 👍🏽.\n",
}
HOSTILE: Final = {
    "spaces with marks": " \u0301",
    "joiners alone": "\u200d",
    "joined emoji": "👨\u200d",
    "halves of flags": "🇩",
    "Hangul consonants": "\u1100",
    "Hebrew without a space": "שָׁ",
    "no space": "x",
    "line ends": "\n" * 100_000 + "a",
    "lines of one letter": "A\r\n",
    "initials": "A. ",
    "letters": "A ",
    "full stops": "....a",
    "ellipses": ". a",
}
ENCODED: Final = {
    "Chinese": "gb18030",
    "Japanese": "shift_jis",
    "Korean": "euc-kr",
    "Russian": "windows-1251",
    "English, typographic": "windows-1252",
}


def text_of(sample: str, size: int = BYTES) -> str:
    """Return about that many bytes of a text."""
    return sample * (size // len(sample.encode()))


def files() -> dict[str, tuple[str, bytes]]:
    """Return names and contents of files of the largest size, by what is in them."""
    found = {name: ("a.txt", text_of(sample).encode()) for name, sample in (SCRIPTS | HOSTILE).items()}
    for name, encoding in ENCODED.items():
        data = SCRIPTS[name].encode(encoding)
        found[f"{name}, {encoding}"] = "a.txt", data * (BYTES // len(data))
    found["JSON lines"] = lines(SCRIPTS["English"] * 20)
    found["shortest JSON lines"] = (
        "a.jsonl",
        b"\n".join(b'{"id":%d,"text":"a"}' % number for number in range(MAX_DOCUMENTS)),
    )
    found["one document in JSON lines"] = lines(text_of(SCRIPTS["English, typographic"], BYTES * 9 // 10))
    found["JSON list"] = "a.json", b"[" + lines(SCRIPTS["English"] * 20)[1].replace(b"\n", b",\n") + b"]"
    found["JSON list of numbers"] = "a.json", b"[" + b"1," * (BYTES // 2 - 2) + b"1]"
    found["JSON brackets"] = "a.json", b"[" * BYTES
    found["broken JSON lines"] = "a.jsonl", b"{\n" * (BYTES // 2)
    found["JSON escapes"] = "a.jsonl", json.dumps({"id": "1", "text": "\u00e9\n" * (BYTES // 10)}).encode()
    return found


def lines(text: str) -> tuple[str, bytes]:
    """Return a file of about the largest size with documents of a text."""
    line = json.dumps({"id": "00000000", "text": text}, ensure_ascii=False).encode()
    count = BYTES // (len(line) + 1)
    return "a.jsonl", b"\n".join(line.replace(b"00000000", b"%08d" % number) for number in range(count))
