"""Which encoding a text is in: the right text or a refusal, never a guess."""

import codecs
import unicodedata

import pytest

from shared.legacy_encoding import UNKNOWN, is_paired
from shared.text_encoding import MIXED, Decoded, EncodingError, decode

TEXTS = {
    "fr": (
        "Je voudrais réserver une table au Café Lumière à Besançon. L’hôtel de la Forêt était fermé à Noël, "
        "où êtes-vous allés ? Hélène Lefèvre a déjà mangé là-bas ; ça coûte cher. Les élèves français préfèrent "
        "les crêpes au goût sucré. Nous avons reçu votre lettre du 3 août."
    ),
    "de": (
        "Wir möchten für Samstag einen Tisch für vier Personen reservieren. Die Straße führt über die Brücke "
        "nach Köln. Größere Gruppen müssen früh anrufen, weil die Küche um zehn schließt. Frau Müller hätte "
        "gern Äpfel und Öl. Übrigens war es schön bei euch."
    ),
    "es": (
        "El señor Muñoz irá a España mañana por la mañana. ¿Dónde está la estación? Queremos reservar una "
        "mesa para cuatro en el restaurante de la calle Ávila. ¡Qué rápido pasó el año! La niña comió jamón "
        "y después bebió café."
    ),
    "pt": (
        "Amanhã não vou à reunião porque tenho de ir ao médico. A informação está disponível em São Paulo."
        " Gostaríamos de reservar uma mesa para quatro pessoas às oito. O avô comprou maçãs e pães no armazém."
        " Você também já viu as promoções?"
    ),
    "it": (
        "La città è più bella di notte. Perché non andiamo al caffè lunedì? Vorrei prenotare un tavolo per "
        "quattro persone, così possiamo mangiare già alle otto. Però la qualità del cibo è ciò che conta."
        " Martedì sarà già tardi."
    ),
    "sv": (
        "Vi vill boka ett bord för fyra personer på lördag. Göteborg är en vacker stad vid älven. Åsa och "
        "Östen äter räkor på ön. Går det bra att få smörgås också? Många människor gillar kaffe på morgonen."
    ),
    "da": (
        "Vi vil gerne bestille et bord til fire på lørdag. Færgen sejler fra Århus til øen. Børnene spiser "
        "rødgrød med fløde. Hvad hedder gæsterne på værelset? Køkkenet åbner først klokken ni."
    ),
    "is": (
        "Við viljum panta borð fyrir fjóra á laugardaginn. Þórður býr á Ísafirði og ætlar að koma í kvöld."
        " Hvað kostar þetta? Það er gott veður í dag. Ég sá hann í gær við höfnina."
    ),
    "en": (
        "The café on the corner opens at eight – come early. Don’t forget the “résumé” that Zoë left here."
        " It costs £20 or €25, naïve as it may seem. We booked a table for four at Blue Heron in Bristol, "
        "and the menu has crème brûlée. She said: “I’ll be there at nine.” The façade was repainted last "
        "year."
    ),
    "pl": (
        "Chcielibyśmy zarezerwować stolik dla czterech osób w sobotę. Zażółć gęślą jaźń w Łodzi. Wczoraj "
        "pojechałem do Gdańska, żeby zobaczyć przyjaciół. Święta spędzimy w górach, gdzie śnieg leży już "
        "od tygodnia. Ósma godzina będzie najlepsza."
    ),
    "cs": (
        "Třída Šťastná, Žižkov; židlička pro děti, prosím. Přijedeme z Plzně v pátek večer, děkuji. Chtěli "
        "bychom si rezervovat stůl pro čtyři osoby. Řekněte mi, kdy otevíráte kuchyň. Příliš žluťoučký kůň "
        "úpěl ďábelské ódy."
    ),
    "hu": (
        "Szeretnénk asztalt foglalni négy személyre szombat estére. Az erdőben sűrű köd volt, és fújt a "
        "hűvös szél. Győrben él a nővérem, aki főzni tanul. Kérünk egy csésze teát és tűzön sült húst. Köszönjük, "
        "hogy eljöttek hozzánk az ünnepre."
    ),
    "hr": (
        "Željeli bismo rezervirati stol za četiri osobe u subotu. Možete li nam reći kad se kuhinja zatvara? "
        "Đorđe živi u Šibeniku već sedam godina. Čaša vode košta pet kuna, što je previše. Sljedeći tjedan "
        "dolazimo s djecom."
    ),
    "ro": (
        "Am dori să rezervăm o masă pentru patru persoane sâmbătă. Oraşul Bucureşti este în sudul ţării."
        " Copiii învaţă limba franceză la şcoală. Îmi place pâinea caldă şi brânza de oaie. Când începe "
        "spectacolul?"
    ),
    "tr": (
        "Cumartesi akşamı dört kişilik bir masa ayırtmak istiyoruz. İstanbul’da yağmur yağıyor, ama Ankara "
        "güneşli. Çocuklar bahçede oynuyor ve şarkı söylüyor. Öğretmen öğrencilere soru sordu. Işık söndü, "
        "kapıyı açık bıraktığım için üzgünüm."
    ),
    "lt": (
        "Norėtume užsisakyti staliuką keturiems asmenims šeštadienį. Vilnius yra labai gražus miestas pavasarį."
        " Kiek kainuoja vakarienė su vynu? Vaikai žaidžia mokyklos kieme. Ąžuolas auga prie upės."
    ),
    "ru": (
        "Забронируйте, пожалуйста, столик на четверых в субботу. Мы приедем из Москвы поздно вечером. Сколько "
        "стоит ужин с вином? Ёлка стоит в углу комнаты, и дети радуются подаркам. Объявление было напечатано "
        "в газете ещё вчера."
    ),
    "uk": (
        "Забронюйте, будь ласка, столик на чотирьох у суботу. Ми приїдемо з Києва пізно ввечері. Скільки "
        "коштує вечеря з вином? Її подруга живе в Ґданську вже п’ять років. Діти граються на подвір’ї."
    ),
    "bg": (
        "Моля, запазете маса за четирима души в събота. Ще пристигнем от София късно вечерта. Колко струва "
        "вечерята с вино? Градът е много красив през пролетта. Децата играят в двора на училището."
    ),
    "sr": (
        "Желели бисмо да резервишемо сто за четири особе у суботу. Ђорђе живи у Љубљани већ седам година."
        " Њихова кућа је на брду. Ко је рекао да ћемо доћи касније? Џеп му је пун новца."
    ),
    "el": (
        "Θα θέλαμε να κλείσουμε ένα τραπέζι για τέσσερα άτομα το Σάββατο. Η Αθήνα είναι όμορφη πόλη. Πόσο "
        "κοστίζει το δείπνο με κρασί; Τα παιδιά παίζουν στην αυλή του σχολείου. Ήρθαμε χθες από τη Θεσσαλονίκη."
    ),
    "he": (
        "אנחנו רוצים להזמין שולחן לארבעה אנשים ביום שבת. העיר ירושלים יפה מאוד באביב. כמה עולה ארוחת הערב "
        "עם יין? הילדים משחקים בחצר של בית הספר. הגענו אתמול מחיפה ברכבת."
    ),
    "ar": (
        "أريد حجز طاولة لأربعة أشخاص في مطعم النخيل في القاهرة مساء السبت. كم يكلف العشاء مع العصير؟ المدينة "
        "جميلة جدا في الربيع. يلعب الأطفال في ساحة المدرسة. وصلنا أمس من الإسكندرية بالقطار."
    ),
    "th": (
        "เราต้องการจองโต๊ะสำหรับสี่คนในคืนวันเสาร์ กรุงเทพมหานครเป็นเมืองที่สวยงาม อาหารเย็นราคาเท่าไหร่ "
        "เด็กๆ เล่นอยู่ในสนามของโรงเรียน เมื่อวานเรามาจากเชียงใหม่โดยรถไฟ"
    ),
    "ja": (
        "土曜日の夜に四人の席を予約したいのですが、空いていますか。東京の寿司屋はとても美味しいです"
        "。昨日、新幹線で京都から来ました。子供たちは学校の庭で遊んでいます。カレーライスとビールを"
        "お願いします。"
    ),
    "ko": (
        "토요일 저녁에 네 명 자리를 예약하고 싶습니다. 서울은 봄에 매우 아름답습니다. "
        "저녁 식사는 얼마입니까? 아이들이 학교 운동장에서 놀고 있습니다. 우리는 어제 기"
        "차로 부산에서 "
        "왔습니다."
    ),
    "zh": (
        "我们想在星期六晚上预订一张四人的桌子。北京的春天非常美丽。晚餐要多少钱？孩子们在学校的操场"
        "上玩耍。我们昨天坐火车从上海来的，路上很顺利。"
    ),
    "zt": (
        "我們想在星期六晚上預訂一張四人的桌子。台北的春天非常美麗。晚餐要多少錢？孩子們在學校的操場"
        "上玩耍。我們昨天坐火車從高雄來的，路上很順利。"
    ),
}
"""Sentences in many languages."""
ENCODINGS = {
    "fr": "cp1252 iso8859_1 iso8859_15 mac_roman cp850 cp437",
    "de": "cp1252 iso8859_1 mac_roman cp850 cp437",
    "es": "cp1252 mac_roman cp850",
    "pt": "cp1252 mac_roman cp850",
    "it": "cp1252 mac_roman cp850",
    "sv": "cp1252 mac_roman cp850",
    "da": "cp1252 cp850",
    "is": "cp1252",
    "en": "cp1252 mac_roman",
    "pl": "cp1250 iso8859_2 cp852",
    "cs": "cp1250 iso8859_2 cp852",
    "hu": "cp1250 iso8859_2 cp852",
    "hr": "cp1250",
    "ro": "cp1250",
    "tr": "cp1254 iso8859_9",
    "lt": "cp1257",
    "ru": "cp1251 koi8_r iso8859_5 cp866",
    "uk": "cp1251 koi8_u",
    "bg": "cp1251",
    "sr": "cp1251",
    "el": "cp1253 iso8859_7 cp737",
    "he": "cp1255",
    "ar": "cp1256 iso8859_6",
    "th": "cp874",
    "ja": "cp932 euc_jp iso2022_jp",
    "ko": "cp949 euc_kr iso2022_kr",
    "zh": "gbk gb18030",
    "zt": "big5",
}
"""Which encodings files in these languages have."""
CASES = [(language, encoding) for language, encodings in ENCODINGS.items() for encoding in encodings.split()]
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
TONES = "\u0300\u0301\u0303\u0309\u0323"
HERON = "A table for four at Blue Heron in Bristol.\r\n"


