// Calls that were recorded, made again: of every op that what is answered alike is found alike, and
// what is not is named; and of a domain's life on two machines that number it differently.
#include "hcall/trace/replay.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hcall/machine/event_calls.h"
#include "hcall/schema/generated/xen.h"
#include "hcall/schema/words.h"
#include "hcall/transport/collect.h"
#include "hcall/transport/outputs.h"
#include "hcall/transport/privcmd_calls.h"
#include "tests/fuzz/random_call.h"
#include "tests/unit/embedded_machine.h"
#include "tests/unit/fake_backing.h"
#include "xencomm/own_space.h"

namespace xencomm::trace {
namespace {

using fuzz::CallMemory;
using fuzz::Random;
using fuzz::RandomCall;
using schema::Local;

constexpr std::uint64_t kMost = std::uint64_t{1} << 20;

// --- Counterparts --------------------------------------------------------------------------------

TEST(Numbers, OfRunsAreAsEachForItself) {
  Random random(1);
  Counterparts counterparts;
  std::map<std::pair<std::uint16_t, std::uint64_t>, std::pair<std::uint64_t, bool>> each;
  for (int i = 0; i < 3000; ++i) {
    const auto domain = static_cast<std::uint16_t>(random.Below(2));
    const std::uint64_t first = 1 + random.Below(60), count = 1 + random.Below(9);
    const std::uint64_t number = random.Below(1000);
    const bool is_made = random.OneIn(2);
    counterparts.Learn({Local::kFrame, domain, first}, number, is_made, count);
    for (std::uint64_t at = 0; at < count; ++at)
      each[{domain, first + at}] = {number + at, is_made};
    for (const std::uint16_t of : {std::uint16_t{0}, std::uint16_t{1}}) {
      for (std::uint64_t frame = 1; frame < 75; ++frame) {
        const auto known = each.find({of, frame});
        const auto found = counterparts.Find({Local::kFrame, of, frame});
        ASSERT_EQ(found.has_value(), known != each.end()) << of << ", " << frame;
        if (!found) continue;
        ASSERT_EQ(*found, known->second.first) << of << ", " << frame;
        ASSERT_EQ(counterparts.IsMade({Local::kFrame, of, frame}), known->second.second);
      }
    }
  }
}

TEST(Numbers, OfDifferentThingsHaveNothingInCommon) {
  Counterparts counterparts;
  counterparts.Learn({Local::kPort, 1, 7}, 8, true);
  EXPECT_EQ(counterparts.Find({Local::kPort, 1, 7}), 8u);
  EXPECT_FALSE(counterparts.Find({Local::kPort, 2, 7})) << "another domain's";
  EXPECT_FALSE(counterparts.Find({Local::kPirq, 1, 7}));
  counterparts.Learn({Local::kOwnPort, 1, 9}, 10, true);
  EXPECT_EQ(counterparts.Find({Local::kPort, 0, 9}), 10u) << "the caller's, whoever is named";
  counterparts.Learn({Local::kDomain, 3, 5}, 6, true);
  EXPECT_EQ(counterparts.Find({Local::kDomain, 4, 5}), 6u) << "there is one set of domains";
  counterparts.Learn({Local::kFrame, 1, 0x100}, 0x200, true);
  EXPECT_EQ(counterparts.Find({Local::kAddress, 1, 0x100abc}), 0x200abcu);
}

TEST(Numbers, ThatAreTheSameEverywhereAreKept) {
  Counterparts counterparts;
  counterparts.Learn({Local::kDomain, 0, 0}, 1, true);
  counterparts.Learn({Local::kDomain, 0, DOMID_SELF}, 1, true);
  EXPECT_EQ(counterparts.Find({Local::kDomain, 0, 0}), 0u);
  EXPECT_EQ(counterparts.Find({Local::kDomain, 0, DOMID_SELF}), DOMID_SELF);
  EXPECT_EQ(counterparts.Find({Local::kFrame, 1, ~std::uint64_t{0}}), ~std::uint64_t{0});
}

// --- Every op ------------------------------------------------------------------------------------

// This process's memory, as another would read it; and the ioctl's argument.
class OwnMemory final : public ProgramMemory {
 public:
  explicit OwnMemory(const schema::Call& call) {
    PrivcmdHypercall frame = {.op = call.hypercall, .arg = {}};
    std::copy_n(call.registers.begin(), 5, frame.arg);
    std::memcpy(page_.data(), &frame, sizeof(frame));
  }
  static constexpr std::uint64_t kFrame = 0x7000'0000'0000;

  std::uint64_t Read(std::uint64_t address, std::span<std::byte> to) override {
    for (std::uint64_t done = 0; done < to.size(); done += 4096) {
      const std::uint64_t page = address + done;
      const void* const from = page == kFrame ? page_.data() : reinterpret_cast<const void*>(page);
      if (!is_there_(page)) return done;
      std::memcpy(&to[done], from, 4096);
    }
    return to.size();
  }
  void LookOnlyIn(std::function<bool(std::uint64_t)> is_there) { is_there_ = std::move(is_there); }

 private:
  std::array<std::byte, 4096> page_ = {};
  std::function<bool(std::uint64_t)> is_there_ = [](std::uint64_t) { return true; };
};

CapturedCall Begin(ProgramMemory& memory, const Reading& reading) {
  CapturedCall call;
  call.request = kPrivcmdHypercall;
  call.argument = OwnMemory::kFrame;
  CaptureBefore(call, memory, reading, kMost);
  return call;
}

// A hypervisor that answers as it is told.
class ToldTransport final : public Transport {
 public:
  using Answer = std::function<std::int64_t(const schema::Call&)>;

  absl::StatusOr<std::unique_ptr<Backing>> MakeBacking() override {
    return std::make_unique<testing::FakeBacking>(&calls_);
  }
  std::int64_t Call(std::uint64_t op, const std::array<std::uint64_t, 5>& arguments) override {
    schema::Call call = {.hypercall = op};
    std::copy(arguments.begin(), arguments.end(), call.registers.begin());
    return answer(call);
  }
  absl::StatusOr<TracedPointer> TraceOf(const void*, TracedSpace) override {
    return absl::UnimplementedError("");
  }
  bool knows_regions() override { return false; }
  bool never_faults() const override { return true; }

