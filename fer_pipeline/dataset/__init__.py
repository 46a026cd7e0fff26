"""A data set on disk: rows, journals, provenance, names and decisions."""
