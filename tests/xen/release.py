"""Programs of the release of Xen after this machine's: compiled with Debian 13's headers and
libraries, which are unpacked and not installed, and run with them."""

import pathlib
import subprocess

import packages

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
DEBIAN = 'trixie'
XEN = '4.20'
DEVICES = ('devices.c', 'device_hypercalls.c', 'device_frames.c', 'device_events.c',
           'device_event_calls.c', 'device_grants.c', 'device_notices.c', 'device_shares.c')

# Its own libc and loader, since this machine's may be older than its libraries ask for.
PROGRAMS = ['libc6', 'libgcc-s1', 'zlib1g', 'liblzma5', 'libzstd1', *packages.UTILITIES]
PACKAGES = ['libc6-dev', 'linux-libc-dev', 'libxen-dev', *PROGRAMS]


def archive(folder):
  return packages.release_of_debian(DEBIAN, folder / 'apt')


def compiled(root, program, sources=('release.c',), runs_here=False):
  """Compiles `sources` to `program`, for Debian 13 or, with that one's loader and libraries under
  `root`, for this machine, where LD_LIBRARY_PATH comes before them as it does elsewhere."""
  libraries = root / packages.LIBRARIES
  own = [f'-Wl,--dynamic-linker={root}/lib64/ld-linux-x86-64.so.2', f'-Wl,-rpath,{libraries}']
  subprocess.run(['cc', '-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror', '-D_GNU_SOURCE',
                  '-D__XEN_TOOLS__', f'--sysroot={root}', f'-B{libraries}', f'-L{libraries}',
                  f'-I{TOP}', '-o', str(program),
                  *(str(TOP / 'tests/xen' / name) for name in sources),
                  '-Wl,--as-needed', '-lxenctrl', '-lxencall', *(own if runs_here else [])],
                 check=True)
  return program


def loaded(root, program):
  """The words that run a program of Debian 13's from under `root`, with its own loader and, before
  all others, its own libraries."""
  return [root / 'lib64/ld-linux-x86-64.so.2', '--argv0', program.name,
          '--library-path', root / packages.LIBRARIES, program]