  Answer answer;

 private:
  testing::FakeBacking::Calls calls_;
};

// A number that a call is given, and whose it is.
struct Given {
  std::uint64_t number;
  std::uint64_t bits;  // that it can have
  Local local;
  std::byte* place;  // nullptr: it is told by the call itself
};

// All numbers that a call is given, each after the other: registers, then what they lead to, as
// rows and types say. Of calls in a list each call's.
class AllGiven {
 public:
  AllGiven(const schema::Call& call, const Reading& reading)
      : caller_{space_, kNativeOrder, reading.vcpus, reading.releases} {
    ForEachCall(call, space_, [&](const schema::Call& each, std::uint64_t entry) {
      if (ListOf(each)) return;
      calls.emplace_back();
      std::byte* registers = nullptr;
      if (entry != schema::kNoIndex) {
        registers = reinterpret_cast<std::byte*>(call.registers[0]) +
                    entry * sizeof(multicall_entry) + offsetof(multicall_entry, args);
      }
      Add(each, registers);
    });
  }

  std::vector<std::vector<Given>> calls;

 private:
  void Add(const schema::Call& call, std::byte* registers) {
    std::vector<Given> behind;
    std::swap(behind, calls.back());
    const schema::Op* op = nullptr;
    auto enter = [&](const schema::Op& entered) { return op = &entered, true; };
    auto visit = [&](const schema::Buffer& buffer) { return Add(buffer), true; };
    if (!schema::ForEachBuffer(call, caller_, visit, enter).ok()) return;
    std::swap(behind, calls.back());
    for (const schema::Part& part : op->registers().parts()) {
      if (part.is_buffer()) continue;
      std::byte* const place = registers == nullptr ? nullptr : registers + part.offset;
      calls.back().push_back({call.registers[part.offset / 8] & part.number_bits(),
                              part.number_bits(), LocalOf(part), place});
    }
    calls.back().insert(calls.back().end(), behind.begin(), behind.end());
  }

  void Add(const schema::Buffer& buffer) {
    auto* const start = reinterpret_cast<std::byte*>(buffer.address.value);
    for (std::uint64_t i = 0; i < buffer.count && buffer.element->size != 0; ++i) {
      std::byte* const element = start + i * buffer.element->size;
      if (buffer.element_record == nullptr) {
        if (buffer.reads()) Add(element, *buffer.element, LocalOf(*buffer.part));
        continue;
      }
      std::vector<std::byte> copy(buffer.element->size);
      std::copy_n(element,
                  std::min<std::uint64_t>(copy.size(), buffer.bytes - i * buffer.element->size),
                  copy.begin());
      const schema::RecordView view(copy.data(), kNativeOrder);
      for (const schema::Part& part : buffer.element_record->parts()) {
        const schema::Member* const member = WordsOf(part).member();
        if (part.is_buffer() || !part.reads() || !view.Has(part, schema::Phase::kBefore)) continue;
        if (i * buffer.element->size + part.offset + part.size() > buffer.bytes) continue;
        if (member != nullptr && member->bit_width != 0) continue;
        for (std::uint64_t at = 0; at < part.size(); at += part.type().size) {
          Add(element + part.offset + at, part.type(), LocalOf(part));
        }
      }
    }
  }

  void Add(std::byte* at, const schema::Type& type, Local local) {
    if (type.is_number() && type.kind != schema::Kind::kHandle) {
      const std::uint64_t number = schema::RecordView(at, kNativeOrder).Read(0, type.size);
      calls.back().push_back({number, ~std::uint64_t{0} >> (64 - 8 * type.size), local, at});
    }
    if (type.kind != schema::Kind::kStruct) return;
    for (const schema::Member& member : MembersOf(type)) {
      if (member.bit_width != 0) continue;
      for (std::uint64_t i = 0; i < member.size; i += member.type().size) {
        Add(at + member.offset + i, member.type(), schema::LocalOf(type, member));
      }
    }
  }

  static Local LocalOf(const schema::Part& part) {
    const schema::PartWords& words = WordsOf(part);
    if (words.is_made || words.local == Local::kMachine) return Local::kNo;
    if (words.local != Local::kNo || words.member() == nullptr) return words.local;
    return schema::LocalOf(words.member()->spelling);
  }

