"""Where faults can be planted: the mutants of a file, chosen by its syntax tree.

A mutant is one change of text inside one function (or inside the initializer of a member). The
operators:

  condition negated       `if (a)` to `if (!(a))`, `!a` to `a`, `==` to `!=`
  bound moved             `<` to `<=`, `>=` to `>`, and back
  side dropped            `a && b` to `a`, and to `b`; the same of `||`
  operator replaced       `+` to `-`, `<<` to `>>`, `&` to `|`, `+=` to `-=`, …, `~a` to `a`
  constant replaced       `n` to `n + 1`, `true` to `false`
  arguments swapped       two neighbours of the same type, in a call or in a list in braces
  statement deleted       a call, an assignment, `++x`, `break`, `continue`
  early return dropped    the branch of an `if` that returns
  return value replaced   `b` to `!b`, an error to another and to 0, a value to 0 or {}
  atomic order weakened   to memory_order_relaxed
  lock dropped            a guard's declaration, a call of Lock or Unlock, a fence
  read repeated           a read of the guest's memory, done twice

Left alone: what stands in a macro's arguments or comes from one, static_assert, tables and
constants outside of functions, array bounds, template arguments, case labels, and what the
compiler is told to be unreachable. Templates are changed as they are written, instantiated or not.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import re
import shlex

import clang.cindex
from clang.cindex import CursorKind as Kind

LONGEST = 140  # characters of an expression that is shown as a whole

MOVED = {'<': '<=', '<=': '<', '>': '>=', '>=': '>'}
NEGATED = {'==': '!=', '!=': '=='}
REPLACED = {'+': '-', '-': '+', '*': '/', '/': '*', '<<': '>>', '>>': '<<', '&': '|', '|': '&',
            '^': '|', '+=': '-=', '-=': '+=', '*=': '/=', '/=': '*=', '<<=': '>>=', '>>=': '<<=',
            '&=': '|=', '|=': '&=', '^=': '|='}
ASSIGNMENTS = {'=', '+=', '-=', '*=', '/=', '%=', '<<=', '>>=', '&=', '|=', '^='}

READS = {'Read', 'Fetch', 'Map', 'Translate'}  # of a guest's memory
SAME_BOTH_WAYS = {'min', 'max', 'swap'}
GUARD = re.compile(r'(Guard|Lock)\b')
LOCKING = re.compile(r'(\.|->)?(Lock|Unlock|ReaderLock|ReaderUnlock|lock|unlock)\(\)$')
FENCE = re.compile(r'atomic_thread_fence|FullBarrier|atomic_signal_fence')
# Statements without an effect that a test could see, or that stand where nothing comes.
WITHOUT_EFFECT = re.compile(r'(\(void\)|static_cast<void>\(\w+\)$|__builtin_unreachable|'
                            r'__builtin_trap|std::abort|abort\(|assert)')
ERRNO = re.compile(r'-?\s*kE[A-Z0-9]+$')
INTEGER = re.compile(r"(0[xX][0-9a-fA-F']+|0[bB][01']+|[0-9][0-9']*)([uUlLzZ]*)$")
INTEGER_TYPES = {
    'char', 'signed char', 'unsigned char', 'short', 'unsigned short', 'int', 'unsigned int',
    'long', 'unsigned long', 'long long', 'unsigned long long', '__int128', 'unsigned __int128',
}

FUNCTIONS = {Kind.FUNCTION_DECL, Kind.CXX_METHOD, Kind.CONSTRUCTOR, Kind.DESTRUCTOR,
             Kind.CONVERSION_FUNCTION, Kind.FUNCTION_TEMPLATE}
SCOPES = {Kind.NAMESPACE, Kind.CLASS_DECL, Kind.STRUCT_DECL, Kind.UNION_DECL, Kind.CLASS_TEMPLATE,
          Kind.CLASS_TEMPLATE_PARTIAL_SPECIALIZATION, Kind.LINKAGE_SPEC, Kind.UNEXPOSED_DECL}
CLASSES = {Kind.CLASS_DECL, Kind.STRUCT_DECL, Kind.UNION_DECL, Kind.CLASS_TEMPLATE,
           Kind.CLASS_TEMPLATE_PARTIAL_SPECIALIZATION}
NAMES = {Kind.TYPE_REF, Kind.TEMPLATE_REF, Kind.NAMESPACE_REF}


@dataclasses.dataclass
class Mutant:
  """One change. `start` and `end` count bytes of the file; `line` and `column` count from 1."""
  file: str
  function: str
  operator: str
  text: str         # the expression or statement that is changed, in one line
  to: str           # the same afterwards
  line: int
  column: int
  start: int
  end: int
  replacement: str
  folded: bool      # in a function that the compiler may run: constexpr
  ordinal: int = 0  # among those that read the same in their function
  id: str = ''

  def key(self):
    return (self.file, self.function, self.operator, self.text, self.to)

  def what(self):
    return f'{self.text} -> {self.to}'


@dataclasses.dataclass
class Function:
  """A function with a body, by its lines."""
  file: str
  name: str
  first: int
  last: int


def one_line(text):
  text = re.sub(r'//[^\n]*', '', text)
  return re.sub(r'\s+', ' ', text).strip()


class Source:
  """A file's text by bytes, as libclang counts them."""

  def __init__(self, path, name):
    self.name = name
    self.bytes = (path / name).read_bytes()
    self.macros = []  # ranges
    self.mutants = {}
    self.functions = {}

  def text(self, start, end):
    return self.bytes[start:end].decode(errors='replace')

  def in_macro(self, start, end):
    return any(start < last and first < end for first, last in self.macros)

  def place(self, offset):
    before = self.bytes[:offset]
    return before.count(b'\n') + 1, offset - (before.rfind(b'\n') + 1) + 1


