#!/usr/bin/env python3
"""Boots the bare-metal images under QEMU and reads what they print.

  tests/qemu/run.py SUITE [--build FOLDER] [--machine NAME] [--verbose] [--figures]

SUITE is ppc64 or x86_64. With --figures, the lines `machine: space call instructions` alone, of
machines that pass. Otherwise one line for each check, `machine: ok|FAIL name`; closes with
`N passed, N failed[, N skipped]`.

A machine has passed when its closing line says so. One that crashes says FAIL, one that hangs is
ended and has no closing line: two boots with a planted crash and a planted hang make sure that both
are noticed. The machines run the same scenario, and so does a program of this process: all must
record the same results, and the first difference is named.
"""

import argparse
import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
SECONDS = 120  # a machine's time limit; a boot takes a few
HANG_SECONDS = 3

# One nanosecond of the guest's clock is one instruction: the figures repeat.
DETERMINISTIC = ['-icount', 'shift=0,sleep=off']
PLAIN = ['-nodefaults', '-display', 'none', '-monitor', 'none', '-no-reboot']

# Bytes that the image finds in memory (tests/qemu/hypervisor/machine.h).
BOOT_PAGE_SHIFT = 0x3fff00
BOOT_PLANTED = 0x3fff01
BOOT_XCOM = 0x3fff02
PLANTED = {'nothing': 0, 'crash': 1, 'hang': 2}


@dataclasses.dataclass
class Machine:
  """A machine, and the image that runs on it."""
  suite: str
  name: str
  image: str
  page_shift: int
  emulator: str
  options: list

  def command(self, images, planted='nothing', xcom=False):
    options = [o.format(elf=images / f'{self.image}-hypervisor.elf',
                        flat=images / f'{self.image}-hypervisor.bin') for o in self.options]
    return [self.emulator, *PLAIN, *options, *DETERMINISTIC,
            '-device', f'loader,addr={BOOT_PAGE_SHIFT:#x},data={self.page_shift},data-len=1',
            '-device', f'loader,addr={BOOT_PLANTED:#x},data={PLANTED[planted]},data-len=1',
            '-device', f'loader,addr={BOOT_XCOM:#x},data={int(xcom)},data-len=1']


def mac99():
  return Machine('ppc64', 'mac99', 'mac99', 12, 'qemu-system-ppc64', [
      '-M', 'mac99', '-cpu', '970', '-m', '1G', '-vga', 'none', '-device', 'i82378',
      '-chardev', 'stdio,id=c0', '-device', 'isa-serial,chardev=c0', '-device', 'i8042',
      '-device', 'pvpanic-pci,addr=0xe', '-action', 'panic=exit-failure',
      '-device', 'loader,file={elf},cpu-num=0'])


def powernv9(order, page_shift):
  kilobytes = 1 << (page_shift - 10)
  return Machine('ppc64', f'powernv9-{order}-{kilobytes}k', f'powernv9-{order}', page_shift,
                 'qemu-system-ppc64', [
      '-M', 'powernv9', '-m', '2G', '-smp', '1', '-serial', 'stdio', '-device', 'i8042',
      '-device', 'loader,file={flat},addr=0x400000,force-raw=on,cpu-num=0'])


def x86_64(levels):
  return Machine('x86_64', f'x86_64-{levels}level', 'x86_64', 12, 'qemu-system-x86_64', [
      '-machine', 'pc', '-accel', 'tcg', '-m', '1G', '-serial', 'stdio',
      '-cpu', 'max' if levels == 5 else 'max,-la57',
      '-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-kernel', '{elf}'])


MACHINES = [
    mac99(),
    powernv9('be', 12), powernv9('be', 16), powernv9('le', 12), powernv9('le', 16),
    x86_64(4), x86_64(5),
]


# The program of tests/qemu/process, by what runs it on this machine.
PROCESSES = {
    'x86_64': [],
    'powerpc64': ['qemu-ppc64'],
    'powerpc64le': ['qemu-ppc64le'],
}
ORDER = {'x86_64': 'little', 'powerpc64': 'big', 'powerpc64le': 'little'}
# Hypervisor in one process, user program in another of the other byte order.
PAIRS = [('x86_64', 'powerpc64'), ('powerpc64', 'x86_64')]
SPACES = ['registered', 'stateless', 'raw', 'descriptors', 'inline']


def process_command(images, name):
  """How to start the program of an architecture; nothing when it cannot be."""
  program = images / f'process-{name}'
  if not program.exists() or not all(shutil.which(wrapper) for wrapper in PROCESSES[name]):
    return None
  return [*PROCESSES[name], program]


