"""Runs programs on real Xen: QEMU boots it with a Linux dom0 made of Debian's packages.

    /usr/bin/python3 tests/xen/run.py BUILD

The Xen of this machine's Debian gets all programs; where that is older than 4.20, release.c,
devices.c and Xen's own programs run on Debian 13's, too. The embedded hypervisor must answer
release.c as real Xen 4.20 does. A session of Debian 13's programs is to print what
transcript_4.20.txt says, as it is to on a machine (a unit test); XENCOMM_WRITE_TRANSCRIPT=1 writes
that file anew. Domains' whole lives (life.py), with a guest that runs, what others made on Xen's
libraries (others.py), and what two domains share (neighbour.py) are as on a machine, too. What
`xencomm trace` shows of programs is looked at (trace.py).

Nothing is installed: the packages are downloaded and unpacked into BUILD, once. An image is a few
megabytes of busybox, libraries and the programs of this folder, and boots in seconds. What the
machine prints on its serial line decides; an image that does not print its closing line has failed.
"""

import copy
import difflib
import gzip
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import guest_kernel
import life
import neighbour
import others
import packages
import release
import stock
import trace
import transcript

MODULES = ['xen-privcmd', 'xen-evtchn', 'xen-gntdev', 'xen-gntalloc', 'xenfs']
# A host's store, in the order in which they start.
STORE = ['xenstored', 'xen-init-dom0']
PACKAGES = ['xen-hypervisor-{xen}-amd64', 'busybox-static']

# Whose libxencall and libxenforeignmemory the programs get: Debian's, or those of a folder.
LIBRARY_SETS = {'stock': None, 'xencomm': 'hcall/xencall'}
# One nanosecond of the machine's clock, and a tick of its time stamp counter, is one instruction.
DETERMINISTIC = ['-icount', 'shift=0,sleep=off']


def command(*words, **options):
  return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def add_stripped(path, place):
  """A program or library without its debug information, which is most of it: all that is in the
  image takes memory of the machine twice, packed and unpacked."""
  command('strip', '--strip-debug', '-o', str(place), str(path.resolve()))
  place.chmod(0o755)


def pack(folder):
  """Of what is in a folder, as Linux unpacks it: such archives may stand behind one another."""
  names = command('find', '.', cwd=folder)
  packed = subprocess.run(['cpio', '-o', '-H', 'newc', '--quiet'], cwd=folder, check=True,
                          input=names.encode(), stdout=subprocess.PIPE).stdout
  return gzip.compress(packed, 1)


