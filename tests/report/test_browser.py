"""Pages in a real browser, from file:// with the network off."""

from pathlib import Path

import pytest

from popsim.study.pages import report

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed"),
]
MEASURE = """() => ({
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    pictures: [...document.querySelectorAll('.picture')].map(one => ({
        width: one.querySelector('svg').getBoundingClientRect().width,
        marks: one.querySelectorAll('svg path[fill], svg path[stroke], svg line, svg text').length,
    })),
    figures: document.querySelectorAll('figure').length,
    smallest: Math.min(...[...document.querySelectorAll('td')].map(c => parseFloat(getComputedStyle(c).fontSize))),
    title: document.title,
})"""
CONTRAST = """() => {
    const rgb = c => c.match(/[0-9.]+/g).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const light = c => { const [r, g, b] = rgb(c); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const paper = light(getComputedStyle(document.body).backgroundColor);
    const ratio = c => { const l = light(c); return (Math.max(l, paper) + 0.05) / (Math.min(l, paper) + 0.05); };
    const texts = [...document.querySelectorAll('.picture text')];
    const axes = texts.filter(t => !/#(fff|000)/.test(t.getAttribute('fill')))
        .map(t => ratio(getComputedStyle(t).fill));
    return Math.min(...axes, ratio(getComputedStyle(document.body).color),
                    ratio(getComputedStyle(document.querySelector('a[href^="#asked"]')).color));
}"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module", params=["evil", "oil", "uneven", "swept"])
def written(request):
    return report(request.getfixturevalue(request.param).path)


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_whole_and_quiet(browser, written, width, scheme):
    noise, requests = [], []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page = context.new_page()
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda problem: noise.append(str(problem)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(written.as_uri())
    found = page.evaluate(MEASURE)
    assert noise == []
    assert requests == [written.as_uri()]
    assert found["overflow"] <= 0
    assert found["figures"] == len(found["pictures"]) > 0
    assert all(one["width"] >= 280 and one["marks"] >= 5 for one in found["pictures"])
    assert found["smallest"] >= 12
    assert found["title"].endswith("popsim")
    assert "owned" not in found["title"].replace("document.title='owned'", "")
    assert page.evaluate(CONTRAST) >= 4.5
    assert written.stat().st_size < 5_000_000
    context.close()


def test_it_can_be_used_with_the_keyboard_alone(browser, oil):
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(report(oil.path).as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName"))
    assert {"A", "SUMMARY", "DIV"} <= reached  # the parts, what is folded, tables that scroll
    summary = page.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    page.close()


def test_it_prints_on_paper_with_what_was_folded(browser, oil, tmp_path):
    page = browser.new_page()
    page.goto(report(oil.path).as_uri())
    page.emulate_media(media="print")
    assert page.locator("details.block pre").first.is_visible()
    assert not page.locator("nav").is_visible()
    assert page.pdf(path=str(tmp_path / "page.pdf"), format="A4").startswith(b"%PDF")
    page.close()
