// Prints what comes on channels until Ctrl-C, by polling, in C++17.
//
//   subscribe_cpp [-n COUNT] URL CHANNEL...
//
// Exits with 0 after COUNT messages or Ctrl-C, 1 when something failed for good,
// 2 when called the wrong way.
#include <cometd/cometd.hpp>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

static volatile std::sig_atomic_t stopped = 0;

static void stop(int) { stopped = 1; }

static int run(const std::string &url, const std::vector<std::string> &channels, long limit) {
    using namespace std::chrono_literals;
    cometd::client client = cometd::builder(url).build();
    client.subscribe(channels);
    client.connect();

    int failed = 0;
    bool leaving = false;
    cometd::event event;
    while (client.poll(event, 100ms) != cometd::status::closed) {
        if (stopped && !leaving) {
            leaving = true;
            client.disconnect(0s);  // the end goes on in the background; status::closed tells it
        }
        if (!event) continue;  // nothing came in time
        switch (event.type()) {
        case cometd::event_type::message:
            if (limit == 0) break;  // those that still come while the client disconnects
            if (limit > 0 && --limit == 0) stopped = 1;
            std::cout << *event.channel() << ' ' << event.data() << std::endl;
            break;
        case cometd::event_type::subscribed:
            std::cerr << "subscribed " << *event.channel() << '\n';
            break;
        case cometd::event_type::error:
            std::cerr << "error " << event.error()->message() << '\n';
            // With an id it is the end of our subscribe; otherwise, unless it is fatal, the client tries again.
            if (event.id() != 0 && !stopped) {
                stopped = 1;
                failed = 1;
            }
            if (event.error()->is_fatal()) failed = 1;
            break;
        default:  // more may come
            break;
        }
    }
    return failed;
}

int main(int argc, char **argv) {
    std::vector<std::string> arguments(argv + 1, argv + argc);
    long limit = -1;
    if (arguments.size() > 1 && arguments[0] == "-n") {
        limit = std::strtol(arguments[1].c_str(), nullptr, 10);
        arguments.erase(arguments.begin(), arguments.begin() + 2);
        if (limit < 1) arguments.clear();
    }
    if (arguments.size() < 2) {
        std::cerr << "usage: subscribe_cpp [-n COUNT] URL CHANNEL...\n";
        return 2;
    }
    std::signal(SIGINT, stop);
    std::signal(SIGTERM, stop);
    try {
        return run(arguments[0], {arguments.begin() + 1, arguments.end()}, limit);
    } catch (const std::exception &error) {  // cometd::error, with code() and more
        std::cerr << "subscribe_cpp: " << error.what() << '\n';
        return 1;
    }
}
