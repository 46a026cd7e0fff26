"""Serve an application below a path of a proxy, as in `https://lab.example/fer/`."""

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fer_pipeline.errors import UsageError


class RootPath:
    """Tell the application the path it lies below, whether the proxy cuts that off a request or leaves it.

    The pages name everything relative to themselves; so the path without its last slash is redirected.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self.app, self.root = app, check_root(root)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or not self.root:
            await self.app(scope, receive, send)
        elif scope["path"] == self.root and scope["type"] == "http":
            await RedirectResponse(f"{self.root}/")(scope, receive, send)
        else:
            path = scope["path"] if scope["path"].startswith(f"{self.root}/") else self.root + scope["path"]
            await self.app({**scope, "root_path": self.root, "path": path}, receive, send)


def check_root(root: str) -> str:
    """Return a path below which to serve, without its last slash; UsageError for what is none."""
    cut = root.rstrip("/")
    if cut and (not cut.startswith("/") or "//" in cut or not cut.isprintable() or set(cut) & set("?#\\ ")):
        raise UsageError(f"--root-path {root}: not a path of a server: write it as /fer")
    return cut
