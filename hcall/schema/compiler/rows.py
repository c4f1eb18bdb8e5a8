"""Rows: what no compiler can know of a hypercall's fields, read from rows/*.yaml.

CONTRIBUTING.md tells the form of the files ("Write a row"). Here they become objects with the place
that each was written at; names of fields and constants are still words, to be looked up in a
release.
"""

import dataclasses
import re

import yaml


class Errors:
    """All that is wrong, so that one run shows it all: once, with the releases that it is in."""

    def __init__(self):
        self.found = {}

    def add(self, place, message, release=None):
        self.found.setdefault(f"{place}: {message}", {})[release] = True

    @property
    def messages(self):
        return [text + (f" (in {', '.join(releases)})" if None not in releases else "")
                for text, releases in self.found.items()]


@dataclasses.dataclass(frozen=True)
class Ref:
    """Where a field is in a record; size 0: none."""
    offset: int = 0
    size: int = 0


@dataclasses.dataclass(frozen=True)
class Count:
    """How many elements. In the words of the row at first: `a` and `b` are names of fields, then
    Refs; `scale` and the bounds are numbers or words for them, then numbers."""
    kind: str = "none"
    a: object = Ref()
    b: object = Ref()
    scale: object = 1
    per: int = 1
    at: int = 0
    most: object = 0
    least: object = 0
    more: int = 0


@dataclasses.dataclass(frozen=True)
class Test:
    """A field has one of the values; or, of flags, one of the bits of the only value. As of a
    count, words at first."""
    field: object
    values: tuple
    is_flags: bool
    is_not: bool

    def holds(self, value):
        inside = (value & self.values[0]) != 0 if self.is_flags else value in self.values
        return inside != self.is_not


@dataclasses.dataclass(frozen=True)
class Naming:
    kind: str  # "enum" or "flags"
    prefixes: tuple
    scope: str
    excepted: str


@dataclasses.dataclass
class Row:
    field: str
    place: str
    direction: str = "ignored"  # in, out, in out, ignored
    phase: str = "both"
    room: Count = Count()
    filled: Count = Count()
    null: str = None
    note: str = None
    of: str = None
    overlays: str = None
    naming: Naming = None
    is_zero: bool = False
    until_replaced: bool = False
    trailing: bool = False
    address_bits: int = None
    second_null: str = None
    low_bits: int = None
    since: str = None
    until: str = None

    def holds_in(self, release):
        return version_key(self.since or release) <= version_key(release) <= \
            version_key(self.until or release)


@dataclasses.dataclass
class Case:
    tests: list
    rows: list
    place: str


@dataclasses.dataclass
class Rows:
    """The rows of one structure, and its cases."""
    rows: list = dataclasses.field(default_factory=list)
    cases: list = dataclasses.field(default_factory=list)

    def behind(self, around):
        """The rows around, then those of these that they do not replace."""
        replaced = {row.field for row in around.rows}
        return [*around.rows, *(row for row in self.rows if row.field not in replaced)]


@dataclasses.dataclass
class Op:
    name: str
    place: str
    about: str = ""
    number: str = None
    argument: str = None
    returns: str = None
    like: str = None  # the op that it is like in all that it does not say
    around: Rows = dataclasses.field(default_factory=Rows)
    fields: Rows = dataclasses.field(default_factory=Rows)
    buffers: Rows = dataclasses.field(default_factory=Rows)


@dataclasses.dataclass
class Hypercall:
    name: str
    place: str
    about: str = ""
    number: str = None
    registers: list = dataclasses.field(default_factory=list)  # names, in order
    register_rows: Rows = dataclasses.field(default_factory=Rows)
    op: str = None
    op_place: str = "none"
    op_mask: int = None
    argument: str = None
    arguments: str = None  # how the structures of its ops are called, with * for the op
    type: str = None
    fields: Rows = dataclasses.field(default_factory=Rows)
    version_field: str = None
    version: str = None
    holds_calls: bool = False
    prefix: str = None  # of the constants that are numbers of its ops
    scope: str = None
    others: tuple = ()
    returns: str = None  # of one without ops
    ops: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Record:
    type: str
    place: str
    about: str = ""
    fields: Rows = dataclasses.field(default_factory=Rows)


def version_key(release):
    return tuple(int(part) for part in release.split("."))


# --- A field's line -------------------------------------------------------------------------------

