"""The live page, opened in a real browser with nothing to reach but the page itself."""

import importlib.util
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")
LIVE = Path(__file__).resolve().parents[1] / "examples" / "live.py"
pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("solara"), reason="solara is not installed"),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture
def address(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "solara", "run", str(LIVE), "--port", str(port), "--no-open", "--production"]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        url = f"http://localhost:{port}"
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(url, timeout=1)
                    break
                except OSError:
                    time.sleep(0.5)
            yield url
        finally:
            server.terminate()


@pytest.mark.timeout(600)
def test_the_live_page_shows_a_forecast_travel_and_beliefs_move(address):
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        errors, requests = [], []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address, timeout=120_000)
        page.get_by_text("Step: 0").wait_for(timeout=120_000)
        page.wait_for_function("document.querySelectorAll('img').length >= 3", timeout=120_000)
        before = page.eval_on_selector_all("img", "images => images.map(image => image.src)")
        for step in (1, 2, 3):
            page.get_by_role("button", name="STEP").click()
            page.get_by_text(f"Step: {step}").wait_for(timeout=60_000)
        page.wait_for_function(
            "before => [...document.querySelectorAll('img')].every((image, i) => image.src != before[i])",
            arg=before,
            timeout=60_000,
        )
        after = page.eval_on_selector_all("img", "images => images.map(image => image.src)")
        browser.close()
    assert len(after) == len(before) == 3
    assert all(new != old for new, old in zip(after, before, strict=True))
    assert errors == []
    elsewhere = [url for url in requests if not url.startswith((address, "data:", "blob:", "ws://localhost"))]
    assert elsewhere == []
