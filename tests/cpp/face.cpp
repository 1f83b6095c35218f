// The C++ face of the library, against the demo server that publishes to /ticks
// and wants the token T: owners and moves, errors, polls, callbacks that throw.
#undef NDEBUG
#include <cometd/cometd.hpp>

#include <pthread.h>

#include <atomic>
#include <cassert>
#include <cstring>
#include <future>
#include <iostream>
#include <set>
#include <thread>
#include <type_traits>

using namespace std::chrono_literals;

static std::string url;

template <class T>
constexpr bool moves_only = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
                            !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;
static_assert(moves_only<cometd::builder> && moves_only<cometd::client> && moves_only<cometd::receiver>);
static_assert(moves_only<cometd::event> && moves_only<cometd::message> && moves_only<cometd::error_owner>);
static_assert(std::is_nothrow_copy_constructible_v<cometd::error>);

// Runs it and gives the error that it has to throw.
template <class Call>
static cometd::error thrown(Call call) {
    try {
        call();
    } catch (const cometd::error &error) {
        return error;
    }
    assert(!"nothing was thrown");
    std::abort();
}

static cometd::client connected() {
    cometd::client client = cometd::builder(url).set_bearer_token("T").build();
    client.connect();
    assert(client.wait(COMETD_STATE_CONNECTED, 30s) == COMETD_OK);
    return client;
}

// Polls until an event of the type comes.
template <class Source>
static cometd::event next(Source &source, std::int32_t type) {
    cometd::event event;
    while (source.poll(event, 30s) == COMETD_OK) {
        if (event.type() == type) return event;
    }
    assert(!"the event did not come");
    std::abort();
}

static void proxies_and_certificates_are_checked_at_once() {
    cometd::builder builder(url);
    builder.set_proxy("http://127.0.0.1:1").set_proxy("");
    assert(thrown([&] { builder.set_proxy("socks5://proxy"); }).status() == COMETD_E_INVALID_URL);
    for (std::string_view pem : {std::string_view(), std::string_view("x")}) {
        auto authorities = [&] { builder.set_certificate_authorities(pem, true); };
        assert(thrown(authorities).status() == COMETD_E_INVALID_ARGUMENT);
        assert(thrown([&] { builder.set_client_certificate(pem, pem); }).status() == COMETD_E_INVALID_ARGUMENT);
    }
    // Nothing is built of a builder that has refused something.
    assert(thrown([&] { builder.build(); }).status() == COMETD_E_INVALID_URL);
    cometd::client client = cometd::builder(url).set_proxy("").set_bearer_token("T").build();
    client.connect();
    assert(client.wait(COMETD_STATE_CONNECTED, 30s) == COMETD_OK);
}

