"""Text in cp1252 with few characters beyond ASCII, and text in other encodings that is nearly plausible as such."""

import pytest

from shared.text_encoding import EncodingError, decode

FILLER = "The committee met on Monday with Mr Smith. " * 20 + "\n"
WESTERN = (
    "Temperature was 20 °C today, 21 °C tomorrow.\n",
    "It’s what they didn’t say. The firm’s profit wasn’t high.\n",
    "It costs €500 or €20.\n",
    "3 × 4 cm, 10 ± 2 mm and 10 ÷ 2\n",
    "Served à la carte\n",
    "Straße, Fußball\n",
    "Noël, Brontë, café, résumé, El Niño\n",
    "§ 5, © 2020, Nº 5\n",
    "¡Hola!\n",
    "id,name,city\n1,John Smith,London\n2,José Ruiz,Madrid\n",
    "Name: Weiß, Adresse: Hauptstraße 5, Berlin. Groß und heiß.\n",
    "“Yes,” he said – ‘no’.\n",
    "5 µm filter, 90° and 1½\n",
)
OTHERS = (
    ("Ad;Şehir\nAyşe;İstanbul\nÇağrı;Eskişehir\n", "cp1254"),
    ("• First point\n• Second\n", "mac_roman"),
    ("« bonjour »\n", "cp850"),
    ("20 °C\n", "mac_roman"),
    ("and Åse.\n", "cp850"),
    ("Dvořák played\n", "cp1250"),
    ("Wałęsa\n", "cp1250"),
    ("się w Gdańsku\n", "cp1250"),
    ("Petrović\n", "cp1250"),
    ("Köln\n", "mac_roman"),
    ("Gruß\n", "cp850"),
    ("café\n", "mac_roman"),
    ("café\n", "cp850"),
    ("Más señor\n", "mac_roman"),
    ("gostaríamos de reservar\n", "mac_roman"),
    ("№ 5\n", "cp1251"),
    ("\x80\x81" * 2000, "latin-1"),
)


@pytest.mark.parametrize("filler", ["", FILLER], ids=["alone", "in English"])
@pytest.mark.parametrize("text", WESTERN)
def test_a_sign_or_a_name_now_and_then_is_read_as_cp1252(text: str, filler: str) -> None:
    """Most English files that are not in Unicode have no more than that."""
    assert decode((filler + text).encode("cp1252")).text == filler + text


@pytest.mark.parametrize("times", [1, 50])
@pytest.mark.parametrize(("text", "encoding"), OTHERS)
def test_other_encodings_are_not_taken_for_cp1252(text: str, encoding: str, times: int) -> None:
    """A refusal is right, however often the few letters appear."""
    data = (text * times).encode(encoding)
    try:
        found = decode(data).text
    except EncodingError:
        return
    assert found == text * times


@pytest.mark.parametrize(
    "data",
    [
        b'(format t "~{<~a>~}" items)\n',
        b"a\x1fb\x1fc\x1e" * 2,
        b"1\x1f2\x1f3\n" * 9,
        b"8=FIX.4.2\x019=65\x0135=A\x0149=SERVER\x01\n" * 50,
        b"hi\r\n\x1a",
    ],
    ids=["Lisp", "separators", "separators in lines", "FIX", "end mark"],
)
def test_ascii_is_never_taken_for_another_encoding(data: bytes) -> None:
    """Nor for binary data, if it separates fields by control characters."""
    assert decode(data) == (data.decode(), "utf-8")
