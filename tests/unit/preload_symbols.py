"""Whether the preloaded front stands in for every function of the C library that takes a path.

    preload_symbols.py FRONT COMPILER...

The C library's own headers say which take one, by their parameters' names; from its symbols come the
other names of the same function. Each is in the front, or in the list of those that are not, with
the reason. And the front shows nothing else.
"""

import re
import subprocess
import sys

HEADERS = '''
aio.h dirent.h dlfcn.h err.h fcntl.h fstab.h fts.h ftw.h glob.h grp.h iconv.h libgen.h libintl.h
locale.h mntent.h mqueue.h netdb.h nl_types.h pty.h pwd.h sched.h semaphore.h shadow.h spawn.h stdio.h
stdlib.h sys/acct.h sys/fanotify.h sys/file.h sys/inotify.h sys/ioctl.h sys/ipc.h sys/mman.h
sys/mount.h sys/quota.h sys/sendfile.h sys/shm.h sys/socket.h sys/stat.h sys/statfs.h sys/statvfs.h
sys/swap.h sys/syscall.h sys/time.h sys/uio.h sys/un.h sys/vfs.h sys/xattr.h syslog.h ttyent.h
unistd.h utime.h utmp.h utmpx.h wordexp.h'''.split()
# What a path is called in them.
PATH = re.compile(r'const char\s*\*\s*(?:const\s*\*\s*)?(?:__restrict\s*)?_*(\w*'
                  r'(?:path|file|filename|pathname|dir|template|from|to|old|new|pattern|words|command|'
                  r'special|special_file|prefix)|name)\b|char\s*\*\s*_*template\b')
# Not of paths, but they lead to devices, or to other programs.
OTHERS = {'__getcwd_chk', 'bind', 'close', 'close_range', 'closefrom', 'connect', 'dup2', 'dup3',
          'fexecve', 'fstat', 'getcwd', 'ioctl', 'mmap', 'mremap', 'munmap',
          'posix_spawn_file_actions_destroy', 'read', 'readdir', 'syscall', 'write'}
# On purpose not in the front. Nor is fts_open, of a list of paths: programs have their own, which opens
# by openat.
NOT = {
  **dict.fromkeys(['__close', '__dup2', '__read', '__write'], 'names of the C library for itself'),
  **dict.fromkeys("""
    dlsym dlvsym fgetxattr fremovexattr fsetxattr getaddrinfo getenv getfsfile getfsspec getgrnam
    getgrnam_r
    gethostbyname gethostbyname2 gethostbyname2_r gethostbyname_r getnetbyname getnetbyname_r
    getprotobyname getprotobyname_r getpwnam getpwnam_r getrpcbyname getrpcbyname_r getservbyname
    getservbyname_r getservbyport getservbyport_r getspnam getspnam_r glob_pattern_p mq_open mq_unlink
    rexec rexec_af secure_getenv sem_open sem_unlink setdomainname setenv sethostname setlogin
    shm_open shm_unlink unsetenv""".split(), 'the name is no path'),
  **dict.fromkeys("""
    acct chroot fanotify_mark fspick mount mount_setattr move_mount name_to_handle_at open_tree
    quotactl revoke setmntent swapoff swapon umount umount2 updwtmp updwtmpx utmpname
    utmpxname""".split(), 'of the host'),
  **dict.fromkeys(['dlmopen', 'dlopen'], 'a library'),
  'tempnam': 'makes a name only',
}
# Names of the same function: as headers and old programs have them.
VARIANT = re.compile(r'(?:__(?:f|l)?x)?_*(\w+?)(?:64)?(?:_2|_chk)?$')


def functions_of_headers(compiler):
  """The names of all that are declared with a path."""
  source = ''.join(f'#include <{header}>\n' for header in HEADERS)
  text = subprocess.run([*compiler, '-E', '-P', '-D_GNU_SOURCE', '-U_FILE_OFFSET_BITS', '-xc', '-'],
                        input=source, check=True, text=True, stdout=subprocess.PIPE).stdout
  text = re.sub(r'\s+', ' ', text)
  found = set()
  for name, parameters in re.findall(r'extern [^;{}()]*?\b(\w+) ?\(((?:[^()]|\([^()]*\))*)\)', text):
    if PATH.search(parameters):
      found.add(name)
  return found


def symbols(library):
  text = subprocess.run(['nm', '-D', '--defined-only', library], check=True, text=True,
                        stdout=subprocess.PIPE).stdout
  return {re.sub('@.*', '', line.split()[2]) for line in text.splitlines()
          if re.search(r' [TWi] ', line) and not line.endswith('@GLIBC_PRIVATE')}


def main():
  front, *compiler = sys.argv[1:]
  libc = re.search(r'libc\.so\.6 => (\S+)', subprocess.run(
    ['ldd', front], check=True, text=True, stdout=subprocess.PIPE).stdout)[1]
  shown, library = symbols(front), symbols(libc)
  declared = functions_of_headers(compiler) & library
  faults = []
  wanted = declared | OTHERS
  stems = {VARIANT.match(name)[1] for name in shown}
  # fxstat is fstat's, and so on.
  wanted |= {name for name in library
             if VARIANT.match(name)[1] in stems}
  for name in sorted(wanted - shown - NOT.keys()):
    faults.append(f'{name} takes a path, and is neither in the front nor on purpose not')
  for name in sorted(NOT.keys() & shown):
    faults.append(f'{name} is on purpose not in the front: {NOT[name]}')
  # New in later C libraries.
  for name in sorted(shown - wanted - {'pidfd_spawn', 'pidfd_spawnp'}):
    faults.append(f'{name} is in the front, and stands in for nothing')
  for fault in faults:
    print(fault)
  print(f'{len(declared)} functions of paths, {len(shown)} in the front, {len(faults)} faults')
  sys.exit(bool(faults) or len(declared) < 100)


main()
