// The C API (xencomm/sharing.h) over the C++ one.

#include <algorithm>
#include <cerrno>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "hcall/transport/c_border.h"
#include "xencomm/grant_share.h"
#include "xencomm/mapper.h"
#include "xencomm/sentence.h"
#include "xencomm/sharing.h"

struct xencomm_mapper {
  std::shared_ptr<xencomm::Mapper> mapper;
};
struct xencomm_mapping {
  std::variant<xencomm::ForeignMapping, xencomm::GrantMapping> mapping;
};
struct xencomm_share {
  xencomm::GrantShare share;
};

namespace xencomm {
namespace {

std::string TextOf(const char* setting) { return setting == nullptr ? "" : setting; }

Access AccessOf(unsigned flags) {
  return (flags & XENCOMM_WRITABLE) != 0 ? Access::kWrite : Access::kRead;
}

bool AreKnown(unsigned flags) { return (flags & ~XENCOMM_WRITABLE) == 0; }
int RefuseFlags(unsigned flags) {
  return Refuse(EINVAL, Sentence("flags %#x: expected 0 or XENCOMM_WRITABLE", flags));
}

// What no array of this process's has.
bool AreTooMany(std::size_t count) { return count > std::numeric_limits<std::uint32_t>::max(); }
int RefuseCount(std::size_t count) {
  return Refuse(EINVAL, Sentence("%u of them are more than can be", count));
}

// A number, or none; `*number` only then, when it answers true.
template <class Number>
bool ToOptional(std::int64_t from, std::optional<Number>* number) {
  if (from == XENCOMM_UNSET) return true;
  if (from < 0 || static_cast<std::uint64_t>(from) > std::numeric_limits<Number>::max()) {
    return false;
  }
  *number = static_cast<Number>(from);
  return true;
}
int RefuseNotice(std::int64_t byte, std::int64_t port) {
  return Refuse(EINVAL,
                Sentence("byte %d, port %d: expected a number each, or XENCOMM_UNSET", byte, port));
}

template <class Map>
xencomm_mapping* MapInto(std::size_t count, unsigned flags, int* errors, const Map& map) {
  if (!AreKnown(flags)) return RefuseFlags(flags), nullptr;
  if (AreTooMany(count)) return RefuseCount(count), nullptr;
  const std::span<int> of_pages(errors, errors == nullptr ? 0 : count);
  auto mapped = map(AccessOf(flags), of_pages);
  if (!mapped.ok()) {
    Refuse(mapped.status());
    return nullptr;
  }
  auto* const made = new xencomm_mapping{*std::move(mapped)};
  // As errno has it.
  for (int& error : of_pages) error = -error;
  return made;
}

CopySide SideOf(const xencomm_copy_side& side) {
  if (side.memory != nullptr) return CopySide::Of(side.memory);
  return CopySide::Of(Grant{side.grant.domain, side.grant.ref}, side.offset);
}

int ZeroOrRefuse(const absl::Status& status) { return status.ok() ? 0 : Refuse(status); }

xencomm_share* ShareOrRefuse(absl::StatusOr<GrantShare> share) {
  if (share.ok()) return new xencomm_share{*std::move(share)};
  Refuse(share.status());
  return nullptr;
}

}  // namespace
}  // namespace xencomm

using xencomm::Guarded;
using xencomm::Refuse;

xencomm_mapper* xencomm_mapper_open(const char* transport) {
  return Guarded([&]() -> xencomm_mapper* {
    auto mapper = xencomm::Mapper::Open(xencomm::TextOf(transport));
    if (mapper.ok()) return new xencomm_mapper{*std::move(mapper)};
    Refuse(mapper.status());
    return nullptr;
  });
}

int xencomm_mapper_close(xencomm_mapper* m) {
  return Guarded([&] {
    delete m;
    return 0;
  });
}

xencomm_mapping* xencomm_map_frames(xencomm_mapper* m, uint16_t domain, size_t count,
                                    const uint64_t* frames, unsigned flags, int* errors) {
  return Guarded([&] {
    return xencomm::MapInto(count, flags, errors, [&](xencomm::Access access, auto of_pages) {
      return m->mapper->MapFrames(domain, {frames, count}, access, of_pages);
    });
  });
}

xencomm_mapping* xencomm_map_grants(xencomm_mapper* m, size_t count,
                                    const struct xencomm_grant* grants, unsigned flags,
                                    int* errors) {
  return Guarded([&] {
    return xencomm::MapInto(count, flags, errors, [&](xencomm::Access access, auto of_pages) {
      std::vector<xencomm::Grant> list(count);
      std::transform(grants, grants + count, list.begin(), [](const xencomm_grant& grant) {
        return xencomm::Grant{grant.domain, grant.ref};
      });
      return m->mapper->MapGrants(list, access, of_pages);
    });
  });
}

void* xencomm_mapping_data(const xencomm_mapping* mapping) {
  return Guarded([&]() -> void* {
    return std::visit([](const auto& each) { return each.data(); }, mapping->mapping);
  });
}

size_t xencomm_mapping_pages(const xencomm_mapping* mapping) {
  return Guarded(
      [&] { return std::visit([](const auto& each) { return each.pages(); }, mapping->mapping); });
}

int xencomm_unmap(xencomm_mapping* mapping) {
  return Guarded([&] {
    delete mapping;
    return 0;
  });
}

