"""Kernels: functions of a measurement and its athlete's row, written over columns, run by the C core.

numpy takes about a microsecond for an operation on a column, whether of one row or of a hundred; a step of
all models and metrics has two thousand of them. So such a function is recorded once (fusion/recording.py),
and the core runs what was recorded for all records of a step in one call (csrc/kernel.c): each record finds
its row as the one before has left it. `Kernel.by_columns` runs the same function in numpy; both give the same
bits, but for those of exp, where numpy's own differs from libm's on some machines.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion._core import ffi, lib
from fusion.core import record
from fusion.measurements import Records
from fusion.recording import FLOAT, TRUTH, Columns, Operation, Recording, Symbol
from fusion.rounds import in_order, turns
from fusion.table import Fields, Picked, Table

Function = Callable[[Fields, Fields], Sequence[Any]]

_OPERATION = record("kf_operation")


class Pass(NamedTuple):
    """A kernel, and the records that it is run for.

    ``only`` is the place of a pass before it, whose first output tells which of the same records are taken.
    """

    kernel: "Kernel"
    records: Records
    only: int | None = None


def run(table: Table, passes: Sequence[Pass]) -> list[NDArray[np.int64]]:
    """Run kernels one after the other in one call; return what each tells, as `Kernel.block` does."""
    told = []
    c = ffi.new("kf_pass[]", len(passes))
    for one, (kernel, records, only) in zip(c, passes, strict=True):
        count = len(records)
        block = np.empty((len(kernel.kinds), count), np.int64)
        kernel.fill(one, table, records)
        one.told = ffi.from_buffer("kf_value[]", block)
        if only is not None:
            one.only = c[only].told
        told.append(block)
    order = np.empty(3 * max(len(one.records) for one in passes) + 1, np.uint32)
    if lib.kf_run(c, len(passes), table.c, ffi.from_buffer("uint32_t[]", order)):
        raise IndexError("a record is of a row that is not there")
    return told


class Kernel:
    """A function over columns, recorded.

    Parameters
    ----------
    function : callable
        Of the fields of a row, which it may set, and those of a record; returns columns that it tells, or
        numbers. It sees a field of several numbers a row with its rows last.
    row, record : dtype
        Of the table and of the records, which begin with ``row``, int32, and at byte 8 ``t_ns``, int64.
    """

    def __init__(self, function: Function, row: np.dtype[Any], record: np.dtype[Any]) -> None:
        self._function = function
        self._row, self._record = row, record
        recording = Recording()
        state, told = Columns(recording, row, "ROW"), Columns(recording, record, "RECORD")
        out = [recording.symbol(one) for one in function(state, told)]
        self.kinds = [one.kind for one in out]
        roots = state.store()
        roots += [recording.note("TELL", one, place=i, field="TELL").index for i, one in enumerate(out)]
        self._compile(recording, roots)

    def __call__(self, table: Table | Records, records: Records) -> list[NDArray[Any]]:
        """Run the function for records, those of each row by time whatever order they stand in.

        Returns
        -------
        list
            What the function tells, an array (n,) each, in the order of the records.
        """
        block = self.block(table, records)
        return [_column(one, kind) for one, kind in zip(block, self.kinds, strict=True)]

    def block(self, table: Table | Records, records: Records) -> NDArray[np.int64]:
        """Run the function; return what it tells, (outputs, n), float64 as the bits that they are."""
        if not isinstance(table, Table):
            table = Table(table, np.zeros(len(table), []), table.dtype)
        return run(table, [Pass(self, records)])[0]

    def fill(self, c: Any, table: Table, records: Records) -> None:
        """Fill a kf_pass in, but for what it tells."""
        if table.dtype != self._row or records.dtype != self._record:
            raise TypeError("table and records must be of the kernel's dtypes")
        if not records.flags.c_contiguous:
            raise TypeError("records must be contiguous")
        c.kernel, c.registers = self._kernel, self._registers
        c.records = ffi.from_buffer("uint8_t[]", records)
        c.record_bytes, c.count = self._record.itemsize, len(records)

    def by_columns(self, table: Table | Records, records: Records) -> list[NDArray[Any]]:
        """Do what a call does, in numpy, round by round."""
        place = np.empty(len(records), dtype=[("row", np.int32), ("t_ns", np.int64), ("place", np.intp)])
        place["row"], place["t_ns"], place["place"] = records["row"], records["t_ns"], np.arange(len(records))
        order = in_order(place)["place"]
        told = np.empty((len(self.kinds), len(records)), dtype=np.int64)
        for turn in turns(records["row"][order]):
            at = order[turn]
            fields = Picked(table, records["row"][at].astype(np.intp))
            with np.errstate(all="ignore"):  # as in what is thrown away of records that are not used
                columns = self._function(fields, Picked(records, at))
            for out, kind, column in zip(told, self.kinds, columns, strict=True):
                (out.view(np.float64) if kind == FLOAT else out)[at] = column
        return [_column(one, kind) for one, kind in zip(told, self.kinds, strict=True)]

    def _compile(self, recording: Recording, roots: list[int]) -> None:
        """Give registers to what the roots need, constants first, and write the operations down."""
        operations = recording.operations
        needed = set(roots)
        for i in range(len(operations) - 1, -1, -1):
            if i in needed:
                needed.update(operations[i].operands)
        order = [i for i in sorted(needed) if operations[i].name != "CONSTANT"]
        constants = [i for i in sorted(needed) if operations[i].name == "CONSTANT"]
        register = {i: n for n, i in enumerate(constants)}
        values = [_bits(operations[i].place, operations[i].kind) for i in constants]
        starts = []
        for table in recording.tables:
            starts.append(len(values))
            kind = FLOAT if table.dtype.kind == "f" else TRUTH
            values += [_bits(one.item(), kind) for one in table]
        last = {operand: i for i in order for operand in operations[i].operands}
        free: list[int] = []
        count = len(constants)
        code = np.zeros(len(order), dtype=_OPERATION)
        for at, i in enumerate(order):
            one = operations[i]
            operands = [register[operand] for operand in one.operands]
            free += [
                register[o] for o in set(one.operands) if last[o] == i and operations[o].name != "CONSTANT"
            ]
            if i in last:
                if not free:
                    free.append(count)
                    count += 1
                register[i] = free.pop()
            code[at] = _encoded(one, operands, register.get(i, 0), recording, starts)
        self._code, self._constants = code, np.array(values, dtype=np.int64)
        self._registers = ffi.new("kf_value[]", max(count, 1) * int(lib.KF_BLOCK))
        self._kernel = ffi.new(
            "kf_kernel *",
            {
                "operations": ffi.from_buffer("kf_operation[]", self._code),
                "constants": ffi.from_buffer("kf_value[]", self._constants),
                "operation_count": len(code),
                "constant_count": len(constants),
                "register_count": count,
            },
        )


def _encoded(
    one: Operation, operands: list[int], out: int, recording: Recording, starts: list[int]
) -> tuple[int, ...]:
    """Return an operation as the core has it."""
    a, b, c = (*operands, 0, 0, 0)[:3]
    place = int(one.place)
    if one.name == "LOOKUP":
        b, place = len(recording.tables[place]), starts[place]
    elif one.field and one.name != "TELL":
        b = getattr(lib, f"KF_{one.field}")
    return getattr(lib, f"KF_OP_{one.name}"), out, a, b, c, 0, place


def _bits(value: float, kind: str) -> int:
    """Return a constant as an int64 of the same bits."""
    if kind == FLOAT:
        return int(np.float64(value).view(np.int64))
    return int(value)


def _column(told: NDArray[np.int64], kind: str) -> NDArray[Any]:
    if kind == FLOAT:
        return told.view(np.float64)
    return told != 0 if kind == TRUTH else told


def choose(table: NDArray[Any], index: Any) -> Any:
    """Return of each row the number of a table that an index chooses."""
    return index.recording.lookup(table, index) if isinstance(index, Symbol) else table[index]