static void errors_tell_what_is_known() {
    cometd::error error = thrown([] { cometd::builder("ftp://localhost/"); });
    assert(error.status() == COMETD_E_INVALID_URL && error.phase() == COMETD_PHASE_CALL);
    assert(std::strstr(error.what(), "ftp") && !error.is_fatal() && error.http_status() == 0 && error.websocket_code() == 0);
    assert(!error.bayeux() && error.bayeux_code() == 0 && !error.channel() && !error.retry_in());
    assert(thrown([] { cometd::builder(url).set_bearer_token("a\r\nb"); }).status() == COMETD_E_INVALID_HEADER);
    assert(thrown([] { cometd::builder(url).set_bearer_token(std::string("a\0b", 3)); }).status() == COMETD_E_INVALID_ARGUMENT);
    assert(thrown([] { cometd::builder(url).set_handshake_ext({}); }).status() == COMETD_E_INVALID_JSON);
    assert(thrown([] { cometd::builder(url).set_timeout(-1ms); }).status() == COMETD_E_OUT_OF_RANGE);
    assert(thrown([] { cometd::builder(url).set_transports({}); }).status() == COMETD_E_INVALID_ARGUMENT);
    assert(thrown([] { cometd::builder(url).set_transports(std::vector<std::int32_t>()); }).status() == COMETD_E_INVALID_ARGUMENT);
    assert(thrown([] { cometd::builder(url).set_transports({3}); }).status() == COMETD_E_OUT_OF_RANGE);
    assert(thrown([] { cometd::builder(url).set_websocket_path("//elsewhere/"); }).status() == COMETD_E_INVALID_ARGUMENT);
    assert(thrown([] { cometd::builder(url).set_websocket_protocol("a b"); }).status() == COMETD_E_INVALID_HEADER);
    assert(thrown([] { cometd::builder(url).set_ping_interval(-1ms); }).status() == COMETD_E_OUT_OF_RANGE);
    cometd::client client = cometd::builder(url).build();
    error = thrown([&] { client.subscribe({"/a", "b"}); });
    assert(error.status() == COMETD_E_INVALID_CHANNEL && std::strstr(error.what(), "channels[1]"));
    assert(error.client() == std::string(client.name()) && !error.url() && !error.ext() && !error.bayeux_json());
    assert(thrown([] { cometd::builder(url).set_name(""); }).status() == COMETD_E_INVALID_ARGUMENT);
    assert(thrown([&] { client.subscribe(std::vector<std::string>()); }).status() == COMETD_E_INVALID_ARGUMENT);
    assert(thrown([&] { client.publish("/a", "no json"); }).status() == COMETD_E_INVALID_JSON);
    assert(thrown([&] { client.publish("/a", {}); }).status() == COMETD_E_INVALID_JSON);
    cometd::event event;
    assert(thrown([&] { client.poll(event, -2ms); }).status() == COMETD_E_OUT_OF_RANGE);
    assert(thrown([&] { client.disconnect(cometd::forever); }).status() == COMETD_E_OUT_OF_RANGE);
    client.connect();
    // Where the refusal is quicker, the client has ended.
    const cometd_status again = thrown([&] { client.connect(); }).status();
    assert(again == COMETD_E_INVALID_STATE || again == COMETD_E_CLOSED);
    // The server refuses who does not have the token.
    const cometd::event refused = next(client, COMETD_EVENT_ERROR);
    assert(refused.error()->bayeux() == "403::handshake_denied" && refused.error()->bayeux_code() == 403);
    assert(refused.error()->is_fatal() && !refused.error()->retry_in() && !refused.channel());
    assert(refused.error()->client() == client.name() && *refused.error()->url() == std::string(url) + "/handshake");
    assert(!refused.ext() && !refused.is_renewed());
    const std::optional<cometd::error> last = client.last_error();
    assert(last && last->status() == COMETD_E_REFUSED && last->url() == std::string(*refused.error()->url()));
    assert(last->ext().has_value() == refused.error()->ext().has_value());
    assert(last->bayeux_json().has_value() == refused.error()->bayeux_json().has_value());
}

static void every_option_is_there() {
    cometd::client client = cometd::builder(url)
        .set_handshake_base_path("h/").set_subscribe_base_path("s/").set_connect_base_path("c/")
        .set_disconnect_base_path("").set_append_message_type(COMETD_APPEND_ALWAYS)
        .set_basic_auth("user").set_basic_auth("user", "password").set_authorization("OAuth abc").set_bearer_token("T")
        .set_token_provider([](std::int32_t) { return std::nullopt; }).set_token_provider({})
        .set_handshake_provider([](cometd::handshake) {}).set_handshake_provider({})
        .set_header_provider([](cometd::request) {}).set_header_provider({}).add_extension({}, {})
        .add_cookie("name", "value").add_header("X-Name", "value").set_handshake_ext("{\"a\":1}")
        .set_timeout(1s).set_interval(0s).set_request_timeout(5s).set_number_of_retries(COMETD_RETRY_FOREVER)
        .set_backoff(10ms, 20ms).set_events_capacity(100, 100000).set_commands_capacity(100)
        .set_overflow(COMETD_OVERFLOW_DROP_OLDEST).set_response_capacity(100000).set_own_receiver(true).set_acknowledgement(false)
        .set_name("every option").set_resume("").set_fail_fast(true).set_websocket_path("ws").set_websocket_protocol("")
        .set_ping_interval(1s).set_transports({COMETD_TRANSPORT_LONG_POLLING}).build();
    assert(client.name() == "every option" && !client.session_id() && !client.last_error());
    assert(client.state() == COMETD_STATE_IDLE && client.fd() >= 0 && client.transport() == 0);
    client.connect();
    assert(client.wait(COMETD_STATE_CONNECTED, 30s) == COMETD_OK);
    assert(client.session_id() && !client.session_id()->empty());
    client.set_authorization("Bearer T");
    client.disconnect(10s);
    assert(!client.session_id());
}

