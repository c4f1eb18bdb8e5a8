"""From rows as they are written to parts with offsets, in each release.

A field is looked for in the structure that the row is about, then in the one around it. A hypercall
is resolved in every release; an op that comes out the same in several is one form of it.
"""

import dataclasses
import functools

import layout
import rows as written
from rows import Count, Ref

# No record that has to be looked into is larger, in bytes, and none has more parts: the
# freestanding code keeps a copy of one on its stack (op.h).
MAX_RECORD_SIZE = 256
MAX_PARTS = 128
REGISTER_SIZE = 8

A_CONSTANT = "expected a constant of the headers"
A_TYPE = "expected a structure of the headers, or a scalar as uint32_t"


@dataclasses.dataclass
class Part:
    """One field of a record, or a register."""
    path: str
    row: written.Row
    field: object  # layout.Field; None: a register, or a buffer of a list
    offset: int
    size: int
    type: object
    direction: str
    tests: tuple = ()
    element: object = None
    record: object = None  # a Record, or the Op whose argument it points at
    room: Count = Count()
    filled: Count = Count()
    null: str = None
    second_null: int = 0

    @property
    def is_pointer(self):
        return self.element is not None and not self.row.trailing

    def key(self):
        """What makes it this one; of what it points at, only which."""
        if isinstance(self.record, Op):  # what it points at is compared as the op's own
            return (self.path, id(self.row), self.offset, self.room, self.filled)
        record = self.record and self.record.key()
        field = self.field and (self.field.count, self.field.is_array, self.field.bit_width,
                                self.field.bit_offset)
        return (self.path, id(self.row), field, self.offset, self.size, type_key(self.type),
                self.direction, self.tests, self.element and type_key(self.element), record,
                self.room, self.filled)


@dataclasses.dataclass
class Record:
    """A structure that pointers stand in, with its rows."""
    row: written.Record
    type: object
    parts: list
    variants: list

    def key(self):
        return (self.row.type, type_key(self.type), tuple(part.key() for part in self.parts),
                tuple(self.variants))


@dataclasses.dataclass
class Op:
    row: written.Op
    call: written.Hypercall
    number: int
    constant: str
    releases: list  # their names, ascending
    argument: object = None  # its type; None: it has none
    own: object = None
    own_offset: int = 0
    direction: str = "in"
    registers: list = dataclasses.field(default_factory=list)
    parts: list = dataclasses.field(default_factory=list)
    buffers: list = dataclasses.field(default_factory=list)
    variants: list = dataclasses.field(default_factory=list)
    base: object = None  # its form in the base release, where that is another

    @property
    def name(self):
        return f"{self.call.name}.{self.row.name}"

    @property
    def is_stable(self):
        """Its interface version is 0 in every release."""
        return any(row.is_zero and row.field == self.call.version_field
                   for row in self.row.around.rows)

    def moves(self):
        """Where the base release has the fields: runs of bytes that lie alike in both, as [here,
        there, size]; none when all lie where they are."""
        if self.base is None:
            return []
        def name(op, part):  # the own part of a shared structure may have one called as one around
            return part.offset >= op.own_offset, part.path

        places = {name(self.base, part): part for part in self.base.parts}
        runs = []
        for part in sorted(self.parts, key=lambda part: part.offset):
            there = places.get(name(self, part))
            if there is None or there.size != part.size:
                continue
            end = runs[-1][0] + runs[-1][2] if runs else 0
            if runs and part.offset <= end and \
                    part.offset - there.offset == runs[-1][0] - runs[-1][1]:
                runs[-1][2] = max(end, part.offset + part.size) - runs[-1][0]
            elif part.offset >= end:
                runs.append([part.offset, there.offset, part.size])
        return runs if any(here != there for here, there, _ in runs) else []

    def key(self):
        """The structure around the op's own part may differ in what belongs to other ops."""
        own = None
        if self.argument is not None:
            own = (self.argument.size, self.own is self.argument,
                   type_key(self.own) if self.own is not self.argument else None)
        return (self.number, own, self.own_offset, *(
            tuple(part.key() for part in parts)
            for parts in (self.registers, self.parts, self.buffers)), tuple(self.variants))


