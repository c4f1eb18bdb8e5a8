// A transport's setting: the words that xencomm_open, XENCOMM_TRANSPORT and `xencomm run` take.
//
//   NAME[:OPTION=VALUE[,OPTION=VALUE]...]        privcmd, xencomm-device,
//                                                embedded:space=walk4,memory=512M
//   machine:PATH[,space=VALUE][,domain=ID]       machine:/run/user/1000/xencomm/machine
#ifndef HCALL_TRANSPORT_SETTING_H_
#define HCALL_TRANSPORT_SETTING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hcall/schema/op.h"

namespace xencomm {

// How the embedded hypervisor reaches what a call points at.
enum class SpaceOption : std::uint8_t {
  kDirect,     // the pointer is an address of this process, and so is the hypervisor
  kWalk4,      // page walk, 4 levels
  kWalk5,      // page walk, 5 levels
  kRegion,     // a registered region
  kStateless,  // a region whose table is read in every call
  kXcom,       // descriptors of the historical ABI, which the kernel writes by the op table
  kInline,     // the same, but inline addresses for what is guest-physically contiguous
};

// Whether domain 0 must speak the historical ABI for it, and nothing else.
constexpr bool IsHistorical(SpaceOption space) {
  return space == SpaceOption::kXcom || space == SpaceOption::kInline;
}

// As many as there are ids (DOMID_FIRST_RESERVED in public/xen.h), without domain 0's.
inline constexpr unsigned kMostDomains = 0x7ff0 - 1;

// What one process's embedded machine is made of.
struct MachineSetting {
  std::uint64_t memory_bytes = std::uint64_t{8} << 30;  // sparse: what is touched costs
  std::uint64_t dom0_bytes = std::uint64_t{1152} << 20;
  unsigned cpus = 4;
  unsigned vcpus = 16;                  // of domain 0: as many calls at once
  unsigned max_domains = kMostDomains;  // besides domain 0, at a time
  bool console = false;                 // what the hypervisor prints goes to stderr
  bool xcom = false;                    // domain 0 speaks the historical ABI, and nothing else
  // The Xen that it answers as: a set of one.
  schema::Releases release = schema::kBaseRelease;

  friend bool operator==(const MachineSetting&, const MachineSetting&) = default;
};

struct EmbeddedSetting {
  SpaceOption space = SpaceOption::kRegion;
  MachineSetting machine;
};

// The part before the colon, and the part behind it.
struct Setting {
  std::string name;
  std::string options;
};
Setting SplitSetting(const std::string& setting);

// kInvalidArgument names the option and says what it takes.
absl::StatusOr<EmbeddedSetting> ParseEmbeddedSetting(const std::string& options);

// A machine that is a process of its own, and the space of this process's calls on it.
struct JoinedSetting {
  std::string path;
  SpaceOption space = SpaceOption::kRegion;
  // Whose calls they are: an id; or, in a hello only, one that is made (machine/protocol.h).
  std::uint64_t domain = 0;
};

// kInvalidArgument when there is no path, or a space for which the hypervisor would have to be in
// this process.
absl::StatusOr<JoinedSetting> ParseJoinedSetting(const std::string& options);

// An option as ParseEmbeddedSetting takes it, for programs that take them one by one.
struct EmbeddedOption {
  const char* name;
  const char* takes;  // its values: words with commas between them, or a range
  const char* help;
};
std::vector<EmbeddedOption> EmbeddedOptions();

}  // namespace xencomm

#endif  // HCALL_TRANSPORT_SETTING_H_
