"""fer-pipeline: from search words to a measured, served facial-expression classifier."""

__version__ = "0.1.0"
