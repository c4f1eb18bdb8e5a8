"""Copies of the working tree to plant faults in, with a build folder each.

A copy holds what git tracks, as it lies in the working tree, and what is new and not ignored. It is
brought up to date file by file, so that its build goes on from where it was.
"""

import contextlib
import dataclasses
import fcntl
import filecmp
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
WORK = TOP / 'build' / 'mutants'

# A mutant may ask for any amount of memory, and write files of any size. Tests want much of which
# they use little: a machine's memory is a file, and 2^32 pages are mapped at once.
DATA = 8 << 30
ADDRESS_SPACE = 64 << 40
FILE_SIZE = 1 << 40


def tracked():
  """The names of the files of the working tree, from its top."""
  listing = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
                           cwd=TOP, check=True, stdout=subprocess.PIPE, text=True).stdout
  return sorted({name for name in listing.split('\0') if name and (TOP / name).is_file()})


def tree_hash(names):
  """Of all that goes into the tests: not of texts, and not of this tool."""
  whole = hashlib.sha256()
  for name in names:
    if name.startswith('tests/mutants/') or name.endswith('.md'):
      continue
    whole.update(name.encode() + b'\0')
    whole.update(hashlib.sha256((TOP / name).read_bytes()).digest())
  return whole.hexdigest()[:12]


@dataclasses.dataclass
class Test:
  """One of Meson's tests."""
  name: str
  command: list
  environment: dict
  folder: str          # where it runs
  depends: list        # outputs in the build folder
  is_program: bool     # not a script


class Tree:
  """A copy and its build folder."""

  def __init__(self, name, *options, top=None):
    self.name = name
    self.top = top or WORK / name
    self.build = self.top / 'build'
    self.aside = WORK / f'{name}.aside'  # objects of the unchanged sources, while a fault is there
    self.linked = set()                  # what was, or may be, linked from the changed ones
    self.options = options
    self.environment = dict(os.environ)
    # A cache of the compiler's brings back what was there before the fault; it need not keep what
    # a fault made, nor look twice for it.
    self.environment['CCACHE_DEPEND'] = '1'
    # Linking is a good part of a mutant's time.
    for linker in ('lld', 'gold'):
      if shutil.which(f'ld.{linker}'):
        self.environment.update({'CXX_LD': linker, 'CC_LD': linker})
        break

  def update(self, names, source=TOP):
    """Makes the copy what the working tree is, or another copy."""
    self.top.mkdir(parents=True, exist_ok=True)
    wanted = set(names)
    for path in sorted(self.top.rglob('*')):
      if path.is_file() and self.build not in path.parents:
        if str(path.relative_to(self.top)) not in wanted and '__pycache__' not in path.parts:
          path.unlink()
    for name in names:
      original, copy = source / name, self.top / name
      contents = original.read_bytes()
      if not copy.exists() or copy.read_bytes() != contents:
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(contents)
      if copy.stat().st_mode != original.stat().st_mode:
        copy.chmod(original.stat().st_mode)

  def configure(self):
    if not (self.build / 'build.ninja').exists():
      run_quietly(['meson', 'setup', str(self.build), str(self.top), '-Dwerror=false',
                   *self.options], self.environment)
    else:
      # Targets and tests may be others now.
      run_quietly(['ninja', '-C', str(self.build), 'build.ninja'], self.environment)

  def make(self, jobs, *targets, keep=True):
    """Builds some targets."""
    environment = dict(self.environment)
    if not keep:
      environment['CCACHE_READONLY'] = '1'
    return GROUPS.run(['ninja', '-C', str(self.build), f'-j{jobs}', *targets],
                      self.top.with_suffix('.log'), env=environment)

  def ninja(self, *arguments):
    """Asks ninja something."""
    return subprocess.run(['ninja', '-C', str(self.build), *arguments], env=self.environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors='replace')

  def put_aside(self, objects, targets):
    """Moves objects away, so that ninja makes them anew for `targets`."""
    listing = self.ninja('-t', 'inputs', *targets).stdout.split()
    self.linked |= {name for name in [*listing, *targets]
                    if re.search(r'\.(a|so[.\d]*)$', name) or name in targets}
    for name in objects:
      if (self.build / name).exists():
        (self.aside / name).parent.mkdir(parents=True, exist_ok=True)
        os.rename(self.build / name, self.aside / name)

  def is_same(self, name):
    """Whether an object is what it was before."""
    old, new = self.aside / name, self.build / name
    return old.exists() and new.exists() and filecmp.cmp(old, new, shallow=False)

  def put_back(self):
    """Everything is as if nothing had been changed; what was linked is made when it is needed."""
    for name in self.linked:
      if not os.path.isabs(name):
        (self.build / name).unlink(missing_ok=True)
    self.linked.clear()
    for path in sorted(self.aside.rglob('*.o')):
      os.rename(path, self.build / path.relative_to(self.aside))

  def recover(self):
    """After a run that did not get to put things back."""
    if self.aside.exists() and any(self.aside.rglob('*.o')):
      self.linked = {str(path.relative_to(self.build)) for path in self.build.rglob('*')
                     if path.is_file() and not path.suffix and os.access(path, os.X_OK)}
      self.linked |= {str(path.relative_to(self.build))
                      for path in self.build.rglob('*.[as]*')
                      if re.search(r'\.(a|so[.\d]*)$', path.name) and not path.is_symlink()}
      self.put_back()

  def tests(self, *suites):
    """The tests of some suites (default: unit), by name."""
    def asked(what):
      return json.loads(subprocess.run(['meson', 'introspect', what, str(self.build)], check=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)

    outputs = {target['id']: [os.path.relpath(name, self.build) for name in target['filename']]
               for target in asked('--targets')}
    tests = {}
    for entry in asked('--tests'):
      if not any(suite.split(':')[-1] in (suites or ('unit',)) for suite in entry['suite']):
        continue
      command = [str(word) for word in entry['cmd']]
      tests[entry['name']] = Test(
          entry['name'], command, entry['env'], entry['workdir'] or str(self.build),
          [name for target in entry['depends'] for name in outputs[target]],
          str(self.build) == os.path.commonpath([str(self.build), os.path.abspath(command[0])]))
    return tests

  def includes(self):
    """For each source that was compiled, and each of its objects: the tree's files in it."""
    by_source, by_object = {}, {}
    top = str(self.top) + os.sep
    for block in self.ninja('-t', 'deps').stdout.split('\n\n'):
      lines = block.strip().split('\n')
      output = re.match(r'(.+\.o): #deps', lines[0])
      if not output:
        continue
      names = [os.path.normpath(self.build / line.strip()) for line in lines[1:]]
      names = [name[len(top):] for name in names if name.startswith(top)]
      if names:
        by_source.setdefault(names[0], names[1:])
        by_object[output.group(1)] = names
    return by_source, by_object

  def objects_of(self, targets):
    """The objects that go into some outputs, through libraries too."""
    listing = self.ninja('-t', 'inputs', *targets)
    return sorted({line.strip() for line in listing.stdout.splitlines()
                   if line.strip().endswith('.o')})


def run_quietly(command, environment=None):
  done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                        env=environment)
  if done.returncode != 0:
    print(done.stdout)
    sys.exit(f'failed: {" ".join(command)}')


