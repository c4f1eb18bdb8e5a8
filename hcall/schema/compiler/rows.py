"""Rows: what no compiler can know of a hypercall's fields, read from rows/*.yaml.

CONTRIBUTING.md tells the form of the files ("Write a row"). Here they become objects with the place
that each was written at; names of fields and constants are still words, to be looked up in a
release.
"""

import contextlib
import re
from dataclasses import dataclass, replace

import yaml

MAX_REGISTERS = 6  # op.h


class Errors:
    """All that a step finds wrong, each once, with the releases that it is in."""

    def __init__(self):
        self.found = {}

    def add(self, place, message, release=None):
        self.found.setdefault(f"{place}: {message}", {})[release] = True

    @property
    def messages(self):
        return [text + (f" (in {', '.join(releases)})" if None not in releases else "")
                for text, releases in self.found.items()]


class Wrong(Exception):
    """What is wrong with some words, and what was expected."""


@dataclass(frozen=True)
class Ref:
    """Where a field is in a record; size 0: none."""
    offset: int = 0
    size: int = 0


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Test:
    """A field has one of the values; or, of flags, one of the bits of the only value. As of a
    count, words at first."""
    field: object
    values: tuple
    is_flags: bool
    is_not: bool


@dataclass(frozen=True)
class Naming:
    """Which constants are meant."""
    kind: str  # enum or flags; ops: of a hypercall
    prefixes: tuple
    scope: str  # the structure in whose braces they stand; "": in none, None: in any or none
    excepted: str  # prefixes of those that are not


@dataclass(frozen=True)
class Local:
    """Why a value of one machine is not another's."""
    what: str = "no"  # LOCALS; machine: what the machine is, or has come to
    is_made: bool = False  # the call gives the thing its number
    is_or_next: bool = False  # it names the first one from there on
    bits: object = ()  # of the machine's flags: words, then a mask; none: all


@dataclass
class Row:
    field: str
    place: str
    direction: str  # in, out, in out, ignored, value
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
    local: Local = Local()
    since: str = None
    until: str = None


@dataclass
class Case:
    """Rows, and the tests that have to hold; those that always hold have none."""
    tests: tuple
    rows: list
    place: str = None


@dataclass
class Entry:
    """What has a name in a file, and rows."""
    name: str
    place: str
    about: str = ""
    fields: list = ()  # Cases


@dataclass
class Record(Entry):
    """A structure that pointers stand in."""

    @property
    def type(self):
        return self.name


@dataclass
class Op(Entry):
    number: str = None
    argument: str = None
    returns: object = None  # what is said of it, and its Local
    like: str = None  # the op that it is like in all that it does not say
    around: list = ()
    buffers: list = ()


@dataclass
class Hypercall(Entry):
    number: str = None
    registers: list = ()  # names, in order
    register_rows: list = ()
    op: str = None
    op_place: str = "none"
    op_mask: int = 2**64 - 1
    argument: str = None
    arguments: str = None  # how the structures of its ops are called, with * for the op
    type: str = None
    version_field: str = None
    version: str = None
    holds_calls: bool = False
    constants: Naming = None  # that are numbers of its ops
    returns: object = None  # of one without ops
    ops: list = ()

    def is_argument(self, row):
        """Whether a register leads to the structure that ops are about."""
        return row.field == self.argument and row.of is None and self.op_place != "first buffer"

    @property
    def prefix(self):
        return self.constants and self.constants.prefixes[0]


def version_key(release):
    return tuple(int(part) for part in release.split("."))


# --- Words ----------------------------------------------------------------------------------------


def fitting(forms, text, expected):
    """Of tuples that begin with a pattern the first that fits: the match, and what is behind."""
    for pattern, *rest in forms:
        if found := re.fullmatch(pattern, text):
            return found, *rest
    raise Wrong(f"'{text}': expected {expected}")


def matched(pattern, text, expected):
    return fitting([(pattern,)], text, expected)[0]


def number(text):
    """Of a text that is one, as NUMBER says."""
    if int(text, 0) >= 2**64:
        raise Wrong(f"{text}: expected a number of at most 64 bits")
    return int(text, 0)


NAME = r"[A-Za-z_][\w.]*"
NUMBER = r"(?:0x[0-9a-fA-F]+|0|[1-9][0-9]*)"
VALUE = rf"(?:{NUMBER}|[A-Za-z_]\w*)"  # a number or a constant

BOUND = rf"at (most|least) ({VALUE})|and ({VALUE}) more"
COUNT_WORDS = ("a number, CONSTANT, sizeof TYPE, FIELD, A * B, FIELD / N, bits FIELD, A .. B, "
               "text, returned, vcpu bits, until zero FIELD or inside AT:WIDTH, with at most, at "
               "least or and N more")
