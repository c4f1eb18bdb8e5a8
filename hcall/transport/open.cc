// What a setting names.

#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <utility>
#include <variant>

#include "hcall/transport/embedded/embedded_foreign_memory.h"
#include "hcall/transport/embedded/embedded_transport.h"
#include "hcall/transport/file_descriptor.h"
#include "hcall/transport/foreign_memory.h"
#include "hcall/transport/machine/connection.h"
#include "hcall/transport/machine/machine_transport.h"
#include "hcall/transport/open.h"
#include "hcall/transport/privcmd.h"
#include "hcall/transport/privcmd_foreign_memory.h"
#include "hcall/transport/setting.h"
#include "hcall/transport/xencomm_device.h"
#include "xencomm/client.h"
#include "xencomm/mutex.h"
#include "xencomm/process_slot.h"
#include "xencomm/sentence.h"

namespace xencomm {

namespace {

constexpr char kPrivcmd[] = "privcmd";
constexpr char kXencommDevice[] = "xencomm-device";

// An empty setting stands for that of the environment, or the default.
std::string OrDefault(const std::string& setting) {
  if (!setting.empty()) return setting;
  const char* const environment = std::getenv("XENCOMM_TRANSPORT");
  return environment == nullptr || environment[0] == '\0' ? SettingForXen() : environment;
}

// The clients of a process by their settings.
struct Clients {
  Mutex mutex;
  std::map<std::string, std::weak_ptr<Client>> by_setting ABSL_GUARDED_BY(mutex);
};

Clients& ClientsOfThisProcess() {
  static ProcessSlot<Clients> clients;
  return clients.OfThisProcess();
}

}  // namespace

absl::StatusOr<TransportSetting> ParseTransport(const std::string& text) {
  const std::string setting = OrDefault(text);
  const Setting parts = SplitSetting(setting);
  if (parts.name == "embedded") return ParseEmbeddedSetting(parts.options);
  if (parts.name == "machine") return ParseJoinedSetting(parts.options);
  if (parts.name != kPrivcmd && parts.name != kXencommDevice) {
    return absl::InvalidArgumentError(
        Sentence("'%s' is no transport: expected privcmd, xencomm-device, machine:PATH, embedded "
                 "or embedded:OPTIONS",
                 setting));
  }
  if (!parts.options.empty()) {
    return absl::InvalidArgumentError(Sentence("'%s': %s takes no options", setting, parts.name));
  }
  if (parts.name == kPrivcmd) return PrivcmdSetting();
  return XencommDeviceSetting();
}

std::string SettingForXen() { return XencommDevice::IsThere() ? kXencommDevice : kPrivcmd; }

absl::StatusOr<std::shared_ptr<Client>> Client::Open(const std::string& transport) {
  const std::string setting = OrDefault(transport);
  Clients& clients = ClientsOfThisProcess();
  const MutexLock lock(clients.mutex);
  std::weak_ptr<Client>& known = clients.by_setting[setting];
  std::shared_ptr<Client> shared = known.lock();
  if (shared != nullptr && !shared->is_restricted()) return shared;

  absl::StatusOr<std::unique_ptr<Transport>> opened = OpenTransport(setting);
  if (!opened.ok()) return opened.status();
  absl::StatusOr<std::shared_ptr<Client>> client = Over(*std::move(opened));
  if (client.ok()) known = *client;
  return client;
}

absl::StatusOr<std::unique_ptr<Transport>> OpenTransport(const std::string& setting) {
  const absl::StatusOr<TransportSetting> parsed = ParseTransport(setting);
  if (!parsed.ok()) return parsed.status();
  if (std::holds_alternative<PrivcmdSetting>(*parsed)) return Privcmd::Open();
  if (std::holds_alternative<XencommDeviceSetting>(*parsed)) return XencommDevice::Open();
  // Programs ask for the descriptor of calls, look at it, and put others in its place. Nothing goes
  // through this one.
  FileDescriptor fd(memfd_create("xencomm-calls", MFD_CLOEXEC));
  if (!fd.is_open()) return absl::ErrnoToStatus(errno, "a file descriptor for calls");
  if (const auto* const joined = std::get_if<JoinedSetting>(&*parsed)) {
    auto connection = machine::Connection::Open(*joined);
    if (!connection.ok()) return connection.status();
    return std::make_unique<machine::MachineTransport>(*std::move(connection), std::move(fd));
  }
  const auto& setting_of_machine = std::get<EmbeddedSetting>(*parsed);
  auto machine = embedded::EmbeddedMachine::OfThisProcess(setting_of_machine.machine);
  if (!machine.ok()) return machine.status();
  return std::make_unique<embedded::EmbeddedTransport>(*std::move(machine),
                                                       setting_of_machine.space, std::move(fd));
}

absl::StatusOr<std::unique_ptr<ForeignMemory>> OpenForeignMemory(const std::string& setting) {
  const absl::StatusOr<TransportSetting> parsed = ParseTransport(setting);
  if (!parsed.ok()) return parsed.status();
  if (const auto* const joined = std::get_if<JoinedSetting>(&*parsed)) {
    const absl::StatusOr<embedded::ForeignMappings*> mappings =
        machine::Connection::MappingsOfThisProcess(*joined);
    if (!mappings.ok()) return mappings.status();
    // Which stay.
    return std::make_unique<embedded::EmbeddedForeignMemory>(
        std::shared_ptr<embedded::ForeignMappings>(std::shared_ptr<void>(), *mappings));
  }
  if (const auto* const setting_of_machine = std::get_if<EmbeddedSetting>(&*parsed)) {
    auto machine = embedded::EmbeddedMachine::OfThisProcess(setting_of_machine->machine);
    if (!machine.ok()) return machine.status();
    return std::make_unique<embedded::EmbeddedForeignMemory>(
        std::shared_ptr<embedded::ForeignMappings>(*machine, &(*machine)->foreign_mappings()));
  }
  // However calls are made: frames of others are no part of a region.
  return PrivcmdForeignMemory::Open();
}

}  // namespace xencomm
