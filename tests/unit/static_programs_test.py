"""Programs that make system calls by themselves, on a machine by `run --static`.

    static_programs_test.py XENCOMM RELEASE DEVICES CLIENT RAW

All three programs are static: DEVICES is what checks Linux's devices on real Xen; CLIENT's source is
static_client.c, RAW's static_raw.c. Skipped where the kernel lets nobody be supervised.
"""

import errno
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

XENCOMM, RELEASE, DEVICES, CLIENT, RAW = sys.argv[1:]
HERE = pathlib.Path(__file__).resolve().parent

# What read() and write() of a device do otherwise than those of a socket: of nothing that can be
# read, and of what is no whole number of ports.
OF_A_SOCKET = [
    'write(idle, &byte, 1) == EINVAL',
    'write(fd, &call, 1) == EINVAL',
    'read(there, got, 0) == 0 && read(there, got, 3) == 0',
    'write(there, got, 0) == 0 && write(there, got, 3) == 0',
    'read(there, got, 3) == 0 && read(there, got, 0) == 0',
    'read(there, got, 7) == 4 && got[0] == pair.ports[1]',
    'write(there, got, 7) == 4 && reads(there, pair.ports[1])',
    'write(there, page, sizeof(page)) == kPage',
]
# Which may be seen once more, since the rest of a port was left.
THEREAFTER = ['notify(here, pair.ports[0]) == 0 && reads_nothing(there)']
OF_GRANT_FILES = 2 * ['write(fd, argument, 4) == EINVAL']


PROCESS_VM_READV, PIDFD_GETFD = 310, 438


def forbidding(call):
  # As a container's filter does it.
  return [sys.executable, HERE / 'without_call.py', str(call), str(errno.EPERM)]


# In front of all that is run.
before = []


def command(*words):
  # A machine that is started for it answers as the headers of these programs want it.
  release = [] if words[0].startswith('--machine') else [f'--release={RELEASE}']
  return [*before, XENCOMM, 'run', '--static', *release, *words]


def run(*words, **options):
  return subprocess.run(command(*words), text=True, stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100, **options)


possible = run('--', 'true')
if 'cannot be supervised' in possible.stderr or 'may not look' in possible.stderr:
  print('skipped:', possible.stderr.strip())
  sys.exit(77)


