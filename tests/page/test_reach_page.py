"""The page of `steppe reach -o html`, in a browser: at 20, 1,000 and 10,000 pods.

`STEPPE_SCREENSHOTS=FOLDER` keeps what each size looks like, in both themes.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.conftest import SIZES
from tests.waiting import patience

Written = Callable[[int], Path]
# WCAG 2.2, 1.4.3: "at least 4.5:1" for text.
LEAST_CONTRAST = 4.5
MOST_ROWS = 80
"""Rows in the document at once, however many the list has: the window shows some thirty."""


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_page(browser: Any, written: Written, theme: str) -> Iterator[Callable[[int], Any]]:
    opened: list[Any] = []
    errors: list[str] = []

    def opens(pods: int) -> Any:
        page = browser.new_page(viewport={"width": 1300, "height": 800}, color_scheme=theme)
        opened.append(page)
        page.set_default_timeout(patience(30) * 1000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text))
        page.goto(written(pods).as_uri())
        page.wait_for_selector(".row")
        return page

    yield opens
    for page in opened:
        page.close()
    assert errors == []


def texts(page: Any) -> list[str]:
    """The rows in sight, from top to bottom."""
    rows = page.locator(".row").all()
    placed = sorted((row.bounding_box()["y"], row.locator(".what").inner_text()) for row in rows)
    return [text for _, text in placed]


@pytest.mark.parametrize("pods", SIZES)
def test_any_number_of_pods_is_a_list_that_can_be_read(
    open_page: Callable[[int], Any], pods: int, theme: str
) -> None:
    page = open_page(pods)
    assert f"{pods:,} pods" in page.locator("#summary").inner_text()
    assert page.locator("h1").inner_text() == "Who reaches whom in test"
    assert page.locator(".row").count() <= MOST_ROWS
    assert page.locator("#list").bounding_box()["height"] <= 800
    folder = os.environ.get("STEPPE_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"reach-{pods}-{theme}.png"))


def test_text_has_enough_contrast(open_page: Callable[[int], Any]) -> None:
    page = open_page(20)
    page.locator(".row").nth(2).click()
    worst = page.evaluate(_CONTRAST)
    assert worst["ratio"] >= LEAST_CONTRAST, worst


def test_the_keyboard_reaches_every_row_and_its_detail(open_page: Callable[[int], Any]) -> None:
    page = open_page(10_000)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "from"
    page.locator("#list").focus()
    page.keyboard.press("End")
    last = page.locator("[aria-selected=true]").locator(".what").inner_text()
    page.keyboard.press("Home")
    for key in ("ArrowDown", "ArrowRight", "ArrowDown", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    chosen = page.locator(".row[aria-selected=true]")
    assert last != chosen.locator(".what").inner_text()
    assert chosen.get_attribute("aria-level") == "3"
    assert page.locator("#list").get_attribute("aria-activedescendant") == chosen.get_attribute(
        "id"
    )
    detail = page.locator("#detail").inner_text()
    assert re.search(r"steppe explain \S+ \S+ -f test/", detail)
    assert "NetworkPolicy/" in detail
    page.keyboard.press("ArrowLeft")
    assert page.locator(".row[aria-selected=true]").get_attribute("aria-level") == "2"


def test_what_is_allowed_comes_first(open_page: Callable[[int], Any]) -> None:
    page = open_page(20)
    signs = [row.locator(".sign").inner_text() for row in page.locator("[aria-level='3']").all()]
    receivers = page.locator("[aria-level='2']").count()
    assert receivers > 5
    assert signs[0] != "○"
    words = {"●": "open", "◐": "some", "○": "closed", "?": "unknown"}
    for row in page.locator("[aria-level='3']").all():
        sign = row.locator(".sign")
        assert words[sign.inner_text()] in (sign.get_attribute("class") or "")


@pytest.mark.parametrize("pods", SIZES)
def test_the_filter_leaves_what_was_asked_for(open_page: Callable[[int], Any], pods: int) -> None:
    page = open_page(pods)
    page.fill("input[name=to]", "team-0/app-3-1")
    assert page.locator("[aria-level='1']").count() == 1
    assert all("app-3" in text for text in texts(page) if text.startswith("to "))
    page.fill("input[name=to]", "no such name")
    assert page.locator(".row").count() == 0
    page.keyboard.press("ArrowDown")
    page.fill("input[name=to]", "")
    assert page.locator(".row").count() > 0


def test_names_are_never_markup(browser: Any, written: Written, tmp_path: Path) -> None:
    evil = "<img src=x onerror=document.title='taken'>"
    path = tmp_path / "evil.html"
    text = written(20).read_text().replace("team-0/app-0-0", evil.replace("<", "\\u003c"))
    path.write_text(text)
    page = browser.new_page()
    page.goto(path.as_uri())
    page.fill("input[name=to]", "onerror")
    assert evil in texts(page)[1]
    assert page.title() == "steppe reach: test"
    page.close()


_CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (text) => { const [r, g, b] = rgb(text).map(part);
                            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (node) => { for (; node; node = node.parentElement) {
    const color = getComputedStyle(node).backgroundColor;
    if (!/, 0\\)$|transparent/.test(color)) return color; } return "rgb(255, 255, 255)"; };
  let worst = { ratio: 21 };
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !node.getClientRects().length) continue;
    const pair = [light(getComputedStyle(node).color), light(behind(node))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < worst.ratio) worst = { ratio, text: node.textContent, tag: node.tagName };
  }
  return worst;
}"""
