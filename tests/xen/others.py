"""What others made on Xen's libraries: libvirt, Xen's own module for Python, collectd's xencpu. What
is asked of them, and what they print: the same on a machine and on real Xen, but for the numbers."""

import pathlib
import re
import subprocess

# The release that they are compared with.
XEN = '4.17'

PYTHON_XC = pathlib.Path(__file__).resolve().parent / 'python_xc.py'

# With the libraries that nothing else here needs.
LIBVIRT = ['libvirt-daemon', 'libvirt-daemon-driver-xen', 'libvirt0', 'libvirt-clients',
           'libapparmor1', 'libcap-ng0', 'libpcap0.8', 'libpciaccess0', 'libssh-4', 'libtirpc3']
COLLECTD = ['collectd-core']

# Libvirt's domains.
GUESTS = {'pv': '<type machine="xenpv">xen</type>', 'pvh': '<type machine="xenpvh">xenpvh</type>'}

ONLY_DOMAIN0 = [r'Id +Name +State', '-+', '0 +Domain-0 +running']
VCPUS = [r'VCPU: +0', r'CPU: +PLACE', 'State: +offline', 'CPU Affinity: +MASK',
         r'VCPU: +1', r'CPU: +[0-3]', 'State: +offline', 'CPU Affinity: +yyyy']
WEIGHT = ['Scheduler +: credit2', r'weight +: WEIGHT', r'cap +: 0']

# A command of virsh's and the lines that it prints, as regular expressions; NAME is the domain's.
# There are four processors.
VIRSH = [
    ('list --all', ONLY_DOMAIN0),
    ('create --paused NAME.xml', ["Domain 'NAME' created from NAME.xml"]),
    ('list', [*ONLY_DOMAIN0, r'\d+ +NAME +paused']),
    ('dominfo NAME', [r'Id: +\d+', 'Name: +NAME', 'UUID: .*', 'OS Type: +(xen|xenpvh)',
                      'State: +paused', r'CPU\(s\): +2', 'Max memory: +65536 KiB',
                      r'Used memory: +65\d\d\d KiB', 'Persistent: +no', 'Autostart: +disable',
                      'Managed save: +no']),
    ('vcpuinfo NAME', [line.replace('PLACE', '[0-3]').replace('MASK', 'yyyy') for line in VCPUS]),
    ('vcpupin NAME 0 1', []),
    ('vcpuinfo NAME', [line.replace('PLACE', '1').replace('MASK', '-y--') for line in VCPUS]),
    ('schedinfo NAME', [line.replace('WEIGHT', '256') for line in WEIGHT]),
    ('schedinfo NAME --weight 512', [line.replace('WEIGHT', '512') for line in WEIGHT]),
    ('setmem NAME 60M', []),
    # What the guest is to give back; it does not run.
    ('dumpxml NAME --xpath //currentMemory', ['<currentMemory unit="KiB">61440</currentMemory>']),
    ('resume NAME', ["Domain 'NAME' resumed"]),
    ('domstate NAME', ['running']),
    ('suspend NAME', ["Domain 'NAME' suspended"]),
    ('domstate NAME', ['paused']),
    ('destroy NAME', ["Domain 'NAME' destroyed"]),
    ('list --all', ONLY_DOMAIN0),
]

PYTHON = [r'Xen 4 domains \[0\]', r"processors 4 \[\['idletime'\]\]",
          'it has at most 65536 KiB', r'its vcpu 0 \[0\]', 'its port 1',
          r"refused \(22, 'Invalid argument'\)", r'domains \[0\]',
          r"refused \(3, 'No such process'\)", "b'Domain-0' b'here'"]

# collectd ends by itself when there is nothing that it could read, and not otherwise.
XENCPU = 'timeout --preserve-status 4 collectd -f -C collectd.conf'
XENCPU_FOUND = [r'.*Found 4 processors\.', r'PUTVAL .*/xencpu-3/percent-load .*']


def guest_xml(kind, kernel):
  return (f'<domain type="xen"><name>{kind}-guest</name><memory>65536</memory><vcpu>2</vcpu>'
          f'<os>{GUESTS[kind]}<kernel>{kernel}</kernel></os></domain>')


def libvirtd_conf(place):
  return f'unix_sock_dir = "{place}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'


def collectd_conf(place, plugins, types):
  return f'''BaseDir "{place}"
PIDFile "{place}/collectd.pid"
PluginDir "{plugins}"
TypesDB "{types}"
Interval 1
Hostname "host"
LoadPlugin xencpu
LoadPlugin csv
<Plugin csv>
  DataDir "stdout"
</Plugin>
'''


def virsh_lines(output, code):
  return ([line.strip() for line in output.splitlines() if line.strip()] +
          ([f'exit code {code}'] if code != 0 else []))


def is_right(lines, patterns, kind=''):
  """Whether these lines are what is expected, one by one; of a domain of this kind."""
  patterns = [pattern.replace('NAME', f'{kind}-guest') for pattern in patterns]
  return len(lines) == len(patterns) and all(map(re.fullmatch, patterns, lines))


