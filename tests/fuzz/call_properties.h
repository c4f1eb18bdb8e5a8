// What holds for every call, whatever its op: properties of the walk, the audit, bouncing and
// describing. Each function answers what was wrong, or nothing.
#ifndef TESTS_FUZZ_CALL_PROPERTIES_H_
#define TESTS_FUZZ_CALL_PROPERTIES_H_

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "hcall/schema/audit.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/print.h"
#include "hcall/schema/words.h"
#include "hcall/transport/bounced_call.h"
#include "hcall/transport/embedded/described_call.h"
#include "tests/fuzz/random_call.h"
#include "xencomm/descriptor.h"

namespace xencomm::fuzz {

using schema::Buffer;
using schema::CollectedBuffer;
using schema::Finding;
using schema::Problem;

class CallProperties {
 public:
  // `made` says what the walk is to find, of a call that nobody changed; nullptr otherwise.
  CallProperties(const schema::Op& op, ByteOrder order, const schema::Call& call,
                 const RandomCall* made, CallMemory& memory, Random& random)
      : op_(op),
        release_(schema::NewestOf(op.releases)),
        order_(order),
        made_(made),
        call_(call),
        memory_(memory),
        random_(random),
        space_(memory),
        before_(memory.used().begin(), memory.used().end()) {}

  // All of them for a call in the table's shape.
  std::string Check() {
    for (auto check :
         {&CallProperties::WalkFindsWhatWasMade, &CallProperties::AuditNamesWhatIsOut,
          &CallProperties::BouncesLikeInPlace, &CallProperties::BounceCopiesOutputsOnly,
          &CallProperties::DescribesAndPutsBack}) {
      const std::string wrong = (this->*check)();
      if (!wrong.empty()) return wrong;
      if (!IsUnchanged()) return "memory was left changed";
    }
    return "";
  }

  // Of a call that anything may be wrong with: nothing is followed out of its memory, and what is
  // wrong is named.
  std::string CheckHostile() {
    for (const ByteOrder order : {order_, Opposite(order_)}) {
      const schema::Caller caller = {space_, order, RandomCall::kVcpus, release_};
      std::uint64_t outside = 0;
      auto look = [&](const Buffer& buffer) {
        if (!Contains(memory_.address(), CallMemory::kBytes, buffer.address.value, buffer.bytes)) {
          ++outside;
        }
        return true;
      };
      const Finding walked = ForEachBuffer(call_, caller, look);
      if (!walked.ok() && !Names(walked)) return "a finding without a name";
      const Finding audited = Audit(call_, caller, {memory_.layout()});
      is_refused_ |= !audited.ok();
      if (!audited.ok() && !Names(audited)) return "an audit's finding without a name";
      if (audited.ok() && (!walked.ok() || outside != 0)) return "the audit passed it";
      if (PrintFinding(audited).empty()) return "no text";
    }
    return "";
  }

  // By CheckHostile.
  bool is_refused() const { return is_refused_; }
  // By Check: pointers to arrays that the call did not fill to their end.
  const std::set<const schema::Part*>& cut_short() const { return cut_short_; }

 private:
  bool IsUnchanged() const {
    return std::equal(before_.begin(), before_.end(), memory_.used().begin());
  }

  static bool Names(const Finding& finding) {
    switch (finding.problem) {
      case Problem::kUnknownHypercall:
        return true;
      case Problem::kUnknownOp:
      case Problem::kUnknownVersion:
      case Problem::kNested:
        return finding.hypercall != nullptr;
      case Problem::kNull:
      case Problem::kUnreadable:
        // Where the op's number is in the argument, an argument that cannot be read names none.
        return finding.hypercall != nullptr;
      case Problem::kTooFew:
      case Problem::kTooMany:
        // Of a list of buffers, which is looked at before the op in it.
        return finding.hypercall != nullptr && finding.part != nullptr;
      default:
        return finding.op != nullptr && finding.part != nullptr;
    }
  }

  using Row = std::tuple<std::string, std::uint64_t, std::uint64_t>;