  OwnSpace space_;
  schema::Caller caller_;
};

constexpr Local kKinds[] = {Local::kDomain,  Local::kFrame, Local::kPort,   Local::kHandle,
                            Local::kCpupool, Local::kPirq,  Local::kServer, Local::kView};
bool IsOfDomain(Local kind) {
  return kind != Local::kDomain && kind != Local::kHandle && kind != Local::kCpupool;
}

// Another machine, on which each kind of things has other numbers, of each domain others.
std::uint64_t OnOtherMachine(Local kind, std::uint16_t domain, std::uint64_t number) {
  const bool begins_at_0 = kind == Local::kHandle || kind == Local::kPirq || kind == Local::kServer;
  if (kind == Local::kNo || (number == 0 && !begins_at_0)) return number;
  if (kind == Local::kAddress) {
    return OnOtherMachine(Local::kFrame, domain, number >> 12) << 12 | (number & 0xfff);
  }
  if (kind == Local::kOwnPort) return OnOtherMachine(Local::kPort, 0, number);
  if (kind == Local::kDomain) return number >= DOMID_FIRST_RESERVED ? number : number + 1;
  if (kind == Local::kFrame && number >= ~std::uint64_t{0} >> 12) return number;
  if (static_cast<std::uint32_t>(number) == ~std::uint32_t{0} && kind != Local::kFrame) {
    return number;
  }
  const std::uint64_t of_domain = IsOfDomain(kind) ? 16 * (domain % 64) : 0;
  return number + 0x1000 * static_cast<unsigned>(kind) + of_domain;
}

// As the replay finds it: by the first domain that a call names.
std::uint16_t DomainOf(const std::vector<Given>& call) {
  const auto first = std::ranges::find(call, Local::kDomain, &Given::local);
  const std::uint64_t domain = first == call.end() ? 0 : first->number;
  return domain == DOMID_SELF ? std::uint16_t{0} : static_cast<std::uint16_t>(domain);
}

Counterparts SameMachine(const AllGiven& given) {
  Counterparts counterparts;
  for (const auto& call : given.calls) {
    for (const Local kind : kKinds) {
      for (const std::uint16_t domain : {DomainOf(call), std::uint16_t{0}}) {
        counterparts.Learn({kind, domain, 0}, 0, true, ~std::uint64_t{0});
        counterparts.Learn({kind, domain, 1}, 1, true, ~std::uint64_t{1});
      }
    }
  }
  return counterparts;
}

Counterparts OtherMachine(const AllGiven& given) {
  Counterparts counterparts;
  for (const auto& call : given.calls) {
    for (const std::uint16_t domain : {DomainOf(call), std::uint16_t{0}}) {
      for (const Local kind : kKinds) {
        counterparts.Learn({kind, domain, 1}, OnOtherMachine(kind, domain, 1), true,
                           ~std::uint64_t{1});
        if (OnOtherMachine(kind, domain, 0) != 0) {
          counterparts.Learn({kind, domain, 0}, OnOtherMachine(kind, domain, 0), true);
        }
      }
    }
  }
  return counterparts;
}

// A random call of an op, recorded with random answers.
class Recorded {
 public:
  Recorded(const schema::Op& op, std::uint64_t seed, CallMemory& memory)
      : random_(seed), made_(op, kNativeOrder, random_, memory) {
    if (!made_.ok()) return;
    reading_ = {made_.release(), RandomCall::kVcpus};
    // Frames that there can be.
    for (auto& call : AllGiven(made_.call(), reading_).calls) {
      for (const Given& each : call) {
        const bool is_frame = each.local == Local::kFrame || each.local == Local::kAddress;
        if (!is_frame || each.place == nullptr || each.bits != ~std::uint64_t{0}) continue;
        const std::uint64_t number = each.number >> 24;
        std::memcpy(each.place, &number, sizeof(number));
      }
    }
    given_ = std::make_unique<AllGiven>(made_.call(), reading_);
    OwnMemory theirs(made_.call());
    theirs.LookOnlyIn([&](std::uint64_t page) {
      return page == OwnMemory::kFrame || (page >= memory.address() && page < memory.end());
    });
    call_ = Begin(theirs, reading_);
    is_ok_ = Collect(made_.call(), buffers_);
    if (!is_ok_) return;
    result_ = random_.OneIn(8) ? -ENOMEM : 0;
    for (const schema::CollectedBuffer& buffer : buffers_) {
      if (result_ < 0) break;
      ForEachOutput(buffer, made_.call(), [&](std::uint64_t offset, std::uint64_t bytes) {
        random_.Fill(buffer.data() + offset, bytes);
      });
    }
    call_.result = result_;
    CaptureAfter(call_, theirs, reading_, kMost);
  }

  bool ok() const { return is_ok_; }
  const CapturedCall& call() const { return call_; }
  const Reading& reading() const { return reading_; }
  const AllGiven& given() const { return *given_; }

  // As it was answered, into the buffers of a call that is made again.
  std::int64_t AnswerAgain(const schema::Call& again) {
    std::vector<schema::CollectedBuffer> theirs;
    if (!Collect(again, theirs) || theirs.size() != buffers_.size()) return -EFAULT;
    for (std::size_t i = 0; i < theirs.size() && result_ == 0; ++i) {
      EXPECT_EQ(theirs[i].bytes(), buffers_[i].bytes());
      // As the recorded one was left: structures come before what they lead to.
      ForEachOutput(buffers_[i], made_.call(), [&](std::uint64_t offset, std::uint64_t bytes) {
        std::memcpy(theirs[i].data() + offset, buffers_[i].data() + offset, bytes);
      });
    }
    return result_;
  }

  // What is read of the buffers is as it was recorded, but for pointers.
  void ExpectInputs(const schema::Call& again) {
    std::vector<schema::CollectedBuffer> theirs;
    ASSERT_TRUE(Collect(again, theirs));
    ASSERT_EQ(theirs.size(), buffers_.size());
    for (std::size_t i = 0; i < theirs.size(); ++i) {
      const schema::CollectedBuffer& buffer = theirs[i];
      const auto was = call_.before.At(buffers_[i].buffer.address.value, buffers_[i].bytes());
      const schema::Record* const record = buffer.buffer.element_record;
      if (record == nullptr && buffer.buffer.reads()) {
        ASSERT_EQ(was.size(), buffer.bytes());
        EXPECT_EQ(std::memcmp(buffer.data(), was.data(), was.size()), 0);
      }
      if (record == nullptr) continue;
      std::vector<std::byte> whole(record->type()->size);
      std::ranges::copy(was.first(std::min(was.size(), whole.size())), whole.begin());
      const schema::RecordView view(whole.data(), kNativeOrder);
      for (const schema::Part& part : record->parts()) {
        if (part.is_buffer() || !part.reads() || !view.Has(part, schema::Phase::kBefore)) continue;
        if (buffer.buffer.op->hypercall().holds_calls) continue;  // pointers are among them
        if (part.offset + part.size() > std::min<std::uint64_t>(was.size(), buffer.bytes())) break;
        EXPECT_EQ(std::memcmp(buffer.data() + part.offset, &was[part.offset], part.size()), 0)
            << WordsOf(part).path;
      }
    }
  }

 private:
  bool Collect(const schema::Call& call, std::vector<schema::CollectedBuffer>& buffers) const {
    return CollectBuffers(call, kNativeOrder, reading_.vcpus, reading_.releases, buffers).ok();
  }
  template <class Visit>
  void ForEachOutput(const schema::CollectedBuffer& buffer, const schema::Call& call,
                     Visit visit) const {
    const schema::ReturnedBuffer all{buffer, buffer.data(), buffer.pointer, call.registers,
                                     kNativeOrder};
    all.ForEachOutput(all.ResultOf(buffers_[0].data(), result_), visit);
  }