@dataclasses.dataclass
class Inside:
  """What is around a cursor."""
  function: str
  result: str      # the function's result type; empty where it is not known
  folded: bool


class Finder:
  """Finds the mutants of some files in one translation unit."""

  def __init__(self, top, sources):
    self.top = top
    self.sources = sources  # by name
    self.source = None

  def run(self, unit):
    for cursor in unit.cursor.get_children():
      if cursor.location.file is None:
        continue
      self.source = self.sources.get(name_of(cursor.location.file.name, self.top))
      if self.source is None:
        continue
      if cursor.kind == Kind.MACRO_INSTANTIATION:
        self.source.macros.append(self.extent(cursor))
    for cursor in unit.cursor.get_children():
      if cursor.location.file is None or cursor.kind.is_preprocessing():
        continue
      self.source = self.sources.get(name_of(cursor.location.file.name, self.top))
      if self.source is not None:
        self.declaration(cursor, '')

  # Declarations.

  def declaration(self, cursor, prefix):
    kind = cursor.kind
    if kind in FUNCTIONS:
      self.function(cursor)
    elif kind in SCOPES:
      inner = f'{prefix}{cursor.spelling}::' if kind in CLASSES else prefix
      for child in cursor.get_children():
        self.declaration(child, inner)
    elif kind == Kind.FIELD_DECL:
      inside = Inside(prefix[:-2] or '(no class)', '', False)
      self.initializer(cursor, inside)

  def function(self, cursor):
    body = [c for c in cursor.get_children() if c.kind == Kind.COMPOUND_STMT]
    if not body or cursor.is_default_method():
      return
    start, end = self.extent(cursor)
    body_start, _ = self.extent(body[0])
    head = self.source.text(start, body_start)
    name = qualified(cursor)
    first, last = self.source.place(start)[0], self.source.place(end)[0]
    self.source.functions[(first, last, name)] = Function(self.source.name, name, first, last)
    inside = Inside(name, cursor.result_type.get_canonical().spelling,
                    re.search(r'\bconst(expr|eval)\b', head) is not None)
    if inside.result == 'auto':
      inside.result = ''
    for child in cursor.get_children():
      if child.kind == Kind.PARM_DECL:
        self.initializer(child, inside)
      elif child.kind == Kind.COMPOUND_STMT:
        self.statement(child, inside, cursor)
      elif child.kind.is_expression():  # of a constructor's members
        self.expression(child, inside, cursor)

  def initializer(self, cursor, inside):
    """The initializer of a variable, member or parameter, apart from its type."""
    named, _ = self.extent(cursor)
    named = max(named, cursor.location.offset)
    for child in cursor.get_children():
      start, end = self.extent(child)
      if start < named or child.kind in NAMES or not child.kind.is_expression():
        continue
      if self.source.text(named, start).rstrip().endswith('['):  # an array's bound
        continue
      self.expression(child, inside, cursor)

  # Statements.

  def statement(self, cursor, inside, parent):
    kind = cursor.kind
    children = list(cursor.get_children())
    if kind == Kind.COMPOUND_STMT:
      for child in children:
        self.whole_statement(child, inside)
    elif kind == Kind.IF_STMT:
      condition = self.condition(cursor, children, inside)
      rest = children[condition + 1:]
      for child in children[:condition]:  # a declaration that comes first
        self.statement(child, inside, cursor)
      if len(rest) == 1:
        self.early_return(rest[0], cursor, inside)
      for child in rest:
        self.whole_statement(child, inside)
    elif kind in (Kind.WHILE_STMT, Kind.FOR_STMT, Kind.DO_STMT):
      if kind == Kind.WHILE_STMT:
        self.condition(cursor, children, inside)
        self.whole_statement(children[-1], inside)
      elif kind == Kind.DO_STMT:
        self.whole_statement(children[0], inside)
        self.expression(children[-1], inside, cursor)
      else:
        for child in children[:-1]:
          self.statement(child, inside, cursor)
        self.whole_statement(children[-1], inside)
    elif kind == Kind.CXX_FOR_RANGE_STMT:
      for child in children[:-1]:
        if child.kind == Kind.VAR_DECL:
          continue
        self.statement(child, inside, cursor)
      self.whole_statement(children[-1], inside)
    elif kind in (Kind.CASE_STMT, Kind.DEFAULT_STMT):
      self.whole_statement(children[-1], inside)
    elif kind == Kind.RETURN_STMT:
      for child in children:
        self.returned(cursor, child, inside)
        self.expression(child, inside, cursor)
    elif kind == Kind.DECL_STMT:
      for child in children:
        if child.kind == Kind.VAR_DECL:
          self.initializer(child, inside)
    elif kind == Kind.VAR_DECL:
      self.initializer(cursor, inside)
    elif kind.is_expression():
      self.expression(cursor, inside, parent)
    elif kind.is_declaration() or kind.is_attribute():
      pass
    else:  # switch, labels, try: what they hold
      for child in children:
        self.whole_statement(child, inside)

  def whole_statement(self, cursor, inside):
    """A statement that can be left out."""
    start, end = self.extent(cursor)
    text = self.source.text(start, end)
    kind = cursor.kind
    if kind in (Kind.BREAK_STMT, Kind.CONTINUE_STMT):
      self.add(inside, 'statement deleted', start, end, '', start, end)
    elif kind == Kind.DECL_STMT:
      declared = list(cursor.get_children())
      if len(declared) == 1 and declared[0].kind == Kind.VAR_DECL and \
          GUARD.search(declared[0].type.spelling):
        self.add(inside, 'lock dropped', start, end, ';', start, end)
        return
    elif kind.is_expression() and not WITHOUT_EFFECT.match(text):
      locking = LOCKING.search(text) or FENCE.search(text)
      self.add(inside, 'lock dropped' if locking else 'statement deleted', start, end, '',
               start, end)
    self.statement(cursor, inside, cursor)

  def condition(self, cursor, children, inside):
    """Handles the condition of an if or a while; answers which of the children it is."""
    branches = 1
    if cursor.kind == Kind.IF_STMT and len(children) > 2:
      between = self.source.text(self.extent(children[-2])[1], self.extent(children[-1])[0])
      branches = 2 if re.search(r'\belse\b', between) else 1
    at = len(children) - branches - 1
    if any(c.kind == Kind.VAR_DECL for c in children[:at]):
      return at  # `if (T* x = f())`: only the name stands for the condition
    self.negated(children[at], inside)
    self.expression(children[at], inside, cursor)
    return at

  def negated(self, cursor, inside):
    """A whole condition, where it has no operator of its own that another change turns."""
    inner = self.peeled(cursor)
    start, end = self.extent(inner)
    text = self.source.text(start, end)
    if text.startswith('!') and inner.kind == Kind.UNARY_OPERATOR:
      return
    if self.binary(inner)[0] in NEGATED or inner.kind == Kind.CXX_BOOL_LITERAL_EXPR:
      return
    self.add(inside, 'condition negated', start, end, f'!({text})', start, end)

  def early_return(self, branch, statement, inside):
    last = branch
    if branch.kind == Kind.COMPOUND_STMT:
      children = list(branch.get_children())
      if not children:
        return
      last = children[-1]
    if last.kind != Kind.RETURN_STMT:
      return
    start, end = self.extent(branch)
    outer, _ = self.extent(statement)
    # Without braces the semicolon that follows stays.
    self.add(inside, 'early return dropped', start, end,
             '{}' if branch.kind == Kind.COMPOUND_STMT else '', outer, end)

  def returned(self, cursor, value, inside):
    value = self.peeled(value)
    start, end = self.extent(value)
    whole, _ = self.extent(cursor)
    text = self.source.text(start, end)
    result = inside.result or value.type.get_canonical().spelling

    def add(replacement):
      if replacement != text:
        self.add(inside, 'return value replaced', start, end, replacement, whole, end)

    if ERRNO.match(text):
      negative = '-' if text.startswith('-') else ''
      name = 'kEFAULT' if text.endswith('kEINVAL') else 'kEINVAL'
      scope = text.lstrip('- ')[:-len(text.lstrip('- ').split('::')[-1])]
      add(f'{negative}{scope}{name}')
      if result in INTEGER_TYPES:
        add('0')
    elif result == 'bool':
      turned = self.binary(value)[0] in NEGATED or text.startswith('!') or \
          value.kind == Kind.CXX_BOOL_LITERAL_EXPR
      if not turned:
        add(f'!({text})')
    elif result in INTEGER_TYPES:
      if not INTEGER.match(text):
        add('0')
    elif result.endswith('*'):
      if value.kind != Kind.CXX_NULL_PTR_LITERAL_EXPR and text != '0':
        add('nullptr')
    elif result and result != 'void' and not result.endswith('&'):
      nothing = ('{}', '""', 'std::nullopt', 'nullptr', 'absl::OkStatus()')
      if text not in nothing and is_made_of_nothing(value.type):
        add('{}')

  # Expressions.

  def expression(self, cursor, inside, parent):
    kind = cursor.kind
    if kind in NAMES or kind == Kind.STATIC_ASSERT:
      return
    if kind == Kind.LAMBDA_EXPR:
      inner = dataclasses.replace(inside, result='')
      for child in cursor.get_children():
        if child.kind == Kind.COMPOUND_STMT:
          self.statement(child, inner, cursor)
      return
    start, end = self.extent(cursor)
    if start == end or end > len(self.source.bytes):
      return
    text = self.source.text(start, end)
    outer_start, outer_end = self.shown(cursor, parent)

    def add(operator, first, last, replacement):
      self.add(inside, operator, first, last, replacement, outer_start, outer_end)

    operator, first, last = self.binary(cursor)
    children = list(cursor.get_children())
    if operator:
      if operator in MOVED:
        add('bound moved', first, last, MOVED[operator])
      elif operator in NEGATED:
        add('condition negated', first, last, NEGATED[operator])
      elif operator in REPLACED:
        add('operator replaced', first, last, REPLACED[operator])
      elif operator in ('&&', '||'):
        left, right = self.extent(children[0]), self.extent(children[1])
        add('side dropped', left[1], right[1], '')
        add('side dropped', left[0], right[0], '')
    elif kind == Kind.UNARY_OPERATOR and text.startswith('!='):  # made of a class's ==
      add('condition negated', start, start + 2, '==')
    elif kind == Kind.UNARY_OPERATOR and text.startswith('!'):
      add('condition negated', start, start + 1, '')
    elif kind == Kind.UNARY_OPERATOR and text.startswith('~'):
      add('operator replaced', start, start + 1, '')
    elif kind == Kind.CONDITIONAL_OPERATOR and children:
      self.negated(children[0], inside)
    elif kind == Kind.INTEGER_LITERAL:
      beside = self.binary(parent)[0]
      literal = INTEGER.match(text)
      # `i < 5` to `i < 6` is what moving the bound does, and ~T{0} stands for all ones.
      all_ones = re.search(r'~\s*[\w:]+\{$', self.source.text(max(0, start - 40), start))
      if literal and not all_ones and beside not in MOVED and parent.kind not in (
          Kind.DECL_REF_EXPR, Kind.MEMBER_REF_EXPR, Kind.CASE_STMT):
        add('constant replaced', start, end, next_number(*literal.groups()))
    elif kind == Kind.CXX_BOOL_LITERAL_EXPR and text in ('true', 'false'):
      add('constant replaced', start, end, 'false' if text == 'true' else 'true')
    elif kind == Kind.DECL_REF_EXPR and re.search(r'memory_order(_|::)\w+$', text) and \
        not text.endswith('relaxed'):
      add('atomic order weakened', start, end,
          re.sub(r'(memory_order(_|::))\w+$', r'\1relaxed', text))
    elif kind in (Kind.CALL_EXPR, Kind.INIT_LIST_EXPR):
      self.call(cursor, children, inside, add)

    for child in children:
      if child.kind == Kind.COMPOUND_STMT:
        self.statement(child, inside, cursor)
      elif child.kind.is_expression():
        # A cast that is not written stands between, with the same extent.
        same = self.extent(child) == (start, end) and kind == Kind.UNEXPOSED_EXPR
        self.expression(child, inside, parent if same else cursor)

  def call(self, cursor, children, inside, add):
    start, end = self.extent(cursor)
    text = self.source.text(start, end)
    is_call = cursor.kind == Kind.CALL_EXPR
    arguments = list(cursor.get_arguments()) if is_call else children
    if not (is_call and cursor.spelling in SAME_BOTH_WAYS):
      for one, two in zip(arguments, arguments[1:]):
        if one is None or two is None:
          continue
        (a, b), (c, d) = self.extent(one), self.extent(two)
        if one_line(self.source.text(b, c)) != ',':
          continue
        left, right = self.source.text(a, b), self.source.text(c, d)
        kind = plain_type(one)
        if re.match(r'\.\w+ = ', left):  # the order of named members means nothing
          continue
        if left == right or kind != plain_type(two) or 'dependent' in kind:
          continue
        add('arguments swapped', a, d, right + self.source.text(b, c) + left)
    if is_call and text.endswith(')'):
      called = re.match(r'[\w.:>()\[\]*-]*?(\w+)(<[^()]*>)?\(', text)
      if called and cursor.spelling in READS and ('.' in text or '->' in text):
        add('read repeated', start, end, f'(static_cast<void>({text}), {text})')

  # The text.

  def extent(self, cursor):
    return cursor.extent.start.offset, cursor.extent.end.offset

  def peeled(self, cursor):
    """Without casts that are not written."""
    while cursor.kind == Kind.UNEXPOSED_EXPR:
      inner = list(cursor.get_children())
      if len(inner) != 1 or self.extent(inner[0]) != self.extent(cursor):
        break
      cursor = inner[0]
    return cursor

  def shown(self, cursor, parent):
    """The range that stands for a change inside of `cursor`: with what is around it, if short."""
    start, end = self.extent(cursor)
    if cursor.kind in (Kind.INTEGER_LITERAL, Kind.CXX_BOOL_LITERAL_EXPR, Kind.DECL_REF_EXPR):
      outer, outer_end = self.extent(parent)
      if parent.kind not in FUNCTIONS and outer <= start and end <= outer_end and \
          outer_end - outer <= LONGEST:
        return outer, outer_end
    return start, end

  def binary(self, cursor):
    """A binary operator that is written here, and its range."""
    if cursor.kind not in (Kind.BINARY_OPERATOR, Kind.COMPOUND_ASSIGNMENT_OPERATOR,
                           Kind.UNEXPOSED_EXPR, Kind.CALL_EXPR):
      return '', 0, 0
    children = list(cursor.get_children())
    if cursor.kind in (Kind.UNEXPOSED_EXPR, Kind.CALL_EXPR):
      # An operator of a class, or of a type that a template does not know yet.
      if len(children) == 3:
        children = [children[0], children[2]]
      if len(children) != 2 or not all(c.kind.is_expression() for c in children):
        return '', 0, 0
    elif len(children) != 2:
      return '', 0, 0
    start, end = self.extent(cursor)
    (left, first), (last, right) = self.extent(children[0]), self.extent(children[1])
    if left != start or right != end or first > last:
      return '', 0, 0
    between = self.source.text(first, last)
    operator = between.strip()
    known = MOVED.keys() | NEGATED.keys() | REPLACED.keys() | ASSIGNMENTS | {'&&', '||', '%'}
    if operator not in known:
      return '', 0, 0
    first += len(between) - len(between.lstrip())
    return operator, first, first + len(operator)

  def add(self, inside, operator, start, end, replacement, shown_start, shown_end):
    source = self.source
    # What a macro expands to has no text of its own; one inside of what is deleted does no harm.
    whole = operator in ('statement deleted', 'early return dropped', 'lock dropped',
                         'side dropped', 'arguments swapped', 'read repeated',
                         'return value replaced', 'condition negated')
    for first, last in source.macros:
      overlaps = start < last and first < end
      if overlaps and not (whole and start <= first and last <= end):
        return
    text = source.text(shown_start, shown_end)
    to = (source.text(shown_start, start) + replacement + source.text(end, shown_end))
    line, column = source.place(start)
    mutant = Mutant(source.name, inside.function, operator, one_line(text),
                    one_line(to) or '(nothing)', line, column, start, end, replacement,
                    inside.folded)
    source.mutants.setdefault((start, end, replacement), mutant)


