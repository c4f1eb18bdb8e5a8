"""Runs what a change can have broken.

Changed are the files that are not committed; if there are none, those of the last commit; with BASE
all since that commit. The build knows what each test of the suites unit and litmus is made of: its
objects and their headers, its scripts and what these name. The tests that a changed file is part of
are built and run, most telling first, until two minutes are over. What was not run is named.

The plain build alone is asked: sanitizers, bare metal, real Xen and fuzzing are suites to be asked
for by name.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / 'tests/mutants'))

import suites
import trees

SECONDS = 110  # then no test begins: the last ones take a few more
AT_ONCE = os.cpu_count() or 1
COMPILED = re.compile(r'\.(cc|c|S)\.o$')
BARE_METAL = ('ppc64', 'x86_64')
QEMU = TOP / 'tests/qemu/run.py'
FOLDERS = {'xen': 'tests/xen/', 'fuzz': 'tests/fuzz/', 'faults': 'tests/mutants/'}


def ranked(changed, tests, killers):
  """The tests that a changed file is part of, most telling first.

  `tests` has the files of each of a test's parts; `killers` has the tests that are known to notice
  faults in a file, best first. A file's only test is as good as those. The others follow, by how
  many parts must be made anew for them, and the small ones first.
  """
  made_anew = {name: sum(not changed.isdisjoint(part) for part in parts)
               for name, parts in tests.items()}
  concerned = [name for name in tests if made_anew[name]]
  ranks = {}
  for file in changed:
    of_it = [name for name in concerned if any(file in part for part in tests[name])]
    noticing = [name for name in killers.get(file, []) if name in of_it]
    if len(of_it) == 1:
      noticing = of_it
    for rank, name in enumerate(noticing):
      ranks[name] = min(rank, ranks.get(name, rank))
  return sorted(concerned, key=lambda name: (ranks.get(name, len(tests)), made_anew[name],
                                             len(tests[name]), name))


def left_of(names, at_once, seconds, attempt, now=time.monotonic):
  """Attempts tests, some at once, until one attempt says no or time is over; names the others."""
  end = now() + seconds
  while names and now() < end and attempt(names[:at_once], end - now()):
    names = names[at_once:]
  return names


def git(*arguments):
  done = subprocess.run(['git', *arguments], cwd=TOP, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, text=True)
  if done.returncode != 0:
    sys.exit(f'git {arguments[0]}: {done.stderr.strip()}')
  return {name for name in done.stdout.split('\0') if name}


def changed_files(base):
  """What changed, and since when."""
  listed = ['-z', '--no-renames', '--name-only']
  names = git('diff', *listed, base or 'HEAD', '--')
  names |= git('ls-files', '-z', '--others', '--exclude-standard')
  if names or base:
    return names, f'since {base}' if base else 'and not committed'
  return git('show', *listed, '--first-parent', '-m', '--format=', 'HEAD'), 'by the last commit'


class Build:
  """What the build folder knows about its tests."""

  def __init__(self, changed):
    self.changed = changed
    self.tree = trees.Tree('', top=TOP)
    self.headers = {name for name in changed if name.endswith('.h')}
    self.modules = {pathlib.Path(name).stem: name for name in trees.tracked()
                    if name.startswith('tests/') and name.endswith('.py')}
    self.holds = {output: set(names) for output, names in self.tree.includes()[1].items()}
    for entry in json.loads((suites.BUILD / 'compile_commands.json').read_text()):
      # A file whose path a program is told when it is compiled.
      told = {name for name in changed if f'"{TOP / name}"' in entry['command']}
      self.holds.get(entry['output'], set()).update(told)

  def parts(self, targets, command=()):
    """The files of each object, then all others. Any header is in an object not compiled yet."""
    inputs = self.tree.ninja('-t', 'inputs', *targets).stdout.splitlines() if targets else []
    objects = [self.holds.get(name, self.headers) for name in inputs if COMPILED.search(name)]
    others = {os.path.relpath(suites.BUILD / path, TOP) for path in [*inputs, *command]}
    for script in [name for name in others if name.endswith('.py')]:
      others |= self.named_by(script, set())
    folders = {folder for name in set().union(others, *objects)
               for folder in pathlib.PurePath(name).parents}
    return [*objects, others | {str(folder / 'meson.build') for folder in folders}]

  def named_by(self, script, seen):
    """The changed files that a script, or a module that it imports, names by path or folder."""
    seen.add(script)
    text = (TOP / script).read_text() if script in self.modules.values() else ''
    words = {word.rstrip('/') for word in re.findall(r"""['"](\w+[./][\w./-]*)['"]""", text)}
    named = {name for name in self.changed
             if words & {name, *map(str, pathlib.PurePath(name).parents)}}
    for module in re.findall(r'^(?:import|from) (\w+)', text, re.M):
      if module in self.modules and self.modules[module] not in seen:
        named |= {self.modules[module]} | self.named_by(self.modules[module], seen)
    return named

  def suites_by_name(self):
    """The other suites that a changed file is part of, with those files."""
    found = {suite: self.changed & set().union(*self.parts([f'qemu-{suite}'], [QEMU]))
             for suite in BARE_METAL}
    found |= {suite: {name for name in self.changed if name.startswith(folder)}
              for suite, folder in FOLDERS.items()}
    return {suite: files for suite, files in found.items() if files}