  std::string Text(const std::vector<Row>& rows) const {
    std::string text;
    for (const auto& [path, address, bytes] : rows) {
      text += " " + path + "@" + std::to_string(address - memory_.address()) + "+" +
              std::to_string(bytes);
    }
    return text;
  }

  std::string WalkFindsWhatWasMade() {
    std::vector<Row> found;
    auto note = [&](const Buffer& buffer) {
      found.emplace_back(schema::WordsOf(*buffer.part).path, buffer.address.value, buffer.bytes);
      return true;
    };
    const Finding finding =
        ForEachBuffer(call_, {space_, order_, RandomCall::kVcpus, release_}, note);
    if (!finding.ok()) return "walk: " + PrintFinding(finding);
    std::vector<Row> made;
    for (const auto& each : made_->expected()) {
      made.emplace_back(schema::WordsOf(*each.part).path, each.address, each.bytes);
    }
    std::sort(found.begin(), found.end());
    std::sort(made.begin(), made.end());
    if (found != made) return "the walk finds" + Text(found) + ", made were" + Text(made);
    return "";
  }

  // Whether what a pointer leads to decides what is found there: its length stands in it, or it is
  // the argument with the op's number.
  static bool IsReadFirst(const Buffer& buffer) {
    using schema::CountKind;
    const CountKind kind = buffer.part->room().kind;
    const auto& registers = buffer.op->registers().parts();
    const bool is_register =
        std::any_of(registers.begin(), registers.end(),
                    [&](const schema::Part& part) { return &part == buffer.part; });
    return kind == CountKind::kText || kind == CountKind::kUntilZero ||
           kind == CountKind::kInside ||
           (buffer.op->hypercall().op_place != schema::OpPlace::kRegister &&
            (is_register || buffer.element_record == &buffer.op->argument()));
  }

  std::string AuditNamesWhatIsOut() {
    const schema::Caller caller = {space_, order_, RandomCall::kVcpus, release_};
    const schema::AuditPolicy policy = {memory_.layout()};
    const Finding whole = Audit(call_, caller, policy);
    if (!whole.ok()) return "audit: " + PrintFinding(whole);

    std::vector<CollectedBuffer> buffers;
    CollectBuffers(call_, order_, RandomCall::kVcpus, release_, buffers);
    for (const CollectedBuffer& each : buffers) {
      const Buffer& buffer = each.buffer;
      // Into the table, across the region's end, and to the end of all addresses.
      const std::uint64_t places[] = {memory_.address() + 64, memory_.end() - buffer.bytes + 16,
                                      (0 - buffer.bytes) & ~std::uint64_t{15}};
      const std::uint64_t place = places[IsReadFirst(buffer) ? 0 : random_.Below(3)];
      const std::uint64_t flags = ~buffer.part->address_bits();
      schema::Call moved = call_;
      std::uint64_t bits = 0;
      if (each.pointer == nullptr) {
        std::uint64_t& pointer = moved.registers[each.register_index];
        pointer = (pointer & flags) | place;
      } else {
        bits = LoadField<std::uint64_t>(each.pointer, order_);
        StoreField(each.pointer, (bits & flags) | place, order_);
      }
      const Finding finding = Audit(moved, caller, policy);
      if (each.pointer != nullptr) StoreField(each.pointer, bits, order_);
      const std::string text = PrintFinding(finding);
      if (finding.ok())
        return std::string("the audit passes a moved ") + schema::WordsOf(*buffer.part).path;
      if (finding.hypercall == nullptr) return "no hypercall in: " + text;
      if (IsReadFirst(buffer)) continue;
      if (finding.problem != Problem::kOutside && finding.problem != Problem::kOverflow) {
        return "moved " + std::string(schema::WordsOf(*buffer.part).path) + ", found: " + text;
      }
      if (finding.op != buffer.op || finding.part != buffer.part || finding.index != buffer.index ||
          finding.entry != buffer.entry || finding.address.value != place) {
        return "moved " + std::string(schema::WordsOf(*buffer.part).path) +
               ", but named is: " + text;
      }
    }
    return "";
  }

  void Restore() { std::copy(before_.begin(), before_.end(), memory_.used().begin()); }

