// event_channel_op by the privcmd device: each op's answers, and which of two errors comes first.
//
// Domain 0's kernel has ports of its own, and on real Xen its events are in the FIFO ABI: only
// ports that were opened here are touched, none is told of, and what would change the ABI is
// refused.
#include <stdint.h>

#include <xen/xen.h>

#include <xen/domctl.h>
#include <xen/event_channel.h>
#include <xen/sched.h>

#include "tests/xen/check.h"
#include "tests/xen/devices.h"

// No vcpu, no port of any domain in any ABI.
enum { kNoVcpu = 9999, kNoPort = 1 << 17 };

static long event_op(uint64_t op, const void *argument) {
  return hypercall(__HYPERVISOR_event_channel_op, op, (uintptr_t)argument);
}

static long alloc_unbound(uint16_t of, uint16_t to) {
  evtchn_alloc_unbound_t request = {.dom = of, .remote_dom = to};
  const long answer = event_op(EVTCHNOP_alloc_unbound, &request);
  return answer != 0 ? answer : (long)request.port;
}
static long bind_interdomain(uint16_t to, uint32_t port) {
  evtchn_bind_interdomain_t request = {.remote_dom = to, .remote_port = port};
  const long answer = event_op(EVTCHNOP_bind_interdomain, &request);
  return answer != 0 ? answer : (long)request.local_port;
}
static long bind_virq(uint32_t virq, uint32_t vcpu) {
  evtchn_bind_virq_t request = {.virq = virq, .vcpu = vcpu};
  const long answer = event_op(EVTCHNOP_bind_virq, &request);
  return answer != 0 ? answer : (long)request.port;
}
static long bind_ipi(uint32_t vcpu) {
  evtchn_bind_ipi_t request = {.vcpu = vcpu};
  const long answer = event_op(EVTCHNOP_bind_ipi, &request);
  return answer != 0 ? answer : (long)request.port;
}
static long close_port(uint32_t port) {
  const evtchn_close_t request = {.port = port};
  return event_op(EVTCHNOP_close, &request);
}
static long send(uint32_t port) {
  const evtchn_send_t request = {.port = port};
  return event_op(EVTCHNOP_send, &request);
}
static long unmask(uint32_t port) {
  const evtchn_unmask_t request = {.port = port};
  return event_op(EVTCHNOP_unmask, &request);
}
static long bind_vcpu(uint32_t port, uint32_t vcpu) {
  const evtchn_bind_vcpu_t request = {.port = port, .vcpu = vcpu};
  return event_op(EVTCHNOP_bind_vcpu, &request);
}
static long set_priority(uint32_t port, uint32_t priority) {
  const evtchn_set_priority_t request = {.port = port, .priority = priority};
  return event_op(EVTCHNOP_set_priority, &request);
}
static long status_of(uint16_t domid, uint32_t port, evtchn_status_t *status) {
  *status = (evtchn_status_t){.dom = domid, .port = port, .status = 99, .vcpu = 99};
  return event_op(EVTCHNOP_status, status);
}
static bool is(uint32_t port, uint32_t state) {
  evtchn_status_t status;
  return status_of(DOMID_SELF, port, &status) == 0 && status.status == state && status.vcpu == 0;
}

static void check_unbound(void) {
  const long port = alloc_unbound(DOMID_SELF, kNobody);  // who need not be there
  CHECK(port > 0);
  evtchn_status_t status;
  CHECK(status_of(DOMID_SELF, port, &status) == 0 && status.status == EVTCHNSTAT_unbound);
  CHECK(status.u.unbound.dom == kNobody && status.vcpu == 0);
  CHECK(status_of(0, port, &status) == 0 && status.status == EVTCHNSTAT_unbound);
  CHECK(send(port) == 0);  // to nobody
  CHECK(unmask(port) == 0);
  CHECK(bind_interdomain(DOMID_SELF, port) == -EINVAL);  // it waits for somebody else
  CHECK(bind_vcpu(port, 0) == 0);
  CHECK(bind_vcpu(port, kNoVcpu) == -ENOENT);
  CHECK(close_port(port) == 0 && is(port, EVTCHNSTAT_closed));
  CHECK(close_port(port) == -EINVAL && send(port) == -EINVAL && bind_vcpu(port, 0) == -EINVAL);
  CHECK(unmask(port) == 0);  // whatever it is
  CHECK(alloc_unbound(kNobody, DOMID_SELF) == -ESRCH);
  CHECK(event_op(EVTCHNOP_alloc_unbound, NULL) == -EFAULT);
}

