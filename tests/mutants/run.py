#!/usr/bin/env python3
"""Plants faults, one at a time, and sees whether a test notices.

  ./tests/run mutants [OPTION…] [FILE…]

A fault, or mutant, is one change of the text of the library: a statement deleted, a condition
negated, a constant replaced (tests/mutants/places.py has the list). It is made in a copy of the
working tree; only what depends on it is built; the tests of the unit suite that reach the line run
one after the other, quickest and likeliest first, until one fails. Then the mutant is

  killed           by that test, by a static_assert, or by a test's not ending
  survived         all tests pass that reach it
  not reached      no test reaches its line; it counts as survived
  same code        the compiler makes the same of both: no test of this build can tell them apart
  did not compile
  equivalent       equivalent.json says why no test can notice; it is not tried

and the last three count for nothing.

Mutated are the hand-written C++ sources under xencomm/, arch/ and hcall/, without the command
(hcall/tools). Without FILE, --sample of them are drawn, from each folder in proportion but at least
40: the seed is printed, and decides for each mutant by itself, so that the sample of a seed hardly
changes when the sources do. With FILE, all of its mutants are tried.

Tests of the unit suite run in their plain build alone: what only a litmus program sees (a weaker
atomic order: tests/litmus plants those by itself), a sanitizer or a bare-metal machine is beyond
this.

A run can be stopped (Ctrl-C) and started again: what was found about the same tree is not tried
again, nor what was killed by a test that is made of the same texts as now. At the end: the score of
each folder, killed / (killed + survived + not reached), against the floor that floors.json gives
for it, if any; each survivor; and `N passed, N failed`, one check for each folder that has a floor,
and one for the list of equivalent mutants, whose entries must all still stand for a mutant.
"""

import argparse
import collections
import dataclasses
import hashlib
import json
import os
import pathlib
import queue
import random
import re
import sys
import threading
import time

import coverage
import places
import trees

HERE = pathlib.Path(__file__).resolve().parent
EQUIVALENT = HERE / 'equivalent.json'
FLOORS = HERE / 'floors.json'
KILLERS = HERE / 'killers.json'
LEAST = 40  # of each folder
NEXT_TO_IMPOSSIBLE = 0.001
FEW = 4
EXEMPT = re.compile(r'hcall/tools/')

# What of the hypervisor is not an op's own: copies, regions, frames, grants, events, memory, and
# the way of a call.
CORE = re.compile(
    r'hcall/hypervisor/(base/(cpu_mask|spin_lock|work)|memory/\w+|domain/\w+|'
    r'calls/(argument|bitmap|call|event_channel_op|exchange|grant_table_op|hypercall_\w+|'
    r'memory_map_op|memory_op|multicall|op_table|physmap_op|region_op|reservation)|'
    r'dispatch|hypervisor)\.(h|cc)$')

KILLED, SURVIVED, NOT_REACHED = 'killed', 'survived', 'not reached'
SAME, NO_COMPILE, IS_EQUIVALENT = 'same code', 'did not compile', 'equivalent'


def folder_of(name):
  if CORE.match(name):
    return 'hcall/hypervisor'
  if name.startswith('hcall/schema/'):
    return 'hcall/schema'
  return name.split('/')[0] if not name.startswith('hcall/') else 'hcall, the rest'


def mutated(names):
  return [name for name in names
          if re.match(r'(xencomm|arch|hcall)/.*\.(h|cc)$', name) and not EXEMPT.match(name)]


