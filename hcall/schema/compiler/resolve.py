"""From rows as they are written to parts with offsets, in each release.

A field is looked for in the structure that the row is about, then in the one around it. A hypercall
is resolved in every release; an op that comes out the same in several is one form of it.
"""

import functools
import itertools
import operator
from dataclasses import dataclass, field, replace

import layout
import rows as written
from rows import Count, Ref

# No record that has to be looked into is larger, in bytes, and none has more parts: the
# freestanding code keeps a copy of one on its stack (op.h).
MAX_RECORD_SIZE = 256
MAX_PARTS = 128
REGISTER_SIZE = 8
HYPERCALLS = 64  # their numbers are below
NUMBERS = ("unsigned", "signed", "character")

A_CONSTANT = "expected a constant of the headers"
A_STRUCTURE = "expected a structure of the headers"


@dataclass
class Part:
    """One field of a record, or a register."""
    path: str
    row: written.Row
    field: layout.Field  # None: a register, or a buffer of a list
    offset: int
    size: int
    type: layout.Type
    direction: str
    tests: tuple
    null: str
    element: layout.Type = None
    record: object = None  # a Record, or the Op whose argument it points at
    room: Count = Count()
    filled: Count = Count()
    second_null: int = 0
    local: written.Local = written.Local()

    @property
    def is_pointer(self):
        return self.element is not None and not self.row.trailing

    def key(self):
        """What makes it this one. The argument that it points at is compared as the op's own."""
        target = None if isinstance(self.record, Op) else (
            self.direction, self.element and type_key(self.element),
            self.record and self.record.key())
        return (self.path, id(self.row), self.offset, self.field and field_key(self.field),
                self.tests, target, self.room, self.filled)


@dataclass
class Record:
    """A structure that pointers stand in, with its rows."""
    row: written.Record
    type: layout.Record
    parts: list = ()
    variants: list = ()

    def key(self):
        return (self.row.type, type_key(self.type), tuple(part.key() for part in self.parts),
                tuple(self.variants))


@dataclass
class Op:
    row: written.Op
    call: written.Hypercall
    number: int
    constant: str
    releases: list  # their names, ascending
    argument: layout.Record = None  # its type; None: it has none
    own: layout.Type = None  # what of it no other op has, if that is a part
    own_offset: int = 0
    direction: str = "in"
    registers: list = ()
    parts: list = ()
    buffers: list = ()
    variants: list = ()
    base: object = None  # its form in the base release, where that is another

    @property
    def name(self):
        return f"{self.call.name}.{self.row.name}"

    @property
    def is_stable(self):
        """Its interface version is 0 in every release."""
        return any(row.is_zero and row.field == self.call.version_field for row in self.row.around)

    def places(self):
        """Offsets by names: an own part of a shared structure may have the path of one around."""
        return {(part.offset >= self.own_offset, part.path, part.size): part.offset
                for part in self.parts}

    def moves(self):
        """Where the base release has the fields: runs of bytes that lie alike in both, as [here,
        there, size]; none when all lie where they are."""
        if self.base is None:
            return []
        base, runs = self.base.places(), [[0, 0, 0]]
        for name, here in sorted(self.places().items(), key=lambda item: item[1]):
            first, base_first, length = runs[-1]
            there = base.get(name)
            if there is None:
                continue
            end = here + name[-1]
            if here <= first + length and here - there == first - base_first:
                runs[-1][2] = max(length, end - first)
            elif here >= first + length:
                runs.append([here, there, end - here])
        return [run for run in runs if run[2]] if any(run[0] != run[1] for run in runs) else []

    def key(self):
        """The structure around the op's own part may differ in what belongs to other ops."""
        own = self.argument and (self.argument.size,
                                 self.own is not self.argument and type_key(self.own))
        return (self.number, own, self.own_offset, *(
            tuple(part.key() for part in parts)
            for parts in (self.registers, self.parts, self.buffers)), tuple(self.variants))


@dataclass
class Hypercall:
    row: written.Hypercall
    number: int
    type: layout.Record = None
    op_field: Ref = Ref()
    version_field: Ref = Ref()
    versions: dict = field(default_factory=dict)  # interface version: release names
    ops: list = ()
    removed: list = ()  # (number, name, constant, words)

    @property
    def pointer(self):
        """The register that leads to the argument; -1: none."""
        return self.row.registers.index(self.row.argument) if self.row.argument else -1

    @property
    def op_mask(self):
        """Bits that are the op's number. Of a register that is an int, not all are looked at."""
        bits = next((row.low_bits for row in self.row.register_rows
                     if row.field == self.row.op and row.low_bits), 64)
        return self.row.op_mask & ((1 << bits) - 1)