@dataclasses.dataclass
class Ended:
  """How a command ended."""
  passed: bool
  hung: bool
  seconds: float
  output: str


def limit():
  resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
  resource.setrlimit(resource.RLIMIT_DATA, (DATA, DATA))
  resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
  signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # what is too large is an error, as it is elsewhere
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  # Where all memory is used up after all, this goes first; if the machine lets one say so.
  with contextlib.suppress(OSError):
    pathlib.Path('/proc/self/oom_score_adj').write_text('1000')


class Groups:
  """The sessions of what runs now: all can be ended at once."""

  def __init__(self):
    self.lock = threading.Lock()
    self.running = set()
    self.stopped = False

  def run(self, command, log, seconds=None, limited=False, **how):
    """Runs a command in a session of its own, of which nothing stays behind."""
    begun = time.monotonic()
    with open(log, 'wb') as output:
      with self.lock:
        if self.stopped:
          raise Stopped
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True,
                                   preexec_fn=limit if limited else None, **how)
        self.running.add(process.pid)
      hung = False
      try:
        process.wait(timeout=seconds)
      except subprocess.TimeoutExpired:
        hung = True
      finally:
        with self.lock:
          self.running.discard(process.pid)
        kill(process.pid)
        process.wait()
    if self.stopped:
      raise Stopped
    with open(log, 'rb') as output:
      output.seek(max(0, log.stat().st_size - 40000))
      text = output.read().decode(errors='replace')
    return Ended(not hung and process.returncode == 0, hung, time.monotonic() - begun, text)

  def stop(self):
    with self.lock:
      self.stopped = True
      for group in self.running:
        kill(group)


class Stopped(Exception):
  """The run was asked to stop."""


def kill(group):
  try:
    os.killpg(group, signal.SIGKILL)
  except ProcessLookupError:
    pass


GROUPS = Groups()


def alone():
  """Two runs would change each other's copies. Holds until the process ends."""
  WORK.mkdir(parents=True, exist_ok=True)
  lock = open(WORK / 'lock', 'w')
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    sys.exit(f'another run works in {WORK.relative_to(TOP)}')
  return lock


def stop_when_asked():
  """Ctrl-C ends what runs; who waits for it gets Stopped."""
  def stop(*_):
    print('stopping', flush=True)
    GROUPS.stop()
  signal.signal(signal.SIGINT, stop)
  signal.signal(signal.SIGTERM, stop)


def run_test(test, seconds, scratch, environment=None, limited=True):
  scratch.mkdir(parents=True, exist_ok=True)
  return GROUPS.run(
      test.command, scratch / 'output', seconds, limited, cwd=test.folder,
      env={**os.environ, **test.environment, 'TMPDIR': str(scratch), **(environment or {})})