def refused(data: bytes) -> str:
    """Return why bytes are refused."""
    with pytest.raises(EncodingError) as caught:
        decode(data)
    return caught.value.message


def written(language: str, encoding: str) -> str:
    """Return a text with the apostrophe that an encoding has."""
    text = TEXTS[language]
    has = text.encode(encoding, "replace").count(b"?") == text.count("?")
    return text if has else text.replace("’", "'").replace("–", "-").replace("“", '"').replace("”", '"')


def written_in(text: str, encoding: str) -> str:
    """Return a text in the form in which an encoding has it: cp1258 has tones as characters of their own."""
    if encoding != "cp1258":
        return text
    parts = (unicodedata.normalize("NFD", letter) for letter in text)
    return "".join(
        unicodedata.normalize("NFC", "".join(mark for mark in part if mark not in TONES))
        + "".join(mark for mark in part if mark in TONES)
        for part in parts
    )


@pytest.mark.parametrize("line_end", ["\r\n", "\r", " "], ids=["windows", "old-mac", "one-line"])
@pytest.mark.parametrize(("language", "encoding"), CASES)
def test_decode_returns_right_text_of_legacy_encodings(language: str, encoding: str, line_end: str) -> None:
    """A text of about half a kilobyte is enough; the encoding gives it to everybody who has the file."""
    text = (written(language, encoding) + line_end) * 2
    data = text.encode(encoding)
    found = decode(data)
    assert found.text == text
    assert data.decode(found.encoding, "replace") == text


