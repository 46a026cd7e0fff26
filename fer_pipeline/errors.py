"""Every error a user can cause or fix, as one tree.

    FerError               one line: where, what, remedy                     exit 1
    ├── UsageError         the command line or the YAML is wrong             exit 2
    ├── InputError         a folder, manifest or model is not what is needed exit 1
    └── SetupError         this machine lacks something: weights, an extra, room on the disk; exit 1

An image that cannot be used is no error but a row with a reason, see `dataset.rows.Row`.
"""

import errno


class FerError(Exception):
    """A mistake or lack the user can fix; the message says where, what and the remedy in one line."""

    exit_code = 1


def reason_of(error: Exception) -> str:
    """Name in a row why an image could not be used: a word that `report.dropped` explains."""
    if isinstance(error, OSError):
        kinds = {errno.ENOENT: "file_missing", errno.ENOTDIR: "file_missing", errno.EFBIG: "too_large"}
        kinds |= {errno.EACCES: "no_permission", errno.EPERM: "no_permission"}
        return kinds.get(error.errno or 0, "file_error")
    return "internal_error"


class UsageError(FerError):
    """The command line or a configuration file is wrong."""

    exit_code = 2


class InputError(FerError):
    """A folder, manifest or model file is missing, empty or damaged."""


class SetupError(FerError):
    """The machine lacks something; it is never taken for a broken image."""
