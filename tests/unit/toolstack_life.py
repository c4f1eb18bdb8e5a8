"""Walks a toolstack's whole path with Xen's own programs on one machine, unmodified.

    toolstack_life.py XENCOMM FOLDER

PV and PVH domains are created by xl, looked at, changed and destroyed, with xenconsoled beside it;
each command is a process of its own, and xl destroys from a forked child; then domains that have
processes of their own, which end with them. All of it with the machine's own store, and again with
xenstored on another machine, which is started as a host starts it. The programs are those of xen-utils where it is installed, or else the package's, unpacked into
FOLDER.
"""

import itertools
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'xen'))
import guest_kernel
import life
import packages

GRANTED_PAGES = pathlib.Path(__file__).resolve().parent / 'granted_pages.py'
SKIPPED = 77  # to Meson

# Before all of it, where xenstored is to serve.
DAEMON = [
    ('xenstored --pid-file=/run/xen/xenstored.pid', []),
    ('xen-init-dom0', ['Done setting up Dom0']),
    ('xen-init-dom0', []),  # says so by its errors
    ('xenstore-read /local/domain/0/domid', ['0']),
]
# While the domain is whole.
SUPERVISED = ('--static granted_pages.py NAME', [])
LIFE = [*life.COMMANDS[:4], ('granted_pages.py NAME', []), SUPERVISED, *life.COMMANDS[4:]]

# What a domain's process does until it is killed: it grants domain 0 a page, which it writes.
GRANTING = '''
import fcntl, mmap, os, struct
file = os.open('/dev/xen/gntalloc', os.O_RDWR)
wanted = bytearray(struct.pack('<HHIQQ', 0, 1, 1, 0, 0))
fcntl.ioctl(file, 0x184705, wanted)
page = mmap.mmap(file, 4096, offset=struct.unpack_from('<Q', wanted, 8)[0])
page[1:5] = b'here'
print(struct.unpack_from('<I', wanted, 16)[0], flush=True)
while True:
  page[0] = 1 - page[0]
'''
# And one of domain 0 with that page, which it is told of by two words, until its input ends.
MAPPING = '''
import fcntl, mmap, os, struct, sys
file = os.open('/dev/xen/gntdev', os.O_RDWR)
grant = struct.pack('<IIQII', 1, 0, 0, *map(int, sys.argv[1:]))
fcntl.ioctl(file, 0x184700, grant)
page = mmap.mmap(file, 4096, offset=0)
print('mapped', flush=True)
sys.stdin.read()
print(bytes(page[1:5]))
'''


def watchdogs(socket):
  """The processes of xenwatchdogd on this machine: it goes its own way once it has started."""
  found = []
  for process in pathlib.Path('/proc').glob('[0-9]*'):
    try:
      if (process / 'comm').read_text() == 'xenwatchdogd\n' and (
          str(socket).encode() in (process / 'environ').read_bytes()):
        if (process / 'stat').read_text().rsplit(') ', 1)[1][0] != 'Z':
          found.append(int(process.name))
    except OSError:  # it has gone, or is another user's
      pass
  return found


def watch(run, socket):
  """What of xenwatchdogd's life is not as it should be, or None."""
  code, output, errors = run('xenwatchdogd 30 5')
  if code != 0 or output or errors:
    return f'ended with {code}\n{output}{errors}'
  time.sleep(1)
  here = watchdogs(socket)
  if len(here) != 1:
    return f'{len(here)} of it'
  os.kill(here[0], signal.SIGTERM)
  for _ in range(100):
    if not watchdogs(socket):
      return None
    time.sleep(0.1)
  return 'SIGTERM did not end it'


def main():
  xencomm, folder = map(os.path.abspath, sys.argv[1:])
  # xenconsoled wants to be root, and does with being so in a namespace of its own.
  as_root = [] if os.geteuid() == 0 else ['unshare', '--map-root-user']
  if subprocess.run([*as_root, 'true']).returncode != 0:
    print('skipped: xenconsoled wants to be root, and this user may have no user namespace')
    return SKIPPED
  programs = packages.utilities_of(pathlib.Path('/'))
  libraries = []
  installed = []
  if programs is None:
    try:
      root = packages.Archive().unpack(pathlib.Path(folder), packages.UTILITIES)
    except (OSError, LookupError, subprocess.CalledProcessError) as error:
      print(f'skipped: xen-utils is not installed, and cannot be downloaded: {error}')
      return SKIPPED
    programs = packages.utilities_of(root)
    libraries = [str(root / packages.LIBRARIES)]
    utilities = [root / 'usr/bin', root / 'usr/sbin']
    # With its packages over what is installed, in a mount namespace of its own.
    installed = ['unshare', '--mount', *as_root[1:], 'sh', '-c',
                 'mount -t overlay overlay -o "lowerdir=$0/usr/lib:/usr/lib" /usr/lib && exec "$@"',
                 str(root)]
    if subprocess.run([*installed, 'true']).returncode != 0:
      print('without xl console: there may be no mounts of its own here')
      LIFE.remove(next(each for each in LIFE if each[0] == life.CONSOLE))
  else:
    utilities = []
  xen = programs.parent.name.removeprefix('xen-')
  path = os.pathsep.join([str(programs), *map(str, utilities), os.environ['PATH']])
  environment = {**os.environ, 'PATH': path, 'LD_LIBRARY_PATH': os.pathsep.join(libraries)}

  # Not everywhere may a process look at others (static_programs_test.py).
  static = subprocess.run([xencomm, 'run', '--static', '--', 'true'], stderr=subprocess.PIPE,
                          text=True)
  if static.returncode != 0:
    print(f'without --static: {static.stderr.strip()}')
    LIFE.remove(SUPERVISED)

  failed = sum(walk(xencomm, xen, as_root, installed, environment, daemon, static.returncode == 0)
               for daemon in [False, True])
  print(f'{2 * 4 * len(LIFE) + len(DAEMON)} commands, {failed} failed')
  return 1 if failed else 0