  // Whether a field of a record is a hypervisor's to write, and nothing else depends on it.
  bool IsPlainOutput(const schema::Record& record, const schema::Part& part) const {
    if (part.is_buffer() || !part.writes() || schema::WordsOf(part).member()->bit_width != 0)
      return false;
    // The arguments of a list's entries are pointers too.
    if (&record == &op_.argument() && op_.hypercall().holds_calls && part.reads()) return false;
    for (const schema::Part& each : record.parts()) {
      for (const schema::Index index : each.when().test_indices) {
        const schema::Test& test = schema::facts::kTests[index];
        if (test.field && test.field.offset < part.offset + part.size() &&
            part.offset < test.field.offset + test.field.size) {
          return false;
        }
      }
    }
    return true;
  }

  // A buffer, or the array that one ends with.
  struct Piece {
    std::byte* data;
    std::uint64_t bytes;
    const schema::Part& part;
    const schema::Record* record;
    bool writes;
    const void* holder;  // the structure that says how much is in it, or the registers
    ByteOrder order;     // of that
    std::uint64_t entry;
    std::uint64_t size;  // of an element

    std::uint64_t room() const { return bytes / part.element().size; }
  };

  template <class Visit>
  static void ForEachPiece(const schema::Call& call, ByteOrder order,
                           const std::vector<CollectedBuffer>& buffers, Visit visit) {
    for (const CollectedBuffer& each : buffers) {
      const Buffer& buffer = each.buffer;
      const bool in_register = each.pointer == nullptr;
      visit(Piece{each.data(), buffer.bytes, *buffer.part, buffer.element_record, buffer.writes(),
                  in_register ? static_cast<const void*>(call.registers.data())
                              : each.pointer - buffer.part->offset,
                  in_register ? kNativeOrder : order, buffer.entry, buffer.element->size});
      if (each.tail == 0) continue;
      const schema::Part& tail = *each.tail_part;
      visit(Piece{each.data() + buffer.bytes, each.tail, tail, tail.element_record(), tail.writes(),
                  each.data(), order, buffer.entry, tail.element().size});
    }
  }

  // Calls write(part, at, bytes) for each field that a call writes in a piece's elements, or for
  // the whole, as far as `bytes`.
  template <class Write>
  void ForEachOutput(const Piece& piece, std::uint64_t bytes, Write write) const {
    if (piece.record == nullptr) {
      if (piece.writes) write(piece.part, piece.data, bytes);
      return;
    }
    for (std::uint64_t at = 0; at < bytes; at += piece.size) {
      const schema::RecordView view(piece.data + at, order_);
      for (const schema::Part& part : piece.record->parts()) {
        if (!IsPlainOutput(*piece.record, part) || !view.Has(part, schema::Phase::kAfter)) continue;
        if (at + part.offset + part.size() > bytes) continue;
        write(part, piece.data + at + part.offset, part.size());
      }
    }
  }

  // Whether some other field's elements are counted by it: a result, in a list of calls, as well.
  bool IsCount(const Piece& piece, const schema::Part& part) const {
    if (piece.record == nullptr) return false;
    if (piece.record == &op_.argument() && op_.hypercall().holds_calls) return true;
    return std::ranges::any_of(piece.record->parts(), [&](const schema::Part& other) {
      const auto is_it = [&](schema::Ref ref) { return ref && ref.offset == part.offset; };
      return is_it(other.filled().a) || is_it(other.filled().b);
    });
  }

  // Bytes of a piece that the call filled, by a count of this file's own.
  static std::uint64_t BytesFilled(const Piece& piece, std::int64_t result) {
    const schema::Amount& filled = piece.part.filled();
    if (filled.kind == schema::CountKind::kNone || result < 0) return piece.bytes;
    auto count = static_cast<std::uint64_t>(result);
    if (filled.kind == schema::CountKind::kNumber) {
      const schema::RecordView holder(piece.holder, piece.order);
      count = filled.scale;
      for (const schema::Ref factor : {filled.a, filled.b}) {
        if (factor) count *= std::min(holder.Read(factor), CallMemory::kBytes);
      }
      count = (count + filled.per - 1) / filled.per;
    }
    return count < piece.room() ? count * piece.part.element().size : piece.bytes;
  }