static void owners_move() {
    cometd::client first = connected();
    cometd::client second = std::move(first);
    const std::uint64_t id = second.subscribe("/ticks");
    assert(next(second, COMETD_EVENT_SUBSCRIBED).id() == id);
    cometd::event event = next(second, COMETD_EVENT_MESSAGE);
    cometd::event moved = std::move(event);
    assert(event.type() == 0 && !event.message());  // an empty one, which says so
    assert(moved.channel() == "/ticks" && moved.message()->channel() == "/ticks");
    assert(moved.message()->data().substr(0, 8) == "{\"tick\":" && !moved.message()->ext() && !moved.message()->id());
    // What is retained outlives its event and its client.
    assert(!moved.message()->is_binary() && !moved.message()->binary() && !moved.message()->binary_meta());
    cometd::message kept = moved.message()->retain(), again = kept.retain();
    const std::string data(kept.data());
    moved = cometd::event();
    second.disconnect(10s);
    { cometd::client gone = std::move(second); }
    assert(kept.data() == data && again.data() == data);
    cometd::message elsewhere = std::move(again);
    assert(elsewhere.data() == data && again.data().empty());
    cometd_client *raw = cometd::builder(url).build().release();
    cometd::client adopted(raw);
    assert(adopted.get() == raw && adopted.release() == raw);
    cometd::client(raw).state();
}

static void bytes() {
    cometd::client client = connected();
    client.subscribe("/bytes");
    next(client, COMETD_EVENT_SUBSCRIBED);
    const std::string some("\x86\0\xff", 3);
    client.publish_binary("/bytes", some, false, "{\"n\":1}");
    cometd::event event = next(client, COMETD_EVENT_MESSAGE);
    assert(event.message()->is_binary() && event.message()->binary() == some);
    assert(!event.message()->binary_is_last() && event.message()->binary_meta() == "{\"n\":1}");
    client.publish_binary("/bytes", {});
    event = next(client, COMETD_EVENT_MESSAGE);
    assert(event.message()->binary() == "" && event.message()->binary_is_last());
    assert(thrown([&] { client.publish_binary("/bytes", some, true, "1"); }).status() == COMETD_E_INVALID_JSON);
    client.disconnect(10s);
}

static void polls_and_receivers() {
    cometd::client client = cometd::builder(url).set_bearer_token("T").build();
    cometd::receiver receiver(client);
    cometd::event event;
    assert(client.poll(event, 0ms) == COMETD_NONE && event.type() == 0);
    client.connect();
    const std::uint64_t denied = client.subscribe({"/ticks", "/denied/x"});
    std::set<std::string> ended;
    while (ended.size() < 2) {
        assert(receiver.poll(event, 30s) == COMETD_OK);
        if (event.type() == COMETD_EVENT_STATE && event.state() == COMETD_STATE_HANDSHAKING) {
            assert(event.previous_state() == COMETD_STATE_IDLE);
        }
        if (event.id() == denied) ended.insert(std::string(*event.channel()));
        if (event.error()) assert(event.error()->channel() == "/denied/x" && event.error()->phase() == COMETD_PHASE_SUBSCRIBE);
    }
    assert(ended == std::set<std::string>({"/denied/x", "/ticks"}));
    std::vector<cometd::event> events;
    assert(client.poll_many(events, 100, 30s) > 0 && !events.empty());
    next(client, COMETD_EVENT_MESSAGE);
    const std::uint64_t published = client.publish("/chat", "{\"a\":[1]}");
    assert(next(receiver, COMETD_EVENT_PUBLISHED).id() == published);
    {
        cometd::batch batch(client), moved = std::move(batch);
        client.publish("/chat", "1");
        client.publish("/chat", "2");
        moved.end();
        cometd::batch unused(client);
    }
    next(receiver, COMETD_EVENT_PUBLISHED);
    next(receiver, COMETD_EVENT_PUBLISHED);
    assert(thrown([&] { client.batch_end(); }).status() == COMETD_E_INVALID_STATE);
    const std::string statistics = client.statistics();
    assert(statistics.front() == '{' && statistics.back() == '}' && statistics.find("\"requests\":") != std::string::npos);
    assert(thrown([&] { client.remote_call("/chat", "1", 1s); }).status() == COMETD_E_INVALID_CHANNEL);
    const std::uint64_t called = client.remote_call("/service/echo", "{\"x\":1}", 30s);
    for (bool ended = false; !ended;) {
        assert(receiver.poll(event, 30s) == COMETD_OK);
        ended = event.id() == called && (event.type() == COMETD_EVENT_RESULT || event.type() == COMETD_EVENT_ERROR);
    }
    const std::uint64_t unsubscribed = client.unsubscribe({"/ticks"});
    assert(next(receiver, COMETD_EVENT_UNSUBSCRIBED).id() == unsubscribed);
    assert(receiver.fd() >= 0 && receiver.fd() != client.fd());
    client.disconnect(10s);
    assert(client.wait(COMETD_STATE_CONNECTED, 0ms) == COMETD_CLOSED || client.state() == COMETD_STATE_CLOSED);
    next(receiver, COMETD_EVENT_CLOSED);
    next(client, COMETD_EVENT_CLOSED);
    assert(receiver.poll(event, 10s) == COMETD_CLOSED && event.type() == 0);
}

