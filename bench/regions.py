"""What regions cost on real Xen, in instructions, beside what the same calls cost without them.

    /usr/bin/python3 bench/regions.py        after ./bench/run, which sets up and builds

Xen 4.17 with the code of hcall/xen, and without, is built for measuring (measured.patch): it times
copies, and two ways of QEMU's processor are taken out that no real one has. What whole calls cost
with them is printed behind. All is counted by QEMU's -icount: instructions, not cycles.
"""

import pathlib
import re
import sys

import report

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'tests/xen'))
import regions  # noqa: E402, of the tests, as the next ones
import run  # noqa: E402
import source  # noqa: E402

CALLS, LIBXENCTRL = 'region_calls', 'xenctrl_bench xen'
PATCH = pathlib.Path(__file__).resolve().parent / 'measured.patch'


class Machine(regions.Machine):
  """Whose programs are measured over each set of libraries: what is not over libraries, once."""

  def __init__(self, folder, sources, hypervisor, has_regions, pvh, arguments):
    modules = [sources.module('hcall/linux')] if has_regions else []
    super().__init__(folder, sources, hypervisor, modules)
    self.pvh, self.xen_arguments, self.processors = pvh, arguments, 1
    self.memory = (1024, 600)
    self.library_sets = regions.LIBRARY_SETS if has_regions else {'stock': None}
    self.environment = regions.ENVIRONMENT
    self.programs = [CALLS, LIBXENCTRL]

  def figures(self, build):
    """Row → way → ticks."""
    text = self.boot(self.build_image(build), *run.DETERMINISTIC)
    outputs = run.outputs_of(text)
    found = {}
    for line in outputs.get(f'stock: {CALLS}', '').splitlines():
      name, _, ways = line.partition(':')
      ticks_of = re.findall(r' (\S+) ([\d.]+)', ways)
      if ticks_of:
        found[name] = {way: float(ticks) for way, ticks in ticks_of}
    for library in self.library_sets:
      output = outputs.get(f'{library}: {LIBXENCTRL}', '')
      for name, ticks in re.findall(r'^(xenctrl/.*): .* ns, ([\d.]+) ticks,', output,
                                    flags=re.MULTILINE):
        found.setdefault(name, {})[library] = float(ticks)
    if not found:
      print(text[-3000:])
    return found


def show(title, with_regions, without):
  """A table of each row's ways, and their ratio to raw pointers on Xen without regions."""
  print(f'\n{title}')
  for name, ways in with_regions.items():
    first = next(iter(without.get(name, ways).values()))
    cells = [f'{"before":>8} {first:>11,.0f}']
    cells += [f'{way:>8} {ticks:>11,.0f} ({ticks / first:.2f})' for way, ticks in ways.items()]
    print(f'  {name:<36}' + '  '.join(cells))


def main():
  build = report.BUILD
  report.build()
  report.run_quietly(['ninja', '-C', build, 'bench/region_calls'])
  folder = report.TOP / 'build/regions'
  try:
    sources = source.Sources(folder)
    images = {True: sources.xen('release', patches=[PATCH]),
              False: sources.xen('release', regions=False, patches=[PATCH])}
  except source.Unavailable as reason:
    sys.exit(f'regions on real Xen: {reason}')
  for pvh in [False, True]:
    for arguments in ['', 'emulators-way'] if pvh else ['']:
      found = {has: Machine(folder / 'machine', sources, image, has, pvh, arguments).figures(build)
               for has, image in images.items()}
      title = f'domain 0 is {"PVH" if pvh else "PV"}'
      if arguments:
        title += ", with what an emulator adds to each call"
      show(title, found[True], found[False])


if __name__ == '__main__':
  main()
