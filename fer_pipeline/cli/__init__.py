"""The command line: one thin command per step, which reads settings, calls one function and prints."""

from fer_pipeline.cli import (
    audit,
    collect,
    ensemble,
    inspect,
    judge,
    lineage,
    model,
    report,
    review,
    serve,
    sources,
    stages,
    tune,
)
from fer_pipeline.cli.app import app

__all__ = [
    "app",
    "audit",
    "collect",
    "ensemble",
    "inspect",
    "judge",
    "lineage",
    "model",
    "report",
    "review",
    "serve",
    "sources",
    "stages",
    "tune",
]
