"""What the garbage collector of a long-lived process looks at."""

import gc
import sys

# Containers made before the young are looked through: a request makes a few thousand, nearly all of them free of cycles.
YOUNG_OBJECTS = 20_000


def freeze() -> None:
    """To be called at the end of a process's start: what is there stays for its life.

    Without this each full collection walks through all of Django and stops every stream for 50 to 100 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    sys.setswitchinterval(0.001)
