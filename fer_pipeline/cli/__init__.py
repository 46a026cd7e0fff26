"""The command line: thin commands along the flow, which read settings, call one function and print."""

from fer_pipeline.cli import data, inference, inspect, training
from fer_pipeline.cli.app import app

__all__ = ["app", "data", "inference", "inspect", "training"]
