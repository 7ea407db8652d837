package misegym;

import java.io.OutputStream;
import java.io.PrintStream;
import java.util.HashMap;
import java.util.Map;

/**
 * What Python calls: plain numbers and text only, so that no object of this machine has to be tracked over there.
 *
 * A reply is fields between {@link #SEPARATOR}s: score, "1" if the task is done, "1" if the parser waits for a number, moves, the
 * error that stopped the simulator (or nothing), the observation, and then what was wanted: look, inventory, valid actions, task.
 * Calls must not overlap: Python holds a lock.
 */
public final class Bridge {
    static final String SEPARATOR = "\u001e";
    static final int LOOK = 1;
    static final int INVENTORY = 2;
    static final int VALID = 4;
    static final int TASK = 8;

    private static final Map<Integer, World> WORLDS = new HashMap<>();
    private static int opened;

    private Bridge() {}

    /** Silence the simulator, which prints what it does. */
    public static void hush() {
        OutputStream nowhere = new OutputStream() {
            @Override
            public void write(int octet) {}

            @Override
            public void write(byte[] octets, int offset, int length) {}
        };
        System.setOut(new PrintStream(nowhere));
    }

    /** Make a world without a task; returns its number. */
    public static int open() {
        WORLDS.put(++opened, new World());
        return opened;
    }

    /** Begin an episode and look around. */
    public static String load(int world, String task, int variation, String simplifications, int wanted) {
        return WORLDS.get(world).load(task, variation, simplifications, wanted);
    }

    /** Take one action. */
    public static String step(int world, String action, int wanted) {
        return WORLDS.get(world).step(action, wanted);
    }

    /** Compute the simulator's own solution, one action per line. */
    public static String gold(String task, int variation, String simplifications) {
        return new World().gold(task, variation, simplifications);
    }

    /** Forget a world. */
    public static void close(int world) {
        World.leave(WORLDS.remove(world));
    }
}