A, B = rf"(?P<a>{NAME})", rf"(?P<b>{NAME})"
SCALE = rf"(?P<scale>{NUMBER}|[A-Z_][A-Z0-9_]{{2,}}|sizeof \w+)"
PER, INSIDE = r"(?P<per>[1-9][0-9]*)", rf"inside (?P<at>{NUMBER}):(?P<per>[1248])"
COUNTS = (
    ("text", Count("text")),
    ("returned", Count("returned")),
    ("vcpu bits", Count("vcpus")),
    (f"until zero {A}", Count("until_zero")),
    (INSIDE, Count("inside", scale=0)),
    (rf"{INSIDE} \+ {SCALE}", Count("inside")),
    (f"bits {A}", Count("number", per=8)),
    (rf"{A} \.\. {B}", Count("range")),
    (SCALE, Count("number")),
    (f"{A} / {PER}", Count("number")),
    (rf"{SCALE} \* {A}", Count("number")),
    (rf"{A} \* {B}", Count("number")),
    (A, Count("number")),
)


def parse_count(text):
    first, *bounds = text.removeprefix("[").removesuffix("]").split(", ")
    found, count = fitting(COUNTS, first, COUNT_WORDS)
    values = found.groupdict()
    for bound in bounds:
        kind, most, more = matched(BOUND, bound, COUNT_WORDS).groups()
        if (kind or "more") in values:
            raise Wrong(f"{bound}: expected each bound once")
        values[kind or "more"] = most or more
    return replace(count, **{name: number(words) if re.fullmatch(NUMBER, words) else words
                             for name, words in values.items()})


def parse_naming(kind, prefixes, scope, excepted):
    return Naming(kind, tuple(prefixes.split()), scope, excepted)


def parse_local(verb, what, or_next=None, bits=None):
    if what:
        return Local(what, verb == "makes", or_next is not None)
    return Local("machine", bits=tuple(bits.split(" or ")) if bits else ())


# What a number is the name of, on one machine; words.h.
LOCALS = "domain|frame|address|port|own port|handle|cpupool|pirq|server|view"
LOCAL = rf"(?:the machine's|(names|makes) ({LOCALS})( or the next)?)"


def parse_returns(text):
    """Of an op's result."""
    found = re.fullmatch(rf"(?:{LOCAL} -- )?(.*)", text, re.DOTALL)
    is_local = text.startswith("the machine's -- ") or found[2]
    return found[4], parse_local(found[1], found[2]) if is_local else Local()


# What is between commas, if not in quotes or brackets.
PARTS = re.compile(r'(?:^|,)((?:"[^"]*"|\[[^]]*\]|[^,])*)')
DIRECTION = rf"(in out|in|out|ignored|zero|value|as ({NAME}))(?: (\[.*\]))?"
DIRECTIONS = ("in, out, in out, ignored, zero, value or as FIELD, then [COUNT]; or before the "
              "colon about, number, returns, like, buffers or around FIELD of an op")
CLAUSES = (
    (rf"filled (\[.*\]|{NAME})", "filled", parse_count),
    (r'null "(.*)"', "null", str),
    (r"of (\w+)", "of", str),
    ("(until replaced)", "until_replaced", bool),
    ("(trailing)", "trailing", bool),
    (r"(enum|flags) ([\w ]+?)(?: in (\w+))?(?: except (\w+))?", "naming", parse_naming),
    (f"address bits ({NUMBER})", "address_bits", number),
    (rf"second null ({VALUE})", "second_null", str),
    (r"low bits ([1-9]|[1-5][0-9]|6[0-3])", "low_bits", int),
    (rf"{LOCAL}(?: (?<=machine's )({VALUE}(?: or {VALUE})*))?", "local", parse_local),
    (r"since ([0-9]+\.[0-9]+)", "since", str),
    (r"until ([0-9]+\.[0-9]+)", "until", str),
)
OF_POINTERS = {"filled", "of", "until_replaced", "trailing", "address_bits", "second_null"}
CLAUSE_WORDS = ("filled COUNT, null \"WORDS\", of TYPE, until replaced, trailing, enum or flags "
                "PREFIX, address bits, second null, low bits, the machine's, names or makes "
                f"{LOCALS} or the next, since or until RELEASE")


