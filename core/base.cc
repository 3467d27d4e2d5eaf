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

Status Base::amend(const Amendment& amendment) {
  Result<std::unique_ptr<BaseView>> view = this->view();
  if (!view) return std::unexpected(view.error());
  const Result<std::vector<Change>> changes = amendment(**view);
  view->reset();  // or the pages it pins could not be used again
  return changes ? commit(*changes) : std::unexpected(changes.error());
}

}  // namespace capstan