def has_found(lines):
  """Whether collectd has."""
  return all(any(re.fullmatch(pattern, line) for line in lines) for pattern in XENCPU_FOUND)


class Image:
  """What of them goes into an image of domain 0 (run.py), and what its shell does with it."""

  def __init__(self, root, programs):
    self.libraries = root / 'usr/lib/x86_64-linux-gnu'
    self.root, self.python = root, programs.parent / 'lib/python'

  def programs(self):
    return [self.root / 'usr/sbin/libvirtd', self.root / 'usr/bin/virsh',
            self.root / 'usr/sbin/collectd', pathlib.Path('/usr/bin/python3')]

  def plugins(self):
    """Of a program, its folder in the image, and those that are put there."""
    collectd = self.root / 'usr/lib/collectd'
    return {'libvirt': [self.libraries / 'libvirt/connection-driver/libvirt_driver_libxl.so'],
            'collectd': [collectd / 'xencpu.so', collectd / 'csv.so']}

  def files(self):
    """What is read where it lies, by its place in the image."""
    found = {'usr/share/collectd/types.db': self.root / 'usr/share/collectd/types.db'}
    share = self.root / 'usr/share/libvirt'
    for path in share.rglob('*'):
      if path.is_file():
        found[str(path.relative_to(self.root))] = path
    for path in self.python.rglob('*'):
      if path.is_file():
        found[f'python/{path.relative_to(self.python)}'] = path
    # As much of Python's own as it loads here.
    said = subprocess.run(
        ['/usr/bin/python3', '-B', '-c', 'import sys\n'
         f'sys.path.insert(0, {str(self.python)!r})\n'
         'try:\n  from xen.lowlevel import xc, xs\nexcept ImportError:\n  pass\n'
         'for module in list(sys.modules.values()):\n'
         '  if getattr(module, "__file__", None): print(module.__file__)'],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    for path in map(pathlib.Path, said.split()):
      if not path.is_relative_to(self.python):
        found[str(path).lstrip('/')] = path
    found['python_xc.py'] = PYTHON_XC
    return found

  def texts(self):
    """The files that are written, by their names."""
    # Each processor that libvirt knows has vme, or sep, which Xen hides of AMD's; QEMU's has none.
    oldest = 'usr/share/libvirt/cpu_map/x86_486.xml'
    without_vme = re.sub(r'.*name=.vme.*\n', '', (self.root / oldest).read_text())
    return {f'{kind}-guest.xml': guest_xml(kind, '/kernel') for kind in GUESTS} | {
        'libvirtd.conf': libvirtd_conf('/run/libvirt'),
        'collectd.conf': collectd_conf('/run', '/collectd', '/usr/share/collectd/types.db'),
        oldest: without_vme,
        'etc/passwd': 'root:x:0:0:root:/:/bin/sh\n', 'etc/group': 'root:x:0:\n'}

  def shell(self):
    """What parse() reads goes into /others."""
    virsh = 'virsh --connect xen:///system?socket=/run/libvirt/libvirt-sock'
    steps = ['mkdir -p /run/libvirt',
             'LIBVIRT_DRIVER_DIR=/libvirt libvirtd --config /libvirtd.conf '
             '--pid-file /run/libvirtd.pid >/libvirtd.log 2>&1 &',
             f'for i in $(seq 20); do {virsh} uri >/dev/null 2>&1 && break; sleep 1; done']
    for words in [*(f'{virsh} {words.replace("NAME", f"{kind}-guest")}'
                    for kind in GUESTS for words, _ in VIRSH),
                  'PYTHONHOME=/usr python3 -S /python_xc.py /python',
                  # Busybox has one of that name, too.
                  XENCPU.replace('timeout', '/bin/timeout')]:
      steps.append(f'{words} >/output 2>&1 </dev/null\ncode=$?\n'
                   '{ echo "$ "; cat /output; echo; echo "ended: $code"; } >>/others')
    steps.append('{ echo; echo "the daemon said:"; cat /libvirtd.log; } >>/others')
    return '\n'.join(steps)


def parse(text):
  """What each command printed, in order."""
  return [virsh_lines(output, int(code)) for output, code in re.findall(
      r'^\$ \n((?:.*\n)*?)ended: (\d+)$', text, flags=re.MULTILINE)]


def differences(text, title):
  """Prints what real Xen answered otherwise; answers how many commands there are, and how many of
  which that is so."""
  printed = parse(text)
  wanted = [(f'virsh {words}', lambda lines, patterns=patterns, kind=kind:
             is_right(lines, patterns, kind)) for kind in GUESTS for words, patterns in VIRSH]
  wanted += [('Python', lambda lines: is_right(lines, PYTHON)), ('collectd', has_found)]
  failed = 0
  for at, (words, is_as_wanted) in enumerate(wanted):
    lines = printed[at] if at < len(printed) else ['was not asked']
    if not is_as_wanted(lines):
      print(f'{title}: {words}:', *lines, sep='\n  ')
      failed += 1
  if failed:
    print(text.partition('the daemon said:')[2])
  return len(wanted), failed
