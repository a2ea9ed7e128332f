"""The HTTP side, in threads of its own: it reads the newest snapshot and plain values, and waits for none."""

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import make_wsgi_app

from server.config import Metrics
from server.errors import ConfigError, PortTakenError
from server.monitoring.snapshot import Snapshot, SnapshotCollector

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PORT: Final = 9464  # where OpenTelemetry's exporters are, and Prometheus looks for them
REQUESTS_MAX: Final = 8  # at once: who comes beyond is hung up on
REQUEST_S_MAX: Final = 5.0
STALLED_NS: Final = 5_000_000_000
POLL_S: Final = 0.05


class Vitals(NamedTuple):
    """What is asked for at each request; each may be called by any thread."""

    monotonic_ns: Callable[[], int]
    turned_ns: Callable[[], int]  # when the event loop turned last, monotonic
    connected: Callable[[], bool]  # to the broker, and subscribed


class Monitor:
    """Serves ``/metrics``, ``/healthz`` and ``/readyz``, as a context manager.

    Parameters
    ----------
    metrics : server.config.Metrics
        Where.
    vitals : Vitals
        What tells whether the server lives.

    Attributes
    ----------
    port : int
        Where it listens; 0: nowhere.
    warning : str
        Why it listens nowhere though nobody said so; empty where there is nothing to say.

    Raises
    ------
    PortTakenError, ConfigError
        By ``__enter__``, where the configuration names a port that another process holds, or a host that is
        not here.
    """

    def __init__(self, metrics: Metrics, vitals: Vitals) -> None:
        self.port, self.warning = 0, ""
        self._metrics = metrics
        self._vitals = vitals
        self._collector = SnapshotCollector()
        registry = CollectorRegistry()
        registry.register(self._collector)
        ProcessCollector(registry=registry)
        self._told = make_wsgi_app(registry)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def tell(self, snapshot: Snapshot) -> None:
        """Let the next scrapes have these figures; the snapshot must not change any more."""
        self._collector.snapshot = snapshot

    def __enter__(self) -> Self:
        asked = self._metrics.port
        port = PORT if asked is None else asked
        if port == 0:
            return self
        host = self._metrics.host
        try:
            self._server = _Server(host, port, self._vitals.monotonic_ns)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                problem = f'is "{host}", where port {port} cannot be served: {error.strerror or error}'
                raise ConfigError("metrics.host", problem) from None
            if asked is not None:
                raise PortTakenError(port, None, "name another with metrics.port, or 0 for none") from None
            self.warning = f"no /metrics: port {port} is taken; name another with metrics.port, or 0 for none"
            return self
        self._server.set_app(self._answer)
        self.port = port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="metrics", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def _answer(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _json(start, "405 Method Not Allowed", {"ok": False, "reason": "method"})
        match environ["PATH_INFO"]:
            case "/metrics":
                told: Iterable[bytes] = self._told(environ, start)
                return told
            case "/healthz":
                return self._state(start)
            case "/readyz":
                return self._state(start, ready=True)
            case _:
                return _json(start, "404 Not Found", {"ok": False, "reason": "path"})

    def _state(self, start: "StartResponse", *, ready: bool = False) -> Iterable[bytes]:
        """Say that the event loop turns, and, where that is asked, that the broker is there."""
        vitals = self._vitals
        stalled_ns = vitals.monotonic_ns() - vitals.turned_ns()
        if stalled_ns > STALLED_NS:
            stalled_s = round(stalled_ns * 1e-9, 1)
            told = {"ok": False, "reason": "loop_stalled", "stalled_s": stalled_s}
        elif ready and not vitals.connected():
            told = {"ok": False, "reason": "no_broker"}
        else:
            return _json(start, "200 OK", {"ok": True})
        return _json(start, "503 Service Unavailable", told)


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, REQUESTS_MAX at most."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = REQUESTS_MAX

    def __init__(self, host: str, port: int, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._ends_ns: dict[Any, int] = {}  # of the requests that are being answered
        self._room = threading.BoundedSemaphore(REQUESTS_MAX)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking the name service who we are, which may take seconds."""
        TCPServer.server_bind(self)
        host, port = self.socket.getsockname()[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there is room for one."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room."""
        self._ends_ns[request] = self._monotonic_ns() + int(REQUEST_S_MAX * 1e9)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ends_ns.pop(request, None)
            self._room.release()

    def service_actions(self) -> None:
        """Hang up on who takes too long, however often he sends a byte."""
        now_ns = self._monotonic_ns()
        for request, end_ns in list(self._ends_ns.items()):
            if now_ns > end_ns:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up half way is no fault of ours."""


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_S_MAX  # of each read; of the whole see _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base's name)
        """Say nothing: requests are no events."""


def _json(start: "StartResponse", status: str, told: dict[str, Any]) -> Iterable[bytes]:
    body = msgspec.json.encode(told) + b"\n"
    start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
