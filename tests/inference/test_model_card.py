"""The card of a bundle says what its files say, shows names of others, and no number without its file."""

import json
import re

import pytest
import yaml
from markdown_it import MarkdownIt

from segfocal.files import sha256_of
from segfocal.inference import bundle as bundles
from segfocal.inference import ensemble
from segfocal.inference.model_card import CARD, CardMetric, CardResults, write_card
from segfocal.report import markdown
from segfocal.structure import Structure
from tests.random_bundle import make_bundle

HOSTILE = '</td><script>x</script>|`[a](javascript:b)` & *c* \x1b[2J\nd: {e: "f"}'


def head_and_body(folder):
    _, head, body = (folder / CARD).read_text().split("---\n", 2)
    return yaml.safe_load(head), body


def cells(body, first):
    """Return the cells after the first of a row of a table."""
    row = next(line for line in body.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def test_a_new_bundle_has_a_card_without_metrics(random_bundle):
    head, body = head_and_body(random_bundle)
    assert head["structures"] == {"liver": 5, "spleen": 1}
    assert head["metrics"] == []
    assert head["sha256"] == {name: sha256_of(random_bundle / name) for name in ("model.safetensors", "bundle.json")}
    assert "Nothing is known about masks of other scans" in body
    assert body.count("*To be filled in") == 3
    assert cells(body, "liver") == ["5", "5"]
    assert cells(body, "window") == ["16 × 16"]
    assert cells(body, "pixels that the model sees") == ["2 × 2 mm"]


def test_results_stand_with_their_file_and_its_hash(random_bundle, tmp_path):
    folder = tmp_path / "run" / "bundle"
    bundles.save(bundles.load(random_bundle), folder)
    source = tmp_path / "run" / "summary.json"
    source.write_text("{}")
    spread = CardMetric(structure="liver", metric="dice", cases=4, mean=0.81234, low=0.7, high=0.9)
    alone = CardMetric(structure="spleen", metric="hd95_mm", cases=1, mean=12.0, low=float("nan"), high=float("nan"))
    write_card(folder, results=CardResults(metrics=[spread, alone], source=source, how="Of held-out cases."))
    head, body = head_and_body(folder)
    assert head["metrics_from"] == {"../summary.json": sha256_of(source)}
    assert head["metrics"][0]["interval_95"] == [0.7, 0.9]
    assert head["metrics"][0]["mean"] == 0.8123
    assert "interval_95" not in head["metrics"][1]
    assert cells(body, "liver | dice") == ["dice", "no prompt", "4", "0.812", "0.700 to 0.900"]
    assert "It was judged on 4 cases: too few" in body
    assert str(tmp_path) not in (folder / CARD).read_text()


def test_a_bundle_that_is_replaced_loses_the_metrics_of_the_old_one(random_bundle, tmp_path):
    folder = tmp_path / "bundle"
    bundles.save(bundles.load(random_bundle), folder)
    (folder / CARD).write_text("0.99")
    bundles.save(bundles.load(random_bundle), folder)
    assert "0.99" not in (folder / CARD).read_text()


def without_hashes(card):
    """Return the text of a card but for hashes, which another write of the same weights may change."""
    return re.sub(r"\b[0-9a-f]{64}\b", "HASH", card.read_text())


def filled_in_by_a_person(card):
    """Fill in every open field of a card, and add a key and a section; return the new text of the three fields."""
    text, told = card.read_text(), []
    for number in range(3):
        start = text.index("*To be filled in")
        end = text.index("\n\n", start)
        told.append(f"Told {number}.\n\n```\n## no heading\n```\n\nMore: | a | b |")
        text = text[:start] + told[-1] + text[end:]
    text = text.replace("license: unknown", "license: cc-by-4.0").replace("\n---\n", "\ncontact: ward 3\n---\n")
    card.write_text(text.replace("\n## Hashes", "\n## Who to ask\n\nWard 3.\n\n## Hashes"), newline="")
    return told


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_bundle_that_is_saved_again_keeps_what_was_filled_in(random_bundle, tmp_path, line_end):
    folder = tmp_path / "bundle"
    bundles.save(bundles.load(random_bundle), folder)
    told = filled_in_by_a_person(folder / CARD)
    before = without_hashes(folder / CARD)
    (folder / CARD).write_bytes((folder / CARD).read_bytes().replace(b"\n", line_end))
    for _ in range(2):  # once more keeps it, too, and adds nothing
        bundles.save(bundles.load(random_bundle), folder)
        assert without_hashes(folder / CARD) == before
    head, body = head_and_body(folder)
    assert head["license"] == "cc-by-4.0"
    assert head["contact"] == "ward 3"
    assert all(text in body for text in told)
    assert "To be filled in" not in body
    assert body.count("## Who to ask\n\nWard 3.\n") == 1


def test_what_was_filled_in_stands_beside_new_facts(random_bundle, tmp_path):
    folder = make_bundle(tmp_path / "bundle", training={"cases": ["a"], "steps": 10, "seed": 0})
    filled_in_by_a_person(folder / CARD)
    bundles.save(bundles.load(random_bundle), folder)
    head, body = head_and_body(folder)
    assert head["sha256"]["bundle.json"] == sha256_of(folder / "bundle.json")
    assert cells(body, "optimiser steps") != ["10"]
    assert body.count("| what | value |") == 2  # input and training, each once
    assert "Told 0." in body


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe\x00", b"---\na: [\n---\n## Intended use\n\nFor us.\n", b"## Intended use\n\n```\n"]
)
def test_a_card_that_a_person_has_damaged_is_written_anew(random_bundle, tmp_path, damage):
    folder = tmp_path / "bundle"
    bundles.save(bundles.load(random_bundle), folder)
    (folder / CARD).write_bytes(damage)
    bundles.save(bundles.load(random_bundle), folder)
    head, body = head_and_body(folder)
    assert head["license"] == "unknown"
    assert ("For us." in body) == (b"For us." in damage)
    titles = ["Targets", "Input", "Training data", "Metrics", "Intended use", "Limits", "Licence", "Hashes"]
    assert re.findall(r"^## (.*)$", body, flags=re.M) == titles


def test_an_ensemble_keeps_what_was_filled_in(tmp_path):
    member = bundles.load(make_bundle(tmp_path / "one"))
    ensemble.save([member, member], tmp_path / "all", facts={})
    filled_in_by_a_person(tmp_path / "all" / CARD)
    before = without_hashes(tmp_path / "all" / CARD)
    ensemble.save([member, member], tmp_path / "all", facts={})
    assert without_hashes(tmp_path / "all" / CARD) == before


def test_an_ensemble_has_a_card_of_all_its_members(tmp_path):
    members = [
        bundles.load(
            make_bundle(tmp_path / f"{seed}", seed, training={"cases": cases, "steps": 10 + seed, "seed": seed})
        )
        for seed, cases in enumerate((["a", "b"], ["b", "c"]))
    ]
    ensemble.save(members, tmp_path / "all", facts={})
    head, body = head_and_body(tmp_path / "all")
    assert set(head["sha256"]) == {
        f"member_{n}/{name}" for n in (0, 1) for name in ("model.safetensors", "bundle.json")
    }
    assert cells(body, "labelled cases") == ["3 in all, 2, 2 by model"]
    assert cells(body, "optimiser steps") == ["10, 11"]
    assert "2 models, whose logits are averaged" in body


def test_names_of_others_do_not_act(tmp_path):
    folder = make_bundle(
        tmp_path / "bundle",
        structures=(Structure(name=HOSTILE, value=5), Structure(name="spleen", value=1)),
        training={"cases": ["a"], "weights": {"path": HOSTILE, "sha256": "x"}, "steps": HOSTILE},
    )
    head, body = head_and_body(folder)
    assert head["structures"] == {HOSTILE: 5, "spleen": 1}  # what YAML quotes it gives back
    page = MarkdownIt("commonmark").enable("table").render(body)
    assert "<script" not in page
    assert "<a " not in page
    assert "\x1b" not in page
    assert page.count("&lt;script&gt;") == 3  # heading, table, steps: shown there as text
    assert len(next(line for line in body.splitlines() if "began with" in line).replace("\\|", "").split("|")) == 4


@pytest.mark.parametrize("text", [HOSTILE, "plain", "`", "a``b", "", "|", "1. x", "# y", "- z", "www.a.b", "&lt;"])
def test_markdown_shows_text_as_it_is(text):
    """An independent reader, markdown-it, has the text itself back, and nothing but text."""
    reader = MarkdownIt("commonmark").enable("table")
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    escaped = [t for t in reader.parse(f"x{markdown.escaped(text)}x") if t.type == "inline"]
    assert [child.type for child in escaped[0].children if child.type != "text_special"] in (["text"], ["text"] * 2)
    assert "".join(child.content for child in escaped[0].children) == f"x{shown}x"
    table = reader.parse(markdown.table(["a", "b"], [(text, "c")]))
    assert [t.content for t in table if t.type == "inline"][3] == "c"
    (fenced,) = (t for t in reader.parse(markdown.code(text)) if t.type == "inline")
    assert fenced.children[0].type == "code_inline"
    assert fenced.children[0].content == (shown or " ")


def test_a_trained_run_has_a_card_with_the_numbers_of_its_summary(run):
    head, body = head_and_body(run / "bundle")
    assert "flatter" not in body  # the last weights, and no rules chosen by the held-out case
    scores = json.loads((run / "summary.json").read_text())["scores"]
    for row in head["metrics"]:
        (value,) = (
            s[row["metric"]] for s in scores if (s["structure"], s["prompt"]) == (row["structure"], row["prompt"])
        )
        assert row["mean"] == pytest.approx(value, abs=5e-5)  # four digits
    assert {row["metric"] for row in head["metrics"]} == {"dice", "hd95_mm"}
    assert head["metrics_from"] == {"../summary.json": sha256_of(run / "summary.json")}
