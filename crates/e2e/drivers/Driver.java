import java.io.IOException;
import java.io.PrintStream;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.io.BufferedOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import java.util.zip.CRC32C;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A producer and a group of consumers by Apache Kafka's Java client; README.md says how it is called and what
 * it writes.
 *
 * <p>Nothing is tuned: a producer's defaults are idempotence and acks=all.
 */
public final class Driver {
    /** How long a consumer waits for records before it looks whether a commit is due. */
    private static final Duration POLL = Duration.ofMillis(5);

    private static final PrintStream OUTPUT =
            new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false);

    private static volatile boolean stopping;

    public static void main(String[] arguments) throws Exception {
        String[] words = arguments;
        if (words.length > 0 && words[0].equals("later")) {
            words = Arrays.copyOfRange(words, 1, words.length);
            waitForALine();
        }
        if (words.length >= 6 && words[0].equals("produce")) {
            watchInput();
            produce(words);
        } else if (words.length >= 4 && words[0].equals("consume")) {
            watchInput();
            consume(words);
        } else if (words.length >= 6 && words[0].equals("group")) {
            watchInput();
            group(words);
        } else {
            System.err.println("usage: [later] produce BOOTSTRAP TOPIC PARTITIONS INTERVAL_MS PRODUCER [NAME=VALUE...]");
            System.err.println("       [later] consume BOOTSTRAP TOPIC PARTITIONS [NAME=VALUE...]");
            System.err.println("       [later] group BOOTSTRAP TOPIC GROUP MEMBERS INTERVAL_MS [NAME=VALUE...]");
            System.exit(2);
        }
    }

    /** Says that it is there, and waits until it is told to begin: a client that connects now, not when it was started. */
    private static void waitForALine() throws IOException {
        write("ready\n");
        for (int read; (read = System.in.read()) != '\n'; ) {
            if (read < 0) {
                System.exit(0);
            }
        }
    }

    /** Adds settings of the library's, each NAME=VALUE, from this word on. */
    private static Properties with(Properties properties, String[] words, int from) {
        for (int at = from; at < words.length; at++) {
            String[] setting = words[at].split("=", 2);
            properties.put(setting[0], setting[1]);
        }
        return properties;
    }

    /** Microseconds of CLOCK_MONOTONIC, which is what nanoTime reads on Linux. */
    private static long now() {
        return System.nanoTime() / 1000;
    }

    /** Ends when standard input does. */
    private static void watchInput() {
        Thread watcher = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // What is said does not matter.
                }
            } catch (IOException ended) {
                // So it has ended.
            }
            stopping = true;
        });
        watcher.setDaemon(true);
        watcher.start();
    }

    private static synchronized void write(String lines) {
        OUTPUT.print(lines);
        OUTPUT.flush();
    }

    private static void produce(String[] words) {
        String topic = words[2];
        int partitions = Integer.parseInt(words[3]);
        int intervalMs = Integer.parseInt(words[4]);
        int number = Integer.parseInt(words[5]);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", words[1]);
        with(properties, words, 6);
        try (var producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            long due = System.nanoTime();
            for (long sequence = 0; !stopping; sequence++) {
                for (int partition = 0; partition < partitions; partition++) {
                    send(producer, number, topic, partition, sequence);
                }
                due += intervalMs * 1_000_000L;
                for (long left; (left = due - System.nanoTime()) > 0; ) {
                    LockSupport.parkNanos(left);
                }
            }
            producer.flush();
        }
    }

    /** A record's value: who it is, and a checksum of that (crates/verify/src/stamp.rs). */
    private static String stamp(int producer, int partition, long sequence) {
        String stamp = "ottla1 0000000000000001 " + producer + " " + partition + " " + sequence;
        CRC32C checksum = new CRC32C();
        checksum.update(stamp.getBytes(StandardCharsets.US_ASCII));
        return stamp + " " + String.format("%08x", checksum.getValue());
    }

    private static void send(
            KafkaProducer<String, String> producer, int number, String topic, int partition, long sequence) {
        long sent = now();
        producer.send(
                new ProducerRecord<>(topic, partition, null, stamp(number, partition, sequence)),
                (metadata, error) -> {
                    String record = partition + " " + sequence + " " + sent + " " + now() + " ";
                    write(error == null
                            ? "ack " + record + metadata.offset() + "\n"
                            : "fail " + record + error.getClass().getSimpleName() + "\n");
                });
    }

    /** Reads every partition from its end, alone. */
    private static void consume(String[] words) {
        List<TopicPartition> all = new ArrayList<>();
        for (int partition = 0; partition < Integer.parseInt(words[3]); partition++) {
            all.add(new TopicPartition(words[2], partition));
        }
        Properties properties = new Properties();
        properties.put("bootstrap.servers", words[1]);
        properties.put("enable.auto.commit", "false");
        with(properties, words, 4);
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(all);
            consumer.seekToEnd(all);
            while (!stopping) {
                StringBuilder lines = new StringBuilder();
                for (var record : consumer.poll(POLL)) {
                    lines.append("read ").append(record.partition()).append(' ').append(record.offset()).append(' ')
                            .append(now()).append(' ').append(record.value()).append('\n');
                }
                write(lines.toString());
            }
        }
    }

    private static void group(String[] arguments) throws InterruptedException {
        List<Thread> members = new ArrayList<>();
        for (int number = 0; number < Integer.parseInt(arguments[4]); number++) {
            int member = number;
            Thread thread = new Thread(() -> takePart(member, arguments));
            thread.start();
            members.add(thread);
        }
        for (Thread member : members) {
            member.join();
        }
    }

    private static void takePart(int member, String[] arguments) {
        String topic = arguments[2];
        long intervalNanos = Integer.parseInt(arguments[5]) * 1_000_000L;
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[1]);
        properties.put("group.id", arguments[3]);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        with(properties, arguments, 6);
        // The default names the cooperative strategy second, and a group that supports both uses the first.
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic), new Assignments(consumer, member));
            long due = System.nanoTime();
            while (!stopping) {
                consumer.poll(POLL);
                if (System.nanoTime() - due >= 0) {
                    commit(consumer, member);
                    due = System.nanoTime() + intervalNanos;
                }
            }
        } catch (WakeupException stopped) {
            // Nobody wakes it but the end.
        }
    }

    /** Commits how far the member has read. */
    private static void commit(KafkaConsumer<String, String> consumer, int member) {
        Map<TopicPartition, OffsetAndMetadata> at = new HashMap<>();
        long sent = now();
        String error = "ok";
        try {
            for (TopicPartition partition : consumer.assignment()) {
                at.put(partition, new OffsetAndMetadata(consumer.position(partition, POLL)));
            }
            if (at.isEmpty()) {
                return;
            }
            sent = now();
            consumer.commitSync(at);
        } catch (RuntimeException refused) {
            if (at.isEmpty()) {
                return;
            }
            error = refused.getClass().getSimpleName();
        }
        StringBuilder lines = new StringBuilder("commit " + member + " " + sent + " " + now() + " " + error + "\n");
        String what = error.equals("ok") ? "committed " : "tried ";
        at.forEach((partition, offset) -> lines.append(what).append(member).append(' ')
                .append(partition.partition()).append(' ').append(offset.offset()).append('\n'));
        write(lines.toString());
    }

    /** Tells what a member has, after what it is given: protocols that move only what must move name only that. */
    private record Assignments(KafkaConsumer<String, String> consumer, int member)
            implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> given) {
            String list = consumer.assignment().stream().map(p -> "" + p.partition()).sorted().collect(Collectors.joining(","));
            write("assigned " + member + " " + now() + " " + list + "\n");
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> taken) {
            write("revoked " + member + " " + now() + "\n");
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> taken) {
            write("lost " + member + " " + now() + "\n");
        }
    }
}
