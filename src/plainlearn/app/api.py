"""The application: what can be asked over HTTP, and the OpenAPI that says so."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any, Final, Self, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from plainlearn._version import __version__
from plainlearn.app.batcher import Full
from plainlearn.app.guard import KNOWN
from plainlearn.app.limits import FAILED, Limits, Refusal, as_json
from plainlearn.app.monitoring import PLAIN_TEXT, ServerMetrics
from plainlearn.app.service import ScoredPrediction, ServedModel, Service
from plainlearn.app.uploads import FIELD, Upload, UploadBudget, check_length, read_uploads
from plainlearn.core.errors import DataError

__all__ = ["PATHS", "Page", "make_app"]

PATHS: Final = ("/", "/predict", "/info", "/health", "/metrics", "/reload", "/openapi.json")
_MOST_LABELS: Final = 1000
Made = TypeVar("Made")


# ---------------------------------------------------------------- what is answered


class Chance(BaseModel):
    """A label and how probable it is."""

    label: Any
    probability: float


class Unlike(BaseModel):
    """How unlike an image is to those that the model learned from: `strange` when its score is above the limit."""

    score: float
    limit: float
    strange: bool


class Answer(BaseModel):
    """What the model says of one image. `label` is a list for several labels or numbers; `index` is -1 for unknown."""

    file: str | None = Field(description="The name that was sent with the image.")
    label: Any
    index: int | None
    probability: float | None
    probabilities: list[Chance]
    unlike: Unlike | None


class Unreadable(BaseModel):
    """Why there is no answer for one image."""

    file: str | None
    error: str


class Answers(BaseModel):
    """The answers in the order of the images."""

    model: str = Field(description="Which model file answered: the beginning of its SHA-256.")
    predictions: list[Answer]


class Problem(BaseModel):
    """Why a request was refused, in one sentence."""

    error: str


class SomeUnreadable(Problem):
    """The images that cannot be read, among the answers for those that can."""

    model: str | None = None
    predictions: list[Answer | Unreadable] | None = None


class Health(BaseModel):
    """`status` is "stale" when the model file was replaced by one that cannot be used; `problem` then says why."""

    status: str
    model: str
    since: str
    inside: int
    waiting: int
    problem: str | None


class Info(BaseModel):
    """What the model is, and what the server takes. `card` is what `plainlearn info --json` prints."""

    name: str
    model: str
    since: str
    plainlearn: str
    max_bytes: int
    max_images: int
    unlike_above: float | None
    labels: list[Any]
    card: dict[str, Any]


_PROBLEMS: Final = {
    400: "The request is not well-formed.",
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another site.",
    408: "The body came too slowly.",
    413: "The request is too large, or holds too many images.",
    415: "The body is neither a form nor an image.",
    421: "The server does not go by the name in Host.",
    429: "The queue is full; Retry-After says when to come again.",
    431: "The head is too long.",
    500: "The server failed.",
}
_IMAGE: Final = {"type": "string", "format": "binary"}


def _refused(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem, "description": _PROBLEMS[status]} for status in statuses}


_ANY: Final = (400, 401, 421, 431, 500)


def make_app(service: Service, limits: Limits, metrics: ServerMetrics) -> FastAPI:
    """The application, without the door: see `guard`."""
    page = Page.read()
    app = FastAPI(
        title="plainlearn", version=__version__, docs_url=None, redoc_url=None,
        description="Predictions of a model file. Every refusal is one sentence in `error`.",
    )  # fmt: skip
    budget = UploadBudget(limits.uploads)
    metrics.watch(lambda: service.inside, lambda: service.waiting, lambda: budget.bytes)
    _handle_errors(app)

    @app.post(
        "/predict",
        response_model=Answers,
        responses={
            **_refused(*_ANY, 403, 408, 413, 415, 429),
            422: {
                "model": SomeUnreadable,
                "description": "An image cannot be read, or an option is not what it can be.",
            },
        },
        openapi_extra={"requestBody": _body(limits)},
    )
    async def predict(  # pyright: ignore[reportUnusedFunction]
        request: Request,
        top: Annotated[
            int, Query(ge=1, le=_MOST_LABELS, description="How many labels to tell, the most probable first.")
        ] = 5,
        unknown: Annotated[
            bool, Query(description="Answer `unknown` for an image unlike those that the model learned from.")
        ] = False,
    ) -> Response:
        """Tell the label of each image, and how sure that is.

        Images are sent as a form of files or one as the body itself. If some cannot be read, the
        status is 422, and `predictions` has the answers for the others.
        """
        check_length(request.headers.get("content-length"), limits)
        if not service.room_for(1):
            raise _full()
        with budget.request() as take:
            uploads = await read_uploads(
                request.headers.get("content-type", ""), _body_of(request), limits, take
            )
            try:
                model, found = await _unless_gone(request, service.ask([upload.data for upload in uploads]))
            except Full:
                raise _full() from None
            return _answered(model, uploads, found, metrics, top=top, unknown=unknown)

    @app.get("/info", response_model=Info, responses=_refused(*_ANY))
    async def info() -> Response:  # pyright: ignore[reportUnusedFunction]
        """What the model is, its labels and its card, and what the server takes."""
        model = service.model
        return _json(
            {
                "name": model.name,
                "model": model.digest,
                "since": service.since.isoformat(timespec="seconds"),
                "plainlearn": __version__,
                "max_bytes": limits.body,
                "max_images": limits.images,
                "unlike_above": model.unlike_above,
                "labels": model.facts["labels"],
                "card": model.facts,
            }
        )

    @app.get("/health", response_model=Health, responses=_refused(400, 421, 431, 500))
    async def health(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Whether predictions are answered. It needs no token; without it, a problem is not described."""
        return _json(_health(service, known=request.scope[KNOWN]))

    @app.post(
        "/reload",
        response_model=Health,
        responses={
            **_refused(*_ANY, 403),
            409: {
                "model": Problem,
                "description": "The file cannot be used; the old model stays in service.",
            },
        },
    )
    async def reload() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Put the model file, as it is now, into service. Requests go on being answered meanwhile."""
        problem = await service.reload()
        if problem is not None:
            raise Refusal(
                409, f"{problem}; {service.model.name} of before stays in service ({service.model.digest})"
            )
        return _json(_health(service, known=True))

    @app.get("/metrics", response_class=Response, responses=_refused(*_ANY) | {
        200: {"description": "In Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    })  # fmt: skip
    async def figures() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Requests by status, seconds, batch sizes, the queue's length, images."""
        return Response(metrics.text(), media_type=PLAIN_TEXT)

    @app.get("/", response_class=Response, responses=_refused(400, 421, 431, 500) | {
        200: {"description": "The page to drop an image on.", "content": {"text/html": {"schema": {"type": "string"}}}}
    })  # fmt: skip
    async def show_page() -> Response:  # pyright: ignore[reportUnusedFunction]
        """A page to drop an image on, for people. It is whole in itself and fetches nothing from elsewhere."""
        return Response(
            page.content, media_type="text/html", headers={"content-security-policy": page.policy}
        )

    return app


