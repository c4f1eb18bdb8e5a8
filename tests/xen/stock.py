"""Xen's own programs, and what they print: the same on real Xen and on the embedded hypervisor, line
by line in shape, but for the numbers."""

import re

# A program's arguments; the lines that it prints, as regular expressions: those with `*` in front
# come any number of times in this place, those with `+` at least once. MINOR is the release of Xen.
PROGRAMS = {
    'xen-cpuid': [
        r'nr_features: \d+', r' +KEY 1d +1c .*', 'Static sets:', r'+[A-Z][A-Za-z ]+ [0-9a-f:]+',
        'Dynamic sets:', r'Raw +[0-9a-f]{8}(:[0-9a-f]{8})+', r'Host +[0-9a-f]{8}(:[0-9a-f]{8})+',
        r'PV Default +[0-9a-f:]+', r'HVM Default +[0-9a-f:]+', r'PV Max +[0-9a-f:]+',
        r'HVM Max +[0-9a-f:]+',
    ],
    'xen-cpuid -p': [
        r'Xen reports there are maximum \d+ leaves and \d+ MSRs',
        r'+[A-Z].* policy: \d+ leaves, \d+ MSRs| CPUID:|  leaf     subleaf  -> eax .*'
        r'|  [0-9a-f]{8}:[0-9a-f]{8} -> [0-9a-f]{8}(:[0-9a-f]{8}){3}| MSRs:|  index    -> value +'
        r'|  [0-9a-f]{8} -> [0-9a-f]{16}',
    ],
    'xenpm get-cpu-topology': [
        r'CPU\tcore\tsocket\tnode',
        # QEMU's processor tells no core, and is left out.
        r'*CPU\d+\t \d+\t \d+\t \d+',
    ],
    'xen-diag gnttab_query_size 0': [r'domid=0: nr_frames=\d+, max_nr_frames=64'],
    'lsevtchn 0': [
        r'+\s+\d+: VCPU \d+: (Virtual IRQ \d+|Physical IRQ \d+|IPI|Interdomain .*)',
    ],
    'test-paging-mempool': [
        'Paging mempool tests', r'  Created d\d+', 'Test default mempool size',
        r'mempool size 1048576 bytes \(1024kB, 1MB\)',
        "Test that allocate doesn't alter pool size", 'Test bad set size', 'Test set continuation',
    ],
    'xl info': [
        r'host +: .*', r'release +: .*', r'version +: .*', r'machine +: x86_64',
        r'nr_cpus +: \d+', r'max_cpu_id +: \d+', r'nr_nodes +: 1', r'cores_per_socket +: \d+',
        r'threads_per_core +: 1', r'cpu_mhz +: \d+\.\d+',
        r'hw_caps +: [0-9a-f]{8}(:[0-9a-f]{8}){7}', r'virt_caps +: pv hvm hap gnttab-v1 gnttab-v2',
        r'total_memory +: \d+', r'free_memory +: \d+', r'sharing_freed_memory +: 0',
        r'sharing_used_memory +: 0', r'outstanding_claims +: 0', r'free_cpus +: 0',
        r'xen_major +: 4', r'xen_minor +: MINOR', r'xen_extra +: \.\d+(-\w+)?',
        r'xen_version +: 4\.MINOR\.\d+(-\w+)?',
        r'xen_caps +: xen-3\.0-x86_64 hvm-3\.0-x86_32 hvm-3\.0-x86_32p hvm-3\.0-x86_64 ?',
        r'xen_scheduler +: credit2', r'xen_pagesize +: 4096',
        r'platform_params +: virt_start=0xffff800000000000', r'xen_changeset +: .*',
        r'xen_commandline +: .*', r'cc_compiler +: .*', r'cc_compile_by +: .*',
        r'cc_compile_domain +: .*', r'cc_compile_date +: .*', r'build_id +: [0-9a-f]{40}',
        r'xend_config_format +: 4',
    ],
    'xl dmesg': [
        r'\(XEN\) Xen version 4\.MINOR\.\d+(-\w+)? .*', r'+\(XEN\) .*',
        r'\(XEN\) Using scheduler: SMP Credit Scheduler rev2 \(credit2\)', r'+\(XEN\) .*',
        r'\(XEN\) Brought up \d+ CPUs', r'+\(XEN\) .*',
    ],
}

# The same of this project's command, on real Xen.
COMMAND = {
    'xencomm info --xen': [
        r'transport +privcmd', r'Xen +4\.MINOR\.\d+(-\w+)?', r'guests +xen-3\.0-x86_64 .*',
        r'*changeset +.*',
        r'cpus +1, on 1 node, \d+ MHz', r'memory +7\d\d MiB, \d+ MiB free', r'it can +hvm pv hap .*',
        r'regions +not known: .*', r'arena +up to 256 MiB', r'*lockable +.*', r'library +xencomm .*',
    ],
    'xencomm list --xen': [
        r' +ID +UUID +Mem \(MiB\) +VCPUs +State +Time \(s\)',
        r' +0 +0{8}(-0{4}){3}-0{12} +400 +1 +r---- +\d+\.\d',
    ],
}

# What they print where a machine has no configuration of xl.
NOISE = re.compile(r'Failed to read config file: /etc/xen/xl\.conf: .*')


def difference(program, text, xen):
  """What is not as expected in what `program` printed on a release of Xen; None when all is."""
  lines = [line for line in text.splitlines() if line.strip() and not NOISE.fullmatch(line)]
  at = 0
  minor = xen.partition('.')[2]
  patterns = [line.replace('MINOR', minor) for line in {**PROGRAMS, **COMMAND}[program]]
  for index, pattern in enumerate(patterns):
    many, pattern = (pattern[0], pattern[1:]) if pattern[0] in '*+' else ('', pattern)
    following = patterns[index + 1] if index + 1 < len(patterns) else None
    count = 0
    while at < len(lines) and re.fullmatch(pattern, lines[at]):
      # A general line gives way to the particular one behind it.
      if count and many and following and re.fullmatch(following, lines[at]):
        break
      at += 1
      count += 1
      if not many:
        break
    if count == 0 and many != '*':
      found = repr(lines[at]) if at < len(lines) else 'its end'
      return f'{program}: expected {pattern!r}, found {found}'
  if at != len(lines):
    return f'{program}: nothing more was expected, found {lines[at]!r}'
  return None