class StaticProgramsTest(unittest.TestCase):

  maxDiff = None
  LIVES = ('threads', 'events', 'pass', 'steady', 'traced')

  def output(self, *words, **options):
    options_of_run = words[:1] if words[0].startswith('--machine') else ()
    done = run(*options_of_run, '--', *words[len(options_of_run):], **options)
    self.assertEqual((done.returncode, done.stderr), (0, ''), words)
    return done.stdout

  def shell(self, script):
    return self.output('sh', '-ec', script)

  def check_devices(self, space, **options):
    done = run(f'--space={space}', '--', DEVICES, **options)
    failed = re.findall(r'^failed: line \d+: (.*?)(?: \(errno .*)?$', done.stdout, re.MULTILINE)
    self.assertIn(failed, (OF_A_SOCKET + OF_GRANT_FILES, OF_A_SOCKET + THEREAFTER + OF_GRANT_FILES),
                  done.stdout + done.stderr)
    passed = re.search(r'^(\d+) passed, \d+ failed$', done.stdout, re.MULTILINE)
    self.assertGreater(int(passed[1]), 3000)

  def test_devices_answer_as_those_of_linux(self):
    for space in ('region', 'walk4'):
      self.check_devices(space)

  def test_any_user_has_them(self):
    if os.getuid() != 0:
      self.skipTest('this is one')
    with tempfile.TemporaryDirectory() as folder:
      os.chown(folder, 65534, 65534)
      as_nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
      if subprocess.run([*as_nobody, 'test', '-x', XENCOMM, '-a', '-x', DEVICES]).returncode != 0:
        self.skipTest('another user does not reach the build folder')
      done = subprocess.run([*as_nobody, *command('--', CLIENT, 'threads')], timeout=100, text=True,
                            env={**os.environ, 'XDG_RUNTIME_DIR': folder}, stderr=subprocess.PIPE)
      self.assertEqual((done.returncode, done.stderr), (0, ''))

  def test_threads_children_and_other_programs_have_them(self):
    for what in self.LIVES:
      self.output(CLIENT, what)

  def test_whatever_the_c_library(self):
    self.output(RAW)
    if shutil.which('musl-gcc') is None:
      self.skipTest('no musl-gcc')
    with tempfile.TemporaryDirectory() as folder:
      client = folder + '/client'
      subprocess.run(['musl-gcc', '-static', '-D_GNU_SOURCE', '-D__XEN_TOOLS__', '-idirafter',
                      '/usr/include', '-o', client, HERE / 'static_client.c'], check=True)
      for what in ('threads', 'events', 'pass'):
        self.output(client, what)

  def test_paths_lead_into_the_machines_files(self):
    self.assertEqual(self.shell('cat /proc/xen/capabilities; cd /proc; cat xen/../xen/capabilities'),
                     2 * 'control_d\n')
    self.assertEqual(
        self.shell('cd /var/lib/xen; pwd; umask 027; mkdir a; echo text >a/b; stat -c %a a a/b;'
                   'mv a/b c; cat ../xen/c; ln -s /var/lib/xen/c d; readlink d; cat d; rm d;'
                   'cd ../../../etc; test -e passwd; ls /var/lib/xen/c'),
        '/var/lib/xen\n750\n640\ntext\n/var/lib/xen/c\ntext\n/var/lib/xen/c\n')
    self.assertEqual(self.shell('test -c /dev/xen/privcmd; stat -c %F /dev/xen/evtchn'),
                     'character special file\n')
    self.assertFalse(pathlib.Path('/var/lib/xen/c').exists())
    for refused in ('>/dev/xen/nothing/x', 'cd /proc/xen/capabilities', 'mkdir /dev/xen',
                    'cat /proc/xen/nothing'):
      self.assertNotEqual(run('--', 'sh', '-c', refused).returncode, 0, refused)

  def test_the_store_is_found_by_its_socket(self):
    script = ('import socket; s = socket.socket(socket.AF_UNIX); s.connect("{}"); '
              's.sendall(bytes(4) + bytes(8) + b"\\2\\0\\0\\0/\\0"); print(len(s.recv(16)))')
    for name in ('/run/xenstored/socket', '/var/run/xenstored/socket'):
      self.assertEqual(self.output('python3', '-c', script.format(name)), '16\n')

  def test_it_ends_as_its_program_does(self):
    self.assertEqual(run('--', 'sh', '-c', 'exit 5').returncode, 5)
    self.assertEqual(run('--', 'sh', '-c', 'kill -9 $$').returncode, 137)
    self.assertEqual(run('--', './no-such-program').returncode, 127)
    started = subprocess.Popen(command('--', 'sh', '-c', 'echo; exec sleep 100'),
                               stdout=subprocess.PIPE)
    started.stdout.readline()
    started.send_signal(signal.SIGTERM)
    self.assertEqual(started.wait(20), 128 + signal.SIGTERM)
    started.stdout.close()

  def test_what_it_leaves_behind_goes_on(self):
    with tempfile.TemporaryDirectory() as folder:
      socket = folder + '/machine'
      with subprocess.Popen([XENCOMM, 'machine', f'--socket={socket}', f'--release={RELEASE}'],
                            stdout=subprocess.PIPE) as machine:
        try:
          machine.stdout.readline()
          done = run(f'--machine={socket}', '--', 'sh', '-c',
                     f'(sleep 1; cat /proc/xen/capabilities >{folder}/told) >/dev/null 2>&1 & exit 3')
          self.assertEqual((done.returncode, done.stdout), (3, ''))
          self.assertFalse(pathlib.Path(folder, 'told').exists())
          for _ in range(100):
            time.sleep(0.1)
            if pathlib.Path(folder, 'told').exists():
              break
          time.sleep(0.1)
          self.assertEqual(pathlib.Path(folder, 'told').read_text(), 'control_d\n')
        finally:
          machine.terminate()

  def test_killed_ones_leave_their_supervisor_well(self):
    script = '''
import os, signal, subprocess, sys
for i in range(60):
  if i % 3 == 0:
    p = subprocess.Popen([sys.argv[1], "hold", "kill"], stdin=0, stdout=subprocess.PIPE)
    p.stdout.readline()
  else:
    p = subprocess.Popen([sys.argv[1], "threads"])
    try: p.wait(0.004 * (i % 20))
    except subprocess.TimeoutExpired: pass
  p.kill()
  p.wait()
sys.exit(subprocess.call([sys.argv[1], "threads"]))
'''
    self.output('python3', '-c', script, CLIENT)

  def test_frames_are_held_for_as_long_as_they_are_mapped(self):
    with tempfile.TemporaryDirectory() as folder:
      at = f'--machine={folder}/machine'

      def free():
        info = subprocess.run([XENCOMM, 'info', at, '--json'], stdout=subprocess.PIPE, check=True)
        return json.loads(info.stdout)['machine']['free_bytes']

      with subprocess.Popen([XENCOMM, 'machine', f'--socket={folder}/machine',
                             f'--release={RELEASE}'], stdout=subprocess.PIPE) as machine:
        try:
          machine.stdout.readline()
          at_first = free()
          for how in ('unmap', 'replace', 'execute', 'end', 'kill'):
            with subprocess.Popen(command(at, '--', CLIENT, 'hold', how), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True) as holder:
              try:
                self.assertEqual(holder.stdout.readline(), 'held\n')
                self.output(at, CLIENT, 'destroy')
                self.assertGreaterEqual(at_first - free(), 4 << 12, how)
                if how == 'kill':
                  holder.terminate()
                else:
                  holder.stdin.write('x')
                  holder.stdin.flush()
                  self.assertEqual(holder.stdout.readline(), '' if how == 'end' else 'done\n')
                for _ in range(100):
                  if free() == at_first:
                    break
                  time.sleep(0.05)
                self.assertEqual(free(), at_first, how)
              finally:
                holder.terminate()
        finally:
          machine.terminate()

  def test_of_what_gains_rights_it_warns(self):
    if os.getuid() != 0:
      self.skipTest('only root can give a file to another')
    with tempfile.TemporaryDirectory() as folder:
      program = shutil.copy(CLIENT, folder)
      os.chown(program, 65534, 65534)
      os.chmod(program, 0o4755)
      done = run('--', program, 'events')
      self.assertEqual((done.returncode, done.stderr.count('\n')), (0, 1), done.stderr)
      self.assertIn('is setuid, and gains no rights with --static', done.stderr)

  def test_whoever_may_not_look_is_told_so(self):
    done = subprocess.run([*forbidding(PROCESS_VM_READV), *command('--', 'true')], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100)
    self.assertEqual((done.returncode, done.stderr.count('\n')), (1, 1), done.stderr)
    self.assertIn('may not look at the processes that it starts', done.stderr)

  def test_whatever_they_ask_they_are_answered(self):
    done = run('--', CLIENT, 'hostile')
    self.assertEqual(done.returncode, 0, done.stderr)
    # What they ask for by chance is told of, by their name.
    for line in done.stderr.splitlines():
      self.assertRegex(line, '^xencomm machine: static_client asked for ')
    self.assertIn('asked for', done.stderr)

  def test_nobody_is_supervised_twice(self):
    done = run('--', *command('--', 'true'))
    self.assertEqual(done.returncode, 1)
    self.assertIn('this process has a supervisor already', done.stderr)

  def test_it_wants_a_machine(self):
    done = run('--space=direct', '--', 'true')
    self.assertEqual(done.returncode, 2)
    self.assertIn('--static: expected a machine', done.stderr)


class InContainersTest(StaticProgramsTest):
  """The same where no descriptor of another process may be copied: what a debugger holds has no
  devices."""

  LIVES = ('threads', 'events', 'pass', 'steady')

  @classmethod
  def setUpClass(cls):
    before.extend(forbidding(PIDFD_GETFD))

  @classmethod
  def tearDownClass(cls):
    before.clear()


if __name__ == '__main__':
  unittest.main(argv=sys.argv[:1])
