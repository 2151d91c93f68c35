"""At a crash point the process and all it has started stand still, as if their node did."""

import os
import signal

_end = os._exit
_KILLED = 137


def _stand_still(code: int) -> None:
    if code == _KILLED:
        os.killpg(os.getpgid(0), signal.SIGSTOP)  # and later goes on from here
    else:
        _end(code)


os._exit = _stand_still  # type: ignore[assignment]
