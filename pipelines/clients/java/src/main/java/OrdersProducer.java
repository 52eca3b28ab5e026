import java.io.FileReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Sends orders, one JSON object a line, keyed by their customer: OrdersProducer FILE [CONFIG] [TOPIC]. */
public class OrdersProducer {
    private static final Pattern CUSTOMER = Pattern.compile("\"customer_id\":(\\d+)");

    public static void main(String[] args) throws Exception {
        var properties = new Properties();
        try (var file = new FileReader(args.length > 1 ? args[1] : "client.properties")) {
            properties.load(file);
        }
        var topic = args.length > 2 ? args[2] : "orders";
        var failed = new AtomicInteger();
        try (var producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
                Stream<String> orders = Files.lines(Path.of(args[0]))) {
            orders.forEach(order -> {
                var customer = CUSTOMER.matcher(order);
                var key = customer.find() ? customer.group(1) : null;
                producer.send(new ProducerRecord<>(topic, key, order), (metadata, error) -> {
                    if (error != null) {
                        failed.incrementAndGet();
                        System.err.println("not delivered: " + error.getMessage());
                    } else {
                        System.out.printf("%s partition %d offset %d%n", topic, metadata.partition(), metadata.offset());
                    }
                });
            });
        }
        System.exit(failed.get() > 0 ? 1 : 0);
    }
}
