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
#include <mutex>
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
    assert(false && "nothing was thrown");
    std::abort();
}

// The first error of a builder, which builds nothing as long as it has one.
static cometd::status refusal(cometd::builder &builder) {
    assert(!builder);
    const cometd::status status = builder.error()->status();
    assert(thrown([&] { (void)builder.build(); }).status() == status && builder.try_build().status() == status);
    builder.clear_error();
    assert(builder && !builder.error());
    return status;
}

static cometd::status refusal(cometd::builder &&builder) { return refusal(builder); }

static cometd::client connected() {
    cometd::client client = cometd::builder(url).bearer_token("T").build();
    client.connect();
    assert(client.wait(cometd::state::connected, 30s) == cometd::status::ok);
    return client;
}

// Polls until an event of the type comes.
template <class Source>
static cometd::event next(Source &source, cometd::event_type type) {
    cometd::event event;
    while (source.poll(event, 30s) == cometd::status::ok) {
        if (event.type() == type) return event;
    }
    assert(false && "the event did not come");
    std::abort();
}

static void proxies_and_certificates_are_checked_at_once() {
    cometd::builder builder(url);
    builder.proxy("http://127.0.0.1:1").proxy("");
    assert(refusal(builder.proxy("socks4://proxy")) == cometd::status::invalid_url);
    for (std::string_view pem : {std::string_view(), std::string_view("x")}) {
        assert(refusal(builder.certificate_authorities(pem, true)) == cometd::status::invalid_argument);
        assert(refusal(builder.client_certificate(pem, pem)) == cometd::status::invalid_argument);
    }
    assert(refusal(builder.minimum_tls_version(cometd::tls_version(3))) == cometd::status::out_of_range);
    builder.minimum_tls_version(cometd::tls_version::v1_3);
    // One that succeeds later is forgotten, another one is not.
    builder.proxy("x").timeout(-1ms).proxy("");
    assert(refusal(builder) == cometd::status::out_of_range);
    cometd::client client = builder.bearer_token("T").build();
    client.connect();
    assert(client.wait(cometd::state::connected, 30s) == cometd::status::ok);
}

static void errors_tell_what_is_known() {
    cometd::error error = thrown([] { static_cast<void>(cometd::builder("ftp://localhost/").build()); });
    assert(error.status() == cometd::status::invalid_url && error.phase() == cometd::phase::call);
    assert(std::strstr(error.what(), "ftp") && !error.is_fatal() && error.http_status() == 0 && error.websocket_code() == 0);
    assert(!error.bayeux() && error.bayeux_code() == 0 && !error.channel() && !error.retry_in());
    assert(refusal(cometd::builder(url).bearer_token("a\r\nb")) == cometd::status::invalid_header);
    assert(refusal(cometd::builder(url).bearer_token(std::string("a\0b", 3))) == cometd::status::invalid_argument);
    assert(refusal(cometd::builder(url).handshake_ext({})) == cometd::status::invalid_json);
    assert(refusal(cometd::builder(url).timeout(-1ms)) == cometd::status::out_of_range);
    assert(refusal(cometd::builder(url).transports({})) == cometd::status::invalid_argument);
    assert(refusal(cometd::builder(url).transports(std::vector<cometd::transport>())) == cometd::status::invalid_argument);
    assert(refusal(cometd::builder(url).transports({cometd::transport(3)})) == cometd::status::out_of_range);
    assert(refusal(cometd::builder(url).websocket_path("//elsewhere/")) == cometd::status::invalid_argument);
    assert(refusal(cometd::builder(url).websocket_protocol("a b")) == cometd::status::invalid_header);
    assert(refusal(cometd::builder(url).ping_interval(-1ms)) == cometd::status::out_of_range);
    cometd::client client = cometd::builder(url).build();
    error = thrown([&] { client.subscribe({"/a", "b"}); });
    assert(error.status() == cometd::status::invalid_channel && std::strstr(error.what(), "channels[1]"));
    assert(error.client() == std::string(client.name()) && !error.url() && !error.ext() && !error.bayeux_json());
    assert(refusal(cometd::builder(url).name("")) == cometd::status::invalid_argument);
    assert(thrown([&] { client.subscribe(std::vector<std::string>()); }).status() == cometd::status::invalid_argument);
    assert(thrown([&] { client.publish("/a", "no json"); }).status() == cometd::status::invalid_json);
    assert(thrown([&] { client.publish("/a", std::string_view()); }).status() == cometd::status::invalid_json);
    cometd::event event;
    assert(thrown([&] { (void)client.poll(event, -2ms); }).status() == cometd::status::out_of_range);
    assert(thrown([&] { client.disconnect(cometd::forever); }).status() == cometd::status::out_of_range);
    client.connect();
    // Where the refusal is quicker, the client has ended.
    const cometd::status again = thrown([&] { client.connect(); }).status();
    assert(again == cometd::status::invalid_state || again == cometd::status::is_closed);
    // The server refuses who does not have the token.
    const cometd::event refused = next(client, cometd::event_type::error);
    assert(refused.error()->bayeux() == "403::handshake_denied" && refused.error()->bayeux_code() == 403);
    assert(refused.error()->is_fatal() && !refused.error()->retry_in() && !refused.channel());
    assert(refused.error()->client() == client.name() && *refused.error()->url() == std::string(url) + "/handshake");
    assert(!refused.ext() && !refused.is_renewed());
    const cometd_error_view seen = refused.error()->look();
    assert(seen.bayeux_code == 403 && seen.is_fatal == 1 && seen.retry_in_ms == -1);
    assert(std::string_view(seen.message, seen.message_len) == refused.error()->message());
    const std::optional<cometd::error> last = client.last_error();
    assert(last && last->status() == cometd::status::refused && last->url() == std::string(*refused.error()->url()));
    assert(last->ext().has_value() == refused.error()->ext().has_value());
    assert(last->bayeux_json().has_value() == refused.error()->bayeux_json().has_value());
}