static void check_interdomain(void) {
  const long there = alloc_unbound(DOMID_SELF, DOMID_SELF);
  evtchn_status_t status;
  CHECK(status_of(DOMID_SELF, there, &status) == 0 && status.u.unbound.dom == 0);
  CHECK(bind_interdomain(kNobody, there) == -ESRCH);
  CHECK(bind_interdomain(DOMID_SELF, 0) == -EINVAL);
  CHECK(bind_interdomain(DOMID_SELF, kNoPort) == -EINVAL);
  CHECK(bind_interdomain(DOMID_SELF, 0xffffffff) == -EINVAL);
  const long here = bind_interdomain(DOMID_SELF, there);
  CHECK(here > 0 && here != there);
  CHECK(bind_interdomain(DOMID_SELF, there) == -EINVAL);
  CHECK(status_of(DOMID_SELF, here, &status) == 0 && status.status == EVTCHNSTAT_interdomain);
  CHECK(status.u.interdomain.dom == 0 && status.u.interdomain.port == (uint32_t)there);
  CHECK(status_of(DOMID_SELF, there, &status) == 0 && status.status == EVTCHNSTAT_interdomain);
  CHECK(status.u.interdomain.dom == 0 && status.u.interdomain.port == (uint32_t)here);
  CHECK(send(here) == 0 && send(there) == 0);
  CHECK(bind_vcpu(here, 0) == 0 && bind_vcpu(here, kNoVcpu) == -ENOENT);
  // The other end waits for whom it was bound to.
  CHECK(close_port(here) == 0 && is(here, EVTCHNSTAT_closed));
  CHECK(status_of(DOMID_SELF, there, &status) == 0 && status.status == EVTCHNSTAT_unbound);
  CHECK(status.u.unbound.dom == 0);
  CHECK(bind_interdomain(DOMID_SELF, there) == here);
  CHECK(close_port(there) == 0 && is(here, EVTCHNSTAT_unbound) && close_port(here) == 0);
}

static void check_virqs_and_ipis(void) {
  CHECK(bind_virq(24, 0) == -EINVAL);  // NR_VIRQS
  CHECK(bind_virq(0xffffffff, 0) == -EINVAL);
  CHECK(bind_virq(VIRQ_MEM_EVENT, 1) == -EINVAL);  // of the whole domain
  CHECK(bind_virq(VIRQ_MEM_EVENT, kNoVcpu) == -EINVAL);
  CHECK(bind_virq(VIRQ_XENOPROF, kNoVcpu) == -ENOENT);
  evtchn_status_t status;
  const uint32_t virqs[] = {VIRQ_MEM_EVENT, VIRQ_ARCH_3, VIRQ_XENOPROF};
  for (int i = 0; i < 3; i++) {
    const bool is_global = virqs[i] != VIRQ_XENOPROF;
    const long port = bind_virq(virqs[i], 0);
    CHECK(port > 0);
    CHECK(bind_virq(virqs[i], 0) == -EEXIST);
    CHECK(status_of(DOMID_SELF, port, &status) == 0 && status.status == EVTCHNSTAT_virq);
    CHECK(status.u.virq == virqs[i] && status.vcpu == 0);
    CHECK(send(port) == -EINVAL);
    CHECK(bind_vcpu(port, 0) == (is_global ? 0 : -EINVAL));
    CHECK(close_port(port) == 0);
    CHECK(bind_virq(virqs[i], 0) == port && close_port(port) == 0);
  }
  CHECK(bind_ipi(kNoVcpu) == -ENOENT);
  const long port = bind_ipi(0);
  CHECK(port > 0 && is(port, EVTCHNSTAT_ipi));
  CHECK(bind_vcpu(port, 0) == -EINVAL && bind_vcpu(port, kNoVcpu) == -ENOENT);
  CHECK(send(port) == 0 && close_port(port) == 0 && is(port, EVTCHNSTAT_closed));
}

