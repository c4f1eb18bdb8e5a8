// xencomm list: the domains.

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/tools/command.h"
#include "hcall/tools/print.h"
#include "xencomm/client.h"

namespace xencomm::tools {
namespace {

constexpr std::uint32_t kAtOnce = 128;

// All domains, by as many calls as it takes.
absl::StatusOr<std::vector<xen_domctl_getdomaininfo>> AllDomains(Client& client) {
  const auto op = client.arena().New<xen_sysctl>(Contents::kCleared);
  const auto room = client.arena().NewArray<xen_domctl_getdomaininfo>(kAtOnce);
  if (!op.ok()) return op.status();
  if (!room.ok()) return room.status();
  std::vector<xen_domctl_getdomaininfo> domains;
  xen_sysctl_getdomaininfolist& list = (*op)->u.getdomaininfolist;
  do {
    (*op)->cmd = XEN_SYSCTL_getdomaininfolist;
    (*op)->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    list.first_domain =
        domains.empty() ? domid_t{0} : static_cast<domid_t>(domains.back().domain + 1);
    list.max_domains = kAtOnce;
    SetHandle(list.buffer, *room);
    const std::int64_t answer = client.Call(__HYPERVISOR_sysctl, op->get());
    if (answer < 0) {
      return absl::UnavailableError(
          absl::StrFormat("the hypervisor refuses sysctl.getdomaininfolist: %s",
                          strerrordesc_np(static_cast<int>(-answer))));
    }
    domains.insert(domains.end(), room->begin(), room->begin() + list.num_domains);
  } while (list.num_domains == kAtOnce);
  return domains;
}

// The uuid as people write it: the domain's name is in xenstore, which hypercalls do not reach.
std::string Uuid(const xen_domctl_getdomaininfo& domain) {
  std::string text;
  for (unsigned i = 0; i < sizeof(domain.handle); ++i) {
    absl::StrAppendFormat(&text, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                          domain.handle[i]);
  }
  return text;
}

struct State {
  std::uint32_t flag;
  char letter;
  const char* name;
};
constexpr State kStates[] = {
    {XEN_DOMINF_running, 'r', "running"}, {XEN_DOMINF_blocked, 'b', "blocked"},
    {XEN_DOMINF_paused, 'p', "paused"},   {XEN_DOMINF_shutdown, 's', "shutdown"},
    {XEN_DOMINF_dying, 'd', "dying"},
};

std::string Letters(std::uint32_t flags) {
  std::string letters;
  for (const State& state : kStates) {
    letters += (flags & state.flag) != 0 ? state.letter : '-';
  }
  return letters;
}

// XEN_INVALID_MAX_VCPU_ID: it has none yet.
std::uint32_t Vcpus(const xen_domctl_getdomaininfo& domain) {
  return domain.max_vcpu_id == XEN_INVALID_MAX_VCPU_ID ? 0 : domain.max_vcpu_id + 1;
}

void PrintAsJson(const std::vector<xen_domctl_getdomaininfo>& domains) {
  Json all = Json::array();
  for (const xen_domctl_getdomaininfo& domain : domains) {
    std::vector<std::string> states;
    for (const State& state : kStates) {
      if ((domain.flags & state.flag) != 0) states.emplace_back(state.name);
    }
    all.push_back({{"id", domain.domain},
                   {"uuid", Uuid(domain)},
                   {"memory_bytes", std::uint64_t{domain.tot_pages} << 12},
                   {"vcpus", Vcpus(domain)},
                   {"online_vcpus", domain.nr_online_vcpus},
                   {"hvm", (domain.flags & XEN_DOMINF_hvm_guest) != 0},
                   {"state", states},
                   {"cpu_time_ns", std::uint64_t{domain.cpu_time}}});
  }
  PrintJson({{"domains", all}});
}

absl::StatusOr<int> Run(const Arguments& arguments) {
  const auto client = arguments.Connect();
  if (!client.ok()) return client.status();
  const auto domains = AllDomains(**client);
  if (!domains.ok()) return domains.status();
  if (arguments.Has("json")) {
    PrintAsJson(*domains);
    return 0;
  }
  absl::PrintF("%5s  %-36s  %9s  %5s  %-5s  %10s\n", "ID", "UUID", "Mem (MiB)", "VCPUs", "State",
               "Time (s)");
  for (const xen_domctl_getdomaininfo& domain : *domains) {
    absl::PrintF("%5u  %-36s  %9u  %5u  %-5s  %10.1f\n", domain.domain, Uuid(domain),
                 domain.tot_pages >> 8, Vcpus(domain), Letters(domain.flags),
                 static_cast<double>(domain.cpu_time) / 1e9);
  }
  return 0;
}

}  // namespace

Command ListCommand() {
  return {
      .name = "list",
      .summary = "List the domains",
      .description =
          "As the hypervisor has them: id, uuid, memory, vcpus, state (r running, b blocked, p "
          "paused, s shut down, d dying) and the time that its vcpus ran. A domain's name is in "
          "xenstore, which hypercalls do not reach.",
      .options = {{"json", "", "for programs"}},
      .connects = Command::Connects::kAnywhere,
      .examples = {{"The domains of the Xen that this machine runs on.", "xencomm list --xen"}},
      .run = Run,
  };
}

}  // namespace xencomm::tools
