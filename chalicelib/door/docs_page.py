"""The OpenAPI document as a page to read: plain HTML, no script, nothing loaded from elsewhere."""

import base64
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from html import escape
from typing import Any

from chalicelib.door.openapi import document

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "h2{margin-top:2.5rem;border-bottom:1px solid}"
    "summary{cursor:pointer;padding:.3rem 0}"
    "code,pre{font:14px/1.4 ui-monospace,monospace}"
    "pre{overflow:auto;padding:.6rem;border-left:3px solid}"
    ".method{display:inline-block;width:4.5rem;font-weight:bold}"
)


@cache
def security_headers() -> dict[str, str]:
    """What a browser may do with the page: show it with this one style, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return {
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
    }


@cache
def page() -> str:
    """The page."""
    told = document()
    title = escape(f"{told['info']['title']} {told['info']['version']}")
    body = "".join(_sections(told))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1><p>{escape(told['info']['summary'])} For programs: "
        f'<a href="openapi.json">openapi.json</a>.</p>{body}</body></html>'
    )


def _sections(told: dict[str, Any]) -> Iterator[str]:
    tag = ""
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                yield f"<h2>{escape(tag)}</h2>"
            yield _operation(path, method, operation)
    yield "<h2>Shapes</h2>"
    for name, schema in told["components"]["schemas"].items():
        yield f"<details><summary><code>{escape(name)}</code></summary>{_json(schema)}</details>"


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    head = (
        f'<span class="method">{escape(method.upper())}</span><code>{escape(path)}</code>'
        f"<br>{escape(operation['summary'])}"
    )
    parts = [f"<p>{escape(operation['description'])}</p>"] if "description" in operation else []
    parts += [
        f"<h4>{what}</h4>{_json(operation[what])}"
        for what in ("parameters", "requestBody")
        if what in operation
    ]
    answers = "".join(
        f"<li><b>{escape(status)}</b> {escape(answer['description'])}</li>"
        for status, answer in operation["responses"].items()
    )
    return (
        f"<details><summary>{head}</summary>{''.join(parts)}<h4>answers</h4><ul>{answers}</ul>"
        "</details>"
    )


def _json(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2))}</pre>"
