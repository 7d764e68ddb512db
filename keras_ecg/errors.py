"""The error for invalid input, and how scripts exit with it."""

import sys
from collections.abc import Callable

from keras_ecg.quiet import import_quietly


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


def run_script(main: str | Callable[[], None]) -> None:
    """Run `main`, or the `main` of a module given by name; exit with status 2 on invalid input, 130 after Ctrl-C."""
    try:
        (import_quietly(main).main if isinstance(main, str) else main)()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        # For example a full disk or a read-only folder; incomplete files have temporary names.
        reason = " ".join(str(error.strerror or error).split())
        print(f"error: {error.filename or 'writing'}: {reason}; mend it and rerun", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: finished parts are kept, the same command resumes", file=sys.stderr)
        sys.exit(130)
