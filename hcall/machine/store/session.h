// Session: what the store keeps for one connection, and how it speaks to it.
#ifndef HCALL_MACHINE_STORE_SESSION_H_
#define HCALL_MACHINE_STORE_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "hcall/machine/store/domain_table.h"
#include "hcall/machine/store/transaction.h"
#include "hcall/machine/store/tree.h"

namespace xencomm::machine {

class Store;

struct Watch {
  std::string path;  // absolute, or a special one, as "@releaseDomain"
  std::string token;
  std::size_t home_length;  // of what its events' paths lack, as the watch's own did
  Charge charge;

  // A path as its events have it.
  std::string_view AsSeen(std::string_view changed) const;
};

class Session {
 public:
  // For a client that acts as this domain. The store outlives it.
  Session(Store& store, DomainId domain);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  virtual ~Session();

  DomainId domain() const { return domain_; }

 protected:
  // A path that is watched has changed. Called in the middle of a change: adds and removes no
  // session or watch.
  virtual void Deliver(std::string_view path, std::string_view token, const Request& cause) = 0;
  // The domain's ring begins anew: what was not sent is not wanted any more.
  virtual void Restart() = 0;
  // The domain is gone.
  virtual void End() = 0;
  // Requests that were held back may be answered now.
  virtual void Proceed() = 0;

  Store& store() { return store_; }
  const Store& store() const { return store_; }

 private:
  friend class Store;

  Store& store_;
  const DomainId domain_;
  std::vector<Watch> watches_;
  std::map<std::uint32_t, Transaction> transactions_;
  std::uint32_t last_transaction_ = 0;
};

}  // namespace xencomm::machine

#endif  // HCALL_MACHINE_STORE_SESSION_H_
