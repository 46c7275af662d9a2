"""The command line, ``xct``: signals first, then everything else is imported."""

from __future__ import annotations

import sys
from typing import NoReturn

from xct_pipeline.cli import signals


def main() -> NoReturn:
    """Run the command; whatever a user can mend ends as one message and an exit code, never as a traceback.

    SIGINT, SIGTERM and SIGHUP end it within seconds at any moment, with 130, 143 and 129.
    """
    with signals.stoppable():
        try:
            from xct_pipeline.cli.app import execute

            code = execute()
        except KeyboardInterrupt:
            code = signals.INTERRUPTED
            signals.say_stopped()
        except BaseException:
            if signals.received() is None:
                raise
            code = signals.INTERRUPTED  # what breaks while all is being left is no news
        if signals.received() is not None:
            signals.leave()
    sys.exit(code)