static void every_option_is_there() {
    cometd::client client = cometd::builder(url)
        .handshake_base_path("h/").subscribe_base_path("s/").connect_base_path("c/")
        .disconnect_base_path("").append_message_type(cometd::append::always)
        .basic_auth("user").basic_auth("user", "password").authorization("OAuth abc").bearer_token("T")
        .token_provider([](cometd::token_reason) { return std::nullopt; }).token_provider({})
        .handshake_provider([](cometd::handshake) {}).handshake_provider({})
        .header_provider([](cometd::request) {}).header_provider({}).add_extension({}, {})
        .add_cookie("name", "value").add_header("X-Name", "value").handshake_ext("{\"a\":1}")
        .timeout(1s).interval(0s).request_timeout(5s).number_of_retries(cometd::retry_forever)
        .backoff(10ms, 20ms).events_capacity(100, 100000).commands_capacity(100)
        .overflow(cometd::overflow::drop_oldest).response_capacity(100000).own_receiver(true).acknowledgement(false)
        .name("every option").resume("").fail_fast(true).await_credentials(false).websocket_path("ws").websocket_protocol("")
        .ping_interval(1s).transports({cometd::transport::long_polling}).build();
    assert(client.name() == "every option" && !client.session_id() && !client.last_error());
    assert(client.state() == cometd::state::idle && client.fd() >= 0 && client.transport() == cometd::transport());
    client.connect();
    assert(client.wait(cometd::state::connected, 30s) == cometd::status::ok);
    assert(client.session_id() && !client.session_id()->empty());
    client.set_authorization("Bearer T");
    client.disconnect(10s);
    assert(!client.session_id());
}

static void owners_move() {
    cometd::client first = connected();
    cometd::client second = std::move(first);
    const std::uint64_t id = second.subscribe("/ticks");
    assert(next(second, cometd::event_type::subscribed).id() == id);
    cometd::event event = next(second, cometd::event_type::message);
    cometd::event moved = std::move(event);
    assert(!event && event.type() == cometd::event_type() && !event.message() && !event.view());
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
    assert(cometd::client(raw).state() == cometd::state::idle);
}

static void bytes() {
    cometd::client client = connected();
    client.subscribe("/bytes");
    next(client, cometd::event_type::subscribed);
    const std::string some("\x86\0\xff", 3);
    client.publish_binary("/bytes", some, false, "{\"n\":1}");
    cometd::event event = next(client, cometd::event_type::message);
    assert(event.message()->is_binary() && event.message()->binary() == some);
    assert(!event.message()->binary_is_last() && event.message()->binary_meta() == "{\"n\":1}");
    client.publish_binary("/bytes", {});
    event = next(client, cometd::event_type::message);
    assert(event.message()->binary() == "" && event.message()->binary_is_last());
    assert(thrown([&] { client.publish_binary("/bytes", some, true, "1"); }).status() == cometd::status::invalid_json);
    client.disconnect(10s);
}