NAME = r"[A-Za-z_][\w.]*"
CONSTANT = r"[A-Z_][A-Z0-9_]{2,}"
NUMBER = r"(?:0x[0-9a-fA-F]+|\d+)"
CLAUSE = re.compile(r"""\s*,\s*(?:
    filled\s+(?:\[(?P<filled>[^]]*)\]|(?P<filled_field>[A-Za-z_][\w.]*))
  | null\s+"(?P<null>[^"]*)"
  | of\s+(?P<of>\w+)
  | (?P<until_replaced>until\ replaced)
  | (?P<trailing>trailing)
  | (?P<naming>enum|flags)\s+(?P<prefixes>\w+(?:\s+(?!in\b|except\b)\w+)*)
    (?:\s+in\s+(?P<scope>\w+))?(?:\s+except\s+(?P<excepted>\w+))?
  | address\s+bits\s+(?P<address_bits>0x[0-9a-fA-F]+)
  | second\s+null\s+(?P<second_null>\w+)
  | low\s+bits\s+(?P<low_bits>\d+)
  | since\s+(?P<since>\d+\.\d+)
  | until\s+(?P<until>\d+\.\d+)
)""", re.VERBOSE)
DIRECTION = re.compile(rf"(in out|in|out|ignored|zero|value|as (?P<overlays>{NAME}))"
                       r"(?:\s*\[(?P<room>[^]]*)\])?")
DIRECTIONS = "in, out, in out, ignored, zero, value or as FIELD"
CLAUSES = ("filled COUNT, null \"WORDS\", of TYPE, until replaced, trailing, enum or flags PREFIX, "
           "address bits, second null, low bits, since or until RELEASE")


def number(text):
    return int(text, 0)


def parse_count(text):
    """The words between brackets; None when they are none."""
    first, *clauses = [part.strip() for part in text.split(",")]
    bounds = [re.fullmatch(r"(?:at (most|least)|and) (\w+)(?: more)?", each) for each in clauses]
    for pattern, make in COUNTS:
        found = re.fullmatch(pattern, first)
        if found and None not in bounds:
            return dataclasses.replace(make(*found.groups()), **{
                bound[1] or "more": number(bound[2]) if bound[2][0].isdigit() else bound[2]
                for bound in bounds})
    return None


COUNT_WORDS = ("a number, CONSTANT, sizeof TYPE, FIELD, A * B, FIELD / N, bits FIELD, A .. B, "
               "text, returned, vcpu bits, until zero FIELD or inside AT:WIDTH, with at most, at "
               "least or and N more")
COUNTS = (
    ("text", lambda: Count("text")),
    ("returned", lambda: Count("returned")),
    ("vcpu bits", lambda: Count("vcpus")),
    (rf"until zero ({NAME})", lambda a: Count("until_zero", a=a)),
    (r"inside (\d+):(\d+)(?: \+ (\d+))?",
     lambda at, width, besides: Count("inside", at=int(at), per=int(width),
                                      scale=int(besides or 0))),
    (rf"bits ({NAME})", lambda a: Count("number", a=a, per=8)),
    (rf"({NAME}) \.\. ({NAME})", lambda a, b: Count("range", a=a, b=b)),
    (rf"({NUMBER})", lambda n: Count("number", scale=number(n))),
    (rf"({CONSTANT}|sizeof \w+)", lambda name: Count("number", scale=name)),
    (rf"({NAME}) / (\d+)", lambda a, n: Count("number", a=a, per=int(n))),
    (rf"(\d+|{CONSTANT}) \* ({NAME})",
     lambda n, a: Count("number", a=a, scale=int(n) if n.isdigit() else n)),
    (rf"({NAME}) \* ({NAME})", lambda a, b: Count("number", a=a, b=b)),
    (rf"({NAME})", lambda a: Count("number", a=a)),
)


def parse_row(field, text, place, errors, others=()):
    """A Row; None after an error, or of a register that only holds a number. `others` are what the
    name may be beside a field's."""
    words, _, note = text.partition(" -- ")
    found = DIRECTION.match(words)
    if not found or not re.match(r"\s*(,|$)", words[found.end():]):
        beside = f"; or before the colon {', '.join(others)}" if others else ""
        errors.add(place, f"{field}: '{words}': expected {DIRECTIONS}, then [COUNT]{beside}")
        return None
    direction = found[1]
    if direction == "value":
        return None
    row = Row(field, place, note=note or None, overlays=found["overlays"])
    phase = re.fullmatch(r"(.*) \((before|after)\)", field)
    if phase:
        row.field, row.phase = phase.groups()
    if direction == "zero":
        direction, row.is_zero, row.note = "in", True, row.note or "must be zero"
    row.direction = "ignored" if row.overlays else direction

    def count(text):
        result = parse_count(text)
        if result is None:
            errors.add(place, f"{field}: [{text}]: expected {COUNT_WORDS}")
        return result or Count()

    if found["room"] is not None:
        row.room = count(found["room"])
    position = found.end()
    while words[position:].strip():
        clause = CLAUSE.match(words, position)
        if not clause or not re.match(r"\s*(,|$)", words[clause.end():]):
            errors.add(place, f"{field}: '{words[position:].strip(' ,')}': expected {CLAUSES}")
            return None
        position = clause.end()
        if clause["filled"] or clause["filled_field"]:
            row.filled = count(clause["filled"] or clause["filled_field"])
        elif clause["naming"]:
            row.naming = Naming(clause["naming"], tuple(clause["prefixes"].split()),
                                clause["scope"], clause["excepted"])
        for name, value in clause.groupdict().items():
            if value is not None and name in CLAUSE_VALUES:
                setattr(row, name, CLAUSE_VALUES[name](value))
    if row.since and row.until and version_key(row.since) > version_key(row.until):
        errors.add(place, f"{field}: since {row.since}, until {row.until}: expected an earlier "
                          "release, then a later one")
    return row


