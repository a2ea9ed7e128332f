"""Who asks the command line wrongly is told in one line, by the right exit code, never by a traceback."""

import asyncio
import io
import json
import os
import sys
import zipfile
from pathlib import Path

import pytest

from server.config import Broker
from tests.support.brokers import PATIENCE_S, free_port, soon
from tests.support.servers import command, running


async def ended(*arguments: str | Path, **environ: str) -> tuple[int, list[str], list[str]]:
    """Run ``kinefuse``; return its exit code and the lines of its output and of its errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", *map(str, arguments)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environ},
    )
    async with asyncio.timeout(PATIENCE_S):
        out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().splitlines(), errors.decode().splitlines()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


POINT = b'<trkpt lat="1" lon="2"><time>2020-01-01T00:00:00Z</time></trkpt>'
GPX = b'<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>%s</trkseg></trk></gpx>'
NO_RECORDINGS = {
    "empty.fit": b"",
    "wäird ñame 🏃.gpx": b"<gpx",
    "no track.gpx": b"<gpx></gpx>",
    "no time.gpx": GPX % b'<trkpt lat="1" lon="2"/>',
    "laughs.gpx": b'<!DOCTYPE gpx [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + GPX % b"&b;",
    "noise.fit": bytes(range(256)) * 8,
    "no csv.zip": zipped({"readme.txt": b"hello"}),
    "nothing.zip": zipped({}),
    "out.zip": zipped({"../../x.csv": b"a,b"}),
    "bomb.zip": zipped({"Accelerometer.csv": bytes(600 << 20)}),
    "text": b"hello",
    "list.json": b"[]",
}


async def test_what_is_no_recording_is_one_line_each_and_the_good_one_is_analysed(tmp_path: Path) -> None:
    for name, data in NO_RECORDINGS.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.fit").symlink_to("loop.fit")
    os.mkfifo(tmp_path / "pipe.fit")
    (tmp_path / "good one.gpx").write_bytes(GPX % POINT)
    bad = [tmp_path / name for name in (*NO_RECORDINGS, "folder", "loop.fit", "pipe.fit", "missing.tcx")]
    code, out, errors = await ended("analyze", "--json", *bad, tmp_path / "good one.gpx", "/dev/zero")
    assert code == 1
    assert [json.loads(line)["device"] for line in out] == ["good-one"]
    for path, line in zip([*bad, "/dev/zero"], errors, strict=True):
        assert line.startswith(f"kinefuse: {path}: ")


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "told"),
    [
        ("replay missing.fit", {}, 1, "missing.fit: no such file"),
        ("replay . --speed 0", {}, 2, "--speed"),
        ("replay . --speed nan", {}, 2, "--speed"),
        ("watch --port 65536", {}, 2, "--port"),
        ("serve --config missing.toml", {}, 2, "missing.toml: cannot be read"),
        ("serve", {"KINEFUSE_BROKER_PROT": "1"}, 2, "did you mean"),
        ("up --demo", {"KINEFUSE_SERVER_DEVICES_MAX": "0"}, 2, "KINEFUSE_SERVER_DEVICES_MAX"),
    ],
)
async def test_who_asks_wrongly_is_told_in_one_line(
    arguments: str, environ: dict[str, str], code: int, told: str
) -> None:
    found, out, errors = await ended(*arguments.split(), **environ)
    assert (found, out, len(errors)) == (code, [], 1)
    assert errors[0].startswith("kinefuse: ")
    assert told in errors[0]


async def test_watch_says_that_there_is_no_broker_and_ends_when_asked() -> None:
    async with running(command("watch", Broker(port=free_port()))) as watch:
        await soon(lambda: any("no connection to the broker" in line for line in watch.tail))
        await watch.stop(PATIENCE_S)
        assert watch.returncode == 0, watch.last_words()
        assert not any("Traceback" in line for line in watch.tail)
