"""Self-contained HTML pages: templates, number formats, and writing a page.

Labels, paths and URLs are untrusted: every template escapes them, and the base template allows neither scripts nor
requests.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_pipeline import __version__
from fer_pipeline.errors import SetupError
from fer_pipeline.files import check_target, write_aside

if TYPE_CHECKING:
    from jinja2 import Environment


def percent(share: float, digits: int = 1) -> str:
    """0.934 as `93.4%`."""
    return f"{share:.{digits}%}"


def interval(pair: Sequence[float]) -> str:
    """The 95 % interval of a share, as `91.0% to 95.2%`."""
    return f"{pair[0]:.1%} to {pair[1]:.1%}"


@lru_cache(maxsize=1)
def load_templates() -> "Environment":
    """The package's templates, with escaping on for all of them."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise SetupError("pages need jinja2: install it with `pip install 'fer-pipeline[train]'`") from None
    templates = Environment(
        loader=PackageLoader("fer_pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"percent": percent, "interval": interval}
    templates.globals |= {"version": __version__, "sections": ()}
    return templates


def write_page(path: Path, template: str, **values: Any) -> None:
    """Fill a template and write it as one file, aside and then renamed."""
    text = load_templates().get_template(template).render(values)
    check_target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, [text.encode("utf-8", "backslashreplace")])