  Random random_;
  RandomCall made_;
  bool is_ok_ = false;
  Reading reading_;
  CapturedCall call_;
  std::vector<schema::CollectedBuffer> buffers_;
  std::unique_ptr<AllGiven> given_;
  std::int64_t result_ = 0;
};

template <class Test>
void ForEachRandomCall(Test test) {
  CallMemory memory;
  for (const schema::Op* op : fuzz::AllOps()) {
    const std::size_t cases = std::max(op->argument().variants().size(), std::size_t{1});
    for (std::uint64_t seed = 0; seed < 6 * cases; ++seed) {
      SCOPED_TRACE(std::string(WordsOf(op->hypercall()).name) + "." + WordsOf(*op).name +
                   ", seed " + std::to_string(seed));
      memory.Clear();
      Recorded recorded(*op, seed, memory);
      if (recorded.ok()) test(recorded);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST(RandomCalls, ThatAreAnsweredAlikeDifferInNothing) {
  auto owned = std::make_unique<ToldTransport>();
  ToldTransport& transport = *owned;
  const auto client = *Client::Over(std::move(owned));
  unsigned made = 0, not_made = 0;
  ForEachRandomCall([&](Recorded& recorded) {
    bool was_asked = false;
    transport.answer = [&](const schema::Call& call) {
      was_asked = true;
      recorded.ExpectInputs(call);
      return recorded.AnswerAgain(call);
    };
    Replay replay(*client, nullptr, recorded.reading(), SameMachine(recorded.given()));
    const Replay::Outcome outcome = replay.Make(recorded.call());
    EXPECT_EQ(was_asked, outcome.not_made.empty()) << outcome.not_made;
    ++(was_asked ? made : not_made);
    for (const auto& differences : outcome.differences) {
      for (const Difference& each : differences) {
        ADD_FAILURE() << each.where << ": " << each.recorded << ", " << each.answered;
      }
    }
  });
  EXPECT_GT(made, 1500u);
  // Those with a pointer in another's data.
  EXPECT_LT(not_made, made / 100);
}

TEST(RandomCalls, AreMadeAgainByTheNumbersOfTheOtherMachine) {
  auto owned = std::make_unique<ToldTransport>();
  ToldTransport& transport = *owned;
  const auto client = *Client::Over(std::move(owned));
  std::map<Local, unsigned> named;
  ForEachRandomCall([&](Recorded& recorded) {
    transport.answer = [&](const schema::Call& call) {
      const AllGiven again(call, recorded.reading());
      EXPECT_EQ(again.calls.size(), recorded.given().calls.size());
      for (std::size_t i = 0; i < again.calls.size(); ++i) {
        const std::vector<Given>& was = recorded.given().calls[i];
        const std::uint16_t domain = DomainOf(was);
        EXPECT_EQ(again.calls[i].size(), was.size());
        for (std::size_t j = 0; j < was.size() && j < again.calls[i].size(); ++j) {
          EXPECT_EQ(again.calls[i][j].number,
                    OnOtherMachine(was[j].local, domain, was[j].number) & was[j].bits)
              << was[j].number << " of " << domain << ", kind " << static_cast<int>(was[j].local);
          ++named[was[j].local];
        }
      }
      return -EPERM;
    };
    Replay replay(*client, nullptr, recorded.reading(), OtherMachine(recorded.given()));
    (void)replay.Make(recorded.call());
  });
  for (const Local kind : kKinds) {
    EXPECT_GT(named[kind], 5u) << static_cast<int>(kind);
  }
}

// Of an answer each number for itself.
void ForEachNumber(std::vector<Field>& fields, const std::string& path,
                   const std::function<void(const std::string&, Value&)>& visit);
void ForEachNumber(Value& value, const std::string& path,
                   const std::function<void(const std::string&, Value&)>& visit) {
  if (value.local == Local::kMachine && value.local_bits == 0) return;
  if (!value.after.empty()) return ForEachNumber(value.after[0], path, visit);
  if (value.kind == Value::Kind::kNumber) return visit(path, value);
  for (std::size_t i = 0; i < value.elements.size(); ++i) {
    ForEachNumber(value.elements[i], path + "[" + std::to_string(i) + "]", visit);
  }
  ForEachNumber(value.fields, path, visit);
}
void ForEachNumber(std::vector<Field>& fields, const std::string& path,
                   const std::function<void(const std::string&, Value&)>& visit) {
  for (Field& field : fields) {
    const bool is_plain = path.empty() || field.name.empty();
    ForEachNumber(field.value, is_plain ? path + field.name : path + "." + field.name, visit);
  }
}

TEST(RandomCalls, ThatAreAnsweredOtherwiseSayWhere) {
  unsigned named = 0, whole = 0;
  ForEachRandomCall([&](Recorded& recorded) {
    for (const DescribedCall& was : Describe(recorded.call(), recorded.reading(), {})) {
      Counterparts known;
      for (const std::uint16_t domain : was.domains) {
        known.Learn({Local::kDomain, 0, domain}, domain, true);
      }
      const bool is_compared =
          was.domains.empty() || known.IsMade({Local::kDomain, 0, was.domains.front()});
      DescribedCall is = was;
      unsigned count = 0;
      ForEachNumber(is.arguments, "", [&](const std::string& path, Value& number) {
        if (++count > 16) return;
        const bool is_local = number.local != Local::kNo && number.local != Local::kMachine;
        if (is_local) return;
        ++number.number;
        Counterparts counterparts = known;
        const auto found = Compare(was, is, counterparts);
        --number.number;
        // Of many domains those that the recording has made are compared.
        if (found.empty() && was.op == "getdomaininfolist") return;
        ASSERT_EQ(found.size(), is_compared ? 1 : 0) << path;
        if (!is_compared) return;
        if (found[0].where.find(", domain ") == std::string::npos) {
          EXPECT_EQ(found[0].where, path);
        }
        ++named;
      });
      ++*(is.result = is.result.value_or(0));
      if (*is.result == 0) *is.result = -EPERM;
      Counterparts counterparts = known;
      const auto found = Compare(was, is, counterparts);
      const bool has_difference = (was.result_local == Local::kNo && is_compared) || was.failed();
      ASSERT_EQ(!found.empty(), has_difference) << was.name();
      whole += has_difference;
    }
  });
  EXPECT_GT(named, 3000u);
  EXPECT_GT(whole, 1000u);
}

// --- Answers
// ---------------------------------------------------------------------------------------

Field Number(const char* name, std::uint64_t number, Local local = Local::kNo,
             std::uint64_t bits = 0) {
  Field field = {name, Value::Number(number)};
  field.value.local = local;
  field.value.local_bits = bits;
  return field;
}

// A list of domains, each with flags of which two bits are the machine's.
DescribedCall Domains(std::vector<std::array<std::uint64_t, 3>> domains) {
  DescribedCall call;
  call.result = 0;
  call.arguments = {{"buffer", Value::Of(Value::Kind::kList)}};
  call.arguments[0].value.is_answer = true;
  for (const auto& [id, flags, pages] : domains) {
    Value each = Value::Of(Value::Kind::kStruct);
    each.fields = {Number("domain", id, Local::kDomain),
                   Number("flags", flags, Local::kMachine, 0x30), Number("pages", pages)};
    call.arguments[0].value.elements.push_back(std::move(each));
  }
  return call;
}

std::vector<std::string> Found(const DescribedCall& recorded, const DescribedCall& answered,
                               Counterparts& counterparts) {
  std::vector<std::string> all;
  for (const Difference& each : Compare(recorded, answered, counterparts)) {
    all.push_back(each.where + ": " + each.recorded + ", " + each.answered);
  }
  return all;
}

TEST(Answers, AboutDomainsAreOfThoseThatTheRecordingMade) {
  Counterparts known;
  known.Learn({Local::kDomain, 0, 5}, 1, true);
  known.Learn({Local::kDomain, 0, 6}, 3, false);
  using Strings = std::vector<std::string>;
  const DescribedCall was = Domains({{0, 1, 10}, {5, 0x20, 100}, {6, 0, 7}});
  EXPECT_EQ(Found(was, Domains({{0, 2, 20}, {1, 0x10, 100}}), known), Strings());
  EXPECT_EQ(Found(was, Domains({{1, 0x21, 100}}), known),
            Strings{"buffer, domain 5.flags: 32, 33"});
  EXPECT_EQ(Found(was, Domains({{1, 0x20, 101}}), known),
            Strings{"buffer, domain 5.pages: 100, 101"});
  EXPECT_EQ(Found(was, Domains({{5, 0x20, 100}}), known),
            Strings{"buffer, domain 5: {domain=5, flags=32, pages=100}, nothing"});
}

TEST(Answers, OfADomainThatIsMadeAreNotOfOneBefore) {
  Counterparts known;
  known.Learn({Local::kDomain, 0, 5}, 1, true);
  known.Learn({Local::kFrame, 5, 0x100}, 0x200, true, 16);
  known.Learn({Local::kFrame, 6, 0x100}, 0x300, true, 16);
  known.Learn({Local::kDomain, 0, 5}, 2, true);
  EXPECT_FALSE(known.Find({Local::kFrame, 5, 0x100}));
  EXPECT_EQ(known.Find({Local::kFrame, 6, 0x100}), 0x300u);
}

TEST(Answers, ThatMakeAThingAreNotNothing) {
  Counterparts known;
  DescribedCall was, is;
  was.result = is.result = 0;
  Field port = Number("port", 5, Local::kPort);
  port.value.is_answer = port.value.is_made = true;
  was.arguments = is.arguments = {port};
  is.arguments[0].value.number = 0;
  EXPECT_EQ(Found(was, is, known), std::vector<std::string>{"port: 5, 0"});
}

TEST(Answers, InPlaceOfAFrameAreNone) {
  Counterparts known;
  known.Learn({Local::kFrame, 0, 0x40}, 0x50, true);
  DescribedCall was, is;
  was.result = is.result = 0;
  Field frame = Number("frame", 0x40, Local::kFrame);
  frame.value.after = {frame.value};
  frame.value.number = 0x41;
  was.arguments = is.arguments = {frame};
  EXPECT_TRUE(Compare(was, is, known).empty());
  is.arguments[0].value.after[0].number = 0x50;
  EXPECT_EQ(Found(was, is, known), std::vector<std::string>{"frame: 64, 80"});
}

TEST(Answers, OfACallThatHasNoneAreNotCompared) {
  Counterparts known;
  DescribedCall was, is;
  is.result = -EPERM;
  was.arguments = {Number("port", 5)};
  EXPECT_TRUE(Compare(was, is, known).empty());
}

TEST(Answers, OfAListAreAsManyAsWereRecorded) {
  Counterparts known;
  DescribedCall was, is;
  was.result = is.result = 0;
  was.arguments = is.arguments = {{"list", Value::Of(Value::Kind::kList)}};
  was.arguments[0].value.elements = {Value::Number(1), Value::Number(2)};
  is.arguments[0].value.elements = {Value::Number(1)};
  EXPECT_EQ(Found(was, is, known), std::vector<std::string>{"list: 2 elements, 1"});
}

TEST(Answers, ThatMakeAThingAreItsNumberFromThenOn) {
  Counterparts known;
  known.Learn({Local::kPort, 0, 5}, 6, true);
  DescribedCall was, is;
  was.result = is.result = 0;
  Field port = Number("port", 5, Local::kPort);
  port.value.is_answer = port.value.is_made = true;
  was.arguments = is.arguments = {port};
  is.arguments[0].value.number = 9;
  EXPECT_TRUE(Compare(was, is, known).empty());
  EXPECT_EQ(known.Find({Local::kPort, 0, 5}), 9u);
  // One that is named is what it was.
  was.arguments[0].value.is_made = false;
  is.arguments[0].value.number = 10;
  EXPECT_EQ(Found(was, is, known), std::vector<std::string>{"port: 5, which is 9 here, 10"});
}

// --- Requests of devices -------------------------------------------------------------------------

// What was mapped of which domain.
class ToldMemory final : public ForeignMemory {
 public:
  int Map(std::uint32_t of, Placement&, std::span<const std::uint64_t> of_frames,
          std::span<int> errors) override {
    domain = of;
    frames.assign(of_frames.begin(), of_frames.end());
    errors[1] = error;
    return 0;
  }
  int Unmap(void*, std::size_t) override { return ++unmapped, 0; }
  int MapResource(const Resource& resource, Placement&) override {
    domain = resource.domain;
    return 0;
  }
  int UnmapResource(void*, std::size_t) override { return ++unmapped, 0; }
  int ResourceSize(const Resource& resource, std::size_t* size) override {
    domain = resource.domain;
    *size = 3 * 4096;
    return 0;
  }
  int Restrict(std::uint16_t) override { return -EINVAL; }

  std::uint32_t domain = 0;
  std::vector<std::uint64_t> frames;
  int error = -EINVAL;
  int unmapped = 0;
};

class Requests : public ::testing::Test {
 protected:
  Requests() {
    auto owned = std::make_unique<ToldTransport>();
    transport_ = owned.get();
    client_ = *Client::Over(std::move(owned));
    known_.Learn({Local::kDomain, 0, 5}, 1, true);
    known_.Learn({Local::kFrame, 5, 0x100}, 0x200, true, 16);
    known_.Learn({Local::kPort, 0, 7}, 8, true);
    known_.Learn({Local::kPort, 5, 7}, 9, true);
  }

  template <class T>
  Replay::Outcome Make(std::uint64_t request, const T& argument, std::int64_t result,
                       const MemoryImage& more = {}) {
    CapturedCall call;
    call.request = request;
    call.argument = 0x1000;
    call.before = more;
    call.before.Add(0x1000, std::as_bytes(std::span(&argument, 1)));
    call.after = call.before;
    call.result = result;
    Replay replay(*client_, &memory_, {}, known_);
    return replay.Make(call);
  }

  ToldTransport* transport_;
  std::shared_ptr<Client> client_;
  ToldMemory memory_;
  Counterparts known_;
};

TEST_F(Requests, ForFramesAreOfTheDomainsThatTheyAreHere) {
  const std::uint64_t frames[3] = {0x100, 0x10f, 0x110};
  const int errors[3] = {};
  MemoryImage arrays;
  arrays.Add(0x2000, std::as_bytes(std::span(frames)));
  arrays.Add(0x3000, std::as_bytes(std::span(errors)));
  PrivcmdMapBatch batch = {.num = 3, .dom = 5, .addr = 0x7000, .arr = nullptr, .err = nullptr};
  const std::uint64_t places[2] = {0x2000, 0x3000};
  std::memcpy(&batch.arr, &places[0], 8);
  std::memcpy(&batch.err, &places[1], 8);
  const Replay::Outcome outcome = Make(kPrivcmdMapBatch, batch, 0, arrays);
  EXPECT_EQ(memory_.domain, 1u);
  EXPECT_EQ(memory_.frames, (std::vector<std::uint64_t>{0x200, 0x20f, 0x110}));
  EXPECT_EQ(memory_.unmapped, 1);
  ASSERT_EQ(outcome.differences.size(), 1u);
  ASSERT_EQ(outcome.differences[0].size(), 1u);
  EXPECT_EQ(outcome.differences[0][0].where, "err[1]");
  EXPECT_EQ(outcome.differences[0][0].answered, "-EINVAL");
}

TEST_F(Requests, ForAResourceSayHowLargeItIs) {
  PrivcmdMapResource resource = {};
  resource.dom = 5;
  const Replay::Outcome asked = Make(kPrivcmdMapResource, resource, 0);
  EXPECT_EQ(memory_.domain, 1u);
  ASSERT_EQ(asked.differences.size(), 1u);
  ASSERT_EQ(asked.differences[0].size(), 1u);
  EXPECT_EQ(asked.differences[0][0].where, "num");
  EXPECT_EQ(asked.differences[0][0].answered, "3");
  resource.num = 2;
  EXPECT_EQ(Make(kPrivcmdMapResource, resource, -EINVAL).differences[0][0].where, "result");
  EXPECT_EQ(memory_.unmapped, 1);
}

TEST_F(Requests, ForEventsAreMadeOfTheHypervisor) {
  std::uint64_t op = 0;
  evtchn_bind_interdomain asked = {};
  transport_->answer = [&](const schema::Call& call) {
    EXPECT_EQ(call.hypercall, std::uint64_t{__HYPERVISOR_event_channel_op});
    op = call.registers[0];
    std::memcpy(&asked, reinterpret_cast<const void*>(call.registers[1]), sizeof(evtchn_send));
    if (op != EVTCHNOP_bind_interdomain) return 0;
    auto* const bind = reinterpret_cast<evtchn_bind_interdomain*>(call.registers[1]);
    asked = *bind;
    bind->local_port = 12;
    return 0;
  };
  EXPECT_TRUE(Make(machine::kEventNotify, machine::EventPort{7}, 0).differences[0].empty());
  EXPECT_EQ(op, std::uint64_t{EVTCHNOP_send});
  EXPECT_EQ(asked.remote_dom, 8u) << "it begins with the port";
  const machine::EventBindInterdomain bind = {.remote_domain = 5, .remote_port = 7};
  // The port that is bound is another one here.
  EXPECT_TRUE(Make(machine::kEventBindInterdomain, bind, 33).differences[0].empty());
  EXPECT_EQ(asked.remote_dom, 1u);
  EXPECT_EQ(asked.remote_port, 9u) << "that domain's";
  EXPECT_TRUE(Make(machine::kEventUnbind, machine::EventPort{7}, 0).differences[0].empty());
  EXPECT_EQ(op, std::uint64_t{EVTCHNOP_close});
  EXPECT_EQ(Make(machine::kEventReset, machine::EventPort{7}, 0).not_made,
            "it is about the process alone");
}

TEST_F(Requests, ForFramesThatArePagedOutSaySo) {
  const std::uint64_t frames[2] = {0x100, 0x101};
  const int errors[2] = {};
  MemoryImage arrays;
  arrays.Add(0x2000, std::as_bytes(std::span(frames)));
  arrays.Add(0x3000, std::as_bytes(std::span(errors)));
  PrivcmdMapBatch batch = {.num = 2, .dom = 5, .addr = 0x7000, .arr = nullptr, .err = nullptr};
  const std::uint64_t places[2] = {0x2000, 0x3000};
  std::memcpy(&batch.arr, &places[0], 8);
  std::memcpy(&batch.err, &places[1], 8);
  memory_.error = -ENOENT;
  const Replay::Outcome outcome = Make(kPrivcmdMapBatch, batch, 0, arrays);
  ASSERT_FALSE(outcome.differences[0].empty());
  EXPECT_EQ(outcome.differences[0][0].where, "result");
}

// Two calls in a list that share what they point at.
class SharedArgument : public Requests {
 protected:
  Replay::Outcome MakeTwice(std::uint64_t op, std::array<std::uint64_t, 3> arguments,
                            std::vector<std::byte> bytes) {
    multicall_entry entries[2] = {};
    for (multicall_entry& each : entries) {
      each.op = op;
      std::ranges::copy(arguments, each.args);
    }
    MemoryImage more;
    more.Add(0x2000, std::as_bytes(std::span(entries)));
    more.Add(kShared, bytes);
    return Make(kPrivcmdHypercall,
                PrivcmdHypercall{.op = __HYPERVISOR_multicall, .arg = {0x2000, 2}}, 0, more);
  }
  static constexpr std::uint64_t kShared = 0x10'0000;
};

TEST_F(SharedArgument, IsRenumberedOnce) {
  evtchn_send send = {.port = 7};
  std::vector<std::uint32_t> ports;
  transport_->answer = [&](const schema::Call& call) {
    const auto* const entries = reinterpret_cast<const multicall_entry*>(call.registers[0]);
    for (const multicall_entry& each : std::span(entries, 2)) {
      ports.push_back(reinterpret_cast<const evtchn_send*>(each.args[1])->port);
    }
    return 0;
  };
  const auto bytes = std::as_bytes(std::span(&send, 1));
  EXPECT_EQ(MakeTwice(__HYPERVISOR_event_channel_op, {EVTCHNOP_send, kShared},
                      {bytes.begin(), bytes.end()})
                .not_made,
            "");
  EXPECT_EQ(ports, (std::vector<std::uint32_t>{8, 8}));
}

TEST_F(SharedArgument, CountsTwiceOfWhatACallMayTake) {
  constexpr std::uint64_t kMany = std::uint64_t{3} << 20;
  EXPECT_EQ(MakeTwice(__HYPERVISOR_console_io, {CONSOLEIO_write, kMany, kShared},
                      std::vector<std::byte>(kMany))
                .not_made,
            "its buffers have more than 4 MiB");
}

TEST_F(Requests, OfDeviceModelsAreOfTheDomainThatItIsHere) {
  std::uint64_t domain = 0;
  transport_->answer = [&](const schema::Call& call) {
    EXPECT_EQ(call.hypercall, std::uint64_t{__HYPERVISOR_dm_op});
    domain = call.registers[0];
    return 0;
  };
  xen_dm_op op = {};
  op.op = XEN_DMOP_set_pci_intx_level;
  MemoryImage arrays;
  arrays.Add(0x3000, std::as_bytes(std::span(&op, 1)));
  const std::uint64_t buffer[2] = {0x3000, sizeof(op)};
  arrays.Add(0x2000, std::as_bytes(std::span(buffer)));
  PrivcmdDmOp frame = {5, 1, nullptr};
  std::memcpy(&frame.ubufs, "\0\x20\0\0\0\0\0\0", 8);
  EXPECT_EQ(Make(kPrivcmdDmOp, frame, 0, arrays).not_made, "");
  EXPECT_EQ(domain, 1u);
}

// --- A domain's life -----------------------------------------------------------------------------

constexpr unsigned kExtents = 4, kOrder = 2;

// A toolstack, whose calls are recorded.
class Toolstack {
 public:
  explicit Toolstack(Client& client) : client_(client) {}

  const std::vector<CapturedCall>& calls() const { return calls_; }
  static Reading reading() { return {schema::kBaseRelease, 4}; }

  // A PV domain with some memory, ports and affinity, until its end.
  void Live() {
    Create();
    auto op = Control(XEN_DOMCTL_max_vcpus, domain);
    op->u.max_vcpus.max = 2;
    Make(op, 0);
    op = Control(XEN_DOMCTL_max_mem, domain);
    op->u.max_mem.max_memkb = 4096;
    Make(op, 0);

    auto extents = *client_.arena().NewArray<xen_pfn_t>(kExtents, Contents::kCleared);
    for (unsigned i = 0; i < kExtents; ++i) extents[i] = i << kOrder;
    auto memory = *client_.arena().New<xen_memory_reservation>(Contents::kCleared);
    SetHandle(memory->extent_start, extents);
    memory->nr_extents = kExtents;
    memory->extent_order = kOrder;
    memory->domid = domain;
    EXPECT_EQ(Call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, memory.get()), kExtents);

    // Any frame of an extent is one of the domain's.
    auto frames = *client_.arena().NewArray<xen_pfn_t>(kExtents, Contents::kCleared);
    for (unsigned i = 0; i < kExtents; ++i) frames[i] = extents[i] + i;
    op = Control(XEN_DOMCTL_getpageframeinfo3, domain);
    op->u.getpageframeinfo3.num = kExtents;
    SetHandle(op->u.getpageframeinfo3.array, frames);
    Make(op, 0);
    first_frame = extents[0];

    auto port = *client_.arena().New<evtchn_alloc_unbound>(Contents::kCleared);
    port->dom = domain;
    EXPECT_EQ(Call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, port.get()), 0);
    auto bind = *client_.arena().New<evtchn_bind_interdomain>(Contents::kCleared);
    bind->remote_dom = domain;
    bind->remote_port = port->port;
    EXPECT_EQ(Call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, bind.get()), 0);
    auto send = *client_.arena().New<evtchn_send>(Contents::kCleared);
    send->port = own_port = bind->local_port;
    EXPECT_EQ(Call(__HYPERVISOR_event_channel_op, EVTCHNOP_send, send.get()), 0);

    op = Control(XEN_DOMCTL_getdomaininfo, domain);
    Make(op, 0);
    Make(Control(XEN_DOMCTL_pausedomain, domain + 1), -ESRCH);
    Make(Control(XEN_DOMCTL_destroydomain, domain), 0);
  }

  void Create() {
    auto op = Control(XEN_DOMCTL_createdomain, DOMID_INVALID);
    op->u.createdomain.max_vcpus = 2;
    op->u.createdomain.max_evtchn_port = 100;
    op->u.createdomain.max_grant_frames = op->u.createdomain.max_maptrack_frames = 4;
    op->u.createdomain.grant_opts = 1;
    Make(op, 0);
    domain = op->domain;
  }

  std::uint64_t first_frame = 0;
  std::uint32_t own_port = 0;
  std::uint16_t domain = 0;

 private:
  using Op = Owned<xen_domctl>;

  Op Control(std::uint32_t command, unsigned id) {
    Op op = *client_.arena().New<xen_domctl>(Contents::kCleared);
    op->cmd = command;
    op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op->domain = static_cast<domid_t>(id);
    return op;
  }
  void Make(const Op& op, std::int64_t expected) {
    EXPECT_EQ(Call(__HYPERVISOR_domctl, op.get()), expected) << op->cmd;
  }

  template <class... Arguments>
  std::int64_t Call(std::uint64_t op, Arguments... arguments) {
    schema::Call call = {.hypercall = op};
    const auto number = [](auto argument) {
      if constexpr (std::is_pointer_v<decltype(argument)>) {
        return reinterpret_cast<std::uint64_t>(argument);
      } else {
        return static_cast<std::uint64_t>(argument);
      }
    };
    std::size_t i = 0;
    ((call.registers[i++] = number(arguments)), ...);
    OwnMemory memory(call);
    calls_.push_back(Begin(memory, reading()));
    calls_.back().result = client_.Call(op, arguments...);
    CaptureAfter(calls_.back(), memory, reading(), kMost);
    return *calls_.back().result;
  }

  Client& client_;
  std::vector<CapturedCall> calls_;
};

class Life : public ::testing::Test {
 protected:
  void SetUp() override {
    Toolstack toolstack(*recorded_);
    toolstack.Live();
    calls_ = toolstack.calls();
    first_frame_ = toolstack.first_frame;
    domain_ = toolstack.domain;
  }
  // Another machine, on which all is numbered otherwise.
  void BeginElsewhere() {
    Toolstack before(*other_);
    before.Create();
    before.Live();
    ASSERT_NE(before.first_frame, first_frame_);
  }

