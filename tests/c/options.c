/* Options by name and as text, and the errors that a builder keeps. */
#include "test.h"

#define URL "http://127.0.0.1:1/"

static cometd_error *refused(cometd_client_builder *builder, const char *name, const char *value,
                             cometd_status status)
{
    cometd_error *error;
    CHECK_STATUS(cometd_client_builder_set(builder, name, value, &error), status);
    CHECK_STATUS(cometd_error_status(error), status);
    return error;
}

TEST(options_as_text_are_what_is_sent)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    static const char *const options[][2] = {
        {"timeout_ms", "4321"},          {"backoff_ms", "10,20"},
        {"header", "X-Tenant: seven"},   {"header", "X-Other:8"},
        {"cookie", "flavour=ginger=1"},  {"basic_auth", "user:pass:word"},
        {"handshake_ext", "{\"a\":1}"},  {"handshake_base_path", "elsewhere/"},
        {"append_message_type", "never"}, {"name", "by text"},
        {"transports", "long-polling"},  {"number_of_retries", "forever"},
        {"minimum_tls_version", "1.3"},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        CHECK_OK(cometd_client_builder_set(builder, options[i][0], options[i][1], NULL));
    cometd_client *client = build(builder);
    CHECK_STR(cometd_client_name(client), "by text");
    CHECK_OK(cometd_client_connect(client, NULL));
    CHECK_OK(cometd_client_wait(client, COMETD_STATE_CONNECTED, limit_ms()));
    client_end(client);
    char *request = peer_request(peer, "/meta/handshake", 1);
    CHECK_HAS(request, "POST /cometd/elsewhere/ ");
    CHECK_HAS(request, "\r\nX-Tenant: seven\r\n");
    CHECK_HAS(request, "\r\nX-Other: 8\r\n");
    CHECK_HAS(request, "flavour=ginger=1");
    CHECK_HAS(request, "\r\nAuthorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n");
    CHECK_HAS(request, "\"ext\":{\"a\":1}");
    CHECK_HAS(request, "\"timeout\":4321");
    free(request);
    peer_stop(peer);
}

TEST(each_option_can_be_listed_found_and_set_to_its_default)
{
    size_t count = cometd_option_count(), secrets = 0, defaults = 0;
    CHECK_INT(count, >, 40);
    CHECK(cometd_option_at(count) == NULL);
    CHECK(cometd_option_at(SIZE_MAX) == NULL);
    CHECK(cometd_option_find("nubmer") == NULL);
    CHECK(cometd_option_find("") == NULL);
    CHECK(cometd_option_find("\xff") == NULL);
    cometd_client_builder *builder = builder_new(URL);
    for (size_t i = 0; i < count; i++) {
        const cometd_option *option = cometd_option_at(i);
        const char *name = cometd_option_name(option), *value = cometd_option_default(option);
        CHECK(cometd_option_find(name) == option);
        CHECK_HAS(cometd_option_setter(option), name);
        CHECK(strlen(cometd_option_type(option)) > 0);
        CHECK(strlen(cometd_option_range(option)) > 0);
        CHECK(strlen(cometd_option_text(option)) > 0);
        secrets += cometd_option_is_secret(option);
        if (value) {
            CHECK_OK(cometd_client_builder_set(builder, name, value, NULL));
            defaults++;
        }
    }
    CHECK_INT(secrets, >, 5);
    CHECK_INT(defaults, >, 20);
    cometd_client_free(build(builder));
    const cometd_option *option = cometd_option_find("backoff_ms");
    CHECK_STR(cometd_option_setter(option), "cometd_client_builder_set_backoff_ms");
    CHECK_STR(cometd_option_type(option), "integers");
    CHECK_STR(cometd_option_unit(option), "ms");
    CHECK_STR(cometd_option_default(option), "1000,30000");
    CHECK_HAS(cometd_option_range(option), "INCREMENT,MAXIMUM");
    CHECK(!cometd_option_is_secret(option));
    CHECK(cometd_option_unit(cometd_option_find("overflow")) == NULL);
    CHECK(cometd_option_is_secret(cometd_option_find("bearer_token")));
    CHECK(!cometd_option_is_repeatable(option) && cometd_option_is_repeatable(cometd_option_find("url")));
    CHECK(cometd_option_is_repeatable(cometd_option_find("header")));
    CHECK(cometd_option_is_repeatable(cometd_option_find("cookie")));
}

