"""Programs of several domains on one machine, which share pages by Linux's devices, and by what a
machine's gntalloc has beyond those.

    shared_pages_test.py XENCOMM

Each program is this file again, as an agent: it evaluates what it is told, one line at a time.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

MAP, UNMAP, OFFSET, NOTIFY = 0x184700, 0x104701, 0x184702, 0x104707
SHARE, UNSHARE = 0x184705, 0x104706
SHARE_AT, SHARE_OFFSET, SHARE_ALSO = 0x184740, 0x184741, 0x184742
SHARE_LIST, SHARE_REVOKE = 0x104743, 0x44744
BIND_INTERDOMAIN, BIND_UNBOUND, SEND = 0x84501, 0x44502, 0x44504
MMAP_BATCH_V2, HYPERCALL = 0x205004, 0x305000
READ, BOTH = mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE
CLEAR_BYTE, SEND_EVENT = 1, 2
WRITABLE = 1
PAGE = 4096


class Agent:
  """What a program is told to do. Errors are negative errno values."""

  def __init__(self):
    self.libc = ctypes.CDLL(None, use_errno=True)
    self.libc.mmap.restype = ctypes.c_void_p
    self.libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [
        ctypes.c_long]
    self.libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    self.files = {}

  def file(self, name):
    if name not in self.files:
      self.files[name] = os.open(f'/dev/xen/{name.partition("-")[0]}', os.O_RDWR)
    return self.files[name]

  def close(self, name):
    os.close(self.files.pop(name))

  def ask(self, name, number, *parts):
    """What the ioctl has left in its argument, or a negative errno."""
    argument = bytearray(b''.join(parts))
    try:
      fcntl.ioctl(self.file(name), number, argument)
    except OSError as error:
      return -error.errno
    return bytes(argument)

  def domain(self):
    return int(re.search(r'domain=(\d+)', os.environ['XENCOMM_TRANSPORT']).group(1))

  def share(self, domain, count=1, flags=WRITABLE, number=SHARE, index=0, name='gntalloc'):
    """The offset and the grants."""
    answer = self.ask(name, number, struct.pack('<HHIQ', domain, flags, count, index),
                      bytes(4 * max(count, 2)))
    if isinstance(answer, int):
      return answer
    return struct.unpack_from('<Q', answer, 8)[0], list(
        struct.unpack_from(f'<{count}I', answer, 16))

  def unshare(self, index, count=1, name='gntalloc'):
    answer = self.ask(name, UNSHARE, struct.pack('<QII', index, count, 0))
    return answer if isinstance(answer, int) else 0

  def grants_of(self, index, room=64, name='gntalloc'):
    """How many there are, and the (grant, domain, flags) that there was room for."""
    answer = self.ask(name, SHARE_LIST, struct.pack('<QII', index, room, 0), bytes(8 * room))
    if isinstance(answer, int):
      return answer
    count = struct.unpack_from('<I', answer, 8)[0]
    return count, [struct.unpack_from('<IHH', answer, 16 + 8 * i) for i in range(min(count, room))]

  def revoke(self, ref, name='gntalloc'):
    answer = self.ask(name, SHARE_REVOKE, struct.pack('<I', ref))
    return answer if isinstance(answer, int) else 0

  def offset_of(self, address, number=SHARE_OFFSET, name='gntalloc'):
    answer = self.ask(name, number, struct.pack('<QQII', address, 0, 0, 0))
    return answer if isinstance(answer, int) else struct.unpack_from('<QI', answer, 8)

  def add(self, *grants, name='gntdev'):
    answer = self.ask(name, MAP, struct.pack('<IIQ', len(grants), 0, 0),
                      *(struct.pack('<II', *grant) for grant in grants))
    return answer if isinstance(answer, int) else struct.unpack_from('<Q', answer, 8)[0]

  def remove(self, index, count=1, name='gntdev'):
    answer = self.ask(name, UNMAP, struct.pack('<QII', index, count, 0))
    return answer if isinstance(answer, int) else 0

  def map(self, name, index, pages=1, protection=BOTH):
    address = self.libc.mmap(None, pages * PAGE, protection, mmap.MAP_SHARED, self.file(name),
                             index)
    return -ctypes.get_errno() if address == ctypes.c_void_p(-1).value else address

  def map_grants(self, *grants, protection=BOTH):
    return self.map('gntdev', self.add(*grants), len(grants), protection)

  def unmap(self, address, pages=1):
    return self.libc.munmap(address, pages * PAGE)

  def put(self, address, value):
    ctypes.memmove(address, value, len(value))

  def get(self, address, count):
    return ctypes.string_at(address, count)

  def notice(self, name, index, action, port=0):
    answer = self.ask(name, NOTIFY, struct.pack('<QII', index, action, port))
    return answer if isinstance(answer, int) else 0

  def bind_unbound(self, domain):
    return self.events(BIND_UNBOUND, struct.pack('<I', domain))

  def bind(self, domain, port):
    return self.events(BIND_INTERDOMAIN, struct.pack('<II', domain, port))

  def send(self, port):
    return self.events(SEND, struct.pack('<I', port))

  def events(self, number, argument):
    try:
      return fcntl.ioctl(self.file('evtchn'), number, bytearray(argument))
    except OSError as error:
      return -error.errno

  def next_event(self, seconds=10.0):
    file = self.file('evtchn')
    if not select.select([file], [], [], seconds)[0]:
      return None
    port = os.read(file, 4)
    os.write(file, port)
    return struct.unpack('<I', port)[0]

  def map_foreign(self, domain, gfn):
    """0, or why that frame is not mapped."""
    privcmd = self.file('privcmd')
    room = self.libc.mmap(None, PAGE, BOTH, mmap.MAP_SHARED, privcmd, 0)
    frames, errors = (ctypes.c_uint64 * 1)(gfn), (ctypes.c_int32 * 1)()
    batch = struct.pack('<IHHQQQ', 1, domain, 0, room, ctypes.addressof(frames),
                        ctypes.addressof(errors))
    try:
      fcntl.ioctl(privcmd, MMAP_BATCH_V2, batch)
    except OSError as error:
      return -error.errno
    finally:
      self.libc.munmap(room, PAGE)
    return errors[0]

  def hypercall(self, *words):
    try:
      return fcntl.ioctl(self.file('privcmd'), HYPERCALL,
                         bytearray(struct.pack('<6Q', *words, *(6 - len(words)) * [0])))
    except OSError as error:
      return -error.errno

  def in_child(self, expression):
    """The same by a forked child."""
    ends = os.pipe()
    child = os.fork()
    if child == 0:
      try:
        os.write(ends[1], repr(eval(expression, {**globals(), 'self': self})).encode())
      finally:
        os._exit(0)
    os.close(ends[1])
    with os.fdopen(ends[0], 'rb') as answer:
      text = answer.read().decode()
    os.waitpid(child, 0)
    return eval(text)

  def pass_file(self, name, path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
      peer.connect(path)
      socket.send_fds(peer, [b'x'], [self.file(name)])

  def take_file(self, name, path):
    """Whoever listens there has said so already."""
    peer, _ = self.listener.accept()
    with peer:
      _, files, _, _ = socket.recv_fds(peer, 1, 1)
    self.files[name] = files[0]

  def listen(self, path):
    self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    self.listener.bind(path)
    self.listener.listen()


def serve():
  agent = Agent()
  for line in sys.stdin:
    try:
      answer = eval(line, {**globals(), 'self': agent})
    except Exception as error:  # the one who asked is told
      answer = f'{type(error).__name__}: {error}'
    print(repr(answer), flush=True)


class Program:
  """An agent, in a domain of its own or in domain 0, whose functions are called as one's own."""

  def __init__(self, machine, domain):
    options = [] if domain == 0 else [f'--domain={domain}']
    self.process = subprocess.Popen(
        [XENCOMM, 'run', f'--machine={machine}', *options, '--', sys.executable, __file__, 'agent'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    self.pid = self.eval('os.getpid()')
    self.id = 0 if domain == 0 else self.domain()

  def ask_for(self, expression):
    self.process.stdin.write(f'{expression}\n')
    self.process.stdin.flush()

  def eval(self, expression):
    self.ask_for(expression)
    return eval(self.process.stdout.readline())

  def __getattr__(self, name):
    def call(*words, **options):
      parts = [*map(repr, words), *(f'{key}={value!r}' for key, value in options.items())]
      return self.eval(f'self.{name}({", ".join(parts)})')
    return call

  def kill(self):
    os.kill(self.pid, signal.SIGKILL)

  def end(self):
    with contextlib.suppress(BrokenPipeError):
      self.process.stdin.close()
    self.process.wait(20)
    self.process.stdout.close()


class SharedPagesTest(unittest.TestCase):

  def setUp(self):
    self.place = tempfile.TemporaryDirectory()
    self.addCleanup(self.place.cleanup)
    self.machine = f'{self.place.name}/machine'
    machine = subprocess.Popen([XENCOMM, 'machine', f'--socket={self.machine}'],
                               stdout=subprocess.PIPE, text=True)
    machine.stdout.readline()
    def end():
      machine.terminate()
      self.assertEqual(machine.wait(20), 0)
      machine.stdout.close()
      self.assertEqual([name for name in os.listdir(self.place.name)
                        if name.startswith('machine')], [])
    self.addCleanup(end)

  def program(self, domain='new:8'):
    program = Program(self.machine, domain)
    self.addCleanup(program.end)
    return program

  def test_two_domains_share_and_tell_one_another(self):
    one, two = self.program(), self.program()
    self.assertNotEqual(one.id, two.id)
    index, refs = one.share(two.id, count=3)
    ours = one.map('gntalloc', index, 3)
    theirs = two.map_grants(*((one.id, ref) for ref in refs))
    one.put(ours + PAGE - 2, b'over the border')
    self.assertEqual(two.get(theirs + PAGE - 2, 15), b'over the border')
    two.put(theirs, b'back')
    self.assertEqual(one.get(ours, 4), b'back')
    port = one.bind_unbound(two.id)
    peer = two.bind(one.id, port)
    self.assertEqual(two.next_event(), peer)  # Linux does so
    two.send(peer)
    self.assertEqual(one.next_event(), port)
    one.send(port)
    self.assertEqual(two.next_event(), peer)

  def test_a_domain_has_nothing_of_another(self):
    one, two, third, host = self.program(), self.program(), self.program(), self.program(0)
    _, [ref] = one.share(two.id)
    for other in (third, host):
      self.assertEqual(other.map_grants((one.id, ref)), -errno.EINVAL)
    self.assertEqual(one.map_grants((one.id, ref)), -errno.EINVAL)
    self.assertGreater(two.map_grants((one.id, ref)), 0)
    port = one.bind_unbound(two.id)
    for other in (third, host, one):
      self.assertEqual(other.bind(one.id, port), -errno.EINVAL)
    self.assertEqual(two.send(port), -errno.ENOTCONN)
    self.assertEqual(host.map_foreign(one.id, 1), 0)
    for victim in (one.id, two.id, 0):
      self.assertNotEqual(third.map_foreign(victim, 1), 0)
    # Nor by hypercalls of its own: domctl 36, sysctl 35.
    for call in (36, 35):
      self.assertLess(third.hypercall(call, 0), 0)
    self.assertEqual(third.hypercall(17, 0), host.hypercall(17, 0))

  def test_a_program_says_where_its_pages_are(self):
    one, two = self.program(), self.program()
    at = lambda index, count=1: one.share(two.id, count=count, number=SHARE_AT, index=index)
    self.assertEqual(at(64 * PAGE, 2)[0], 64 * PAGE)
    for index, count in [(64 * PAGE, 1), (65 * PAGE, 1), (63 * PAGE, 2), (60 * PAGE, 20)]:
      self.assertEqual(at(index, count), -errno.EEXIST)
    for index in (1, 64 * PAGE + 8, 2**64 - 1):
      self.assertEqual(at(index), -errno.EINVAL)
    self.assertEqual(at(2**64 - PAGE, 2), -errno.EINVAL)
    self.assertEqual(at(63 * PAGE)[0], 63 * PAGE)
    self.assertEqual(at(66 * PAGE)[0], 66 * PAGE)
    self.assertEqual(at(0)[0], 0)
    # The next that says nothing is behind all that there ever was.
    self.assertEqual(one.share(two.id)[0], 67 * PAGE)
    self.assertEqual(one.unshare(64 * PAGE, 2), 0)
    self.assertEqual(at(65 * PAGE)[0], 65 * PAGE)
    self.assertEqual(one.share(two.id)[0], 68 * PAGE)

    address = one.map('gntalloc', 65 * PAGE, 2)
    self.assertEqual(one.offset_of(address), (65 * PAGE, 2))
    self.assertEqual(one.offset_of(address + PAGE + 9), (65 * PAGE, 2))
    self.assertEqual(one.offset_of(address, number=OFFSET), -errno.ENOTTY)
    self.assertEqual(one.offset_of(address, name='gntdev', number=OFFSET), -errno.EINVAL)
    self.assertEqual(one.unmap(address), 0)
    self.assertEqual(one.offset_of(address), -errno.EINVAL)
    self.assertEqual(one.offset_of(address + PAGE), (65 * PAGE, 2))
    self.assertEqual(one.unmap(address + PAGE), 0)
    self.assertEqual(one.offset_of(address + PAGE), -errno.EINVAL)

  def test_a_page_is_granted_to_several(self):
    one, two, third = self.program(), self.program(), self.program()
    index, [first, _] = one.share(two.id, count=2)
    also = lambda domain, flags=0, **options: one.share(domain, number=SHARE_ALSO, flags=flags,
                                                        **{'index': index, **options})
    _, [second] = also(third.id)
    self.assertNotEqual(first, second)
    self.assertEqual(one.grants_of(index),
                     (2, [(first, two.id, WRITABLE), (second, third.id, 0)]))
    self.assertEqual(one.grants_of(index, room=1), (2, [(first, two.id, WRITABLE)]))
    self.assertEqual(one.grants_of(index, room=0), (2, []))
    self.assertEqual(one.grants_of(index + PAGE)[0], 1)
    for wrong in (index + 8, index + 2 * PAGE):
      self.assertEqual(one.grants_of(wrong), -errno.EINVAL)
      self.assertEqual(also(third.id, index=wrong), -errno.EINVAL)
    self.assertEqual(also(third.id, count=3), -errno.EINVAL)

    theirs, other = two.map_grants((one.id, first)), third.map_grants((one.id, second),
                                                                      protection=READ)
    self.assertEqual(third.map_grants((one.id, second)), -errno.EINVAL)
    two.put(theirs, b'to all')
    self.assertEqual(third.get(other, 6), b'to all')
    # One is taken back when it is in use no more; the other stays.
    self.assertEqual(one.revoke(first), -errno.EBUSY)
    self.assertEqual(two.unmap(theirs), 0)
    self.assertEqual(one.revoke(first), -errno.EBUSY)
    self.assertEqual(two.remove(0), 0)
    self.assertEqual(one.revoke(first), 0)
    self.assertEqual(one.revoke(first), -errno.ENOENT)
    for none in (0, 7, 2**32 - 1):
      self.assertEqual(one.revoke(none), -errno.ENOENT)
    self.assertEqual(two.map_grants((one.id, first)), -errno.EINVAL)
    self.assertEqual(third.get(other, 6), b'to all')
    self.assertEqual(one.grants_of(index), (1, [(second, third.id, 0)]))
    # Another file of the same device has none of these.
    self.assertEqual(one.revoke(second, name='gntalloc-2'), -errno.ENOENT)
    self.assertEqual(two.revoke(second), -errno.ENOENT)
    # As many as a page can have.
    refs = {also(two.id)[1][0] for _ in range(63)}
    self.assertEqual(len(refs), 63)
    self.assertEqual(also(two.id), -errno.ENOSPC)
    self.assertEqual(one.grants_of(index)[0], 64)
    # None is left when the page has gone; what is mapped stays mapped.
    self.assertEqual(one.unshare(index, 2), 0)
    self.assertEqual(two.map_grants((one.id, next(iter(refs)))), -errno.EINVAL)
    self.assertEqual(third.get(other, 6), b'to all')

  def test_one_file_of_two_processes(self):
    one, two = self.program(), self.program()
    index, [ref] = one.share(two.id)
    # A forked child has the file, and no mapping.
    self.assertEqual(one.in_child(f'self.grants_of({index})'), (1, [(ref, two.id, WRITABLE)]))
    more, [others] = one.in_child(f'self.share({two.id})')
    self.assertEqual(more, index + PAGE)
    address = one.map('gntalloc', index, 2)
    one.put(address + PAGE, b'both')
    self.assertEqual(one.in_child(f'self.get(self.map("gntalloc", {more}), 4)'), b'both')
    theirs = two.map_grants((one.id, others))
    self.assertEqual(two.get(theirs, 4), b'both')

    # Another process of the same domain gets it through a socket.
    path = f'{self.place.name}/files'
    same = self.program(one.id)
    same.listen(path)
    one.pass_file('gntalloc', path)
    same.take_file('gntalloc', path)
    self.assertEqual(same.grants_of(index), (1, [(ref, two.id, WRITABLE)]))
    shown = same.map('gntalloc', more)
    self.assertEqual(same.get(shown, 4), b'both')
    self.assertEqual(same.share(two.id)[0], index + 2 * PAGE)
    # It is there until the last of them has closed it.
    one.kill()
    one.process.wait(20)
    self.assertEqual(same.grants_of(more)[0], 1)
    self.assertGreater(two.map_grants((one.id, ref)), 0)
    same.unmap(shown)
    same.close('gntalloc')
    self.assertEqual(two.get(theirs, 4), b'both')

  def test_who_is_killed_is_missed(self):
    two = self.program()
    for grants in (False, True):
      one = self.program()
      port = two.bind_unbound(one.id)
      peer = one.bind(two.id, port)
      if grants:
        index, [ref] = one.share(two.id)
        page = two.map_grants((one.id, ref))
        self.assertEqual(one.notice('gntalloc', index + 5, CLEAR_BYTE | SEND_EVENT, peer), 0)
      else:
        index, [ref] = two.share(one.id)
        page = two.map('gntalloc', index)
        offset = one.add((two.id, ref))
        self.assertGreater(one.map('gntdev', offset), 0)
        self.assertEqual(one.notice('gntdev', offset + 5, CLEAR_BYTE | SEND_EVENT, peer), 0)
      two.put(page, b'0123456789')
      self.assertIsNone(two.next_event(0.05))
      one.kill()
      self.assertEqual(two.next_event(), port)
      self.assertEqual(two.get(page, 10), b'01234\x006789')


if __name__ == '__main__':
  if sys.argv[1] == 'agent':
    serve()
  else:
    XENCOMM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
