"""HTML pages from Jinja2 templates, each a single file that loads nothing.

The template of a page extends `html_page.html`, which holds head, style and security policy. It lies
next to the Python module that fills it, as `evaluation/html/report.html` does, with its own style and script.
"""

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

MAX_TEXT_LENGTH = 500


def render_page(template: str, **values: Any) -> str:
    """Return a page; `template` is a path in the package, `values` are escaped where they are written."""
    return environment().get_template(template).render(values)


@cache
def environment() -> Environment:
    """Return the settings that all templates share; a missing value is an error."""
    environment = Environment(
        loader=PackageLoader("ocr_ray", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sha256"] = sha256_base64
    environment.filters["shorten"] = shorten
    return environment


def shorten(text: str) -> str:
    """Return a text, cut after 500 characters."""
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}…"


def sha256_base64(script: str) -> str:
    """Return the hash by which a content security policy allows an inline script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def data_uri(image_bytes: bytes) -> str:
    """Return an encoded image, PNG or JPEG, as a URI that holds it."""
    kind = "png" if image_bytes.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image_bytes).decode()}"