class Report:
  """Counts checks and prints one line for each."""

  def __init__(self):
    self.passed = self.failed = self.skipped = 0

  def check(self, machine, name, ok, detail=''):
    self.passed += ok
    self.failed += not ok
    print(f'{machine}: {"ok" if ok else "FAIL"} {name}{": " + detail if detail else ""}',
          flush=True)

  def skip(self, machine, why):
    self.skipped += 1
    print(f'{machine}: skipped: {why}', flush=True)

  def closing_line(self):
    skipped = f', {self.skipped} skipped' if self.skipped else ''
    return f'{self.passed} passed, {self.failed} failed{skipped}'


@dataclasses.dataclass
class Boot:
  """What a machine printed, by line."""
  lines: list
  timed_out: bool

  def passed(self):
    return not self.timed_out and 'DONE PASS' in self.lines and 'DONE FAIL' not in self.lines

  def after(self, keyword):
    return [line[len(keyword) + 1:] for line in self.lines if line.startswith(keyword + ' ')]


def run(command, seconds):
  try:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds)
    output, timed_out = done.stdout, False
  except subprocess.TimeoutExpired as expired:
    output, timed_out = expired.stdout or b'', True
  return Boot([line.rstrip() for line in output.decode(errors='replace').splitlines()], timed_out)


