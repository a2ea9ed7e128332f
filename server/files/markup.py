"""XML from outside, made safe before any parser builds a tree of it.

Without a document type declaration there are no entities, so neither expansion bombs nor references to other
files or hosts. No GPX or TCX needs one: it is refused, as are files too large or nested too deeply.
"""

from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

from server.errors import FileError

XML_MAX: Final = 64 * 2**20  # bytes
DEPTH_MAX: Final = 64  # elements within each other; GPX and TCX need 10


class _Refused(Exception):  # noqa: N818 (not an error of this package; it never leaves this module)
    """The document has what no recording needs."""


def checked(content: bytes, path: Path) -> bytes:
    """Return the document from its first ``<``, once it is known to be well formed and harmless.

    Raises
    ------
    FileError
        It is too large, not well formed, has a document type declaration, or is nested too deeply.
    """
    if len(content) > XML_MAX:
        raise FileError(path, f"XML larger than {XML_MAX // 2**20} MiB")
    if not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        content = content[max(content.find(b"<"), 0) :]  # some exports begin with blanks, which XML forbids
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    depth = 0

    def enter(_name: str, _attributes: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > DEPTH_MAX:
            raise _Refused(f"elements are nested more than {DEPTH_MAX} deep")

    def leave(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler = enter
    parser.EndElementHandler = leave
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise FileError(path, f"not well-formed XML: {error}") from error
    except _Refused as error:
        raise FileError(path, str(error)) from error
    return content


def _refuse_doctype(*_: object) -> None:
    raise _Refused("it has a document type declaration, which no recording needs")