def places_of(tree, names):
  """All mutants and functions, and the files that nothing here compiles.

  What was found in a file is kept until its text changes.
  """
  tool = (HERE / 'places.py').read_bytes()
  kept = trees.WORK / 'places.json'
  known = json.loads(kept.read_text()) if kept.exists() else {}
  texts = {name: hashlib.sha256(tool + (tree.top / name).read_bytes()).hexdigest()[:16]
           for name in mutated(names)}
  new = sorted(name for name, text in texts.items()
               if name not in known or known[name]['of'] != text)
  if new:
    print(f'looking for places in {len(new)} files', flush=True)
    includes, _ = tree.includes()
    mutants, functions, unseen = places.find(tree.top, new, tree.build, includes)
    for name in new:
      known[name] = {'of': texts[name], 'mutants': [], 'functions': [], 'unseen': name in unseen}
    for mutant in mutants:
      known[mutant.file]['mutants'].append(dataclasses.asdict(mutant))
    for function in functions:
      known[function.file]['functions'].append(dataclasses.asdict(function))
    kept.write_text(json.dumps(known))
  files = [known[name] for name in sorted(texts)]
  return ([places.Mutant(**m) for file in files for m in file['mutants']],
          [places.Function(**f) for file in files for f in file['functions']],
          [name for name in sorted(texts) if known[name]['unseen']])


class Equivalents:
  """Mutants that no test can notice, by function and text, each with its reason."""

  def __init__(self, mutants, files=None):
    entries = json.loads(EQUIVALENT.read_text())
    self.entries = [e for e in entries if files is None or e.get('file') in files]
    keys = {mutant.key() for mutant in mutants}
    self.keys = set()
    self.stale = []
    for entry in self.entries:
      key = tuple(entry.get(name, '') for name in ('file', 'function', 'operator', 'text', 'to'))
      self.keys.add(key)
      if key not in keys:
        self.stale.append((entry, 'stands for no mutant'))
      elif not entry.get('reason', '').strip():
        self.stale.append((entry, 'has no reason'))

  def __contains__(self, mutant):
    return mutant.key() in self.keys


