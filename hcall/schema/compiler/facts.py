"""The table of facts: what a kernel or a hypervisor needs to follow, audit and swap a call.

Arrays of small structures without strings and addresses, as op.h declares them: what one leads to
is an index into another. What is the same stands there once. The words for each part, type and op
(words.py) stand in arrays that run beside these, so that what differs in words alone is kept apart.
"""

import cpp
import layout
import resolve
import rows
from cpp import enumerator, init

NONE = 0xffff


class Array:
    """An array of the table: rows of C++ initialisers, found again by a key."""

    def __init__(self):
        self.rows, self.places = [], {}

    def add(self, key, make=None):
        """The index of what `key` stands for, which `make` writes the first time; itself if not."""
        if key not in self.places:
            self.places[key] = len(self.rows)
            self.rows.append(key)
            if make is not None:
                self.rows[self.places[key]] = make()
        return self.places[key]

    def add_all(self, lines, key=None):
        """The index of the first of some rows that stand one behind the other."""
        if not lines:
            return 0
        key = key or tuple(lines)
        if key not in self.places:
            self.places[key] = len(self.rows)
            self.rows += lines
        return self.places[key]


class Facts:
    """All arrays, filled from the resolved table. `type_list`, `part_list` and so on tell what each
    row of the array beside it is, for the words."""

    TYPES = {"releases": "ReleaseNumber", "types": "Type", "fields": "Field", "amounts": "Amount",
             "values": "std::int64_t", "tests": "Test", "buffers": "BufferForm",
             "forms": "PartForm", "parts": "Part", "variants": "Variant", "records": "Record",
             "moves": "Move", "ops": "Op", "versions": "Version", "hypercalls": "Hypercall"}

    def __init__(self, table, releases):
        self.table, self.names = table, [release.name for release in releases]
        for name in self.TYPES:
            setattr(self, name, Array())
        self.type_list, self.part_list, self.record_list, self.op_list = [], [], [], []
        for name in self.names:
            self.releases.add(init(*name.split(".")))
        for scalar in layout.SCALARS.values():
            self.type(scalar)
        self.tests.add((), lambda: init("{}", 0, 0, False, False))
        self.amounts.add("{}")
        self.moves.rows.append(init(0, 0, 0))
        self.variants.rows.append(init([0, 0]))
        for i, call in enumerate(table):
            call.ops.sort(key=lambda op: (op.number, self.names.index(op.releases[0])))
            for op in call.ops:
                self.op(i, op)
        for call in table:
            self.hypercall(call)

    def mask(self, names):
        return sum(1 << self.names.index(name) for name in names)

    # --- Types ---

    def type(self, type_):
        return NONE if type_ is None else self.types.add(resolve.type_key(type_),
                                                         lambda: self.make_type(type_))

    def make_type(self, type_):
        self.type_list.append(type_)
        common = resolve.common_member(type_)
        members = type_.fields if type_.kind != "union" else [common] if common else []
        fields = [init(field.offset, field.count, self.type(field.type)) for field in members
                  if resolve.units(field.type) != [] and not field.bit_offset]
        for each in [field.type for field in type_.fields] + [type_.element]:  # words want them all
            self.type(each)
        return init(type_.size, self.fields.add_all(fields), len(fields),
                    enumerator("Kind", type_.kind))

    # --- Parts ---

    def test(self, test):
        def make():
            first = self.values.add_all([str(value) for value in test.values])
            return init(test.field, first, len(test.values), test.is_flags, test.is_not)
        return self.tests.add(test, make)

    def variant(self, tests):
        return init([*map(self.test, tests), 0, 0][:2])

    def buffer(self, part, argument):
        if part.element is None:
            return NONE
        record = (argument if isinstance(part.record, resolve.Op) else
                  self.record(part.record) if part.record is not None else NONE)
        row = part.row
        flags = ~row.address_bits & (2**64 - 1) if row.address_bits is not None else 0
        return self.buffers.add(init(
            self.type(part.element), record, self.amounts.add(cpp.amount(part.room)),
            self.amounts.add(cpp.amount(part.filled)), flags, part.second_null,
            part.null is not None,
            enumerator("Lifetime", "until_replaced" if row.until_replaced else "call")))

    def part(self, part, argument):
        form = init(part.size, self.type(part.type), self.variant(part.tests),
                    self.buffer(part, argument), part.row.low_bits or 64,
                    enumerator("Direction", part.direction), enumerator("Phase", part.row.phase),
                    part.row.trailing)
        return init(part.offset, self.forms.add(form))

    def run_of(self, parts, argument=None):
        """The first one's index, and how many. Lists that say the same in one way are one."""
        parts = [part for part in parts if part.row.overlays is None]
        lines = [self.part(part, argument) for part in parts]
        first = self.parts.add_all(lines, tuple(
            (line, part.path, part.row.note, part.null, part.row.naming)
            for line, part in zip(lines, parts)))
        if len(self.parts.rows) != len(self.part_list):
            self.part_list += parts
        return first, len(parts)

    def make_record(self, type_, parts, variants, argument=None):
        first, count = self.run_of(parts, argument)
        lines = [self.variant(tests) for tests in variants]
        has_pointers = any(part.element is not None and part.direction != "ignored"
                           for part in parts)
        return init(self.type(type_), first, self.variants.add_all(lines), count, len(lines),
                    has_pointers)

    def add_record(self, row, key, make):
        """`row` is what the words of it are taken from."""
        index = self.records.add(key, make)
        self.record_list += [None] * (len(self.records.rows) - len(self.record_list))
        self.record_list[index] = self.record_list[index] or row
        return index

    def record(self, record):
        return self.add_record(record, record.key(), lambda: self.make_record(
            record.type, record.parts, record.variants))

    # --- Ops ---

    def op(self, index, op):
        records = []  # the argument, then the registers, which lead to it
        for record in ((op.argument, op.parts, op.variants), (None, op.registers, [])):
            line = self.make_record(*record, *records)
            records.append(self.add_record(op, ("op", line), lambda: line))
        first_buffer, buffer_count = self.run_of(op.buffers)
        moves = [init(*move) for move in op.moves()]
        self.ops.rows.append(init(
            op.number, self.mask(op.releases), index, records[1], records[0], op.own_offset,
            self.type(op.own), first_buffer, self.moves.add_all(moves), buffer_count, len(moves),
            enumerator("Direction", op.direction), op.is_stable))
        self.op_list.append(op)

    def hypercall(self, call):
        row = call.row
        first = next(i for i, op in enumerate(self.op_list) if op.call is row)
        versions = [init(f"0x{version:x}", self.mask(call.versions[version]))
                    for version in sorted(call.versions)]
        self.hypercalls.rows.append(init(
            f"0x{call.op_mask:x}", call.number, enumerator("OpPlace", row.op_place),
            row.holds_calls, call.pointer, len(row.registers), len(versions),
            self.versions.add_all(versions), first, len(call.ops), call.op_field,
            call.version_field, self.type(call.type)))

    def text(self):
        arrays = "\n".join(cpp.array(type_, f"k{name.title()}", getattr(self, name).rows)
                           for name, type_ in self.TYPES.items())
        places = {call.number: place for place, call in enumerate(self.table, 1)}
        numbers = init(*(places.get(number, 0) for number in range(64)))
        return cpp.source("op.h", "facts", arrays, (
            f"const std::uint8_t kReleaseCount = {len(self.names)};\n"
            f"const std::uint8_t kHypercallCount = {len(self.table)};\n"
            f"const std::uint8_t kByNumber[64] = {numbers};"))