def made(targets, seconds):
  """Whether the targets could be made; None: not in time. What ninja has begun it takes back."""
  if not targets:
    return True
  with subprocess.Popen(['ninja', '-C', str(suites.BUILD), *targets], stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT, text=True) as ninja:
    try:
      output, _ = ninja.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
      ninja.send_signal(signal.SIGINT)
      ninja.communicate()
      return None
  if ninja.returncode != 0:
    print(output)
  return ninja.returncode == 0


def main():
  begun = time.monotonic()
  parser = argparse.ArgumentParser(prog='./tests/run --changed', description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('base', metavar='BASE', nargs='?', help='a commit')
  base = parser.parse_args().base
  sys.stdout.reconfigure(line_buffering=True)
  os.chdir(TOP)
  if subprocess.run(['git', 'rev-parse', '--verify', f'{base or "HEAD"}^{{commit}}'],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
    parser.error(f"git knows no commit '{base or 'HEAD'}' here")

  changed, since = changed_files(base)
  print(f'changed {since}: {" ".join(sorted(changed)) or "nothing"}')
  if not (suites.BUILD / 'build.ninja').exists():
    print('build/ is new: what includes what is not known yet, and much must be compiled')
  suites.build(suites.BUILD, target='build.ninja')
  build = Build(changed)
  tests = build.tree.tests('unit', 'litmus')
  killers = json.loads((TOP / 'tests/mutants/killers.json').read_text())
  parts = {name: build.parts(test.depends, test.command) for name, test in tests.items()}
  names = ranked(changed, parts, killers)
  print(f'{len(names)} of {len(tests)} tests are made of it')

  counts = suites.Counts()
  is_broken = False

  def attempt(some, seconds):
    nonlocal counts, is_broken
    is_made = made({output for name in some for output in tests[name].depends}, seconds)
    if is_made:
      found = suites.meson_tests(suites.BUILD, *some, shows_all=False)
      print(f'{" ".join(some)}: {found}')
      counts += found
    elif is_made is False:
      is_broken = True
      counts.failed += 1
    return is_made

  left = left_of(names, AT_ONCE, SECONDS - (time.monotonic() - begun), attempt)
  if left:
    counts.skipped += len(left)
    why = 'what they need could not be made' if is_broken else 'the time was over'
    print(f'{len(left)} tests were not run, since {why}; this runs them:\n'
          f'  meson test -C build {" ".join(left)}')
  by_name = build.suites_by_name()
  if by_name:
    print(f'made of it, and not run: ./tests/run {" ".join(by_name)}')
  asked = set().union(*by_name.values(), *(part for of_it in parts.values() for part in of_it))
  if changed - asked:
    print(f'no test is made of {" ".join(sorted(changed - asked))}')
  print(counts)
  return 1 if counts.failed else 0


if __name__ == '__main__':
  sys.exit(main())
