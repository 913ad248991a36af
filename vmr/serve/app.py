"""The application: the answer of each address."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from vmr.errors import VmrError
from vmr.locate.folders import why_alone
from vmr.locate.videos import VideoAnswers
from vmr.serve.answering import Answering, plain
from vmr.serve.cutting import Cutting
from vmr.serve.guard import Access, Guard
from vmr.serve.library import MEDIA_TYPES, FolderVideos, Video, existing, matching
from vmr.serve.limits import Limits, RefusedError, for_visitors
from vmr.serve.preparation import Preparation
from vmr.serve.probing import Probers
from vmr.serve.searches import Searches
from vmr.serve.uploads import Uploads
from vmr.storage.json_text import load_json

_STATIC = Path(__file__).parent / "static"
_LISTED = 200
_BODY_BYTES = 1 << 16
_FACTS = ("duration_sec", "start_sec", "width", "height", "codec", "reason")


class Page:
    """Everything behind the page.

    Raises:
        ConfigError: a folder does not exist.
        ShardError: ffprobe is not installed.
    """

    def __init__(self, locator: VideoAnswers, *, folders: Sequence[Path], uploads: Path, limits: Limits) -> None:
        self.locator, self.limits = locator, limits
        self.folder = FolderVideos(folders)
        self.alone = why_alone(locator)
        self.probers = Probers()
        self.preparation = Preparation(
            lambda path, progress: locator.features(path, progress=progress), most=limits.waiting_videos
        )
        self.answering = Answering(locator, most=limits.waiting_answers)
        self.searches = Searches(self.answering, self.preparation, most=limits.searches)
        self.cutting = Cutting(uploads, most=limits.waiting_clips)
        self.uploads = Uploads(uploads, limits, self.probers, forget=locator.forget, busy=self.preparation.busy)

    def close(self) -> None:
        """End threads and processes."""
        self.preparation.close()
        self.answering.close()

    def _all(self) -> dict[str, Video]:
        """All videos by their ids, uploaded ones first."""
        return {**(self.uploads.all() if self.locator.makes_features else {}), **self.folder.all()}

    def _video(self, id: Any) -> Video:
        return existing(self._all().get(str(id)))

    def _matching(self, words: str) -> list[Video]:
        return matching(self._all(), words[: self.limits.query_chars])

    async def show(self, request: Request) -> Response:
        """The page itself."""
        return FileResponse(_STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def info(self, request: Request) -> Response:
        """Facts that the page needs first."""
        return JSONResponse(
            {
                "trained": self.locator.trained,
                "alone": self.alone,
                "examples": list(self.locator.examples),
                "uploads": self.locator.makes_features,
                "upload_bytes": self.limits.upload_bytes,
                "query_chars": self.limits.query_chars,
                "endings": list(MEDIA_TYPES),
            }
        )

    async def list_videos(self, request: Request) -> Response:
        """Videos whose names contain the words of a search, uploaded ones first."""
        videos = await run_in_threadpool(self._matching, request.query_params.get("search", ""))
        return JSONResponse({"videos": [video.plain() for video in videos[:_LISTED]], "total": len(videos)})

    async def describe_video(self, request: Request) -> Response:
        """Facts of a video from ffprobe, for browsers that cannot play it."""
        video = await run_in_threadpool(self._video, request.path_params["id"])
        facts = await run_in_threadpool(self.probers.facts, video.path)
        shown = {name: facts.get(name) for name in _FACTS}
        shown["reason"] = for_visitors(shown["reason"] or "", video.path, video.name)
        return JSONResponse({**video.plain(), **shown})

    async def upload_video(self, request: Request) -> Response:
        """Store the body of the request as an uploaded file."""
        if not self.locator.makes_features:
            raise RefusedError(403, "This server answers from given features and takes no videos.")
        length = request.headers.get("content-length", "")
        size = int(length) if length.isascii() and length.isdigit() else None
        name = request.query_params.get("name", "")
        video = await self.uploads.receive(name, size, request.stream())
        return JSONResponse({"video": video.plain()}, 201)

    async def remove_video(self, request: Request) -> Response:
        """Delete an upload."""
        await run_in_threadpool(self.uploads.remove, request.path_params["id"])
        return JSONResponse({})

    async def prepare_video(self, request: Request) -> Response:
        """Start to make the features of a video: 202 with the job, or 200 where they exist."""
        video = await run_in_threadpool(self._video, request.path_params["id"])
        with _in_words(video):
            features = await run_in_threadpool(self.locator.at_hand, video.path)
        if features is not None:
            return JSONResponse({})
        return JSONResponse({"job": self.preparation.plain(self.preparation.ask(video).id)}, 202)

    async def play(self, request: Request) -> Response:
        """The bytes of a video, or a range of them."""
        video = await run_in_threadpool(self._video, request.path_params["id"])
        return FileResponse(video.path, media_type=video.media_type, headers={"cache-control": "private, no-cache"})

    async def cut_moment(self, request: Request) -> Response:
        """A part of a video as a file of its own."""
        video = await run_in_threadpool(self._video, request.path_params["id"])
        start, end = (_seconds(request.query_params.get(name)) for name in ("start", "end"))
        if not start < end <= start + 60 * self.limits.max_minutes:
            most = f"{self.limits.max_minutes:g} minutes"
            raise RefusedError(422, f"Expected a start in seconds and an end after it, at most {most} later.")
        with _in_words(video):
            return await self.cutting.cut(video, start, end)

    async def ask(self, request: Request) -> Response:
        """An answer; or 202 with the job that first makes the features."""
        body, query, top = await self._question(request)
        video = await run_in_threadpool(self._video, body.get("video"))
        with _in_words(video):
            answer = await self.answering.ask(video, query, top=top)
        if answer is not None:
            return JSONResponse(plain(answer, video))
        job = self.preparation.ask(video)
        return JSONResponse({"job": self.preparation.plain(job.id)}, 202)

    async def search(self, request: Request) -> Response:
        """Ask all videos whose names contain some words: 202 with the job."""
        body, query, top = await self._question(request)
        if self.alone:
            raise RefusedError(422, f"{self.alone} Ask a video at a time.")
        videos = await run_in_threadpool(self._matching, str(body.get("names", "")))
        if not videos:
            raise RefusedError(404, "No video has such a name. Search for other words.")
        return JSONResponse({"job": self.searches.plain(self.searches.ask(videos, query, top=top))}, 202)

    async def _question(self, request: Request) -> tuple[dict[str, Any], str, int]:
        """A request's object, and the sentence and the number of moments in it."""
        body = await _json(request, silence_sec=self.limits.silence_sec)
        query, top = _query(body.get("query"), most=self.limits.query_chars), body.get("top", 5)
        if not isinstance(top, int) or not 1 <= top <= self.limits.moments:
            raise RefusedError(422, f"top: expected a number from 1 to {self.limits.moments}.")
        try:
            self.locator.check(query)  # before minutes are spent on the features of a new video
        except VmrError as error:
            raise RefusedError(422, str(error)) from error
        return body, query, top

    def _jobs(self, id: str) -> Searches | Preparation:
        return self.searches if id in self.searches else self.preparation

    async def show_job(self, request: Request) -> Response:
        """The progress of a job."""
        id = request.path_params["id"]
        return JSONResponse(self._jobs(id).plain(id))

    async def stop_job(self, request: Request) -> Response:
        """Stop waiting for a job."""
        id = request.path_params["id"]
        self._jobs(id).stop(id)
        return JSONResponse({})


