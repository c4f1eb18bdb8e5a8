"""Runs the benchmark programs and reports what they found.

Time is processor time, the median of repetitions that are interleaved at random over all rows: what
disturbs the machine for a while disturbs every row alike. A ratio is taken to the direct pointer of
the same run. Instructions are callgrind's, and the same in every run.

Calls of libxenctrl go over three libxencall.so.1 in turn: Debian's, a model of Xen's newest, and
this project's. Hypercalls of theirs are answered at once; with --xen, by real Xen, too. Their time
is the clock's, and the kernel's work for buffers is in it. In callgrind's instructions it is not,
but in those of --xen. The same calls are made to this project's hypervisor: in the program's own
process; in a machine's, by our libxencall; and there by Debian's over the devices.

Other domains' memory is had on a machine by Debian's libraries and by this project's interface, and
with --xen on real Xen; beside it plain memory, of the same size and touched alike.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import compare
import results
import tables
import xen

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / 'build' / 'bench' / 'release'
OUT = TOP / 'build' / 'bench'
PROGRAM = BUILD / 'bench' / 'xencomm_bench'
XENCTRL = BUILD / 'bench' / 'xenctrl_bench'
SHARING = BUILD / 'bench' / 'sharing_bench'
# 4 MiB of single frames; 1 GiB in the shortest runs of which a process may have so many mappings.
FRAMES = ['frames=1024:1', 'frames=262144:16']
# In which folder of the build each libxencall.so.1 lies: Debian's, a model of Xen's newest, this
# project's.
LIBRARIES = {'stock': None, 'cached': 'bench', 'ours': 'hcall/xencall'}
TARGETS = ['bench/xencomm_bench', 'bench/xenctrl_bench', 'bench/sharing_bench',
           'bench/libxencall.so.1.3', 'hcall/xencall/libxencall.so.1.3', 'hcall/xencall/libxenforeignmemory.so.1.4',
           'hcall/tools/xencomm', 'hcall/devices/libxencomm-preload.so',
           'hcall/devices/libxencomm-devices.so']


def run_quietly(command, environment=None):
  done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                        env={**os.environ, **(environment or {})})
  if done.returncode != 0:
    print(done.stdout)
    sys.exit(f'failed: {" ".join(map(str, command))}')
  return done.stdout


def build(*targets):
  """All that is measured here, or what is asked for."""
  if not (BUILD / 'build.ninja').exists():
    print('configuring build/bench/release', flush=True)
    run_quietly(['meson', 'setup', BUILD, TOP, '--buildtype=release'])
  print('building the benchmarks', flush=True)
  run_quietly(['ninja', '-C', BUILD, *(targets or TARGETS)])


def measure(repetitions, seconds):
  """Name → what is known of its time, and what Google Benchmark says of the machine."""
  raw = OUT / 'raw.json'
  run_quietly([PROGRAM, f'--benchmark_repetitions={repetitions}',
               f'--benchmark_min_time={seconds}', '--benchmark_enable_random_interleaving=true',
               f'--benchmark_out={raw}', '--benchmark_out_format=json'])
  data = json.loads(raw.read_text())
  return results.read_times(data), data['context']


def loading(library):
  """The environment in which the loader takes this one."""
  folder = LIBRARIES[library]
  return {'LD_LIBRARY_PATH': str(BUILD / folder) if folder else ''}


def measure_libxenctrl(repetitions):
  return results.read_xenctrl((library, run_quietly([XENCTRL, 'null'], loading(library)))
                              for _ in range(repetitions) for library in LIBRARIES)


ON_MACHINE = [BUILD / 'hcall' / 'tools' / 'xencomm', 'run', '--']
ON_ONE = ['taskset', '--cpu-list', str(min(os.sched_getaffinity(0)))]


def measure_sharing(repetitions):
  """Each time on a new machine; on one processor, since how long another one takes to wake up is
  nobody's figure. Of so much memory, less often."""
  what = [['grants'], ['disk'], ['vchan'], *([each] for each in FRAMES)]
  return results.read_sharing(
      run_quietly([*ON_ONE, *ON_MACHINE, SHARING, *each])
      for turn in range(repetitions) for each in what if each[0] != FRAMES[-1] or turn < 3)


