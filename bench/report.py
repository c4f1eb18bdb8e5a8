"""Runs the benchmark program and reports what it found.

Time is processor time, the median of repetitions that are interleaved at random over all rows: what
disturbs the machine for a while disturbs every row alike. A ratio is taken to the direct pointer of
the same run. Instructions are callgrind's, and the same in every run.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / 'build' / 'bench' / 'release'
OUT = TOP / 'build' / 'bench'
PROGRAM = BUILD / 'bench' / 'xencomm_bench'

SPACES = {
    'direct': 'direct pointer',
    'registered': 'registered region',
    'stateless': 'stateless region',
    'xcom': 'XCOM descriptor',
    'walk4': '4-level walk',
    'walk5': '5-level walk',
}
ALLOCATORS = {
    'arena': 'Arena',
    'arena-cleared': 'Arena, cleared',
    'libxencall': 'libxencall (Debian)',
}
TURNS = 100  # Rows::kTurns


def run_quietly(command):
  done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
  if done.returncode != 0:
    print(done.stdout)
    sys.exit(f'failed: {" ".join(map(str, command))}')


def build():
  if not (BUILD / 'build.ninja').exists():
    print('configuring build/bench/release', flush=True)
    run_quietly(['meson', 'setup', BUILD, TOP, '--buildtype=release'])
  print('building the benchmarks', flush=True)
  run_quietly(['ninja', '-C', BUILD, 'bench/xencomm_bench'])


def measure(quick):
  """Row name → median nanoseconds, and what Google Benchmark says of the machine."""
  repetitions, seconds = (3, 0.005) if quick else (9, 0.02)
  print(f'timing, {repetitions} repetitions', flush=True)
  raw = OUT / 'raw.json'
  run_quietly([PROGRAM, f'--benchmark_repetitions={repetitions}',
               f'--benchmark_min_time={seconds}', '--benchmark_enable_random_interleaving=true',
               f'--benchmark_out={raw}', '--benchmark_out_format=json'])
  data = json.loads(raw.read_text())
  samples = {}
  for row in data['benchmarks']:
    if row['run_type'] == 'iteration':
      samples.setdefault(row['run_name'], []).append(row['cpu_time'])
  return {name: statistics.median(times) for name, times in samples.items()}, data['context']


def count_instructions():
  """Row name → instructions of one turn."""
  print('counting instructions', flush=True)
  profile = OUT / 'callgrind.out'
  for old in OUT.glob('callgrind.out*'):
    old.unlink()
  run_quietly(['valgrind', '--tool=callgrind', '--collect-atstart=no', '--combine-dumps=yes',
               f'--callgrind-out-file={profile}', PROGRAM, '--instructions'])
  counts, name = {}, None
  for line in profile.read_text().splitlines():
    trigger = re.match(r'desc: Trigger: Client Request: (.+)', line)
    total = re.match(r'(?:totals|summary): (\d+)', line)
    if trigger:
      name = trigger.group(1)
    elif total and name:
      counts.setdefault(name, round(int(total.group(1)) / TURNS, 1))
  return counts


def human(size):
  for unit, name in ((1 << 20, 'MiB'), (1 << 10, 'KiB')):
    if size >= unit and size % unit == 0:
      return f'{size // unit} {name}'
  return f'{size} B'


def nanoseconds(time):
  return f'{time:.1f} ns' if time < 1e4 else f'{time / 1e3:.0f} µs'


def table(title, columns, lines):
  print(f'\n{title}\n')
  widths = [max(len(line[i]) for line in [columns, *lines]) for i in range(len(columns))]
  for line in [columns, *lines]:
    print('  ' + '  '.join(cell.rjust(width) for cell, width in zip(line, widths)))


def print_copies(rows, group, direction, title):
  sizes = sorted({row['bytes'] for row in rows
                  if row['group'] == group and row['direction'] == direction})
  lines = []
  for size in sizes:
    at = {row['space']: row for row in rows if (row['group'], row['direction'], row['bytes']) ==
          (group, direction, size)}
    lines.append([human(size), nanoseconds(at['direct']['nanoseconds'])] +
                 [f"{nanoseconds(at[space]['nanoseconds'])} ×{at[space]['ratio']:.2f}"
                  for space in SPACES if space != 'direct'])
  table(title, ['', *SPACES.values()], lines)


def print_allocations(rows):
  lines = []
  for size in sorted({row['bytes'] for row in rows}):
    at = {row['allocator']: row['nanoseconds'] for row in rows if row['bytes'] == size}
    lines.append([human(size)] + [nanoseconds(at[name]) for name in ALLOCATORS])
  table('allocate and free a buffer', ['', *ALLOCATORS.values()], lines)


def print_instructions(rows):
  lines = []
  for row in rows:
    if row.get('instructions') is not None and row['group'] == 'element':
      lines.append(row)
  sizes = sorted({row['bytes'] for row in lines})
  text = []
  for direction in ('from', 'to'):
    for size in sizes:
      at = {row['space']: row['instructions'] for row in lines
            if row['direction'] == direction and row['bytes'] == size}
      text.append([f'{direction} {human(size)}'] + [f'{at[space]:.0f}' for space in SPACES])
  table('instructions, one structure through a typed handle', ['', *SPACES.values()], text)


def print_audits(rows):
  lines = [[row['call'], nanoseconds(row['nanoseconds']), f"{row['instructions']:.0f}"]
           for row in rows]
  table('audit of a call', ['', 'time', 'instructions'], lines)


def plot(copies, allocations):
  import matplotlib
  matplotlib.use('svg')
  from matplotlib import pyplot
  pyplot.rcParams['svg.hashsalt'] = 'xencomm'  # the same input gives the same file

  figure, panels = pyplot.subplots(1, 2, figsize=(12, 5), sharey=True)
  for panel, direction in zip(panels, ('from', 'to')):
    for space, label in SPACES.items():
      points = sorted((row['bytes'], row['ratio']) for row in copies
                      if row['group'] == 'copy' and row['direction'] == direction
                      and row['space'] == space)
      panel.plot(*zip(*points), marker='o', markersize=3, label=label)
    panel.set(title=f'copy {direction} a guest, pages scattered', xlabel='bytes', xscale='log',
              yscale='log')
    panel.grid(alpha=0.3)
  panels[0].set_ylabel('time, as a multiple of memcpy by the direct pointer')
  panels[0].legend()
  figure.tight_layout()
  figure.savefig(OUT / 'copies.svg', metadata={'Date': None})

  figure, panel = pyplot.subplots(figsize=(7, 5))
  for allocator, label in ALLOCATORS.items():
    points = sorted((row['bytes'], row['nanoseconds']) for row in allocations
                    if row['allocator'] == allocator)
    panel.plot(*zip(*points), marker='o', markersize=3, label=label)
  panel.set(title='allocate and free a hypercall buffer', xlabel='bytes', ylabel='nanoseconds',
            xscale='log', yscale='log')
  panel.grid(alpha=0.3)
  panel.legend()
  figure.tight_layout()
  figure.savefig(OUT / 'allocations.svg', metadata={'Date': None})


def main():
  parser = argparse.ArgumentParser(prog='./bench/run', description=__doc__)
  parser.add_argument('--quick', action='store_true', help='fewer and shorter repetitions')
  arguments = parser.parse_args()

  OUT.mkdir(parents=True, exist_ok=True)
  build()
  times, context = measure(arguments.quick)
  instructions = count_instructions()

  copies, allocations, audits = [], [], []
  for name, time in times.items():
    parts = name.split('/')
    row = {'nanoseconds': time, 'instructions': instructions.get(name)}
    if parts[0] == 'allocate':
      allocations.append({'allocator': parts[1], 'bytes': int(parts[2]), **row})
    elif parts[0] == 'audit':
      audits.append({'call': parts[1], **row})
    else:
      group, direction, space, size = parts
      base = times[f'{group}/{direction}/direct/{size}']
      copies.append({'group': group, 'direction': direction, 'space': space, 'bytes': int(size),
                     **row, 'ratio': time / base})

  report = {
      'machine': {key: context[key] for key in ('num_cpus', 'mhz_per_cpu', 'caches', 'load_avg')},
      'copies': copies,
      'allocations': allocations,
      'audits': audits,
  }
  (OUT / 'report.json').write_text(json.dumps(report, indent=2) + '\n')
  plot(copies, allocations)

  for direction in ('from', 'to'):
    print_copies(copies, 'copy', direction,
                 f'copy {direction} a guest: time, and as a multiple of the direct pointer')
  for direction in ('from', 'to'):
    print_copies(copies, 'element', direction,
                 f'one structure {direction} a guest through a typed handle')
  print_copies(copies, 'spread', 'from', 'one structure from another page each time, 8 MiB in all')
  print_instructions(copies)
  print_allocations(allocations)
  print_audits(audits)
  print('\nwritten: build/bench/report.json, copies.svg, allocations.svg')


if __name__ == '__main__':
  main()