int xencomm_notify_at_unmap(xencomm_mapping* mapping, int64_t byte, int64_t port) {
  return Guarded([&] {
    auto* const grants = std::get_if<xencomm::GrantMapping>(&mapping->mapping);
    if (grants == nullptr) return Refuse(EINVAL, "a mapping of frames gives no notice of its end");
    std::optional<std::uint64_t> cleared;
    std::optional<std::uint32_t> event;
    if (!xencomm::ToOptional(byte, &cleared) || !xencomm::ToOptional(port, &event)) {
      return xencomm::RefuseNotice(byte, port);
    }
    return xencomm::ZeroOrRefuse(grants->NotifyAtUnmap(cleared, event));
  });
}

int xencomm_copy_grants(xencomm_mapper* m, size_t count, struct xencomm_copy* copies) {
  return Guarded([&] {
    if (xencomm::AreTooMany(count)) return xencomm::RefuseCount(count);
    std::vector<xencomm::CopySegment> segments;
    segments.reserve(count);
    for (const xencomm_copy& copy : std::span(copies, count)) {
      segments.push_back(
          {xencomm::SideOf(copy.from), xencomm::SideOf(copy.to), copy.length, copy.status});
    }
    const absl::Status status = m->mapper->Copy(segments);
    for (std::size_t i = 0; i < count; ++i) copies[i].status = segments[i].status;
    return xencomm::ZeroOrRefuse(status);
  });
}

xencomm_share* xencomm_share_open(const char* transport) {
  return Guarded([&] {
    return xencomm::ShareOrRefuse(xencomm::GrantShare::Open(xencomm::TextOf(transport)));
  });
}

xencomm_share* xencomm_share_of_fd(const char* transport, int fd) {
  return Guarded([&] {
    return xencomm::ShareOrRefuse(
        xencomm::GrantShare::FromDescriptor(xencomm::TextOf(transport), fd));
  });
}

int xencomm_share_fd(const xencomm_share* share) { return share->share.fd(); }

int xencomm_share_close(xencomm_share* share) {
  return Guarded([&] {
    delete share;
    return 0;
  });
}

int64_t xencomm_share_allocate(xencomm_share* share, int64_t page, uint16_t domain, size_t count,
                               unsigned flags, uint32_t* refs) {
  return Guarded([&]() -> std::int64_t {
    if (!xencomm::AreKnown(flags)) return xencomm::RefuseFlags(flags);
    std::optional<std::uint64_t> where;
    if (!xencomm::ToOptional(page, &where)) {
      return Refuse(EINVAL,
                    xencomm::Sentence("page %d: expected a number, or XENCOMM_UNSET", page));
    }
    const xencomm::Access access = xencomm::AccessOf(flags);
    const auto pages = where.has_value() ? share->share.AllocateAt(*where, domain, count, access)
                                         : share->share.Allocate(domain, count, access);
    if (!pages.ok()) return Refuse(pages.status());
    std::ranges::copy(pages->refs, refs);
    return static_cast<std::int64_t>(pages->page);
  });
}

int xencomm_share_free(xencomm_share* share, uint64_t page, size_t count) {
  return Guarded([&] { return xencomm::ZeroOrRefuse(share->share.Free(page, count)); });
}

void* xencomm_share_map(xencomm_share* share, uint64_t page, size_t count, unsigned flags) {
  return Guarded([&]() -> void* {
    if (!xencomm::AreKnown(flags)) return xencomm::RefuseFlags(flags), nullptr;
    const auto data = share->share.Map(page, count, xencomm::AccessOf(flags));
    if (data.ok()) return *data;
    Refuse(data.status());
    return nullptr;
  });
}

int xencomm_share_unmap(xencomm_share* share, void* data) {
  return Guarded(
      [&] { return xencomm::ZeroOrRefuse(share->share.Unmap(static_cast<std::byte*>(data))); });
}

int64_t xencomm_share_offset(const xencomm_share* share, const void* address) {
  return Guarded([&]() -> std::int64_t {
    const auto offset = share->share.OffsetOf(address);
    return offset.ok() ? static_cast<std::int64_t>(*offset) : Refuse(offset.status());
  });
}

int xencomm_share_also(xencomm_share* share, uint64_t page, uint16_t domain, size_t count,
                       unsigned flags, uint32_t* refs) {
  return Guarded([&] {
    if (!xencomm::AreKnown(flags)) return xencomm::RefuseFlags(flags);
    const auto also = share->share.GrantAlso(page, domain, count, xencomm::AccessOf(flags));
    if (!also.ok()) return Refuse(also.status());
    std::ranges::copy(*also, refs);
    return 0;
  });
}

int xencomm_share_list(const xencomm_share* share, uint64_t page, size_t count,
                       struct xencomm_grant* grants) {
  return Guarded([&] {
    const auto list = share->share.List(page);
    if (!list.ok()) return Refuse(list.status());
    for (std::size_t i = 0; i < std::min(count, list->size()); ++i) {
      grants[i] = {(*list)[i].grant.domain, (*list)[i].grant.ref};
    }
    return static_cast<int>(list->size());
  });
}

int xencomm_share_revoke(xencomm_share* share, uint32_t ref) {
  return Guarded([&] { return xencomm::ZeroOrRefuse(share->share.Revoke(ref)); });
}

int xencomm_share_notify(xencomm_share* share, uint64_t page, int64_t byte, int64_t port) {
  return Guarded([&] {
    std::optional<std::uint16_t> cleared;
    std::optional<std::uint32_t> event;
    if (!xencomm::ToOptional(byte, &cleared) || !xencomm::ToOptional(port, &event)) {
      return xencomm::RefuseNotice(byte, port);
    }
    return xencomm::ZeroOrRefuse(share->share.NotifyAtUnmap(page, cleared, event));
  });
}