@pytest.mark.parametrize("length", [20, 60, 150])
@pytest.mark.parametrize(("language", "encoding"), CASES)
def test_decode_never_guesses_wrong_for_short_texts(language: str, encoding: str, length: int) -> None:
    """A refusal is right too."""
    text = written(language, encoding)[:length]
    try:
        found = decode(text.encode(encoding)).text
    except EncodingError:
        return
    assert found == text


CLOSE = (
    ("No es una expresión simbólica", "mac_roman"),
    ("Falló al buscar datos de la imagen.", "mac_roman"),
    ("Mover janela para o próximo monitor da direita", "mac_roman"),
    ("bratach neamhbhailí aschurtha", "mac_roman"),
    ("Sin violencia fantástica", "mac_roman"),
    ("È supportata solo -X 3264", "mac_roman"),
    ("usa modalità overlay (impostazione predefinita)", "cp850"),
    ("Elenco delle più usate recentemente sorgenti di input", "cp850"),
    ("la pila de directoris està buida", "cp850"),
    ("Es ist nicht möglich, den Interpreter zu lesen", "cp850"),
    ("Virheellinen siirtymispyyntö", "cp850"),
    ("Filen blev ændret eksternt", "cp850"),
    ("Pausar áudio", "cp850"),
    ("A SELinux környezet nem lehet NULL", "cp852"),
    ("Informaţii de facturare", "cp852"),
    ("porovnanie reťazcov zlyhalo", "iso8859_2"),
    ("boş yama. iptal edildi.", "mac_turkish"),
    ("Violetinė", "cp1257"),
    ("Nėra popieriaus", "cp1257"),
    ("Anonīms lietotājs", "cp1257"),
    ("Neizdevās parādīt saiti", "cp1257"),
    ("ГРУПА", "cp1251"),
    ("Нет", "cp1251"),
    ("Ακυρώθηκε", "mac_greek"),
    ("נדרש אימות כדי להפעיל או להשבית", "cp1255"),
    ("シリアライズ関数", "euc_jp"),
    ("是否开启了无障碍功能中的“慢速键”。", "gbk"),
    ("屏幕放大镜", "utf-16-le"),
    ("Солдан оңға", "ptcp154"),
    ("\x80\x81" * 2000, "latin-1"),
)
"""Messages of programs whose bytes are plausible in another encoding."""
COMMON = (
    ("Asennus on käynnissä, älä sammuta tietokonetta. Odota hetki, ettei mitään häviä.", "cp1252"),
    ("Vil du lagre endringene før du går? Klikk på «Ja» for å gjøre det nå.", "cp1252"),
    ("Faili ei õnnestunud avada, sest seda ei ole. Palun küsige abi süsteemi ülemalt.", "cp1257"),
    ("Le fichier a été créé, mais il n’a pas été déplacé à la fin de la journée.", "cp1252"),
    ("Il file è già aperto: può essere che la modalità non sia più quella di prima.", "cp1252"),
    ("De coördinator heeft de financiële gegevens geïmporteerd en één bestand gewijzigd.", "cp1252"),
    ("Nie można otworzyć pliku, ponieważ został już usunięty.", "cp1250"),
    ("Soubor nelze otevřít, protože už byl smazán. Zkuste to prosím později.", "cp1250"),
    ("Nepavyko atverti failo, nes jis jau ištrintas. Bandykite vėliau dar kartą.", "cp1257"),
    ("No se pudo abrir el archivo porque ya fue borrado. Inténtelo más tarde, señor.", "mac_roman"),
    ("Die Datei konnte nicht geöffnet werden, da sie bereits gelöscht wurde. Später prüfen.", "cp850"),
    ("Không thể mở tập tin này vì nó đã được xóa rồi.", "cp1258"),
)
"""Messages of about one line that are read, since only one encoding is likely."""


