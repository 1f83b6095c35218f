// Prints what comes on a channel, from an Asio context that has other work as well:
// here a clock, and Ctrl-C. With Boost.Asio when COMETD_BOOST_ASIO is defined.
//
//   loop_asio URL CHANNEL
//
// Exits with 0 after Ctrl-C, 1 when something failed for good, 2 when called the
// wrong way.
#include <cometd/asio.hpp>

#ifdef COMETD_BOOST_ASIO
#include <boost/asio.hpp>
namespace asio = boost::asio;
#else
#include <asio.hpp>
#endif
#include <iostream>
#include <string>

using namespace std::chrono_literals;

static asio::awaitable<void> clock_ticks() {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (;;) {
        timer.expires_after(1s);
        co_await timer.async_wait(asio::use_awaitable);
        std::cerr << "the loop goes on\n";
    }
}

static asio::awaitable<void> print(cometd::client &client, int &failed) {
    cometd::event_stream events(co_await asio::this_coro::executor, client);
    while (const std::optional<cometd::event> event = co_await events.next()) {
        if (event->message()) std::cout << event->data() << std::endl;
        if (event->type() == cometd::event_type::subscribed) std::cerr << "subscribed\n";
        if (const auto error = event->error()) {
            std::cerr << "error " << error->message() << '\n';
            if (error->is_fatal()) failed = 1;
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        std::cerr << "usage: loop_asio URL CHANNEL\n";
        return 2;
    }
    try {
        int failed = 0;
        cometd::client client = cometd::builder(argv[1]).build();
        client.subscribe(argv[2]);
        client.connect();

        asio::io_context context(1);
        asio::signal_set interrupt(context, SIGINT);
        interrupt.async_wait([&](auto error, int) {
            if (!error) client.disconnect(0s);  // the end goes on in the background; print sees it
        });
        asio::co_spawn(context, clock_ticks(), asio::detached);
        asio::co_spawn(context, print(client, failed), [&](std::exception_ptr exception) {
            context.stop();
            if (exception) std::rethrow_exception(exception);
        });
        context.run();
        return failed;
    } catch (const std::exception &error) {
        std::cerr << "loop_asio: " << error.what() << '\n';
        return 1;
    }
}
