"""How many random sequences the property tests try: 20, or as many as FER_SEQUENCES says, from FER_FIRST on."""

import os


def seeds(usual: int = 20) -> range:
    """The seeds of the sequences to try."""
    first = int(os.environ.get("FER_FIRST", "0"))
    return range(first, first + int(os.environ.get("FER_SEQUENCES", str(usual))))