@functools.cache
def type_key(type_):
    """Equal for types of several releases that are laid out the same, under the same names."""
    return (type_.name, type_.kind, type_.size, type_.alignment,
            type_.element and type_key(type_.element), type_.is_const,
            tuple(map(field_key, type_.fields)))


def field_key(field):
    return (field.name, field.offset, field.size, field.count, field.is_array, field.bit_width,
            field.bit_offset, type_key(field.type))


@functools.cache
def units(type_):
    """The integers of more than one byte that make up a type, as (offset, size) pairs; None when
    that depends on which member of a union is meant."""
    if not type_.is_record:
        return [(0, type_.size)] if type_.size > 1 else []
    if type_.kind == "union":
        common = common_member(type_)
        return common and units_of(common)
    inner = [units_of(field) for field in type_.fields]
    return None if None in inner else sum(inner, [])


def units_of(field):
    if field.bit_width:  # stands in the storage of the bit-field before it, unless it begins one
        return [] if field.bit_offset else [(field.offset, field.size)]
    inner = units(field.type)
    return inner if inner is None else [
        (field.offset + i * field.type.size + at, size)
        for i in range(field.count) for at, size in inner]


@functools.cache
def common_member(union):
    """Of a union: the member whose integers include those of all others, so that swapping it swaps
    the union; in an unnamed one of scalars (rax, eax, ax, al) the one that fills it. None: which
    member is meant only the op can say."""
    arms = [(field, units_of(field)) for field in union.fields if union.kind == "union"]
    if any(mine is None for _, mine in arms):
        return None
    everything = {unit for _, mine in arms for unit in mine}
    is_unnamed = union.name.rpartition(".")[2].startswith("@")
    return next((field for field, mine in arms if set(mine) == everything or
                 is_unnamed and mine == [(0, union.size)]), None)


def is_plain(type_):
    """Whether a row for a structure as a whole says enough."""
    return (type_.kind != "handle" and (type_.kind != "union" or common_member(type_) is not None)
            and all(is_plain(field.type) for field in type_.fields))


def locate(type_, path):
    """The field of a path, through unnamed members, and its offset; None: there is none."""
    step, _, rest = path.partition(".")
    for field in type_.fields:
        found = None
        if not field.name:
            found = locate(field.type, path)
        elif field.name == step:
            found = locate(field.type, rest) if rest else (field, 0)
        if found:
            return found[0], field.offset + found[1]
    return None


def structure_of(words, names, size):
    """Registers, or the buffers of a list, as if they were fields of a structure."""
    return layout.Record(words, "struct", 0, 0, "", fields=[
        layout.Field(name, 0, i * size, size, type=layout.SCALARS["u64"])
        for i, name in enumerate(names)])


def registers_of(call):
    return structure_of(f"the registers {', '.join(call.registers)}", call.registers, REGISTER_SIZE)


class Scope:
    """Where the paths of some rows are looked for: (type, offset) pairs, that of the rows first,
    then what it lies in. `op`: whose registers these are."""

    def __init__(self, resolver, where, *places, op=None):
        self.resolver, self.where, self.places, self.op = resolver, where, places, op

    def fail(self, place, message):
        self.resolver.fail(place, f"{self.where}: {message}")

    def locate(self, path, place, places):
        """The field of a path and its offset; None after an error."""
        for type_, base in places:
            if found := locate(type_, path):
                return found[0], base + found[1]
        type_ = places[0][0]
        self.fail(place, f"there is no {path}: expected one of {type_.name}" if not type_.header
                  else f"struct {type_.name} has no field {path}: expected one that it has, or "
                       "since and until the releases that have it")
        return None

    def find(self, path, place):
        """A field that is a number."""
        found = isinstance(path, str) and self.locate(path, place, self.places)
        if found and (found[0].is_array or found[0].type.kind not in NUMBERS):
            self.fail(place, f"{path} is no number: expected a field that is one")
        return Ref(found[1], found[0].size) if found else Ref()

    def count(self, count, row, element):
        """A list that ends with a zero names a field of its elements."""
        of_element = count.kind == "until_zero"
        scope = Scope(self.resolver, self.where, (element, 0)) if of_element else self
        return replace(count, a=scope.find(count.a, row.place), b=scope.find(count.b, row.place),
                       **{name: self.resolver.value(getattr(count, name), row)
                          for name in ("scale", "most", "least", "more")})

    def tests(self, case):
        """None: none of the values exists in this release."""
        tests = []
        for test in case.tests:
            for value in test.values:
                if not value[0].isdigit() and value not in self.resolver.all_constants:
                    self.resolver.errors.add(case.place, f"{self.where}: {value}: expected a "
                                             "number, or a constant of some release's headers")
            values = tuple(number for value in test.values
                           if (number := self.resolver.constant(value)) is not None)
            if not values:
                return None
            field = self.find(test.field, case.place)
            if max(values) >> 8 * field.size and field.size:
                self.fail(case.place, f"{test.field} is {max(values)}: expected what {field.size} "
                                      "bytes hold")
            tests.append(replace(test, field=field, values=values))
        return tuple(tests)