def next_number(digits, suffix):
  plain = digits.replace("'", '').lower()
  if plain.startswith('0x'):
    return f'{int(plain, 16) + 1:#x}{suffix}'
  if plain.startswith('0b'):
    return f'{int(plain, 2) + 1:#b}{suffix}'
  base = 8 if plain.startswith('0') and len(plain) > 1 else 10
  return f'{int(plain, base) + 1}{suffix}'


def is_made_of_nothing(kind):
  """Whether `{}` is a value of the type, as far as its class shows it."""
  children = list(kind.get_canonical().get_declaration().get_children())
  constructors = [c for c in children if c.kind == Kind.CONSTRUCTOR]
  return not constructors or any(c.is_default_constructor() for c in constructors)


def plain_type(cursor):
  return re.sub(r'\b(const|volatile)\b ?', '', cursor.type.get_canonical().spelling).strip()


def qualified(cursor):
  """A function's name with its classes, without namespaces."""
  names = [cursor.spelling]
  parent = cursor.semantic_parent
  while parent is not None and parent.kind in CLASSES:
    names.append(parent.spelling)
    parent = parent.semantic_parent
  return '::'.join(re.sub(r'<.*>$', '', name) if 'operator' not in name else name
                   for name in reversed(names))


@functools.lru_cache(None)
def name_of(path, top):
  """A file's name from the top; empty when it lies elsewhere."""
  try:
    return str(pathlib.Path(path).resolve().relative_to(top))
  except ValueError:
    return ''


