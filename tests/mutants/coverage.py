"""Which tests reach which lines, and which lines no test reaches.

  ./tests/run coverage [--jobs N]

prints, for each file of the freestanding parts (xencomm/, arch/, hcall/hypervisor/), how many of
its lines and branches the unit suite reaches, and each line that no test reaches and for which
unreached.json has no reason. An entry there names the file, the function and the text of the line,
not its number; one that is reached, or stands nowhere any more, is named too. Ways that only an
exception would take are not counted. Closes with `N passed, N failed`: one check for each folder,
whose unreached lines must all have their reason, and one for the list.

A copy of the tree is built with gcc's counters; each test of the unit suite runs with a folder of
its own for what they counted. A test whose program did not change is not run again.
"""

import argparse
import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import places
import trees

HERE = pathlib.Path(__file__).resolve().parent
UNREACHED = HERE / 'unreached.json'
SECONDS = 900  # a test's time limit

# What these tests do has little to do with what a line of the library does: they install it, ask
# what stands in its headers and libraries, or are about the command, the compiler of the op table
# and what it makes.
APART = re.compile(r'install|.*_symbols|schema_(json|dwarf|facts|comments)|facts_object|layers|'
                   r'layout|op_table_compiler|rust|command$')


class Counts:
  """What the tests counted. Lines are numbers; `tests` of a line are indexes into `names`."""

  def __init__(self):
    self.names = []
    self.lines = {}     # file -> line -> the tests that reach it
    self.branches = {}  # file -> line -> how often each way was taken, by all tests
    self.whole = {}     # file -> tests that cannot count, and have it in them
    self.made = {}      # object -> file -> the lines that it has code of

  def add(self, name, counted):
    index = len(self.names)
    self.names.append(name)
    for file, lines in counted.items():
      reached = self.lines.setdefault(file, {})
      branches = self.branches.setdefault(file, {})
      for line, (count, ways) in lines.items():
        tests = reached.setdefault(int(line), [])
        if count:
          tests.append(index)
        if ways:
          branches[int(line)] = sum_of(branches.get(int(line), []), ways)

  def add_whole(self, name, files):
    index = len(self.names)
    self.names.append(name)
    for file in files:
      self.whole.setdefault(file, []).append(index)

  def tests_of(self, file, line, function):
    """The names of the tests that reach a line; of its function, where no line is counted."""
    lines = self.lines.get(file, {})
    first = function.first if function else line
    while line not in lines and line > first:
      line -= 1
    if line in lines:
      found = set(lines[line])
    elif function:
      found = {test for number, tests in lines.items()
               if function.first <= number <= function.last for test in tests}
    else:
      found = {test for tests in lines.values() for test in tests}
    return [self.names[index] for index in sorted(found)]

  def that_cannot_count(self, file):
    """The names of the tests that cannot count, and have the file in them."""
    return {self.names[index] for index in self.whole.get(file, ())}


def sum_of(one, two):
  longer, shorter = (one, two) if len(one) >= len(two) else (two, one)
  return [count + (shorter[i] if i < len(shorter) else 0) for i, count in enumerate(longer)]


@functools.cache
def digest(file, _changed):
  """Of a file as it was when it was last changed: many tests are made of the same objects."""
  return hashlib.sha256(file.read_bytes()).digest()


def hash_of(tree, test):
  """Of all that a test is made of: a program stays as it is when a shared library changes."""
  whole = hashlib.sha256(json.dumps([test.name, test.command]).encode())
  files = [tree.build / name for name in [*test.depends, *tree.objects_of(test.depends)]]
  files += [pathlib.Path(test.folder, word) for word in test.command]
  for file in files:
    if file.is_file():
      whole.update(digest(file, file.stat().st_mtime_ns))
  return whole.hexdigest()[:16]


def tree():
  made = trees.Tree('coverage', '-Db_coverage=true', '-Doptimization=0', '-Ddebug=false')
  # Several threads count.
  made.environment.update(CFLAGS='-fprofile-update=atomic', CXXFLAGS='-fprofile-update=atomic')
  return made