static void many_at_once(cometd::client &client) {
    cometd::event_list list = client.poll_many(100, 30s);
    assert(list && list.size() == static_cast<std::size_t>(std::distance(list.begin(), list.end())));
    std::size_t seen = 0;
    for (const cometd::event_view event : list) {
        assert(event && event.get() == list[seen].get());
        seen++;
    }
    const cometd::event first = list.take(0);
    assert(seen == list.size() && first && !list[0]);
    cometd::event_list moved = std::move(list);
    assert(!list && list.begin() == list.end() && moved.size() == seen);
    assert(client.poll_many(moved, 2, 30s) <= 2 && moved && first.type() == cometd::event_type::state);
    moved.clear();
    assert(moved.empty() && client.poll_many(moved, 0, 0s) == 0);
    client.subscribe("/ticks");
    assert(client.poll_events(moved, 100, 30s) == cometd::status::ok && moved);
    const std::vector<cometd_event_view> looks = moved.look();
    assert(looks.size() == moved.size() && looks[0].type == static_cast<std::int32_t>(moved[0].type()));
    assert(thrown([&] { (void)client.poll_events(moved, 0, 0s); }).status() == cometd::status::out_of_range && !moved);
}

static void polls_and_receivers() {
    cometd::client client = cometd::builder(url).bearer_token("T").build();
    cometd::receiver receiver(client);
    cometd::event event;
    assert(client.poll(event, 0ms) == cometd::status::none && !event);
    client.connect();
    const std::uint64_t denied = client.subscribe({"/ticks", "/denied/x"});
    std::set<std::string> ended;
    while (ended.size() < 2) {
        assert(receiver.poll(event, 30s) == cometd::status::ok);
        if (event.type() == cometd::event_type::state && event.state() == cometd::state::handshaking) {
            assert(event.previous_state() == cometd::state::idle);
        }
        if (event.id() == denied) ended.insert(std::string(*event.channel()));
        if (event.error()) assert(event.error()->channel() == "/denied/x" && event.error()->phase() == cometd::phase::subscribe);
    }
    assert(ended == std::set<std::string>({"/denied/x", "/ticks"}));
    many_at_once(client);
    next(client, cometd::event_type::message);
    const std::uint64_t published = client.publish("/chat", "{\"a\":[1]}");
    assert(next(receiver, cometd::event_type::published).id() == published);
    int caller = 0;
    client.publish("/chat", "0", &caller);
    assert(next(receiver, cometd::event_type::published).opaque() == &caller);
    client.subscribe({"/chat/a", "/chat/b"}, &caller);
    assert(next(receiver, cometd::event_type::subscribed).opaque() == &caller);
    assert(next(receiver, cometd::event_type::subscribed).opaque() == &caller);
    {
        cometd::batch batch(client), moved = std::move(batch);
        client.publish("/chat", "1");
        client.publish("/chat", "2");
        moved.end();
        cometd::batch unused(client);
    }
    next(receiver, cometd::event_type::published);
    next(receiver, cometd::event_type::published);
    {
        cometd::batch batch(client);
        cometd::client elsewhere = std::move(client);
        elsewhere.publish("/chat", "3");
        batch.end();
        cometd::batch last(elsewhere);
        client = std::move(elsewhere);
        client.publish("/chat", "4");
    }
    next(receiver, cometd::event_type::published);
    next(receiver, cometd::event_type::published);
    assert(thrown([&] { client.batch_end(); }).status() == cometd::status::invalid_state);
    const std::string statistics = client.statistics();
    assert(statistics.front() == '{' && statistics.back() == '}' && statistics.find("\"requests\":") != std::string::npos);
    assert(thrown([&] { client.remote_call("/chat", "1", 1s); }).status() == cometd::status::invalid_channel);
    const std::uint64_t called = client.remote_call("/service/echo", "{\"x\":1}", 30s);
    for (bool answered = false; !answered;) {
        assert(receiver.poll(event, 30s) == cometd::status::ok);
        answered = event.id() == called && (event.type() == cometd::event_type::result || event.type() == cometd::event_type::error);
    }
    const std::uint64_t unsubscribed = client.unsubscribe({"/ticks"});
    assert(next(receiver, cometd::event_type::unsubscribed).id() == unsubscribed);
    assert(receiver.fd() >= 0 && receiver.fd() != client.fd());
    client.disconnect(10s);
    assert(client.wait(cometd::state::connected, 0ms) == cometd::status::closed || client.state() == cometd::state::closed);
    next(receiver, cometd::event_type::closed);
    next(client, cometd::event_type::closed);
    assert(receiver.poll(event, 10s) == cometd::status::closed && !event);
}

