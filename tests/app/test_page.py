"""The page: whole in itself, trusting nobody, and working in a real browser for whoever clicks, types or pastes."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import Tab, browser
from serving import Running, png, running

from plainlearn.app.api import Page

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")


def test_the_page_names_no_address_but_its_own() -> None:
    text = Page.read().content.decode()
    assert set(re.findall(r"https?://[^'\"\s]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text and "innerHTML" not in text and "eval(" not in text
    assert "/* page." not in text


def test_every_field_has_a_name_and_no_attribute_runs() -> None:
    labelled: set[str] = set()
    fields: list[dict[str, str | None]] = []

    class Seen(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = dict(attrs)
            assert not any(name.startswith("on") or name == "style" for name in given)
            if tag == "label":
                labelled.add(given.get("for") or "file")  # the other one lies around its field
            if tag == "input":
                fields.append(given)

    Seen().feed(Page.read().content.decode())
    assert fields and {field["id"] for field in fields} <= labelled


def test_the_policy_lets_only_the_pages_own_script_and_style_run() -> None:
    page = Page.read()
    policy = dict(part.strip().split(" ", 1) for part in page.policy.split(";"))
    assert (
        policy["default-src"]
        == policy["base-uri"]
        == policy["form-action"]
        == policy["frame-ancestors"]
        == "'none'"
    )
    assert policy["connect-src"] == "'self'"
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page.content.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert policy[rule] == f"'sha256-{digest}'"


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("served")) as found:
        yield found


def begin(tab: Tab, server: Running) -> None:
    tab.events.clear()
    tab.open(f"http://127.0.0.1:{server.port}/")
    tab.until("!$('desk').hidden")


def text(tab: Tab, name: str) -> str:
    return tab.value(f"$('{name}').innerText")


@needs_chromium
def test_a_chosen_image_is_answered_and_nothing_is_fetched_from_elsewhere(
    tab: Tab, server: Running, tmp_path: Path
) -> None:
    begin(tab, server)
    assert text(tab, "name") == "it.plain" and text(tab, "about") == "Pictures, dark or light."
    (tmp_path / "a <i>dark<i> one.png").write_bytes(png(10))
    tab.choose("#file", tmp_path / "a <i>dark<i> one.png")
    tab.until("!$('found').hidden")
    assert text(tab, "label") == "dark" and text(tab, "sure") == "86.9%"
    assert text(tab, "file-name") == "a <i>dark<i> one.png"
    rows = [row.split("\n") for row in tab.value("[...$('bars').children].map(row => row.innerText)")]
    assert [row[0].strip() for row in rows] == ["dark", "<b>grey</b>", "light"]
    tab.until("$('bars').querySelector('i').style.width.startsWith('86.8')")
    assert tab.value("document.querySelectorAll('#bars b, #file-name i').length") == 0
    assert "Like the images" in text(tab, "unlike-text")
    own = (f"http://127.0.0.1:{server.port}/", f"blob:http://127.0.0.1:{server.port}/", "data:image/svg+xml,")
    assert tab.requested() and all(address.startswith(own) for address in tab.requested())
    assert tab.complaints() == []


@needs_chromium
def test_what_is_strange_and_what_is_no_image_are_said(tab: Tab, server: Running, tmp_path: Path) -> None:
    begin(tab, server)
    (tmp_path / "strange.png").write_bytes(png(240))
    (tmp_path / "no.png").write_text("no image")
    tab.choose("#file", tmp_path / "strange.png", tmp_path / "no.png")
    tab.until("asked.length == 2 && asked.every(each => each.answer || each.problem)")
    assert tab.value("document.querySelectorAll('#strip .strange').length") == 1
    tab.value(
        "[...document.querySelectorAll('#strip button')].find(b => b.title.startsWith('no.png')).click()"
    )
    assert "looks like text" in text(tab, "problem") and tab.value("$('found').hidden")
    tab.value(
        "[...document.querySelectorAll('#strip button')].find(b => b.title.startsWith('strange')).click()"
    )
    assert "Do not rely on this answer" in text(tab, "unlike-text") and tab.value("$('problem').hidden")


@needs_chromium
def test_an_image_can_be_pasted_and_dropped(tab: Tab, server: Running) -> None:
    pixels = base64.b64encode(png(10)).decode()
    for kind, event, name in (
        ("paste", "ClipboardEvent", "clipboardData"),
        ("drop", "DragEvent", "dataTransfer"),
    ):
        begin(tab, server)
        tab.value(f"""(() => {{
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(atob("{pixels}"), c => c.charCodeAt(0))], "it.png", {{type: "image/png"}}));
            dispatchEvent(new {event}("{kind}", {{{name}: data, cancelable: true}}));
        }})()""")
        tab.until("!$('found').hidden")
        assert text(tab, "label") == "dark"


@needs_chromium
def test_the_keyboard_reaches_all_of_it(tab: Tab, server: Running) -> None:
    begin(tab, server)
    reached: list[str] = []
    for _ in range(5):
        tab.press("Tab", 9)
        reached.append(tab.value("document.activeElement.id || document.activeElement.innerText"))
    assert reached[:3] == ["file", "Its labels", "For programs"]
    tab.value("document.querySelectorAll('summary')[1].focus()")
    tab.press("Enter", 13, "\r")
    tab.until("document.querySelectorAll('details')[1].open")
    assert f"http://127.0.0.1:{server.port}/predict" in text(tab, "curl")


@needs_chromium
def test_it_is_dark_where_people_want_it_dark_and_as_wide_as_a_phone(tab: Tab, server: Running) -> None:
    begin(tab, server)
    light = tab.value("getComputedStyle(document.body).backgroundColor")
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = tab.value("getComputedStyle(document.body).backgroundColor")
    tab.call("Emulation.setEmulatedMedia", features=[])
    assert sum(map(int, re.findall(r"\d+", dark))) < 120 < 600 < sum(map(int, re.findall(r"\d+", light)))
    tab.call("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=True)
    tab.value("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert tab.value("document.documentElement.scrollWidth") == 360
    tab.call("Emulation.clearDeviceMetricsOverride")


@needs_chromium
def test_the_page_asks_for_the_token_and_then_works(tab: Tab, tmp_path: Path) -> None:
    with running(tmp_path, token="open-1234567") as found:
        tab.open(f"http://127.0.0.1:{found.port}/")
        tab.until("!$('door').hidden")
        for given, holds in (("wrong", "$('door-problem').innerText"), ("open-1234567", "!$('desk').hidden")):
            tab.value(f"$('token').value = '{given}'; $('door').requestSubmit()")
            tab.until(holds)
        (tmp_path / "dark.png").write_bytes(png(10))
        tab.choose("#file", tmp_path / "dark.png")
        tab.until("!$('found').hidden")
        assert text(tab, "label") == "dark"
        assert "Bearer TOKEN" in tab.value("$('curl').textContent") and "open-1234567" not in tab.value(
            "document.documentElement.outerHTML"
        )
