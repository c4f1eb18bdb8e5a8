"""The layout of one Xen release: reads what read_headers.py wrote, releases/4.17.layout.

A file is text, one thing a line; a line that begins with '#' is a comment.

  xencomm-layout 1                        the format's number
  release 4.17
  constant NAME VALUE HEADER [SCOPE]      a macro or an enumerator; SCOPE: the structure or the
                                          enumeration inside whose braces it stands
  removed NAME NUMBER HEADER [WORDS…]     a number that a comment says is out of use
  handle SPELLING ELEMENT [const]         a guest pointer, and what it points at
  typedef NAME TYPE HEADER
  struct NAME SIZE ALIGNMENT HEADER [packed]
  union NAME SIZE ALIGNMENT HEADER [packed]
    OFFSET SIZE FIELD TYPE SPELLING…      of the record above

Numbers are decimal, sizes are in bytes. A record without a name at top level is called after the
one around it: xen_domctl.u, and cpu_user_regs.@8 where the member at 8 has no name, whose FIELD is
'-'. TYPE is a scalar (u8 … s64, char, void), a record or a handle; with [16] an array, with [] one
whose length is open, with :3@5 a bit-field of three bits that begins with bit 5 of its storage.
SPELLING is how the header writes it.
"""

import re
from dataclasses import dataclass, field

FORMAT = "xencomm-layout 1"


class LayoutError(Exception):
    """What is wrong with a release file, and where."""


class Type:
    """What a field, or what a handle points at, can be of."""
    fields, element, is_record, is_nested = (), None, False, False


@dataclass(frozen=True)
class Scalar(Type):
    name: str  # u8 … s64, char, void
    size: int  # void counts bytes
    alignment: int
    header = ""

    @property
    def kind(self):
        return {"v": "void", "c": "character", "u": "unsigned", "s": "signed"}[self.name[0]]


SCALARS = {name: Scalar(name, size, size) for name, size in
           [("void", 1), ("char", 1), *((f"{sign}{size * 8}", size)
                                        for sign in "us" for size in (1, 2, 4, 8))]}
# How C calls them.
C_NAMES = {"char": "char", "void": "void"} | {
    f"{prefix}int{bits}_t": f"{sign}{bits}"
    for prefix, sign in (("u", "u"), ("", "s")) for bits in (8, 16, 32, 64)}


@dataclass(frozen=True)
class Constant:
    name: str
    value: int
    header: str
    scope: str  # or ""


@dataclass(frozen=True)
class Removed:
    name: str
    number: int
    header: str
    words: str  # or ""


@dataclass(eq=False)
class Handle(Type):
    name: str  # XEN_GUEST_HANDLE_64(uint8), uint64_t*
    element: "Scalar | Record" = field(repr=False)
    is_const: bool
    size = alignment = 8
    kind, header = "handle", ""


@dataclass(eq=False)
class Typedef:
    name: str
    type: "Scalar | Record" = field(repr=False)  # of one element
    count: int
    is_array: bool
    header: str

    @property
    def size(self):
        return self.type.size * self.count


@dataclass(eq=False)
class Field:
    name: str  # "": an unnamed record, whose fields belong to the scope around it
    offset: int  # of a bit-field: its storage's
    size: int  # of all elements
    type: "Scalar | Record | Handle" = field(repr=False)  # of one element
    count: int  # 1, or an array's elements; 0: the array's length is open
    is_array: bool
    bit_width: int  # 0: no bit-field
    bit_offset: int
    spelling: str


@dataclass(eq=False)
class Record(Type):
    name: str
    is_union: bool
    size: int
    alignment: int
    header: str
    is_packed: bool
    fields: list[Field] = field(default_factory=list, repr=False)
    is_record = True

    @property
    def kind(self):
        return "union" if self.is_union else "struct"

    @property
    def is_nested(self):
        """Declared inside another record, after which it is called."""
        return "." in self.name


