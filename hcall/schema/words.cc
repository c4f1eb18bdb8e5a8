#include "hcall/schema/words.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "hcall/schema/format.h"

namespace xencomm::schema {

const Hypercall* Find(std::string_view hypercall) {
  const auto found = std::ranges::find(Hypercalls(), hypercall, [](const Hypercall& each) {
    return std::string_view(WordsOf(each).name);
  });
  return found != Hypercalls().end() ? &*found : nullptr;
}

const Op* Find(std::string_view hypercall, std::string_view op, Releases releases) {
  const Hypercall* const found = Find(hypercall);
  if (found == nullptr) return nullptr;
  const Op* other = nullptr;
  for (const Op& each : found->ops()) {
    if (op != WordsOf(each).name) continue;
    if (other == nullptr || (each.releases & releases) != 0) other = &each;
  }
  return other;
}

std::optional<Releases> ParseRelease(std::string_view name) {
  for (std::size_t i = 0; i < ReleaseNumbers().size(); ++i) {
    const Releases release = static_cast<Releases>(1 << i);
    if (name == ReleasesText(release)) return release;
  }
  return std::nullopt;
}

std::string ReleasesText(Releases releases) {
  std::string text;
  for (std::size_t i = 0; i < ReleaseNumbers().size(); ++i) {
    const auto name = [](std::size_t release) {
      const ReleaseNumber& number = ReleaseNumbers()[release];
      return Format("%u.%u", unsigned{number.major}, unsigned{number.minor});
    };
    if ((releases >> i & 1) == 0) continue;
    if (!text.empty()) text += " and ";
    text += name(i);
    const std::size_t first = i;
    while (i + 1 < ReleaseNumbers().size() && (releases >> (i + 1) & 1) != 0) ++i;
    if (i != first) text += " to " + name(i);
  }
  return text;
}

Releases NewestOf(Releases releases) { return std::bit_floor(releases); }

const char* Word(Direction direction) {
  constexpr const char* kWords[] = {"in", "out", "in out", ""};
  return kWords[static_cast<std::size_t>(direction)];
}

Local LocalOf(std::string_view spelling) {
  constexpr std::pair<std::string_view, Local> kTypes[] = {
      {"domid_t", Local::kDomain},     {"xen_pfn_t", Local::kFrame},
      {"evtchn_port_t", Local::kPort}, {"grant_handle_t", Local::kHandle},
      {"ioservid_t", Local::kServer},
  };
  for (const auto& [type, local] : kTypes) {
    if (spelling.find(type) != spelling.npos) return local;
  }
  return Local::kNo;
}

Local LocalOf(const Type& type, const Member& member) {
  struct Known {
    std::string_view type, member;
    Local local;
  };
  constexpr Known kMembers[] = {
      {"vcpu_guest_context", "ctrlreg", Local::kAddress},
      {"vcpu_guest_context", "gdt_frames", Local::kFrame},
      {"xen_dm_op_modified_memory_extent", "first_pfn", Local::kFrame},
  };
  for (const Known& known : kMembers) {
    if (known.type == WordsOf(type).name && known.member == member.name) return known.local;
  }
  return LocalOf(member.spelling);
}

std::size_t PrefixOf(const PartWords& part, const Constant& constant, Releases releases) {
  const std::string_view name = constant.name;
  if (part.prefix == nullptr || (constant.releases & releases) == 0) return 0;
  if (part.scope != nullptr && constant.scope != std::string_view(part.scope)) return 0;
  if (part.except != nullptr && name.starts_with(part.except)) return 0;
  std::string_view prefixes = part.prefix;
  while (!prefixes.empty()) {
    const std::size_t end = std::min(prefixes.find(' '), prefixes.size());
    if (name.starts_with(prefixes.substr(0, end))) return end;
    prefixes.remove_prefix(std::min(end + 1, prefixes.size()));
  }
  return 0;
}

}  // namespace xencomm::schema
