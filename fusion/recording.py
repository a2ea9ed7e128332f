"""A function of columns, recorded: what it does to numbers becomes a list of operations (csrc/kinefuse.h).

The function is called once, with a `Symbol` for each column instead of an array. Symbols take part in
arithmetic, comparisons and numpy's elementwise functions, and note each as an operation; what is asked twice
is noted once. A field of several numbers a row is an object array of symbols, of the shape that the columns
have without their rows. What depends on all rows, as an ``if`` does, cannot be recorded: ``any`` of a symbol
is True and ``all`` is False, so that shortcuts are not taken.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

FLOAT, INTEGER, TRUTH = "f", "i", "b"
_SWAPPED = {"greater": "less", "greater_equal": "less_equal"}
_COMPARISONS = {"less", "less_equal", "equal", "not_equal"}
_ROOTED = {"sqrt", "exp", "rint", "isfinite", "hypot"}  # of float64 only
_BITWISE = {"bitwise_and": "and", "bitwise_or": "or", "logical_and": "and", "logical_or": "or"}
_PLAIN = {"add", "subtract", "multiply", "minimum", "maximum", "negative", "absolute"}
_TYPES = {"int8": "INT8", "int32": "INT32", "uint32": "UINT32", "int64": "INT64", "float64": "FLOAT64"}


class Operation(NamedTuple):
    """One operation: its name in the core, the operations whose results it takes, and its other numbers."""

    name: str
    operands: tuple[int, ...]
    place: int | float
    field: str  # its type, of loads and stores
    kind: str  # of the result


class Recording:
    """Operations in the order in which they were noted."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.tables: list[np.ndarray[Any, Any]] = []
        self._known: dict[Any, Symbol] = {}

    def note(
        self, name: str, *operands: "Symbol", place: int | float = 0, field: str = "", kind: str = FLOAT
    ) -> "Symbol":
        """Note an operation, unless it is known, and return its result."""
        operation = Operation(name, tuple(one.index for one in operands), place, field, kind)
        key = (operation, repr(place))  # 0.0 is not -0.0, and NaN is itself
        if key not in self._known:
            self._known[key] = Symbol(self, len(self.operations), kind)
            self.operations.append(operation)
        return self._known[key]

    def symbol(self, value: Any) -> "Symbol":
        """Return a value as a symbol."""
        if isinstance(value, Symbol):
            return value
        if isinstance(value, (bool, np.bool_)):
            return self.note("CONSTANT", place=int(value), kind=TRUTH)
        if isinstance(value, (int, np.integer)):
            return self.note("CONSTANT", place=int(value), kind=INTEGER)
        if isinstance(value, (float, np.floating)):
            return self.note("CONSTANT", place=float(value), kind=FLOAT)
        raise TypeError(f"{type(value).__name__} cannot be recorded")

    def floating(self, value: Any) -> "Symbol":
        """Return a value as a symbol of a float64."""
        one = self.symbol(value)
        return one if one.kind == FLOAT else self.note("FLOAT_I", one)

    def choice(self, where: Any, yes: Any, no: Any) -> "Symbol":
        """Note a choice between two values."""
        a, b = self.symbol(yes), self.symbol(no)
        kind = a.kind if a.kind == b.kind else FLOAT if FLOAT in (a.kind, b.kind) else INTEGER
        if kind == FLOAT:
            a, b = self.floating(a), self.floating(b)
        return self.note("SELECT", self.symbol(where), a, b, kind=kind)

    def lookup(self, table: np.ndarray[Any, Any], index: "Symbol") -> "Symbol":
        """Note a look into a table of constants; beyond its ends the nearest counts."""
        known = [i for i, one in enumerate(self.tables) if one is table]
        if not known:
            self.tables.append(table)
        number = known[0] if known else len(self.tables) - 1
        kind = FLOAT if table.dtype.kind == "f" else TRUTH if table.dtype.kind == "b" else INTEGER
        return self.note("LOOKUP", index, place=number, kind=kind)

    def apply(self, name: str, *inputs: Any) -> "Symbol":
        """Note one of numpy's elementwise functions."""
        if name in _SWAPPED:
            return self.apply(_SWAPPED[name], *inputs[::-1])
        if name == "power" and inputs[1] == 2:
            return self.apply("multiply", inputs[0], inputs[0])
        if name in ("true_divide", "divide"):
            return self.note("DIVIDE_F", *map(self.floating, inputs))
        if name in ("isnan", "invert", "logical_not"):
            one = self.symbol(inputs[0])
            if name == "isnan":
                return self.note("NOT_EQUAL_F", one, one, kind=TRUTH)
            if one.kind != TRUTH:
                raise TypeError("only a truth is inverted")
            return self.note("EQUAL_I", one, self.symbol(False), kind=TRUTH)
        if name in _ROOTED:
            kind = TRUTH if name == "isfinite" else FLOAT
            return self.note(f"{name.upper()}_F", *map(self.floating, inputs), kind=kind)
        operands = [self.symbol(one) for one in inputs]
        kinds = {one.kind for one in operands}
        if name in _BITWISE:
            return self.note(
                f"{_BITWISE[name].upper()}_I", *operands, kind=TRUTH if kinds == {TRUTH} else INTEGER
            )
        if name not in _PLAIN | _COMPARISONS:
            raise TypeError(f"numpy.{name} cannot be recorded")
        real = FLOAT in kinds
        if real:
            operands = [self.floating(one) for one in operands]
        kind = TRUTH if name in _COMPARISONS else FLOAT if real else INTEGER
        return self.note(f"{name.upper()}_{'F' if real else 'I'}", *operands, kind=kind)


