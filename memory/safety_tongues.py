"""Telling a reader to drop its instructions, in languages that the other rules leave out: a verb and what it is about.

Each row is a language: beginnings of verbs (ignore, forget, disregard), and beginnings of nouns (instructions, orders,
rules). They count together where at most five words stand between them, in either order.
"""

from __future__ import annotations

import unicodedata

TONGUES: dict[str, tuple[str, str]] = {
    "Finnish": ("unohda|ohita|sivuuta|jätä huomiotta|älä noudata", "ohje|käsky|sääntö|säänt|määräy"),
    "Swahili": ("puuza|sahau|usifuate|acha kufuata", "maagizo|maelekezo|sheria|amri"),
    "Danish and Norwegian": ("ignorer|ignorér|glem|se bort fra|tilsidesæt|følg ikke", "instruk|anvisning|regler|ordre"),
    "Swedish": ("glöm|ignorera|bortse från|följ inte", "instruktion|anvisning|regler|order"),
    "Icelandic": ("hunsa|gleymdu|ekki fylgja", "fyrirmæl|leiðbein|regl"),
    "Hungarian": ("felejts|hagyd figyelmen kívül|hagyja figyelmen kívül|ne kövesd", "utasítás|szabály|parancs"),
    "Romanian": ("ignor|uită|nu urma", "instrucțiun|instrucţiun|instructiun|reguli|comenzi"),
    "Czech and Slovak": ("ignoruj|zapome|zabudni|nedbej|přehlížej", "pokyn|instrukc|inštrukc|příkaz|príkaz|pravidl"),
    "Croatian, Serbian, Bosnian, Slovene": (
        "ignorir|zanemar|zaborav|pozabi|prezri|игнориш|занемар|заборав",
        "uput|uputstv|instrukcij|naredb|pravil|navodil|упутств|наредб|правила",
    ),
    "Bulgarian": ("игнорирай|забрави|пренебрегни", "инструкци|указания|правила|команди"),
    "Lithuanian": ("ignoruok|pamiršk|nepaisyk", "instrukcij|nurodym|taisykl"),
    "Latvian": ("ignorē|aizmirst|neņem vērā", "instrukcij|norādījum|noteikum"),
    "Estonian": ("ignoreeri|eira|unusta", "juhis|juhend|käsk|käske|reegl"),
    "Catalan": ("ignora|oblida|no segueixis", "instruccion|ordres|regles|indicacion"),
    "Basque": ("ez ikusi egin|ahaztu", "argibide|agindu|jarraibide"),
    "Irish": ("déan neamhaird|déan dearmad", "treorach|treoir|rialach"),
    "Welsh": ("anwybydd|anghofi", "cyfarwyddiad|gorchym|rheol"),
    "Afrikaans": ("ignoreer|vergeet|verontagsaam", "instruksie|opdrag|reëls|bevele"),
    "Filipino": ("huwag pansinin|balewalain|kalimutan|huwag sundin", "tagubilin|panuto|utos|instruksyon|tuntunin"),
    "Malay": ("abaikan|lupakan|jangan ikut", "arahan|peraturan|perintah"),
    "Hausa": ("yi watsi|manta|kada ka bi", "umarn|dokok|umurn"),
    "Zulu and Xhosa": ("ziba|khohlwa|unganak|libala", "imiyal|imithetho|imiyalelo"),
    "Albanian": ("injoro|harro|shpërfill", "udhëzim|urdhr|rregull"),
    "Uzbek and Kazakh": ("unuting|e'tibor berma|елеме|ұмыт", "ko'rsatma|buyruq|qoida|нұсқау|ереже|бұйры"),
    "Georgian": ("უგულებელ|დაივიწყ|დააიგნორ", "ინსტრუქცი|მითითებ|ბრძანებ|წეს"),
    "Armenian": ("անտեսիր|անտեսեք|մոռացիր|մոռացեք", "հրահանգ|ցուցում|կանոն"),
    "Persian": ("نادیده بگیر|فراموش کن|توجه نکن", "دستور|قوانین|فرمان"),
    "Urdu": ("نظر انداز|بھول جا|نظرانداز", "ہدایات|احکام|قواعد"),
    "Amharic": ("ችላ በ|እርሳ|አትከተል", "መመሪያ|ትእዛዝ|ትዕዛዝ|ደንብ"),
}
"""Words with blanks between them, by language."""