  // A number of elements, as a call returns it or leaves it in a field: few, too many, or, where a
  // result is meant, an error.
  static std::int64_t Answer(Random& random) {
    if (random.OneIn(8)) return static_cast<std::int64_t>(random.Next());
    return static_cast<std::int64_t>(random.Below(8)) - (random.OneIn(8) ? 8 : 0);
  }

  // A hypervisor that writes all that it may, the same each time for the same seed; what it
  // answers. With `behind`, what it did not fill is overwritten too, by whoever it is.
  std::int64_t Run(const schema::Call& call, std::uint64_t seed, bool behind = false) {
    std::vector<CollectedBuffer> buffers;
    CollectBuffers(call, order_, RandomCall::kVcpus, release_, buffers);
    Random random(seed);
    Random other(~seed);
    const std::int64_t answer = Answer(random);
    // Parents first: they say how far their arrays go.
    ForEachPiece(call, order_, buffers, [&](const Piece& piece) {
      const std::int64_t result = piece.entry == schema::kNoIndex || answer < 0
                                      ? answer
                                      : ResultOf(buffers[0], piece.entry);
      const std::uint64_t filled = BytesFilled(piece, result);
      ForEachOutput(
          piece, filled, [&](const schema::Part& part, std::byte* to, std::uint64_t bytes) {
            if (bytes <= 8 && IsCount(piece, part)) {
              StoreNumber(to, {0, part.size()}, static_cast<std::uint64_t>(Answer(random)), order_);
            } else {
              random.Fill(to, bytes);
            }
          });
      if (filled == piece.bytes) return;
      cut_short_.insert(&piece.part);
      if (behind) other.Fill(piece.data + filled, piece.bytes - filled);
    });
    return answer;
  }

  std::int64_t ResultOf(const CollectedBuffer& list, std::uint64_t entry) const {
    const std::uint64_t at = entry * sizeof(multicall_entry) + offsetof(multicall_entry, result);
    return static_cast<std::int64_t>(LoadField<std::uint64_t>(list.data() + at, order_));
  }

  class Heap final : public schema::BounceMemory {
   public:
    std::byte* Allocate(std::uint64_t bytes) override {
      return static_cast<std::byte*>(std::malloc(bytes));
    }
    void Free(std::byte* memory) override { std::free(memory); }
  };

  std::string BouncesLikeInPlace() {
    const std::uint64_t seed = random_.Next();
    Run(call_, seed);
    const std::vector<std::byte> in_place(memory_.used().begin(), memory_.used().end());
    Restore();
    Heap heap;
    schema::BouncedCall bounced(call_, order_, heap, RandomCall::kVcpus, release_);
    if (!bounced.ok()) return "bounce: " + PrintFinding(bounced.finding());
    const std::int64_t result = Run(bounced.call(), seed, true);
    if (!IsUnchanged()) return "a bounced call wrote to the original";
    bounced.CopyBack(result);
    const bool is_same = std::equal(in_place.begin(), in_place.end(), memory_.used().begin());
    Restore();
    return is_same ? "" : "a bounced call's answer is another one than in place";
  }