@pytest.mark.parametrize("times", [1, 50])
@pytest.mark.parametrize(("text", "encoding"), CLOSE)
@pytest.mark.parametrize("end", ["", "\n"])
def test_decode_never_guesses_wrong_for_close_encodings(text: str, encoding: str, times: int, end: str) -> None:
    """A refusal is right too, and repeating a text makes it no more certain."""
    text = (text + end) * times
    try:
        found = decode(text.encode(encoding)).text
    except EncodingError:
        return
    assert found == text


@pytest.mark.parametrize(("text", "encoding"), COMMON)
def test_decode_reads_single_lines_of_common_encodings(text: str, encoding: str) -> None:
    """The letters and their neighbours are evidence enough."""
    text = written_in(text, encoding)
    assert decode(text.encode(encoding)).text == text


def test_decode_refuses_languages_without_a_model() -> None:
    """Albanian has two letters beyond ASCII, which would be letters of Lithuanian in another encoding."""
    text = "Nuk është e mundur të hapet skedari që kërkoni, sepse është fshirë më parë nga përdoruesi. " * 3
    assert refused(text.encode("cp1252")) == UNKNOWN


@pytest.mark.parametrize("encoding", UNICODE)
@pytest.mark.parametrize("language", TEXTS)
def test_decode_reads_unicode_of_every_script(language: str, encoding: str) -> None:
    """With and without a byte order mark, of any length."""
    for text in (TEXTS[language], TEXTS[language][:24], (TEXTS[language] + "\r\n") * 300):
        data = text.encode(encoding)
        found = decode(data)
        assert found.text == text
        assert data.decode(found.encoding, "replace") == text


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["कृपया दिल्ली के रेस्तरां में मेज़ बुक करें।\r\n", "გთხოვთ დაჯავშნოთ მაგიდა\n", "សូមកក់តុ\n"])
def test_decode_reads_unmarked_utf16_of_more_scripts(text: str, codec: str) -> None:
    """Devanagari, Georgian, Khmer."""
    assert decode((text * 20).encode(codec)) == Decoded(text * 20, codec)


