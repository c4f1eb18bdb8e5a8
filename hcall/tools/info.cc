// xencomm info: the hypervisor behind a transport, and this library.

#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/op.h"
#include "hcall/schema/print.h"
#include "hcall/schema/words.h"
#include "hcall/tools/command.h"
#include "hcall/tools/print.h"
#include "xencomm/client.h"

namespace xencomm::tools {
namespace {

absl::Status Refused(const char* what, std::int64_t answer) {
  return absl::UnavailableError(absl::StrFormat("the hypervisor refuses %s: %s", what,
                                                strerrordesc_np(static_cast<int>(-answer))));
}

// A string of xen_version; "" when it is not told.
template <class T>
std::string Text(Client& client, std::uint64_t op) {
  const auto text = client.arena().New<T>(Contents::kCleared);
  if (!text.ok() || client.Call(__HYPERVISOR_xen_version, op, text->get()) < 0) return "";
  const char* const first = reinterpret_cast<const char*>(text->get());
  return std::string(first, ::strnlen(first, sizeof(T)));
}

// The machine's abilities by their constants' names, without what all of these begin with.
std::vector<std::string> Abilities(std::uint64_t capabilities) {
  const schema::Op* const op = schema::Find("sysctl", "physinfo");
  for (const schema::Part& part : op->argument().parts()) {
    if (std::string_view(schema::WordsOf(part).path) != "capabilities") continue;
    const std::string names = schema::NameValue(part, capabilities);
    return absl::StrSplit(absl::StrReplaceAll(names, {{schema::WordsOf(part).prefix, ""}}), " | ");
  }
  return {};
}

// What one process may lock, where transport and user depend on it.
Json LockLimit(const std::string& transport) {
  rlimit limit = {};
  if (transport != "privcmd" || access("/dev/xen/hypercall", R_OK | W_OK) == 0) return {};
  if (geteuid() == 0 || getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return {};
  return limit.rlim_cur == RLIM_INFINITY ? Json() : Json(limit.rlim_cur);
}

struct Answer {
  Json json;
  // Of the same, for people: what it is called, and how it reads.
  std::vector<std::pair<const char*, std::string>> rows;
};

absl::Status AskVersion(Client& client, Answer& answer) {
  const std::int64_t version = client.Call(__HYPERVISOR_xen_version, XENVER_version, 0);
  if (version < 0) return Refused("its version", version);
  const std::string number = absl::StrFormat("%d.%d%s", version >> 16, version & 0xffff,
                                             Text<xen_extraversion_t>(client, XENVER_extraversion));
  const std::string capabilities = Text<xen_capabilities_info_t>(client, XENVER_capabilities);
  const std::vector<std::string> kinds = absl::StrSplit(capabilities, ' ', absl::SkipEmpty());
  const std::string changeset = Text<xen_changeset_info_t>(client, XENVER_changeset);
  answer.json["xen"] = {{"version", number}, {"capabilities", kinds}, {"changeset", changeset}};
  answer.rows.emplace_back("Xen", number);
  answer.rows.emplace_back("guests", absl::StrJoin(kinds, " "));
  if (!changeset.empty()) answer.rows.emplace_back("changeset", changeset);
  return absl::OkStatus();
}

absl::Status AskMachine(Client& client, Answer& answer) {
  const auto op = client.arena().New<xen_sysctl>(Contents::kCleared);
  if (!op.ok()) return op.status();
  (*op)->cmd = XEN_SYSCTL_physinfo;
  (*op)->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
  const std::int64_t result = client.Call(__HYPERVISOR_sysctl, op->get());
  if (result < 0) return Refused("sysctl.physinfo", result);
  const xen_sysctl_physinfo& machine = (*op)->u.physinfo;
  const std::vector<std::string> abilities = Abilities(machine.capabilities);
  const std::uint64_t total = std::uint64_t{machine.total_pages} << 12;
  const std::uint64_t free = std::uint64_t{machine.free_pages} << 12;
  answer.json["machine"] = {{"cpus", machine.nr_cpus},
                            {"nodes", machine.nr_nodes},
                            {"cores_per_socket", machine.cores_per_socket},
                            {"threads_per_core", machine.threads_per_core},
                            {"cpu_khz", machine.cpu_khz},
                            {"memory_bytes", total},
                            {"free_bytes", free},
                            {"capabilities", abilities}};
  answer.rows.emplace_back(
      "cpus", absl::StrFormat("%u, on %u node%s, %u MHz", machine.nr_cpus, machine.nr_nodes,
                              machine.nr_nodes == 1 ? "" : "s", machine.cpu_khz / 1000));
  answer.rows.emplace_back("memory",
                           absl::StrFormat("%u MiB, %u MiB free", total >> 20, free >> 20));
  answer.rows.emplace_back("it can", absl::StrJoin(abilities, " "));
  return absl::OkStatus();
}

void AskRegions(Client& client, Answer& answer) {
  const bool known = client.transport().knows_regions();
  answer.json["regions"] = known;
  answer.rows.emplace_back("regions",
                           known ? "known: a call opts in by bit 30 of its index"
                                 : "not known: a call with bit 30 in its index is refused");
}

absl::StatusOr<int> Run(const Arguments& arguments) {
  const auto client = arguments.Connect();
  if (!client.ok()) return client.status();
  const std::string transport = arguments.Transport();

  Answer answer;
  answer.json["transport"] = transport;
  answer.json["library"] = XENCOMM_VERSION;
  answer.rows.emplace_back("transport", transport);
  for (const auto ask : {AskVersion, AskMachine}) {
    const absl::Status asked = ask(**client, answer);
    if (!asked.ok()) return asked;
  }
  AskRegions(**client, answer);
  const std::uint64_t room = (*client)->arena().payload().size();
  answer.json["arena_bytes"] = room;
  answer.rows.emplace_back("arena", absl::StrCat("up to ", Bytes(room)));
  const Json limit = LockLimit(transport);
  if (!limit.is_null()) {
    answer.json["memlock_bytes"] = limit;
    answer.rows.emplace_back(
        "lockable", absl::StrCat(Bytes(limit.get<std::uint64_t>()),
                                 " (RLIMIT_MEMLOCK, ulimit -l): the Arena grows no further"));
  }
  answer.rows.emplace_back("library", absl::StrCat("xencomm ", XENCOMM_VERSION));
  if (arguments.Has("json")) {
    PrintJson(answer.json);
  } else {
    for (const auto& [name, text] : answer.rows) absl::PrintF("%-10s %s\n", name, text);
  }
  return 0;
}

}  // namespace

Command InfoCommand() {
  return {
      .name = "info",
      .summary = "Show the hypervisor behind the library",
      .description =
          "Its version, what it can, processors and memory, whether it knows regions, and what "
          "limits this process.",
      .options = {{"json", "", "for programs"}},
      .connects = Command::Connects::kAnywhere,
      .examples = {{"The Xen that this machine runs on.", "xencomm info --xen"}},
      .run = Run,
  };
}

}  // namespace xencomm::tools