def compiler_arguments(entry):
  """What libclang needs of a command in compile_commands.json."""
  words = shlex.split(entry['command'])
  kept = [word for word in words
          if re.match(r'-(D|U|std=|f(freestanding|no-exceptions|no-rtti)|pthread)', word)]
  for i, word in enumerate(words):
    if word in ('-isystem', '-include', '-I'):
      kept += [word, str(pathlib.Path(entry['directory'], words[i + 1]).resolve())]
    elif word.startswith('-I') or word.startswith('-isystem'):
      option = '-I' if word.startswith('-I') else '-isystem'
      kept += [option, str(pathlib.Path(entry['directory'], word[len(option):]).resolve())]
  return kept


def units_for(names, entries, includes, top):
  """The fewest translation units, roughly, that show all of `names`: (entry, its names)."""
  left = set(names)
  by_source = {}
  for entry in entries:
    source = name_of(pathlib.Path(entry['directory'], entry['file']), top)
    by_source.setdefault(source, entry)
  for name in sorted(left & by_source.keys()):
    seen = (left & set(includes.get(name, ()))) | {name}
    left -= seen
    yield by_source[name], seen
  while left:
    # Tests last: their headers are long.
    best = max(sorted(by_source), key=lambda source: (
        bool(left & set(includes.get(source, ()))), not source.startswith('tests/'),
        len(left & set(includes.get(source, ())))))
    seen = left & set(includes.get(best, ()))
    if not seen:
      return
    left -= seen
    yield by_source[best], seen


