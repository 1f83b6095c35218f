import java.util.concurrent.TimeUnit;
import libcometd.Client;
import libcometd.Event;

/** Prints so many messages of a channel: Ticks URL CHANNEL COUNT. */
public class Ticks {
    public static void main(String[] arguments) throws Exception {
        int count = Integer.parseInt(arguments[2]);
        Client.Builder builder = Client.builder(arguments[0]).set("number_of_retries", 3);
        try (Client client = builder.build()) {
            client.connect().get(30, TimeUnit.SECONDS);
            client.subscribe(arguments[1]).get(30, TimeUnit.SECONDS);
            for (Event event : client.events()) {
                if (event instanceof Event.Message message) {
                    System.out.println(message.channel() + " " + message.data());
                    if (--count == 0) {
                        break;
                    }
                } else if (event instanceof Event.Failed failed) {
                    System.err.println(failed.error().getMessage());
                }
            }
        }
    }
}