def measure_hosts(repetitions):
  """Where two processors are to be had, a call and its answer meet on them as the kernel places
  both; on one they take turns."""
  on_machine = [*ON_MACHINE, XENCTRL, 'xen']
  hosts = {
      'embedded': ([XENCTRL, 'xen'], loading('ours') | {'XENCOMM_TRANSPORT': 'embedded'}),
      'machine': (on_machine, loading('ours')),
      'machine-1': ([*ON_ONE, *on_machine], loading('ours')),
      'devices': (on_machine, loading('stock')),
      'devices-1': ([*ON_ONE, *on_machine], loading('stock')),
  }
  return results.read_hosts((host, run_quietly(*how))
                            for _ in range(repetitions) for host, how in hosts.items())


def count(command, behind='', environment=None):
  """Name → instructions of one turn. `behind` is added to the names of rows. Valgrind counts each
  byte of a string instruction, which a processor moves by the line: so the C library is told to do
  without."""
  profile = OUT / 'callgrind.out'
  for old in OUT.glob(f'{profile.name}*'):
    old.unlink()
  whole = 1 << 40
  tunables = ':'.join(f'glibc.cpu.x86_rep_{what}_threshold={whole}' for what in ('movsb', 'stosb'))
  run_quietly(['valgrind', '--tool=callgrind', '--collect-atstart=no', '--collect-systime=yes',
               '--combine-dumps=yes', f'--callgrind-out-file={profile}', *command,
               '--instructions'], {'GLIBC_TUNABLES': tunables, **(environment or {})})
  return results.read_counts(profile.read_text(), behind)


def gather(quick):
  """All rows, and the machine that they are of."""
  repetitions, seconds = (3, 0.005) if quick else (9, 0.02)
  print(f'timing, {repetitions} repetitions', flush=True)
  times, context = measure(repetitions, seconds)
  found = [times, measure_libxenctrl(repetitions), measure_hosts(repetitions),
           measure_sharing(repetitions)]
  print('counting instructions', flush=True)
  found.append(count([PROGRAM]))
  for library in LIBRARIES:
    found.append(count([XENCTRL, 'null'], f'/{library}', loading(library)))
  machine = {key: context.get(key) for key in ('num_cpus', 'mhz_per_cpu', 'caches', 'load_avg')}
  return found, machine


def machine_figures():
  """What calls cost on the bare-metal machines."""
  figures = {}
  for suite in ('x86_64', 'ppc64'):
    print(f'booting the machines of {suite}', flush=True)
    done = subprocess.run(['/usr/bin/python3', TOP / 'tests' / 'qemu' / 'run.py', suite, '--build',
                           BUILD, '--figures'], stdout=subprocess.PIPE, text=True)
    found = results.read_machines(done.stdout)
    if done.returncode != 0 or not found:
      print(done.stdout)
    figures |= found
  return figures


def read_report(path):
  """The rows of an earlier report."""
  try:
    return json.loads(path.read_text())['rows']
  except (OSError, ValueError, KeyError, TypeError) as error:
    sys.exit(f'{path} is no report to compare with: {error!r}')


def publish(rows, machine, folder, old):
  """Prints the report and writes it into a folder. `old`: the rows to compare with, or None."""
  results.add_ratios(rows)
  tables.print_report(rows)
  if old is not None:
    compare.print_changes(old, rows)
  (folder / 'report.json').write_text(
      json.dumps({'machine': machine, 'rows': rows}, indent=2) + '\n')
  import plots  # late: it takes a second
  written = plots.draw(rows, folder)
  print(f'\nwritten: {", ".join([os.path.relpath(folder / "report.json", TOP), *written])}')


def main():
  parser = argparse.ArgumentParser(prog='./bench/run', description=__doc__)
  parser.add_argument('--quick', action='store_true', help='fewer and shorter repetitions')
  parser.add_argument('--compare', metavar='OLD.json', type=pathlib.Path,
                      help='an earlier report.json: says what became slower, and what faster')
  parser.add_argument('--machines', action='store_true',
                      help='also what calls cost on the bare-metal machines of the tests')
  parser.add_argument('--xen', action='store_true',
                      help="also what libxenctrl's calls and others' memory cost on real Xen")
  arguments = parser.parse_args()
  old = read_report(arguments.compare) if arguments.compare else None

  OUT.mkdir(parents=True, exist_ok=True)
  build()
  found, machine = gather(arguments.quick)
  if arguments.machines:
    found.append(machine_figures())
  if arguments.xen:
    print('booting real Xen', flush=True)
    found.append(xen.figures(BUILD, TOP / 'build' / 'xen', LIBRARIES))
  publish(results.rows_of(*found), machine, OUT, old)


if __name__ == '__main__':
  main()
