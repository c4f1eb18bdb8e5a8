"""Regions on real Xen: Xen 4.17 and Linux with the code of hcall/xen and hcall/linux.

    /usr/bin/python3 tests/xen/regions.py BUILD [--all]

Both are built of Debian's sources (source.py). Domain 0, a PV domain or a PVH one of two
processors, runs

- what a hostile guest's kernel could do (regions.c, by forge/), and a process (region_device.c),
  also where Linux lets through audited calls alone (lockdown.c);
- the toolstack's programs over Debian's libraries, over ours by privcmd, and over ours by regions,
  which is what ours choose there by themselves: to a program it makes no difference;
- a domain's whole life by xl over regions (life.py);
- guests that do the first of these themselves, whose pages that Xen writes are seen to be logged
  (dirty_pages.c), and which are destroyed in the middle of calls.

With --all, the last two are run in a PVH domain 0, too, which is slow; the first two on a Xen that
was built to find its own faults (CONFIG_DEBUG); and machines have memory for a call of a million
extents.
"""

import collections
import pathlib
import re
import sys

import life
import packages
import run
import source

# Over what the toolstack's programs run. Ours choose regions where there are any.
OURS = 'hcall/xencall'
LIBRARY_SETS = {'stock': None, 'raw': OURS, 'region': OURS}
ENVIRONMENT = {'raw': 'XENCOMM_TRANSPORT=privcmd'}
GUESTS = ['pv', 'pvh']
# MiB of a machine, and domain 0's of these: the rest has room for a million pages (many_pages.c).
MILLION_PAGES = (6144, 512)
# What does not hold now and then on Xen itself, over Debian's libraries too (4.17.7, of 400 times
# 30): it keeps the upper one of the page tables that a domain has given up, and with it the domain.
XENS_OWN = 'xc_get_tot_pages(xch, domid) == before - 4'
# Whose checks are all to hold. `lockdown` loads the module anew, with its parameters and without.
OWN = ['regions', 'lockdown', 'region_device']
TRIPLE_FAULT = 'Triple fault'
# What a Xen with CONFIG_DEBUG finds, or any that stops.
COMPLAINT = re.compile(r'\(XEN\) .*(Assertion|BUG at|WARN_ON|Xen WARN|Panic|FATAL|Xen call trace)')


class Machine(run.Machine):
  """One of Debian 12's with that hypervisor and those modules."""

  processors = 2
  guest_checks = ()  # programs, which guests of all kinds run
  dirty_pages = None  # the program that looks at the first one's writes
  boots = ()  # the library sets of each boot, if it is booted more than once

  def __init__(self, folder, sources, hypervisor, modules):
    super().__init__(folder, sources.archive, packages.UTILITIES, {'stock': None})
    self.hypervisor, self.modules = hypervisor, modules

  @property
  def has_guest(self):
    return bool(self.guest_checks)

  def with_guest(self, image, steps):
    for program in [*self.guest_checks, self.dirty_pages]:
      run.add_stripped(program, image / 'bin' / program.name)
    for kind in GUESTS:
      (image / f'guest-{kind}.cfg').write_text(run.neighbour.CONFIGURATION.replace(
          run.neighbour.NAME + '"', f'guest-{kind}"').replace('"pv"', f'"{kind}"') + 'vcpus = 2\n')
    first, *_ = [program.name for program in self.guest_checks]
    checks = '\n'.join(f'/bin/{program.name}' for program in self.guest_checks)
    return f'''if [ "$(cat /proc/xen/capabilities)" != control_d ]; then
export LD_LIBRARY_PATH=/lib
{checks}
/bin/{first} --write &
sleep 1
echo "and again"
while true; do /bin/{first} >/dev/null; done
fi
{steps}
free() {{ xl info | grep free_memory; }}
export LD_LIBRARY_PATH=/lib
sleep 1
free >/before
for kind in {' '.join(GUESTS)}; do
log=/var/log/xen/console/guest-guest-$kind.log
xl create /guest-$kind.cfg >/output 2>&1 || cat /output
for i in $(seq 1000); do grep -q "and again" $log && break; sleep 0.2; done
dirty_pages $(xl domid guest-$kind) $(sed -n 's/^written: //p' $log) >/dirty-$kind 2>&1
# In the middle of its calls.
sleep 1
xl destroy guest-$kind
echo "run: guest: $kind"
cat $log
echo "run: dirty pages: $kind"
cat /dirty-$kind
done
for i in 1 2 3 4 5 6 7 8 9; do xl list | grep -q '(null)' && sleep 1; done
free >/after
echo "run: free"
cat /before /after
'''


def counts_of(output):
  counts = re.search(r'^(\d+) passed, (\d+) failed', output, flags=re.MULTILINE)
  return (int(counts.group(1)), int(counts.group(2))) if counts else (0, 1)


def own_checks(title, outputs, names):
  """Of programs whose checks are all to hold: how many do, and how many do not."""
  passed = failed = 0
  for name, heading in names:
    output = outputs.get(heading, '')
    good, bad = counts_of(output)
    passed += good
    failed += bad
    for line in run.without_console(output):
      if bad or line.startswith('skipped: '):
        print(f'{title}: {name}: {line}')
  return passed, failed


