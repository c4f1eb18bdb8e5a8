// An op of the table, explained in words.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hcall/schema/words.h"
#include "hcall/tools/explain.h"

namespace xencomm::schema {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ExplainOp, SaysFieldsCountsAndNulls) {
  EXPECT_THAT(ExplainOp("sysctl.getdomaininfolist"),
              AllOf(HasSubstr("sysctl.getdomaininfolist: op 6 of hypercall 35"),
                    HasSubstr("xen_domctl_getdomaininfo[max_domains], filled: num_domains")));
  EXPECT_THAT(ExplainOp("sysctl.cputopoinfo"), HasSubstr("null: asks for `num_cpus`"));
  EXPECT_THAT(ExplainOp("domctl.scheduler_op"),
              HasSubstr("when sched_id is XEN_SCHEDULER_RTDS, cmd is "
                        "XEN_DOMCTL_SCHEDOP_putvcpuinfo:"));
  EXPECT_THAT(ExplainOp("platform_op.set_processor_pminfo"),
              HasSubstr("Elements of u.power.states: struct xen_processor_cx"));
  EXPECT_THAT(ExplainOp("vcpu_op.register_runstate_memory_area"), HasSubstr("kept until replaced"));
}

TEST(ExplainOp, NamesCasesByTheirValues) {
  EXPECT_THAT(ExplainOp("sysctl.pm_op"),
              AllOf(HasSubstr("when cmd is SET_CPUFREQ_GOV:"),
                    HasSubstr("one of GET_CPUFREQ_PARA 17, SET_CPUFREQ_GOV 18,")));
  EXPECT_THAT(ExplainOp("platform_op.firmware_info"),
              HasSubstr("when type is XEN_FW_EFI_INFO, index is XEN_FW_EFI_VENDOR:"));
  // The first row of this field, in another case, has no names.
  EXPECT_THAT(ExplainOp("domctl.monitor_op"),
              HasSubstr("when event is XEN_DOMCTL_MONITOR_EVENT_WRITE_CTRLREG, op is"));
}

TEST(ExplainOp, ListsWhatHasNoRowsOfItsOwn) {
  EXPECT_THAT(ExplainOp("sysctl.getdomaininfolist"),
              AllOf(HasSubstr("Elements of buffer: struct xen_domctl_getdomaininfo, 112 bytes"),
                    HasSubstr("     8  tot_pages          uint64_t"),
                    HasSubstr("What they mean: domctl.getdomaininfo\n")));
  EXPECT_THAT(ExplainOp("domctl.shadow_op"),
              AllOf(HasSubstr("52  .dirty_count"),
                    HasSubstr("not looked at: mode, dirty_bitmap, pages, stats")));
  // Of rax's names the first; eax is a part of it.
  EXPECT_THAT(ExplainOp("domctl.getvcpucontext"),
              AllOf(HasSubstr("user_regs.rax "), Not(HasSubstr("user_regs.eax "))));
}

TEST(ExplainOp, SaysWhatHasToBeNull) {
  EXPECT_THAT(ExplainOp("memory_op.claim_pages"),
              AllOf(HasSubstr("must be null"), Not(HasSubstr("uint64_t[0]"))));
}

TEST(ExplainOp, ListsTheOpsOfAHypercall) {
  EXPECT_THAT(ExplainOp("domctl"), AllOf(HasSubstr("createdomain"), HasSubstr("1003")));
}

TEST(ExplainOp, SaysNothingOfTheUnknown) {
  EXPECT_EQ(ExplainOp("domctl.no_such_op"), "");
  EXPECT_EQ(ExplainOp("no_such_call"), "");
}

TEST(ExplainOp, NamesCountsByTheirCase) {
  EXPECT_THAT(ExplainOp("domctl.scheduler_op"),
              AllOf(HasSubstr("xen_domctl_schedparam_vcpu[u.v.nr_vcpus]"),
                    Not(HasSubstr("xen_domctl_schedparam_vcpu[u.rtds.flags]"))));
}

TEST(ExplainOp, ListsTheNamesOfValues) {
  EXPECT_THAT(ExplainOp("domctl.createdomain"),
              HasSubstr("flags XEN_DOMCTL_CDF_*: hvm 0x1, hap 0x2,"));
  EXPECT_THAT(ExplainOp("domctl.scheduler_op"), HasSubstr("one of XEN_SCHEDULER_*: CREDIT 5"));
}

TEST(ExplainOp, TellsThatAnOpWasRemoved) {
  EXPECT_THAT(ExplainOp("domctl.getmemlist"),
              AllOf(HasSubstr("domctl.getmemlist: op 6 of hypercall 36, which is none any more"),
                    HasSubstr("XEN_DOMCTL_getmemlist"), HasSubstr("\"Removed\"")));
  EXPECT_THAT(ExplainOp("domctl.pin_mem_cacheattr"), HasSubstr("use dmop"));
  EXPECT_THAT(ExplainOp("sysctl.tmem_op"), HasSubstr("op 24"));
  EXPECT_EQ(ExplainOp("domctl.no_such_op"), "");
}

TEST(ExplainOp, ExplainsAll) {
  for (const Hypercall& hypercall : Hypercalls()) {
    for (const Op& op : hypercall.ops()) {
      const std::string text = ExplainOp(op);
      for (const Part& part : op.argument().parts()) {
        EXPECT_THAT(text, HasSubstr(schema::WordsOf(part).path))
            << schema::WordsOf(hypercall).name << "." << schema::WordsOf(op).name;
      }
    }
  }
}

}  // namespace
}  // namespace xencomm::schema
