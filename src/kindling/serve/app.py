"""The routes of the server."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from kindling.data.images.pixels import ImageForm
from kindling.errors import RunError
from kindling.serve import answers
from kindling.serve.arrays import Arrays
from kindling.serve.batching import Batcher, NetworkError
from kindling.serve.exported import Exported
from kindling.serve.guard import Guard
from kindling.serve.images import MOST_FILES, Images
from kindling.serve.inputs import MOST_ROWS, Inputs, Refused, Samples, mistake
from kindling.serve.metrics import Metrics
from kindling.serve.page import page
from kindling.sweep.workers import cores

LONG = 50_000  # bytes of a body that another thread reads, so that nobody waits for it


@dataclass
class Settings:
    """How a network is served.

    Args:
        max_batch: Samples that the network is given at once, at most.
        max_wait_ms: Milliseconds that a request waits for others, to share a batch.
        max_body: MB of one request, at most; None for 4 of rows, and 32 of images.
        api_key: What every request has to bring; None for no key.
        cors: Address of the web pages that may ask; None for none but the server's own.
    """

    max_batch: int = 64
    max_wait_ms: float = 0.0
    max_body: float | None = None
    api_key: str | None = None
    cors: str | None = None


def make_app(exported: Exported, settings: Settings) -> FastAPI:
    """All routes for one network.

    Raises:
        RunError: The description is damaged, or the network doesn't take what it promises.
    """
    described, remedy = exported.description, "export the network anew"
    try:
        inputs, to_answers = _inputs(described["input"]), answers.answers_for(described["task"])
        example, version = inputs.example(), described.get("versions", {}).get("kindling", "unknown")
    except (LookupError, TypeError, ValueError, Refused) as error:
        what = f"preprocessing.json beside {exported.file} is damaged"
        raise RunError(f"{what} ({type(error).__name__}: {error}): {remedy}") from error
    max_body = int((settings.max_body or inputs.largest_body) * 1e6)
    metrics = Metrics(
        network=described["network"],
        data=described["data"],
        checkpoint=described.get("checkpoint", {}).get("file", ""),
        version=version,
    )
    batcher = Batcher(exported.network, settings.max_batch, settings.max_wait_ms / 1000, metrics.batch)
    try:
        batcher.warm_up(example)
    except Exception as error:  # whatever the package raises
        why = " ".join(str(error).split())[:200]
        raise RunError(f"{exported.file} does not take what preprocessing.json says ({why}): {remedy}") from error
    readers = ThreadPoolExecutor(cores(), "read")
    model = {key: value for key, value in described.items() if key != "input"}
    model |= {
        "input": {key: value for key, value in described["input"].items() if key != "columns"},
        "title": exported.title,
        "card": exported.card,
        "limits": {"body": max_body, "rows": MOST_ROWS},
    }
    app = FastAPI(
        title=exported.title,
        version=version,
        description=_about(model),
        telemetry={"tracing": False, "metrics": False, "logs": False},  # we have our own
    )

    html, policy = page()

    @app.get("/", include_in_schema=False)
    async def show() -> HTMLResponse:
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})

    @app.get("/health", summary="Whether it lives, and is ready to answer")
    async def health(request: Request) -> JSONResponse:
        ready = not getattr(request.state, "stopping", False)
        return JSONResponse({"live": True, "ready": ready}, 200 if ready else 503)

    @app.get("/model", summary="What is served: its data, scores and model card")
    async def about() -> JSONResponse:
        return JSONResponse(model)

    @app.get(
        "/metrics",
        response_class=PlainTextResponse,
        summary="For Prometheus: requests, latency, batches, and what drifts",
    )
    async def measured() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    content = inputs.content()

    @app.post("/predict", **_documented(content, described["task"]))
    async def predict(request: Request) -> Response:
        samples = await read(request)
        try:
            predictions = await batcher.predict(samples.x)
        except NetworkError as error:
            raise mistake([], str(error)) from error
        metrics.rows(len(samples.x))
        for (column, kind), count in samples.drift.items():
            metrics.drift(column, kind, count)
        found = to_answers(predictions)
        return Response(to_json(found if samples.is_list else found[0]), media_type="application/json")

    async def read(request: Request) -> Samples:
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        kind = "image/*" if given.startswith("image/") else given
        if kind not in content:
            what = f"a body of the type {given}" if given else "a body without a Content-Type"
            raise Refused(415, f"{what} is not taken: send one of {', '.join(sorted(content))}")
        loop = asyncio.get_running_loop()
        if kind == "multipart/form-data":
            assert isinstance(inputs, Images)
            try:
                async with request.form(max_files=MOST_FILES, max_fields=MOST_FILES) as form:
                    uploads = []
                    for name, one in form.multi_items():
                        if isinstance(one, str):
                            raise mistake([name], "this is a text: send a file, with curl as -F image=@PHOTO.jpg")
                        uploads.append((one.filename or "the image", one.file))
                    return await loop.run_in_executor(readers, inputs.read_files, uploads, True)
            except HTTPException as error:
                what = f"the upload can't be read ({error.detail.rstrip('.')})"
                raise mistake([], f"{what}: send one to {MOST_FILES} files") from error
        body = await request.body()
        if inputs.is_slow or len(body) > LONG:
            return await loop.run_in_executor(readers, inputs.read, given, body)
        return inputs.read(given, body)

    def past_fastapi(inner: ASGIApp) -> ASGIApp:
        """``POST /predict`` without FastAPI's own layers, which take longer than all that is done here."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] != "/predict" or scope["method"] != "POST":
                await inner(scope, receive, send)
                return
            request = Request(scope, receive)
            try:
                response = await predict(request)
            except Refused as error:
                response = JSONResponse({"detail": error.detail}, error.status)
            await response(scope, receive, send)

        return answer

    app.add_middleware(past_fastapi)
    app.add_middleware(Guard, max_body=max_body, api_key=settings.api_key, metrics=metrics)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware, allow_origins=[settings.cors], allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    return app


def _inputs(described: dict[str, Any]) -> Inputs:
    """
    Args:
        described: The part ``input`` of ``preprocessing.json``.
    """
    if "fields" in described:
        from kindling.serve.rows import Rows  # with pandas, for which a server of images need not wait

        return Rows(described["columns"], described["fields"])
    if "image" in described:
        return Images(ImageForm(**described["image"]))
    return Arrays(described["shape"][1:], described["dtype"])


def _about(model: dict[str, Any]) -> str:
    scores = ", ".join(f"{name} {score:.4g}" for name, score in model.get("scores", {}).items())
    return f"Predicts {model['task']['target']}. {scores}"


def _documented(content: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of ``/predict``."""
    answer = answers.schema(task)
    refused = {
        413: "The body is too large, or has too many rows",
        415: "A type of body that is not taken",
        422: "The body holds something else than it should",
    }
    return {
        "summary": f"Predict {task['target']}",
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
        "responses": {
            200: {
                "description": "One answer, or a list for a list",
                "content": {"application/json": {"schema": {"anyOf": [answer, {"type": "array", "items": answer}]}}},
            },
            **{status: {"description": text} for status, text in refused.items()},
        },
    }
