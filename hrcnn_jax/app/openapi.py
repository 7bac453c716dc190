"""The HTTP interface described for programs, as OpenAPI 3.1 has it."""

from collections.abc import Mapping, Sequence
from typing import Any

import hrcnn_jax
from hrcnn_jax.app.wishes import Parameter, parameters

_NAME = Parameter(
    "what the file is called: for messages, and for the result's own name", {"type": "string"}
)
_TICKET = Parameter(
    "a word of the caller's own, by which progress can be asked for", {"type": "string"}
)
_FILE = {
    "description": "a JPEG, PNG, WebP, TIFF or BMP file as it is",
    "required": True,
    "content": {
        f"image/{kind}": {"schema": {"type": "string", "format": "binary"}}
        for kind in ("jpeg", "png", "webp", "tiff", "bmp")
    },
}
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_PROBLEMS = {
    "400": "a parameter makes no sense",
    "403": "not asked from the app's own page, or by a name that it is not known by",
    "408": "the file did not arrive",
    "413": "the file is too large",
    "422": "the file cannot be read, or the result cannot be written in this format",
    "503": "too many pictures are waiting; try again later",
}


def description(models: Sequence[str]) -> dict[str, Any]:
    """The whole interface.

    Args:
      models: networks that may be asked for, the default one first.
    """
    wishes = parameters(models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hrcnn-jax",
            "version": hrcnn_jax.__version__,
            "description": "Restores JPEG pictures straight from their codes. A file goes in as "
            "the body of a request, a picture comes out; nothing is kept.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/api": {
                "get": {
                    "summary": "What this app is, and takes",
                    "responses": {"200": _json("version, networks, formats, limits")},
                }
            },
            "/api/restore": {
                "post": {
                    "summary": "Restores a picture",
                    "parameters": _query(wishes | {"name": _NAME, "ticket": _TICKET}),
                    "requestBody": _FILE,
                    "responses": {
                        "200": {
                            "description": "the picture, upright, with the file's metadata",
                            "content": {
                                kind: {"schema": {"type": "string", "format": "binary"}}
                                for kind in ("image/png", "image/tiff", "image/webp", "image/jpeg")
                            },
                        },
                        **_problems(),
                    },
                }
            },
            "/api/inspect": {
                "post": {
                    "summary": "Tells what a picture is, and what a network is expected to gain",
                    "parameters": _query(
                        {name: wishes[name] for name in ("model", "strength", "history", "salvage")}
                        | {"name": _NAME}
                    ),
                    "requestBody": _FILE,
                    "responses": {
                        "200": _json(
                            "facts, most as `hrcnn-jax inspect --json` has them, and in words"
                        ),
                        **_problems(),
                    },
                }
            },
            "/api/progress/{ticket}": {
                "get": {
                    "summary": "How far a picture is",
                    "parameters": [
                        {
                            "name": "ticket",
                            "in": "path",
                            "required": True,
                            "schema": {"type": "string"},
                        }
                    ],
                    "responses": {
                        "200": _json("`ahead`, how many come before it, and `share` of it done"),
                        "404": _json("no such picture is worked on", _ERROR),
                    },
                }
            },
        },
    }


def _query(known: Mapping[str, Parameter]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "description": each.about, "schema": dict(each.schema)}
        for name, each in known.items()
    ]


def _json(about: str, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    content = {"application/json": {"schema": dict(schema or {"type": "object"})}}
    return {"description": about, "content": content}


def _problems() -> dict[str, Any]:
    return {status: _json(about, _ERROR) for status, about in _PROBLEMS.items()}
