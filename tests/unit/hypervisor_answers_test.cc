// What every call answers and writes, and what it answers when one of its fields says something
// else: all of it, as it is written down in hypervisor_answers.txt, a line for each field.
//
// A line that changes is a change of what guests see. Xen 4.17 says whether it is right. The file
// is written anew when XENCOMM_WRITE_ANSWERS is set in the environment of this program.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/hypervisor_stage.h"

namespace xencomm::hypervisor {
namespace {

constexpr char kHead[] =
    R"(# What every call answers and writes, and what it answers in other circumstances. A name: the
# answer. Below:
# - what it wrote, field by field;
# - for each field and register the answers when it is 0, 1, one less, one more, all ones, and its
#   top bit is flipped: of those with which the answer is not always the same;
# - for what each pointer leads to, the answers when it cannot be read, when it cannot be written,
#   and when its first or its last byte is not there;
# - the answers with 0, 1, ... free pages, each as long as it stays the same;
# - how often it stops, when it stops as often as it can;
# - the answers about domain 0, a domain that is dying, and one that is dead;
# - what a guest is answered that may not control others.
# The program beside this file writes it.
)";

class AnswersTest : public testing::TestWithParam<WorkingCall> {
 protected:
  static void SetUpTestSuite() {
    whole_ = std::make_unique<Stage>(4096);
    in_legs_ = std::make_unique<Stage>(1);
    std::ifstream file(ANSWERS);
    std::string name;
    for (std::string line; std::getline(file, line);) {
      if (line.empty() || line[0] == '#') continue;
      if (line[0] != ' ') name = line.substr(0, line.find(':'));
      known_[name] += line + '\n';
    }
  }
  static void TearDownTestSuite() {
    whole_ = nullptr;
    in_legs_ = nullptr;
    const testing::UnitTest& all = *testing::UnitTest::GetInstance();
    if (all.test_to_run_count() != all.total_test_count()) return;
    if (std::getenv("XENCOMM_WRITE_ANSWERS") != nullptr) {
      std::ofstream file(ANSWERS);
      file << kHead;
      for (const auto& [name, text] : found_) file << '\n' << text;
      return;
    }
    for (const auto& [name, text] : known_) {
      EXPECT_TRUE(found_.contains(name)) << name << " has answers, and is no call";
    }
  }

  CallsMachine& on() { return stage_->on; }

  void GoBack() {
    stage_->before.Restore();
    std::ranges::copy(arguments_, on().arguments().begin());
    on().machine.now = now_;
  }

  HypercallFrame Prepare(Vcpu* caller, std::uint16_t target) {
    stage_->base.Restore();
    on().machine.now = 0;
    on().Begin();
    on().caller = caller;
    const HypercallFrame frame = GetParam().prepare(on(), target);
    now_ = on().machine.now;
    stage_->before.Take();
    arguments_.assign(on().arguments().begin(), on().arguments().end());
    return frame;
  }
  std::int64_t Make(const HypercallFrame& frame) {
    return Make(frame, [](Access, const std::byte*, std::uint64_t) { return true; });
  }
  // With some of the memory gone.
  template <class IsThere>
  std::int64_t Make(const HypercallFrame& frame, IsThere is_there,
                    std::uint64_t filler = ~std::uint64_t{0}) {
    on().space.Watch([&](unsigned, Access access, std::byte* at, std::uint64_t length) {
      return stage_->IsThere(at, length) && is_there(access, at, length) ? Fault::kNone
                                                                         : Fault::kNotPresent;
    });
    const std::int64_t outcome = Outcome(GetParam(), on(), *on().caller, frame, filler);
    on().space.WatchNothing();
    return outcome;
  }

  // The addresses of arguments differ from run to run, and which frame is taken is the heap's
  // affair.
  std::string Shown(std::uint64_t value) {
    const auto begin = reinterpret_cast<std::uint64_t>(on().arguments().data());
    std::ostringstream text;
    text << std::hex;
    if (value - begin < on().arguments().size()) {
      text << "argument + " << value - begin;
    } else if (value - Stage::kFirstFrame < Stage::kPoolBytes >> kPageShift) {
      text << "a frame";
    } else {
      text << value;
    }
    return text.str();
  }

  // The answers of calls in bad times, each in a line where they are not always the good one.