def drawn(mutants, count, seed):
  """A sample: of each folder in proportion, but not less than LEAST."""
  by_folder = collections.defaultdict(list)
  for mutant in mutants:
    by_folder[folder_of(mutant.file)].append(mutant)
  least = min(LEAST, count // max(1, len(by_folder)))
  sample = []
  for of_it in by_folder.values():
    share = max(least, round(count * len(of_it) / len(mutants)))
    of_it.sort(key=lambda m: hashlib.sha256(f'{seed} {m.id}'.encode()).digest())
    sample += of_it[:share]
  return sample


class Costs:
  """What a test costs for a mutant, and how likely it is to notice it."""

  def __init__(self, tree, tests, seconds, made):
    self.seconds = seconds  # of a test's run
    self.made = made        # object -> file -> the lines that it has code of
    _, by_object = tree.includes()
    self.compiling = {}
    for line in (tree.build / '.ninja_log').read_text().splitlines()[1:]:
      begun, ended, _, output, _ = line.split('\t')
      self.compiling[output] = (int(ended) - int(begun)) / 1000
    self.objects = {name: tree.objects_of(test.depends) for name, test in tests.items()}
    self.made_of = {name: texts_of(tree, test, self.objects[name], by_object)
                    for name, test in tests.items()}
    self.holders = collections.defaultdict(set)  # file -> objects
    for output, names in by_object.items():
      for name in names:
        self.holders[name].add(output)
    self.lock = threading.Lock()
    self.tries = collections.Counter()
    self.kills = collections.Counter()

  def learn(self, file, test, killed):
    with self.lock:
      for key in (test, (file, test)):
        self.tries[key] += 1
        self.kills[key] += killed

  def objects_with(self, file, function):
    """The objects that have code of the function, as far as that is known; else of the file."""
    if function is None:
      return self.holders[file]
    lines = set(range(function.first, function.last + 1))
    return {name for name in self.holders[file]
            if name not in self.made or lines & self.made[name].get(file, set())}

  def holds(self, test, file):
    """Whether the file is in something that the test is made of."""
    return any(name in self.holders[file] for name in self.objects[test])

  def next(self, file, tests, waiting):
    """The test to try next: the least time for a kill, as things look.

    `waiting` are the objects that must still be made.
    """
    def time_for_a_kill(test):
      building = [name for name in self.objects[test] if name in waiting]
      cost = self.seconds[test] + sum(self.compiling.get(name, 1) for name in building) + \
          (0.5 if building else 0.3)
      usual = (self.kills[test] + 1) / (self.tries[test] + 3)
      likely = (self.kills[file, test] + 2 * usual) / (self.tries[file, test] + 2)
      return cost / likely
    with self.lock:
      return min(tests, key=time_for_a_kill)


def texts_of(tree, test, objects, by_object):
  """A hash of all texts that a test is made of."""
  names = {name for output in objects for name in by_object.get(output, ())}
  scripts = [pathlib.Path(test.folder, word) for word in test.command]
  names |= {places.name_of(script, tree.top) for script in scripts if script.suffix == '.py'}
  whole = hashlib.sha256(json.dumps(sorted(names)).encode())
  for name in sorted(names):
    whole.update((tree.top / name).read_bytes())
  return whole.hexdigest()[:16]


class Worker(threading.Thread):
  """Tries mutants in a tree of its own."""

  def __init__(self, run, tree):
    super().__init__(daemon=True)
    self.run_, self.tree = run, tree
    self.tests = tree.tests()
    self.scratch = trees.WORK / f'{tree.name}.scratch'

  def run(self):
    try:
      while not trees.GROUPS.stopped:
        try:
          mutants = self.run_.work.get_nowait()
        except queue.Empty:
          return
        for mutant in mutants:
          begun = time.monotonic()
          verdict = self.attempt(mutant)
          self.run_.done(mutant, time.monotonic() - begun, **verdict)
    except trees.Stopped:
      pass
    except BaseException as error:  # say it, and end the whole run
      self.run_.error = error
      trees.GROUPS.stop()
      raise

  def attempt(self, mutant):
    """Plants a fault, tries the tests, and takes it out again.

    The objects that have code of the changed function are put aside, so that ninja makes them anew;
    the others stay, since the changed file looks as old as it was. Afterwards the old objects come
    back, and what was linked is thrown away.
    """
    run = self.run_
    left = run.tests_for(mutant)
    if not left:
      return {'verdict': NOT_REACHED}
    every = run.costs.holders[mutant.file]
    some = run.costs.objects_with(mutant.file, run.inside(mutant)) or every
    path = self.tree.top / mutant.file
    original, status = path.read_bytes(), path.stat()

    def write(text):
      path.write_bytes(text)
      os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    try:
      write(original[:mutant.start] + mutant.replacement.encode() + original[mutant.end:])
      verdict = self.verdict(mutant, left, some)
      # What the compiler has worked out by itself is code of nothing.
      if verdict['verdict'] in (SURVIVED, NOT_REACHED, SAME) and mutant.folded and some != every:
        self.tree.put_back()
        again = self.verdict(mutant, left, every)
        verdict = again | {'tests': verdict['tests'] + again.get('tests', 0)}
      return verdict
    finally:
      self.tree.put_back()
      write(original)

  def verdict(self, mutant, left, objects):
    costs, tree = self.run_.costs, self.tree
    left, waiting, tried, differs = list(left), set(objects), 0, False
    while left:
      name = costs.next(mutant.file, left, waiting)
      left.remove(name)
      test = self.tests[name]
      concerned = [o for o in costs.objects[name] if o in objects]
      if not concerned:
        continue
      tree.put_aside([o for o in concerned if o in waiting], self.tests[name].depends)
      waiting.difference_update(concerned)
      built = tree.make(self.run_.ninja_jobs, *test.depends, keep=False)
      if not built.passed:
        asserted = re.search(r'^(\S+?):(\d+):\d+: error: static assertion failed', built.output,
                             re.M)
        if asserted:
          place = os.path.relpath(os.path.normpath(tree.build / asserted.group(1)), tree.top)
          return {'verdict': KILLED, 'by': f'static_assert, {place}:{asserted.group(2)}'}
        error = re.search(r'^.*(error|undefined symbol|undefined reference)\b:.*$',
                          built.output, re.M)
        said = error.group(0) if error else built.output[-300:]
        return {'verdict': NO_COMPILE, 'by': said[:300], 'tests': tried}
      if all(tree.is_same(o) for o in concerned):
        continue
      differs = True
      usual = costs.seconds[name]
      ended = trees.run_test(test, 10 * usual + 5, self.scratch,
                             {'GTEST_FAIL_FAST': '1', 'GTEST_BRIEF': '1'})
      tried += 1
      costs.learn(mutant.file, name, not ended.passed)
      if ended.hung:
        return {'verdict': KILLED, 'by': f"{name}'s not ending", 'tests': tried}
      if not ended.passed:
        case = re.search(r'^\[  FAILED  \] ([\w./]+)', ended.output, re.M)
        return {'verdict': KILLED, 'by': name, 'case': case.group(1) if case else '',
                'tests': tried}
    if not differs:
      return {'verdict': SAME, 'tests': 0}
    # Tests that cannot count were tried for good measure, and so were those of folded functions.
    return {'verdict': SURVIVED if self.run_.is_counted(mutant) else NOT_REACHED, 'tests': tried}


class Run:
  """One run: what there is to do, what came out."""

  def __init__(self, counts, functions, costs, tests, results, jobs):
    self.counts, self.costs, self.tests = counts, costs, tests
    self.functions = collections.defaultdict(list)
    for function in functions:
      self.functions[function.file].append(function)
    self.results = results
    self.ninja_jobs = max(1, (os.cpu_count() or 1) // jobs)
    self.work = queue.Queue()
    self.lock = threading.Lock()
    self.found = {}
    self.total = self.count = 0
    self.error = None

  def inside(self, mutant):
    around = [f for f in self.functions[mutant.file]
              if f.first <= mutant.line <= f.last and f.name == mutant.function]
    return around[0] if around else None

  def is_counted(self, mutant):
    """Whether a test was seen to reach it."""
    return bool(self.counts.tests_of(mutant.file, mutant.line, self.inside(mutant)))

  def tests_for(self, mutant):
    """The names of the tests that could notice."""
    names = set(self.counts.tests_of(mutant.file, mutant.line, self.inside(mutant)))
    if not names:
      # What the compiler works out is counted nowhere, nor what runs in a child that just exits: any
      # test that has the file may see it.
      names = {name for name in self.tests if self.costs.holds(name, mutant.file)}
    names |= self.counts.that_cannot_count(mutant.file)
    return sorted(names & self.costs.seconds.keys())

  def known(self):
    """What earlier runs found that still holds."""
    for path in sorted(trees.WORK.glob('results-*.jsonl'), key=lambda path: path == self.results):
      for line in path.read_text().splitlines():
        try:
          found = json.loads(line)
        except ValueError:  # cut short when the machine went down
          continue
        by = found['by']
        if found['verdict'] == KILLED and by in self.costs.seconds:
          self.costs.learn(found['file'], by, True)
          if found.get('of') == self.costs.made_of[by]:
            self.found[found['id']] = found
        if path == self.results:
          self.found[found['id']] = found
    return self.found

  def done(self, mutant, seconds, verdict, by='', case='', tests=0):
    found = {'id': mutant.id, 'verdict': verdict, 'by': by, 'case': case, 'tests': tests,
             'seconds': round(seconds, 2), 'file': mutant.file, 'line': mutant.line,
             'function': mutant.function, 'operator': mutant.operator, 'text': mutant.text,
             'to': mutant.to}
    if verdict == KILLED and by in self.costs.made_of:
      found['of'] = self.costs.made_of[by]
    with self.lock:
      self.found[mutant.id] = found
      with open(self.results, 'a') as results:
        results.write(json.dumps(found) + '\n')
      self.count += 1
      how = f'{verdict} by {by}' if verdict == KILLED else verdict
      width = len(str(self.total))
      print(f'[{self.count:{width}}/{self.total}] {how} ({seconds:.1f} s)  {mutant.file}:'
            f'{mutant.line} {mutant.function}: {short(mutant)}', flush=True)

  def start(self, mutants, known, workers):
    """Tries the mutants: those of one file together, since a tree is built from the last one."""
    by_file = collections.defaultdict(list)
    for mutant in mutants:
      by_file[mutant.file].append(mutant)
    groups = [of_it[i:i + 8] for of_it in by_file.values() for i in range(0, len(of_it), 8)]
    for group in sorted(groups, key=len, reverse=True):
      self.work.put(group)
    self.count, self.total = known, known + len(mutants)
    for worker in workers:
      worker.start()
    for worker in workers:
      while worker.is_alive():
        worker.join(0.5)
    if self.error:
      raise self.error


def short(mutant):
  """The change without what is the same on both sides, if that is long."""
  text, to = mutant.text, mutant.to
  if len(text) + len(to) <= 120:
    return f'{text} -> {to}'
  begin = len(os.path.commonprefix([text, to]))
  end = len(os.path.commonprefix([text[begin:][::-1], to[begin:][::-1]]))
  begin, end = max(0, begin - 30), max(0, end - 30)

  def cut(whole):
    middle = whole[begin:len(whole) - end]
    if len(middle) > 100:
      middle = f'{middle[:60]} … {middle[-30:]}'
    return f'{"…" if begin else ""}{middle}{"…" if end else ""}'
  return f'{cut(text)} -> {cut(to)}'


def baseline(tree, tests):
  """How long each test takes; without those that fail where nothing was changed."""
  kept = trees.WORK / 'seconds.json'
  known = json.loads(kept.read_text()) if kept.exists() else {}
  seconds = {}
  for name, test in tests.items():
    key = f'{name} {coverage.hash_of(tree, test)}'
    if key not in known:
      ended = trees.run_test(test, coverage.SECONDS, trees.WORK / f'{tree.name}.scratch',
                             {'GTEST_FAIL_FAST': '1', 'GTEST_BRIEF': '1'})
      if not ended.passed:
        print(f'{name} fails where nothing was changed, and is left out:\n{ended.output[-2000:]}')
        continue
      known[key] = ended.seconds
      kept.write_text(json.dumps(known, indent=1))
    seconds[name] = known[key]
  return seconds


def ready(tree, names, jobs, wanted=None, source=trees.TOP):
  """Brings a tree up to date and builds all tests in it, or those that are wanted."""
  tree.update(names, source)
  tree.configure()
  tree.recover()
  tests = {n: t for n, t in tree.tests().items()
           if not coverage.APART.match(n) and (wanted is None or n in wanted)}
  built = tree.make(jobs, *sorted({output for test in tests.values() for output in test.depends}))
  if not built.passed:
    sys.exit(built.output[-4000:])
  return tests


def table(rows):
  widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
  for row in rows:
    print(f'{row[0]:<{widths[0]}}  ' + '  '.join(f'{cell:>{width}}' for cell, width in
                                                 zip(row[1:], widths[1:])))


def chance_of(survivors, floors):
  """How likely so many survivors are, or more, when each dies with a chance of its own."""
  exactly = [1.0]  # so many survivors
  for floor in floors:
    alive = [chance * (1 - floor) for chance in exactly]
    dead = [chance * floor for chance in exactly]
    exactly = [a + d for a, d in zip([0.0, *alive], [*dead, 0.0])]
  return sum(exactly[survivors:])


def report(mutants, found, equivalents, skipped, by_file, is_quick):
  """Prints what came out; answers how many checks passed and failed."""
  floors = json.loads(FLOORS.read_text())
  counts = collections.defaultdict(collections.Counter)
  for mutant in mutants:
    if mutant.id in found:
      place = mutant.file if by_file else folder_of(mutant.file)
      counts[place][found[mutant.id]['verdict']] += 1
  for mutant in skipped:
    counts[mutant.file if by_file else folder_of(mutant.file)][IS_EQUIVALENT] += 1

  survivors = [found[m.id] | {'short': short(m)} for m in mutants
               if m.id in found and found[m.id]['verdict'] in (SURVIVED, NOT_REACHED)]
  for one in sorted(survivors, key=lambda s: (s['file'], s['line'])):
    print(f'\n{one["file"]}:{one["line"]} {one["function"]} ({one["operator"]}, {one["verdict"]}'
          f'; {one["id"]})')
    print(f'  - {one["text"]}\n  + {one["to"]}')

  print()
  rows = [('', KILLED, SURVIVED, NOT_REACHED, SAME, NO_COMPILE, IS_EQUIVALENT, 'score',
           'floor')]
  passed = failed = 0
  for place in sorted(counts):
    count = counts[place]
    judged = count[KILLED] + count[SURVIVED] + count[NOT_REACHED]
    score = count[KILLED] / judged if judged else 1.0
    floor = None if by_file else floors.get(place)
    rows.append((place, count[KILLED], count[SURVIVED], count[NOT_REACHED], count[SAME],
                 count[NO_COMPILE], count[IS_EQUIVALENT], f'{100 * score:.1f} %',
                 'none' if floor is None else f'{100 * floor:.1f} %'))
    if floor is None or is_quick:
      continue
    if score >= floor:
      passed += 1
    else:
      failed += 1
      print(f'{place}: the score is below its floor')
  table(rows)
  if is_quick:
    of_each = [floors[folder_of(m.file)] for m in mutants if m.id in found and
               found[m.id]['verdict'] in (KILLED, SURVIVED)]
    chance = chance_of(len(survivors), of_each)
    print(f'so many survivors, or more, have a chance of {100 * chance:.1f} % above the floors')
    passed += chance >= NEXT_TO_IMPOSSIBLE
    failed += chance < NEXT_TO_IMPOSSIBLE

  for entry, why in equivalents.stale:
    print(f'equivalent.json: {entry.get("file")} {entry.get("function")}: '
          f'{entry.get("text")} -> {entry.get("to")} {why}')
  failed += bool(equivalents.stale)
  passed += not equivalents.stale
  return passed, failed


def parsed(arguments):
  parser = argparse.ArgumentParser(prog='./tests/run mutants', description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('files', metavar='FILE', nargs='*',
                      help='mutate these alone, and try all of their mutants')
  parser.add_argument('--sample', metavar='N', type=int, help='how many to draw (default: 400)')
  parser.add_argument('--seed', type=int, help='of the sample (default: a new one)')
  parser.add_argument('--all', action='store_true', help='try all mutants of all files')
  parser.add_argument('--only', metavar='ID', action='append', help='try this one, known or not')
  parser.add_argument('--survivors', action='store_true',
                      help='try those that the last run, of whatever tree, has left alive')
  parser.add_argument('--list', action='store_true', help='print the mutants, try none')
  parser.add_argument('--fresh', action='store_true',
                      help='try again what an earlier run found about this tree')
  parser.add_argument('--quick', metavar='N', type=int,
                      help='try so many, by the tests alone that killers.json names')
  parser.add_argument('--learn', action='store_true',
                      help='write killers.json anew, of all that was found and still holds')
  parser.add_argument('--jobs', type=int, default=os.cpu_count() or 1,
                      help='copies to work in at once (default: one for each processor)')
  return parser.parse_args(arguments)


def chosen(options, mutants, equivalents):
  """The mutants to try, and those that are passed over as equivalent."""
  if options.only:
    return [m for m in mutants if m.id in options.only], []
  if options.survivors:
    alive = set()
    newest = max(trees.WORK.glob('results-*.jsonl'), key=lambda p: p.stat().st_mtime, default=None)
    if newest:
      for found in map(json.loads, newest.read_text().splitlines()):
        (alive.add if found['verdict'] in (SURVIVED, NOT_REACHED) else alive.discard)(found['id'])
    mutants = [m for m in mutants if m.id in alive]
  if options.files:
    mutants = [m for m in mutants if m.file in options.files]
  skipped = [m for m in mutants if m in equivalents]
  mutants = [m for m in mutants if m not in equivalents]
  if options.sample or not (options.files or options.all or options.survivors):
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    print(f'seed {seed}')
    mutants = drawn(mutants, options.sample or 400, seed)
  return mutants, skipped


class Killers:
  """The tests that have killed mutants of a file, most of them first; of many the first few."""

  def __init__(self):
    self.of = {file: tests[:FEW] for file, tests in json.loads(KILLERS.read_text()).items()}
    self.made = {}

  def tests_of(self, file, line, function):
    return self.of.get(file, [])

  def that_cannot_count(self, file):
    return set()

  @staticmethod
  def learn(found):
    by_file = collections.defaultdict(collections.Counter)
    for one in found:
      if one['verdict'] == KILLED and 'of' in one:
        by_file[one['file']][one['by']] += 1
    KILLERS.write_text(json.dumps({file: [by for by, _ in counter.most_common()]
                                   for file, counter in sorted(by_file.items())}, indent=1) + '\n')


def a_few(options, names, tree, key):
  """What --quick tries: the mutants, all of their files, by which tests."""
  killers = Killers()
  seed = int(key, 16) if options.seed is None else options.seed
  print(f'seed {seed}')
  by_chance = random.Random(seed)
  # One mutant each of files drawn by their length: the others need not be looked at.
  files = sorted(set(mutated(names)) & killers.of.keys())
  lengths = [(trees.TOP / name).stat().st_size for name in files]
  files = sorted(set(by_chance.choices(files, lengths, k=options.quick)))
  tests = ready(tree, names, options.jobs, {test for name in files for test in killers.of[name]})
  mutants, functions, _ = places_of(tree, files)
  equivalents = Equivalents(mutants, files)
  todo = [by_chance.choice(of_it) for file in files
          if (of_it := [m for m in mutants if m.file == file and m not in equivalents])]
  return todo, functions, equivalents, tests, killers


def main(arguments):
  options = parsed(arguments)
  sys.stdout.reconfigure(line_buffering=True)
  os.nice(10)
  lock = trees.alone()  # until the process ends
  names = trees.tracked()
  options.files = [os.path.normpath(name) for name in options.files]
  for name in options.files:
    if name not in mutated(names):
      sys.exit(f'{name} is not among the files that are mutated')

  trees.stop_when_asked()

  key = trees.tree_hash(names)
  # A copy for every few mutants: it takes longer to build than they do.
  jobs = max(1, options.jobs) if options.quick is None else 1
  made = [trees.Tree(f'tree-{i}', '-Doptimization=1', '-Ddebug=false') for i in range(jobs)]
  print(f'building the tests of tree {key}', flush=True)
  if options.quick is not None:
    todo, functions, equivalents, tests, counts = a_few(options, names, made[0], key)
    skipped = []
  else:
    tests = ready(made[0], names, options.jobs)
    mutants, functions, unseen = places_of(made[0], names)
    for name in unseen:
      if not options.files or name in options.files:
        print(f'{name}: nothing here compiles it')
    equivalents = Equivalents(mutants)
    todo, skipped = chosen(options, mutants, equivalents)
  if options.list:
    for mutant in todo:
      print(f'{mutant.id} {mutant.file}:{mutant.line}:{mutant.column} {mutant.function} '
            f'({mutant.operator}): {mutant.what()}')
    return 0

  if options.quick is None:
    counts = coverage.measure(names, options.jobs, made[0].top)
  seconds = baseline(made[0], tests)
  results = trees.WORK / f'results-{"quick-" if options.quick is not None else ""}{key}.jsonl'
  if options.fresh or options.quick is not None:
    results.unlink(missing_ok=True)
  costs = Costs(made[0], tests, seconds, counts.made)
  run = Run(counts, functions, costs, tests, results, len(made))
  known = set() if options.only or options.quick is not None else set(run.known())
  left = [m for m in todo if m.id not in known]
  if len(left) < len(todo):
    print(f'{len(todo) - len(left)} of {len(todo)} are known from an earlier run')
  made = made[:max(1, (len(left) + 7) // 8)]
  for tree in made[1:]:  # the working tree may be another by now
    ready(tree, names, options.jobs, source=made[0].top)
  run.start(left, len(todo) - len(left), [Worker(run, tree) for tree in made])

  stopped = trees.GROUPS.stopped
  if options.learn and not stopped:
    Killers.learn(run.found.values())
  passed, failed = report(todo, run.found, equivalents, skipped,
                          bool(options.files or options.only or options.survivors),
                          options.quick is not None)
  if stopped:
    print('stopped; the same command goes on')
    return 1
  print(f'{passed} passed, {failed} failed')
  return 1 if failed else 0


if __name__ == '__main__':
  try:
    sys.exit(main(sys.argv[1:]))
  except trees.Stopped:
    sys.exit(1)