  // Whatever a hypervisor does to the copies, only outputs come back.
  std::string BounceCopiesOutputsOnly() {
    std::vector<CollectedBuffer> buffers;
    CollectBuffers(call_, order_, RandomCall::kVcpus, release_, buffers);
    std::vector<bool> may_change(before_.size());
    ForEachPiece(call_, order_, buffers, [&](const Piece& piece) {
      auto allow = [&](std::uint64_t at, std::uint64_t length) {
        const auto start = static_cast<std::size_t>(piece.data - memory_.used().data()) + at;
        for (std::uint64_t i = 0; i < length; ++i) may_change[start + i] = true;
      };
      if (piece.record == nullptr && piece.writes) allow(0, piece.bytes);
      if (piece.record == nullptr) return;
      for (std::uint64_t at = 0; at < piece.bytes; at += piece.size) {
        for (const schema::Part& part : piece.record->parts()) {
          if (part.is_buffer() || !part.writes()) continue;
          if (at + part.offset + part.size() <= piece.bytes) allow(at + part.offset, part.size());
        }
      }
    });
    {
      Heap heap;
      schema::BouncedCall bounced(call_, order_, heap, RandomCall::kVcpus, release_);
      std::vector<CollectedBuffer> copies;
      CollectBuffers(bounced.call(), order_, RandomCall::kVcpus, release_, copies);
      for (const CollectedBuffer& each : copies) random_.Fill(each.data(), each.bytes());
      bounced.CopyBack(Answer(random_));
    }
    std::string wrong;
    for (std::size_t i = 0; i < before_.size(); ++i) {
      if (memory_.used()[i] != before_[i] && !may_change[i]) {
        wrong = "a bounced call changed what is no output, at byte " + std::to_string(i);
        break;
      }
    }
    Restore();
    return wrong;
  }

  // Guest-physical memory: a page's frame is its number, with some bits inverted.
  class Physical final : public schema::PhysicalMemory {
   public:
    explicit Physical(std::uint64_t descriptors) : left_(descriptors) {}

    bool Find(const std::byte* address, PhysicalAddress* physical) override {
      const auto value = reinterpret_cast<std::uint64_t>(address);
      *physical = {value ^ kInverted};
      return true;
    }
    std::byte* Allocate(std::uint64_t bytes) override {
      if (left_ == 0) return nullptr;
      --left_;
      descriptors_.emplace_back(bytes / sizeof(std::uint64_t) + 1);
      return reinterpret_cast<std::byte*>(descriptors_.back().data());
    }
    static const std::byte* Back(std::uint64_t physical) {
      return reinterpret_cast<const std::byte*>(physical ^ kInverted);
    }

   private:
    static constexpr std::uint64_t kInverted = 0x5a5a5a5a5000;
    std::uint64_t left_;
    std::vector<std::vector<std::uint64_t>> descriptors_;
  };

  // Handles are put back whatever happens: also when there is no memory for a descriptor half way.
  std::string DescribesAndPutsBack() {
    std::vector<CollectedBuffer> buffers;
    CollectBuffers(call_, order_, RandomCall::kVcpus, release_, buffers);
    const bool is_short = random_.OneIn(2) && !buffers.empty();
    const std::uint64_t room = is_short ? random_.Below(buffers.size()) : buffers.size();
    Physical physical(room);
    {
      using Outcome = schema::DescribedCall::Outcome;
      schema::DescribedCall described(call_, order_, physical, RandomCall::kVcpus,
                                      schema::DescribedCall::Inline::kNever, release_);
      const Outcome want = is_short ? Outcome::kNoMemory : Outcome::kDescribed;
      if (described.outcome() != want) return "describe: another outcome";
      if (!is_short) {
        for (const CollectedBuffer& each : buffers) {
          const std::uint64_t bits = each.pointer == nullptr
                                         ? described.call().registers[each.register_index]
                                         : LoadField<std::uint64_t>(each.pointer, order_);
          const std::byte* descriptor = Physical::Back(bits & each.buffer.part->address_bits());
          if (LoadField<std::uint32_t>(descriptor, order_) != kDescriptorMagic) {
            return std::string("no descriptor behind ") + schema::WordsOf(*each.buffer.part).path;
          }
          const auto first = LoadField<std::uint64_t>(descriptor + 8, order_);
          if (Physical::Back(first) != each.data()) {
            return std::string("another page described for ") +
                   schema::WordsOf(*each.buffer.part).path;
          }
        }
      }
    }
    return "";
  }

  const schema::Op& op_;
  const schema::Releases release_;
  ByteOrder order_;
  const RandomCall* made_;
  schema::Call call_;
  CallMemory& memory_;
  Random& random_;
  CallSpace space_;
  std::vector<std::byte> before_;
  bool is_refused_ = false;
  std::set<const schema::Part*> cut_short_;
};

}  // namespace xencomm::fuzz

#endif  // TESTS_FUZZ_CALL_PROPERTIES_H_