static void check_ports_that_are_none(void) {
  evtchn_status_t status;
  CHECK(is(0, EVTCHNSTAT_closed));
  CHECK(status_of(kNobody, 0, &status) == -ESRCH);
  CHECK(send(0) == -EINVAL && close_port(0) == -EINVAL && bind_vcpu(0, 0) == -EINVAL);
  CHECK(unmask(0) == 0);
  const uint32_t none[] = {kNoPort, 0x7fffffff, 0x80000000, 0xffffffff};
  for (int i = 0; i < 4; i++) {
    CHECK(status_of(DOMID_SELF, none[i], &status) == -EINVAL);
    CHECK(send(none[i]) == -EINVAL && close_port(none[i]) == -EINVAL);
    CHECK(unmask(none[i]) == -EINVAL && set_priority(none[i], 7) == -EINVAL);
    CHECK(bind_vcpu(none[i], 0) == -EINVAL && bind_vcpu(none[i], kNoVcpu) == -ENOENT);
  }
  for (int op = 0; op <= EVTCHNOP_set_priority; op++) {
    if (op != EVTCHNOP_bind_pirq) CHECK(event_op(op, NULL) == -EFAULT);
  }
  // The next number is Xen's own, to continue a reset with.
  CHECK(event_op(EVTCHNOP_set_priority + 2, NULL) == -ENOSYS);
}

static long init_control(uint32_t vcpu, uint64_t gfn, uint32_t offset) {
  evtchn_init_control_t request = {.control_gfn = gfn, .offset = offset, .vcpu = vcpu};
  const long answer = event_op(EVTCHNOP_init_control, &request);
  CHECK(answer == 0 || request.link_bits == 0);
  return answer;
}

static void check_fifo(void) {
  const uint64_t nowhere = (uint64_t)1 << 45;
  CHECK(init_control(kNoVcpu, nowhere, 0) == -ENOENT);
  CHECK(init_control(kNoVcpu, nowhere, 4) == -ENOENT);
  CHECK(init_control(0, nowhere, 4) == -EINVAL);
  CHECK(init_control(0, nowhere, 4032) == -EINVAL);
  CHECK(init_control(0, nowhere, 0xfffffff8) == -EINVAL);
  CHECK(init_control(0, nowhere, 0) == -EINVAL);
  const evtchn_expand_array_t expand = {.array_gfn = nowhere};
  const long port = alloc_unbound(DOMID_SELF, kNobody);
  const long answer = set_priority(port, 0);
  if (answer == -ENOSYS) {  // a kernel in the two-level ABI, where that is all
    CHECK(set_priority(port, 16) == -ENOSYS && set_priority(0, 16) == -ENOSYS);
    CHECK(event_op(EVTCHNOP_expand_array, &expand) == -EOPNOTSUPP);
  } else {
    CHECK(answer == 0 && set_priority(port, 15) == 0);
    CHECK(set_priority(port, 16) == -EINVAL && set_priority(port, 0xffffffff) == -EINVAL);
    CHECK(set_priority(0, 16) == -EACCES);
    CHECK(event_op(EVTCHNOP_expand_array, &expand) == -EINVAL);
  }
  CHECK(close_port(port) == 0);
  CHECK(set_priority(port, 16) == (answer == -ENOSYS ? -ENOSYS : -EACCES));
}

