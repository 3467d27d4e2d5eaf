#include "core/base.h"

namespace capstan {

namespace {

class VectorSource final : public ChangeSource {
 public:
  explicit VectorSource(const std::vector<Change>& changes) : changes_(changes) {}
  void each(const std::function<bool(const ChangeRef&)>& visit) const override {
    for (const Change& change : changes_) {
      const ChangeRef ref{change.space, change.key, change.value};
      if (!visit(ref)) return;
    }
  }

 private:
  const std::vector<Change>& changes_;
};

}  // namespace

Status Base::commit(const std::vector<Change>& changes) { return commit(VectorSource(changes)); }

Status Base::stage(const std::vector<Change>& changes) {
  return write(Generation::kStaged, VectorSource(changes));
}

}  // namespace capstan
