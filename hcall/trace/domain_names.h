// Domains' names, as the store has them.
#ifndef HCALL_TRACE_DOMAIN_NAMES_H_
#define HCALL_TRACE_DOMAIN_NAMES_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>

struct xs_handle;

namespace xencomm::trace {

// Asks the store's daemon, unless that is a process that is traced, which stands still meanwhile.
class StoreNames {
 public:
  explicit StoreNames(std::function<bool(pid_t)> is_traced) : is_traced_(std::move(is_traced)) {}
  StoreNames(const StoreNames&) = delete;
  StoreNames& operator=(const StoreNames&) = delete;
  ~StoreNames();

  // "" of one that has none, or of all when there is no store, or it cannot be asked.
  std::string NameOf(std::uint16_t domain);

 private:
  struct Known {
    std::string name;
    std::uint64_t until;  // a domain's name can change, and its id be another's
  };

  bool MayAsk() const;

  const std::function<bool(pid_t)> is_traced_;
  xs_handle* store_ = nullptr;
  std::map<std::uint16_t, Known> known_;
};

}  // namespace xencomm::trace

#endif  // HCALL_TRACE_DOMAIN_NAMES_H_
