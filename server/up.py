"""``kinefuse up``: a broker, the server and perhaps a demo, started in order, watched, and ended in order.

Each child has a session of its own, so that Ctrl-C reaches this process only; it ends them: the demo first,
then the server, then the broker. Should this process be killed, the kernel ends them. The broker and the
server are started again when they die, a few times; whatever else dies ends everything, with its last words.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from server import brokers
from server.brokers.process import Child
from server.config import Config, load
from server.errors import BrokerError, ConfigError, ServerError
from server.mqtt import Link

RESTARTS_MAX = 3
RESTART_BACKOFF_S = 0.25
STABLE_S = 60.0  # who has lived this long may die as often again
ONLINE_S_MAX = 30.0
END_S_MAX = 4.5  # of the five that are promised
BROKER_END_S = 0.6
DEMO_END_S = 1.2
HURRY_S = 0.3
SAME_PRESS_S = 0.5  # a terminal and a parent may both pass one Ctrl-C on

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_CONFIG = 2  # a child that says so is not started again


class DiedError(ServerError):
    """A child that must not end has ended; ``str()`` has its last words."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


class _Role(NamedTuple):
    """One child's part: how to make it, how to start it until it is ready, and how often it may die."""

    name: str
    build: Callable[[], Child]
    start: Callable[[Child], Awaitable[None]]
    restarts_max: int
    end_s: float


class _Status(msgspec.Struct):
    """What is read of ``server/status``."""

    state: Literal["online", "offline"]


