"""What Debian 13's programs print in a session on Xen 4.20: the same on real Xen and on a machine,
line by line.

A transcript has each command behind a `$`, what it printed, and its exit code where that is not 0.
The file is what real Xen said, and decides which commands there are. Both are run with one
processor and one vcpu of domain 0, which has as much memory, so that few lines have to differ:
MASKS. Behind a domain's end it sleeps: the domain is there until xenconsoled has heard of it.
"""

import difflib
import pathlib
import re

FILE = pathlib.Path(__file__).resolve().parent / 'transcript_4.20.txt'
OPTIONS = ['--cpus=1', '--vcpus=1', '--memory=768M', '--dom0=400M']

# Where xl's configuration of a host is; what xl decides by Xen's command line, it says.
XL_CONF = 'autoballoon="on"\n'
GUESTS = ['pv', 'pvh']
FILES = ['/pv.cfg', '/pvh.cfg', '/core']


def configuration(kind, kernel):
  return f'name = "{kind}"\ntype = "{kind}"\nmemory = 64\nvcpus = 2\nkernel = "{kernel}"\n'


# What is not the same in two runs of real Xen, or is of QEMU's processor and of Debian's build.
MASKS = [(re.compile(pattern), shown) for pattern, shown in [
    # Processor time, behind a state, and how long a host has run.
    (r'( [-rbpscd]{6}) +\d+\.\d\b', r'\1 TIME'),
    (r'(  [-rbp]{3}) +\d+\.\d\b', r'\1 TIME'),
    (r'( [-rbpscd]{6}) +\d+ +\d+\.\d +(\d+) +\d+\.\d +(\d+) +\d+\.\d ', r'\1 TIME \2 % \3 % '),
    (r'(VCPUs\(sec\): +0:) +\d+s', r'\1 TIME'),
    # A machine's domain 0 is up for as long as its Linux is.
    (r'( \d+ days?,)? +\d+:\d\d:\d\d$', ' TIME'),
    (r'start_time = "[\d.]+"', 'start_time = "TIME"'),
    (r'\d+ ns$', 'TIME'),
    (r'\[ +\d+ ms\]$', '[TIME]'),
    (r'(idle time\(ms\) +: )\d+', r'\1TIME'),
    (r'(?<=  tsc )0x\w+', 'TIME'),
    # What Linux and libxl make up.
    (r'(?!0{8}-)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'UUID'),
    (r'/dev/pts/\d+', 'TERMINAL'),
    # Which of a PV domain's pages lie where, and which port of domain 0 was free.
    (r'ring-ref = "\d+"', 'ring-ref = "MFN"'),
    (r'cr3: \w+', 'cr3: MFN'),
    (r'(Remote Domain 0, Port) \d+', r'\1 PORT'),
    # A machine's own store has no end of the port of a domain's ring.
    (r'(1: VCPU 0: Interdomain) \((Waiting .*|Connected\) - Remote Domain 0, Port PORT)',
     r'\1 STORE'),
    # The host, its processor, and who built this Xen.
    (r'^(host|release|version|cpu_mhz|hw_caps|total_memory|free_memory|xen_extra|xen_version|'
     r'xen_changeset|xen_commandline|cc_\w+|build_id)( +:).*', r'\1\2 HOST'),
    (r'^( +0: +)\d+ +\d+( +10)$', r'\1HOST\2'),
    (r'(CPUID\[0\]\[%eax\]|gtsc_khz) \w+', r'\1 HOST'),
]]

# QEMU's processor tells no core, and is left out of lists of them.
LEFT_OUT = re.compile(r'(\(XEN\)|Failed to read config file: /etc/xen/xl\.conf: ).*|'
                      r'(CPU0\t|  0:) +0[\t ]+0[\t ]+0|Socket 0|\t Core 0 CPU 0')


def masked(output):
  """The lines that count in what a command printed."""
  lines = [line.rstrip() for line in output.splitlines()
           if line.strip() and not LEFT_OUT.fullmatch(line)]
  for pattern, shown in MASKS:
    lines = [pattern.sub(shown, line) for line in lines]
  return lines


def parse(text):
  """The commands of a transcript, each with the lines that count of what it printed."""
  parts = re.split(r'^\$ (.*)\n', text, flags=re.MULTILINE)[1:]
  return list(zip(parts[::2], map(masked, parts[1::2])))


def shell(commands, file):
  """Of a shell: the commands, one after the other, their transcript going to a file."""
  return '\n'.join(f"""echo '$ {words}' >>{file}
{words} >>{file} 2>&1 </dev/null || printf '\\nexit code %d' $? >>{file}
echo >>{file}""" for words in commands)


def entry(output, code):
  """The lines that count of a command that printed `output` and ended with `code`."""
  return masked(output) + ([f'exit code {code}'] if code != 0 else [])


def expected():
  return parse(FILE.read_text())


def write(printed):
  """Makes what real Xen printed what is expected."""
  FILE.write_text(''.join(f'$ {words}\n' + ''.join(f'{line}\n' for line in lines)
                          for words, lines in printed))


def differences(printed, title):
  """Prints what is not as expected, and answers how many commands there are of which it is so."""
  found = 0
  for index, (words, lines) in enumerate(expected()):
    here = printed[index][1] if index < len(printed) else []
    if here == lines:
      continue
    found += 1
    print(f'{title}: {words}')
    print('\n'.join(difflib.unified_diff(lines, here, 'expected', 'found', lineterm='', n=1)))
  return found