struct counted {  // tells when the last copy of a callback is gone
    std::shared_ptr<std::atomic<int>> alive;
};

static void callbacks_may_throw() {
    auto alive = std::make_shared<std::atomic<int>>(0);
    std::promise<void> enough, closed;
    int messages = 0, reported = 0;
    {
        cometd::client client = cometd::builder(url).set_bearer_token("T").build();
        client.subscribe("/ticks");
        client.set_callback(
            [&, kept = counted{alive}](cometd::event_view event) {
                if (event.type() == COMETD_EVENT_CLOSED) closed.set_value();
                if (event.type() != COMETD_EVENT_MESSAGE) return;
                if (++messages == 3) enough.set_value();
                throw std::runtime_error("thrown by a callback");
            },
            [&](std::exception_ptr exception) {
                try {
                    std::rethrow_exception(exception);
                } catch (const std::runtime_error &error) {
                    assert(std::string(error.what()) == "thrown by a callback");
                    reported++;
                }
                throw 42;  // even that ends here
            });
        assert(alive.use_count() > 1);
        cometd::event event;
        assert(thrown([&] { client.poll(event, 0ms); }).status() == COMETD_E_INVALID_STATE);
        client.connect();
        assert(enough.get_future().wait_for(30s) == std::future_status::ready);
        client.disconnect(10s);
        assert(closed.get_future().wait_for(30s) == std::future_status::ready);
    }
    // The callback goes with its client, when its last call is over.
    for (auto end = std::chrono::steady_clock::now() + 30s; alive.use_count() > 1;) {
        assert(std::chrono::steady_clock::now() < end);
        std::this_thread::yield();
    }
    assert(messages >= 3 && reported == messages);

    // Without a handler what it throws is dropped; a callback can be removed.
    cometd::client client = connected();
    std::promise<void> called;
    std::atomic<bool> first{true};
    client.set_callback([&](cometd::event_view) {
        if (first.exchange(false)) called.set_value();
        throw 1;
    });
    assert(called.get_future().wait_for(30s) == std::future_status::ready);
    client.remove_callback();
    client.subscribe("/ticks");
    next(client, COMETD_EVENT_MESSAGE);
    client.disconnect(10s);
}

