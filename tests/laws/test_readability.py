"""The pages read easily: short sentences, and no term of the field before the place that explains it."""

import re
from statistics import mean

import pytest

from tests import ROOT
from tests.prose import sentences, words

FIRST = [ROOT / "README.md", ROOT / "docs" / "index.md"]
PAGES = [
    *FIRST,
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "data").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
MEAN, FIRST_LONGEST, LONGEST = 20, 30, 40
# Each is in italics where it is explained: *Dice*, *masks*.
TERMS = ("target", "label", "mask", "Dice", "bundle", "prompt", "fold", "extra")


def relative(path):
    return path.relative_to(ROOT).as_posix()


def test_a_page_is_divided_into_its_sentences():
    """By hand: six sentences of 4, 3, 5, 2, 4 and 3 words."""
    page = """---\nkey: One two three.\n---\n# A heading. It is none.\n\n![A picture. None.](x.png)
One two `three. four` five.5. Six seven\neight! (Nine ten, e.g. [eleven twelve](a.md).)

    code. Code.

| a | table. |
- one two
- one − two\n  three four:

```text
fenced. Code.
```
*Five* six **seven.**
"""
    assert [len(words(one)) for one in sentences(page)] == [4, 3, 5, 2, 4, 3]


@pytest.mark.parametrize("path", FIRST, ids=relative)
def test_the_first_pages_have_at_most_20_words_a_sentence(path):
    lengths = [len(words(one)) for one in sentences(path.read_text())]
    assert len(lengths) > 20
    assert mean(lengths) <= MEAN
    assert max(lengths) <= FIRST_LONGEST


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_no_sentence_has_more_than_40_words(path):
    assert [one for one in sentences(path.read_text()) if len(words(one)) > LONGEST] == []


@pytest.mark.parametrize("path", FIRST, ids=relative)
def test_a_term_is_explained_where_it_first_stands(path):
    """In prose: *term* marks the explanation, and the sentence before it does not use the word."""
    told = " ".join(sentences(path.read_text()))
    first = {term: re.search(rf"\*?\b{term}(?:s|es)?\b\*?", told, flags=re.I) for term in TERMS}
    early = {
        term: told[max(0, one.start() - 40) : one.end() + 20]
        for term, one in first.items()
        if one and "*" not in one[0]
    }
    assert early == {}
