import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.Produced;

/**
 * One instance of a Streams application that counts, exactly once: ../README.md says how it is called.
 *
 * <p>A visit, a line "VISITOR WHATEVER" in the topic "visits", is given the name that the table "names" has for the visitor; visits
 * are counted by name; and each new count goes to the topic "counts". So records go by two topics for repartitioning and one
 * that keeps the counts, and of what comes out each name must have 1, 2, 3 and so on: one left out or counted twice is seen.
 */
public final class Counting {
    /** Far enough apart for a kill to meet an open transaction. */
    private static final int COMMIT_INTERVAL_MS = 500;

    public static void main(String[] words) throws Exception {
        if (words.length != 3) {
            System.err.println("usage: Counting BOOTSTRAP APPLICATION DIRECTORY");
            System.exit(2);
        }
        KafkaStreams streams = new KafkaStreams(topology(), settings(words[0], words[1], words[2]));
        streams.setStateListener((now, before) -> System.out.println("state " + now));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        waitForTheEnd();
        boolean stopped = streams.close(Duration.ofSeconds(60));
        System.exit(stopped ? 0 : 1);
    }

    private static Properties settings(String bootstrap, String application, String directory) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, Path.of(directory, "state").toString());
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, COMMIT_INTERVAL_MS);
        // A cache would let only some of the counts out.
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 3);
        // Who was killed is thrown out earlier than by default: nobody should wait for long.
        settings.put("session.timeout.ms", 10_000);
        return settings;
    }

    private static Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        var text = Serdes.String();
        var names = builder.table("names", Consumed.with(text, text));
        builder.stream("visits", Consumed.with(text, text))
                .selectKey((nothing, visit) -> visit.split(" ", 2)[0])
                .join(names, (visit, name) -> name, Joined.with(text, text, text))
                .groupBy((visitor, name) -> name, Grouped.with(text, text))
                .count()
                .toStream()
                .mapValues(count -> count.toString())
                .to("counts", Produced.with(text, text));
        return builder.build();
    }

    /** Returns when standard input ends. */
    private static void waitForTheEnd() throws IOException {
        while (System.in.read() >= 0) {
            // What is said does not matter.
        }
    }
}
