"""fer-pipeline: from search words to a measured, served facial-expression classifier.

    import fer_pipeline as fer

    fer.predict("runs/mine", "photo.jpg").faces

The functions are described in docs/python.md. They are imported when they are first used, so that `import fer_pipeline`
takes a few milliseconds and changes nothing in the program that imports it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_pipeline.api import evaluate, load, load_config, predict, read_rows, run, train

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "load", "load_config", "predict", "read_rows", "run", "train"]


def __getattr__(name: str) -> Any:
    """Import a public function at its first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    function = getattr(import_module("fer_pipeline.api"), name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
