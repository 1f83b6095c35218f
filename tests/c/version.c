/* The version, the statuses, and the matching of channels. */
#include "test.h"

TEST(header_and_library_have_the_same_version)
{
    CHECK_INT(cometd_version(), ==, COMETD_VERSION);
    char *expected = text("%d.%d.%d", COMETD_VERSION >> 16, COMETD_VERSION >> 8 & 255,
                          COMETD_VERSION & 255);
    CHECK_STR(cometd_version_string(), expected);
    free(expected);
}

TEST(each_status_has_a_name_and_a_text)
{
    CHECK_STR(cometd_status_name(COMETD_E_TLS), "COMETD_E_TLS");
    CHECK_STR(cometd_status_name(COMETD_OK), "COMETD_OK");
    CHECK_STR(cometd_status_name(12345), "COMETD_UNKNOWN");
    for (int status = -50; status < 10; status++) {
        const char *words = cometd_status_text(status);
        CHECK(words != NULL && *words);
        CHECK(words[strlen(words) - 1] != '.');
    }
}

TEST(channel_patterns_match)
{
    CHECK(cometd_channel_matches("/a/*", "/a/b"));
    CHECK(!cometd_channel_matches("/a/*", "/a/b/c"));
    CHECK(cometd_channel_matches("/a/**", "/a/b/c"));
    CHECK(!cometd_channel_matches("/a/**", "/a"));
    CHECK(cometd_channel_matches("/a", "/a"));
    CHECK(!cometd_channel_matches("/**", "/meta/connect"));
    CHECK(!cometd_channel_matches("a", "a"));
    CHECK(!cometd_channel_matches("/a\xff", "/a\xff"));
}
