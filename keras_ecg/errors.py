"""The error for invalid input, and how commands exit with it."""

import logging
import os
import sys
from collections.abc import Callable

logger = logging.getLogger(__name__)


class InputError(Exception):
    """Invalid input, described in one line.

    Args:
        where: file or option.
        found: what was found.
        expected: what was expected.
        do: what the user can do.
    """

    def __init__(self, where: object, found: str, expected: str, do: str):
        self.where, self.found, self.expected, self.do = str(where), found, expected, do
        super().__init__(f"{where}: found {found}; expected {expected}; {do}")

    def __reduce__(self):
        # joblib workers return errors by pickling; the default would call the constructor with the message alone.
        return type(self), (self.where, self.found, self.expected, self.do)


def run_script(main: Callable[[], None]) -> None:
    """Call `main`; exit with status 2 on invalid input and 130 after Ctrl-C; `--verbose` shows the traceback."""
    try:
        main()
    except InputError as error:
        logger.debug("traceback of the error below", exc_info=True)
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # such as `keras-ecg presets | head -1`: the reader has what it needs
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        # For example a full disk or a read-only folder; incomplete files have temporary names.
        logger.debug("traceback of the error below", exc_info=True)
        reason = " ".join(str(error.strerror or error).split())
        print(f"error: {error.filename or 'writing'}: {reason}; fix it and rerun", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: finished parts are kept, the same command resumes", file=sys.stderr)
        sys.exit(130)