def counted_lines(built, folder):
  """What one test counted: file -> line -> (count, ways)."""
  build = built.build
  counters = sorted(folder.rglob('*.gcda'))
  inside = []
  for counter in counters:
    notes = pathlib.Path('/', counter.relative_to(folder)).with_suffix('.gcno')
    if notes.exists():
      beside = counter.with_suffix('.gcno')
      if not beside.exists():
        beside.symlink_to(notes)
      inside.append(str(counter))
  found = {}
  for i in range(0, len(inside), 20):
    done = subprocess.run(['gcov', '--json-format', '--stdout', '--branch-probabilities',
                           *inside[i:i + 20]], cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    for text in done.stdout.splitlines():
      if not text.startswith(b'{'):
        continue
      for file in json.loads(text)['files']:
        name = places.name_of(build / file['file'], built.top)
        if not re.match(r'(xencomm|arch|hcall)/', name):
          continue
        lines = found.setdefault(name, {})
        # A line stands there once for each function that is made of it.
        for line in file['lines']:
          ways = [way['count'] for way in line['branches'] if not way['throw']]
          count, others = lines.get(line['line_number'], (0, []))
          lines[line['line_number']] = (count + line['count'], sum_of(others, ways))
  return found


def lines_in_objects(built):
  """For each object: file -> the lines that it has code of, whether they run or not."""
  found = {}
  notes = sorted(str(path.relative_to(built.build)) for path in built.build.rglob('*.gcno'))
  for name in notes:
    done = subprocess.run(['gcov', '--json-format', '--stdout', name], cwd=built.build,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          stdin=subprocess.DEVNULL)
    lines = found.setdefault(str(pathlib.Path(name).with_suffix('.o')), {})
    for text in done.stdout.splitlines():
      if text.startswith(b'{'):
        for file in json.loads(text)['files']:
          where = places.name_of(built.build / file['file'], built.top)
          if where:
            lines.setdefault(where, set()).update(
                line['line_number'] for line in file['lines'])
  return found


def measure(names, jobs, source=trees.TOP, say=print):
  """Builds and runs what is new in the working tree, or in a copy of it, and reads all counts."""
  built = tree()
  built.update(names, source)
  built.configure()
  tests = {name: test for name, test in built.tests().items() if not APART.match(name)}
  say(f'building {len(tests)} tests with counters')
  done = built.make(jobs, '-k0', *sorted({d for t in tests.values() for d in t.depends}))
  failed = re.findall(r'^FAILED: (\S+)', done.output, re.M)
  if not done.passed and failed != ['tests/unit/freestanding']:
    sys.exit(done.output[-4000:])
  _, by_object = built.includes()
  cache = trees.WORK / 'counts'
  cache.mkdir(exist_ok=True)

  def count(test):
    if not all((built.build / name).exists() for name in test.depends):
      return None
    kept = cache / f'{test.name}-{hash_of(built, test)}.json'
    if not kept.exists():
      folder = trees.WORK / 'counters' / test.name
      shutil.rmtree(folder, ignore_errors=True)
      folder.mkdir(parents=True)
      ended = trees.run_test(test, SECONDS, folder / 'scratch', {'GCOV_PREFIX': str(folder)},
                             limited=False)
      if not ended.passed:
        say(f'{test.name} fails where nothing was changed, and is left out:\n'
            f'{ended.output[-2000:]}')
        return {}
      found = counted_lines(built, folder)
      shutil.rmtree(folder)
      for old in cache.glob(f'{test.name}-*.json'):
        old.unlink()
      kept.write_text(json.dumps(found))
      say(f'{test.name}: {sum(1 for lines in found.values() for c, _ in lines.values() if c)} '
          f'lines ({ended.seconds:.1f} s)')
    return json.loads(kept.read_text())

  counts = Counts()
  counts.made = lines_in_objects(built)
  with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
    for test, found in zip(tests.values(), pool.map(count, tests.values())):
      if found is None:  # linked with nothing, not even with counters
        files = set()
        for name in built.objects_of(test.depends):
          files.update(by_object.get(name, ()))
        if not files:  # its object has no neighbours that were linked
          files = {n for o, ns in by_object.items() if f'/{test.name}.p/' in o for n in ns}
        counts.add_whole(test.name, sorted(files))
      else:
        counts.add(test.name, found)
  return counts


def freestanding(names):
  """The files of the freestanding parts; xencomm/meson.build says which of the core are."""
  build = (trees.TOP / 'xencomm' / 'meson.build').read_text()
  listed = re.search(r'install_headers\((.*?)subdir', build, re.S).group(1)
  core = {f'xencomm/{name}' for name in re.findall(r"'([\w.]+\.h)'", listed)}
  return [name for name in names
          if name in core or re.match(r'(arch|hcall/hypervisor)/.*\.(h|cc)$', name)]


class Reasons:
  """Why some lines are reached by no test."""

  def __init__(self):
    entries = json.loads(UNREACHED.read_text()) if UNREACHED.exists() else []
    self.left = {(e['file'], e['function'], e['text']): e.get('reason', '').strip()
                 for e in entries}
    self.used = set()

  def of(self, *key):
    reason = self.left.get(key, '')
    if reason:
      self.used.add(key)
    return reason

  def stale(self):
    return sorted(self.left.keys() - self.used)


def percent(part, whole):
  return f'{100 * part / whole:.1f} %' if whole else '-'


def main(arguments):
  import run  # which needs this

  parser = argparse.ArgumentParser(prog='./tests/run coverage', description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--jobs', type=int, default=os.cpu_count() or 1,
                      help='tests to run at once (default: one for each processor)')
  options = parser.parse_args(arguments)
  sys.stdout.reconfigure(line_buffering=True)
  os.nice(10)
  trees.stop_when_asked()
  lock = trees.alone()  # until the process ends
  names = trees.tracked()
  counts = measure(names, options.jobs)
  _, functions, _ = run.places_of(tree(), names)

  reasons = Reasons()
  rows = [('', 'lines', '', 'branches', '')]
  sums, bare = {}, {}
  for file in freestanding(names):
    lines, branches = counts.lines.get(file, {}), counts.branches.get(file, {})
    if not lines:
      continue
    folder = 'hcall/hypervisor' if file.startswith('hcall/') else file.split('/')[0]
    ways = [way for taken in branches.values() for way in taken]
    reached = sum(1 for tests in lines.values() if tests)
    row = (reached, len(lines), sum(1 for way in ways if way), len(ways))
    sums[folder] = [a + b for a, b in zip(sums.get(folder, (0, 0, 0, 0)), row)]
    rows.append((file, f'{row[0]}/{row[1]}', percent(*row[:2]), f'{row[2]}/{row[3]}',
                 percent(*row[2:])))
    text = (trees.TOP / file).read_text().splitlines()
    of_it = [f for f in functions if f.file == file]
    for line in sorted(number for number, tests in lines.items() if not tests):
      inside = [f for f in of_it if f.first <= line <= f.last]
      name = min(inside, key=lambda f: f.last - f.first).name if inside else ''
      told = places.one_line(text[line - 1])
      if not reasons.of(file, name, told):
        bare.setdefault(folder, []).append((file, line, name, told))
  rows += [(folder, f'{s[0]}/{s[1]}', percent(*s[:2]), f'{s[2]}/{s[3]}', percent(*s[2:]))
           for folder, s in sums.items()]
  run.table(rows)

  failed = 0
  for folder in sums:
    of_it = bare.get(folder, [])
    for file, line, name, told in of_it:
      print(f'{file}:{line} {name}: not reached: {told}')
    failed += bool(of_it)
  stale = reasons.stale()
  for file, function, text in stale:
    print(f'unreached.json: {file} {function}: is reached, or has no reason: {text}')
  failed += bool(stale)
  print(f'{len(sums) + 1 - failed} passed, {failed} failed')
  return 1 if failed else 0


if __name__ == '__main__':
  try:
    sys.exit(main(sys.argv[1:]))
  except trees.Stopped:
    sys.exit(1)