class Symbol(NDArrayOperatorsMixin):
    """A column's number in a function that is being recorded."""

    __slots__ = ("index", "kind", "recording")

    def __init__(self, recording: Recording, index: int, kind: str) -> None:
        self.recording, self.index, self.kind = recording, index, kind

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **_: Any) -> Any:
        """Note a function of numpy's, or an operator."""
        if method != "__call__":
            return NotImplemented
        return _each(lambda *values: self.recording.apply(ufunc.__name__, *values), *inputs)

    def __array_function__(self, function: Any, _: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        """Note those of numpy's functions that are no ufuncs."""
        if kwargs:
            raise TypeError(f"numpy.{function.__name__} cannot be recorded so")
        if function is np.where:
            return _each(self.recording.choice, *args)
        if function is np.round:
            return self.recording.apply("rint", *args)
        if function is np.clip:
            return np.minimum(np.maximum(args[0], args[1]), args[2])
        raise TypeError(f"numpy.{function.__name__} cannot be recorded")

    def __bool__(self) -> bool:
        """Fail: what is recorded holds for any number."""
        raise TypeError("a recorded function cannot depend on a number but by numpy.where")

    def any(self) -> bool:
        """Return True: of some rows it may be."""
        return True

    def all(self) -> bool:
        """Return False: of some rows it may not be."""
        return False

    def copy(self) -> "Symbol":
        """Return the symbol, which nobody changes."""
        return self

    def astype(self, dtype: Any) -> "Symbol":
        """Note a conversion to float64, or to int64 towards zero."""
        if np.dtype(dtype).kind == "f":
            return self.recording.floating(self)
        return self.recording.note("TRUNCATE_F", self, kind=INTEGER) if self.kind == FLOAT else self


def _each(function: Any, *inputs: Any) -> Any:
    """Call a function of symbols and numbers, element by element where some are arrays of them."""
    if not any(isinstance(one, np.ndarray) for one in inputs):
        return function(*inputs)
    return np.frompyfunc(function, len(inputs), 1)(*map(_boxed, inputs))


def _boxed(value: Any) -> Any:
    box = np.empty((), dtype=object)
    box[()] = value
    return value if isinstance(value, np.ndarray) else box


class Columns:
    """The fields of a record, or of its row, as symbols; those of the row can be set."""

    def __init__(self, recording: Recording, dtype: np.dtype[Any], side: str) -> None:
        self._recording, self._dtype, self._side = recording, dtype, side
        self._columns: dict[str, Any] = {}
        self._set: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        if name not in self._columns:
            elements = [self._load(*one) for one in self._elements(name)]
            shape = self._dtype[name].shape
            column: Any = elements[0]
            if shape:
                column = np.empty(len(elements), dtype=object)
                column[:] = elements
                column = column.reshape(shape).T
            self._columns[name] = column
        return self._columns[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self[name]  # so that it stands before every store
        self._columns[name] = value
        self._set.add(name)

    def store(self) -> list[int]:
        """Note what was set, and return the numbers of these operations."""
        noted = []
        for name in sorted(self._set):
            value = self._columns[name]
            values = value.T.ravel() if isinstance(value, np.ndarray) else [value]
            for one, (place, field, kind) in zip(values, self._elements(name), strict=True):
                symbol = self._recording.symbol(one)
                if kind == FLOAT:
                    symbol = self._recording.floating(symbol)
                elif symbol.kind == FLOAT:
                    raise TypeError(f"{name} is no float64")
                noted.append(self._recording.note("STORE_ROW", symbol, place=place, field=field).index)
        return noted

    def _elements(self, name: str) -> list[tuple[int, str, str]]:
        """Return place, type and kind of each number of a field."""
        assert self._dtype.fields is not None
        dtype, offset = self._dtype.fields[name][:2]
        base = dtype.base
        kind = FLOAT if base.kind == "f" else INTEGER
        count = dtype.itemsize // base.itemsize
        return [(offset + i * base.itemsize, _TYPES[base.name], kind) for i in range(count)]

    def _load(self, place: int, field: str, kind: str) -> Symbol:
        return self._recording.note(f"LOAD_{self._side}", place=place, field=field, kind=kind)