@dataclasses.dataclass
class Hypercall:
    row: written.Hypercall
    number: int
    type: object = None
    op_field: Ref = Ref()
    version_field: Ref = Ref()
    pointer: int = -1
    versions: dict = dataclasses.field(default_factory=dict)  # interface version: release names
    ops: list = dataclasses.field(default_factory=list)
    removed: list = dataclasses.field(default_factory=list)  # (number, name, constant, words)

    @property
    def op_mask(self):
        """Bits that are the op's number. Of a register that is an int, not all are looked at."""
        mask = self.row.op_mask
        for register in self.row.register_rows.rows:
            if register.field == self.row.op and register.low_bits:
                mask &= (1 << register.low_bits) - 1
        return mask


@functools.lru_cache(maxsize=None)
def type_key(type_):
    """Equal for types of several releases that are laid out the same, under the same names."""
    return (type_.name, type_.kind, type_.size, type_.alignment,
            type_.element and type_key(type_.element), getattr(type_, "is_const", False), tuple(
                (f.name, f.offset, f.size, f.count, f.is_array, f.bit_width, f.bit_offset,
                 type_key(f.type)) for f in type_.fields))


@functools.lru_cache(maxsize=None)
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


@functools.lru_cache(maxsize=None)
def common_member(union):
    """Of a union: the member whose integers include those of all others, so that swapping it swaps
    the union; in an unnamed one of scalars (rax, eax, ax, al) the one that fills it. None: which
    member is meant only the op can say."""
    arms = [(field, units_of(field)) for field in union.fields if union.kind == "union"]
    if any(mine is None for _, mine in arms):
        return None
    for field, mine in arms:
        if all(set(other) <= set(mine) for _, other in arms):
            return field
    is_unnamed = union.name.rpartition(".")[2].startswith("@")
    return next((field for field, mine in arms if is_unnamed and mine == [(0, union.size)]), None)


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


class Scope:
    """Where the paths of some rows are looked for: fields of `type`, which lies `base` bytes into
    the record, then those of `outer`, the record; or registers by their names."""

    def __init__(self, resolver, where, type_=None, base=0, outer=None, registers=()):
        self.resolver, self.where = resolver, where
        self.type, self.base, self.outer, self.registers = type_, base, outer, registers

    def fail(self, place, message):
        self.resolver.fail(place, f"{self.where}: {message}")

    def find(self, path, place):
        if isinstance(path, Ref):
            return path
        if path in self.registers:
            return Ref(self.registers.index(path) * REGISTER_SIZE, REGISTER_SIZE)
        for type_, base in ((self.type, self.base), (self.outer, 0)):
            found = type_ is not None and locate(type_, path)
            if found:
                return Ref(base + found[1], found[0].size)
        of = (f"the registers {', '.join(self.registers)}" if self.type is None else
              f"the fields of struct {self.type.name}")
        self.fail(place, f"there is no {path}: expected one of {of}")
        return Ref()

    def part(self, row):
        field, type_ = None, layout.SCALARS["u64"]
        if self.type is None:
            ref = self.find(row.field, row.place)
        elif found := locate(self.type, row.field):
            field, type_, ref = found[0], found[0].type, Ref(self.base + found[1], found[0].size)
        else:
            self.fail(row.place, f"struct {self.type.name} has no field {row.field}: expected one "
                                 "that it has, or since and until the releases that have it")
            type_, ref = layout.SCALARS["u8"], Ref(0, 1)
        return Part(row.field, row, field, ref.offset, ref.size, type_, row.direction,
                    null=row.null)

    def count(self, count, row, element=None):
        """A list that ends with a zero names a field of its elements."""
        is_inside = count.kind == "until_zero" and element is not None
        scope = Scope(self.resolver, self.where, element) if is_inside else self
        return dataclasses.replace(
            count, a=scope.find(count.a, row.place), b=scope.find(count.b, row.place),
            **{name: self.resolver.value(getattr(count, name), row)
               for name in ("scale", "most", "least")})

    def tests(self, case):
        """None: none of the values exists in this release."""
        tests = []
        for test in case.tests:
            values = {value: self.resolver.constant(value) for value in test.values}
            for value in values:
                if values[value] is None and value not in self.resolver.all_constants:
                    self.resolver.errors.add(case.place, f"{self.where}: {value}: expected a "
                                             "number, or a constant of some release's headers")
            values = tuple(value for value in values.values() if value is not None)
            if not values:
                return None
            field = self.find(test.field, case.place)
            tests.append(dataclasses.replace(test, field=field, values=values))
        return tuple(tests)