  std::string WithoutMemoryOfTheirs(const Touched& touched, const HypercallFrame& frame,
                                    std::int64_t good) {
    std::ostringstream lines;
    for (const Extent& extent : touched.extents()) {
      std::ostringstream line;
      bool differs = false;
      const auto without = [&](auto is_there) {
        GoBack();
        const std::int64_t answer = Make(frame, is_there);
        GoBack();
        EXPECT_EQ(Make(frame, is_there, 0), answer) << "what could not be read is looked at";
        line << ' ' << answer;
        differs = differs || answer != good;
      };
      for (const Access bad : {Access::kRead, Access::kWrite}) {
        without([&](Access access, const std::byte* at, std::uint64_t length) {
          return access != bad || !extent.Overlaps(at, length);
        });
      }
      for (const std::byte* end : {extent.at, extent.at + extent.bytes - 1}) {
        without([&](Access, const std::byte* at, std::uint64_t length) {
          return !Extent{.name = {}, .at = end, .bytes = 1}.Overlaps(at, length);
        });
      }
      if (differs) lines << "  without " << extent.name << ':' << line.str() << '\n';
    }
    return lines.str();
  }
  std::string WithoutFreePages(std::int64_t good) {
    std::ostringstream answers;
    std::int64_t answer = good + 1;
    for (unsigned spare = 0; answer != good; spare = Stage::Next(spare)) {
      const HypercallFrame frame = Prepare(on().control, GetParam().target);
      stage_->LeaveFree(spare);
      const std::int64_t now = Make(frame);
      if (spare == 0 && now == good) return "";
      if (spare == 0 || now != answer) answers << ' ' << now;
      answer = now;
    }
    return "  with few free pages:" + answers.str() + '\n';
  }
  std::string InLegs() {
    stage_ = in_legs_.get();
    HypercallFrame frame = Prepare(on().control, GetParam().target);
    unsigned stops = 0;
    while (on().machine.hypervisor.Hypercall(*on().control, frame), frame.continued) ++stops;
    stage_ = whole_.get();
    return stops == 0 ? "" : "  stops: " + std::to_string(stops) + '\n';
  }
  std::string AboutOthers(std::int64_t good) {
    stage_ = in_legs_.get();
    std::vector<std::int64_t> answers;
    answers.push_back(Make(Prepare(on().control, 0)));
    const std::uint16_t target = GetParam().target;
    for (const bool is_dead : {false, true}) {
      if (target == 0) break;
      const HypercallFrame frame = Prepare(on().control, target);
      const std::uint64_t held = stage_->End(target, is_dead);
      answers.push_back(Make(frame));
      if (held != kNoFrame) on().machine.ReleaseFrame(held);
    }
    stage_ = whole_.get();
    std::ostringstream line;
    for (const std::int64_t answer : answers) line << ' ' << answer;
    if (std::ranges::count(answers, good) == std::ssize(answers)) return "";
    return "  about domain 0, and one that is dying and dead:" + line.str() + '\n';
  }

  // The machine in which calls run as a whole, and the one in which they stop as often as they can.
  static inline std::unique_ptr<Stage> whole_;
  static inline std::unique_ptr<Stage> in_legs_;
  static inline std::map<std::string, std::string> known_;  // by the names of calls
  static inline std::map<std::string, std::string> found_;

  Stage* stage_ = whole_.get();
  std::vector<std::byte> arguments_;  // before
  std::uint64_t now_ = 0;
};

INSTANTIATE_TEST_SUITE_P(, AnswersTest, testing::ValuesIn(AllWorkingCalls()),
                         [](const auto& each) { return NameOf(each.param); });

// Other values to try in a field's place.
std::vector<std::uint64_t> Others(std::uint64_t value, std::size_t size) {
  const std::uint64_t ones = size == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * size) - 1;
  return {0, 1, (value - 1) & ones, (value + 1) & ones, ones, value ^ (ones ^ ones >> 1)};
}

TEST_P(AnswersTest, AreAsTheyWere) {
  if (XEN_DOMCTL_INTERFACE_VERSION != 0x15) GTEST_SKIP() << "they are those of Xen 4.17's headers";
  HypercallFrame frame = Prepare(on().control, GetParam().target);
  const Touched touched(frame, on().space, on().arguments());

  std::ostringstream text;
  const std::int64_t good = Make(frame);
  text << GetParam().name << ": " << good << '\n';
  const auto tell_outputs = [&](const Touched& of, const char* indent) {
    for (const Place& place : of.outputs()) {
      text << indent << place.name << " = " << Shown(Load(place)) << '\n';
    }
  };
  tell_outputs(touched, "  ");
  const auto vary = [&](const std::string& name, std::uint64_t right, std::size_t size,
                        const auto& set) {
    // Of another call of a list, an address may be a number.
    if (GetParam().hypercall == __HYPERVISOR_multicall) return;
    std::ostringstream line;
    bool differs = false;
    for (const std::uint64_t other : Others(right, size)) {
      GoBack();
      set(other);
      const std::int64_t answer = Make(frame);
      line << ' ' << answer;
      differs = differs || answer != good;
    }
    GoBack();
    set(right);
    if (differs) text << "  " << name << ':' << line.str() << '\n';
  };
  for (const Place& place : touched.places()) {
    GoBack();
    vary(place.name, Load(place), place.size, [&](std::uint64_t value) { Store(place, value); });
  }
  for (unsigned i = 0; i < std::size(frame.arguments); ++i) {
    vary("register " + std::to_string(i + 1), frame.arguments[i], 8,
         [&](std::uint64_t value) { frame.arguments[i] = value; });
  }
  GoBack();
  text << WithoutMemoryOfTheirs(touched, frame, good) << WithoutFreePages(good) << InLegs()
       << AboutOthers(good);
  const HypercallFrame own = Prepare(on().guest, kGuest);
  const Touched own_touched(own, on().space, on().arguments());
  const std::int64_t own_answer = Make(own);
  text << "  to a guest about itself: " << own_answer << '\n';
  if (own_answer >= 0) tell_outputs(own_touched, "    ");
  on().caller = on().control;
  found_[GetParam().name] = text.str();
  if (std::getenv("XENCOMM_WRITE_ANSWERS") != nullptr) return;
  EXPECT_EQ(known_[GetParam().name], text.str());
}

}  // namespace
}  // namespace xencomm::hypervisor
