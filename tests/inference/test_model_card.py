"""The card as Markdown: all that the file tells, and nothing that the file says becomes markup."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plainlearn.inference.model_card import markdown_of, safe
from plainlearn.inference.modelfile import ModelFile
from plainlearn.inference.output_spec import OutputSpec

NASTY = ["a/b", "c\\d", "🐈‍⬛", "line\nbreak", "pipe | pipe", "<script>alert(1)</script>", "![x](http://e.vil/i.png)",
         "[x](javascript:1)", "`code`", "**bold**", "# head", "- item", "1. one", "", "www.e.vil", "a@b.c", "&amp;", "\x1b[31m",
         "$x$", "\u202etxt.exe"]  # fmt: skip


def file_with(labels: list[str], **card: Any) -> ModelFile:
    return ModelFile(
        architecture={"recipe": {}}, weights={"w": torch.zeros(2, 3)}, output_spec=OutputSpec("softmax", ood_above=0.5),
        pipeline={"blocks": [{"kind": "ImageBlock"}], "item_tfms": [{"kind": "Resize", "size": 32}], "batch_tfms": []},
        target={"kind": "CategoryBlock", "vocab": labels},
        card={
            "about": "Tells pets apart.\n\nBy me.", "model": "timm:net", "licence": "apache-2.0", "weights_from": "net.in1k",
            "data": {"train": 90, "valid": 30, "counts": [[label, 5] for label in labels], "fingerprint": "ab12"},
            "metrics": [{"name": "accuracy", "value": 0.9, "low": 0.75, "high": 0.96, "items": 30}],
            "calibration": {"temperature": 1.5, "before": 0.2, "after": 0.05, "items": 30.0, "sure": 20.0, "sure_right": 19.0},
            "history": {"names": ["epoch", "loss"], "epochs": 1, "rows": [[0, 0.5]]}, "versions": {"torch": "2"},
            "made": "2026-01-01", "loss": "CrossEntropyLossFlat", "usual": {"items": 30}, **card,
        },
    )  # fmt: skip


def test_the_card_tells_all_that_a_person_asks() -> None:
    text = markdown_of(file_with(["cat", "dog"]), "pets.plain")
    for words in (
        "license: apache-2.0", "# pets", "Tells pets apart.\n\nBy me.", "one of 2 labels",
        "| accuracy | 0.900 | 0.750 and 0.960 | 30 |", "temperature of 1.500", "0.200 before and is 0.050 after",
        "20 answers are more than 90% sure, and 19 of these are right", "| cat | 5 |", "fewer than 20", "plainlearn drift",
        "| 0 | 0.500 |", "Their licence: apache-2.0", 'Predictor.load("pets.plain")', "2026-01-01",
    ):  # fmt: skip
        assert words in text, words


def test_what_the_file_is_silent_about_is_said() -> None:
    file = replace(
        file_with([]),
        card={},
        target={"kind": "PointBlock"},
        output_spec=OutputSpec("none"),
        architecture={"custom": "x"},
    )
    text = markdown_of(file, "it.plain")
    for words in (
        "no figures", "not held against the truth", "cannot tell pictures", "licence is not told", "model=TheClass",
    ):  # fmt: skip
        assert words in text, words
    assert "license:" not in text and "pipeline_tag" not in text


@pytest.mark.parametrize("label", NASTY)
def test_a_label_is_text_and_nothing_else(label: str) -> None:
    text = markdown_of(
        file_with([label, "dog"], about=label, model=label, weights_from=label, licence=label, loss=label),
        "x.plain",
    )
    plain = markdown_of(
        file_with(["cat", "dog"], about="cat", model="cat", weights_from="cat", licence="cat", loss="cat"),
        "x.plain",
    )
    text, plain = (re.sub(r"\\.", "", each.partition("\n---\n")[2]) for each in (text, plain))
    for mark in ("\n#", "\n- ", "<", "](", "://", "`", "\n| ", "www."):
        assert text.count(mark) == plain.count(mark), mark
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"\|", row)) in (3, 5) for row in rows), rows
    assert "\x1b" not in text and "\u202e" not in text


@given(st.text())
def test_what_is_made_safe_reads_as_it_was(text: str) -> None:
    made = safe(text)
    assert "\n" not in made and "<" not in made and "](" not in made and made.isprintable()
    read = html.unescape(re.sub(r"\\([\\`*_\[\]|~#!$.)+=-])", r"\1", made))
    if text.isprintable() and "&" not in text:
        assert read == text


def test_a_card_of_odd_kinds_is_still_a_card() -> None:
    for odd in (None, 3, "x", [], {"a": 1}, [[1]], [None]):
        card = dict.fromkeys(
            (
                "data",
                "metrics",
                "calibration",
                "history",
                "versions",
                "usual",
                "made",
                "about",
                "licence",
                "weights_from",
            ),
            odd,
        )
        assert markdown_of(replace(file_with(["a"]), card=card), "x.plain").startswith("---")
        told = dict.fromkeys(
            (
                "temperature",
                "before",
                "after",
                "items",
                "sure",
                "sure_right",
                "honest",
                "counts",
                "rows",
                "names",
                "train",
            ),
            odd,
        )
        card = {"calibration": told, "data": told, "history": told, "metrics": [told, odd]}
        assert "## Limits" in markdown_of(replace(file_with(["a"]), card=card), "x.plain")
