"""What the comments of Xen's public headers say of fields: IN, OUT, or both; must be zero.

The headers are read as text, comments and all, as the preprocessor leaves it (cc -E -C): guest
handles have one name there, and what is not for this machine is gone. Nothing else tells what a
structure's fields are.

A comment is of the field that it stands behind, or of those that it stands before: when it says
nothing but a direction to the next one that does, else to the next comment or blank line.
"""

import dataclasses
import pathlib
import re

DIRECTION = re.compile(r"\b(IN|OUT)\b")
# "IN variables.", "[IN]", "IN or OUT": nothing but a direction.
HEADING = re.compile(r"[\s[\]./*:-]*(IN|OUT)([\s/*]|or|IN|OUT)*[\s\]]*"
                     r"([Vv]ariables?|[Pp]arameters?)?( \(query only\))?[\s./*:]*")
# "IN: padding and must be zero", and what follows.
ZERO = re.compile(r"[\s/*]*(in(/out)?\s*[:-]\s*)?(reserved|padding( field)?)?[\s,]*(and )?"
                  r"(must be|must be set to|always) (zero|0)\b", re.IGNORECASE)
# Comments; lines of the preprocessor; ends of lines; words; and what stands between these.
TOKEN = re.compile(r"/\*.*?\*/|//[^\n]*|^#[^\n]*\n|\n|\w+|\S", re.DOTALL | re.MULTILINE)
NEITHER = frozenset()
BITMAP = "xenctl_bitmap"  # bits and how many, but with the direction of the bits


def is_comment(token):
    return token.startswith(("/*", "//"))


@dataclasses.dataclass
class Field:
    name: str  # "": its fields are those of the structure around it
    type: str
    says: frozenset
    fields: list  # of a structure that is declared where it stands, or None
    is_zero: bool = False


@dataclasses.dataclass
class Leaf:
    """A field without fields, in a structure."""
    path: str
    own: frozenset  # what a comment says of it
    says: frozenset  # with what one says of structures around it
    groups: list  # (path, what a comment says) of these
    is_handle: bool
    is_zero: bool


class Headers:
    def __init__(self, text):
        self.tokens = [(match[0], match.start() - text.rfind("\n", 0, match.start()))
                       for match in TOKEN.finditer(text) if match[0][0] != "#"]
        self.at = 0
        self.structures = {}  # by name
        while self.at < len(self.tokens):
            if self.take() in ("struct", "union"):
                self.read_structure()

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1][0]

    def take_code(self):
        """The next token that is neither a comment nor the end of a line."""
        token = "\n"
        while token == "\n" or is_comment(token):
            token = self.take()
        return token

    def read_structure(self):
        name, token = "", self.take_code()
        if token != "{":
            name, token = token, self.take_code()
        if token != "{":
            return
        fields = self.read_fields()
        self.structures.setdefault(name or self.take_code(), fields)

    def read_fields(self):
        """Up to the closing brace."""
        fields, words, nested = [], [], None
        section, paragraph, heard = NEITHER, None, False
        zero = False
        # Of the line: its fields, the column of a comment behind them, and what that says.
        line, column, behind = [], 0, NEITHER
        ends = 0  # of lines since the last token
        while True:
            token, at = self.tokens[self.at]
            self.at += 1
            if token == "\n":
                ends += 1
                if ends == 2:
                    paragraph, zero = None, False
                continue
            ends_before, ends = ends, 0
            if is_comment(token):
                says = frozenset(word.lower() for word in DIRECTION.findall(token))
                if line and (ends_before == 0 or ends_before == 1 and 0 < column < at + 3):
                    # Behind fields, or the next line of what stands there.
                    if ends_before:
                        says |= behind
                    elif "Also an" in token:
                        says |= line[0].says
                    column, behind = column or at, says
                    for field in line:
                        field.says = says or field.says
                        field.is_zero |= ZERO.match(token) is not None
                    continue
                line, column, zero = [], 0, ZERO.match(token) is not None
                if says and heard:  # one comment after the other
                    says |= section if paragraph is None else paragraph
                heard = bool(says)
                if HEADING.fullmatch(token):
                    section, paragraph = says, None
                else:
                    paragraph = says or None
                continue
            heard = False
            if token == "}":
                return fields
            if token == "{":
                nested = self.read_fields()
            elif token != ";":
                words.append(token)
            else:
                line = declare(words, nested, section if paragraph is None else paragraph, zero)
                fields += line
                words, nested, column, behind = [], None, 0, NEITHER

    def leaves(self, structure):
        return list(self.walk(self.structures.get(structure, []), "", NEITHER, []))

    def walk(self, fields, prefix, outer, groups):
        for field in fields:
            path = ".".join(filter(None, (prefix, field.name)))
            says = field.says & outer or field.says or outer
            name = field.type.removesuffix("_t")
            inner = field.fields
            if inner is None and name != BITMAP:
                inner = self.structures.get(name)
            if name.startswith("__guest_handle_") or inner is None:
                yield Leaf(path, field.says, says, groups,
                           name == BITMAP or name.startswith("__guest_handle_"), field.is_zero)
            else:
                group = [(path, says)] if field.says and field.name else []
                yield from self.walk(inner, path, says, groups + group)


def declare(words, nested, says, is_zero):
    """`type a, b[4], c : 3` of the words before the semicolon."""
    text = re.sub(r"\[[^]]*\]|:.*|__attribute__ ?(\( ?){2}.*?(\) ?){2,3}", "", " ".join(words))
    *types, first = text.split(",")[0].split()
    if nested is not None and first in ("struct", "union"):
        return [Field("", "", says, nested)]
    type_ = " ".join(word for word in types if word not in ("struct", "union", "const", "*"))
    names = [first] + [other.split()[-1] for other in text.split(",")[1:]]
    return [Field(name, type_, says, nested, is_zero) for name in names]


# A comment, a definition to its line's end, the end of a line, and anything else.
PROSE_TOKEN = re.compile(r"/\*.*?\*/|#[ \t]*define[ \t]+(\w+)(?:[ \t]+[\w()]+)?|\n|\S+",
                         re.DOTALL)
# "@arg == pointer to sched_poll_t structure", "arg == addr of struct xen_memory_domain", or NULL.
ARGUMENT = re.compile(r"\b(?:\w*_)?arg\w* == (?:.{,40}?\b(?:addr of|pointer to)(?: an?| struct)* (\w+)"
                      r"|(NULL)|(\w+_t)\b)")
# "arg2: XEN_GUEST_HANDLE(xen_argo_gfn_t)", "arg3: XEN_GUEST_HANDLE(data buffer written by …)"
REGISTER = re.compile(r"\b(arg\d): XEN_GUEST_HANDLE\(([^)]*)\)")


def op_comments(folder):
    """(constant, what its comment says) of definitions with a comment before them, or behind."""
    for header in sorted(pathlib.Path(folder).rglob("*.h")):
        said, defined, ends = "", None, 0
        for match in PROSE_TOKEN.finditer(header.read_text()):
            token = match[0]
            if token == "\n":
                ends += 1
                if ends == 2:
                    said = ""
                defined = None
            elif is_comment(token):
                text = re.sub(r"[\s*/]+", " ", token)
                if defined:
                    yield defined, text
                else:
                    said, ends = text, 0
            elif match[1]:
                defined, ends = match[1], 0
                if said:
                    yield defined, said
            else:
                said = ""


def argument_named(text):
    """The type that an op's comment names for its argument: "" for none, None when it names none."""
    match = ARGUMENT.search(text)
    return match and "".join(filter(None, match.groups())).replace("NULL", "").removesuffix("_t")
