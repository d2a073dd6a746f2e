import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command-line tools one after the other in one JVM, which takes a second to start.
 *
 * A line of standard input is a class and its arguments, with tabs between them. The answer is a line with the exit
 * status, the length of what the tool wrote to standard output, and that of what it wrote to standard error; then both.
 */
public final class KafkaTools {
    /** What a tool that ends itself leaves by. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1L;
    }

    private static final PrintStream errors = System.err;
    private static Integer status;

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = System.out;
        Exit.setExitProcedure((code, message) -> {
            // The first is what counts: a tool may catch what leaves it, complain, and end itself again.
            if (status == null) {
                status = code;
                PrintStream nowhere = new PrintStream(OutputStream.nullOutputStream());
                System.setOut(nowhere);
                System.setErr(nowhere);
            }
            throw new Ended();
        });
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            run(answers, line.split("\t", -1));
        }
    }

    private static void run(PrintStream answers, String[] words) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        status = null;
        int code;
        try {
            String[] arguments = Arrays.copyOfRange(words, 1, words.length);
            Class.forName(words[0]).getMethod("main", String[].class).invoke(null, (Object) arguments);
            code = 0;
        } catch (InvocationTargetException thrown) {
            // Where this comes from nowhere else, the JVM shows it and ends with 1.
            System.err.print("Exception in thread \"main\" ");
            thrown.getCause().printStackTrace();
            code = 1;
        } catch (ReflectiveOperationException | LinkageError absent) {
            System.setErr(errors);
            throw new IllegalArgumentException(absent);
        }
        answers.printf("%d %d %d%n", status == null ? code : status, out.size(), err.size());
        out.writeTo(answers);
        err.writeTo(answers);
        answers.flush();
    }
}