static long pause_op(uint32_t cmd, uint16_t domid) {
  const struct xen_domctl op = {
      .cmd = cmd, .interface_version = XEN_DOMCTL_INTERFACE_VERSION, .domain = domid};
  return hypercall(__HYPERVISOR_domctl, (uintptr_t)&op, 0);
}

// Another domain's, which has 1,023 of them and is paused.
static void check_other_domain(void) {
  const uint16_t domid = create_domain();
  evtchn_status_t status;
  CHECK(status_of(domid, 5, &status) == 0 && status.status == EVTCHNSTAT_closed);
  CHECK(status_of(domid, 64, &status) == -EINVAL);  // there are as many as were needed
  const long there = alloc_unbound(domid, DOMID_SELF);
  CHECK(there == 1);
  CHECK(alloc_unbound(domid, kNobody) == 2 && bind_interdomain(domid, 2) == -EINVAL);
  const long here = bind_interdomain(domid, there);
  CHECK(here > 0);
  CHECK(status_of(domid, there, &status) == 0 && status.status == EVTCHNSTAT_interdomain);
  CHECK(status.u.interdomain.dom == 0 && status.u.interdomain.port == (uint32_t)here);
  CHECK(status_of(DOMID_SELF, here, &status) == 0 && status.u.interdomain.dom == domid);
  CHECK(send(here) == 0);
  for (long port = 3; port < 1024; port++) CHECK(alloc_unbound(domid, DOMID_SELF) == port);
  CHECK(alloc_unbound(domid, DOMID_SELF) == -ENOSPC);
  CHECK(status_of(domid, 1023, &status) == 0 && status_of(domid, 1024, &status) == -EINVAL);

  evtchn_reset_t reset = {.dom = kNobody};
  CHECK(event_op(EVTCHNOP_reset, &reset) == -ESRCH);
  reset.dom = domid;
  CHECK(event_op(EVTCHNOP_reset, &reset) == 0);
  CHECK(status_of(domid, there, &status) == 0 && status.status == EVTCHNSTAT_closed);
  CHECK(status_of(domid, 1023, &status) == 0 && status.status == EVTCHNSTAT_closed);
  CHECK(status_of(DOMID_SELF, here, &status) == 0 && status.status == EVTCHNSTAT_unbound);
  CHECK(status.u.unbound.dom == domid);
  CHECK(alloc_unbound(domid, DOMID_SELF) == 1);
  // Of one that runs only it may do so itself. (It has a vcpu, which was not brought up.)
  CHECK(pause_op(XEN_DOMCTL_unpausedomain, domid) == 0);
  CHECK(event_op(EVTCHNOP_reset, &reset) == -EINVAL);
  CHECK(pause_op(XEN_DOMCTL_pausedomain, domid) == 0);
  CHECK(event_op(EVTCHNOP_reset, &reset) == 0);
  destroy_domain(domid);
  CHECK(is(here, EVTCHNSTAT_unbound) && send(here) == 0 && close_port(here) == 0);
  CHECK(bind_interdomain(domid, 1) == -ESRCH);
}

static void check_poll(void) {
  CHECK(hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, 0) == -EFAULT);
  evtchn_port_t ports[129] = {0};
  struct sched_poll request = {.nr_ports = 129, .timeout = 1};
  set_xen_guest_handle(request.ports, ports);
  CHECK(hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, (uintptr_t)&request) == -EINVAL);
  request.nr_ports = 0xffffffff;
  CHECK(hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, (uintptr_t)&request) == -EINVAL);
  // Of a port that is pending already: without waiting.
  const long there = alloc_unbound(DOMID_SELF, DOMID_SELF);
  const long here = bind_interdomain(DOMID_SELF, there);
  ports[0] = here;
  request.nr_ports = 1;
  CHECK(hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, (uintptr_t)&request) == 0);
  CHECK(close_port(here) == 0 && close_port(there) == 0);
}

void check_event_calls(void) {
  check_unbound();
  check_interdomain();
  check_virqs_and_ipis();
  check_ports_that_are_none();
  check_fifo();
  check_other_domain();
  check_poll();
}