@pytest.mark.parametrize(
    "data",
    [
        b"\x1b[1mBooking\x1b(B\x1b[m at Blue Heron\n",
        b"plain\n" * 9 + b"\x1b(B\x1b[m done\n",
        b"\x1b(0lqqk\x1b(B menu\n" * 5,
        "\x1b[32mCafé\x1b(B\x1b[m\n".encode(),
    ],
)
def test_decode_reads_terminal_logs(data: bytes) -> None:
    """ESC ( B ends bold type on a terminal; it is no sign of ISO-2022."""
    assert decode(data) == Decoded(data.decode(), "utf-8")


@pytest.mark.parametrize("tail_encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [HERON, "Забронируйте столик\r\n", "予約をお願いします\r\n", "Café Lumière\r\n"])
def test_decode_refuses_utf16_after_utf8(text: str, tail_encoding: str) -> None:
    """What Windows PowerShell appends by `>>`, to short files and to long ones."""
    for times in (1, 40, 8_000):
        data = HERON.encode() * times + text.encode(tail_encoding) * 20
        assert refused(data) == MIXED
        assert refused(codecs.BOM_UTF8 + data) == MIXED


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
@pytest.mark.parametrize("times", [1, 40, 8_000])
def test_decode_refuses_utf8_after_utf16(encoding: str, times: int) -> None:
    """What other programs append to a file of PowerShell."""
    assert refused((HERON * times).encode(encoding) + b"and then a line of text in another encoding\n") == MIXED


def test_decode_refuses_lines_of_two_encodings() -> None:
    """A log that programs with different settings write to."""
    line = "Réservé : une table à la crêperie, déjà payée\n"
    assert refused((line.encode() + line.encode("cp1252")) * 20) == MIXED


@pytest.mark.parametrize("begin", ["", "A line in ASCII\n", "Café Lumière\n"])
def test_decode_refuses_an_older_encoding_after_a_mark_of_utf8(begin: str) -> None:
    """What Add-Content of Windows PowerShell appends to a file that Out-File made."""
    data = codecs.BOM_UTF8 + begin.encode() + "Déjà réservé à la crêperie\n".encode("cp1252")
    assert refused(data) == MIXED


@pytest.mark.parametrize(("mark", "encoding"), [(b"", "utf-8"), (codecs.BOM_UTF8, "utf-8-sig")])
def test_decode_reads_utf8_with_a_few_broken_sequences(mark: bytes, encoding: str) -> None:
    """One cut character does not make a long text useless."""
    data = mark + ("Café Lumière\n" * 200).encode() + b"caf\xc3\n" + "Crème\n".encode() * 200
    found = decode(data)
    assert (found.encoding, found.text.count("\ufffd")) == (encoding, 1)


def test_decode_does_not_take_words_for_formats() -> None:
    """The detector knows pictures by two letters."""
    for word in ("BMW", "MZ", "ID3", "OTTO"):
        text = f"{word} für Größe und schöne Straßen in Köln, die Brücken über den Fluß. " * 5
        assert decode(text.encode("cp1252")).text == text


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-16-le", "gb18030", "cp932", "koi8-r"])
def test_decode_returns_the_same_text_in_slices(encoding: str) -> None:
    """A character may be cut by the end of a slice."""
    language = {"gb18030": "zh", "cp932": "ja", "koi8-r": "ru"}.get(encoding, "fr")
    text = (TEXTS[language] + "\n") * (3_000_000 // len((TEXTS[language] + "\n").encode(encoding)))
    data = text.encode(encoding)
    assert decode(data) == Decoded(text, codecs.lookup(encoding).name)


@pytest.mark.parametrize("encoding", ["gb18030", "euc_jp", "euc_kr"])
def test_bytes_of_east_asian_text_are_paired(encoding: str) -> None:
    """Except a pair that the end of a sample has cut."""
    language = {"gb18030": "zh", "euc_jp": "ja", "euc_kr": "ko"}[encoding]
    data = "\n".join([TEXTS[language]] * 6).encode(encoding, "ignore")
    assert is_paired(data)
    assert is_paired(data[:-1])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a \xc4\xe3\xba\xc3 " * 6, True),
        (b"a \xc4\xe3\xba\xc3 " * 5, False),  # too few to rule out coincidence
        (b"a \xc4\xe3\xba\xc3 " * 6 + b"\xe9 cafe", False),  # one without a partner
        (b"caf\xe9 ", False),
        ("Tür auf, Größe, Straße, Köln, Fluß, schön, über ".encode("cp1252"), False),
        (b"\x81\x30\x81\x30 " * 3, True),  # four bytes of GB 18030
        (b"\x81\x30\x81\x30 " * 2, False),
    ],
)
def test_bytes_are_paired_only_if_all_are_and_enough(data: bytes, *, expected: bool) -> None:
    """Single letters of Western text have no partner."""
    assert is_paired(data) is expected