JOINED: tuple[tuple[str, str], ...] = (
    # Thai, Lao, Khmer, Burmese: no blanks between words
    ("เพิกเฉย|ละเว้น|ละเลย|ลืม|ไม่ต้องสนใจ|อย่าสนใจ|ไม่ต้องทำตาม", "คำสั่ง|คำแนะนำ|กฎ|ข้อกำหนด"),
    ("ບໍ່ສົນໃຈ|ລືມ|ລະເລີຍ", "ຄໍາສັ່ງ|ຄຳສັ່ງ|ຄຳແນະນຳ|ຄໍາແນະນໍາ"),
    ("មិនអើពើ|បំភ្លេច|កុំធ្វើតាម", "ការណែនាំ|សេចក្ដីណែនាំ|បញ្ជា|ច្បាប់"),
    ("လျစ်လျူရှု|မေ့လိုက်|ဂရုမစိုက်", "ညွှန်ကြား|အမိန့်|စည်းမျဉ်း"),
    # Bengali, Tamil, Telugu, Kannada, Malayalam, Gujarati, Punjabi, Marathi, Nepali, Sinhala
    ("উপেক্ষা|ভুলে যা|অগ্রাহ্য", "নির্দেশ|নিয়ম|আদেশ"),
    ("புறக்கணி|மறந்து|பொருட்படுத்தா", "வழிமுறை|அறிவுறுத்தல்|கட்டளை|விதி"),
    ("విస్మరిం|మర్చిపో|పట్టించుకో", "సూచన|ఆదేశ|నియమ"),
    ("ನಿರ್ಲಕ್ಷಿ|ಮರೆತು", "ಸೂಚನೆ|ಆದೇಶ|ನಿಯಮ"),
    ("അവഗണി|മറക്കുക", "നിർദ്ദേശ|നിർദേശ|കൽപ്പന|നിയമ"),
    ("અવગણ|ભૂલી જા", "સૂચના|આદેશ|નિયમ"),
    ("ਨਜ਼ਰਅੰਦਾਜ਼|ਅਣਡਿੱਠ|ਭੁੱਲ ਜਾ", "ਹਦਾਇਤ|ਨਿਰਦੇਸ਼|ਹੁਕਮ"),
    ("दुर्लक्ष|विसर|बेवास्ता|बिर्स", "सूचना|निर्देश|आदेश|नियम"),
    ("නොසලකා|අමතක කර", "උපදෙස්|නියෝග|නීති"),
)
"""Scripts whose words run together or are read by what they begin with: some letters may stand between."""

_GAP = r"\W(?:\w{1,30}\W{1,3}){0,5}"


def patterns() -> list[str]:
    """A pattern for each, for readings in lower case."""
    made = [
        rf"\b(?:{verbs})\w{{0,8}}{_GAP}(?:{nouns})|\b(?:{nouns})\w{{0,12}}{_GAP}(?:{verbs})"
        for verbs, nouns in TONGUES.values()
    ]
    made += [
        rf"(?:{verbs})[^.!?\n]{{0,40}}(?:{nouns})|(?:{nouns})[^.!?\n]{{0,40}}(?:{verbs})" for verbs, nouns in JOINED
    ]
    return [_as_read(one) for one in made]


def _as_read(text: str) -> str:
    """Spelt as readings are: Thai and others have letters that NFKC takes apart."""
    return unicodedata.normalize("NFKC", text)
