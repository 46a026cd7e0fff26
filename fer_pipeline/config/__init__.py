"""Every setting: its schema, the YAML that holds it, and its documentation."""
