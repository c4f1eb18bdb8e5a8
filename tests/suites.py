"""The test suites, and the sum of what they found.

Each suite ends in counts: Meson's tests by their JUnit record, every other program by the line
"N passed, N failed[, N skipped]" that it closes with. A program that ends without its closing line
has failed, whatever its exit code says.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / 'build'
CLOSING = re.compile(r'^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$')
FAILURE = re.compile(r'\bFAIL\b|\bfailed: line \d')

# What failed, to be told once more at the end: thousands of lines may follow it.
failures = []


class Counts:
  def __init__(self, passed=0, failed=0, skipped=0):
    self.passed, self.failed, self.skipped = passed, failed, skipped

  def __iadd__(self, other):
    self.passed += other.passed
    self.failed += other.failed
    self.skipped += other.skipped
    return self

  def __str__(self):
    skipped = f', {self.skipped} skipped' if self.skipped else ''
    return f'{self.passed} passed, {self.failed} failed{skipped}'


# Of builds that are only run: what they find is told by file and line, and that is all a debugger
# gets. It saves a third of the compiler's time.
LINES_ONLY = ['-Ddebug=false', '-Dc_args=-g1', '-Dcpp_args=-g1']


def build(folder, *options, target='all', compilers=None):
  """Configures `folder` when it is new, and builds it. Quiet unless it fails."""
  if not (folder / 'build.ninja').exists():
    print(f'configuring {folder.relative_to(TOP)}', flush=True)
    run_quietly(['meson', 'setup', str(folder), str(TOP), *options], compilers)
  print(f'building {folder.relative_to(TOP)}', flush=True)
  run_quietly(['ninja', '-C', str(folder), target])


def run_quietly(command, environment=None):
  done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                        env={**os.environ, **(environment or {})})
  if done.returncode != 0:
    print(done.stdout)
    sys.exit(f'failed: {" ".join(command)}')


def meson_tests(folder, *selection, shows_all=True):
  """Runs some of Meson's tests; a GoogleTest program counts by its test cases."""
  record = folder / 'meson-logs' / 'testlog.junit.xml'
  record.unlink(missing_ok=True)
  done = subprocess.run(['meson', 'test', '-C', str(folder), '--no-rebuild', '--print-errorlogs',
                         *selection], text=True,
                        stdout=None if shows_all else subprocess.PIPE)
  if done.returncode != 0 and not shows_all:
    print(done.stdout)
  if not record.exists():
    print(f'{" ".join(selection)}: no tests were run')
    return Counts(failed=1)
  counts = Counts()
  for case in xml.etree.ElementTree.parse(record).iter('testcase'):
    reason = next((case.find(kind) for kind in ('failure', 'error') if case.find(kind) is not None),
                  None)
    if reason is not None:
      counts.failed += 1
      said = '\n'.join([reason.text or '', *(case.findtext(stream) or ''
                                             for stream in ('system-out', 'system-err'))])
      failures.append(f'{folder.name}: {case.get("classname")}.{case.get("name")}')
      failures.extend(said.strip().splitlines()[-30:])
    elif case.find('skipped') is not None or case.get('status') == 'notrun':
      counts.skipped += 1
      print(f'skipped: {case.get("classname")}.{case.get("name")}')
    else:
      counts.passed += 1
  if done.returncode != 0 and counts.failed == 0:
    print(f'{" ".join(selection)}: meson test ended with code {done.returncode}')
    counts.failed += 1
  return counts


def program(*command):
  """Runs a program that prints its own checks and closes with their counts."""
  counts = None
  with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                        errors='replace', cwd=TOP) as running:
    for line in running.stdout:
      closing = CLOSING.match(line.rstrip())
      if closing:
        counts = Counts(*(int(number or 0) for number in closing.groups()))
      else:
        print(line, end='', flush=True)
        if FAILURE.search(line):
          failures.append(line.rstrip())
  if counts is None:
    print(f'{command[0]} ended without its closing line')
    return Counts(failed=1)
  if running.returncode != 0 and counts.failed == 0:
    print(f'{command[0]} ended with code {running.returncode}')
    counts.failed += 1
  return counts


def unit():
  build(BUILD)
  counts = meson_tests(BUILD, '--suite', 'unit')
  # Small programs, in all orders that C++'s memory model allows.
  counts += meson_tests(BUILD, '--suite', 'litmus')
  return counts


def threads():
  # The thread sanitizer takes a build of its own.
  threaded = BUILD / 'thread'
  build(threaded, '-Db_sanitize=thread', '-Doptimization=1', *LINES_ONLY,
        target='threaded-tests')
  return meson_tests(threaded, '--suite', 'threads')