  std::vector<Difference> ReplayAll(const std::vector<CapturedCall>& calls) {
    Replay replay(*other_, nullptr, Toolstack::reading());
    std::vector<Difference> all;
    for (const CapturedCall& call : calls) {
      outcomes_.push_back(replay.Make(call));
      EXPECT_EQ(outcomes_.back().not_made, "");
      for (const auto& each : outcomes_.back().differences) {
        all.insert(all.end(), each.begin(), each.end());
      }
    }
    return all;
  }

  const std::shared_ptr<Client> recorded_ =
      embedded::ClientOf(embedded::SmallMachine(), SpaceOption::kRegion);
  const std::shared_ptr<Client> other_ =
      embedded::ClientOf(embedded::SmallMachine(), SpaceOption::kRegion);
  std::vector<CapturedCall> calls_;
  std::uint64_t first_frame_ = 0;
  std::uint16_t domain_ = 0;
  std::vector<Replay::Outcome> outcomes_;
};

TEST_F(Life, IsTheSameWhereAllIsNumberedOtherwise) {
  BeginElsewhere();
  for (const Difference& each : ReplayAll(calls_)) {
    ADD_FAILURE() << each.where << ": " << each.recorded << ", " << each.answered;
  }
  // Any frame of an extent is found.
  const DescribedCall& looked = outcomes_[4].answered[0];
  ASSERT_EQ(looked.name(), "domctl.getpageframeinfo3");
  const auto array = std::ranges::find(looked.arguments[0].value.fields, "array", &Field::name);
  ASSERT_NE(array, looked.arguments[0].value.fields.end());
  const DescribedCall& populated = outcomes_[3].answered[0];
  const Value& extents = populated.arguments[0].value.fields[0].value.after.at(0);
  for (unsigned i = 0; i < kExtents; ++i) {
    EXPECT_EQ(array->value.elements[i].number, extents.elements[i].number + i);
  }
  // They are another domain's calls indeed.
  ASSERT_EQ(outcomes_.size(), calls_.size());
  EXPECT_EQ(outcomes_.back().recorded[0].domains, std::vector{domain_});
  EXPECT_NE(outcomes_.back().answered[0].domains, std::vector{domain_});
}

TEST_F(Life, IsTheSameOnTheMachineThatItWasOn) { EXPECT_TRUE(ReplayAll(calls_).empty()); }

TEST_F(Life, OfWhichACallIsMissingIsNamedWhereThatShows) {
  BeginElsewhere();
  const auto max_mem = calls_.begin() + 2;
  calls_.erase(max_mem);
  const auto differences = ReplayAll(calls_);
  ASSERT_FALSE(differences.empty());
  EXPECT_EQ(differences[0].where, "result");
  EXPECT_EQ(differences[0].recorded, "4");
  EXPECT_EQ(outcomes_[2].recorded[0].name(), "memory_op.populate_physmap");
}

TEST_F(Life, ThatBeganBeforeTheRecordingIsLeftAlone) {
  Toolstack before(*other_);
  before.Create();  // of the same number
  Replay replay(*other_, nullptr, Toolstack::reading());
  const std::string why = "domain " + std::to_string(domain_) + " was there before the recording";
  EXPECT_EQ(before.domain, domain_);
  EXPECT_EQ(replay.Make(calls_[1]).not_made, why);
  EXPECT_EQ(replay.Make(calls_.back()).not_made, why) << "its end";
  // That there was none is asked again, of none.
  const auto none = std::ranges::find(calls_, -ESRCH, &CapturedCall::result);
  ASSERT_NE(none, calls_.end());
  before.Create();
  EXPECT_EQ(before.domain, domain_ + 1);
  const Replay::Outcome outcome = replay.Make(*none);
  EXPECT_EQ(outcome.not_made, "");
  EXPECT_TRUE(outcome.differences[0].empty());
}

TEST_F(Life, OfWhichBytesAreMissingIsNotLived) {
  CapturedCall call = calls_[3];
  call.unread = "the program filters its system calls";
  Replay replay(*other_, nullptr, Toolstack::reading());
  EXPECT_EQ(replay.Make(call).not_made, call.unread);
  // The list of extents is cut.
  call = calls_[3];
  call.before = {};
  for (const auto& [address, bytes] : calls_[3].before.pieces()) {
    call.before.Add(address, std::span(bytes).first(std::min(bytes.size(), std::size_t{24})));
  }
  EXPECT_NE(replay.Make(call).not_made, "");
}

}  // namespace
}  // namespace xencomm::trace
