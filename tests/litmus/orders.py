#!/usr/bin/env python3
"""Whether each order of an atomic operation is needed, and a litmus program notices when it is not
there.

  orders.py [--all] SOURCES PROGRAM…

All statements of the library that name an order stronger than relaxed are looked at. Each of these
orders must be reached by a litmus program, and the programs, run again with one order after the
other made weaker by one step, must fail each time. An order that does not is named here: either a
test is wanting, or it is stronger than it need be. --all names what notices each of the others, too.
"""

import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile

FOLDERS = ('xencomm', 'hcall/hypervisor', 'hcall/transport')
ORDER = re.compile(r'(?:memory_order_|__ATOMIC_)(acquire|release|acq_rel|seq_cst)', re.I)

# As the programs number them (explorer.h; GCC's __ATOMIC_RELAXED and so on).
KINDS = ['load', 'store', 'update', 'failed update', 'fence']
ORDERS = ['relaxed', 'consume', 'acquire', 'release', 'acq_rel', 'seq_cst']


def steps_down(kind, order):
  """The next weaker orders."""
  if order == 'seq_cst':
    return {'store': ['release'], 'load': ['acquire'],
            'failed update': ['acquire']}.get(kind, ['acq_rel'])
  return ['acquire', 'release'] if order == 'acq_rel' else ['relaxed']


def statements(top):
  """Of each file, {line: (first line of the statement, the orders that it names)}."""
  found = {}
  for folder in FOLDERS:
    for path in sorted((top / folder).rglob('*')):
      if path.suffix not in ('.h', '.cc'):
        continue
      lines = [re.sub(r'//.*', '', line).rstrip() for line in path.read_text().splitlines()]
      by_line = {}
      first = 0
      only_sanitized = False
      for i, line in enumerate(lines):
        if line.startswith('#'):
          only_sanitized = line == '#ifdef __SANITIZE_THREAD__'
        if line and line[-1] not in ';{}' and not line.startswith('#'):
          continue
        orders = sorted(each.lower() for each in ORDER.findall('\n'.join(lines[first:i + 1])))
        if orders and not only_sanitized:
          start = next(n for n in range(first, i + 1) if lines[n].strip())
          by_line.update((n + 1, (start + 1, orders)) for n in range(first, i + 1))
        first = i + 1
      if by_line:
        found[path.relative_to(top).as_posix()] = by_line
  return found


def run(program, weakenings=''):
  """The program's report, as lists of words."""
  with tempfile.NamedTemporaryFile('w') as weaken, tempfile.NamedTemporaryFile('r') as report:
    weaken.write(weakenings)
    weaken.flush()
    done = subprocess.run([program, '--gtest_brief=1'],
                          env={**os.environ, 'LITMUS_WEAKEN': weaken.name,
                               'LITMUS_REPORT': report.name},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
      print(done.stdout)
      sys.exit(f'{program} failed')
    return [line.rstrip('\n').split('\t') for line in report]


def lines_of(program, places, top):
  """For each address the lines of the library that it comes from, innermost first, as inlined."""
  builds = pathlib.Path(program).resolve().parent
  while not (builds / 'build.ninja').exists():
    builds = builds.parent
  # Of the call, not of what comes after it.
  addresses = '\n'.join(hex(int(place, 16) - 1) for place in places)
  answer = subprocess.run(['addr2line', '-i', '-a', '-e', program], input=addresses,
                          stdout=subprocess.PIPE, text=True, check=True).stdout
  for frames in re.split(r'^0x\w+\n', answer, flags=re.M)[1:]:
    lines = []
    for frame in frames.splitlines():
      name, _, line = frame.split(' ')[0].rpartition(':')
      path = (builds / name).resolve()
      if path.is_relative_to(top) and line.isdigit():
        lines.append((path.relative_to(top).as_posix(), int(line)))
    yield lines


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--all', action='store_true')
  parser.add_argument('sources', type=lambda path: pathlib.Path(path).resolve())
  parser.add_argument('programs', nargs='+')
  options = parser.parse_args()

  found = statements(options.sources)
  reached = collections.defaultdict(set)
  noticed = {}
  for program in options.programs:
    sites = [row[1:] for row in run(program)]
    groups = {}
    weakenings = []
    for (place, kind, order), lines in zip(
        sites, lines_of(program, [site[0] for site in sites], options.sources)):
      if not lines:
        continue
      name, line = lines[0]
      first, orders = found.get(name, {}).get(line, (line, []))
      order_name, kind_name = ORDERS[int(order)], KINDS[int(kind)]
      if order_name not in orders:
        continue  # one that is not named: the default
      reached[name, first].add(order_name)
      # A fence is one for each function that asks for it.
      via = lines[1][1] if kind_name == 'fence' and len(lines) > 1 else 0
      for weaker in steps_down(kind_name, order_name):
        key = name, first, via, kind_name, order_name, weaker
        noticed.setdefault(key, None)
        if noticed[key] is None:
          group = groups.setdefault(key, len(groups))
          weakenings.append(f'{place} {kind} {order} {ORDERS.index(weaker)} {group}\n')
    keys = list(groups)
    for row in run(program, ''.join(weakenings)):
      if row[0] == 'noticed':
        noticed[keys[int(row[1])]] = row[2]

  failed = 0
  for name, by_line in found.items():
    for first, orders in sorted(set((first, tuple(orders)) for first, orders in by_line.values())):
      for order in sorted(set(orders) - reached[name, first]):
        failed += 1
        print(f'{name}:{first}: {order}: no program comes here')
  for (name, first, via, kind, order, weaker), by in sorted(noticed.items()):
    failed += by is None
    if options.all or by is None:
      place = f'{name}:{first}' + (f' (from {via})' if via else '')
      print(f'{place}: {kind} {order} made {weaker}: {by or "nothing notices"}')
  print(f'{sum(by is not None for by in noticed.values())} passed, {failed} failed')
  return 1 if failed else 0


if __name__ == '__main__':
  sys.exit(main())