class Resolver:
    """All rows in one release."""

    def __init__(self, release, releases, records, errors):
        self.release, self.record_rows, self.errors = release, records, errors
        self.releases = [each.name for each in releases]
        self.all_constants = {name for each in releases for name in each.constants}
        self.records, self.met = {}, set()  # those of buffers; the names of all that have rows

    def fail(self, place, message):
        self.errors.add(place, message, self.release.name)

    def constant(self, word):
        if word[0].isdigit():
            return int(word, 0)
        found = self.release.constants.get(word)
        return found and found.value

    @functools.cache
    def constants_of(self, naming):
        """By name, those that are meant."""
        if naming is None:
            return {}
        excepted = tuple((naming.excepted or "").split())
        return {name: each for name, each in self.release.constants.items()
                if name.startswith(naming.prefixes) and not name.startswith(excepted) and
                naming.scope in (None, each.scope)}

    def value(self, number, row):
        """A number, a constant, or `sizeof TYPE`."""
        if isinstance(number, int):
            return number
        if number.startswith("sizeof "):
            name = number.removeprefix("sizeof ")
            type_ = self.release.typedefs.get(name) or self.find_type(name)
            value = type_ and type_.size
        else:
            value = self.constant(number)
        if value is None:
            self.fail(row.place, f"{row.field}: {number}: expected a field, a constant, or sizeof "
                                 "a type of the headers")
        return value

    def find_type(self, name):
        return (self.release.records.get(name) or
                layout.SCALARS.get(layout.C_NAMES.get(name, name)))

    def parts(self, scope, cases, around=()):
        """Of all rows. `around` are some that stand for others of the same field."""
        replaced, rows = {row.field for row in around}, [(row, ()) for row in around]
        for case in cases:
            tests = scope.tests(case)
            rows += [(row, tests) for row in case.rows
                     if tests is not None and row.field not in replaced]
        return [part for row, tests in rows for part in self.row_parts(scope, row, tests)]

    def row_parts(self, scope, row, tests):
        """None or one; several of a structure that has rows of its own."""
        first, last = row.since or self.releases[0], row.until or self.releases[-1]
        for name in {first, last} - set(self.releases):
            self.errors.add(row.place, f"{scope.where}: {row.field}: {name}: expected one of the "
                                       f"releases {', '.join(self.releases)}")
        versions = [written.version_key(name) for name in (first, self.release.name, last)]
        if versions != sorted(versions) or row.direction == "value":
            return []
        found = scope.locate(row.field, row.place, scope.places[:1])
        if found is None:
            return []
        field, offset = found
        part = Part(row.field, row, field if field.spelling else None, offset, field.size,
                    field.type, row.direction, tests, row.null)
        bits = [self.value(word, row) or 0 for word in row.local.bits]
        part.local = replace(row.local, bits=functools.reduce(operator.or_, bits, 0))
        if row.room.kind != "none":
            self.add_target(scope, part)
        elif part.field is None and (scope.op is None or scope.op.call.is_argument(row)):
            scope.fail(row.place, f"{part.path}: expected [COUNT] behind {row.direction}")
        elif field.type.is_record and field.type.name in self.record_rows:
            return self.embedded(scope, part)
        elif part.direction != "ignored" and field.type.kind == "handle":
            scope.fail(row.place, f"{part.path} is a pointer: expected [COUNT] behind "
                                  f"{row.direction}")
        elif part.direction != "ignored" and not is_plain(field.type):
            scope.fail(row.place, f"{part.path} holds a pointer, or a union of unlike members: "
                                  "expected a row for each of its fields")
        return [part]

    def embedded(self, scope, outer):
        """The rows of a structure with pointers that stands in another one: a bitmap, a name."""
        self.met.add(outer.type.name)
        inner = Scope(self, f"{scope.where}: {outer.path}", (outer.type, outer.offset))
        parts = self.parts(inner, self.record_rows[outer.type.name].fields)
        for part in parts:
            part.path, part.tests = f"{outer.path}.{part.path}", outer.tests + part.tests
            if len(part.tests) > 2:
                scope.fail(outer.row.place, f"{part.path} has three tests: expected two at most")
            if part.is_pointer:
                part.direction = outer.direction
                part.null = outer.null if outer.null is not None else part.null
            if outer.local.what != "no" and "out" in part.direction:
                part.local = outer.local
            if outer.direction == "ignored":
                part.direction = "ignored"
        return parts

    def add_target(self, scope, part):
        """What a part points at."""
        row, op = part.row, scope.op
        if op is not None and op.call.is_argument(row):
            part.element, part.record, part.direction = op.argument, op, op.direction
        elif row.of is not None:
            part.element = self.find_type(row.of)
        else:
            part.element = part.type if row.trailing else part.type.element
        if part.element is None:
            wrong = (" is no pointer: expected no [COUNT], or of TYPE" if row.of is None else
                     f": of {row.of}: {A_STRUCTURE}, or a scalar as uint32_t")
            return scope.fail(row.place, part.path + wrong)
        part.record = part.record or self.record_of(part.element)
        part.room = scope.count(row.room, row, part.element)
        part.filled = scope.count(row.filled, row, part.element)
        part.second_null = self.value(row.second_null or 0, row)

    def record_of(self, type_):
        """The rows of a structure that is met in buffers; None: its type says all."""
        row = self.record_rows.get(type_.name)
        if row is None or not type_.is_record:
            return None
        self.met.add(row.type)
        if row.type in self.records and self.records[row.type].parts == ():
            return self.fail(row.place, f"{row.type} leads to itself: expected no rows that do")
        if row.type not in self.records:
            self.records[row.type] = record = Record(row, type_)
            scope = Scope(self, row.type, (type_, 0))
            record.parts = self.parts(scope, row.fields)
            record.variants = self.variants(scope, row.fields, record.parts)
        return self.records[row.type]

    def variants(self, scope, cases, parts):
        """What discriminators can say before the call. Cases of flags, and those for all other
        values, tell nothing; with one of those and one other there is always one."""
        firsts = [case.tests[0] for case in cases if case.tests]
        has_rest = any(test.is_not and not test.is_flags for test in firsts)
        outputs = {part.offset for part in parts if part.direction == "out"}
        variants = [tests for case in cases if (tests := scope.tests(case)) and not (
            tests[0].is_flags or tests[0].is_not or tests[0].field.offset in outputs)]
        return [] if has_rest and len(variants) == 1 else variants

    # --- Ops ---

    def op(self, call, row):
        """None: this release has no such op."""
        constant, number = self.op_number(call, row)
        if number is None:
            return None
        op = Op(row, call, number, constant, [self.release.name])
        # Where ops share a structure, `around` is about its fields; else about the registers.
        self.add_argument(op, row.around if call.type else ())
        registers = [each for each in call.register_rows
                     if op.argument or not call.is_argument(each)]
        op.registers = self.parts(Scope(self, op.name, (registers_of(call), 0), op=op),
                                  [written.Case((), registers)], () if call.type else row.around)
        return op

    def op_number(self, call, row):
        if row.number is not None:
            return None if row.number[0].isdigit() else row.number, self.constant(row.number)
        if call.prefix is None:
            return None, 0
        name, constants = call.prefix + row.name, self.constants_of(call.constants)
        found = constants.get(name) or constants.get(name.upper())
        return (found.name, found.value) if found else (None, None)

    def add_argument(self, op, around):
        call, row = op.call, op.row
        if call.type is not None:  # all ops have it; of one alone is a member, u.OP or as it says
            name, own = call.type, row.argument or f"u.{row.name}"
        else:
            name, own = row.argument or (call.arguments or "").replace("*", row.name), None
        argument = op.argument = op.own = self.release.records.get(name)
        if argument is None and (call.type or row.argument):
            return self.fail(row.place, f"{op.name}: {name}: {A_STRUCTURE}")
        if argument is None:
            for each in [*row.buffers, *(each for case in row.fields for each in case.rows)]:
                self.fail(each.place, f"{op.name}: expected no fields, or OP(STRUCTURE)")
            return
        if found := own and locate(argument, own):
            op.own, op.own_offset = found[0].type, found[1]
        elif own and row.argument:
            self.fail(row.place, f"{op.name}: struct {name} has no field {own}: expected one as "
                                 "its argument, or none")
        outer = (argument, 0)
        inner = (op.own, op.own_offset) if op.own.is_record else outer
        scope = Scope(self, op.name, inner, outer)
        shared = self.parts(Scope(self, op.name, outer), call.fields, around)
        op.parts = sorted(shared, key=lambda part: part.offset) + self.parts(scope, row.fields)
        op.variants = self.variants(scope, row.fields, op.parts)
        op.direction = whole_direction(op.parts)
        # What further buffers of a list hold: their rows count in fields of the argument.
        buffers = structure_of("the buffers", [each.field for each in row.buffers], 0)
        op.buffers = self.parts(Scope(self, op.name, (buffers, 0), inner, outer), (), row.buffers)

    def add_shape(self, result):
        """What holds for all ops of a hypercall: where number and version are. They have to be
        found without knowing the version, so all releases have them at one place."""
        call, type_ = result.row, self.release.records.get(result.row.type)
        registers = fields = Scope(self, call.name, (registers_of(call), 0))
        registers.find(call.argument, call.place)
        if call.type is not None:
            if type_ is None:
                return registers.fail(call.place, f"{call.type}: {A_STRUCTURE}")
            if type_.size > MAX_RECORD_SIZE:
                registers.fail(call.place, f"struct {call.type} has {type_.size} bytes: expected "
                                           f"{MAX_RECORD_SIZE} at most, to be looked into")
            fields = Scope(self, call.name, (type_, 0))
        before = result.type and (result.type.size, result.op_field, result.version_field)
        result.type = result.type or type_
        op_scope = registers if call.op_place == "register" else fields
        result.op_field = op_scope.find(call.op, call.place)
        result.version_field = fields.find(call.version_field, call.place)
        if before not in (None, (type_ and type_.size, result.op_field, result.version_field)):
            fields.fail(call.place, f"struct {call.type} has another size, or its op or version "
                                    "elsewhere, than before: expected all releases to have them "
                                    "alike")
        if call.version is not None:
            version = self.constant(call.version)
            result.versions.setdefault(version, []).append(self.release.name)
            if version is None:
                fields.fail(call.place, f"{call.version}: {A_CONSTANT}")


