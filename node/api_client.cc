#include "node/api_client.h"

#include <utility>

#include "net/http_client.h"
#include "net/json_api.h"
#include "net/tls_refusal.h"
#include "net/uv_loop.h"

namespace capstan::node {
namespace {

ApiAnswer::Failure failure_of(ErrorCode code) {
  if (code == ErrorCode::kNotFound) return ApiAnswer::Failure::kNobody;
  if (code == ErrorCode::kMismatch) return ApiAnswer::Failure::kTls;
  if (code == ErrorCode::kMalformed) return ApiAnswer::Failure::kForeign;
  return ApiAnswer::Failure::kSilent;
}

void take(ApiAnswer& into, const std::string& path, Result<net::HttpResponse> response) {
  if (!response) {
    into.failure = failure_of(response.error().code);
    into.why = response.error().context;
    return;
  }
  if (response->status == 400 && response->body.starts_with(net::kTlsPortText)) {
    into.failure = ApiAnswer::Failure::kTls;
    into.why = net::kTlsPortText;
    return;
  }
  into.json = response->body;
  const auto foreign = [&](const Error& error) {
    into.failure = ApiAnswer::Failure::kForeign;
    into.why = error.context;
  };
  if (path == "/api/v1/lab") {
    Result<net::LabReply> lab = net::decode_api_lab_reply(response->body);
    if (!lab) return foreign(lab.error());
    into.lab = std::move(*lab);
    into.reply.outcome = into.lab.outcome;
    into.reply.reason = into.lab.reason;
    into.reply.detail = into.lab.detail;
    return;
  }
  Result<net::ApiReply> reply = net::decode_api_reply(response->body);
  if (!reply) return foreign(reply.error());
  into.reply = std::move(reply->reply);
  into.write_id = std::move(reply->write_id);
}

}  // namespace

struct ApiClient::State {
  State(Micros patience, std::shared_ptr<net::TlsContext> with)
      : timeout(patience), tls(std::move(with)) {}

  Micros timeout;
  std::shared_ptr<net::TlsContext> tls;
  std::string token;
  net::Loop loop;
  std::unique_ptr<net::HttpClient> http = net::HttpClient::create(loop);
};

ApiClient::ApiClient(Micros timeout, std::shared_ptr<net::TlsContext> tls)
    : state_(std::make_unique<State>(timeout, std::move(tls))) {}
ApiClient::~ApiClient() = default;

void ApiClient::set_token(std::string token) { state_->token = std::move(token); }

std::vector<ApiAnswer> ApiClient::ask_all(const std::vector<ApiCall>& calls) {
  std::vector<ApiAnswer> answers(calls.size());
  std::size_t waiting = calls.size();
  for (std::size_t i = 0; i < calls.size(); ++i) {
    answers[i].at = calls[i].at;
    if (calls[i].at.tls && !state_->tls) {
      answers[i].failure = ApiAnswer::Failure::kTls;
      answers[i].why = "it takes TLS only: use https:// in --endpoints";
      --waiting;
      continue;
    }
    const Micros begin = net::Loop::clock().monotonic;
    net::HttpCall call;
    call.host = calls[i].at.host;
    call.port = static_cast<std::uint16_t>(calls[i].at.port);
    if (calls[i].at.tls) call.tls = state_->tls;
    call.method = calls[i].method;
    call.path = calls[i].path;
    call.body = calls[i].body;
    if (!state_->token.empty()) call.headers.emplace_back("Authorization", state_->token);
    call.timeout = state_->timeout;
    state_->http->call(std::move(call), [&, i, begin](Result<net::HttpResponse> response) {
      answers[i].took = net::Loop::clock().monotonic - begin;
      take(answers[i], calls[i].path, std::move(response));
      if (--waiting == 0) state_->loop.stop();
    });
  }
  if (waiting > 0) state_->loop.run();
  return answers;
}

ApiAnswer ApiClient::ask(const ApiCall& call) { return std::move(ask_all({call}).front()); }

}  // namespace capstan::node