def parse_row(field, text, place):
    words, _, note = text.partition(" -- ")
    first, *clauses = [part.strip() for part in PARTS.findall(words)]
    direction, overlays, room = matched(DIRECTION, first, DIRECTIONS).groups()
    field, phase = re.fullmatch(r"(.*?)(?: \((before|after)\))?", field).groups()
    row = Row(field, place, direction, phase or "both", note=note or None, overlays=overlays)
    if direction == "zero":
        row.direction, row.is_zero, row.note = "in", True, row.note or "must be zero"
    if overlays:
        row.direction = "ignored"
    if room:
        row.room = parse_count(room)
    said = set()
    for clause in clauses:
        found, attribute, read = fitting(CLAUSES, clause, CLAUSE_WORDS)
        if attribute in said:
            raise Wrong(f"{clause}: expected each clause once")
        if attribute in OF_POINTERS and not room:
            raise Wrong(f"{clause}: expected [COUNT] behind {direction}, too")
        said.add(attribute)
        setattr(row, attribute, read(*found.groups()))
    if row.since and row.until and version_key(row.since) > version_key(row.until):
        raise Wrong(f"since {row.since}, until {row.until}: expected an earlier release, then a "
                    "later one")
    return row


def parse_condition(text):
    """Tests of 'op is A or B and kind is not C'."""
    tests = []
    for part in text.split(" and "):
        field, verb, is_not, values = matched(
            rf"({NAME}) (is|has)( not)? ({VALUE}(?: or {VALUE})*)", part,
            "FIELD is VALUE or VALUE …, FIELD is not VALUE, FIELD has FLAG or FIELD has not "
            "FLAG").groups()
        tests.append(Test(field, tuple(values.split(" or ")), verb == "has", is_not is not None))
    if len(tests) > 2:
        raise Wrong(f"'{text}': expected at most two tests joined by 'and'")
    return tuple(tests)


# --- The files ------------------------------------------------------------------------------------


class File:
    """One file's YAML, with the line of everything in it."""

    def __init__(self, path, errors):
        self.path, self.errors = path, errors

    def place(self, node):
        return f"{self.path.name}:{node.start_mark.line + 1}"

    @contextlib.contextmanager
    def telling(self, node, before=""):
        """Tells what is wrong with the words of a node."""
        try:
            yield
        except Wrong as wrong:
            self.errors.add(self.place(node), f"{before}{wrong}")

    def load(self, calls, records):
        try:
            root = yaml.compose(self.path.read_text("utf-8"), Loader=yaml.CSafeLoader)
        except (OSError, UnicodeError, yaml.YAMLError) as error:
            mark = getattr(error, "problem_mark", None)
            self.errors.add(f"{self.path.name}:{mark.line + 1 if mark else 1}",
                            f"{getattr(error, 'problem', error)}: expected YAML")
            return
        if root is None:
            return self.errors.add(f"{self.path.name}:1", "nothing: expected HYPERCALL: …")
        with self.telling(root):
            for name, node in self.items(root):
                with self.telling(node):
                    if self.path.name == "records.yaml":
                        record = records[name] = Record(name, self.place(node))
                        record.fields = self.cases(node, record, RECORD)
                    else:
                        calls.append(self.hypercall(name, node))

    def items(self, node):
        """(key, node of the value) pairs of a mapping, each key once."""
        pairs = {}
        if not isinstance(node, yaml.MappingNode):
            raise Wrong("expected a mapping: NAME: …")
        for key, value in node.value:
            value.start_mark = key.start_mark  # what is wrong is told at the name
            with self.telling(key):
                name = self.text(key)
                if name in pairs:
                    raise Wrong(f"{name} is there twice: expected each name once")
                pairs[name] = value
        return pairs.items()

    def text(self, node):
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            raise Wrong("expected a text; a case begins with 'when ' and stands in no other")
        return node.value

    def row(self, fields, node):
        """Each of the fields has this row."""
        rows, text = [], self.text(node)
        for field in re.findall(r"\S+(?: \(\w+\))?", fields):
            with self.telling(node, f"{field}: "):
                rows.append(parse_row(field, text, self.place(node)))
        return rows

    def rows(self, node):
        rows = []
        for key, value in self.items(node):
            with self.telling(value):
                rows += self.row(key, value)
        return rows

    def cases(self, node, entry=None, readers=()):
        """Keys that have a reader, and `around FIELD`, are attributes of the entry."""
        cases = [Case((), [])]
        for key, value in self.items(node):
            with self.telling(value):
                if key in readers:
                    setattr(entry, key, readers[key](self, value))
                elif key.startswith("when "):
                    tests = parse_condition(key.removeprefix("when "))
                    cases.append(Case(tests, self.rows(value), self.place(value)))
                elif re.match(r"around \S", key) and readers is OP:
                    entry.around += self.row(key.removeprefix("around "), value)
                else:
                    cases[0].rows += self.row(key, value)
        return cases

    def ops(self, node):
        """Of OP or OP(STRUCTURE), or several of those, that have the same to say."""
        ops = []
        for key, value in self.items(node):
            for each in key.split():
                with self.telling(value):
                    found = matched(r"([^(]+)(?:\((.+)\))?", each, "OP or OP(STRUCTURE)")
                    op = Op(found[1], self.place(value), fields=[Case((), [])], argument=found[2],
                            around=[])
                    ops.append(op)
                    if isinstance(value, yaml.ScalarNode):
                        op.about = self.text(value)
                    else:
                        op.fields = self.cases(value, op, OP)
        return ops

    def hypercall(self, name, node):
        call = Hypercall(name, self.place(node), fields=[Case((), [])],
                         number=f"__HYPERVISOR_{name}", op=(None, "none"), version=(None, None))
        said = set()
        for key, value in self.items(node):
            said.add(key)
            with self.telling(value):
                if key not in HYPERCALL:
                    raise Wrong(f"{key}: expected what a hypercall has, one of "
                                f"{', '.join(HYPERCALL)}")
                setattr(call, key.replace(" ", "_"), HYPERCALL[key](self, value))
        call.register_rows = call.registers
        call.registers = [row.field for row in call.register_rows]
        call.op, call.op_place = call.op
        call.version_field, call.version = call.version
        needless = {"ops", "constants", "op mask", "arguments", "version"}
        for key in sorted(said & (needless if call.op is None else {"returns"})):
            self.errors.add(call.place, f"{name}: {key}: expected "
                            f"{'it in ops' if call.op else 'op: FIELD in …, too'}")
        if call.op_place not in ("none", "register") and not call.type:
            self.errors.add(call.place, f"{name}: expected type: STRUCTURE, where its op is")
        if len(set(call.registers)) < len(call.registers) or len(call.registers) > MAX_REGISTERS:
            self.errors.add(call.place, f"{name}: registers {', '.join(call.registers)}: expected "
                                        f"{MAX_REGISTERS} at most, each once")
        if call.op is None:  # it is its one op
            call.ops = [Op(name, call.place, call.about, call.fields, argument=call.type,
                           returns=call.returns)]
            call.type, call.fields = None, ()
        return call


