import java.io.FileReader;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Prints orders as they come, as a member of group `java-orders`: OrdersConsumer [CONFIG] [TOPIC] [COUNT]. */
public class OrdersConsumer {
    public static void main(String[] args) throws Exception {
        var properties = new Properties();
        try (var file = new FileReader(args.length > 0 ? args[0] : "client.properties")) {
            properties.load(file);
        }
        properties.put("group.id", "java-orders");
        properties.put("auto.offset.reset", "earliest");
        var topic = args.length > 1 ? args[1] : "orders";
        long left = args.length > 2 ? Long.parseLong(args[2]) : Long.MAX_VALUE;
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            while (left > 0) {
                for (var order : consumer.poll(Duration.ofSeconds(1))) {
                    System.out.printf("%s: %s%n", order.key(), order.value());
                    left--;
                }
            }
        }
    }
}
