import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.file.CodecFactory;
import org.apache.avro.file.DataFileReader;
import org.apache.avro.file.DataFileWriter;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericFixed;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.BinaryMessageEncoder;

/**
 * Java's Avro as an oracle; test_codec_java.py is its other half. Commands on stdin, fields separated by tabs:
 *
 *   message SCHEMA.avsc HEX            one framed message: prints its JSON, then the hex of it encoded again
 *   file SCHEMA.avsc IN.avro OUT.avro  a container file: prints a line of JSON for each record, and writes them to OUT (deflate)
 *
 * JSON is as codec_oracle prints it: floating-point numbers by their bits, bytes in hex.
 */
public class AvroOracle {
    static final Map<String, Schema> SCHEMAS = new HashMap<>();

    static Schema schema(String path) {
        return SCHEMAS.computeIfAbsent(path, p -> {
            try {
                return new Schema.Parser().parse(new File(p));
            } catch (java.io.IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        });
    }

    static Object plain(Object v) {
        if (v instanceof GenericRecord r) {
            Map<String, Object> fields = new LinkedHashMap<>();
            for (Schema.Field f : r.getSchema().getFields()) {
                fields.put(f.name(), plain(r.get(f.pos())));
            }
            return fields;
        }
        if (v instanceof List<?> list) {
            List<Object> items = new ArrayList<>();
            for (Object item : list) {
                items.add(plain(item));
            }
            return items;
        }
        if (v instanceof Double d) {
            return String.format("0x%016x", Double.doubleToRawLongBits(d));
        }
        if (v instanceof Float f) {
            return String.format("0x%08x", Float.floatToRawIntBits(f));
        }
        if (v instanceof ByteBuffer b) {
            byte[] bytes = new byte[b.remaining()];
            b.duplicate().get(bytes);
            return HexFormat.of().formatHex(bytes);
        }
        if (v instanceof GenericFixed f) {
            return HexFormat.of().formatHex(f.bytes());
        }
        if (v instanceof CharSequence || v instanceof GenericData.EnumSymbol) {
            return v.toString();
        }
        return v;
    }

    public static void main(String[] args) throws Exception {
        ObjectMapper json = new ObjectMapper();
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] word = line.split("\t");
            Schema schema = schema(word[1]);
            if (word[0].equals("message")) {
                GenericRecord r = new BinaryMessageDecoder<GenericRecord>(GenericData.get(), schema)
                        .decode(HexFormat.of().parseHex(word[2]));
                out.println(json.writeValueAsString(plain(r)));
                ByteBuffer again = new BinaryMessageEncoder<GenericRecord>(GenericData.get(), schema).encode(r);
                out.println(plain(again));
                continue;
            }
            try (DataFileReader<GenericRecord> reader =
                            new DataFileReader<>(new File(word[2]), new GenericDatumReader<>(null, schema));
                    DataFileWriter<GenericRecord> writer = new DataFileWriter<>(new GenericDatumWriter<>(schema))) {
                writer.setCodec(CodecFactory.deflateCodec(6)).create(schema, new File(word[3]));
                for (GenericRecord r : reader) {
                    out.println(json.writeValueAsString(plain(r)));
                    writer.append(r);
                }
            }
        }
        out.flush();
    }
}