def form(pattern, expected, make=lambda *groups: groups):
    """A reader of a text of a form."""
    return lambda file, node: make(*matched(pattern, file.text(node), expected).groups())


RECORD = {"about": File.text}
NUMBERED = RECORD | {"returns": lambda file, node: parse_returns(file.text(node)),
                     "number": form(f"({VALUE})", "a number or a CONSTANT", str)}
OP = NUMBERED | {"like": File.text, "buffers": File.rows}
HYPERCALL = NUMBERED | dict.fromkeys(["argument", "arguments", "type"], File.text) | {
    "registers": File.rows, "fields": File.cases, "ops": File.ops,
    "op": form(rf"({NAME}) in (register|argument|first buffer)",
               "FIELD in register, argument or first buffer"),
    "op mask": form(f"({NUMBER})", "a number", number),
    "version": form(rf"({NAME}) is (\w+)", "FIELD is CONSTANT"),
    "holds calls": form("(yes)", "yes, or nothing", bool),
    "constants": form(r"(\w+)(?: in (\w+))?(?: except ([\w ]+))?",
                      "PREFIX, in SCOPE, except PREFIX …",
                      lambda prefix, scope, excepted: parse_naming("ops", prefix, scope or "",
                                                                   excepted))}


def load(folder, errors):
    """The hypercalls and the records by their types, of all files of a folder."""
    calls, records = [], {}
    for path in sorted(folder.glob("[!.]*.yaml")):
        File(path, errors).load(calls, records)
    if not calls:
        errors.add(folder, "no rows: expected files NAME.yaml")
    ops = {f"{call.name}.{op.name}": (call, op) for call in calls for op in call.ops}
    for call, op in ops.values():
        if op.like is not None:
            be_like(call, op, ops, errors)
    for entry in [*calls, *(op for _, op in ops.values())]:
        if not entry.about:
            errors.add(entry.place, f"{entry.name}: expected about: what it does")
    return calls, records


def filled_up(own, others):
    """Of a field that both have, its own row in the other's place; what only it has comes first."""
    said, order = {row.field for row in own}, [row.field for row in others]
    rows = [*own, *(row for row in others if row.field not in said)]
    return sorted(rows, key=lambda row: order.index(row.field) if row.field in order else -1)


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
    op.around = filled_up(op.around, other.around)
    op.buffers = filled_up(op.buffers, other.buffers)
    (own, *cases), (others, *other_cases) = op.fields, other.fields
    op.fields = [Case((), filled_up(own.rows, others.rows)), *(cases or other_cases)]
    if call is other_call:
        op.argument = op.argument or other.argument
    elif call.prefix is None:
        op.number = op.number or other.number or f"{other_call.prefix}{other.name}"
