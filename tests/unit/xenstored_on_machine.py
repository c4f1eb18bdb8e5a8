"""Runs Debian's xenstored on a machine, and all that asks a store in these tests against it: by its
socket, and by /dev/xen/xenbus, which leads to it then.

    xenstored_on_machine.py XENCOMM XENBUS FOLDER

XENBUS is the program that asks Linux's own device in the suite xen. Xen's programs are those of
xen-utils where it is installed, or else the package's, unpacked into FOLDER.
"""

import os
import pathlib
import signal
import struct
import subprocess
import sys
import time

import store_programs_test as programs_test

READ, ERROR = 2, 16  # public/io/xs_wire.h
NAME = '/local/domain/0/name'
PID_FILE = '/run/xen/xenstored.pid'
failed = 0


def check(*words, **expected):
  global failed
  failed += programs_test.run(environment, *words, **expected)


def expect(what, is_as_it_should_be):
  global failed
  if not is_as_it_should_be:
    print(f'{what} is not so')
    failed += 1


def start():
  """As /etc/init.d/xen does; its number."""
  subprocess.run([programs / 'xenstored', f'--pid-file={PID_FILE}'], env=environment, check=True,
                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  # It goes on in the background. When it serves, the store is empty.
  device = os.open('/dev/xen/xenbus', os.O_RDWR)
  for _ in range(1000):
    ask(device, NAME)
    if answer(device) == (ERROR, 7, b'ENOENT\0'):
      break
    time.sleep(0.01)
  os.close(device)
  return int(pathlib.Path(PID_FILE).read_text())


def ask(device, path):
  os.write(device, struct.pack('<IIII', READ, 7, 0, len(path) + 1) + path.encode() + b'\0')


def answer(device):
  kind, number, _, length = struct.unpack('<IIII', os.read(device, 16))
  return kind, number, os.read(device, length)


xencomm, xenbus, folder = sys.argv[1:]
found = programs_test.find_programs(pathlib.Path(folder))
if found is None:
  sys.exit(programs_test.SKIPPED)
programs, commands, environment = found
if 'XENCOMM_MACHINE' not in os.environ:
  release = programs.parent.name.removeprefix('xen-')
  os.execv(xencomm, [xencomm, 'run', f'--release={release}', '--', sys.executable, *sys.argv])

environment['LD_LIBRARY_PATH'] = environment.get('LD_LIBRARY_PATH', '')
by_device = dict(environment, XENSTORED_PATH='/dev/xen/xenbus')
check(xenbus, 'stream')  # the machine's own
early = os.open('/dev/xen/xenbus', os.O_RDWR)
daemon = start()
check(programs / 'xen-init-dom0', output='Done setting up Dom0\n')
failed += programs_test.run_programs(programs, commands, environment)
failed += programs_test.run_programs(programs, commands, by_device)
check(xenbus, 'stream')
ask(early, NAME)
expect('an opening from before', answer(early) == (READ, 7, b'Domain-0'))

# One that does not answer, and ends: whoever waits is told.
os.kill(daemon, signal.SIGSTOP)
ask(early, NAME)
time.sleep(0.1)
os.kill(daemon, signal.SIGKILL)
expect('an answer to who waits', answer(early) == (ERROR, 7, b'EIO\0'))
ask(early, NAME)
expect('an answer to who asks', answer(early) == (ERROR, 7, b'EIO\0'))
check(commands / 'xenstore-read', NAME, code=1)

# Another one, which knows nothing yet.
start()
ask(early, NAME)
expect('an answer of the next one', answer(early) == (ERROR, 7, b'ENOENT\0'))
check(programs / 'xen-init-dom0', output='Done setting up Dom0\n')
check(commands / 'xenstore-read', NAME, output='Domain-0\n')
check(xenbus, 'stream')
print(f'{failed} failed')
sys.exit(failed != 0)
