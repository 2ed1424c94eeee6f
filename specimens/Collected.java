// The Java virtual machine: compiled code, threads, and a heap that is collected all the time.

import java.io.File;
import java.io.FileWriter;
import java.util.HashMap;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.LongStream;

final class Collected {
    static File end;

    static long work(int number) {
        var kept = new HashMap<Long, String>();
        long rounds = 0;
        while (!end.exists()) {
            for (long i = 0; i < 1000; i++) {
                kept.put(i, number + ":" + i + ":" + rounds);
            }
            for (long i = 0; i < 1000; i++) {
                if (!kept.get(i).equals(number + ":" + i + ":" + rounds)) {
                    throw new IllegalStateException("differs: " + kept.get(i));
                }
            }
            rounds++;
        }
        return rounds;
    }

    public static void main(String[] arguments) throws Exception {
        var folder = new File(arguments[0]);
        boolean spoil = System.getenv("SPOIL") != null;
        end = new File(folder, "end");
        var pool = Executors.newFixedThreadPool(3);
        var results = new HashMap<Integer, Future<Long>>();
        for (int number = 0; number < 3; number++) {
            int own = number;
            results.put(number, pool.submit((Callable<Long>) () -> work(own)));
        }
        // Channels (java.nio) would keep a socket open, which does not travel.
        var made = new File(folder, "ready.new");
        try (var writer = new FileWriter(made)) {
            writer.write(Long.toString(ProcessHandle.current().pid()));
        }
        if (!made.renameTo(new File(folder, "ready"))) {
            throw new IllegalStateException("no folder to write into");
        }
        long sum = LongStream.range(0, 1000).map(i -> i * i).sum();
        while (!end.exists()) {
            if (LongStream.range(0, 1000).map(i -> i * i).sum() != sum) {
                throw new IllegalStateException("differs: a sum");
            }
            Thread.sleep(1);
        }
        for (var result : results.values()) {
            if (result.get() < 0) {
                throw new IllegalStateException("differs: the rounds of a thread");
            }
        }
        pool.shutdown();
        System.gc();
        if (spoil) {
            sum++;
        }
        if (sum != 332833500L) {
            System.out.println("differs: " + sum);
            System.exit(1);
        }
        System.out.println("well");
    }
}
