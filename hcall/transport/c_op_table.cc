// The C API's op table (xencomm/op_table.h), over the table itself (hcall/schema).

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hcall/schema/audit.h"
#include "hcall/schema/print.h"
#include "hcall/schema/words.h"
#include "hcall/transport/arena_memory.h"
#include "hcall/transport/bounced_call.h"
#include "hcall/transport/c_border.h"
#include "xencomm/op_table.h"
#include "xencomm/own_space.h"
#include "xencomm/sentence.h"

namespace xencomm {
namespace {

schema::Call CallOf(const xencomm_hypercall& call) {
  schema::Call result = {.hypercall = call.number};
  std::copy(std::begin(call.arguments), std::end(call.arguments), result.registers.begin());
  return result;
}

// None, after a refusal: there is no such release.
std::optional<schema::Releases> ReleasesOf(const char* release) {
  if (release == nullptr) return schema::kAllReleases;
  const std::optional<schema::Releases> found = schema::ParseRelease(release);
  if (!found) {
    Refuse(EINVAL, Sentence("'%s' is no release of Xen that the op table knows: expected one of %s",
                            release, schema::ReleasesText(schema::kAllReleases)));
  }
  return found;
}

int RefuseFinding(int error, const schema::Finding& finding) {
  return Refuse(error, schema::PrintFinding(finding));
}

xencomm_buffer PublicOf(const schema::Buffer& buffer) {
  return {.hypercall = schema::WordsOf(buffer.op->hypercall()).name,
          .op = schema::WordsOf(*buffer.op).name,
          .field = schema::WordsOf(*buffer.part).path,
          .type = schema::WordsOf(*buffer.element).name,
          // An address of this process.
          .address = std::bit_cast<void*>(buffer.address.value),
          .count = buffer.count,
          .bytes = buffer.bytes,
          .reads = buffer.reads(),
          .writes = buffer.writes(),
          .is_kept = buffer.part->lifetime() == schema::Lifetime::kUntilReplaced,
          .entry = buffer.entry,
          .index = buffer.index};
}
static_assert(XENCOMM_NONE == schema::kNoIndex);

}  // namespace
}  // namespace xencomm

using namespace xencomm;

int xencomm_for_each_buffer(const xencomm_hypercall* call, const char* release,
                            int (*visit)(void*, const xencomm_buffer*), void* context) {
  return Guarded([&] {
    const auto releases = ReleasesOf(release);
    if (!releases) return -1;
    int answer = 0;
    auto pass_on = [&](const schema::Buffer& buffer) {
      const xencomm_buffer shown = PublicOf(buffer);
      answer = visit(context, &shown);
      return answer == 0;
    };
    OwnSpace space;
    const schema::Finding finding =
        schema::ForEachBuffer(CallOf(*call), {.space = space, .releases = *releases}, pass_on);
    if (finding.ok() || answer != 0) return answer;
    return RefuseFinding(EINVAL, finding);
  });
}

char* xencomm_describe(const xencomm_hypercall* call, const char* release) {
  return Guarded([&]() -> char* {
    const auto releases = ReleasesOf(release);
    if (!releases) return nullptr;
    OwnSpace space;
    std::string text;
    const schema::Finding finding =
        schema::DescribeCall(CallOf(*call), {.space = space, .releases = *releases}, text);
    if (!finding.ok()) {
      RefuseFinding(EINVAL, finding);
      return nullptr;
    }
    char* const copy = ::strdup(text.c_str());
    if (copy == nullptr) Refuse(ENOMEM, "out of memory");
    return copy;
  });
}

int xencomm_audit(const xencomm_hypercall* call, const char* release, const xencomm_range* ranges,
                  size_t range_count, const xencomm_allowed_op* allowed, size_t allowed_count) {
  return Guarded([&] {
    const auto releases = ReleasesOf(release);
    if (!releases) return -1;
    std::vector<schema::Range> all;
    for (const xencomm_range& range : std::span(ranges, range_count)) {
      all.push_back({{std::bit_cast<std::uintptr_t>(range.start)}, range.bytes});
    }
    std::vector<schema::AllowedOp> ops;
    for (const xencomm_allowed_op& op :
         std::span(allowed, allowed != nullptr ? allowed_count : 0)) {
      ops.push_back({op.hypercall, op.op});
    }
    OwnSpace space;
    const schema::Finding finding = schema::AuditRanges(
        CallOf(*call), {.space = space, .releases = *releases}, all,
        allowed != nullptr ? schema::AllowedOps(ops) : schema::AllowedOps::All());
    return finding.ok() ? 0 : RefuseFinding(EPERM, finding);
  });
}

int64_t xencomm_call_anywhere(xencomm_context* x, const xencomm_hypercall* call,
                              const char* release) {
  return Guarded([&]() -> std::int64_t {
    const auto releases = ReleasesOf(release);
    if (!releases) return -1;
    ArenaMemory memory(x->client->arena());
    schema::BouncedCall bounced(CallOf(*call), kNativeOrder, memory, 1, *releases);
    if (!bounced.finding().ok()) return RefuseFinding(EINVAL, bounced.finding());
    if (bounced.out_of_memory()) return Refuse(ENOMEM, "no memory for the call's structures");
    const schema::Registers& registers = bounced.call().registers;
    const std::int64_t answer =
        x->client->CallWith(static_cast<unsigned>(call->number),
                            {registers[0], registers[1], registers[2], registers[3], registers[4]});
    bounced.CopyBack(answer);
    return AnswerOf(static_cast<unsigned>(call->number), answer);
  });
}
