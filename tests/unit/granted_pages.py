"""Maps what a domain grants by /dev/xen/gntdev, as a program that knows Linux's ioctls does.

    granted_pages.py NAME

A domain that a toolstack has made grants two pages to domain 0: its console's, by entry 0, and its
store's, by entry 1. Runs on a machine.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import subprocess
import sys

MAP, UNMAP, OFFSET, NONE = 0x184700, 0x104701, 0x184702, 0x44703
HYPERCALL = 0x305000
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
FAILED = ctypes.c_void_p(-1).value
failed = 0


def expect(what, is_as_it_should_be):
  global failed
  if not is_as_it_should_be:
    print(f'{what} is not so')
    failed += 1


def error_of(function):
  try:
    function()
  except OSError as error:
    return error.errno
  return 0


def ask(file, number, argument):
  """What the ioctl has left in its argument."""
  argument = bytearray(argument)
  fcntl.ioctl(file, number, argument)
  return bytes(argument)


def add(file, *grants, count=None):
  """The offset at which (domain, entry)s can be mapped."""
  count = len(grants) if count is None else count
  argument = struct.pack('<IIQ', count, 0, 0) + b''.join(struct.pack('<II', *grant)
                                                         for grant in grants)
  return struct.unpack_from('<Q', ask(file, MAP, argument.ljust(24, b'\0')), 8)[0]


def remove(file, offset, count):
  return error_of(lambda: ask(file, UNMAP, struct.pack('<QII', offset, count, 0)))


def map_pages(file, offset, pages=1, protection=mmap.PROT_READ | mmap.PROT_WRITE,
              flags=mmap.MAP_SHARED):
  """An address, or a negative errno."""
  address = libc.mmap(None, pages * 4096, protection, flags, file, offset)
  return -ctypes.get_errno() if address == FAILED else address


domain = int(subprocess.run(['xl', 'domid', sys.argv[1]], check=True, capture_output=True,
                            text=True).stdout)
privcmd = os.open('/dev/xen/privcmd', os.O_RDWR)


def version():
  """What a hypercall by privcmd answers."""
  return fcntl.ioctl(privcmd, HYPERCALL, bytearray(struct.pack('<6Q', 17, 0, 0, 0, 0, 0)))


before = version()
file = os.open('/dev/xen/gntdev', os.O_RDWR)

both = add(file, (domain, 1), (domain, 0))
expect('the first offset', both == 0)
third = add(file, (domain, 1))
expect('the next one behind it', third == 2 * 4096)
expect('a mapping of a part', map_pages(file, both) == -errno.EINVAL)
expect('a mapping of what is none', map_pages(file, 4096) == -errno.EINVAL)
expect('a private mapping to be written',
       map_pages(file, third, flags=mmap.MAP_PRIVATE) == -errno.EINVAL)
first = map_pages(file, both, pages=2)
second = map_pages(file, third)
expect('both mappings', first > 0 and second > 0)
expect('another mapping of the same', map_pages(file, third) == -errno.EINVAL)
if failed == 0:
  # The end of the store's page is nobody's.
  ctypes.memmove(first + 4090, b'here', 4)
  expect('one page, mapped twice', ctypes.string_at(second + 4090, 4) == b'here')
  expect('another page', ctypes.string_at(first + 8186, 4) != b'here')
  ctypes.memset(first + 4090, 0, 4)
  offset, count = struct.unpack_from('<QI', ask(file, OFFSET, struct.pack('<QQII', second, 0, 0, 0)),
                                     8)
  expect('where it is mapped from', (offset, count) == (third, 1))
  expect('no such mapping',
         error_of(lambda: ask(file, OFFSET, struct.pack('<QQII', 4096, 0, 0, 0))) == errno.EINVAL)
expect('removing a part', remove(file, both, 1) == errno.ENOENT)
expect('removing it', remove(file, both, 2) == 0)
expect('removing it again', remove(file, both, 2) == errno.ENOENT)
expect('the first gap', add(file, (domain, 1)) == 0)

# What nobody grants.
for what, grant in {'an entry that is empty': (domain, 2), 'one behind the table': (domain, 1 << 20),
                    'a domain that is none': (30000, 1), 'no domain at all': (1 << 20 | 30000, 1)}.items():
  expect(what, map_pages(file, add(file, grant)) == -errno.EINVAL)
expect('one of two', map_pages(file, add(file, (domain, 1), (domain, 2)), pages=2) == -errno.EINVAL)
expect('none', error_of(lambda: add(file, count=0)) == errno.EINVAL)
expect('too many', error_of(lambda: add(file, count=65537)) == errno.EINVAL)
expect('another ioctl', error_of(lambda: ask(file, NONE, bytes(4))) == errno.ENOTTY)
expect('what cannot be read', libc.ioctl(file, ctypes.c_ulong(MAP), ctypes.c_void_p(16)) == -1 and
       ctypes.get_errno() == errno.EFAULT)
expect('reading', error_of(lambda: os.read(file, 4)) == errno.EINVAL)
for address, pages in [(first, 2), (second, 1)]:
  if address > 0:
    libc.munmap(address, pages * 4096)
# The other device has been in use all the time.
expect('the hypercall', version() == before)
os.close(file)
sys.exit(failed != 0)
