"""The one error that a user's input can cause, and how a script ends with it."""

import sys
from collections.abc import Callable

from keras_ecg.quiet import import_quietly


class InputError(Exception):
    """Bad input, told in one line: where, what was found, what was expected, what to do."""

    def __init__(self, where: object, found: str, expected: str, do: str):
        self.where, self.found, self.expected, self.do = str(where), found, expected, do
        super().__init__(f"{where}: found {found}; expected {expected}; {do}")

    def __reduce__(self):
        # joblib workers hand errors back by pickling their constructor's arguments.
        return type(self), (self.where, self.found, self.expected, self.do)


def run_script(main: str | Callable[[], None]) -> None:
    """Runs `main`, or that of a module by name: exit status 2 and one line for bad input, 130 after Ctrl-C."""
    try:
        (import_quietly(main).main if isinstance(main, str) else main)()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        # A full disk, a read-only folder: whatever was being written had a temporary name.
        reason = " ".join(str(error.strerror or error).split())
        print(f"error: {error.filename or 'writing'}: {reason}; mend it and rerun", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: finished parts are kept, the same command resumes", file=sys.stderr)
        sys.exit(130)
