import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Drives Apache Kafka's Java client as it was from 2.1 to 2.8; README.md says how it is called.
 *
 * <p>It is compiled against each version that it is run with, so it says only what the oldest has.
 */
public final class OldDriver {
    private static final Duration POLL = Duration.ofMillis(100);

    private static final BufferedReader INPUT =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

    /** Whether standard input has ended. */
    private static volatile boolean isOver;

    /** Whether a member was told to commit no more. */
    private static volatile boolean holds;

    public static void main(String[] words) throws Exception {
        String bootstrap = words[1];
        switch (words[0]) {
            case "produce": produce(bootstrap, words[2], words[3]); break;
            case "consume": consume(bootstrap, words[2], words[3]); break;
            case "group": group(bootstrap, words[2], words[3], words[5]); break;
            case "transact": transact(bootstrap, words[2], words[3]); break;
            case "admin": administer(bootstrap); break;
            default: throw new IllegalArgumentException(words[0]);
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
    }

    private static void refused(Throwable error) {
        Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
        say("refused " + cause.getClass().getSimpleName() + " " + String.valueOf(cause.getMessage()).replace('\n', ' '));
    }

    private static Properties settings(String... pairs) {
        Properties settings = new Properties();
        for (int at = 0; at < pairs.length; at += 2) {
            settings.put(pairs[at], pairs[at + 1]);
        }
        return settings;
    }

    private static KafkaProducer<String, String> producer(Properties settings) {
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    private static KafkaConsumer<String, String> consumer(Properties settings) {
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    /** Sends what a line tells, and says what became of it. */
    private static void send(KafkaProducer<String, String> producer, String topic, String line) {
        int blank = line.indexOf(' ');
        int partition = Integer.parseInt(line.substring(0, blank));
        String value = line.substring(blank + 1);
        producer.send(new ProducerRecord<>(topic, partition, null, value), (place, error) -> say(error == null
                ? "ack " + partition + " " + place.offset() + " " + value
                : "fail " + partition + " " + error));
    }

    private static void produce(String bootstrap, String topic, String codec) throws IOException {
        Properties settings = settings("bootstrap.servers", bootstrap, "compression.type", codec,
                "enable.idempotence", "true", "acks", "all");
        try (KafkaProducer<String, String> producer = producer(settings)) {
            for (String line; (line = INPUT.readLine()) != null; ) {
                send(producer, topic, line);
            }
        }
    }

    /** Looks after standard input beside other work. */
    private static void watchInput() {
        Thread watcher = new Thread(() -> {
            try {
                while (INPUT.readLine() != null) {
                    holds = true;
                    say("held");
                }
            } catch (IOException ended) {
                // So it has ended.
            }
            isOver = true;
        });
        watcher.setDaemon(true);
        watcher.start();
    }

    private static void read(ConsumerRecords<String, String> records) {
        for (ConsumerRecord<String, String> record : records) {
            say("read " + record.partition() + " " + record.offset() + " " + record.value());
        }
    }

    private static void consume(String bootstrap, String topic, String isolation) {
        watchInput();
        Properties settings = settings("bootstrap.servers", bootstrap, "isolation.level", isolation,
                "enable.auto.commit", "false", "auto.offset.reset", "earliest");
        try (KafkaConsumer<String, String> consumer = consumer(settings)) {
            List<TopicPartition> all = consumer.partitionsFor(topic).stream()
                    .map(partition -> new TopicPartition(topic, partition.partition())).collect(Collectors.toList());
            consumer.assign(all);
            consumer.seekToBeginning(all);
            while (!isOver) {
                read(consumer.poll(POLL));
            }
        }
    }

    private static void group(String bootstrap, String topic, String group, String sessionMs) {
        watchInput();
        Properties settings = settings("bootstrap.servers", bootstrap, "group.id", group,
                "session.timeout.ms", sessionMs, "enable.auto.commit", "false", "auto.offset.reset", "earliest");
        try (KafkaConsumer<String, String> member = consumer(settings)) {
            member.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> given) {
                    TreeSet<Integer> has = new TreeSet<>();
                    member.assignment().forEach(partition -> has.add(partition.partition()));
                    say("assigned " + has.stream().map(String::valueOf).collect(Collectors.joining(",")));
                }

                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> taken) {
                    // Everything is given anew at once.
                }
            });
            while (!isOver) {
                ConsumerRecords<String, String> records = member.poll(POLL);
                read(records);
                if (!holds && !records.isEmpty()) {
                    commit(member, records);
                }
            }
        }
    }

    private static void commit(KafkaConsumer<String, String> member, ConsumerRecords<String, String> records) {
        Map<TopicPartition, OffsetAndMetadata> ends = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) {
            ends.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        member.commitSync(ends);
        ends.forEach((partition, end) -> say("committed " + partition.partition() + " " + end.offset()));
    }

    private static void transact(String bootstrap, String topic, String id) throws IOException {
        try (KafkaProducer<String, String> producer = producer(settings("bootstrap.servers", bootstrap, "transactional.id", id))) {
            producer.initTransactions();
            for (String line; (line = INPUT.readLine()) != null; ) {
                try {
                    obey(producer, topic, line);
                } catch (KafkaException error) {
                    refused(error);
                }
            }
        }
    }

    private static void obey(KafkaProducer<String, String> producer, String topic, String line) {
        String[] words = line.split(" ");
        switch (words[0]) {
            case "begin":
                producer.beginTransaction();
                say("begun");
                break;
            case "commit":
                producer.commitTransaction();
                say("committed");
                break;
            case "abort":
                producer.abortTransaction();
                say("aborted");
                break;
            case "offset":
                TopicPartition partition = new TopicPartition(topic, Integer.parseInt(words[2]));
                OffsetAndMetadata offset = new OffsetAndMetadata(Long.parseLong(words[3]));
                producer.sendOffsetsToTransaction(Map.of(partition, offset), words[1]);
                say("written");
                break;
            default:
                send(producer, topic, line);
        }
    }

    private static void administer(String bootstrap) throws IOException {
        try (AdminClient admin = AdminClient.create(settings("bootstrap.servers", bootstrap))) {
            for (String line; (line = INPUT.readLine()) != null; ) {
                try {
                    say(answer(admin, line.split(" ")));
                } catch (Exception error) {
                    refused(error);
                }
            }
        }
    }

    private static String answer(AdminClient admin, String[] words) throws Exception {
        String name = words.length > 1 ? words[1] : "";
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
        switch (words[0]) {
            case "create":
                admin.createTopics(List.of(new NewTopic(name, Integer.parseInt(words[2]), Short.parseShort(words[3])))).all().get();
                return "done";
            case "describe":
                var partitions = admin.describeTopics(List.of(name)).all().get().get(name).partitions();
                return "partitions " + partitions.size() + " replicas " + partitions.get(0).replicas().size();
            case "topics":
                return "topics " + String.join(",", new TreeSet<>(admin.listTopics().names().get()));
            case "grow":
                admin.createPartitions(Map.of(name, NewPartitions.increaseTo(Integer.parseInt(words[2])))).all().get();
                return "done";
            case "config":
                return "value " + admin.describeConfigs(List.of(resource)).all().get().get(resource).get(words[2]).value();
            case "set":
                admin.alterConfigs(Map.of(resource, new Config(List.of(new ConfigEntry(words[2], words[3]))))).all().get();
                return "done";
            case "truncate":
                TopicPartition partition = new TopicPartition(name, Integer.parseInt(words[2]));
                admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(Long.parseLong(words[3])))).all().get();
                return "done";
            case "groups":
                TreeSet<String> groups = new TreeSet<>();
                admin.listConsumerGroups().all().get().forEach(group -> groups.add(group.groupId()));
                return "groups " + String.join(",", groups);
            case "group":
                var group = admin.describeConsumerGroups(List.of(name)).all().get().get(name);
                return "state " + group.state() + " members " + group.members().size();
            case "offsets":
                TreeMap<Integer, Long> offsets = new TreeMap<>();
                admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get()
                        .forEach((place, offset) -> offsets.put(place.partition(), offset.offset()));
                List<String> pairs = new ArrayList<>();
                offsets.forEach((number, offset) -> pairs.add(number + ":" + offset));
                return "offsets " + String.join(",", pairs);
            case "forget":
                admin.deleteConsumerGroups(List.of(name)).all().get();
                return "done";
            case "delete":
                admin.deleteTopics(List.of(name)).all().get();
                return "done";
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }
}
