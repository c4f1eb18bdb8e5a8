// xencomm vhost-user-block: a disk for guests, by a back-end of its own process.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "hcall/sharing/vhost_user/block_device.h"
#include "hcall/sharing/vhost_user/granted_pages.h"
#include "hcall/sharing/vhost_user/pages.h"
#include "hcall/sharing/vhost_user/server.h"
#include "hcall/tools/command.h"
#include "hcall/tools/machine_process.h"

namespace xencomm::tools {
namespace {

// The last number that is a domain's (DOMID_FIRST_RESERVED of public/xen.h).
constexpr std::uint64_t kLastDomain = 0x7fef;

void Say(const std::string& sentence) {
  absl::FPrintF(stderr, "xencomm vhost-user-block: %s\n", sentence);
}

// What maps the domain's pages; null when none is named.
absl::StatusOr<std::unique_ptr<vhost_user::PageMapper>> MapperFor(const Arguments& arguments) {
  if (!arguments.Has("domain")) return std::unique_ptr<vhost_user::PageMapper>();
  const std::string transport = arguments.Transport();
  if (SplitSetting(transport).name == "embedded") {
    return absl::InvalidArgumentError("--domain: expected --machine or --xen with it");
  }
  auto frames = OpenForeignMemory(transport);
  if (!frames.ok()) return frames.status();
  const auto domain = static_cast<std::uint16_t>(arguments.Number("domain"));
  const int restricted = (*frames)->Restrict(domain);
  if (restricted != 0) {
    return absl::ErrnoToStatus(-restricted,
                               absl::StrFormat("foreign memory of domain %u alone", domain));
  }
  auto grants = vhost_user::OpenGrantMapper(transport);
  // A Linux without gntdev serves front-ends that share frames.
  if (!grants.ok()) {
    if (SplitSetting(transport).name == "machine") return grants.status();
    Say(absl::StrFormat("grants of domain %u cannot be mapped, and its frames alone are served: %s",
                        domain, grants.status().message()));
  }
  return std::make_unique<vhost_user::XenPageMapper>(
      *std::move(frames), grants.ok() ? *std::move(grants) : nullptr, domain);
}

absl::StatusOr<int> Run(const Arguments& arguments) {
  for (const char* wanted : {"socket", "image"}) {
    if (arguments.Has(wanted)) continue;
    return absl::InvalidArgumentError(absl::StrFormat("expected --%s=FILE", wanted));
  }
  const auto mapper = MapperFor(arguments);
  if (!mapper.ok()) return mapper.status();
  const auto device =
      vhost_user::BlockDevice::Open(*arguments.Get("image"), arguments.Has("read-only"));
  if (!device.ok()) return device.status();
  const FileDescriptor stop = StopSignals();
  const std::string socket = *arguments.Get("socket");
  const auto server = vhost_user::Server::Listen(socket);
  if (!server.ok()) return server.status();

  absl::PrintF("xencomm vhost-user-block: ready at %s\n", socket);
  std::fflush(stdout);
  const absl::Status ended = (*server)->Run(stop.get(), **device, mapper->get(), Say);
  if (!ended.ok()) return ended;
  return 0;
}

}  // namespace

Command VhostUserBlockCommand() {
  return {
      .name = "vhost-user-block",
      .summary = "Serve a file as a virtio disk, to any vhost-user front-end",
      .description =
          "The back-end of a virtio block device, for QEMU and others, one front-end after the "
          "other. It prints a line when it is ready and ends at SIGTERM or SIGINT. A front-end "
          "that "
          "says what it may not is told so, or its connection ends; a guest that breaks the rules "
          "of its ring has that ring broken, and no other: both are said on stderr.\n\n"
          "It reaches memory that the front-end shares as files (in QEMU: memory-backend-memfd "
          "with "
          "share=on). With --domain, also foreign memory of that domain of Xen's and what it "
          "grants, "
          "and of no other, for front-ends that speak of it (VHOST_USER_PROTOCOL_F_XEN_MMAP).",
      .options = {{"socket", kFileValue, "where it listens"},
                  {"image", kFileValue, "the disk: a file, or a block device"},
                  {.name = "read-only", .value = "", .help = "refuse what would change it"},
                  {"domain", "DOMAIN", "the guest whose memory is mapped through Xen",
                   Range{0, kLastDomain}},
                  {.name = "machine",
                   .value = kFileValue,
                   .help = "the guest is on the machine at this socket",
                   .with = "domain"},
                  {.name = "xen",
                   .value = "",
                   .help = "the guest is on the Xen that this machine runs on",
                   .with = "domain"}},
      .examples = {{"A disk for a guest of QEMU's, which has the options -object "
                    "memory-backend-memfd,id=m,size=256M,share=on -m 256 -machine "
                    "memory-backend=m -chardev socket,id=s,path=/tmp/s -device "
                    "vhost-user-blk-pci,chardev=s",
                    "xencomm vhost-user-block --socket=/tmp/s --image=disk.img"}},
      .run = Run,
  };
}

}  // namespace xencomm::tools