static void every_event_by_for() {
    cometd::client client = connected();
    client.subscribe("/ticks");
    std::size_t messages = 0;
    bool closed = false;
    for (cometd::event &event : client.events(30s)) {
        closed = event.type() == cometd::event_type::closed;
        if (event.type() == cometd::event_type::message && ++messages == 3) client.disconnect(0s);
    }
    assert(closed && messages >= 3);
    assert(!client.poll() && client.poll_many(1).empty());
    cometd::event_list none;
    assert(client.poll_events(none, 1) == cometd::status::closed && none.empty());
    for (cometd::event &event : client.events()) assert(!event);
}

// The same calls without exceptions.
static void results() {
    cometd::result<cometd::client> built = cometd::builder(url).bearer_token("T").try_build();
    assert(built && built.has_value() && built.code() == std::error_code() && built.status() == cometd::status::ok);
    cometd::client client = std::move(built).value();
    assert(!*built && client);
    assert(client.try_connect() && client.try_wait(cometd::state::connected, 30s).value_or({}) == cometd::status::ok);
    const cometd::result<std::uint64_t> id = client.try_publish("/chat", "1");
    assert(id && next(client, cometd::event_type::published).id() == *id);
    assert(id.value() == *id);
    const cometd::result<std::uint64_t> refused = client.try_publish("chat", "1");
    assert(!refused && refused.status() == cometd::status::invalid_channel);
    assert(refused.error().what() == std::string(thrown([&] { client.publish("chat", "1"); }).what()));
    assert(client.try_subscribe(std::string("/a\0b", 4)).status() == cometd::status::invalid_argument);
    assert(client.try_subscribe({"/a", std::string_view("/a\0b", 4)}).status() == cometd::status::invalid_argument);
    assert(client.try_batch_end().status() == cometd::status::invalid_state);
    assert(cometd::receiver::try_of(cometd::client()).status() == cometd::status::invalid_argument);
    const cometd::result<std::optional<cometd::event>> none = cometd::client().try_poll();
    assert(!none && none.code() == cometd::status::invalid_argument && none.code() == std::errc::invalid_argument);
    assert(client.try_disconnect(10s) && !cometd::builder(url).bearer_token("").try_build());
}

static void error_codes() {
    const std::error_code code = cometd::status::timeout;
    assert(code.category() == cometd::category() && code.category().name() == std::string("cometd"));
    assert(code == std::errc::timed_out && code.message() == cometd::text(cometd::status::timeout));
    // One of a later library.
    const auto unknown = cometd::status(-999);
    assert(cometd::name(unknown) == "COMETD_UNKNOWN" && make_error_code(unknown).value() == -999);
    assert(make_error_code(unknown) != std::errc::timed_out);
    try {
        cometd::client().connect();
        assert(false && "nothing was thrown");
    } catch (const std::system_error &error) {
        assert(error.code() == cometd::status::invalid_argument && std::string(error.what()).size() > 8);
    }
}

static void durations_are_cut() {
    using limits = std::numeric_limits<std::int32_t>;
    static_assert(cometd::duration(1500us).count() == 2 && cometd::duration(-1500us).count() == -1);
    static_assert(cometd::duration(1us).count() == 1 && cometd::duration(0s).count() == 0);
    static_assert(cometd::duration(cometd::forever).count() == -1);
    static_assert(cometd::duration(std::chrono::hours::max()).count() == limits::max());
    static_assert(cometd::duration(std::chrono::hours::min()).count() == limits::min());
    static_assert(cometd::duration(std::chrono::milliseconds(limits::max())).count() == limits::max());
    static_assert(cometd::duration(std::chrono::duration<double>(0.25)).count() == 250);
    const std::chrono::duration<double> nothing(std::numeric_limits<double>::quiet_NaN());
    assert(cometd::duration(nothing).count() == limits::min());
}