def run_pair(serving, using, order, space):
  """Runs a user program of byte order `order` over another process's hypervisor."""
  with tempfile.TemporaryDirectory() as folder:
    memory = f'{folder}/memory'
    server = subprocess.Popen([*serving, 'serve', order, space, memory],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    user = subprocess.Popen([*using, 'use', space, memory], stdin=server.stdout,
                            stdout=server.stdin, stderr=subprocess.PIPE)
    server.stdin.close()
    server.stdout.close()
    try:
      output, timed_out = user.communicate(timeout=SECONDS)[1], False
    except subprocess.TimeoutExpired:
      user.kill()
      output, timed_out = user.communicate()[1], True
    server.kill()
    server.wait()
  return Boot([line.rstrip() for line in output.decode(errors='replace').splitlines()], timed_out)


def run_unit_tests(report, images, name):
  """The library's unit tests as a program of another architecture: a line for each test."""
  program, emulator = images / f'unit-{name}', PROCESSES[name]
  if not program.exists() or not shutil.which(emulator[0]):
    report.skip(f'unit-{name}', 'no compiler, no emulator or no sources of GoogleTest')
    return
  output = run([*emulator, program, '--gtest_brief=0', '--gtest_color=no'], SECONDS).lines
  for line in output:
    result = re.match(r'\[ *(OK|FAILED|SKIPPED) *\] (\S+) \(', line)
    if result and result[1] == 'SKIPPED':
      report.skip(f'unit-{name}', result[2])
    elif result:
      report.check(f'unit-{name}', result[2], result[1] == 'OK')
  ended = any(re.match(r'\[ *PASSED *\]', line) for line in output)
  report.check(f'unit-{name}', 'EndsWithItsClosingLine', ended, '' if ended else ''.join(output[-1:]))


def first_difference(one, other):
  """Of two lists of steps: a sentence, or nothing when they are equal."""
  for index, (a, b) in enumerate(zip(one, other)):
    if a != b:
      return f'step {index}: "{a}" here, "{b}" there'
  if len(one) != len(other):
    longer = one if len(one) > len(other) else other
    return (f'{len(one)} steps here, {len(other)} there; '
            f'the first more is "{longer[min(len(one), len(other))]}"')
  return ''


def build(folder, suite):
  """Builds the images of a suite. Without a compiler for them there is no such target."""
  done = subprocess.run(['ninja', '-C', str(folder), f'qemu-{suite}'], stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT, text=True)
  if done.returncode != 0 and 'unknown target' not in done.stdout:
    print(done.stdout)
    sys.exit(f'the images of {suite} do not build')


def records(boot):
  """The scenario's records: the steps of each run by its name."""
  found = {}
  for line in boot.lines:
    keyword, _, rest = line.partition(' ')
    if keyword == 'RUN':
      steps = found[rest] = []
    elif keyword == 'STEP':
      steps.append(rest)
  return found


class Comparison:
  """Every record must be as the first one was."""

  def __init__(self, report):
    self.report = report
    self.first = None

  def add(self, machine, boot):
    found = records(boot)
    if not found:
      self.report.check(machine, 'RecordsTheScenario', False, 'nothing was recorded')
    for run, steps in found.items():
      if self.first is None:
        self.first = (f'{machine}.{run}', steps)
      difference = first_difference(steps, self.first[1])
      self.report.check(machine, f'{run}.AnswersAs.{self.first[0]}', bool(steps) and not difference,
                        difference)


def print_figures(machine, boot):
  for figure in boot.after('FIGURE'):
    print(f'{machine}: {figure}', flush=True)


def read_boot(report, machine, boot):
  """Counts a machine's own checks, and shows its figures."""
  for check in boot.after('CHECK'):
    verdict, _, name = check.partition(' ')
    name, _, detail = name.partition(' ')
    report.check(machine, name, verdict == 'ok', detail)
  print_figures(machine, boot)
  report.check(machine, 'EndsWithItsClosingLine', boot.passed(),
               '' if boot.passed() else
               'timed out' if boot.timed_out else '; '.join(boot.lines[-3:]) or 'no output')


def why_not(machine, images):
  """Why a machine cannot be booted here, or nothing."""
  if not shutil.which(machine.emulator):
    return f'{machine.emulator} is not installed'
  if not (images / f'{machine.image}-hypervisor.bin').exists():
    return 'its image was not built: no cross compiler'
  return ''


def print_all_figures(machines, images):
  """Answers whether all machines that can be booted have passed."""
  passed = True
  for machine in machines:
    why = why_not(machine, images)
    if why:
      print(f'{machine.name}: skipped: {why}', flush=True)
      continue
    for name, xcom in ((machine.name, False), (f'{machine.name}-xcom', True)):
      boot = run(machine.command(images, xcom=xcom), SECONDS)
      if boot.passed():
        print_figures(name, boot)
      else:
        print(f'{name}: FAIL')
        passed = False
  return passed


def main():
  parser = argparse.ArgumentParser(description='Boots the bare-metal images under QEMU.')
  parser.add_argument('suite', choices=['ppc64', 'x86_64'])
  parser.add_argument('--build', type=pathlib.Path, default=TOP / 'build')
  parser.add_argument('--machine', help='only the machines whose names contain this')
  parser.add_argument('--verbose', action='store_true', help='print all that the machines print')
  parser.add_argument('--figures', action='store_true',
                      help='print what calls cost on the machines, and nothing else')
  arguments = parser.parse_args()
  report = Report()
  comparison = Comparison(report)
  images = arguments.build / 'tests' / 'qemu'
  build(arguments.build, arguments.suite)
  machines = [machine for machine in MACHINES
              if machine.suite == arguments.suite and (arguments.machine or '') in machine.name]
  if arguments.figures:
    return 0 if print_all_figures(machines, images) else 1

  def boot_once(name, command):
    show(name, run(command, SECONDS))

  def show(name, boot):
    if arguments.verbose:
      print('\n'.join(boot.lines))
    read_boot(report, name, boot)
    comparison.add(name, boot)

  # The native process comes first: its answers are what all others are compared with.
  for name in PROCESSES if arguments.suite == 'ppc64' else ['x86_64']:
    command = process_command(images, name)
    if command is None:
      report.skip(f'process-{name}', 'no compiler or no emulator for it')
      continue
    boot_once(f'process-{name}', command)
  for name in ['powerpc64', 'powerpc64le'] if arguments.suite == 'ppc64' else []:
    run_unit_tests(report, images, name)
  for serving, using in PAIRS if arguments.suite == 'ppc64' else []:
    name = f'{using}-on-{serving}'
    commands = process_command(images, serving), process_command(images, using)
    if None in commands:
      report.skip(name, 'no compiler or no emulator for it')
      continue
    for space in SPACES:
      show(f'{name}-{space}', run_pair(*commands, ORDER[using], space))

  planted = set()  # images whose planted faults have been run
  for machine in machines:
    why = why_not(machine, images)
    if why:
      report.skip(machine.name, why)
      continue

    boot_once(machine.name, machine.command(images))
    boot_once(f'{machine.name}-xcom', machine.command(images, xcom=True))

    if machine.image in planted:
      continue
    planted.add(machine.image)
    crash = run(machine.command(images, planted='crash'), SECONDS)
    report.check(machine.name, 'CrashIsReported',
                 not crash.passed() and not crash.timed_out and bool(crash.after('CRASH')))
    hang = run(machine.command(images, planted='hang'), HANG_SECONDS)
    report.check(machine.name, 'HangIsNoticed', not hang.passed() and hang.timed_out)

  print(report.closing_line())
  return 1 if report.failed or not report.passed + report.skipped else 0


if __name__ == '__main__':
  sys.exit(main())