class Machine:
  """A release of Debian's Xen, its kernel, and what dom0 runs over each set of libraries.

  `archive` has the packages, besides which `more` are wanted. `programs` print what stock.py says;
  `checks` close with how many of their checks passed and failed. Those come last: they clear Xen's
  console, which others print. Behind them come those for which a store is started, as a host does:
  `programs_with_store`; `store_checks`, of the same kind as the others; and `store_programs`, whose
  output is to be as it is over ours, which is what they are with. dom0 is a PV domain, or a PVH
  one. One with a transcript, a life of domains or a neighbour has no programs but that one's.
  """

  hypervisor = None  # another one than Debian's: the packed image of it
  modules = ()  # of Linux, beside Debian's
  processors = 1
  xen_arguments = ''
  environment = {}  # for the programs over a set of libraries: words in front of theirs
  memory = None  # MiB of the machine, and dom0's of these; or as much as its programs need
  pvh = False
  has_transcript = False
  has_life = False
  has_others = False
  has_trace = False
  steps_with_neighbour = ()

  @property
  def has_guest(self):
    """Whether a guest is started that has what domain 0 has (with_guest)."""
    return bool(self.steps_with_neighbour)

  def __init__(self, folder, archive, more, library_sets=LIBRARY_SETS):
    self.folder, self.xen, self.library_sets = folder, archive.xen, library_sets
    kernel = archive.needed_by('linux-image-amd64', r'(linux-image-\S+)')
    self.root = archive.unpack(folder, [*PACKAGES, kernel, *more])
    self.programs, self.checks, self.store_checks, self.store_programs = [], [], [], {}
    self.programs_with_store = []

  def needed_libraries(self, program, *search):
    """The files that the loader would take for a program, found without running it."""
    loaders = [top / 'lib64' / 'ld-linux-x86-64.so.2' for top in (self.root, pathlib.Path('/'))]
    loader = next(path for path in loaders if path.exists())
    environment = {'LD_LIBRARY_PATH': ':'.join(map(str, [*search, self.root / packages.LIBRARIES]))}
    lines = command(str(loader), '--list', str(program), env=environment)
    libraries = re.findall(r'(?:=> )(/\S+) \(0x', lines)
    return [loader, *(pathlib.Path(path) for path in libraries if 'ld-linux' not in path)]

  def build_image(self, build):
    """The initramfs: busybox, the modules, the programs, and the sets of libraries."""
    image = self.folder / 'image'
    shutil.rmtree(image, ignore_errors=True)
    drop_ins = {name: sorted((build / folder).glob('lib*.so.1'))
                for name, folder in self.library_sets.items() if folder is not None}
    for name in ['bin', 'lib', 'lib64', 'modules', 'proc', 'run', 'sys', 'dev', 'var', *drop_ins]:
      (image / name).mkdir(parents=True)
    shutil.copy(self.root / 'bin' / 'busybox', image / 'bin')
    for module in MODULES:
      found = list((self.root / 'lib').glob(f'modules/*/kernel/drivers/xen/**/{module}.ko*'))
      if len(found) != 1:
        sys.exit(f'the kernel has no module {module}')
      content = found[0].read_bytes()
      # busybox takes them as they are.
      content = lzma.decompress(content) if found[0].suffix == '.xz' else content
      (image / 'modules' / f'{module}.ko').write_bytes(content)
    for module in self.modules:
      add_stripped(module, image / 'modules' / module.name)

    def add_libraries(program, *search):
      for path in self.needed_libraries(program, *search):
        place = image / ('lib64' if path.name.startswith('ld-linux') else 'lib') / path.name
        if not place.exists() and not any((image / name / path.name).exists() for name in drop_ins):
          add_stripped(path, place)

    # The stock libraries first: what the drop-ins replace is found beside them, never instead.
    stock_programs = packages.utilities_of(self.root)
    session = [words for words, _ in transcript.expected()] if self.has_transcript else []
    names = {words.split()[0] for words in [*self.programs, *self.programs_with_store, *session]}
    names |= life.PROGRAMS if self.has_life else set()
    names |= {'vchan-socket-proxy'} if self.steps_with_neighbour else set()
    names |= {'xl'} if self.has_guest else set()
    names |= {'xencomm', 'xl', 'xenpm'} if self.has_trace else set()
    for name in names - {'sleep'}:  # which busybox has
      folders = [build / 'hcall/tools', build / 'bench', stock_programs, self.root / 'usr/bin',
                 pathlib.Path('/usr/bin')]
      program = next(folder / name for folder in folders if (folder / name).exists())
      add_stripped(program, image / 'bin' / name)
      add_libraries(program)
    has_guests = self.has_life or self.has_guest or self.has_trace or session
    has_store = self.programs_with_store or self.store_checks or has_guests
    daemons = [stock_programs / name for name in STORE] if has_store else []
    if has_guests:
      daemons.append(stock_programs / 'xenconsoled')  # xl waits for a domain's terminal
    neighbours = neighbour.programs(build) if self.steps_with_neighbour else []
    for program in [*self.checks, *self.store_checks, *self.store_programs, *daemons, *neighbours]:
      add_stripped(program, image / 'bin' / program.name)
      add_libraries(program)
    if has_store:
      # What ends a thread of libxenstore opens it then, and nothing names it.
      libgcc = pathlib.Path(packages.LIBRARIES.removeprefix('usr/')) / 'libgcc_s.so.1'
      add_stripped(next(top / libgcc for top in (self.root, pathlib.Path('/'))
                        if (top / libgcc).exists()), image / 'lib' / libgcc.name)
    if has_guests:
      # Where xl looks for xenconsole.
      (image / 'usr/lib' / stock_programs.parent.name).mkdir(parents=True)
      (image / 'usr/lib' / stock_programs.parent.name / 'bin').symlink_to('/bin')
    if self.has_others:
      self.add_others(image, add_libraries)
    for program in trace.programs(build) if self.has_trace else []:
      add_stripped(program, image / 'bin' / program.name)  # without libraries
    for name, libraries in drop_ins.items():
      if not libraries:
        sys.exit(f'{build} has no libraries {name}')  # or the run would be the stock one once more
      for library in libraries:
        add_stripped(library, image / name / library.name)
        add_libraries(library, build / 'xencomm', build / 'hcall' / 'transport')

    init = image / 'init'
    # What a program prints stands between a line with its name and one with its exit code.
    def steps_of(all_words):
      return '\n'.join(f'''echo "run: {name}: {words}"
{self.environment.get(name, '')} LD_LIBRARY_PATH={f'/{name}' if name in drop_ins else ''}:/lib \
{words} </dev/null 2>&1
echo "ended: $?"''' for words in all_words for name in self.library_sets)
    steps = steps_of([*self.programs, *(path.name for path in self.checks)])
    if has_store:
      for path in daemons:
        # What a guest prints, for whoever reads it later.
        logs = path.name == 'xenconsoled' and self.has_guest
        words = f'{path.name} --log=guest' if logs else path.name
        steps += f'\nLD_LIBRARY_PATH=/lib {words} >/dev/null'
      steps += '\n' + steps_of([*self.programs_with_store, *(
          path.name for path in [*self.store_checks, *self.store_programs])])
    if has_guests:
      (image / 'etc' / 'xen').mkdir(parents=True)
      (image / 'etc' / 'xen' / 'xl.conf').write_text(transcript.XL_CONF)
      (image / 'kernel').write_bytes(guest_kernel.kernel())
      # Theirs before Debian's, where there is another set.
      steps += f'\nexport LD_LIBRARY_PATH={"".join(f"/{name}:" for name in drop_ins)}/lib\n'
    if session:
      for kind in transcript.GUESTS:
        (image / f'{kind}.cfg').write_text(transcript.configuration(kind, '/kernel'))
      # Into a file: what Xen prints meanwhile would come in between.
      steps += transcript.shell(session, '/transcript')
      steps += '\necho "run: transcript"\ncat /transcript'
    if self.has_life:
      for kind in life.KINDS:
        (image / f'{kind}-guest.cfg').write_text(life.configuration(kind, '/kernel'))
      steps += f'{life.shell()}\necho "run: life"\ncat /life\n'
    if self.has_trace:
      for name, text in trace.files().items():
        (image / name).write_text(text)
      (image / 'kernel').write_bytes(guest_kernel.kernel())
      steps += f'\n{trace.shell()}\n'
    if self.has_others:
      steps += f'{others.Image(self.root, stock_programs).shell()}\n'
      steps += 'echo "run: others"\ncat /others'
    if self.has_guest:
      steps = self.with_guest(image, steps)
    init.write_text(f'''#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir /dev/pts
mount -t devpts none /dev/pts
for module in {' '.join([*MODULES, *(path.stem for path in self.modules)])}; do
insmod /modules/$module.ko
done
mount -t xenfs none /proc/xen
ln -s /run /var/run
mkdir -p /tmp /run/lock /var/lock /run/xenstored /var/lib/xen /var/run/xen /var/log/xen/console
{steps}
echo "run: end: "
poweroff -f
''')
    init.chmod(0o755)
    archive = self.folder / 'initramfs.cpio.gz'
    packed = pack(image)
    archive.write_bytes(packed)
    if self.has_guest:
      # Behind the image that both have, what makes the second one of it.
      shutil.rmtree(image)
      image.mkdir()
      (image / neighbour.IMAGE).write_bytes(packed)
      shutil.copy(self.kernel(), image / neighbour.KERNEL)
      archive.write_bytes(packed + pack(image))
    return archive

  def with_guest(self, image, steps):
    """Of a shell: `steps`, which are domain 0's, and what makes a guest and is run in it. Both have
    the image, and domain 0 also its packed form and the kernel."""
    (image / f'{neighbour.NAME}.cfg').write_text(neighbour.CONFIGURATION)
    for name, content in neighbour.files().items():
      (image / name).write_bytes(content)
    return f'''if [ "$(cat /proc/xen/capabilities)" != control_d ]; then
export LD_LIBRARY_PATH=/lib
{neighbour.guest_shell(self.steps_with_neighbour)}
poweroff -f
fi
{steps}
{neighbour.shell(self.steps_with_neighbour)}'''

  def kernel(self):
    return next((self.root / 'boot').glob('vmlinuz-*'))

  def add_others(self, image, add_libraries):
    theirs = others.Image(self.root, packages.utilities_of(self.root))
    for program in theirs.programs():
      add_stripped(program, image / 'bin' / program.name)
      add_libraries(program)
    for folder, plugins in theirs.plugins().items():
      (image / folder).mkdir()
      for plugin in plugins:
        add_stripped(plugin, image / folder / plugin.name)
        add_libraries(plugin)
    for place, path in theirs.files().items():
      (image / place).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(path, image / place)
      if path.suffix == '.so':
        add_libraries(path)
    for place, text in theirs.texts().items():
      (image / place).parent.mkdir(parents=True, exist_ok=True)
      (image / place).write_text(text)

  def boot(self, archive, *options):
    """Boots, QEMU having these options besides, and answers what dom0 printed."""
    xen = self.folder / 'xen.elf'
    packed = self.hypervisor or self.root / 'boot' / f'xen-{self.xen}-amd64.gz'
    xen.write_bytes(gzip.decompress(packed.read_bytes()))
    log = self.folder / 'serial.log'
    log.unlink(missing_ok=True)
    hardware, dom0 = ['pc'], ''
    if self.pvh:
      hardware = ['q35,kernel-irqchip=off', '-device', 'intel-iommu,intremap=on']
      dom0 = 'dom0=pvh '
    memory, dom0_memory = self.memory or (
        (1536, 1000) if self.has_life or self.has_trace else (1400, 700) if self.has_guest else
        (1024, 384) if self.pvh else (768, 400))
    # Of several a vcpu can be pinned to one; there are as many as a machine's.
    processors = 4 if self.has_life else self.processors
    dom0 += f'dom0_mem={dom0_memory}M,max:{dom0_memory}M'
    # No comma may stand in Linux' own arguments: QEMU separates modules by them. QEMU's exit code
    # says nothing.
    subprocess.run([
        'timeout', '500', 'qemu-system-x86_64', '-machine', *hardware, '-m', str(memory), '-accel',
        'tcg', '-cpu', 'qemu64,+npt', '-smp', str(processors), '-display', 'none', '-nodefaults',
        '-no-reboot', '-serial', f'file:{log}', '-kernel', str(xen), '-append',
        f'console=com1 com1=115200,8n1 {dom0} loglvl=all guest_loglvl=all {self.xen_arguments}',
        '-initrd',
        f'{self.kernel()} console=hvc0 quiet panic=-1 preempt=full,{archive}', *options])
    return log.read_text(errors='replace').replace('\r', '') if log.exists() else ''

  def run(self, build):
    """Prints what was not as it should be; answers how many passed, and how many failed."""
    text = self.boot(self.build_image(build))
    passed = failed = 0
    outputs = outputs_of(text)
    for name in self.library_sets:
      title = f'Xen {self.xen}{", PVH" if self.pvh else ""}, {name}'
      for words in (path.name for path in [*self.checks, *self.store_checks]):
        output = outputs.get(f'{name}: {words}', '')
        counts = re.search(r'^(\d+) passed, (\d+) failed', output, flags=re.MULTILINE)
        for line in without_console(output):
          print(f'{title}: {line}')
        if counts is None:
          print(f'{title}: {words} ended without its closing line')
          failed += 1
        else:
          passed += int(counts.group(1))
          failed += int(counts.group(2))
        for wanted in re.findall(r'^the console has: (.*)$', output, flags=re.MULTILINE):
          if not re.search(f'^{re.escape(wanted)}$', output, flags=re.MULTILINE):
            print(f'{title}: {words}: the console has no line {wanted!r}')
            failed += 1
      for program, expected in self.store_programs.items():
        output = outputs.get(f'{name}: {program.name}', '').partition('ended: ')[0]
        difference = list(difflib.unified_diff(expected, without_console(output), 'ours', self.xen,
                                               lineterm='', n=1))
        passed += not difference
        failed += bool(difference)
        for line in difference[:20]:
          print(f'{title}: {program.name}: {line}')
      for words in self.programs:
        output, _, ended = outputs.get(f'{name}: {words}', '').partition('ended: ')
        # Xen's own messages come in between, but where they are asked for.
        lines = output.splitlines() if words == 'xl dmesg' else without_console(output)
        problem = stock.difference(words, '\n'.join(lines), self.xen)
        if not ended.startswith('0'):
          problem = f'{words}: ended with {ended.split()[:1]}'
        if problem is None:
          passed += 1
        else:
          print(f'{title}: {problem}')
          failed += 1
    if self.has_transcript:
      printed = transcript.parse(outputs.get('transcript', ''))
      if os.environ.get('XENCOMM_WRITE_TRANSCRIPT'):
        transcript.write(printed)
      different = transcript.differences(printed, f'Xen {self.xen}')
      passed += len(transcript.expected()) - different
      failed += different
    if self.has_life:
      commands, different = life.differences(outputs.get('life', ''), f'Xen {self.xen}')
      passed += commands - different
      failed += different
    if self.has_trace:
      counts = trace.check(outputs.get('traces', ''), f'Xen {self.xen}')
      passed, failed = passed + counts[0], failed + counts[1]
    if self.has_others:
      commands, different = others.differences(outputs.get('others', ''), f'Xen {self.xen}')
      passed += commands - different
      failed += different
    if self.steps_with_neighbour:
      utilities = packages.utilities_of(self.root)
      here = dict(neighbour.on_machine(build, neighbour.LOANS, utilities))
      ends, different = neighbour.differences(self.steps_with_neighbour, here, outputs, title)
      passed += ends - different
      failed += different
    if 'end: ' not in outputs:
      print('\n'.join(text.splitlines()[-30:]))
      print(f'Xen {self.xen}: the machine stopped before its end')
      failed += 1
    return passed, failed