class Supervisor:
    """The children and their order.

    Parameters
    ----------
    config : Config
        Of the broker; the server reads its own.
    config_file : Path or None
        What the server is told to read.
    demo : bool
        Whether to simulate athletes, ``athletes`` many if given.
    """

    def __init__(self, config: Config, config_file: Path | None, *, demo: bool, athletes: int | None) -> None:
        self.restarts = 0
        self._config = config
        self._config_file = config_file
        self._demo = demo
        self._athletes = athletes
        self._children: list[tuple[_Role, Child]] = []  # in the order of their start
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stopped_s = 0.0

    def stop(self) -> None:
        """End everything, in order; asked a second time, faster."""
        now_s = asyncio.get_running_loop().time()
        if not self._stop.is_set():
            self._stopped_s = now_s
            self._stop.set()
        elif now_s - self._stopped_s > SAME_PRESS_S:
            self._hurry.set()

    async def run(self) -> int:
        """Start, watch, and end everything; return the exit code."""
        living = asyncio.create_task(self._live(), name="children")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                living.result()
        except* (DiedError, BrokerError, ConfigError) as group:
            code = max(_say_why(error) for error in _leaves(group))
        else:
            code = 0
        finally:
            stopping.cancel()
            living.cancel()
            await asyncio.wait({living})
            await self._end()
        return code

    async def _live(self) -> None:
        """Start all in order, then watch until one dies for good."""
        broker = self._config.broker
        async with asyncio.TaskGroup() as group:
            if broker.is_external:
                await brokers.reach(broker)
            else:
                await self._keep(group, self._broker_role())
            settings = await self._settings()
            await self._keep(group, self._server_role(settings))
            if self._demo:
                await self._keep(group, self._demo_role(settings))
            _say(self._welcome(), sys.stdout)

    async def _keep(self, group: asyncio.TaskGroup, role: _Role) -> None:
        """Start a child; once it is ready, leave it to a task that starts it again."""
        child = await self._start(role)
        group.create_task(self._watch(role, child), name=role.name)

    async def _start(self, role: _Role) -> Child:
        child = role.build()
        self._children = [each for each in self._children if each[0].name != role.name]
        self._children.append((role, child))
        self._children.sort(key=lambda each: _ORDER.index(each[0].name))
        await role.start(child)
        return child

    async def _watch(self, role: _Role, child: Child) -> None:
        """Wait for a death, and start again, until there were too many."""
        loop = asyncio.get_running_loop()
        deaths, started_s = 0, loop.time()
        while True:
            code = await child.wait()
            deaths = 1 if loop.time() - started_s > STABLE_S else deaths + 1
            words = child.last_words()
            if deaths > role.restarts_max or code == EXIT_CONFIG:
                raise DiedError(words, EXIT_CONFIG if code == EXIT_CONFIG else 1)
            self.restarts += 1
            _say(f"kinefuse: {words}\nkinefuse: starting {role.name} again ({deaths} of {role.restarts_max})")
            await asyncio.sleep(RESTART_BACKOFF_S * 2.0 ** (deaths - 1))
            await child.stop(0.0)
            started_s = loop.time()
            child = await self._start(role)

    async def _end(self) -> None:
        """End the children, the last one first, within END_S_MAX; never leave one behind."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + END_S_MAX
        for role, child in reversed(self._children):
            later_s = sum(
                BROKER_END_S for each, _ in self._children if each.name == "broker" and each is not role
            )
            grace_s = max(0.05, min(role.end_s, until_s - later_s - loop.time()))
            ending = asyncio.create_task(child.stop(grace_s))
            hurry = asyncio.create_task(self._hurry.wait())
            await asyncio.wait({ending, hurry}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({ending}, timeout=HURRY_S)
            child.kill()
            await ending
            hurry.cancel()

    # The three of them.

    def _broker_role(self) -> _Role:
        broker = self._config.broker
        return _Role(
            "broker",
            lambda: brokers.child(broker, on_line=_prefixed("broker")),
            lambda child: brokers.start(child, broker),
            RESTARTS_MAX,
            BROKER_END_S,
        )

    def _server_role(self, settings: bytes | None) -> _Role:
        command = self._command("serve", settings)
        return _Role(
            "server",
            lambda: Child("server", command, stdin=settings or b"", on_line=_prefixed("server")),
            self._start_server,
            RESTARTS_MAX,
            END_S_MAX,
        )

    def _demo_role(self, settings: bytes | None) -> _Role:
        command = [*self._command("simulate", settings), *self._scenario()]
        return _Role(
            "demo",
            lambda: Child("demo", command, stdin=settings or b"", on_line=_prefixed("demo")),
            lambda child: child.start(),
            0,
            DEMO_END_S,
        )

    def _command(self, name: str, settings: bytes | None) -> list[str]:
        """The command line of one of our own commands; settings go to its standard input."""
        command = [sys.executable, "-m", "server", name, "--port", str(self._config.broker.port)]
        if settings is not None:
            return [*command, "--config", "/dev/stdin"]
        return command if self._config_file is None else [*command, "--config", str(self._config_file)]

    def _scenario(self) -> list[str]:
        many = [] if self._athletes is None else ["--athletes", str(self._athletes)]
        return ["--scenario", "demo", *many]

    async def _settings(self) -> bytes | None:
        """The user's settings and the demo's athletes, as one TOML text; None where there is no demo."""
        if not self._demo:
            return None
        lines: list[str] = []
        command = [sys.executable, "-m", "server", "simulate", "--print-config", *self._scenario()]
        child = Child("demo", command, on_line=lines.append)
        self._children.append((self._demo_role(None), child))
        await child.start()
        code = await child.wait()
        if code:
            raise DiedError(child.last_words(), code)
        self._children.pop()
        own = b"" if self._config_file is None else self._config_file.read_bytes()
        return own + b"\n" + "\n".join(lines).encode() + b"\n"

    async def _start_server(self, child: Child) -> None:
        """Start the server and wait until it says that it is online."""
        broker = self._config.broker
        async with Link(broker, subscriptions=[f"{broker.root}/server/status"]) as link:
            await link.ready()
            await child.start()
            ended = asyncio.create_task(child.wait())
            online = asyncio.create_task(_online(link))
            try:
                await asyncio.wait({ended, online}, timeout=ONLINE_S_MAX, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.cancel()
                online.cancel()
            if ended.done() and not ended.cancelled():
                raise DiedError(child.last_words(), max(1, ended.result()))
            if not online.done() or online.cancelled():
                raise DiedError(
                    f"the server was not online after {ONLINE_S_MAX:g} s; {child.last_words()}", 1
                )

    def _welcome(self) -> str:
        """What runs, and what to type to see it."""
        broker = self._config.broker
        where = (
            "" if (broker.host, broker.port) == ("127.0.0.1", 1883) else f"-h {broker.host} -p {broker.port} "
        )
        names = {role.name: child for role, child in self._children}
        first = f"{names['broker'].name}, " if "broker" in names else "external, "
        watch = [*_kinefuse(), "watch", "--port", str(broker.port)]
        if self._config_file is not None:
            watch += ["--config", str(self._config_file)]
        lines = [
            "",
            "Kinefuse is running.",
            f"  broker   {first}{broker.host}:{broker.port}, topics under {broker.root}",
            f"  server   process {names['server'].pid}",
        ]
        if "demo" in names:
            lines.append(f"  demo     process {names['demo'].pid}, simulated athletes on the move")
        lines += ["", "See the athletes, in another terminal:", f"  {shlex.join(watch)}"]
        if shutil.which("mosquitto_sub"):
            sub = f"mosquitto_sub {where}-t '{broker.root}/#' -v"
            lines += ["See every message:", f"  {sub}", "  (without the binary ones of the IMUs: add "]
            lines[-1] += f"-T '{broker.root}/in/+/imu')"
        lines += ["", "Ctrl-C ends all of it.", ""]
        return "\n".join(lines)


_ORDER = ("broker", "server", "demo")


def up(
    *, demo: bool = False, port: int | None = None, config: Path | None = None, athletes: int | None = None
) -> None:
    """Start a broker, the server and, with --demo, simulated athletes; Ctrl-C ends all of it.

    The broker is an external one where the configuration names it, else mosquitto where it is installed, else
    amqtt; the last two listen on this machine only.

    For example:

        kinefuse up --demo
        kinefuse up --port 1884
        KINEFUSE_BROKER_HOST=10.0.0.5 kinefuse up --config gym.toml

    Parameters
    ----------
    demo
        Simulate athletes who do different things.
    port
        The broker's port; default 1883, or what the configuration says.
    config
        TOML file; see docs/operations.md. Default: the one that KINEFUSE_CONFIG names, or none.
    athletes
        How many athletes the demo has.
    """
    settings = load(config, os.environ, port=port)
    if athletes is not None and not demo:
        raise ConfigError("--athletes", "is for the demo: add --demo")
    named = os.environ.get("KINEFUSE_CONFIG")
    if config is None and named:
        config = Path(named)
    code = asyncio.run(_run(settings, config, demo=demo, athletes=athletes))
    if code:
        sys.exit(code)


async def _run(settings: Config, config_file: Path | None, *, demo: bool, athletes: int | None) -> int:
    supervisor = Supervisor(settings, config_file, demo=demo, athletes=athletes)
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, supervisor.stop)
    try:
        return await supervisor.run()
    finally:  # all is stopped: a further Ctrl-C is not to kill what only has to leave
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)


async def _online(link: Link) -> None:
    """Return once the server's status says online; one that was retained is of another life."""
    async for arrival in link.arrivals():
        with contextlib.suppress(msgspec.DecodeError):
            status = msgspec.json.decode(arrival.payload, type=_Status)
            if status.state == "online" and not arrival.retained:
                return


def _kinefuse() -> list[str]:
    """The command as it works without an activated environment, as short as it can be."""
    beside = Path(sys.executable).with_name("kinefuse")
    if not beside.exists():
        return [sys.executable, "-m", "server"]
    found = shutil.which("kinefuse")
    if found is not None and Path(found).resolve() == beside.resolve():
        return ["kinefuse"]
    with contextlib.suppress(ValueError):
        return [str(beside.relative_to(Path.cwd()))]
    return [str(beside)]


def _prefixed(name: str) -> Callable[[str], None]:
    return lambda line: _say(f"{name:<7}| {line}")


def _say(text: str, stream: object = None) -> None:
    """Print at once; a terminal that has gone is no reason to leave children behind."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr if stream is None else sys.stdout, flush=True)


def _say_why(error: BaseException) -> int:
    """Say what ended everything; return the exit code."""
    _say(f"kinefuse: {error}")
    if isinstance(error, DiedError):
        return error.code
    return EXIT_CONFIG if isinstance(error, ConfigError) else 1


def _leaves(group: BaseExceptionGroup[ServerError]) -> Iterator[ServerError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
