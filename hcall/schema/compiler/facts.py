"""The table of facts: what a kernel or a hypervisor needs to follow, audit and swap a call.

Arrays of small structures without strings and addresses, as op.h declares them: what one leads to
is an index into another. What is the same stands there once. The words for each part, type and op
(words.py) stand in arrays that run beside these, so that what differs in words alone is kept apart.
"""

import cpp
import layout
import resolve
from cpp import enumerator, init

NONE = 0xffff


class Array:
    """An array of the table: rows of C++ initialisers, found again by a key; and what each is of,
    for the words."""

    def __init__(self):
        self.rows, self.of, self.places = [], [], {}

    def add(self, key, make=None, of=None):
        """The index of the row of `key`: what `make` returns, which may add others; or itself."""
        if key not in self.places:
            self.places[key] = place = len(self.rows)
            self.rows.append(key)
            self.of.append(of)
            if make is not None:
                self.rows[place] = make()
        return self.places[key]

    def add_all(self, rows, key=None, of=()):
        """The index of the first of some rows that stand one behind the other."""
        key = key or tuple(rows)
        if key and key not in self.places:
            self.places[key] = len(self.rows)
            self.rows += rows
            self.of += of
        return self.places.get(key, 0)


class Facts:
    """All arrays, filled from the resolved table."""

    TYPES = {"releases": "ReleaseNumber", "types": "Type", "fields": "Field", "amounts": "Amount",
             "values": "std::int64_t", "tests": "Test", "buffers": "BufferForm",
             "forms": "PartForm", "parts": "Part", "variants": "Variant", "records": "Record",
             "moves": "Move", "ops": "Op", "versions": "Version", "hypercalls": "Hypercall"}

    def __init__(self, table, releases):
        self.table, self.names = table, [release.name for release in releases]
        for name in self.TYPES:
            setattr(self, name, Array())
        for name in self.names:
            self.releases.add(init(*name.split(".")))
        for scalar in layout.SCALARS.values():
            self.type(scalar)
        # The first of these stands for none.
        self.tests.add(init("{}", 0, 0, False, False))
        self.amounts.add("{}")
        self.moves.add(init(0, 0, 0))
        self.variants.add(init([0, 0]))
        for i, call in enumerate(table):
            call.ops.sort(key=lambda op: (op.number, self.names.index(op.releases[0])))
            first = len(self.ops.rows)
            for op in call.ops:
                self.op(i, op)
            self.hypercall(call, first)

    def mask(self, names):
        return sum(1 << self.names.index(name) for name in names)

    # --- Types ---

    def type(self, type_):
        return NONE if type_ is None else self.types.add(
            resolve.type_key(type_), lambda: self.make_type(type_), type_)

    def make_type(self, type_):
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
        return self.tests.add(test, lambda: init(
            test.field, self.values.add_all(test.values), len(test.values), test.is_flags,
            test.is_not))

    def variant(self, tests):
        return init([*map(self.test, tests), 0, 0][:2])

    def buffer(self, part, argument):
        if part.element is None:
            return NONE
        row, record = part.row, part.record
        index = (NONE if record is None else argument if isinstance(record, resolve.Op) else
                 self.records.add(record.key(), lambda: self.record(
                     record.type, record.parts, record.variants), record))
        flags = ~(-1 if row.address_bits is None else row.address_bits) % 2**64
        return self.buffers.add(init(
            self.type(part.element), index, self.amounts.add(cpp.amount(part.room)),
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
        rows = [self.part(part, argument) for part in parts]
        key = tuple((row, part.path, part.row.note, part.null, part.row.naming, part.local)
                    for row, part in zip(rows, parts))
        return self.parts.add_all(rows, key, parts), len(parts)

    def record(self, type_, parts, variants, argument=None):
        first, count = self.run_of(parts, argument)
        rows = [self.variant(tests) for tests in variants]
        has_pointers = any(part.element is not None and part.direction != "ignored"
                           for part in parts)
        return init(self.type(type_), first, self.variants.add_all(rows), count, len(rows),
                    has_pointers)

    # --- Ops ---

    def op(self, index, op):
        argument = self.records.add(self.record(op.argument, op.parts, op.variants), of=op)
        registers = self.records.add(self.record(None, op.registers, [], argument), of=op)
        first_buffer, buffer_count = self.run_of(op.buffers)
        moves = [init(*move) for move in op.moves()]
        self.ops.add(init(
            op.number, self.mask(op.releases), index, registers, argument, op.own_offset,
            self.type(op.own), first_buffer, self.moves.add_all(moves), buffer_count, len(moves),
            enumerator("Direction", op.direction), op.is_stable), of=op)

    def hypercall(self, call, first):
        row = call.row
        versions = [init(f"{version:#x}", self.mask(names))
                    for version, names in sorted(call.versions.items())]
        self.hypercalls.add(init(
            f"{call.op_mask:#x}", call.number, enumerator("OpPlace", row.op_place),
            row.holds_calls, call.pointer, len(row.registers), len(versions),
            self.versions.add_all(versions), first, len(call.ops), call.op_field,
            call.version_field, self.type(call.type)))

    def text(self):
        places = {call.number: place for place, call in enumerate(self.table, 1)}
        by_number = init(*(places.get(number, 0) for number in range(64)))
        return cpp.source(
            "op.h", "facts",
            {f"{type_} k{name.title()}": getattr(self, name).rows
             for name, type_ in self.TYPES.items()},
            f"const std::uint8_t kReleaseCount = {len(self.names)};\n"
            f"const std::uint8_t kHypercallCount = {len(self.table)};\n"
            f"const std::uint8_t kByNumber[64] = {by_number};")
