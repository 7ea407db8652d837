"""Words and terms, as Lucene cuts and stems them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webshop_server.engine import tokenizer
from webshop_server.engine.analyzer import analyze
from webshop_server.engine.stemmer import stem
from webshop_server.engine.tokenizer import tokenize


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wi-fi 6.6ft, 1,299.00", ["wi", "fi", "6.6ft", "1,299.00"]),
        ("women's o'clock 'quoted'", ["women's", "o'clock", "quoted"]),
        ("a_b __ c", ["a_b", "c"]),
        ("a.b 1.a", ["a.b", "1", "a"]),
        ("日本語 テスト ひら 한국어", ["日", "本", "語", "テスト", "ひ", "ら", "한국어"]),
        ("ราคา", ["ราคา"]),
        ("Café olé nai\u0308ve", ["Café", "olé", "nai\u0308ve"]),
        ("😀 👍🏽 👨‍👩‍👧 🇩🇪🇫🇷 1️⃣ ©", ["😀", "👍🏽", "👨‍👩‍👧", "🇩🇪", "🇫🇷", "1️⃣", "©"]),
        ('צה"ל', ['צה"ל']),
        ("%$!? --", []),
        ("xℹx 人々 々x", ["xℹx", "人", "々", "々x"]),
        ("\u200d😀 !\u200d🏽", ["\u200d😀", "🏽"]),
    ],
)
def test_words_are_cut_by_unicodes_rules(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


@pytest.mark.parametrize(
    "character", ["\u0560", "\u1c90", "\u312f", "\u9fff", "\U00017000", "\U00031350", "\U00011f04", "\u0e86"]
)
def test_letters_that_are_younger_than_unicode_9_end_a_word(character: str) -> None:
    assert tokenize(f"x{character}x {character}") == ["x", "x"]


def test_a_very_long_word_is_cut_into_pieces() -> None:
    assert [len(word) for word in tokenize("x" * 600)] == [255, 255, 90]


def test_the_length_of_a_word_counts_in_utf_16_units() -> None:
    assert [len(word) for word in tokenize("𝒳" * 200)] == [127, 73]


def test_a_long_text_is_cut_like_its_parts() -> None:
    assert tokenize("women's 6.6ft wi-fi 😀 " * 50) == tokenize("women's 6.6ft wi-fi 😀") * 50


@pytest.mark.parametrize("before", range(1000, 1030))
def test_a_word_after_much_that_is_none_stays_whole(before: int) -> None:
    assert tokenize("-" * before + "women's 6.6ft") == ["women's", "6.6ft"]


@given(
    st.lists(
        st.tuples(st.text("ab1.,'_ -日カ한é\u0301\u200d\ufe0f😀👩🏽#🇩🇪א\"", min_size=1), st.integers(1, 300)),
        min_size=1,
        max_size=12,
    )
)
def test_a_text_is_cut_the_same_however_little_of_it_is_looked_at(parts: list[tuple[str, int]]) -> None:
    text = "".join(part * repeated for part, repeated in parts)[:5000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "_WINDOW", 10**9)
        whole = tokenize(text)

    assert tokenize(text) == whole


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("caresses", "caress"), ("ponies", "poni"), ("ties", "ti"), ("cats", "cat"), ("feed", "feed"), ("agreed", "agre"),
        ("plastered", "plaster"), ("bled", "bled"), ("motoring", "motor"), ("sing", "sing"), ("conflated", "conflat"),
        ("sized", "size"), ("hopping", "hop"), ("falling", "fall"), ("hissing", "hiss"), ("filing", "file"), ("happy", "happi"),
        ("sky", "sky"), ("relational", "relat"), ("conditional", "condit"), ("digitizer", "digit"), ("conformably", "conform"),
        ("radically", "radic"), ("analogously", "analog"), ("vietnamization", "vietnam"), ("operator", "oper"),
        ("feudalism", "feudal"), ("decisiveness", "decis"), ("hopefulness", "hope"), ("formality", "formal"),
        ("sensibility", "sensibl"), ("triplicate", "triplic"), ("formative", "form"), ("goodness", "good"), ("revival", "reviv"),
        ("adjustment", "adjust"), ("adoption", "adopt"), ("homologous", "homolog"), ("effective", "effect"), ("rate", "rate"),
        ("cease", "ceas"), ("controll", "control"), ("roll", "roll"), ("archaeology", "archaeolog"), ("possibly", "possibl"),
        ("is", "is"), ("yyy", "yyi"), ("𐬰s", "𐬰"), ("𐬰", "𐬰"),
    ],
)  # fmt: skip
def test_stems_are_porters_with_his_later_changes(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_terms_have_no_possessive_no_capitals_and_no_stop_words() -> None:
    assert analyze("The WOMEN'S shoes and the men’s İstanbul") == ["women", "shoe", "men", "istanbul"]