TEST(an_error_of_a_text_names_option_value_and_range_and_no_secret)
{
    cometd_client_builder *builder = builder_new(URL);
    static const struct {
        const char *name, *value;
        cometd_status status;
        const char *part;
    } bad[] = {
        {"nubmer_of_retries", "5", COMETD_E_INVALID_ARGUMENT, "\"nubmer_of_retries\""},
        {"number_of_retries", "five", COMETD_E_INVALID_ARGUMENT, "\"five\""},
        {"number_of_retries", "-1", COMETD_E_OUT_OF_RANGE, "0 to 4294967294"},
        {"backoff_ms", "30000,1000", COMETD_E_OUT_OF_RANGE, "backoff_ms"},
        {"overflow", "COMETD_OVERFLOW_BLOCK", COMETD_E_OUT_OF_RANGE, "drop_oldest"},
        {"handshake_ext", "{", COMETD_E_INVALID_JSON, "handshake_ext"},
        {"bearer_token", "hidden\n", COMETD_E_INVALID_HEADER, "bearer_token"},
        {"header", "hidden", COMETD_E_INVALID_ARGUMENT, "NAME: VALUE"},
        {"name", "\xff", COMETD_E_INVALID_UTF8, "name: value"},
        {"\xff", "1", COMETD_E_INVALID_UTF8, "set: name"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cometd_error *error = refused(builder, bad[i].name, bad[i].value, bad[i].status);
        CHECK_HAS(cometd_error_message(error), bad[i].part);
        CHECK_HAS_NOT(cometd_error_message(error), "hidden");
        cometd_error_free(error);
    }
    CHECK_STATUS(cometd_client_builder_set(builder, "name", NULL, NULL), COMETD_E_INVALID_ARGUMENT);
    CHECK_HAS(cometd_error_message(cometd_client_builder_error(builder)), "nubmer_of_retries");
    cometd_client_builder_free(builder);
}

TEST(a_builder_keeps_its_first_error_and_build_returns_it)
{
    cometd_client_builder *builder = builder_new(URL);
    CHECK(cometd_client_builder_error(builder) == NULL);
    /* As a program that looks once. */
    cometd_client_builder_set_timeout_ms(builder, 1000);
    cometd_client_builder_set_backoff_ms(builder, 2, 1);
    cometd_client_builder_set_name(builder, "");
    cometd_client_builder_set(builder, "overflow", "sideways", NULL);
    cometd_client *client = (cometd_client *)1;
    cometd_error *error;
    CHECK_STATUS(cometd_client_builder_build(builder, &client, &error), COMETD_E_OUT_OF_RANGE);
    CHECK(client == NULL);
    CHECK_HAS(cometd_error_message(error), "set_backoff_ms: max");
    CHECK_STR(cometd_error_message(cometd_client_builder_error(builder)),
              cometd_error_message(error));
    /* It is freed by its builder alone. */
    cometd_error_free((cometd_error *)(uintptr_t)cometd_client_builder_error(builder));
    CHECK_HAS(cometd_error_message(cometd_client_builder_error(builder)), "set_backoff_ms: max");
    cometd_error_free(error);

    /* By its setter or as text: what succeeds later makes up for it. */
    CHECK_OK(cometd_client_builder_set(builder, "backoff_ms", "1,2", NULL));
    CHECK_HAS(cometd_error_message(cometd_client_builder_error(builder)), "set_name");
    CHECK_OK(cometd_client_builder_set_name(builder, "good"));
    CHECK_HAS(cometd_error_message(cometd_client_builder_error(builder)), "overflow: \"sideways\"");
    CHECK_OK(cometd_client_builder_set_overflow(builder, COMETD_OVERFLOW_BLOCK));
    CHECK(cometd_client_builder_error(builder) == NULL);

    /* What was to be added is missing, whatever else is added. */
    CHECK_STATUS(cometd_client_builder_add_cookie(builder, "a b", "c"), COMETD_E_INVALID_HEADER);
    CHECK_OK(cometd_client_builder_add_cookie(builder, "a", "c"));
    CHECK_STATUS(cometd_client_builder_build(builder, &client, NULL), COMETD_E_INVALID_HEADER);
    CHECK_OK(cometd_client_builder_clear_error(builder));
    CHECK(cometd_client_builder_error(builder) == NULL);
    CHECK_STR(cometd_client_name(client = build(builder)), "good");
    cometd_client_free(client);
}
