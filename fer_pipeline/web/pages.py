"""Serve the pages of an application: files of the package, without a build step or another host."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

SHARED = Path(__file__).parent / "static"


class Fresh(StaticFiles):
    """Static files that a browser revalidates each time, so that an update of the package shows at once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


def add_pages(app: Starlette, folder: Path, **pages: str) -> None:
    """Add the shared files under /static, `folder/static` under /own, and pages by name; `index` is /."""
    app.router.routes.append(Mount("/static", Fresh(directory=SHARED)))
    app.router.routes.append(Mount("/own", Fresh(directory=folder / "static")))
    for name, file in pages.items():
        path = "/" if name == "index" else f"/{name}"
        app.router.routes.append(Route(path, _page(folder / "static" / file), include_in_schema=False))


def _page(file: Path) -> Callable[[Request], Awaitable[Response]]:
    async def page(_: Request) -> Response:
        return FileResponse(file, headers={"cache-control": "no-cache"})

    return page
