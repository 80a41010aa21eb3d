"""Whether torch can be loaded, told before it is: without memory, libraries of it end the process that loads them."""

import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..signals import signals_wait

KEPT_BACK = 2**26  # bytes, for what a fit begins with


@cache
def torch_problem() -> str:
    """What keeps torch from being loaded, such as too little memory: tried once, since a second attempt may crash."""
    if not torch_fits():
        return "not enough memory (ulimit -v)"
    try:
        with signals_wait():
            import torch  # noqa: F401
    except ModuleNotFoundError:
        raise
    except (ImportError, OSError, RuntimeError, MemoryError) as error:
        return str(error) or "not enough memory"
    return ""


def torch_loads() -> bool:
    """Whether torch is there and can be loaded, which it then is."""
    try:
        return not torch_problem()
    except ModuleNotFoundError:
        return False


def load_under_a_limit() -> None:
    """Load torch, if memory is limited, before pictures take of it; what keeps it from that is told later."""
    if _room() is not None:
        torch_loads()


@cache
def torch_fits() -> bool:
    """Whether torch can be loaded under a limit on memory: asked before a picture's kind takes some of it."""
    room = _room()
    return room is None or _loads_within(room)


def _room() -> int | None:
    """Bytes of addresses that this process may still take, some kept back; None without a limit (ulimit -v)."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # other systems than Linux
        return None
    if limit == resource.RLIM_INFINITY:
        return None
    return max(0, limit - taken - KEPT_BACK)


def _loads_within(room: int) -> bool:
    """Whether another process can load torch in so many bytes: without memory, libraries of it end a process."""
    frozen = getattr(sys, "frozen", False)  # there is no interpreter to start
    if frozen or find_spec("torch") is None:
        return True
    attempt = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({room}, {room})); import torch"
    return subprocess.run([sys.executable, "-c", attempt], capture_output=True).returncode == 0