static void token_providers() {
    std::atomic<int> asked{0}, reported{0};
    cometd::client client = cometd::builder(url).set_bearer_token("old").set_backoff(1ms, 1ms).set_token_provider(
        [&](std::int32_t reason) -> std::string {
            assert(reason == COMETD_TOKEN_REFUSED);
            if (asked++ == 0) throw std::runtime_error("no token today");
            return "Bearer T";
        },
        [&](std::exception_ptr) { reported++; }).build();
    client.connect();
    if (client.wait(COMETD_STATE_CONNECTED, 30s) != COMETD_OK) {
        // A provider that gave none may be the end of it, but never a crash.
        assert(client.state() == COMETD_STATE_CLOSED);
        while (next(client, COMETD_EVENT_ERROR).error()->status() != COMETD_E_CREDENTIALS) {}
    }
    assert(reported == 1);
    client.disconnect(10s);

    cometd::client good = cometd::builder(url).set_bearer_token("old").set_token_provider(
        [](std::int32_t) { return "Bearer T"; }).build();
    good.connect();
    assert(good.wait(COMETD_STATE_CONNECTED, 30s) == COMETD_OK);
    good.disconnect(10s);
}

static void replay_stores() {
    std::vector<std::int64_t> saved;
    std::atomic<int> reported{0};
    bool loads = false;
    cometd::builder builder(url);
    builder.set_bearer_token("T").set_replay(COMETD_REPLAY_ALL).set_replay_fallback(COMETD_REPLAY_FAIL);
    builder.set_replay_position("/event/given", 0);
    builder.set_replay_store(
        [&](std::string_view channel) -> std::optional<std::int64_t> {
            assert(channel == "/event/face");
            if (!loads) throw std::runtime_error("no file");
            return std::nullopt;
        },
        [&](std::string_view channel, std::int64_t position) {
            assert(channel == "/event/face");
            saved.push_back(position);
            if (position == 1) throw 1;
        },
        [&](std::exception_ptr) { reported++; });
    cometd::client client = builder.build();
    client.connect();
    cometd::error error = thrown([&] { client.subscribe("/event/face"); });
    assert(error.status() == COMETD_E_SYSTEM && error.channel() == "/event/face" && reported == 1);
    loads = true;
    client.subscribe({"/event/face?filter", "/event/given"});
    client.publish("/event/face", "{\"n\":1}");
    client.publish("/event/face", "2");
    for (std::int64_t id = 1; id <= 2; id++) {
        const cometd::event event = next(client, COMETD_EVENT_MESSAGE);
        assert(event.message()->replay_id() == id && event.message()->retain().replay_id() == id);
        assert(saved.size() == static_cast<std::size_t>(id - 1));
    }
    assert(saved.size() == 2 && saved[1] == 2 && reported == 2);
    assert(client.statistics().find("\"replay_store\":1") != std::string::npos);
    client.set_replay_position("/event/face", 1);
    client.subscribe("/event/face");
    assert(next(client, COMETD_EVENT_MESSAGE).message()->replay_id() == 2);
    assert(thrown([&] { client.set_replay_position("/event/*", 1); }).status() == COMETD_E_INVALID_CHANNEL);
    assert(thrown([&] { client.set_replay_position("/event/face", -3); }).status() == COMETD_E_OUT_OF_RANGE);
    assert(thrown([&] { builder.set_replay(-3); }).status() == COMETD_E_OUT_OF_RANGE);
    assert(thrown([&] { builder.set_replay_fallback(5); }).status() == COMETD_E_OUT_OF_RANGE);
    builder.set_replay_store(nullptr, nullptr);
    client.disconnect(10s);
}

