"""A stream of bytes through libxenvchan, as Debian has it, between domains of one machine.

    vchan_on_machine.py XENCOMM PEER [BYTES]

PEER's source is vchan_peer.c. BYTES go each way, 16 MiB if nothing else is said. Then either end is
killed in the middle of it, and the other has to see that. With BYTES it says how fast they were.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

XENCOMM, PEER = map(os.path.abspath, sys.argv[1:3])
TOTAL = int(sys.argv[3]) if len(sys.argv) > 3 else 16 << 20
ENDLESS = 1 << 60
failed = 0


def expect(what, is_so, *details):
  global failed
  if not is_so:
    print(f'{what} is not so:', *details, flush=True)
    failed += 1


class Machine:

  def __init__(self, socket):
    self.socket = socket
    self.process = subprocess.Popen([XENCOMM, 'machine', f'--socket={socket}'],
                                    stdout=subprocess.PIPE, text=True)
    self.process.stdout.readline()

  def start(self, domain, *words, **options):
    here = [] if domain == 0 else [f'--domain={domain}']
    return subprocess.Popen([XENCOMM, 'run', f'--machine={self.socket}', *here, '--', *words],
                            **{'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE,
                               'stderr': subprocess.STDOUT, **options})

  def new_domain(self):
    """Which stays until the process that is answered has ended."""
    keeper = self.start('new:16', 'sh', '-c', 'echo $$ $XENCOMM_TRANSPORT; exec cat',
                        stdin=subprocess.PIPE)
    return keeper, int(re.search(rb'domain=(\d+)', keeper.stdout.readline()).group(1))


def pid_of(process, name):
  """Of the program that `xencomm run` has become, or has started."""
  for entry in pathlib.Path('/proc').glob('[0-9]*'):
    try:
      parent = int((entry / 'stat').read_text().rsplit(') ', 1)[1].split()[1])
      is_it = (entry / 'comm').read_text().strip() == name[:15]
    except OSError:  # it has gone
      continue
    if is_it and process.pid in (parent, int(entry.name)):
      return int(entry.name)
  raise LookupError(name)


paths = 0


def pair(machine, server, client, ways, total, ring):
  global paths
  paths += 1  # what is in the store of earlier ones is not found
  path = f'/local/domain/{server}/data/vchan-{paths}'
  one = machine.start(server, PEER, 'server', str(client), path, ways[0], str(total), str(ring))
  expect('the server', one.stdout.readline() == b'there\n')
  other = machine.start(client, PEER, 'client', str(server), path, ways[1], str(total), str(ring))
  return one, other


def check_stream(machine, server, client, ways, ring):
  processes = pair(machine, server, client, ways, TOTAL, ring)
  start = time.monotonic()
  outputs = [process.communicate(timeout=600)[0] for process in processes]
  seconds = time.monotonic() - start
  expect(f'a stream from {server} to {client}, {ways}, rings of {ring}',
         outputs == 2 * [b'open\nall\n'], outputs)
  if len(sys.argv) > 3:
    print(f'{server} {ways[0]}s, {client} {ways[1]}s, ring {ring}: {TOTAL / seconds / 1e6:.0f} MB/s')


def check_kill(machine, server, client, ways, victim, delay):
  processes = pair(machine, server, client, ways, ENDLESS, 65536)
  for process in processes:
    expect('an open channel', process.stdout.readline() == b'open\n')
  time.sleep(delay)
  os.kill(pid_of(processes[victim], 'vchan_peer'), signal.SIGKILL)
  left = processes[1 - victim]
  try:
    output = left.communicate(timeout=20)[0].decode()
  except subprocess.TimeoutExpired:
    output = 'it goes on'
    left.kill()
  expect(f'{["server", "client"][victim]} {[server, client][victim]} is missed',
         re.fullmatch(r'not (sent|received), open 0\n', output), output)
  processes[victim].communicate()


def main():
  with tempfile.TemporaryDirectory() as place:
    machine = Machine(f'{place}/machine')
    keepers, domains = zip(*(machine.new_domain() for _ in range(2)))
    one, two = domains
    both = [('send', 'receive'), ('receive', 'send')]
    for server, client in [(0, one), (one, 0), (one, two)]:
      for ways in both:
        check_stream(machine, server, client, ways, 65536)
        for victim in (0, 1):
          for delay in (0, 0.02):
            check_kill(machine, server, client, ways, victim, delay)
    # In the page that both begin with, and in pages of their own.
    for ring in (1024, 2048, 4096, 8192, 1 << 20):
      check_stream(machine, one, two, both[0], ring)
    for keeper in keepers:
      keeper.stdin.close()
      expect('the end of a domain', keeper.wait(20) == 0)
    machine.process.terminate()
    expect('the end of the machine', machine.process.wait(20) == 0)
  return 1 if failed else 0


sys.exit(main())
