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


@dataclass(frozen=True)
class Scalar:
    name: str  # u8 … s64, char, void
    size: int  # void counts bytes
    alignment: int


SCALARS = {name: Scalar(name, size, size) for name, size in
           [("void", 1), ("char", 1), *((f"{sign}{size * 8}", size)
                                        for sign in "us" for size in (1, 2, 4, 8))]}


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
class Handle:
    name: str  # XEN_GUEST_HANDLE_64(uint8), uint64_t*
    element: "Scalar | Record" = field(repr=False)
    is_const: bool
    size = alignment = 8


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
class Record:
    name: str
    is_union: bool
    size: int
    alignment: int
    header: str
    is_packed: bool
    fields: list[Field] = field(default_factory=list, repr=False)

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
        self.name = ""
        self.constants, self.removed, self.handles, self.typedefs = {}, [], {}, {}
        records = {}
        later = []  # what names types that may follow: (number, words, record or handle)
        record = None
        with open(path, encoding="utf-8") as file:
            lines = [(number, line.rstrip("\n")) for number, line in enumerate(file, 1)
                     if not line.startswith("#")]
        self.expect(lines, 0, FORMAT)
        self.expect(lines, 1, "release ")
        self.name = lines[1][1].removeprefix("release ")
        for number, line in lines[2:]:
            words = line.split()
            match words:
                case _ if line.startswith("  "):
                    if record is None:
                        self.fail(number, "a field of no record", "a struct or union line before it")
                    later.append((number, words, record))
                case ["constant", name, value, header, *scope] if len(scope) < 2:
                    self.add(number, self.constants, Constant(
                        name, self.integer(number, value), header, "".join(scope)))
                case ["removed", name, value, header, *rest]:
                    self.removed.append(Removed(
                        name, self.integer(number, value), header, " ".join(rest)))
                case ["handle", name, element] | ["handle", name, element, "const"]:
                    handle = Handle(name, None, len(words) == 4)
                    self.add(number, self.handles, handle)
                    later.append((number, words, handle))
                case ["typedef", name, type_, header]:
                    typedef = Typedef(name, None, 1, False, header)
                    self.add(number, self.typedefs, typedef)
                    later.append((number, words, typedef))
                case (["struct" | "union" as kind, name, size, alignment, header] |
                      ["struct" | "union" as kind, name, size, alignment, header, "packed"]):
                    record = Record(name, kind == "union", self.integer(number, size),
                                    self.integer(number, alignment), header, len(words) == 6)
                    self.add(number, records, record)
                case _:
                    self.fail(number, f"'{line}'", "constant, removed, handle, typedef, struct or "
                              "union, with all that belongs to it")
        types = SCALARS | records | self.handles
        lines_of = {}  # of a record: the first of its fields' lines
        for number, words, owner in later:
            if isinstance(owner, Handle):
                owner.element = self.lookup(number, types, words[2])[0]
            elif isinstance(owner, Typedef):
                owner.type, owner.count, owner.is_array, *_ = self.lookup(number, types, words[2])
            else:
                lines_of.setdefault(owner.name, number)
                self.add_field(number, types, owner, words)
        self.records = {}
        for each in records.values():
            self.order(lines_of, each, [])

    def fail(self, number, found, expected):
        raise LayoutError(f"{self.path}:{number}: {found}: expected {expected}")

    def expect(self, lines, index, text):
        number, line = lines[index] if index < len(lines) else (len(lines) + 1, "end of file")
        if line != text and not (text.endswith(" ") and line.startswith(text)):
            self.fail(number, f"'{line}'", f"'{text.strip()}'")

    def integer(self, number, text):
        if not re.fullmatch(r"-?\d+", text):
            self.fail(number, f"'{text}'", "a decimal number")
        return int(text)

    def add(self, number, things, thing):
        if thing.name in things:
            self.fail(number, f"{thing.name} once more", "each name once")
        things[thing.name] = thing

    def lookup(self, number, types, text):
        """What a TYPE is of, how many, whether it is an array; the width and first bit of a
        bit-field."""
        name, length, width, bit = re.fullmatch(
            r"(.*?)(?:\[(\d*)\]|:(\d+)@(\d+))?", text).groups()
        if name not in types:
            self.fail(number, f"type '{text}'", "a scalar, or a record or handle of this file")
        is_array = length is not None
        return (types[name], int(length or 0) if is_array else 1, is_array, int(width or 0),
                int(bit or 0))

    def add_field(self, number, types, record, words):
        if len(words) < 5:
            self.fail(number, f"'{' '.join(words)}'", "OFFSET SIZE FIELD TYPE SPELLING")
        offset, size = self.integer(number, words[0]), self.integer(number, words[1])
        name, text = words[2].removeprefix("-"), words[3]
        type_, count, is_array, width, bit = self.lookup(number, types, text)
        if size != type_.size * count:
            self.fail(number, f"{size} bytes of {text}", f"{type_.size * count}")
        if offset < 0 or offset + size > record.size:
            self.fail(number, f"'{name}' at {offset} to {offset + size}",
                      f"a place in the {record.size} bytes of {record.name}")
        if ":" in text and not 0 < width <= size * 8 - bit:
            self.fail(number, f"{width} bits from bit {bit}", f"bits of a {type_.name}")
        if name and any(name == each.name for each in record.fields):
            self.fail(number, f"{record.name}.{name} once more", "each name once")
        record.fields.append(Field(name, offset, size, type_, count, is_array, width, bit,
                                   " ".join(words[4:])))

    def order(self, lines_of, record, around):
        """Appends to `records` what this one needs, then itself."""
        if record.name in self.records:
            return
        if record in around:
            self.fail(lines_of[record.name], f"{record.name} needs itself",
                      "records that end in scalars")
        for each in record.fields:
            needed = each.type.element if isinstance(each.type, Handle) else each.type
            if isinstance(needed, Record):
                self.order(lines_of, needed, [*around, record])
        self.records[record.name] = record
