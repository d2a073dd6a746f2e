import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.errors.RefreshRetriableException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.message.ApiMessageType.ListenerType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Asks Apache Kafka's own message classes whether they read our bytes as we do.
 *
 * Standard input has a case on each line: the message's name, a version, whether its values are random or all the
 * default, the bytes in hexadecimal, and the JSON that we make of them at that version and at the last, with tabs
 * between. Kafka decodes the bytes, its JSON must be ours, and what it encodes again must be the bytes. The JSON at the
 * last version shows what fields have that the version lacks; Kafka refuses to make it where the last version lacks
 * something too.
 *
 * Damaged bytes have, in place of JSON, our error after an exclamation mark if we refuse them. Where both read them, the
 * JSON must be the same. Where only one does, the reasons are counted.
 *
 * Lines of error codes and of API versions have facts instead, which must be Kafka's.
 *
 * Ends with the number of cases, and with exit status 1 when one of them differs.
 */
public class Oracle {
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message",
        "org.apache.kafka.common.metadata",
        "org.apache.kafka.coordinator.group.generated",
        "org.apache.kafka.coordinator.transaction.generated",
        "org.apache.kafka.coordinator.share.generated",
        "org.apache.kafka.server.log.remote.metadata.storage.generated",
    };
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HexFormat HEX = HexFormat.of();
    private static long defaultsCompared = 0;
    private static final TreeMap<String, List<String>> DISAGREEMENTS = new TreeMap<>();

    /** One of Kafka's message classes, and the method that makes JSON of it. */
    private record Kind(Class<?> message, Method toJson) {
        static Kind find(String name) throws ReflectiveOperationException {
            for (String prefix : PACKAGES) {
                for (String suffix : new String[] {"Data", ""}) {
                    String path = prefix + "." + name + suffix;
                    try {
                        Class<?> message = Class.forName(path);
                        Class<?> converter = Class.forName(path + "JsonConverter");
                        return new Kind(message, converter.getMethod("write", message, short.class, boolean.class));
                    } catch (ClassNotFoundException e) {
                        continue;
                    }
                }
            }
            throw new ClassNotFoundException(name);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Kind> kinds = new HashMap<>();
        TreeSet<String> compared = new TreeSet<>();
        TreeMap<String, List<String>> differences = new TreeMap<>();
        long cases = 0;
        long damaged = 0;
        long facts = 0;
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] parts = line.split("\t", 6);
            if (parts[2].equals("error") || parts[2].equals("api")) {
                String ours = parts[3];
                String theirs = parts[2].equals("error")
                    ? error(Short.parseShort(parts[1]))
                    : api(Short.parseShort(parts[0]), Short.parseShort(parts[1]));
                facts++;
                if (!ours.equals(theirs)) {
                    differences.computeIfAbsent(parts[2] + " " + parts[0] + " " + parts[1], k -> new ArrayList<>())
                        .add("ours " + ours + ", theirs " + theirs);
                }
                continue;
            }
            String name = parts[0];
            Kind kind = kinds.get(name);
            if (kind == null) {
                kind = Kind.find(name);
                kinds.put(name, kind);
            }
            String difference;
            try {
                difference = parts[2].equals("damaged")
                    ? compareDamaged(kind, Short.parseShort(parts[1]), HEX.parseHex(parts[3]), parts[4])
                    : compare(kind, parts[2].equals("default"), Short.parseShort(parts[1]), HEX.parseHex(parts[3]), parts[4], parts[5]);
            } catch (Exception | AssertionError e) {
                Throwable cause = e.getCause() == null ? e : e.getCause();
                difference = "fails with " + cause;
            }
            if (parts[2].equals("damaged")) {
                damaged++;
            } else {
                cases++;
            }
            compared.add(name + " v" + parts[1]);
            if (difference != null) {
                String text = difference + "\n    bytes " + parts[3] + "\n    ours  " + parts[4];
                differences.computeIfAbsent(name + " v" + parts[1], k -> new ArrayList<>()).add(text);
            }
        }
        for (var entry : differences.entrySet()) {
            System.out.println(entry.getKey() + ": " + entry.getValue().size() + " differ, such as");
            System.out.println("  " + entry.getValue().get(0));
        }
        System.out.printf("%d error codes and API versions compared%n", facts);
        System.out.printf("%d damaged messages, read or refused by both but for%n", damaged);
        DISAGREEMENTS.forEach((reason, examples) ->
            System.out.printf("  %5d %s, such as %s%n", examples.size(), reason, examples.get(0)));
        System.out.printf("%d messages, %d message versions, %d cases compared (%d at the last version too); %d message versions differ%n",
            kinds.size(), compared.size(), cases, defaultsCompared, differences.size());
        System.exit(differences.isEmpty() ? 0 : 1);
    }

    /** Name, and whether clients retry, and refresh what they know before. */
    private static String error(short code) {
        Errors error = Errors.forCode(code);
        return error.name() + " " + (error.exception() instanceof RetriableException)
            + " " + (error.exception() instanceof RefreshRetriableException);
    }

    /** Name, versions, highest stable version, versions of both headers, and whether brokers and controllers serve it. */
    private static String api(short key, short version) {
        ApiKeys api = ApiKeys.forId(key);
        return api.name + " " + api.oldestVersion() + "-" + api.latestVersion(true) + " " + api.latestVersion(false)
            + " " + api.requestHeaderVersion(version) + " " + api.responseHeaderVersion(version)
            + " " + api.inScope(ListenerType.BROKER) + " " + api.inScope(ListenerType.CONTROLLER);
    }

    /** What differs, or null. */
    private static String compare(Kind kind, boolean defaults, short version, byte[] bytes, String ours,
            String latest) throws Exception {
        Message message = (Message) kind.message().getDeclaredConstructor().newInstance();
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        message.read(new ByteBufferAccessor(buffer), version);
        if (buffer.hasRemaining()) {
            return "leaves " + buffer.remaining() + " bytes";
        }
        JsonNode theirs = (JsonNode) kind.toJson().invoke(null, message, version, false);
        if (defaults && !message.equals(kind.message().getDeclaredConstructor().newInstance())) {
            return "is not of Kafka's defaults:\n    theirs " + kind.message().getDeclaredConstructor().newInstance();
        }
        // Through text, so that numbers of the same value are of the same class.
        if (!JSON.readTree(theirs.toString()).equals(JSON.readTree(ours))) {
            return "is, for Kafka,\n    theirs " + theirs;
        }
        if (Short.compare(message.highestSupportedVersion(), version) != 0) {
            try {
                JsonNode last = (JsonNode) kind.toJson().invoke(null, message, message.highestSupportedVersion(), false);
                if (!JSON.readTree(last.toString()).equals(JSON.readTree(latest))) {
                    return "has other defaults, which at the last version are\n    theirs " + last
                        + "\n    ours   " + latest;
                }
                defaultsCompared++;
            } catch (InvocationTargetException e) {
                if (!(e.getCause() instanceof UnsupportedVersionException)) {
                    throw e;
                }
            }
        }
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer again = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(again), cache, version);
        if (again.hasRemaining() || !ByteBuffer.wrap(bytes).equals(again.flip())) {
            return "is encoded as\n    theirs " + HEX.formatHex(again.array());
        }
        return null;
    }

    /** Java replaces an encoded surrogate by one character, Rust by one for each byte. */
    private static String replaced(String json) {
        return json.replaceAll("\ufffd+", "\ufffd");
    }

    /** What differs in what both read, or null. */
    private static String compareDamaged(Kind kind, short version, byte[] bytes, String ours) throws Exception {
        Message message = (Message) kind.message().getDeclaredConstructor().newInstance();
        String refusal = null;
        try {
            message.read(new ByteBufferAccessor(ByteBuffer.wrap(bytes)), version);
        } catch (RuntimeException e) {
            refusal = e.getClass().getSimpleName() + " " + String.valueOf(e.getMessage()).replaceAll("-?[0-9]+", "N");
        }
        if (refusal != null && ours.startsWith("!") || refusal == null && !ours.startsWith("!")) {
            if (refusal != null) {
                return null;
            }
            JsonNode theirs = (JsonNode) kind.toJson().invoke(null, message, version, false);
            boolean same = JSON.readTree(replaced(theirs.toString())).equals(JSON.readTree(replaced(ours)));
            return same ? null : "is, damaged, for Kafka,\n    theirs " + theirs;
        }
        String reason = refusal == null
            ? "read by Kafka alone, refused by us: " + ours.replaceAll("[0-9]+", "N")
            : "read by us alone, refused by Kafka: " + refusal.replaceAll("[a-zA-Z]+ was", "F was");
        String example = kind.message().getSimpleName() + " v" + version + " " + HEX.formatHex(bytes);
        DISAGREEMENTS.computeIfAbsent(reason, r -> new ArrayList<>()).add(example);
        return null;
    }
}