class Processes:
  """A domain's own, while it is there: one that grants a page of its memory, and one that has
  nothing of it; and one of domain 0 that maps the page."""

  def __init__(self, machine, domain, static):
    self.as_domain = [*machine, f'--domain={domain}', *static, '--']
    # Another process's: whoever supervises it is not its parent.
    self.granting = self.start(*self.as_domain, 'sh', '-c', '"$@"; exit $?', 'sh', sys.executable,
                               '-c', GRANTING)
    self.other = self.start(*self.as_domain, 'sh', '-c', 'echo here; exec sleep 1000')
    self.reference = self.granting.stdout.readline().strip()
    self.mapping = self.start(*machine, '--', sys.executable, '-c', MAPPING, str(domain),
                              self.reference)

  def start(self, *words):
    return subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

  def problem(self):
    """What of their beginning is not as it should be, or None."""
    said = [process.stdout.readline() for process in (self.other, self.mapping)]
    return None if said == ['here\n', 'mapped\n'] else said

  def end(self):
    """What of their end is not as it should be, or None."""
    try:
      # The pipe has ended when what was started has, too.
      said = [process.communicate(timeout=20)[0] for process in (self.granting, self.other)]
    except subprocess.TimeoutExpired:
      return 'they go on'
    codes = [self.granting.returncode, self.other.returncode]
    if (said, codes) != (['', ''], 2 * [-signal.SIGKILL]):
      return said, codes
    # While its page is mapped the domain is there.
    another = subprocess.run([*self.as_domain, 'true'], stderr=subprocess.PIPE, text=True)
    if 'cannot have processes here: it is ending' not in another.stderr:
      return another
    mapped = self.mapping.communicate(timeout=20)[0]
    return None if mapped == "b'here'\n" else mapped


def walk(xencomm, xen, as_root, installed, environment, has_daemon, has_static):
  """On one machine; answers how much went wrong.

  Words before a program, which make it root, and its packages installed.
  """
  failed = 0
  with tempfile.TemporaryDirectory() as place:
    place = pathlib.Path(place)
    (place / 'kernel').write_bytes(guest_kernel.kernel())
    for kind in life.KINDS:
      (place / f'{kind}-guest.cfg').write_text(life.configuration(kind, place / 'kernel'))
    socket = place / 'machine'
    machine = subprocess.Popen([xencomm, 'machine', f'--socket={socket}', f'--release={xen}'],
                               stdout=subprocess.PIPE, text=True)
    machine.stdout.readline()

    def run(words):
      words = words.replace('granted_pages.py', f'{sys.executable} {GRANTED_PAGES}')
      # Into files: what a program leaves behind would hold a pipe open.
      with open(place / 'out', 'w+') as out, open(place / 'errors', 'w+') as errors:
        options = [word for word in words.split() if word == '--static']
        before = installed if 'xl console' in words else []
        done = subprocess.run(['timeout', '60', xencomm, 'run', f'--machine={socket}', *options,
                               '--', *before, *words.split()[len(options):]], cwd=place,
                              env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=errors)
        out.seek(0)
        errors.seek(0)
        return done.returncode, out.read(), errors.read()

    def check(words, patterns, name, has_processes=False):
      nonlocal failed
      code, output, errors = run(words)
      problem = life.difference(life.lines_of(output, errors, code), patterns, name, has_processes)
      if problem is not None:
        print(f'{words}: {problem}\n{output}{errors}', flush=True)
        failed += 1

    if has_daemon:
      for words, patterns in DAEMON:
        check(words, patterns, '')
        # It goes on in the background. When it serves, the store is empty.
        while words.startswith('xenstored') and run('xenstore-read /local/domain/0/name')[0] == 0:
          time.sleep(0.01)
    console = subprocess.Popen([xencomm, 'run', f'--machine={socket}', '--', *as_root,
                                'xenconsoled', '-i'], env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)
    lives = itertools.product([False, True], life.KINDS)
    for domain, (has_processes, kind) in enumerate(lives, 1):
      name = f'{kind}-guest'
      processes = None
      for words, patterns in LIFE:
        check(words.replace('NAME', name).replace('ID', str(domain)), patterns, name, has_processes)
        problem = None
        if words.startswith('xl create') and has_processes:
          processes = Processes([xencomm, 'run', f'--machine={socket}'], domain,
                                ['--static'] if has_static and kind == 'pv' else [])
          problem = processes.problem()
        elif words.startswith('xl destroy') and has_processes:
          problem = processes.end()
        if problem is not None:
          print(f'behind {words}, of the processes of {name}: {problem}', flush=True)
          failed += 1
        # It is there, without a name, until the daemons have let go of its pages.
        for _ in range(1000 if words.startswith('xl destroy') else 0):
          if '(null)' not in run('xl list')[1]:
            break
          time.sleep(0.01)
      # What it has set goes on behind its end, for five minutes, and there are two.
      problem = None if has_processes else watch(run, socket)
      if problem is not None:
        print(f'xenwatchdogd: {problem}')
        failed += 1
    console.terminate()
    console.wait(20)
    machine.terminate()
    if machine.wait(20) != 0:
      print(f'the machine ended with {machine.returncode}')
      failed += 1
    left = sorted(path.name for path in place.glob('machine*'))
    if left:
      print(f'the machine left {left}')
      failed += 1
  return failed


sys.exit(main())