def whole_direction(parts):
    """Of the argument: read when any field is read, written when any is written. A pointer in it is
    read, whatever is done to what it points at."""
    ways = set()
    for part in parts:
        if part.direction != "ignored" and not part.row.trailing:  # that lies behind it
            ways |= {"in"} if part.is_pointer else set(part.direction.split())
    return " ".join(sorted(ways)) or "in"


def resolve(calls, records, releases, errors):
    """The Hypercalls in all releases (ascending), and for each release its Resolver."""
    resolvers = [Resolver(release, releases, records, errors) for release in releases]
    for row in records.values():
        if not any(row.type in release.records for release in releases):
            errors.add(row.place, f"{row.type}: {A_STRUCTURE}")
    table = {}
    for call in calls:
        having = [each for each in resolvers if each.constant(call.number) is not None]
        if not having:
            errors.add(call.place, f"{call.name}: {call.number}: {A_CONSTANT}")
            continue
        number = having[0].constant(call.number)
        if not 0 <= number < HYPERCALLS:
            errors.add(call.place, f"{call.name}: number {number}: expected 0 to {HYPERCALLS - 1}")
        if number in table:
            errors.add(call.place, f"{call.name}: number {number} is {table[number].row.name}'s: "
                                   "expected one of its own")
        result = table[number] = Hypercall(call, number)
        for resolver in having:
            resolver.add_shape(result)
        result.ops = [form for row in call.ops for form in forms(call, row, resolvers, errors)]
        # Numbers that were ops and are none any more, as the newest header tells that says so.
        removed = {each.number: each for release in releases for each in release.removed
                   if call.prefix is not None and each.name.startswith(call.prefix)}
        result.removed = [(number, each.name.removeprefix(call.prefix), each.name, each.words)
                          for number, each in sorted(removed.items())]
    return list(table.values()), resolvers


def forms(call, row, resolvers, errors):
    """The forms that an op has had, one for each run of releases in which it is the same."""
    found, ops = [], [resolver.op(call, row) for resolver in resolvers]
    for _, (op, *others) in itertools.groupby(ops, lambda op: op and op.key()):
        if op is not None:
            found.append(op)
            op.releases += [name for other in others for name in other.releases]
    if not found:
        errors.add(row.place, f"{call.name}.{row.name}: no release has such an op: expected a "
                              f"constant {row.number or call.prefix + row.name}")
    elif resolvers[0].release.name in found[0].releases:
        for op in found[1:]:
            op.base = found[0]
    return found
