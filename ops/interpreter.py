"""How a long-lived process shares itself out: what the garbage collector looks at, how long a thread may go on."""

import gc
import sys

# Containers made before the young are looked through: a request makes a few thousand, nearly all of them free of cycles.
YOUNG_OBJECTS = 20_000
# Python's own 5 ms are what the event loop waits for at each of its turns while requests or tasks keep their threads busy.
TURN_S = 0.001


def settle() -> None:
    """To be called at the end of a process's start: what is there stays for its life.

    Without this each full collection walks through all of Django and stops every stream for 50 to 100 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    sys.setswitchinterval(TURN_S)
