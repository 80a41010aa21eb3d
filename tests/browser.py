"""Pages in headless Chromium, which say what they find by `tell(value)`."""

import functools
import http.server
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

CHROMIUM = shutil.which("chromium")
PATIENCE = 100  # seconds
TELL = """<script>
const tell = (value) => fetch("/tell", { method: "POST", body: JSON.stringify(value) });
addEventListener("unhandledrejection", ({ reason }) => tell({ failed: String(reason) }));
addEventListener("error", ({ message }) => tell({ failed: message }));
</script>"""


class Served(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; what a page posts goes to the server's queue."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.server.told.put(json.loads(body))

    def log_message(self, *_):
        pass


def told(folder: Path, page: str):
    """What a page says; page: HTML, whose addresses are names of files in the folder."""
    (folder / "page.html").write_text("<!doctype html><meta charset=utf-8>" + TELL + page)
    handler = functools.partial(Served, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, tempfile.TemporaryDirectory() as profile:
        server.told = queue.Queue()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        address = f"http://127.0.0.1:{server.server_port}/page.html"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        browser = subprocess.Popen([CHROMIUM, *options, address], start_new_session=True, **quiet)
        try:
            return server.told.get(timeout=PATIENCE)
        finally:
            os.killpg(browser.pid, signal.SIGTERM)
            browser.wait()
            server.shutdown()
