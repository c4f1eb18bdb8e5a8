"""A toolstack's work by Xen's own module for Python. Prints what does not depend on the machine.

    python_xc.py FOLDER

FOLDER has the package `xen`.
"""

import sys

sys.path.insert(0, sys.argv[1])
from xen.lowlevel import xc, xs


def refusal(function, *arguments):
  try:
    return function(*arguments)
  except xc.Error as error:
    return error.args


xen = xc.xc()
print('Xen', xen.xeninfo()['xen_major'], 'domains', [each['domid'] for each in xen.domain_getinfo()])
print('processors', xen.physinfo()['nr_cpus'], [sorted(each) for each in xen.getcpuinfo(1)])
domid = xen.domain_create()
xen.domain_max_vcpus(domid, 1)
xen.domain_setmaxmem(domid, 65536)
print('it has at most', xen.domain_getinfo(domid, 1)[0]['maxmem_kb'], 'KiB')
xen.vcpu_setaffinity(domid, 0, [0])
vcpu = xen.vcpu_getinfo(domid, 0)
print('its vcpu', vcpu['online'], vcpu['cpumap'])
xen.sched_credit2_domain_set(domid, weight=512)
print('its port', xen.evtchn_alloc_unbound(domid, 0))
print('refused', refusal(xen.domain_max_vcpus, domid, 2))
for step in [xen.domain_pause, xen.domain_unpause, xen.domain_destroy]:
  step(domid)
print('domains', [each['domid'] for each in xen.domain_getinfo()])
print('refused', refusal(xen.domain_destroy, domid))
store = xs.xs()
store.write('', '/local/domain/0/python', 'here')
print(store.read('', '/local/domain/0/name'), store.read('', '/local/domain/0/python'))
