// Files: which are taken, what is said of the others, and what happens when they are replaced.
#include "net/tls_context.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "core/trace.h"
#include "net/tls_session.h"
#include "tests/net/tls_files.h"

namespace capstan::net {

using namespace tls_test;

namespace {

void write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string refusal(TlsOptions options) {
  const auto context = TlsContext::load(std::move(options));
  REQUIRE(!context);
  CHECK(context.error().code == ErrorCode::kInvalid);
  return context.error().context;
}

// A handshake from buffer to buffer. True: both sides are open.
bool shake_hands(TlsSession& one, TlsSession& two) {
  one.advance();
  for (int i = 0; i < 10; ++i) {
    TlsSession& speaks = i % 2 == 0 ? one : two;
    TlsSession& hears = i % 2 == 0 ? two : one;
    const std::string wire = speaks.take_wire();
    hears.feed(wire);
    hears.advance();
    hears.keep();
  }
  return one.stage() == TlsSession::Stage::kOpen && two.stage() == TlsSession::Stage::kOpen;
}

}  // namespace

TEST_CASE("tls files: what does not fit is said with its flag, the cause and the way out") {
  const Files files;
  const std::string cert = files.path("server.pem"), key = files.path("server.key");
  SUBCASE("no such file") {
    TlsOptions options = files.server();
    options.certificate.path = files.path("none.pem");
    CHECK(refusal(options) ==
          "--cert-file=" + files.path("none.pem") + " cannot be read: No such file or directory.");
    options = files.server();
    options.key.path = files.path("none.key");
    CHECK(refusal(options).starts_with("--key-file=" + files.path("none.key") + " cannot be read"));
    options = files.strict_server();
    options.authority.path = files.directory.path();
    CHECK(refusal(options) ==
          "--trusted-ca-file=" + files.directory.path() + " cannot be read: Is a directory.");
  }
  SUBCASE("not PEM, or another kind of PEM") {
    write(cert, "certainly not");
    CHECK(refusal(files.server()) ==
          "--cert-file=" + cert + " holds no certificate; give a PEM file with BEGIN CERTIFICATE.");
    TlsOptions swapped = files.server();
    swapped.certificate.path = files.path("client.pem");
    swapped.key.path = files.path("client.pem");
    CHECK(refusal(swapped) == "--key-file=" + files.path("client.pem") +
                                  " holds no private key; give a PEM file with BEGIN PRIVATE KEY.");
    write(cert, "");
    CHECK(refusal(files.server()).find("holds no certificate") != std::string::npos);
  }
  SUBCASE("a certificate cut short") {
    std::filesystem::resize_file(cert, std::filesystem::file_size(cert) / 2);
    CHECK(refusal(files.server()) ==
          "--cert-file=" + cert + " is damaged: a certificate in it cannot be decoded.");
  }
  SUBCASE("a key of another certificate") {
    TlsOptions options = files.server();
    options.key.path = files.path("client.key");
    CHECK(refusal(options) == "--key-file=" + files.path("client.key") +
                                  " is not the key of the certificate in --cert-file=" + cert +
                                  "; give the two that were made together.");
  }
  SUBCASE("expired, or not valid yet") {
    files.authority.issue(cert, key, {.valid_to_seconds = -60});
    CHECK(refusal(files.server()).starts_with("--cert-file=" + cert + " has expired on 2"));
    CHECK(refusal(files.server()).ends_with(" UTC; renew it."));
    files.authority.issue(cert, key, {.valid_from_seconds = 600});
    CHECK(refusal(files.server()).find(" is not valid before 2") != std::string::npos);
  }
  SUBCASE("an encrypted key") {
    files.authority.issue(cert, key, {.key_password = "secret"});
    CHECK(refusal(files.server()).find("is encrypted, and there is nobody to ask") !=
          std::string::npos);
  }
}

TEST_CASE("tls files: replaced ones are used by new connections, the old ones go on") {
  set_trace_level(Level::kOff);
  const Files files;
  test::Authority other("another authority");
  other.write(files.path("other-ca.pem"));
  const auto server = loaded(files.server());
  TlsOptions trusting = files.client();
  const auto knows_old = loaded(trusting);
  trusting.authority.path = files.path("other-ca.pem");
  const auto knows_new = loaded(trusting);
  const auto meets = [&](const std::shared_ptr<TlsContext>& client) {
    return shake_hands(*TlsSession::connect(client, "localhost"), *TlsSession::accept(server));
  };
  const auto old_client = TlsSession::connect(knows_old, "localhost");
  const auto old_server = TlsSession::accept(server);
  REQUIRE(shake_hands(*old_client, *old_server));
  CHECK(!meets(knows_new));

  other.issue(files.path("server.pem"), files.path("server.key"));
  CHECK(meets(knows_new));
  CHECK(!meets(knows_old));
  REQUIRE(old_client->write("still here"));
  const std::string wire = old_client->take_wire();
  old_server->feed(wire);
  std::string got(16 * 1024, '\0');
  got.resize(old_server->read(got.data(), got.size()));
  CHECK(got == "still here");
  set_trace_level(Level::kInfo);
}

TEST_CASE("tls files: broken new ones leave the old ones in use, and are said once") {
  const Files files;
  const auto server = loaded(files.server());
  const auto client = loaded(files.client());
  const auto meets = [&] {
    return shake_hands(*TlsSession::connect(client, "localhost"), *TlsSession::accept(server));
  };
  std::vector<std::string> said;
  set_trace_sink([&](std::string_view line) { said.emplace_back(line); });
  REQUIRE(meets());
  CHECK(said.empty());
  write(files.path("server.pem"), "half a file");
  CHECK(meets());
  CHECK(meets());
  REQUIRE(said.size() == 1);
  CHECK(said[0].find("tls_reload_failed") != std::string::npos);
  CHECK(said[0].find("holds no certificate") != std::string::npos);
  CHECK(said[0].find("stay in use") != std::string::npos);
  std::filesystem::remove(files.path("server.key"));  // another way to be broken
  CHECK(meets());
  CHECK(said.size() == 2);
  files.authority.issue(files.path("server.pem"), files.path("server.key"));
  CHECK(meets());
  REQUIRE(said.size() == 3);
  CHECK(said[2].find("tls_reloaded") != std::string::npos);
  set_trace_sink(nullptr);
}

TEST_CASE("tls: a port takes the first of its protocols that is offered, and no other") {
  const Files files;
  const auto agreed = [&](std::vector<std::string> ours, std::vector<std::string> theirs) {
    TlsOptions port = files.server(), dials = files.client();
    port.protocols = std::move(ours);
    dials.protocols = std::move(theirs);
    const auto client = TlsSession::connect(loaded(dials), "localhost");
    const auto server = TlsSession::accept(loaded(port));
    if (!shake_hands(*client, *server)) return "no: " + client->why();
    CHECK(client->protocol() == server->protocol());
    return client->protocol();
  };
  CHECK(agreed({"http/1.1", "h2"}, {"h2"}) == "h2");                    // gRPC
  CHECK(agreed({"http/1.1", "h2"}, {"h2", "http/1.1"}) == "http/1.1");  // curl, browsers
  CHECK(agreed({"http/1.1", "h2"}, {}).empty());                        // who does not know ALPN
  CHECK(agreed({"http/1.1", "h2"}, {"capstan"}) ==
        "no: the two sides speak different protocols inside TLS; is the port the right one?");
}

TEST_CASE("tls: who is dialled must have a certificate for the name or address it was dialled by") {
  const Files files;
  const auto meet = [&](const std::string& host, std::vector<std::string> names) {
    files.authority.issue(files.path("server.pem"), files.path("server.key"),
                          {.common_name = host, .names = std::move(names)});
    const auto client = TlsSession::connect(loaded(files.client()), host);
    const auto server = TlsSession::accept(loaded(files.server()));
    return shake_hands(*client, *server) ? "met" : client->why();
  };
  CHECK(meet("localhost", {"localhost"}) == "met");
  CHECK(meet("n1.example", {"n2.example", "n1.example"}) == "met");
  CHECK(meet("127.0.0.1", {"127.0.0.1"}) == "met");
  CHECK(meet("127.0.0.1", {"localhost", "10.0.0.7"}) ==
        "its certificate is not for 127.0.0.1, but for localhost, 10.0.0.7");
  CHECK(meet("n1.example", {"n2.example"}) ==
        "its certificate is not for n1.example, but for n2.example");
  // as Go: the common name alone does not count
  CHECK(meet("n1.example", {}) == "its certificate is not for n1.example, but for nobody by name");
}

TEST_CASE("tls: a certificate nobody vouches for is refused, unless nobody is to be asked") {
  const Files files;
  test::Authority other("another authority");
  other.issue(files.path("server.pem"), files.path("server.key"));
  const auto meet = [&](TlsOptions options) {
    const auto client = TlsSession::connect(loaded(std::move(options)), "localhost");
    const auto server = TlsSession::accept(loaded(files.server()));
    return shake_hands(*client, *server) ? "met" : client->why();
  };
  CHECK(meet(files.client()) ==
        "its certificate is not signed by --cacert=" + files.path("ca.pem"));
  TlsOptions system = files.client();
  system.authority.path.clear();
  CHECK(meet(system) ==
        "its certificate is not signed by this system's authorities; name its own with "
        "--cacert=FILE");
  TlsOptions any = files.client();
  any.verify = false;
  CHECK(meet(any) == "met");
}

}  // namespace capstan::net