def compared(title, outputs, names):
  """Of programs over each set of libraries: whatever Xen of this version answers over Debian's, it
  does over the others. How many such answers there are, and how many are otherwise."""
  passed = failed = 0
  for name in names:
    found = {}
    for libraries in LIBRARY_SETS:
      output = outputs.get(f'{libraries}: {name}', '')
      # Whatever errno was before.
      failed_lines = re.findall(r'^failed: (?:(?! \(errno).)*', output, flags=re.MULTILINE)
      found[libraries] = [line for line in failed_lines if not line.endswith(XENS_OWN)]
      for line in re.findall(r'^skipped: .*', output, flags=re.MULTILINE):
        print(f'{title}, {libraries}: {name}: {line}')
      good, bad = counts_of(output)
      if good == 0:
        print(f'{title}, {libraries}: {name} ended without its closing line')
        found[libraries] = ['no closing line']
      elif libraries != 'stock':
        passed += good
    for libraries in ['raw', 'region']:
      others = list((collections.Counter(found[libraries]) -
                     collections.Counter(found['stock'])).elements())
      for line in others:
        print(f'{title}, {libraries}, not over stock libraries: {name}: {line}')
      failed += len(others)
  return passed, failed


def booted(machine, build, title):
  """What it prints."""
  image = machine.build_image(build)
  text = machine.boot(image)
  if 'run: ' not in text or TRIPLE_FAULT in text:
    # QEMU 7.2 with two processors ends now and then while Linux comes up, or Xen; and a PVH domain
    # 0 by a triple fault behind rdtsc, which Xen emulates there.
    print(f'{title}: the machine ended by itself, and is booted once more')
    text = machine.boot(image)
  return text


def check(machine, build, title):
  """Boots one, and prints what is not as it should be."""
  texts = []
  for library_sets in machine.boots or [machine.library_sets]:
    machine.library_sets = library_sets
    texts.append(booted(machine, build, title))
  text = ''.join(texts)
  outputs = run.outputs_of(text)
  names = [path.name for path in machine.checks]
  own = [name for name in names if name in OWN]
  rest = [name for name in names if name not in OWN]
  results = [own_checks(title, outputs, [(name, f'{libraries}: {name}') for name in own
                                         for libraries in machine.library_sets]),
             compared(title, outputs, rest)]
  if machine.has_life:
    commands, different = life.differences(outputs.get('life', ''), title)
    results.append((commands - different, different))
  if machine.has_guest:
    results.append(own_checks(title, outputs, [(name, f'{name}: {kind}') for kind in GUESTS
                                               for name in ['guest', 'dirty pages']]))
    free = re.findall(r'free_memory +: (\d+)', outputs.get('free', ''))
    if len(free) != 2 or int(free[0]) - int(free[1]) > 1:
      print(f'{title}: memory that is free before and after guests: {free}')
      results.append((0, 1))
    else:
      results.append((1, 0))
  complaints = [line for line in text.splitlines() if COMPLAINT.search(line)]
  for line in complaints:
    print(f'{title}: {line}')
  results.append((0, len(complaints)))
  for each in texts:
    if 'end: ' not in run.outputs_of(each):
      print('\n'.join(each.splitlines()[-30:]))
      print(f'{title}: the machine stopped before its end')
      results.append((0, 1))
  passed, failed = map(sum, zip(*results))
  print(f'{title}: {passed} as they should be, {failed} not', flush=True)
  return passed, failed


def machines(build, sources, everything):
  folder = build / 'regions/machine'
  built = build / 'tests/xen'
  modules = [sources.module('hcall/linux'), sources.module('tests/xen/forge')]
  for kind in source.KINDS if everything else ['release']:
    hypervisor = sources.xen(kind)
    for pvh in [False, True]:
      def machine():
        made = Machine(folder, sources, hypervisor, modules)
        made.pvh, made.memory = pvh, (1024, 512)
        return made
      title = f'Xen with regions, {kind}, {"PVH" if pvh else "PV"}'

      hostile = machine()
      hostile.checks = [built / name for name in OWN]
      yield hostile, f'{title}, hostile'

      toolstack = machine()
      toolstack.library_sets, toolstack.environment = LIBRARY_SETS, ENVIRONMENT
      if not pvh:
        # What one leaves behind, as Xen does now and then (XENS_OWN), is not the next one's.
        toolstack.boots = [{name: library} for name, library in LIBRARY_SETS.items()]
      toolstack.checks = [built / 'toolstack']
      if everything:
        toolstack.memory = MILLION_PAGES
      if kind == 'debug':
        toolstack.environment = {name: f'XEN_IS_DEBUG=y {ENVIRONMENT.get(name, "")}'
                                 for name in LIBRARY_SETS}
      yield toolstack, f'{title}, toolstack'

      if kind != 'release' or (pvh and not everything):
        continue
      lives, guests = machine(), machine()
      lives.memory = guests.memory = None
      lives.has_life, lives.library_sets = True, {'region': OURS}
      yield lives, f"{title}, domains' lives"
      guests.guest_checks, guests.dirty_pages = [built / 'regions'], built / 'dirty_pages'
      yield guests, f'{title}, guests'


def main():
  if len(sys.argv) < 2:
    sys.exit('usage: regions.py BUILD [--all], the build folder')
  build = pathlib.Path(sys.argv[1]).resolve()
  try:
    sources = source.Sources(build / 'regions')
    sources.original()
  except source.Unavailable as reason:
    print(f'skipped: regions on real Xen: {reason}')
    print('0 passed, 0 failed, 1 skipped')
    return 0
  counts = [check(machine, build, title)
            for machine, title in machines(build, sources, '--all' in sys.argv)]
  passed, failed = map(sum, zip(*counts))
  print(f'{passed} passed, {failed} failed')
  return 1 if failed else 0


if __name__ == '__main__':
  sys.exit(main())
