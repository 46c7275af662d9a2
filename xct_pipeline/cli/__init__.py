"""The command line, ``xct``: signals first, then everything else is imported."""

from __future__ import annotations

import sys
from typing import NoReturn

from xct_pipeline.cli import signals


def main(last: bool = True) -> NoReturn:
    """Run the command; whatever a user can mend ends as one message and an exit code, never as a traceback.

    SIGINT, SIGTERM and SIGHUP end it within seconds at any moment, with 130, 143 and 129. `last` says that this is
    the last that the process does, which is so but where it is called from other Python code.
    """
    with signals.stoppable(last):
        try:
            signals.arm()
            from xct_pipeline.cli.app import execute

            code = execute()
            signals.ended(code)
        except KeyboardInterrupt:
            code = signals.INTERRUPTED
            signals.say_stopped()
        except BaseException:
            if signals.received() is None:
                raise
            code = signals.INTERRUPTED  # what breaks while all is being left is no news
        if signals.received() is not None and not signals.done():
            signals.leave()
    sys.exit(code)
