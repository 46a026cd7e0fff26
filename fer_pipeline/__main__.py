"""The `fer` command: runs the application and turns errors into one line and an exit code."""

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from fer_pipeline.console import is_lead, visible
from fer_pipeline.errors import FerError
from fer_pipeline.vision.limits import bound_decoders

# Typer carries a click of its own, and names the base of its errors nowhere public.
CLICK_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
CTRL_C = 130  # what Typer makes of a KeyboardInterrupt
INTERRUPTED = "interrupted: nothing is lost, the same command goes on where it stopped"
ANYWHERE = ("--quiet", "-q", "--verbose", "-v")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `fer` with some arguments (those of the process by default); returns the exit code."""
    # Threads that spin while they wait slow a training tenfold once another program wants the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if arguments is None:  # a process of our own
        bound_decoders(time=False)
    given = list(sys.argv[1:] if arguments is None else arguments)
    # `fer crop --quiet` reads as naturally as `fer --quiet crop`.
    ordered = [one for one in given if one in ANYWHERE] + [one for one in given if one not in ANYWHERE]
    try:
        from fer_pipeline.cli import app

        code = int(app(ordered, prog_name="fer", standalone_mode=False) or 0)
        return _fail(INTERRUPTED, 1) if code == CTRL_C else code
    except FerError as error:
        return _fail(str(error), error.exit_code)
    except typer.Exit as error:
        return error.exit_code
    except CLICK_ERROR as error:
        return _misused(error)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(INTERRUPTED, 1)
    except OSError as error:
        return _stopped(error)


def _stopped(error: OSError) -> int:
    """What the machine refuses: a full disk, a folder that may not be written, a name that is too long."""
    if isinstance(error, BrokenPipeError):  # `fer predict ... | head` has seen enough
        sys.stderr.close()
        return 1
    where = f"{error.filename}: " if error.filename else ""
    return _fail(f"{where}{error.strerror or error}: make room, or name a file or folder that may be written", 1)


def _misused(error: Any) -> int:
    """A command line that cannot be read."""
    message = error.format_message()
    if not message:  # a bare command, whose help is printed already
        return 2
    command = error.ctx.command_path if getattr(error, "ctx", None) else "fer"
    return _fail(f"{message} (see `{command} --help`)", 2)


def _fail(message: str, code: int) -> int:
    if is_lead():
        print(visible(f"fer: {message}" if "\n" not in message else f"fer:\n{message}"), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
