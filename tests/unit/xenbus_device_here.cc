// A store, and openings of its device, in this process.

#include <algorithm>
#include <cstring>

#include "hcall/machine/store/xenbus_file.h"
#include "tests/xen/xenbus_device.h"

namespace machine = xencomm::machine;

struct xenbus_device {
  explicit xenbus_device(machine::Xenbus& xenbus) : file(xenbus) {}
  machine::XenbusFile file;
};

namespace {

struct Kernel {
  Kernel() { xenbus.Connect(); }

  machine::Store store{[](machine::DomainId) { return machine::DomainState::kAbsent; }};
  machine::StoreConnection connection{store, 0, [] {}};
  machine::Xenbus xenbus{[this] { xenbus.ExchangeWith(connection); }};
};

machine::Xenbus& TheXenbus() {
  static Kernel kernel;
  return kernel.xenbus;
}

}  // namespace

xenbus_device* xenbus_open() {
  return new xenbus_device(TheXenbus());
}

void xenbus_close(xenbus_device* device) { delete device; }

long xenbus_write(xenbus_device* device, const void* bytes, std::size_t length) {
  return device->file.Write({static_cast<const std::byte*>(bytes), length});
}

long xenbus_read(xenbus_device* device, void* bytes, std::size_t length) {
  const std::size_t taken = std::min(length, device->file.output().size());
  std::memcpy(bytes, device->file.output().data(), taken);
  device->file.Sent(taken);
  return static_cast<long>(taken);
}
