"""The command line. Commands are named by lazy strings, so that ``--help`` imports none of them."""

import os
import sys
from importlib.metadata import PackageNotFoundError, version

from cyclopts import App, CycloptsError

# numpy's linear algebra would keep a thread for each core, of no use for matrices of a few rows, which takes
# time from the event loop's thread, and signals that the main thread has blocked.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# In huge pages a table takes memory for rows that are not used yet, and its first touch holds up a tick.
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")

_EPILOGUE = """\
Examples:

    kinefuse up --demo               broker, server, four simulated athletes
    kinefuse watch                   a live table of all athletes
    kinefuse analyze run.fit --json  a finished workout's summary
    kinefuse replay ski.zip          a recording, as its device would send it

Each command has its own --help. Settings come from a TOML file (--config or
KINEFUSE_CONFIG) and the environment (KINEFUSE_BROKER_PORT=1884). Exit codes:
0 done, 1 it failed, 2 it was asked wrongly."""


def _version() -> str:
    try:
        return version("kinefuse")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"


app = App(
    name="kinefuse",
    help="Streaming sensor fusion for fitness: MQTT in, live metrics with their uncertainty out.",
    help_epilogue=_EPILOGUE,
    help_format="plaintext",
    version=_version,
)
app.register_install_completion_command(add_to_startup=False)
_COMMANDS = {
    "up": ("server.up:up", "Start a broker, the server and a demo; Ctrl-C stops all."),
    "serve": ("server.serve:serve", "Run the server alone, beside a broker that is there."),
    "watch": ("server.watch:watch", "Show a live table of all athletes in the terminal."),
    "replay": ("server.replay:replay", "Publish recordings over MQTT, as their devices would."),
    "analyze": ("server.analyze:analyze", "Run recordings through the engine and print their summaries."),
    "simulate": ("simulators.command:simulate", "Publish simulated athletes over MQTT, with their devices."),
    "evaluate": (
        "simulators.evaluation.command:evaluate",
        "Measure accuracy on recordings and on simulated truth, beside peers.",
    ),
}
_BENCHES = {
    "fleet": (
        "simulators.benchmark.fleet_command:fleet",
        "Thousands of devices against the server: latency, CPU.",
    ),
    "orientation": (
        "simulators.benchmark.command:orientation",
        "What a sample costs, beside VQF and Fusion.",
    ),
}


def _add(group: App, commands: dict[str, tuple[str, str]], asked: list[str]) -> None:
    """Add commands; one that is asked for shows its own docstring, the list makes do with a line of each."""
    for name, (target, summary) in commands.items():
        told = None if asked[:1] == [name] else summary
        group.command(target, name=name, help=told, help_epilogue="", help_format="markdown")


_bench = App(name="bench", help="Measure speed, as ratios to a peer in the same run.", help_epilogue="")
_add(app, _COMMANDS, sys.argv[1:])
_add(_bench, _BENCHES, sys.argv[2:])
app.command(_bench)


def main() -> None:
    """Run the command line; what a user did wrong is one line on stderr."""
    from server.errors import ConfigError, ServerError, printable

    try:
        app(sys.argv[1:], print_error=False, exit_on_error=False)
    except CycloptsError as error:
        print(f"kinefuse: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        sys.exit(2)
    except ConfigError as error:
        print(f"kinefuse: {error}", file=sys.stderr)
        sys.exit(2)
    except ServerError as error:
        print(f"kinefuse: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nothing is left to say
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
