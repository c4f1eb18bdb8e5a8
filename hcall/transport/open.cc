// What a setting names.

#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <utility>

#include "hcall/transport/descriptor.h"
#include "hcall/transport/embedded/embedded_foreign_memory.h"
#include "hcall/transport/embedded/embedded_transport.h"
#include "hcall/transport/foreign_memory.h"
#include "hcall/transport/privcmd.h"
#include "hcall/transport/privcmd_foreign_memory.h"
#include "hcall/transport/setting.h"
#include "xencomm/sentence.h"
#include "xencomm/transport.h"

namespace xencomm {

std::string DefaultTransport() {
  const char* const setting = std::getenv("XENCOMM_TRANSPORT");
  return setting == nullptr || setting[0] == '\0' ? "privcmd" : setting;
}

namespace {

// What a setting names: the embedded machine by its options, or else, with nothing in it, privcmd.
absl::StatusOr<std::optional<EmbeddedSetting>> Parse(const std::string& setting) {
  const Setting parts = SplitSetting(setting);
  if (parts.name == "embedded") {
    absl::StatusOr<EmbeddedSetting> embedded = ParseEmbeddedSetting(parts.options);
    if (!embedded.ok()) return embedded.status();
    return std::optional<EmbeddedSetting>(*embedded);
  }
  if (parts.name != "privcmd") {
    return absl::InvalidArgumentError(
        Sentence("'%s' is no transport: expected privcmd, embedded or embedded:OPTIONS", setting));
  }
  if (!parts.options.empty()) {
    return absl::InvalidArgumentError(Sentence("'%s': privcmd takes no options", setting));
  }
  return std::optional<EmbeddedSetting>();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> OpenTransport(const std::string& setting) {
  const absl::StatusOr<std::optional<EmbeddedSetting>> embedded = Parse(setting);
  if (!embedded.ok()) return embedded.status();
  if (!embedded->has_value()) return Privcmd::Open();
  absl::StatusOr<std::shared_ptr<embedded::EmbeddedMachine>> machine =
      embedded::EmbeddedMachine::OfThisProcess((*embedded)->machine);
  if (!machine.ok()) return machine.status();
  // Programs ask for the descriptor of calls, look at it, and put others in its place. Nothing goes
  // through this one.
  Descriptor fd(memfd_create("xencomm-calls", MFD_CLOEXEC));
  if (!fd.is_open()) return absl::ErrnoToStatus(errno, "a file descriptor for calls");
  return std::make_unique<embedded::EmbeddedTransport>(*std::move(machine), (*embedded)->reach,
                                                       std::move(fd));
}

absl::StatusOr<std::unique_ptr<ForeignMemory>> OpenForeignMemory(const std::string& setting) {
  const absl::StatusOr<std::optional<EmbeddedSetting>> embedded =
      Parse(setting.empty() ? DefaultTransport() : setting);
  if (!embedded.ok()) return embedded.status();
  if (!embedded->has_value()) return PrivcmdForeignMemory::Open();
  absl::StatusOr<std::shared_ptr<embedded::EmbeddedMachine>> machine =
      embedded::EmbeddedMachine::OfThisProcess((*embedded)->machine);
  if (!machine.ok()) return machine.status();
  return std::make_unique<embedded::EmbeddedForeignMemory>(*std::move(machine));
}

}  // namespace xencomm
