// The C++ face without exceptions: everything by try_ functions.
// options: -fno-exceptions
#include <cometd/cometd.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

using namespace std::chrono_literals;

static void check(bool holds, const char *what) {
    if (holds) return;
    std::fprintf(stderr, "no_exceptions: %s\n", what);
    std::exit(1);
}
#define CHECK(holds) check(static_cast<bool>(holds), #holds)

int main(int, char **argv) {
    const std::string url = argv[1];
    const auto bad = cometd::builder("ftp://localhost/").bearer_token("T").try_build();
    CHECK(!bad && bad.status() == cometd::status::invalid_url && bad.code() == cometd::status::invalid_url);

    int asked = 0;
    auto built = cometd::builder(url)
                     .token_provider([&](cometd::token_reason, cometd::token token) {
                         asked++;
                         return token.try_set_authorization("Bearer T").status();
                     })
                     .handshake_provider([](cometd::handshake handshake) { return handshake.try_set_fields("{}").status(); })
                     .add_extension([](cometd::extension_message) {}, nullptr)
                     .try_build();
    CHECK(built);
    cometd::client client = std::move(*built);
    CHECK(client.try_connect());
    CHECK(client.try_connect().status() == cometd::status::invalid_state);
    const auto id = client.try_subscribe("/ticks");
    CHECK(id && *id != 0);
    CHECK(client.try_wait(cometd::state::connected, 30s).value_or({}) == cometd::status::ok && asked == 1);
    {
        auto batch = cometd::batch::try_begin(client);
        CHECK(batch && client.try_publish("/chat", "1"));
        CHECK(batch->try_end());
    }
    bool subscribed = false, ticked = false;
    while (!subscribed || !ticked) {
        const auto polled = client.try_poll(30s);
        CHECK(polled && *polled);
        const cometd::event &event = **polled;
        subscribed = subscribed || (event.type() == cometd::event_type::subscribed && event.id() == *id);
        ticked = ticked || (event.type() == cometd::event_type::message && event.channel() == "/ticks");
    }
    CHECK(client.try_set_callback([](const cometd::event_view &) {}) && client.try_remove_callback());
    CHECK(client.try_disconnect(10s));
    std::puts("ok");
}