def outputs_of(text):
  """What a machine's programs printed, by the name of their libraries and their words."""
  parts = re.split(r'^run: (.*)$', text, flags=re.MULTILINE)
  return dict(zip(parts[1::2], parts[2::2]))


def without_console(output):
  return [line for line in output.splitlines()
          if line.strip() and not line.startswith(('(XEN)', 'ended: '))]


def store_here(build, program):
  """The lines that a program for a store prints over ours, as its unit test runs it."""
  unit = build / 'tests' / 'unit'
  with tempfile.TemporaryDirectory() as place:
    socket = f'{place}/socket'
    with subprocess.Popen([unit / 'store_server', socket], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as store:
      store.stdout.readline()  # it is there
      output = command(unit / program, env={**os.environ, 'XENSTORED_PATH': socket})
      store.stdin.close()
  return without_console(output)


def run_here(build, program):
  """The same for release.c on the embedded hypervisor, in each space but xcom and inline: there the
  kernel knows every pointer of a list of calls, or refuses the list, and one call is unknown."""
  passed = failed = 0
  for space in ['direct', 'walk4', 'region', 'stateless']:
    done = subprocess.run([build / 'hcall' / 'tools' / 'xencomm', 'run', f'--space={space}',
                           f'--release={release.XEN}', '--', program], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    *lines, closing = done.stdout.splitlines() or ['']
    counts = re.fullmatch(r'(\d+) passed, (\d+) failed', closing)
    if counts is None:
      lines.append(f'{closing}\nended without its closing line')
    for line in lines:
      print(f'embedded, {space}: {line}')
    passed += int(counts.group(1)) if counts else 0
    failed += int(counts.group(2)) if counts else 1
  return passed, failed


def main():
  if len(sys.argv) != 2:
    sys.exit('usage: run.py BUILD, the build folder')
  build = pathlib.Path(sys.argv[1]).resolve()
  archive = packages.Archive()
  has_others = archive.xen == others.XEN
  own = Machine(build / 'xen', archive,
                packages.UTILITIES + (others.LIBVIRT + others.COLLECTD if has_others else []))
  own.programs = [*stock.PROGRAMS, *stock.COMMAND]
  built = build / 'tests' / 'xen'
  own.checks = [built / 'refused', built / 'devices', built / 'toolstack']
  own.store_checks = [built / 'store', built / 'xenbus']
  own.store_programs = {built / 'store_random': store_here(build, 'store_random')}
  # As domain 0 is here: its frames are numbered as it likes.
  translated = copy.copy(own)
  translated.pvh, translated.library_sets = True, {'stock': None}
  translated.programs, translated.checks = [], [built / 'devices', built / 'toolstack']
  translated.store_checks, translated.store_programs = [], {}
  machines = [own, translated]
  here = built / 'release'
  if here.exists():
    own.checks.append(here)
    newest = own
  else:
    folder = build / f'xen-{release.DEBIAN}'
    newest = other = Machine(folder, release.archive(folder), release.PACKAGES)
    other.programs = [*stock.PROGRAMS]
    other.checks = [
        release.compiled(other.root, folder / 'release'),
        release.compiled(other.root, folder / 'devices', release.DEVICES),
    ]
    here = release.compiled(other.root, folder / 'release-here', runs_here=True)
    machines.append(other)
  session, lives, pair, traced = copy.copy(newest), copy.copy(own), copy.copy(own), copy.copy(own)
  traced.has_trace, traced.processors = True, 2
  session.has_transcript = lives.has_life = True
  # Loans first: what peers of killed programs had mapped, Linux takes back bit by bit.
  pair.steps_with_neighbour = [*neighbour.LOANS, neighbour.STREAMS[0], *neighbour.CHANNELS]
  lives.has_others = has_others
  if not has_others:
    print(f'skipped: libvirt and others, which are compared with Xen {others.XEN}')
  # Where domain 0 is translated, it can map another's pages, but not those that it grants itself.
  translated_pair = copy.copy(pair)
  translated_pair.pvh, translated_pair.steps_with_neighbour = True, neighbour.LOANS
  for machine in [session, lives, pair, translated_pair, traced]:
    machine.library_sets = {'stock': None}
    machine.programs, machine.checks, machine.store_checks, machine.store_programs = [], [], [], {}
    machines.append(machine)

  counts = [run_here(build, here), *(machine.run(build) for machine in machines)]
  passed, failed = map(sum, zip(*counts))
  print(f'{passed} passed, {failed} failed')
  return 1 if failed else 0


if __name__ == '__main__':
  sys.exit(main())