def sanitize():
  # The checks are so many that optimizing them takes longer than running them.
  sanitized = BUILD / 'sanitize'
  build(sanitized, '-Db_sanitize=address,undefined', '-Doptimization=1', *LINES_ONLY)
  # What `xencomm run` puts in front of programs comes before the sanitizer's library, too.
  os.environ['ASAN_OPTIONS'] = 'verify_asan_link_order=0'
  return meson_tests(sanitized, '--suite', 'unit')


def bare_metal(suite):
  build(BUILD, target=f'qemu-{suite}')
  return program('/usr/bin/python3', 'tests/qemu/run.py', suite, '--build', str(BUILD))


def xen():
  build(BUILD)
  return program('/usr/bin/python3', 'tests/xen/run.py', str(BUILD))


def region(*more):
  build(BUILD)
  return program('/usr/bin/python3', 'tests/xen/regions.py', str(BUILD), *more)


def fuzz():
  folder = BUILD / 'fuzz'
  build(folder, '-Dfuzz=true', '-Db_sanitize=address,undefined', '-Db_lundef=false',
        target='fuzzers', compilers={'CC': 'clang', 'CXX': 'clang++'})
  counts = Counts()
  for fuzzer in sorted((folder / 'tests' / 'fuzz').glob('*_fuzz')):
    # A fixed seed and a bounded number of inputs: the same work in every run.
    done = subprocess.run([fuzzer, '-seed=1', '-runs=60000', '-max_len=4096', '-timeout=10',
                           f'-artifact_prefix={folder}/'],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors='replace')
    if done.returncode == 0 and 'Done 60000 runs' in done.stdout:
      print(f'{fuzzer.name}: 60000 inputs')
      counts.passed += 1
    else:
      print(done.stdout[-4000:])
      print(f'{fuzzer.name}: failed')
      counts.failed += 1
  return counts


def faults():
  return program('/usr/bin/python3', 'tests/mutants/run.py', '--quick', '12')


SUITES = {
    'unit': (unit, 'GoogleTest programs, and small ones in all orders of memory'),
    'threads': (threads, 'unit tests that have threads, under the thread sanitizer'),
    'ppc64': (lambda: bare_metal('ppc64'), 'PowerPC without firmware in QEMU: 970, powernv9'),
    'x86_64': (lambda: bare_metal('x86_64'), 'ring 0 and ring 3 of x86-64 in QEMU'),
    'xen': (xen, 'toolstack calls, good ones and refused ones, on real Xen 4.17 and 4.20 in QEMU'),
    'region': (region, 'regions in real Xen 4.17, built with hcall/xen, in QEMU'),
    'fuzz': (fuzz, 'libFuzzer targets, a fixed number of inputs each'),
    'faults': (faults, 'a few planted faults, drawn by the state of the tree, against the floors'),
}

# What takes too long for every run is run when it is named.
ONLY_NAMED = {
    'region-all': (lambda: region('--all'),
                   'more of it: guests of PVH domains, Xen with CONFIG_DEBUG'),
    'sanitize': (sanitize, 'unit tests under the address and undefined-behaviour sanitizers'),
}


# Not parts of the ordinary run; each takes what follows its name.
TOOLS = {
    '--changed': ('tests/changed.py', 'what a change can have broken, in two minutes'),
    'mutants': ('tests/mutants/run.py', 'faults are planted: does a test notice?'),
    'coverage': ('tests/mutants/coverage.py', 'the lines that no unit test reaches'),
}


def main():
  if len(sys.argv) > 1 and sys.argv[1] in TOOLS:
    script = TOP / TOOLS[sys.argv[1]][0]
    os.chdir(TOP)
    os.execv(sys.executable, [sys.executable, str(script), *sys.argv[2:]])

  every = SUITES | ONLY_NAMED
  listing = '\n'.join(f'  {name:<10} {what}' for name, (_, what) in SUITES.items())
  listing += '\nonly when named:\n'
  listing += '\n'.join(f'  {name:<10} {what}' for name, (_, what) in ONLY_NAMED.items())
  listing += '\nby themselves, with options of their own:\n'
  listing += '\n'.join(f'  {name:<10} {what}' for name, (_, what) in TOOLS.items())
  parser = argparse.ArgumentParser(
      prog='./tests/run', description='Runs the tests.', epilog=f'suites:\n{listing}',
      formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('suites', metavar='SUITE', nargs='*',
                      help=f'the suites to run (default: all but {", ".join(ONLY_NAMED)})')
  names = parser.parse_args().suites
  for name in names:
    if name not in every:
      parser.error(f"there is no suite '{name}'; the suites are {', '.join(every)}")

  os.chdir(TOP)
  total = Counts()
  for name in names or SUITES:
    suite, what = every[name]
    print(f'== {name}: {what}', flush=True)
    counts = suite()
    print(f'== {name}: {counts}', flush=True)
    total += counts
  if failures:
    print('== failed:', *failures, sep='\n')
  print(total)
  return 1 if total.failed or not total.passed else 0


if __name__ == '__main__':
  sys.exit(main())