def build_app(page: Page, access: Access) -> ASGIApp:
    """The application; it closes the page when it ends."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        page.searches.close()
        await run_in_threadpool(page.close)

    app = Starlette(
        routes=[
            Route("/", page.show),
            Mount("/static", StaticFiles(directory=_STATIC)),
            Route("/media/{id}", page.play),
            Route("/api/info", page.info),
            Route("/api/videos", page.list_videos),
            Route("/api/videos", page.upload_video, methods=["POST"]),
            Route("/api/videos/{id}", page.describe_video),
            Route("/api/videos/{id}", page.remove_video, methods=["DELETE"]),
            Route("/api/videos/{id}/moment", page.cut_moment),
            Route("/api/videos/{id}/features", page.prepare_video, methods=["POST"]),
            Route("/api/ask", page.ask, methods=["POST"]),
            Route("/api/search", page.search, methods=["POST"]),
            Route("/api/jobs/{id}", page.show_job),
            Route("/api/jobs/{id}", page.stop_job, methods=["DELETE"]),
        ],
        exception_handlers={
            RefusedError: _refused,
            HTTPException: _http_error,
            Exception: _unexpected,
        },
        lifespan=lifespan,
    )
    # Outside of Starlette, since its answers to unexpected errors bypass its own middleware.
    return Guard(app, access)


@contextmanager
def _in_words(video: Video) -> Iterator[None]:
    try:
        yield
    except VmrError as error:
        raise RefusedError(422, for_visitors(error, video.path, video.name)) from error


def _query(value: Any, *, most: int) -> str:
    # JSON can contain half a surrogate pair, which is not text.
    query = " ".join(value.encode("utf-8", "replace").decode("utf-8").split()) if isinstance(value, str) else ""
    if not query:
        raise RefusedError(422, "Say in a sentence what is to be found.")
    if len(query) > most:
        raise RefusedError(422, f"The sentence has {len(query)} characters; up to {most} are read. Say it shorter.")
    return query


def _seconds(value: str | None) -> float:
    try:
        seconds = float(value or "")
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise RefusedError(422, "Expected a time in seconds.")
    return seconds


async def _json(request: Request, *, silence_sec: float) -> dict[str, Any]:
    body = bytearray()
    try:
        async with asyncio.timeout(silence_sec):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _BODY_BYTES:
                    raise RefusedError(413, "The request is too long.")
    except TimeoutError:
        raise RefusedError(408, "The request comes too slowly.") from None
    except ClientDisconnect:
        raise RefusedError(400, "The request broke off.") from None
    try:
        value = load_json(bytes(body))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RefusedError(400, "The request is not a JSON object.")
    return value


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    headers = {} if error.retry_sec is None else {"retry-after": str(error.retry_sec)}
    return JSONResponse({"error": error.message}, error.status, headers)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: "There is nothing at this address.", 405: "This cannot be done with this address."}
    return JSONResponse(
        {"error": message.get(error.status_code, error.detail)}, error.status_code, dict(error.headers or {})
    )


def _unexpected(request: Request, error: Exception) -> Response:
    # The traceback goes to the server's log.
    return JSONResponse({"error": "Something went wrong here; the server's log has the reason."}, 500)
