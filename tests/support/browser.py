"""A real browser for tests of the web page: playwright with the system's chromium.

`python -m tests.support.browser` says what is missing and exits with 1; scripts/test asks it first.
"""

import importlib.util
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, CDPSession, Page

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_DEADLINE_SECONDS = 60.0
# Reports of the content security policy reach the page as events; the list outlives a reload.
_WATCH_POLICY = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
# Parts of the browser that tests do not look at, and that cost most of the CPU time of opening a
# page: a hidden page in a process of its own for suggestions in the address bar, and a process
# kept ready for the next page. The last --disable-features counts, so this has playwright's too.
_WITHOUT = (
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup"),
    *("PreloadTopChromeWebUI", "SpareRendererForSitePerProcess"),
    *("AimEnabled", "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose"),
    *("HttpsFirstBalancedModeAutoEnable", "HttpsUpgrades", "LensOverlay", "MediaRouter"),
    *("NetworkTimeServiceQuerying", "OptimizationHints", "PaintHolding", "PreconnectToSearch"),
    *("ThirdPartyStoragePartitioning",),
)
# The browser's line for each answer with an error status, which many tests provoke.
_EXPECTED = re.compile("^Failed to load resource")


def chromium() -> str | None:
    """The path of the browser, None if it is not installed."""
    return next(filter(None, map(shutil.which, _PROGRAMS)), None)


def missing() -> str:
    """What the tests lack, as a sentence that says what to do; "" if nothing."""
    if importlib.util.find_spec("playwright") is None:
        return "the package playwright is not installed; run scripts/install dev"
    if chromium() is None:
        return "no chromium on PATH; on Debian: apt install chromium"
    return ""


@contextmanager
def browser() -> Iterator["Browser"]:
    """A browser process."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium(),
            # Its sandbox needs an ordinary user and user namespaces, which containers often lack.
            # A scroll by the wheel ends at once, so that a test knows when the page is at rest.
            args=[
                *("--no-sandbox", "--disable-gpu", "--disable-smooth-scrolling"),
                f"--disable-features={','.join(_WITHOUT)}",
            ],
        )
        yield started
        started.close()


class Watched:
    """A page of its own browser profile, and everything that must not happen on it."""

    def __init__(self, browser: "Browser", **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(**options)
        self.context.add_init_script(_WATCH_POLICY)
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        self.page = self.open()
        self.devtools: CDPSession = self.context.new_cdp_session(self.page)

    def open(self) -> "Page":
        """A further tab of the same profile."""
        page = self.context.new_page()
        page.set_default_timeout(_DEADLINE_SECONDS * 1000)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("request", lambda request: self.hosts.add(_host(request.url)))
        return page

    def close(self) -> None:
        """Close the profile; everything in it is lost."""
        self.context.close()

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not _EXPECTED.match(text):
            self.problems.append(f"{kind}: {text}")


def until_text(page: "Page", selector: str, text: str) -> None:
    """Wait until the last element of `selector` has this text."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while text not in (found := page.locator(selector).last.inner_text()):
        assert time.monotonic() < deadline, f"{selector} has {found!r}, expected {text!r}"
        page.wait_for_timeout(20)


def until_true(page: "Page", expression: str) -> None:
    """Wait until a JavaScript expression is true. Not playwright's wait_for_function: it evaluates
    text in the page, which the page's policy forbids.
    """
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not in time: {expression}"
        page.wait_for_timeout(20)


@contextmanager
def shown_briefly(page: "Page", words: str) -> Iterator[None]:
    """Wait until a button has had these words at some time since the beginning: it loses them soon,
    and a busy machine may look too late.
    """
    page.evaluate(
        """(words) => {
          window.wereShown = false;
          const look = () => {
            for (const one of document.querySelectorAll("button"))
              if (one.ariaLabel === words || one.textContent === words) window.wereShown = true;
          };
          new MutationObserver(look).observe(document.body, { subtree: true, childList: true,
            characterData: true, attributeFilter: ["aria-label"] });
        }""",
        words,
    )
    yield
    until_true(page, "window.wereShown")


def _host(url: str) -> str:
    return url.split("/")[2] if "://" in url else ""


if __name__ == "__main__":
    if what := missing():
        print(f"tests/browser: left out: {what}", file=sys.stderr)
        sys.exit(1)
