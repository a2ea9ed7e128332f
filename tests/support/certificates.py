"""A certificate of one's own for this machine, made by openssl."""

import asyncio
from pathlib import Path
from typing import NamedTuple


class Files(NamedTuple):
    """Where they are."""

    certificate: Path
    key: Path


async def make(folder: Path) -> Files:
    """Make a certificate for 127.0.0.1 that is its own authority, for a day."""
    files = Files(folder / "certificate.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(files.key), "-out", str(files.certificate)]
    openssl = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    assert await openssl.wait() == 0
    return files