class Resolver:
    """All rows in one release."""

    def __init__(self, release, releases, records, errors):
        self.release, self.record_rows, self.errors = release, records, errors
        self.all_releases = [each.name for each in releases]
        self.all_constants = {name for each in releases for name in each.constants}
        self.named, self.numbers, self.records = {}, {}, {}

    def fail(self, place, message):
        self.errors.add(place, message, self.release.name)

    def constant(self, word):
        if word[0].isdigit():
            return int(word, 0)
        found = self.release.constants.get(word)
        return found and found.value

    def constants_of(self, naming):
        """That a row says its values are called by."""
        if naming not in self.named:
            self.named[naming] = [
                each for each in self.release.constants.values()
                if each.name.startswith(naming.prefixes) and naming.scope in (None, each.scope) and
                not (naming.excepted and each.name.startswith(naming.excepted))]
        return self.named[naming]

    def value(self, number, row):
        """A number, a constant, or `sizeof TYPE`."""
        if isinstance(number, int):
            return number
        if number.startswith("sizeof "):
            name = number.removeprefix("sizeof ")
            type_ = self.release.typedefs.get(name) or self.find_type(name)
            if type_ is not None:
                return type_.size
        elif self.constant(number) is not None:
            return self.constant(number)
        self.fail(row.place, f"{row.field}: {number}: expected a field, a constant, or sizeof a "
                             "type of the headers")
        return 0

    def find_type(self, name):
        return (self.release.records.get(name) or layout.SCALARS.get(name) or
                layout.SCALARS.get(layout.C_NAMES.get(name)))

    def op_constants(self, call):
        """By name, the constants that are numbers of its ops."""
        if call.name not in self.numbers:
            self.numbers[call.name] = {
                each.name: each for each in self.release.constants.values()
                if call.prefix and each.name.startswith(call.prefix) and
                (each.scope or None) == call.scope and not each.name.startswith(call.others)}
        return self.numbers[call.name]

    # --- Rows ---

    def add_rows(self, scope, rows, parts):
        for row in rows.rows:
            self.add_row(scope, row, (), parts)
        for case in rows.cases:
            tests = scope.tests(case)
            for row in case.rows if tests is not None else ():
                self.add_row(scope, row, tests, parts)

    def add_row(self, scope, row, tests, parts):
        for name in {row.since, row.until} - {None, *self.all_releases}:
            self.errors.add(row.place, f"{scope.where}: {row.field}: {name}: expected one of the "
                                       f"releases {', '.join(self.all_releases)}")
        if not row.holds_in(self.release.name):
            return
        part = scope.part(row)
        part.tests = tests
        has_count = row.room.kind != "none"
        if part.type.is_record and not has_count and part.type.name in self.record_rows:
            return self.add_embedded(scope, part, parts)
        parts.append(part)
        ignored = part.direction == "ignored"
        if not has_count:
            if part.type.kind == "handle" and not ignored:
                scope.fail(row.place, f"{part.path} is a pointer: expected [COUNT] behind "
                                      f"{row.direction}")
            elif not is_plain(part.type) and not ignored:
                scope.fail(row.place, f"{part.path} holds a pointer, or a union of unlike members: "
                                      "expected a row for each of its fields")
            return
        part.element = (self.find_type(row.of) if row.of is not None else
                        part.type if row.trailing else part.type.element)
        if part.element is None:
            scope.fail(row.place, f"{part.path} is no pointer: expected no [COUNT]"
                       if row.of is None else f"{part.path}: of {row.of}: {A_TYPE}")
            return
        part.record = self.record_of(part.element)
        part.room = scope.count(row.room, row, part.element)
        part.filled = scope.count(row.filled, row)
        part.second_null = self.value(row.second_null or 0, row)

    def add_embedded(self, scope, outer, parts):
        """The rows of a structure with pointers that stands in another one: a bitmap, a name."""
        inside = []
        inner = Scope(self, f"{scope.where}: {outer.path}", outer.type, outer.offset)
        self.add_rows(inner, self.record_rows[outer.type.name].fields, inside)
        for part in inside:
            part.path = f"{outer.path}.{part.path}"
            if part.is_pointer:
                part.direction = outer.direction
                part.null = outer.null if outer.null is not None else part.null
            if outer.direction == "ignored":
                part.direction = "ignored"
            part.tests = outer.tests
            parts.append(part)

    def record_of(self, type_):
        """The rows of a structure that is met in buffers; None: its type says all."""
        row = self.record_rows.get(type_.name)
        if row is None or not type_.is_record:
            return None
        if row.type not in self.records:
            parts = []
            scope = Scope(self, row.type, type_)
            self.records[row.type] = record = Record(row, type_, parts, [])
            self.add_rows(scope, row.fields, parts)
            record.variants = self.variants(scope, row.fields, parts)
        return self.records[row.type]

    def variants(self, scope, rows, parts):
        """What discriminators can say before the call. Cases of flags, and those for all other
        values, tell nothing; with one of those and one other there is always one."""
        variants = []
        for case in rows.cases:
            tests = scope.tests(case)
            if tests is not None and not tests[0].is_flags and not tests[0].is_not and all(
                    part.offset != tests[0].field.offset or part.direction != "out"
                    for part in parts):
                variants.append(tests)
        has_rest = any(case.tests[0].is_not and not case.tests[0].is_flags for case in rows.cases)
        return [] if has_rest and len(variants) == 1 else variants

    # --- Ops ---

    def op(self, call, row):
        """None: this release has no such op."""
        constant, number = self.op_number(call, row)
        if number is None:
            return None
        op = Op(row, call, number, constant, [self.release.name])
        self.add_argument(op)
        self.add_registers(op)
        self.add_buffers(op)
        return op

    def op_number(self, call, row):
        if row.number is not None:
            return None if row.number[0].isdigit() else row.number, self.constant(row.number)
        if call.prefix is None:
            return None, 0
        wanted, constants = call.prefix + row.name, self.op_constants(call)
        found = constants.get(wanted) or constants.get(wanted.upper())
        return (found.name, found.value) if found else (None, None)

    def add_argument(self, op):
        call, row = op.call, op.row
        own = self.own_argument(call, row)
        name = call.type or own
        if name is None:
            for each in row.fields.rows + row.fields.cases:
                self.fail(each.place, f"{op.name}: expected no fields, or OP(STRUCTURE)")
            return
        op.argument = self.release.records.get(name)
        if op.argument is None:
            return self.fail(row.place, f"{op.name}: {name}: expected a structure of the headers")
        op.own = op.argument
        if call.type and own:
            found = locate(op.argument, own)
            if not found:
                return self.fail(row.place, f"{op.name}: struct {name} has no field {own}: "
                                            "expected one as its argument, or none")
            op.own, op.own_offset = found[0].type, found[1]
        if call.type:
            outer = Scope(self, op.name, op.argument)
            for each in call.fields.behind(row.around):
                self.add_row(outer, each, (), op.parts)
            op.parts.sort(key=lambda part: part.offset)
        if op.own.is_record:
            own = Scope(self, op.name, op.own, op.own_offset, op.argument)
            self.add_rows(own, row.fields, op.parts)
            op.variants = self.variants(own, row.fields, op.parts)
        else:
            self.add_rows(Scope(self, op.name, op.argument), row.fields, op.parts)
        op.direction = whole_direction(op.parts)

    def own_argument(self, call, row):
        """What belongs to the op alone: a member of the shared structure, u.OP unless it is said,
        or a structure called as the hypercall's are. None: there is none."""
        if row.argument is not None:
            return row.argument
        if call.type is not None:
            shared = self.release.records.get(call.type)
            return f"u.{row.name}" if shared and locate(shared, f"u.{row.name}") else None
        name = call.arguments and call.arguments.replace("*", row.name)
        return name if name in self.release.records else None

    def add_registers(self, op):
        scope = Scope(self, op.name, registers=op.call.registers)
        # Where ops share a structure, `around` is about its fields; else about the registers.
        around = written.Rows() if op.call.type else op.row.around
        for row in op.call.register_rows.behind(around):
            self.add_register(scope, row, op)

    def add_register(self, scope, row, op):
        call = op.call
        if call.op_place == "first buffer" or row.field != call.argument or row.of is not None:
            return self.add_row(scope, row, (), op.registers)
        if op.argument is None:
            return  # this op has none
        part = scope.part(row)
        part.element, part.record, part.direction = op.argument, op, op.direction
        part.room = scope.count(row.room, row, part.element)
        part.filled = scope.count(row.filled, row)
        op.registers.append(part)

    def add_buffers(self, op):
        """What further buffers of a list hold: their rows count in fields of the argument."""
        if not op.row.buffers.rows or op.own is None:
            return
        scope = Scope(self, op.name, op.own, op.own_offset, op.argument)
        for row in op.row.buffers.rows:
            element = self.find_type(row.of) if row.of is not None else layout.SCALARS["void"]
            if element is None:
                scope.fail(row.place, f"{row.field}: of {row.of}: {A_TYPE}")
                continue
            op.buffers.append(Part(row.field, row, None, 0, 0, layout.SCALARS["u64"], row.direction,
                                   element=element, null=row.null,
                                   room=scope.count(row.room, row),
                                   filled=scope.count(row.filled, row)))


