"""Runs programs that know a xenstore alone on ours, over Debian's libxenstore and a socket.

    store_programs_test.py SERVER CHECKS RANDOM [FOLDER]

CHECKS asks what the suite xen asks real Xen, and so does RANDOM, which here has to end well. With
FOLDER, Debian's run, too: Xen's own test and the commands that scripts use, which are installed, or
the packages', unpacked into FOLDER.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'xen'))
import packages

SKIPPED = 77  # to Meson

# What each answers: its exit code, and what it prints.
COMMANDS = [
    ('write /test/a value', 0, ''),
    ('write /test/b/c 1 /test/b/d 2', 0, ''),
    ('read /test/a', 0, 'value\n'),
    ('read -p /test/b/c /test/b/d', 0, '/test/b/c: 1\n/test/b/d: 2\n'),
    ('exists /test/a', 0, ''),
    ('exists /test/none', 1, ''),
    ('list /test', 0, 'a\nb\n'),
    ('list -p /test/b', 0, '/test/b/c\n/test/b/d\n'),
    ('chmod /test/a n0 r0', 0, ''),
    ('chmod -r /test/b b0', 0, ''),
    ('ls -f -p /test', 0, '/test/a = "value"   (n0,r0)\n/test/b = ""   (b0)\n'
                          '/test/b/c = "1"   (b0)\n/test/b/d = "2"   (b0)\n'),
    ('rm /test/a', 0, ''),
    ('rm -t /test/b/c', 0, ''),
    ('list /test', 0, 'b\n'),
    ('rm /test', 0, ''),
    ('read /test/a', 1, ''),
    ('ls /', 0, 'tool = ""\n xenstored = ""\nlocal = ""\n domain = ""\n  0 = ""\n   control = ""\n'
                '    feature-poweroff = "1"\n    feature-reboot = "1"\n    feature-suspend = "1"\n'
                '   domid = "0"\n   name = "Domain-0"\n pool = ""\n  0 = ""\n   name = "Pool-0"\n'),
]


def find_programs(folder):
  """Where Xen's own programs and the commands lie, and with which libraries; or None."""
  root = pathlib.Path('/')
  environment = dict(os.environ)
  if packages.utilities_of(root) is None:
    try:
      root = packages.Archive().unpack(folder, packages.UTILITIES)
    except (OSError, LookupError, subprocess.CalledProcessError) as error:
      print(f'skipped: xen-utils is not installed, and cannot be downloaded: {error}')
      return None
    environment['LD_LIBRARY_PATH'] = str(root / packages.LIBRARIES)
  return packages.utilities_of(root), root / 'usr' / 'bin', environment


def run(environment, *words, code=0, output=None):
  """Prints what went wrong; answers whether something did."""
  done = subprocess.run(words, env=environment, text=True, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=120)
  if done.returncode == code and output in (None, done.stdout):
    return 0
  print(f'{words}: {done.returncode}\n{done.stdout}{done.stderr}')
  return 1


def run_programs(xen_programs, commands, environment):
  """The same of all of Debian's; answers how many went wrong."""
  failed = run(environment, xen_programs / 'test-xenstore')
  failed += run(environment, xen_programs / 'test-xenstore', '-i', '100')
  for line, code, output in COMMANDS:
    name, *arguments = line.split()
    failed += run(environment, commands / f'xenstore-{name}', *arguments, code=code, output=output)
  # Two that each retry until the other is done.
  both = [subprocess.Popen([xen_programs / 'test-xenstore', '-i', '200'], env=environment,
                           stdout=subprocess.DEVNULL) for _ in range(2)]
  failed += sum(program.wait(120) != 0 for program in both)
  # One that waits for events.
  watch = subprocess.Popen([commands / 'xenstore-watch', '-n', '2', '/test'], env=environment,
                           text=True, stdout=subprocess.PIPE)
  first = watch.stdout.readline()
  failed += run(environment, commands / 'xenstore-write', '/test/a', '1')
  rest = watch.communicate(timeout=120)[0]
  if watch.returncode != 0 or first + rest != '/test\n/test/a\n':
    print(f'xenstore-watch: {watch.returncode}\n{first}{rest}')
    failed += 1
  return failed


def main():
  server, checks, random, *folder = sys.argv[1:]
  found = find_programs(pathlib.Path(folder[0])) if folder else None
  with tempfile.TemporaryDirectory() as place:
    socket = os.path.join(place, 'socket')
    with subprocess.Popen([server, socket], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as store:
      store.stdout.readline()  # it is there
      environment = dict(os.environ, XENSTORED_PATH=socket)
      failed = run(environment, checks) + run(environment, random)
      if found is not None:
        xen_programs, commands, environment = found
        failed += run_programs(xen_programs, commands, dict(environment, XENSTORED_PATH=socket))
      store.stdin.close()
      if store.wait(60) != 0:
        print(f'the store ended with {store.returncode}')
        failed += 1
  print(f'{len(COMMANDS) if found else 0} commands, {failed} failed')
  if failed:
    return 1
  return SKIPPED if folder and found is None else 0


if __name__ == '__main__':
  sys.exit(main())
