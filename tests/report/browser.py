"""Chromium, driven over a pipe as its own tools drive it: real clicks and keys, and every request seen."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

_PATIENCE_S = 120
_KEYS = {"Enter": ("\r", 13), "Escape": ("", 27), "Tab": ("", 9)} | {
    f"Arrow{side}": ("", code) for code, side in enumerate(("Left", "Up", "Right", "Down"), 37)
}


class Browser:
    """One page: what it is told, and what it did that nobody asked for.

    Attributes:
        errors: what scripts threw or complained of.
        requests: addresses that were asked for, the page itself apart.
    """

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back
        self._rest, self._number, self._session = b"", 0, ""
        self.errors: list[str] = []
        self.requests: list[str] = []
        known = self.tell("Target.getTargets")["targetInfos"]
        target = next(target for target in known if target["type"] == "page")
        attached = self.tell("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.tell(f"{domain}.enable")

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; events that come meanwhile are noted."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._note(answer.get("method", ""), answer.get("params", {}))
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._back], [], [], _PATIENCE_S)[0], "the browser says nothing"
            read = os.read(self._back, 1 << 16)
            assert read, "the browser ended"
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def _note(self, event: str, said: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent" and not said["request"]["url"].startswith(("file:", "data:")):
            self.requests.append(said["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.errors.append(said["exceptionDetails"].get("exception", {}).get("description", str(said)))
        elif event == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(said["entry"]["text"])

    def open(self, path: Path, width: int, *, scheme: str = "light") -> None:
        """A page in a window of that width, up to its last script and the first picture after it."""
        self.tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.resize(width)
        self.tell("Page.navigate", url=path.as_uri())
        self.do(
            "new Promise(done => document.readyState == 'complete' ? done() : addEventListener('load', done))"
        )
        self.settle()

    def resize(self, width: int, height: int = 900) -> None:
        mobile = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.tell("Emulation.setDeviceMetricsOverride", **mobile)

    def settle(self) -> None:
        self.do("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def do(self, script: str) -> Any:
        """The value of an expression in the page; what it promises is awaited."""
        found = self.tell("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def place(self, element: str) -> tuple[float, float]:
        """The middle of an element (an expression), scrolled to."""
        middle = "(e => { e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect(); "
        x, y = self.do(middle + f"return [b.left + b.width / 2, b.top + b.height / 2]; }})({element})")
        self.settle()  # what is shown at the pointer goes where the page scrolls
        return x, y

    def click(self, element: str) -> None:
        self.drag(self.place(element))

    def move(self, x: float, y: float, **more: Any) -> None:
        self.tell("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **more)

    def drag(self, start: tuple[float, float], end: tuple[float, float] | None = None) -> None:
        """Press at one place and let go at another, or the same."""
        for kind, (x, y) in (
            ("mousePressed", start),
            ("mouseMoved", end or start),
            ("mouseReleased", end or start),
        ):
            held = (
                {"button": "left", "buttons": 1, "clickCount": 1} if kind != "mouseMoved" else {"buttons": 1}
            )
            self.tell("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)
        self.settle()

    def press(self, *keys: str) -> None:
        for key in keys:
            text, code = _KEYS.get(key, (key, ord(key[0].upper())))
            for kind in ("keyDown", "keyUp"):
                said = {"text": text} if text and kind == "keyDown" else {}
                self.tell("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **said)
        self.settle()

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        found = self.tell("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def printed(self) -> bytes:
        """The page as a PDF."""
        return base64.b64decode(self.tell("Page.printToPDF")["data"])


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser without a window, ended with the block."""
    (theirs, to), (back, their_back) = os.pipe(), os.pipe()
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
    ]
    script = f'exec "$@" 3<&{theirs} 4>&{their_back}'  # where it listens, and where it answers
    process = subprocess.Popen(
        ["bash", "-c", script, "chromium", str(PROGRAM), *flags, "about:blank"],
        pass_fds=(theirs, their_back),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    os.close(their_back)
    try:
        yield Browser(to, back)
    finally:
        os.close(to)
        process.terminate()
        process.wait(30)
        os.close(back)