def find(top, names, build, includes):
  """The mutants and the functions of the files, and the files that nothing compiles.

  `top` holds the sources, `build` a configured folder of theirs; `includes` says for a source
  which of the project's files it includes.
  """
  top = top.resolve()
  entries = json.loads((build / 'compile_commands.json').read_text())
  sources = {name: Source(top, name) for name in names}
  index = clang.cindex.Index.create()
  seen = set()
  for entry, shown in units_for(names, entries, includes, top):
    path = pathlib.Path(entry['directory'], entry['file']).resolve()
    try:
      unit = index.parse(str(path), compiler_arguments(entry), options=(
          clang.cindex.TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD))
    except clang.cindex.TranslationUnitLoadError as error:
      raise RuntimeError(f'{path}: libclang cannot parse it') from error
    # What this libclang does not know yet is left out of the tree; the rest of it stands.
    errors = [d for d in unit.diagnostics if d.severity >= clang.cindex.Diagnostic.Fatal]
    if errors:
      raise RuntimeError(f'{path}: {errors[0].spelling} at {errors[0].location}')
    Finder(top, {name: sources[name] for name in shown}).run(unit)
    seen |= shown
  mutants, functions = [], []
  for name in sorted(sources):
    counts = {}
    for mutant in sorted(sources[name].mutants.values(), key=lambda m: (m.start, m.end, m.to)):
      mutant.ordinal = counts.get(mutant.key(), 0)
      counts[mutant.key()] = mutant.ordinal + 1
      told = json.dumps([*mutant.key(), mutant.ordinal])
      mutant.id = hashlib.sha256(told.encode()).hexdigest()[:12]
      mutants.append(mutant)
    functions += sources[name].functions.values()
  return mutants, functions, sorted(set(names) - seen)
