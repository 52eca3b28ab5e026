"""The job of pipelines/orders_to_delta.toml and orders_to_topic.toml, in Spark: reads orders, writes line items to a
Delta table and orders from Chicago to a topic; once (batch) or for ever (streaming).

    spark-submit --packages org.apache.spark:spark-sql-kafka-0-10_2.13:4.0.1,io.delta:delta-spark_2.13:4.0.1 \
        orders.py batch|streaming BOOTSTRAP FOLDER
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, explode, from_json

SCHEMA = """order_id bigint, customer_id bigint, city string, state string,
    line_items array<struct<order_item_id: bigint, order_item_product_id: bigint, order_item_quantity: bigint>>"""

spark = (
    SparkSession.builder.appName("orders")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .getOrCreate()
)


def items_of(records):
    orders = records.select("key", "value", from_json(col("value").cast("string"), SCHEMA).alias("order"))
    items = orders.select("order.order_id", "order.city", explode("order.line_items").alias("item"))
    chicago = orders.where(col("order.city") == "Chicago").select("key", "value")
    return items.select("order_id", "city", "item.*"), chicago


def batch(bootstrap, folder):
    source = {"kafka.bootstrap.servers": bootstrap, "subscribe": "orders"}
    records = spark.read.format("kafka").options(**source).load()
    items, chicago = items_of(records)
    items.write.format("delta").mode("append").save(f"{folder}/items")
    sink = {"kafka.bootstrap.servers": bootstrap, "topic": "orders-chicago"}
    chicago.write.format("kafka").options(**sink).save()


def streaming(bootstrap, folder):
    source = {"kafka.bootstrap.servers": bootstrap, "subscribe": "orders", "startingOffsets": "earliest"}
    records = spark.readStream.format("kafka").options(**source).load()
    items, chicago = items_of(records)
    into = {"trigger": {"availableNow": True}}  # without it: for ever
    table = items.writeStream.format("delta").option("checkpointLocation", f"{folder}/checkpoints/items")
    sink = {"kafka.bootstrap.servers": bootstrap, "topic": "orders-chicago"}
    topic = chicago.writeStream.format("kafka").options(**sink)
    topic = topic.option("checkpointLocation", f"{folder}/checkpoints/chicago")
    queries = [table.trigger(**into["trigger"]).start(f"{folder}/items"), topic.trigger(**into["trigger"]).start()]
    for query in queries:
        query.awaitTermination()


if __name__ == "__main__":
    mode, bootstrap, folder = sys.argv[1:]
    {"batch": batch, "streaming": streaming}[mode](bootstrap, folder)
    print(spark.read.format("delta").load(f"{folder}/items").count(), "line items")