static void functions_that_are_only_moved() {
    using function = cometd::move_only_function<int(int)>;
    static_assert(moves_only<function>);
    function adds = [one = std::make_unique<int>(1)](int to) { return to + *one; };
    function moved = std::move(adds);
    assert(moved && moved(2) == 3);
    adds = nullptr;
    adds = std::move(moved);
    // NOLINTNEXTLINE(bugprone-use-after-move): it says so
    assert(adds && !moved && adds(3) == 4);
    assert(!function() && !function(nullptr) && !function(std::function<int(int)>()) && !function(static_cast<int (*)(int)>(nullptr)));
    // One without a result has succeeded.
    cometd::move_only_function<cometd::status()> silent = [] {};
    assert(silent() == cometd::status::ok);
}

static void options_by_name() {
    const std::vector<cometd::option> all = cometd::options();
    assert(!all.empty() && cometd::find_option(all[0].name())->get() == all[0].get() && !cometd::find_option("none"));
    const std::optional<cometd::option> retries = cometd::find_option("number_of_retries");
    assert(retries && retries->setter() == "cometd_client_builder_set_number_of_retries" && !retries->is_secret());
    assert(!retries->type().empty() && !retries->description().empty() && retries->default_value() == "forever");
    for (const cometd::option &option : all) assert(!option.name().empty() && option.unit().data() && option.range().data());
    cometd::builder builder(url);
    builder.set("number_of_retries", "5").set(std::string_view("timeout_ms"), "1000");
    assert(builder && refusal(builder.set("number_of_retries", "x")) != cometd::status::ok);
    // One that chains can be kept.
    cometd::builder kept = cometd::builder(url).number_of_retries(5).bearer_token("T");
    assert(kept.build());
}

struct counted {  // tells when the last copy of a callback is gone
    std::shared_ptr<std::atomic<int>> alive;
};