class Release:
    """All that the headers of one release say.

    `constants`, `handles`, `typedefs` and `records` are dicts by name, `removed` is a list. Of the
    records each needs only those before it, also for what its handles point at."""

    def __init__(self, path):
        self.path = path
        self.constants, self.removed, self.handles, self.typedefs = {}, [], {}, {}
        records, record = {}, None
        later = []  # what names types that may follow: (line, its words, whose it is)
        lines = [(number, line) for number, line in
                 enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
                 if not line.startswith("#")]
        lines += [(len(lines) + 1, "end of file")] * 2
        for (self.line, line), expected in zip(lines, (FORMAT, "release ")):
            if line != expected and not (expected[-1] == " " and line.startswith(expected)):
                self.fail(f"'{line}'", f"'{expected.strip()}'")
        self.name = lines[1][1].removeprefix("release ")
        for self.line, line in lines[2:-2]:
            words = line.split()
            match words:
                case _ if line.startswith("  "):
                    if record is None:
                        self.fail("a field of no record", "a struct or a union before it")
                    later.append((self.line, words, record))
                case ["constant", name, value, header, *scope] if len(scope) < 2:
                    self.add(self.constants, Constant(
                        name, self.integer(value), header, "".join(scope)))
                case ["removed", name, value, header, *rest]:
                    self.removed.append(Removed(
                        name, self.integer(value), header, " ".join(rest)))
                case ["handle", name, _] | ["handle", name, _, "const"]:
                    handle = self.add(self.handles, Handle(name, None, len(words) == 4))
                    later.append((self.line, words, handle))
                case ["typedef", name, _, header]:
                    typedef = self.add(self.typedefs, Typedef(name, None, 1, False, header))
                    later.append((self.line, words, typedef))
                case ["struct" | "union" as kind, name, size, alignment, header, *packed] if \
                        packed in ([], ["packed"]):
                    record = self.add(records, Record(
                        name, kind == "union", self.integer(size), self.integer(alignment), header,
                        bool(packed)))
                case _:
                    self.fail(f"'{line}'", "constant, removed, handle, typedef, struct or union, "
                              "with all that belongs to it")
        types = SCALARS | records | self.handles
        lines_of = {}  # of a record: the first of its fields' lines
        for self.line, words, owner in later:
            if isinstance(owner, Handle):
                owner.element = self.lookup(types, words[2])[0]
            elif isinstance(owner, Typedef):
                owner.type, owner.count, owner.is_array, *_ = self.lookup(types, words[2])
            else:
                lines_of.setdefault(owner.name, self.line)
                self.add_field(types, owner, words)
        self.records = {}
        for each in records.values():
            self.order(lines_of, each, [])

    def fail(self, found, expected):
        raise LayoutError(f"{self.path}:{self.line}: {found}: expected {expected}")

    def integer(self, text):
        if not re.fullmatch(r"-?\d+", text):
            self.fail(f"'{text}'", "a decimal number")
        return int(text)

    def add(self, things, thing):
        if thing.name in things:
            self.fail(f"{thing.name} once more", "each name once")
        things[thing.name] = thing
        return thing

    def lookup(self, types, text):
        """What a TYPE is of, how many, whether it is an array; the width and first bit of a
        bit-field."""
        name, length, width, bit = re.fullmatch(
            r"(.*?)(?:\[(\d*)\]|:(\d+)@(\d+))?", text).groups()
        if name not in types:
            self.fail(f"type '{text}'", "a scalar, or a record or handle of this file")
        count = 1 if length is None else int(length or 0)
        return types[name], count, length is not None, int(width or 0), int(bit or 0)

    def add_field(self, types, record, words):
        if len(words) < 5:
            self.fail(f"'{' '.join(words)}'", "OFFSET SIZE FIELD TYPE SPELLING")
        offset, size = map(self.integer, words[:2])
        name, text = words[2].removeprefix("-"), words[3]
        type_, count, is_array, width, bit = self.lookup(types, text)
        if size != type_.size * count:
            self.fail(f"{size} bytes of {text}", f"{type_.size * count}")
        if offset < 0 or offset + size > record.size:
            self.fail(f"'{name}' at {offset} to {offset + size}",
                      f"a place in the {record.size} bytes of {record.name}")
        if ":" in text and not 0 < width <= size * 8 - bit:
            self.fail(f"{width} bits from bit {bit}", f"bits of a {type_.name}")
        if name and any(name == each.name for each in record.fields):
            self.fail(f"{record.name}.{name} once more", "each name once")
        record.fields.append(Field(name, offset, size, type_, count, is_array, width, bit,
                                   " ".join(words[4:])))

    def order(self, lines_of, record, around):
        """Appends to `records` what this one needs, then itself."""
        if record.name in self.records:
            return
        if record in around:
            self.line = lines_of[record.name]
            self.fail(f"{record.name} needs itself", "records that end in scalars")
        for each in record.fields:
            needed = each.type.element or each.type
            if needed.is_record:
                self.order(lines_of, needed, [*around, record])
        self.records[record.name] = record