static void extensions_and_handshakes() {
    std::atomic<int> asked{0}, seen{0}, reported{0};
    auto alive = std::make_shared<std::atomic<int>>(0);
    {
        cometd::client client = cometd::builder(url).set_bearer_token("T").set_backoff(1ms, 1ms)
            .set_handshake_provider({})
            .set_handshake_provider([&](cometd::handshake handshake) {
                assert(handshake.attempt() == std::uint32_t(asked + 1) && !handshake.refusal());
                if (asked++ == 0) throw std::runtime_error("not yet");
                handshake.set_fields("{\"ext\":{\"n\":1}}");
                assert(thrown([&] { handshake.set_fields("{\"ext\":1}"); }).status() == COMETD_E_INVALID_JSON);
            }, [&](std::exception_ptr) { reported++; })
            .set_header_provider([&](cometd::request request) {
                assert(request.method() == "POST" && request.url().substr(0, url.size()) == url);
                assert(request.body().front() == '[' && request.phase() != 0);
                request.set_header("X-Signature", std::to_string(request.body().size()));
                assert(thrown([&] { request.set_header("Host", "x"); }).status() == COMETD_E_INVALID_ARGUMENT);
            })
            .add_extension({}, {})
            .add_extension(
                [&, kept = counted{alive}](cometd::extension_message message) {
                    if (message.json().find("\"channel\":\"/chat\"") == std::string_view::npos) return;
                    seen++;
                    if (message.json().find("secret") != std::string_view::npos) return message.drop();
                    message.replace("{\"data\":\"replaced\"}");
                },
                [&](cometd::extension_message message) {
                    assert(!message.json().empty());
                    throw std::runtime_error("thrown by an extension");
                }, [&](std::exception_ptr) { seen++; }).build();
        client.connect();
        const std::uint64_t dropped = client.publish("/chat", "\"secret\"");
        const cometd::event error = next(client, COMETD_EVENT_ERROR);
        assert(error.error()->status() == COMETD_E_CREDENTIALS);  // the provider that threw
        const cometd::event deleted = next(client, COMETD_EVENT_ERROR);
        assert(deleted.id() == dropped && deleted.error()->status() == COMETD_E_MESSAGE_DELETED);
        assert(deleted.error()->bayeux_code() == 404);
        client.subscribe("/chat");
        next(client, COMETD_EVENT_SUBSCRIBED);
        client.publish("/chat", "1");
        assert(next(client, COMETD_EVENT_MESSAGE).message()->data() == "\"replaced\"");
        client.disconnect(10s);
        assert(asked == 2 && reported == 1 && seen > 3);
    }
    for (auto end = std::chrono::steady_clock::now() + 30s; alive.use_count() > 1;) {
        assert(std::chrono::steady_clock::now() < end);
        std::this_thread::yield();
    }
}

static void the_rest() {
    assert(cometd::version() == COMETD_VERSION && !cometd::version_string().empty());
    assert(cometd::status_name(COMETD_E_TLS) == "COMETD_E_TLS" && !cometd::status_text(COMETD_E_TLS).empty());
    assert(cometd::channel_matches("/a/*", "/a/b") && !cometd::channel_matches("/a/*", "/a/b/c"));
    cometd::set_runtime_threads(1);
    assert(thrown([] { cometd::set_runtime_threads(0); }).status() == COMETD_E_OUT_OF_RANGE);
    std::atomic<int> lines{0}, reported{0};
    cometd::set_log(COMETD_LOG_INFO,
        [&](std::int32_t level, std::string_view target, std::string_view text) {
            assert(level <= COMETD_LOG_INFO && target.substr(0, 6) == "cometd" && !text.empty());
            lines++;
            throw 1;
        },
        [&](std::exception_ptr) { reported++; });
    connected().disconnect(10s);
    cometd::remove_log();
    assert(lines > 0 && lines == reported);
    assert(thrown([] { cometd::set_log(99, [](std::int32_t, std::string_view, std::string_view) {}); }).status() == COMETD_E_OUT_OF_RANGE);
}

/* The last of all: nothing of the program's is called behind it. */
static void a_callback_that_ends_its_thread() {
    std::atomic<int> calls{0}, cleaned{0};
    cometd::client client = cometd::builder(url).build();
    struct counter {
        std::atomic<int> &count;
        ~counter() { count++; }
    };
    client.set_callback([&](cometd::event_view) {
        counter cleans_up{cleaned};
        calls++;
        pthread_exit(nullptr);
    });
    client.connect();
    for (auto end = std::chrono::steady_clock::now() + 30s; cleaned == 0;) {
        assert(std::chrono::steady_clock::now() < end);
        std::this_thread::yield();
    }
    client.disconnect(10s);
    assert(calls == 1 && cleaned == 1);
}

int main(int, char **argv) {
    url = argv[1];
    errors_tell_what_is_known();
    proxies_and_certificates_are_checked_at_once();
    every_option_is_there();
    owners_move();
    bytes();
    polls_and_receivers();
    callbacks_may_throw();
    token_providers();
    replay_stores();
    extensions_and_handshakes();
    the_rest();
    a_callback_that_ends_its_thread();
    std::cout << "ok\n";
}
