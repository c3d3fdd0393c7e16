"""The page to try a network with, and what a browser may do on it."""

import base64
import hashlib
import re
from importlib.resources import files

PAGE = files("kindling.serve").joinpath("page.html")


def page() -> tuple[str, str]:
    """The HTML, and its ``Content-Security-Policy``: its own script alone runs, and asks this server alone."""
    html = PAGE.read_text(encoding="utf-8")
    script, style = (_hashes(html, tag) for tag in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


def _hashes(html: str, tag: str) -> str:
    texts = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
