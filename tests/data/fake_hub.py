"""A hub on 127.0.0.1: the file list, HEAD and ranged GET that huggingface_hub asks for, and its faults."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

COMMIT = "a" * 40


class FakeHub:
    """Serves ``files`` of dataset repository ``repo``.

    Attributes:
        cut: path to the number of bytes after which the next GET of it is cut off.
        corrupt: path to how many more GETs of it get flipped bytes.
        requests: (method, path, Range header) of every request.
        commit: what every revision is.
        is_down: answers every question about the repository with status 503.
    """

    def __init__(self, repo: str, files: dict[str, bytes]) -> None:
        self.repo = repo
        self.files = files
        self.cut: dict[str, int] = {}
        self.corrupt: dict[str, int] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.commit = COMMIT
        self.is_down = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def gets(self, path: str) -> list[str | None]:
        """Range headers of all GETs of a file."""
        return [given for method, asked, given in self.requests if method == "GET" and asked.endswith(path)]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self._file(send=False)

            def do_GET(self) -> None:
                path = unquote(urlparse(self.path).path)
                if hub.is_down:
                    self.send_error(503)
                elif path.startswith(f"/api/datasets/{hub.repo}/tree/"):
                    self._json([_entry(name, data) for name, data in hub.files.items()])
                elif path.startswith(f"/api/datasets/{hub.repo}"):
                    self._json({"id": hub.repo, "sha": hub.commit, "siblings": []})
                else:
                    self._file(send=True)

            def _json(self, value: object) -> None:
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _file(self, send: bool) -> None:
                path = unquote(urlparse(self.path).path)
                given = self.headers.get("Range")
                hub.requests.append((self.command, path, given))
                name = path.removeprefix(f"/datasets/{hub.repo}/resolve/{hub.commit}/")
                if name not in hub.files:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                data = hub.files[name]
                digest = hashlib.sha256(data).hexdigest()
                start = int(given.removeprefix("bytes=").split("-")[0]) if given else 0
                body = data[start:]
                if send and hub.corrupt.get(name, 0) > 0:
                    hub.corrupt[name] -= 1
                    body = bytes(byte ^ 0xFF for byte in body)
                self.send_response(206 if given else 200)
                self.send_header("ETag", f'"{digest}"')
                self.send_header("X-Linked-Etag", f'"{digest}"')
                self.send_header("X-Linked-Size", str(len(data)))
                self.send_header("X-Repo-Commit", hub.commit)
                self.send_header("Accept-Ranges", "bytes")
                if given:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if send:
                    stop = hub.cut.pop(name, None)
                    self.wfile.write(body[:stop])
                    if stop is not None:
                        self.wfile.flush()
                        self.close_connection = True
                        self.connection.shutdown(2)

        return Handler


def _entry(name: str, data: bytes) -> dict[str, object]:
    return {
        "type": "file",
        "path": name,
        "size": len(data),
        "oid": hashlib.sha1(data).hexdigest(),
        "lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134},
    }
