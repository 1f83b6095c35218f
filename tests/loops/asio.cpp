// cometd/asio.hpp against the demo server, whose URL is the argument: completion tokens of
// C++17, coroutines of C++20, what is given up, and two streams in one context.
#undef NDEBUG
#include <cometd/asio.hpp>

#ifdef COMETD_BOOST_ASIO
#include <boost/asio.hpp>
namespace asio = boost::asio;
using error_code = boost::system::error_code;
#else
#include <asio.hpp>
using error_code = asio::error_code;
#endif

#include <cassert>
#include <cstring>
#include <functional>
#include <iostream>

using namespace std::chrono_literals;

static std::string url;

// A client that is connected, has nothing to give, and a receiver of it.
struct quiet {
    cometd::client client = cometd::builder(url).bearer_token("T").build();
    cometd::receiver receiver{client};

    quiet() {
        client.connect();
        assert(client.wait(cometd::state::connected, 30s) == cometd::status::ok);
        for (const auto id = client.publish("/quiet", "1"); client.poll(30s).value().id() != id;) {}
    }
};

static void callbacks_until_the_end() {
    quiet of;
    asio::io_context context(1);
    cometd::event_stream first(context, of.client);
    cometd::receiver_stream second(context.get_executor(), of.receiver);
    std::size_t events = 0, closed = 0, ended = 0;
    std::function<void(error_code, std::optional<cometd::event>)> from_first, from_second;
    const auto count = [&](error_code failed, const std::optional<cometd::event> &event) {
        assert(!failed);
        events += event ? 1 : 0;
        closed += event && event->type() == cometd::event_type::closed ? 1 : 0;
        ended += event ? 0 : 1;
        return event.has_value();
    };
    bool inside = false;
    from_first = [&](error_code failed, const std::optional<cometd::event> &event) {
        assert(!inside);
        if (!count(failed, event)) return;
        inside = true;
        first.async_next(from_first);
        inside = false;
    };
    from_second = [&](error_code failed, const std::optional<cometd::event> &event) {
        if (count(failed, event)) second.async_next(from_second);
    };
    first.async_next(from_first);
    second.async_next(from_second);
    of.client.subscribe("/ticks");
    asio::steady_timer timer(context, 200ms);
    timer.async_wait([&](error_code) { of.client.disconnect(0s); });
    context.run();
    assert(closed == 2 && ended == 2 && events > 4);
    // There is nothing behind the end, which is told again.
    context.restart();
    first.async_next([&](error_code failed, const std::optional<cometd::event> &event) { ended += !failed && !event ? 1 : 0; });
    context.run();
    assert(ended == 3);
}

static void given_up() {
    quiet of;
    asio::io_context context(1);
    cometd::event_stream events(context, of.client);
    bool aborted = false;
    events.async_next([&](error_code failed, const std::optional<cometd::event> &event) {
        aborted = failed == asio::error::operation_aborted && !event;
    });
    asio::post(context, [&] { events.cancel(); });
    context.run();
    assert(aborted);
    // What comes later is not lost.
    const std::uint64_t id = of.client.publish("/quiet", "2");
    std::uint64_t came = 0;
    context.restart();
    events.async_next([&](error_code failed, const std::optional<cometd::event> &event) {
        assert(!failed);
        came = event->id();
    });
    context.run();
    assert(came == id);
#if !defined(COMETD_BOOST_ASIO) && ASIO_VERSION >= 102000
    asio::cancellation_signal signal;
    aborted = false;
    events.async_next(asio::bind_cancellation_slot(signal.slot(), [&](error_code failed, const std::optional<cometd::event> &) {
        aborted = failed == asio::error::operation_aborted;
    }));
    asio::post(context, [&] { signal.emit(asio::cancellation_type::total); });
    context.restart();
    context.run();
    assert(aborted);
#endif
    of.client.disconnect(10s);
}

// Who has a callback cannot be polled: the call fails, with the library's own code.
static void failures() {
    quiet of;
    asio::io_context context(1);
    cometd::event_stream events(context, of.client);
    of.client.set_callback([](const cometd::event_view &) {});
    bool failed_so = false;
    events.async_next([&](error_code failed, const std::optional<cometd::event> &event) {
        failed_so = !event && failed.value() == static_cast<int>(cometd::status::invalid_state) &&
                    std::strcmp(failed.category().name(), "cometd") == 0 && !failed.message().empty();
    });
    context.run();
    assert(failed_so);
    cometd::client nobody;
    cometd::event_stream nothing(context, nobody);
    failed_so = false;
    nothing.async_next([&](error_code failed, const std::optional<cometd::event> &) { failed_so = bool(failed); });
    context.restart();
    context.run();
    assert(failed_so);
    of.client.disconnect(10s);
}

#if defined(ASIO_HAS_CO_AWAIT) || defined(BOOST_ASIO_HAS_CO_AWAIT)
static asio::awaitable<void> coroutine(cometd::client &client, std::size_t &messages, bool &closed) {
    cometd::event_stream events(co_await asio::this_coro::executor, client);
    while (const std::optional<cometd::event> event = co_await events.next()) {
        closed = event->type() == cometd::event_type::closed;
        if (event->type() == cometd::event_type::message && ++messages == 3) client.disconnect(0s);
    }
}

static void coroutines() {
    quiet of;
    asio::io_context context(1);
    std::size_t messages = 0;
    bool closed = false;
    of.client.subscribe("/ticks");
    asio::co_spawn(context, coroutine(of.client, messages, closed), [](std::exception_ptr thrown) { assert(!thrown); });
    context.run();
    assert(messages >= 3 && closed);
}
#else
static void coroutines() {}
#endif

int main(int, char **argv) {
    url = argv[1];
    callbacks_until_the_end();
    given_up();
    failures();
    coroutines();
    std::cout << "ok\n";
}