def whole_direction(parts):
    """Of the argument: read when any field is read, written when any is written. A pointer in it is
    read, whatever is done to what it points at."""
    ways = set()
    for part in parts:
        if not part.row.trailing:  # that lies behind it
            is_read = part.is_pointer and part.direction != "ignored"
            ways |= {"in"} if is_read else set(part.direction.split()) - {"ignored"}
    return "in out" if len(ways) == 2 else "out" if ways == {"out"} else "in"


def resolve_shape(call, resolver, result):
    """What holds for all ops of a hypercall: where number and version are. They have to be found
    without knowing the version, so all releases have them at one place."""
    registers = Scope(resolver, call.name, registers=call.registers)
    if call.argument is not None:
        result.pointer = registers.find(call.argument, call.place).offset // REGISTER_SIZE
    if call.op_place == "register":
        result.op_field = registers.find(call.op, call.place)
    if call.type is None:
        return
    type_ = resolver.release.records.get(call.type)
    fields = Scope(resolver, call.name, type_)
    if type_ is None:
        return fields.fail(call.place, f"{call.type}: expected a structure of the headers")
    if type_.size > MAX_RECORD_SIZE:
        fields.fail(call.place, f"struct {call.type} has {type_.size} bytes: expected "
                                f"{MAX_RECORD_SIZE} at most, to be looked into")
    op_field, version_field = (
        result.op_field if call.op_place == "register" else fields.find(call.op, call.place),
        fields.find(call.version_field or Ref(), call.place))
    if result.type is not None and (type_.size, op_field, version_field) != (
            result.type.size, result.op_field, result.version_field):
        fields.fail(call.place, f"struct {call.type} has another size, or its op or version "
                                "elsewhere, than before: expected all releases to have them alike")
    result.type, result.op_field, result.version_field = (result.type or type_, op_field,
                                                          version_field)