# ---------------------------------------------------------------- on the way


async def _body_of(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes; what ends early has no answer, for there is nobody to get it."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The request ended before its body did.")
        if chunk := message.get("body", b""):
            yield chunk
        if not message.get("more_body", False):
            return


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Made]) -> Made:
    """The result of the work, which is given up when nobody waits for it any more."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Refusal(400, "The request was given up.")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


def _answered(
    model: ServedModel,
    uploads: list[Upload],
    found: list[ScoredPrediction | Exception],
    metrics: ServerMetrics,
    *,
    top: int,
    unknown: bool,
) -> Response:
    rows: list[dict[str, Any]] = []
    failed: list[Exception] = []
    for upload, judged in zip(uploads, found, strict=True):
        row: dict[str, Any] = {"file": upload.name}
        if isinstance(judged, DataError):
            row["error"] = judged.what[:1].upper() + judged.what[1:]
            metrics.images.labels("unreadable").inc()
        elif isinstance(judged, Exception):
            failed.append(judged)
            metrics.images.labels("failed").inc()
        else:
            row |= model.shown(judged, top=top, unknown=unknown)
            metrics.images.labels("answered").inc()
            metrics.strange.inc(model.strange(judged.score))
        rows.append(row)
    if failed:
        raise ExceptionGroup("the model failed", failed)
    bad = [row for row in rows if "error" in row]
    content: dict[str, Any] = {"model": model.digest, "predictions": rows}
    if not bad:
        return _json(content)
    first = bad[0]["error"]
    more = "" if len(rows) == 1 else f" ({len(bad)} of {len(rows)} images cannot be read)"
    return _json({"error": first + more, **content}, 422)


def _full() -> Refusal:
    return Refusal(429, "The queue is full; send it again in a second.", headers={"Retry-After": "1"})


def _health(service: Service, *, known: bool) -> dict[str, Any]:
    problem = service.problem
    return {
        "status": "ok" if problem is None else "stale",
        "model": service.model.digest,
        "since": service.since.isoformat(timespec="seconds"),
        "inside": service.inside,
        "waiting": service.waiting,
        "problem": problem if known or problem is None else "The server's log says what it is.",
    }


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(as_json(content), status, headers, media_type="application/json")


def _body(limits: Limits) -> dict[str, Any]:
    files = {"type": "array", "items": _IMAGE, "minItems": 1, "maxItems": limits.images}
    form = {
        "type": "object",
        "properties": {FIELD: files},
        "required": [FIELD],
        "additionalProperties": False,
    }
    return {
        "required": True,
        "description": f"A form with one or more images, all in parts named `{FIELD}`; or an image as it is.",
        "content": {
            "multipart/form-data": {"schema": form, "encoding": {FIELD: {"contentType": "image/*"}}},
            "image/*": {"schema": _IMAGE},
            "application/octet-stream": {"schema": _IMAGE},
        },
    }


def _handle_errors(app: FastAPI) -> None:
    """Whatever goes wrong is answered in one form."""

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return _json(error.content, error.status, error.headers)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = error.errors()[0]
        return _json(
            {"error": f"The option {found['loc'][-1]} is {str(found['input'])[:80]!r}: {found['msg']}."}, 422
        )

    async def other(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        what = {404: "There is nothing here; GET / is a page, GET /openapi.json tells what there is.",
                405: "This cannot be done here; the header Allow says what can."}  # fmt: skip
        return _json({"error": what.get(error.status_code, error.detail)}, error.status_code, error.headers)

    async def failed(_: Request, error: Exception) -> Response:  # which goes on to the door, and into the log
        return _json({"error": FAILED}, 500)

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(Exception, failed)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, other)


# ---------------------------------------------------------------- the page


@dataclass(frozen=True)
class Page:
    """The page as one document, of the folder `web`, and its Content-Security-Policy: what is in it may run, by its
    hash, and nothing else at all."""

    content: bytes
    policy: str

    @classmethod
    def read(cls) -> Self:
        """The page that comes with plainlearn."""
        folder = files("plainlearn.app").joinpath("web")
        style, script, markup = (
            folder.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js", "page.html")
        )
        whole = markup.replace("/* page.css */", style).replace("/* page.js */", script)
        policy = (
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src blob: data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return cls(whole.encode(), policy)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