CLAUSE_VALUES = {"null": str, "of": str, "second_null": str, "since": str, "until": str,
                 "until_replaced": bool, "trailing": bool, "address_bits": number, "low_bits": int}


def parse_condition(text, place, errors):
    """Tests of 'when op is A or B and kind is not C'."""
    tests = []
    for part in text.split(" and "):
        found = re.fullmatch(rf"({NAME}) (is|has)( not)? (\w+(?: or \w+)*)", part.strip())
        if not found:
            errors.add(place, f"when '{part.strip()}': expected FIELD is VALUE or VALUE …, FIELD "
                              "is not VALUE, FIELD has FLAG or FIELD has not FLAG")
            return None
        tests.append(Test(found[1], tuple(found[4].split(" or ")), found[2] == "has",
                          found[3] is not None))
    if len(tests) > 2:
        errors.add(place, f"when '{text}': expected at most two tests joined by 'and'")
        return None
    return tests


# --- The files ------------------------------------------------------------------------------------


class File:
    """One file's YAML, with the line of everything in it."""

    def __init__(self, path, errors):
        self.path, self.errors = path, errors

    def place(self, node):
        return f"{self.path.name}:{node.start_mark.line + 1}"

    def load(self):
        try:
            root = yaml.compose(self.path.read_text(), Loader=yaml.CSafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", error)
            self.errors.add(f"{self.path.name}:{mark.line + 1 if mark else 1}",
                            f"{problem}: expected YAML")
            return []
        return self.items(root)

    def items(self, node):
        """(key, node of the value) pairs of a mapping, each key once."""
        if isinstance(node, yaml.ScalarNode) and node.value == "":
            return []
        if not isinstance(node, yaml.MappingNode):
            self.errors.add(self.place(node), "expected a mapping: NAME: …")
            return []
        pairs = {}
        for key, value in node.value:
            name = self.text(key)
            if name in pairs:
                self.errors.add(self.place(key), f"{name} is there twice: expected each name once")
            value.start_mark = key.start_mark  # what is wrong is told at the name
            pairs.setdefault(name, value)
        return pairs.items()

    def text(self, node):
        if not isinstance(node, yaml.ScalarNode):
            self.errors.add(self.place(node), "expected a text")
            return ""
        return node.value

    def matched(self, pattern, expected):
        """Reads a text of a form: its one group, or all."""
        def read(node):
            found = re.fullmatch(pattern, self.text(node))
            if not found:
                self.errors.add(self.place(node), f"'{self.text(node)}': expected {expected}")
                return None
            return found[1] if found.re.groups == 1 else found.groups()
        return read

    def rows(self, node, others=(), around=None):
        """`others` are keys that are no rows. What begins with around is a row of those."""
        rows = Rows()
        for key, value in self.items(node):
            if key in others:
                continue
            is_around = around is not None and key.startswith("around ")
            target, key = (around, key[len("around "):]) if is_around else (rows, key)
            if key.startswith("when "):
                tests = parse_condition(key[len("when "):], self.place(value), self.errors)
                inner = self.rows(value)
                if inner.cases:
                    self.errors.add(self.place(value), f"'{key}' has cases: expected fields alone")
                if tests is not None:
                    rows.cases.append(Case(tests, inner.rows, self.place(value)))
                continue
            text = self.text(value)
            for field in re.sub(r" (?=\()", "\0", key).split():  # several: each has this row
                row = parse_row(field.replace("\0", " "), text, self.place(value), self.errors,
                                others)
                if row is not None:
                    target.rows.append(row)
        return rows

    def read(self, target, node, readers):
        """Sets attributes of `target` by the keys of a mapping that have a reader."""
        for key, value in self.items(node):
            if key in readers:
                name, reader = readers[key]
                setattr(target, name, reader(value))

    def hypercall(self, name, node):
        call = Hypercall(name, self.place(node))
        readers = {key: (key, self.text) for key in ("about", "number", "argument", "type",
                                                     "arguments", "returns")}
        readers |= {
            "registers": ("register_rows", self.rows), "fields": ("fields", self.rows),
            "ops": ("ops", self.ops),
            "op": ("op", self.matched(rf"({NAME}) in (register|argument|first buffer)",
                                      "FIELD in register, argument or first buffer")),
            "op mask": ("op_mask", self.matched(f"({NUMBER})", "a number")),
            "version": ("version", self.matched(rf"({NAME}) is (\w+)", "FIELD is CONSTANT")),
            "holds calls": ("holds_calls", self.matched("(yes)", "yes, or nothing")),
            "constants": ("prefix", self.matched(r"(\w+)(?: in (\w+))?(?: except ([\w ]+))?",
                                                 "PREFIX, in SCOPE, except PREFIX …"))}
        self.read(call, node, readers)
        for key, value in self.items(node):
            if key not in readers:
                self.errors.add(self.place(value), f"{key}: expected what a hypercall has, one of "
                                                   f"{', '.join(readers)}")
            elif key == "registers":
                call.registers = [name for key, _ in self.items(value) for name in key.split()]
        call.holds_calls = call.holds_calls == "yes"
        call.number = call.number or f"__HYPERVISOR_{name}"
        call.op_mask = number(call.op_mask or "0xffffffffffffffff")
        call.version_field, call.version = call.version or (None, None)
        call.prefix, call.scope, others = call.prefix or (None, None, None)
        call.others = tuple((others or "").split())
        call.op, call.op_place = call.op or (None, "none")
        if call.op is None:  # it is its one op
            call.ops = [Op(name, call.place, call.about, argument=call.type, returns=call.returns,
                           fields=call.fields)]
            call.type, call.fields = None, Rows()
        return call

    def ops(self, node):
        """Of OP or OP(ARGUMENT), or several of those, that have the same to say."""
        ops = []
        for key, value in self.items(node):
            for each in key.split():
                name, argument = re.fullmatch(r"([^(]*)(?:\((.+)\))?", each).groups()
                ops.append(self.op(name, argument, value))
        return ops

    def op(self, name, argument, node):
        op = Op(name, self.place(node), argument=argument)
        if isinstance(node, yaml.ScalarNode):
            op.about = node.value
            return op
        readers = {key: (key, self.text) for key in ("about", "number", "returns", "like")}
        readers["buffers"] = ("buffers", self.rows)
        self.read(op, node, readers)
        op.fields = self.rows(node, [*readers, "around FIELD"], op.around)
        return op

    def record(self, name, node):
        record = Record(name, self.place(node))
        readers = {"about": ("about", self.text)}
        self.read(record, node, readers)
        record.fields = self.rows(node, readers)
        return record


def load(folder, errors):
    """The hypercalls and the records by their types, of all files of a folder."""
    calls, records = [], {}
    for path in sorted(folder.glob("*.yaml")):
        file = File(path, errors)
        for name, node in file.load():
            if path.name == "records.yaml":
                records[name] = file.record(name, node)
            else:
                calls.append(file.hypercall(name, node))
    if not calls:
        errors.add(folder, "no rows: expected files NAME.yaml")
    ops = {f"{call.name}.{op.name}": (call, op) for call in calls for op in call.ops}
    for call, op in ops.values():
        if op.like is not None:
            be_like(call, op, ops, errors)
    return calls, records


def be_like(call, op, ops, errors):
    """Gives an op what it does not say itself and the op that it is like does."""
    names = (op.like, f"{call.name}.{op.like}", f"{op.like}.{op.name}")
    other_call, other = next((ops[name] for name in names if name in ops), (None, None))
    if other is None or other.like is not None:
        errors.add(op.place, f"{op.name}: like {op.like}: expected an op with fields of its own, "
                             "as HYPERCALL.OP or OP, or the hypercall that has it")
        return
    op.about = op.about or other.about
    op.returns = op.returns or other.returns
    op.around = op.around if op.around.rows else other.around
    # Of a field that both have, its own row in the other's place; what only it has comes first.
    order = {row.field: i for i, row in enumerate(other.fields.rows)}
    op.fields.rows = sorted(other.fields.behind(op.fields),
                            key=lambda row: order.get(row.field, -1))
    op.fields.cases = op.fields.cases or other.fields.cases
    if call is other_call:
        op.argument = op.argument or other.argument
    elif call.prefix is None:
        op.number = op.number or other.number or f"{other_call.prefix}{other.name}"
