"""The one error that a user's input can cause, and how a command ends with it."""

import logging
import sys
from collections.abc import Callable

logger = logging.getLogger(__name__)


class InputError(Exception):
    """Bad input, described in one line: where, what was found, what was expected, what to do."""

    def __init__(self, where: object, found: str, expected: str, do: str):
        self.where, self.found, self.expected, self.do = str(where), found, expected, do
        super().__init__(f"{where}: found {found}; expected {expected}; {do}")

    def __reduce__(self):
        # joblib workers hand errors back by pickling their constructor's arguments.
        return type(self), (self.where, self.found, self.expected, self.do)


def run_script(main: Callable[[], None]) -> None:
    """Calls `main`: exit status 2 and one line for bad input, 130 after Ctrl-C; `--verbose` shows the traceback."""
    try:
        main()
    except InputError as error:
        logger.debug("traceback of the error below", exc_info=True)
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        # A full disk, a read-only folder: whatever was being written had a temporary name.
        logger.debug("traceback of the error below", exc_info=True)
        reason = " ".join(str(error.strerror or error).split())
        print(f"error: {error.filename or 'writing'}: {reason}; fix it and rerun", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: finished parts are kept, the same command resumes", file=sys.stderr)
        sys.exit(130)
