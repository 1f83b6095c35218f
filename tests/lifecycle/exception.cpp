// An exception in a callback: exception URL WAY. One that is caught inside is nobody's
// affair; one that leaves the callback ends the process, in the words of the C++ library.
#include <atomic>
#include <cometd/cometd.h>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <unistd.h>

static std::atomic<int> calls, unwound;
static bool escapes;

struct counted {
    ~counted() { unwound++; }
};

static void run(void *, const cometd_event *)
{
    counted here;
    try {
        counted inner;
        throw std::runtime_error("thrown in a callback");
    } catch (const std::runtime_error &) {
        if (escapes)
            throw;
    }
    calls++;
}

int main(int argc, char **argv)
{
    cometd_client_builder *builder;
    cometd_client *client;
    if (argc != 3 || cometd_client_builder_new(argv[1], &builder, nullptr) ||
        cometd_client_builder_build(builder, &client, nullptr))
        return 1;
    cometd_client_builder_free(builder);
    escapes = !std::strcmp(argv[2], "escapes");
    if (cometd_client_set_callback(client, run, nullptr, nullptr) ||
        cometd_client_connect(client, nullptr))
        return 1;
    while (calls < 3)
        usleep(1000);
    if (cometd_client_wait(client, COMETD_STATE_CONNECTED, 30000))
        return 1;
    cometd_client_free(client);
    std::printf("%d unwound\n", unwound >= 6 ? 6 : unwound.load());
    return 0;
}
