// A pool of threads, compiled code and the garbage collector.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

public class Pool {
    static int work(String line) {
        int sum = line.hashCode();
        List<String> garbage = new ArrayList<>();
        for (int step = 0; step < 200; step++) {
            garbage.add(sum + ":" + step);
            sum = sum * 31 + garbage.get(step).hashCode();
        }
        return sum;
    }

    public static void main(String[] words) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(3);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        HashMap<Integer, Integer> seen = new HashMap<>();
        int total = 0, count = 0;
        while (true) {
            List<Future<Integer>> batch = new ArrayList<>();
            String line = null;
            while (batch.size() < 10 && (line = lines.readLine()) != null) {
                String told = line;
                batch.add(pool.submit(() -> work(told)));
            }
            for (Future<Integer> answer : batch) {
                int sum = answer.get();
                total = total * 31 + sum;
                seen.merge(Math.floorMod(sum, 97), 1, Integer::sum);
                count++;
            }
            if (count % 100 == 0 && !batch.isEmpty()) System.out.println(count + " " + total);
            if (line == null && batch.isEmpty()) break;
        }
        pool.shutdown();
        System.out.println("end " + count + " " + total + " " + seen.size());
    }
}
