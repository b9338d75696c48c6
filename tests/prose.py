"""The sentences of a page of Markdown: its prose only, without code, tables, headings and pictures."""

import re

_LEFT_OUT = (
    r"\A---\n.*?\n---\n",  # the head of a card
    r"^ {0,3}(?:```|~~~).*?^ {0,3}(?:```|~~~)[^\n]*$",  # fenced code
    r"<!--.*?-->",
    r"!\[[^\]]*\]\([^)]*\)",  # pictures
    r"^(?:\||#|:::|--8<--)[^\n]*$",  # tables, headings, what the site puts in
)
_CODE = re.compile(r"(?:\A|\n)\n(?: {4}[^\n]*\n|\n(?= {4}))+")  # indented lines after an empty one
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+", flags=re.M)
_SHORTENED = re.compile(r"\b(e\.g|i\.e|et al|cf|vs|approx|Fig|no)\.(?=\s)")
_END = re.compile(r"(?<=[.!?])[)\"'”’]*\s+|(?<=[.!?][*_”])\s+")


def sentences(text):
    """Return the sentences of a page in their order; a piece of code within one is the word CODE."""
    text = text.replace("\r\n", "\n") + "\n"
    for pattern in _LEFT_OUT:
        text = re.sub(pattern, "", text, flags=re.S | re.M)
    text = _CODE.sub("\n\n", text)
    text = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "CODE", text, flags=re.S)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    blocks = re.split(r"\n\s*\n", _ITEM.sub("\n\n", text))
    found = [one for block in blocks for one in _END.split(_SHORTENED.sub(r"\1", block))]
    return [" ".join(one.split()) for one in found if words(one)]


def words(sentence):
    """Return the words of a sentence; signs that stand alone are none."""
    return [word for word in sentence.split() if re.search(r"\w", word)]
