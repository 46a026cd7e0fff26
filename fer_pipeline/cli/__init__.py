"""The command line: one thin command per step, which reads settings, calls one function and prints."""

from fer_pipeline.cli import audit, inspect, judge, lineage, model, report, sources, stages, tune
from fer_pipeline.cli.app import app

__all__ = ["app", "audit", "inspect", "judge", "lineage", "model", "report", "sources", "stages", "tune"]
