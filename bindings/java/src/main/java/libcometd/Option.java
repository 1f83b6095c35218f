package libcometd;

import java.util.ArrayList;
import java.util.List;

/** An option of {@link Client.Builder#set}: what it takes, as text. */
public record Option(
        String name, String type, String unit, String defaultValue, String range, String text, boolean secret) {

    static List<Option> all() {
        List<Option> options = new ArrayList<>();
        for (long index = 0; index < Cometd.cometd_option_count(); index++) {
            long option = Cometd.cometd_option_at(index);
            options.add(new Option(
                    Cometd.string(Cometd.cometd_option_name(option)),
                    Cometd.string(Cometd.cometd_option_type(option)),
                    Cometd.string(Cometd.cometd_option_unit(option)),
                    Cometd.string(Cometd.cometd_option_default(option)),
                    Cometd.string(Cometd.cometd_option_range(option)),
                    Cometd.string(Cometd.cometd_option_text(option)),
                    Cometd.cometd_option_is_secret(option) != 0));
        }
        return List.copyOf(options);
    }
}
