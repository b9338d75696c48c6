"""The page of an evaluation."""


def test_the_page_needs_no_other_file(judged):
    _, output = judged
    page = (output / "report.html").read_text()
    assert "<script" not in page
    assert "http" not in page
    assert page.count("data:image/png;base64,") == 3  # two of the worst, and Dice of every case
    for words in ("broken", "damaged", "spare_mask", "missing_prediction", "Holm", "diagonal"):
        assert words in page
