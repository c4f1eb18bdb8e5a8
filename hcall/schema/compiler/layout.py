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
from collections import namedtuple
from dataclasses import dataclass, field

FORMAT = "xencomm-layout 1"


class LayoutError(Exception):
    """What is wrong with a release file, and where."""


class Type:
    """What a field, or what a handle points at, can be of."""
    fields, element, header = (), None, ""
    is_record = is_nested = is_const = False


@dataclass(eq=False)
class Scalar(Type):
    name: str  # u8 … s64, char, void
    c_name: str
    kind: str
    size: int  # void counts bytes
    alignment: int


SCALARS = {name: Scalar(name, c_name, kind, size, size) for name, c_name, kind, size in [
    ("void", "void", "void", 1), ("char", "char", "character", 1),
    *((f"{kind[0]}{size * 8}", f"{prefix}int{size * 8}_t", kind, size)
      for kind, prefix in (("unsigned", "u"), ("signed", "")) for size in (1, 2, 4, 8))]}
C_NAMES = {scalar.c_name: name for name, scalar in SCALARS.items()}

Constant = namedtuple("Constant", "name value header scope")  # scope: or ""
Removed = namedtuple("Removed", "name number words")  # words: or ""


@dataclass(eq=False)
class Handle(Type):
    name: str  # XEN_GUEST_HANDLE_64(uint8), uint64_t*
    is_const: bool
    element: Type = None
    size = alignment = 8
    kind = "handle"


@dataclass(eq=False)
class Field:
    """Or a typedef, which has no place."""
    name: str  # "": an unnamed record, whose fields belong to the scope around it
    line: int  # of the file
    offset: int = 0  # of a bit-field: its storage's
    size: int = None  # of all elements
    spelling: str = ""
    type: Type = None  # of one element
    count: int = 1  # an array's elements; 0: its length is open
    is_array: bool = False
    bit_width: int = 0  # 0: no bit-field
    bit_offset: int = 0


@dataclass(eq=False)
class Record(Type):
    name: str
    kind: str  # "struct" or "union"
    size: int
    alignment: int
    header: str
    is_packed: bool = False
    fields: list[Field] = field(default_factory=list)
    is_record = True

    @property
    def is_union(self):
        return self.kind == "union"

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
        later = []  # what is of a type that may follow: (line, that thing, its TYPE)
        content = path.read_text("utf-8")
        lines = ((number, line) for number, line in enumerate(content.splitlines(), 1)
                 if not line.startswith("#"))
        for pattern, expected in ((FORMAT, FORMAT), (r"release \d+\.\d+", "release 4.17")):
            self.line, line = next(lines, (1, ""))
            if not re.fullmatch(pattern, line):
                self.fail(f"'{line}'", f"'{expected}'")
        name_line, self.name = self.line, line.removeprefix("release ")
        for self.line, line in lines:
            match line.split():
                case [offset, size, name, text, *words] if line[0] == " " and record and words:
                    each = Field(name.removeprefix("-"), self.line, self.integer(offset),
                                 self.integer(size), " ".join(words))
                    self.add_field(record, each)
                    later.append((self.line, each, text))
                case words if line.startswith(" "):
                    self.fail(f"'{' '.join(words)}'", "OFFSET SIZE FIELD TYPE SPELLING")
                case ["constant", name, value, header, *scope] if len(scope) < 2:
                    self.add(self.constants, Constant(name, self.integer(value), header,
                                                      "".join(scope)))
                case ["removed", name, value, _, *words]:
                    self.removed.append(Removed(name, self.integer(value), " ".join(words)))
                case ["handle", name, text, *const] if const in ([], ["const"]):
                    each = self.add(self.handles, Handle(name, bool(const)))
                    later.append((self.line, each, text))
                case ["typedef", name, text, _]:
                    each = self.add(self.typedefs, Field(name, self.line))
                    later.append((self.line, each, text))
                case ["struct" | "union" as kind, name, size, alignment, header, *packed] if \
                        packed in ([], ["packed"]):
                    sizes = self.integer(size), self.integer(alignment)
                    record = self.add(records, Record(name, kind, *sizes, header, bool(packed)))
                case _:
                    self.fail(f"'{line}'", "constant, removed, handle, typedef, struct or union, "
                                           "with all that belongs to it")
        types = SCALARS | records | self.handles
        for self.line, each, text in later:
            type_, count, is_array, width, bit = self.lookup(types, text)
            if isinstance(each, Handle):
                each.element = type_
                if type_.kind == "handle":
                    self.fail(f"handle {each.name} of a handle", "one of a scalar or a record")
                continue
            if each.size not in (None, type_.size * count):
                self.fail(f"{each.size} bytes of {text}", f"{type_.size * count}")
            each.type, each.size, each.count = type_, type_.size * count, count
            each.is_array, each.bit_width, each.bit_offset = is_array, width, bit
        self.records = {}
        for each in records.values():
            self.order(each, [])
        self.line = content.count("\n") + 1
        if not content.endswith("\n"):
            self.fail("a last line without an end", "a whole file")
        self.line = name_line
        if self.name != path.stem:
            self.fail(f"release {self.name}", f"{path.stem}, as the file is called, and a number")

    def fail(self, found, expected):
        raise LayoutError(f"{self.path}:{self.line}: {found}: expected {expected}")

    def integer(self, text):
        if not re.fullmatch(r"-?[0-9]{1,20}", text) or not -2**63 <= int(text) < 2**64:
            self.fail(f"'{text}'", "a decimal number of 64 bits")
        return int(text)

    def add(self, things, thing):
        if thing.name in things or isinstance(thing, Record) and thing.name in SCALARS:
            self.fail(f"{thing.name} once more", "each name once")
        things[thing.name] = thing
        return thing

    def add_field(self, record, added):
        if added.offset < 0 or added.offset + added.size > record.size:
            self.fail(f"'{added.name}' at {added.offset} to {added.offset + added.size}",
                      f"a place in the {record.size} bytes of {record.name}")
        if added.name and any(added.name == each.name for each in record.fields):
            self.fail(f"{record.name}.{added.name} once more", "each name once")
        record.fields.append(added)

    def lookup(self, types, text):
        """What a TYPE is of, how many, whether it is an array; the width and first bit of a
        bit-field."""
        name, length, width, bit = re.fullmatch(
            r"(.*?)(?:\[(\d*)\]|:(\d+)@(\d+))?", text).groups()
        if name not in types:
            self.fail(f"type '{text}'", "a scalar, or a record or handle of this file")
        if width and not 0 < int(width) <= types[name].size * 8 - int(bit):
            self.fail(f"{width} bits from bit {bit}", f"bits of a {name}")
        count = 1 if length is None else int(length or 0)
        return types[name], count, length is not None, int(width or 0), int(bit or 0)

    def order(self, record, around):
        """Appends to `records` what this one needs, then itself."""
        if record.name in self.records:
            return
        for each in record.fields:
            needed = each.type.element or each.type
            if needed in [*around, record]:
                self.line = each.line
                self.fail(f"{needed.name} needs itself", "records that end in scalars")
            if needed.is_record:
                self.order(needed, [*around, record])
        self.records[record.name] = record