static void callbacks_may_throw() {
    auto alive = std::make_shared<std::atomic<int>>(0);
    std::promise<void> enough, closed;
    int messages = 0, reported = 0;
    {
        cometd::client client = cometd::builder(url).bearer_token("T").build();
        client.subscribe("/ticks");
        client.set_callback(
            [&, kept = counted{alive}](cometd::event_view event) {
                if (event.type() == cometd::event_type::closed) closed.set_value();
                if (event.type() != cometd::event_type::message) return;
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
        assert(thrown([&] { (void)client.poll(event, 0ms); }).status() == cometd::status::invalid_state);
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
    next(client, cometd::event_type::message);
    client.disconnect(10s);
}

static void wakes_and_many_events() {
    auto alive = std::make_shared<std::atomic<int>>(0);
    std::atomic<int> woken{0}, reported{0}, messages{0};
    cometd::client client = cometd::builder(url).bearer_token("T").build();
    client.set_wake([&woken, kept = counted{alive}] { woken++; });
    assert(client.try_set_callback([](cometd::event_view) {}).error().status() == cometd::status::invalid_state);
    client.subscribe("/ticks");
    client.connect();
    const auto end = std::chrono::steady_clock::now() + 30s;
    while (woken < 2) {  // It is told anew when all was polled.
        assert(std::chrono::steady_clock::now() < end);
        for (auto &event : client.events(0ms)) assert(event);
        std::this_thread::yield();
    }
    client.remove_wake();
    while (alive.use_count() != 1) {
        assert(std::chrono::steady_clock::now() < end);
        std::this_thread::yield();
    }
    client.set_events_callback(
        [&](const cometd::event_span &events) {
            assert(!events.empty() && events[0].get() == (*events.begin()).get());
            std::size_t seen = 0;
            for (auto event : events) {
                seen++;
                if (event.type() == cometd::event_type::message) messages++;
                assert(event.data().empty() == !event.message().has_value());
            }
            assert(seen == events.size());
            throw 1;
        },
        [&](std::exception_ptr) { reported++; });
    while (messages < 3 || reported == 0) {
        assert(std::chrono::steady_clock::now() < end);
        std::this_thread::yield();
    }
    client.remove_events_callback();
    client.disconnect(10s);
}

static void token_providers() {
    std::atomic<int> asked{0}, reported{0};
    cometd::client client = cometd::builder(url).bearer_token("old").backoff(1ms, 1ms).token_provider(
        [&](cometd::token_reason reason) -> std::string {
            assert(reason == cometd::token_reason::refused);
            if (asked++ == 0) throw std::runtime_error("no token today");
            return "Bearer T";
        },
        [&](std::exception_ptr) { reported++; }).build();
    client.connect();
    if (client.wait(cometd::state::connected, 30s) != cometd::status::ok) {
        // A provider that gave none may be the end of it, but never a crash.
        assert(client.state() == cometd::state::closed);
        for (bool told = false; !told;) {
            const cometd::event error = next(client, cometd::event_type::error);
            told = error.error()->status() == cometd::status::credentials;
        }
    }
    assert(reported == 1);
    client.disconnect(10s);

    cometd::client good = cometd::builder(url).bearer_token("old").token_provider(
        [](cometd::token_reason) { return "Bearer T"; }).build();
    good.connect();
    assert(good.wait(cometd::state::connected, 30s) == cometd::status::ok);
    good.disconnect(10s);
}

// Providers that answer from another thread, after they have returned.
static void answers_that_come_later() {
    std::vector<std::thread> answering;
    std::mutex mutex;
    const auto later = [&](auto answer) {
        const std::lock_guard<std::mutex> lock(mutex);
        answering.emplace_back(std::move(answer));
    };
    cometd::client client = cometd::builder(url)
        .bearer_token("old")
        .token_provider([&](cometd::token_reason, cometd::token token) {
            later([kept = token.retain()]() mutable { kept.set_authorization("Bearer T"); });
        })
        .handshake_provider([&](cometd::handshake handshake) {
            later([kept = handshake.retain()]() mutable {
                cometd::kept_handshake moved = std::move(kept);
                assert(moved && !kept && kept.get() == nullptr && moved.attempt() >= 1);
                moved.set_fields("{}");
            });
        })
        .header_provider([&](cometd::request request) {
            later([kept = request.retain()]() mutable { kept.set_header("X-Later", kept.method()); });
        })
        .build();
    client.connect();
    assert(client.wait(cometd::state::connected, 30s) == cometd::status::ok);
    client.disconnect(10s);
    for (std::thread &each : answering) each.join();

    cometd::client refused = cometd::builder(url).number_of_retries(0).handshake_provider([](cometd::handshake handshake) {
        handshake.retain().fail("nobody is at home");
    }).build();
    refused.connect();
    const cometd::event told = next(refused, cometd::event_type::error);
    assert(told.error()->status() == cometd::status::credentials);
    assert(told.error()->message().find("nobody is at home") != std::string_view::npos);
}

static void flushes() {
    cometd::client client = cometd::builder(url).bearer_token("T").build();
    client.publish("/chat", "1");
    assert(client.try_flush(0s).status() == cometd::status::invalid_state);
    client.connect();
    assert(client.flush(30s) == cometd::status::ok);
    client.disconnect(10s);
}

static void replay_stores() {
    std::vector<std::int64_t> saved;
    std::atomic<int> reported{0};
    bool loads = false;
    cometd::builder builder(url);
    builder.bearer_token("T").replay(cometd::replay_all).replay_fallback(cometd::replay_fail);
    builder.replay_position("/event/given", 0);
    builder.replay_store(
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
    assert(error.status() == cometd::status::system && error.channel() == "/event/face" && reported == 1);
    loads = true;
    client.subscribe({"/event/face?filter", "/event/given"});
    client.publish("/event/face", "{\"n\":1}");
    client.publish("/event/face", "2");
    for (std::int64_t id = 1; id <= 2; id++) {
        const cometd::event event = next(client, cometd::event_type::message);
        assert(event.message()->replay_id() == id && event.message()->retain().replay_id() == id);
        assert(saved.size() == static_cast<std::size_t>(id - 1));
    }
    assert(saved.size() == 2 && saved[1] == 2 && reported == 2);
    assert(client.statistics().find("\"replay_store\":1") != std::string::npos);
    client.set_replay_position("/event/face", 1);
    client.subscribe("/event/face");
    const cometd::event again = next(client, cometd::event_type::message);
    assert(again.message()->replay_id() == 2);
    assert(thrown([&] { client.set_replay_position("/event/*", 1); }).status() == cometd::status::invalid_channel);
    assert(thrown([&] { client.set_replay_position("/event/face", -3); }).status() == cometd::status::out_of_range);
    assert(refusal(builder.replay(-3)) == cometd::status::out_of_range);
    assert(refusal(builder.replay_fallback(5)) == cometd::status::out_of_range);
    builder.replay_store(nullptr, nullptr);
    client.disconnect(10s);
}

static void extensions_and_handshakes() {
    std::atomic<int> asked{0}, seen{0}, reported{0};
    auto alive = std::make_shared<std::atomic<int>>(0);
    {
        cometd::client client = cometd::builder(url).bearer_token("T").backoff(1ms, 1ms)
            .handshake_provider({})
            .handshake_provider([&](cometd::handshake handshake) {
                assert(handshake.attempt() == std::uint32_t(asked + 1) && !handshake.refusal());
                if (asked++ == 0) throw std::runtime_error("not yet");
                handshake.set_fields("{\"ext\":{\"n\":1}}");
                assert(thrown([&] { handshake.set_fields("{\"ext\":1}"); }).status() == cometd::status::invalid_json);
            }, [&](std::exception_ptr) { reported++; })
            .header_provider([&](cometd::request request) {
                assert(request.method() == "POST" && request.url().substr(0, url.size()) == url);
                assert(request.body().front() == '[' && request.phase() != cometd::phase());
                request.set_header("X-Signature", std::to_string(request.body().size()));
                assert(thrown([&] { request.set_header("Host", "x"); }).status() == cometd::status::invalid_argument);
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
        const cometd::event error = next(client, cometd::event_type::error);
        assert(error.error()->status() == cometd::status::credentials);  // the provider that threw
        const cometd::event deleted = next(client, cometd::event_type::error);
        assert(deleted.id() == dropped && deleted.error()->status() == cometd::status::message_deleted);
        assert(deleted.error()->bayeux_code() == 404);
        client.subscribe("/chat");
        next(client, cometd::event_type::subscribed);
        client.publish("/chat", "1");
        const cometd::event replaced = next(client, cometd::event_type::message);
        assert(replaced.data() == "\"replaced\"");
        client.disconnect(10s);
        assert(asked == 2 && reported == 1 && seen > 3);
    }
    for (auto end = std::chrono::steady_clock::now() + 30s; alive.use_count() > 1;) {
        assert(std::chrono::steady_clock::now() < end);
        std::this_thread::yield();
    }
}

static void the_rest() {
    assert(cometd::version() == cometd::header_version && !cometd::version_string().empty());
    assert(cometd::name(cometd::status::tls) == "COMETD_E_TLS" && !cometd::text(cometd::status::tls).empty());
    assert(cometd::channel_matches("/a/*", "/a/b") && !cometd::channel_matches("/a/*", "/a/b/c"));
    cometd::set_runtime_threads(1);
    assert(thrown([] { cometd::set_runtime_threads(0); }).status() == cometd::status::out_of_range);
    std::atomic<int> lines{0}, reported{0};
    cometd::set_log(cometd::log_level::info,
        [&](cometd::log_level level, std::string_view target, std::string_view text) {
            assert(level <= cometd::log_level::info && target.substr(0, 6) == "cometd" && !text.empty());
            lines++;
            throw 1;
        },
        [&](std::exception_ptr) { reported++; });
    connected().disconnect(10s);
    cometd::remove_log();
    assert(lines > 0 && lines == reported);
    assert(thrown([] { cometd::set_log(cometd::log_level(99), [](cometd::log_level, std::string_view, std::string_view) {}); }).status() == cometd::status::out_of_range);
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
    every_event_by_for();
    results();
    error_codes();
    durations_are_cut();
    functions_that_are_only_moved();
    options_by_name();
    flushes();
    callbacks_may_throw();
    wakes_and_many_events();
    token_providers();
    answers_that_come_later();
    replay_stores();
    extensions_and_handshakes();
    the_rest();
    a_callback_that_ends_its_thread();
    std::cout << "ok\n";
}