def resolve(calls, records, releases, errors):
    """The Hypercalls in all releases (ascending), and for each release its Resolver."""
    resolvers = [Resolver(release, releases, records, errors) for release in releases]
    for row in records.values():
        if not any(row.type in release.records for release in releases):
            errors.add(row.place, f"{row.type}: expected a structure of the headers")
    table = {}
    for call in calls:
        number = next((n for r in resolvers if (n := r.constant(call.number)) is not None), None)
        if number is None:
            errors.add(call.place, f"{call.name}: {call.number}: {A_CONSTANT}")
            continue
        if number in table:
            errors.add(call.place, f"{call.name}: number {number} is {table[number].row.name}'s: "
                                   "expected one of its own")
        result = table[number] = Hypercall(call, number)
        for resolver in resolvers:
            if resolver.constant(call.number) is None:
                continue
            resolve_shape(call, resolver, result)
            if call.version is not None:
                version = resolver.constant(call.version)
                result.versions.setdefault(version, []).append(resolver.release.name)
                if version is None:
                    resolver.fail(call.place, f"{call.name}: {call.version}: {A_CONSTANT}")
        for row in call.ops:
            result.ops += forms(call, row, resolvers, errors)
        result.removed = removed_ops(call, resolvers)
    return list(table.values()), resolvers


def forms(call, row, resolvers, errors):
    """The forms that an op has had, one for each run of releases in which it is the same."""
    found = []
    before = None
    for resolver in resolvers:
        op = resolver.op(call, row)
        key = op and op.key()
        if op is not None and key == before:
            found[-1].releases.append(resolver.release.name)
        elif op is not None:
            found.append(op)
            if resolvers[0].release.name in found[0].releases and op is not found[0]:
                op.base = found[0]
        before = key
    if not found:
        errors.add(row.place, f"{call.name}.{row.name}: no release has such an op: expected a "
                              f"constant {row.number or call.prefix + row.name}")
    return found


def removed_ops(call, resolvers):
    """Numbers that were ops and are none any more, as the newest header tells that says so."""
    removed = {each.number: (each.number, each.name.removeprefix(call.prefix or ""), each.name,
                             each.words)
               for resolver in resolvers for each in resolver.release.removed
               if call.prefix is not None and each.name.startswith(call.prefix)}
    return [removed[number] for number in sorted(removed)]
