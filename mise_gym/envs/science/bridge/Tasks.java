package misegym;

import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import scienceworld.tasks.TaskMaker1;
import scienceworld.tasks.specifictasks.TaskParametric;
import util.UniqueIdentifier;

/**
 * The simulator's tasks, made one family at a time.
 *
 * The simulator makes all variations of all tasks anew at every start, which takes most of the start. What a family of tasks looks
 * like depends on those made before it only through how often they drew from the source of chance and how many objects they
 * numbered, and both are the same at every start. So they are counted once, while all are made, and skipped ever after.
 */
final class Tasks extends TaskMaker1 {
    /** Tasks of one class, which the simulator makes together. */
    private static final class Family {
        final Class<?> kind;
        final int drawsBefore;
        final long objectsBefore;

        Family(Class<?> kind, int drawsBefore, long objectsBefore) {
            this.kind = kind;
            this.drawsBefore = drawsBefore;
            this.objectsBefore = objectsBefore;
        }

        void make(TaskMaker1 maker) {
            try {
                Class<?> companion = Class.forName(kind.getName() + "$");
                Object only = companion.getField("MODULE$").get(null);
                companion.getMethod("registerTasks", TaskMaker1.class).invoke(only, maker);
            } catch (ReflectiveOperationException error) {
                throw new LinkageError("cannot make tasks of " + kind, error);
            }
        }
    }

    /** A source of chance that knows how often it was drawn from. */
    private static final class Counter extends Random {
        private static final long serialVersionUID = 1;
        private int draws;

        @Override
        protected int next(int bits) {
            draws++;
            return super.next(bits);
        }
    }

    private static final Counter COUNTER = new Counter();

    // Without initial values: the simulator's constructor calls addTask, and initial values would be set after that.
    private Map<String, Family> families;
    private Family family;
    private int draws;
    private long objects;
    private final boolean isCounted;

    private Tasks() {
        isCounted = true;
    }

    /** Make all tasks, and count. Leaves the simulator's global state changed. */
    static Tasks count() {
        Chance.use(COUNTER);
        UniqueIdentifier.reset();
        return new Tasks();
    }

    /**
     * Make a task, with all its variations, as the simulator does when it makes all after it has been seeded with the same number;
     * what the simulator does next then finds its objects numbered as far.
     */
    void make(String task, int seed, Random chance) {
        Family wanted = families.get(task);
        if (wanted == null) {
            throw new IllegalArgumentException("unknown task " + task);
        }
        tasks().clear();
        chance.setSeed(seed);
        for (int i = 0; i < wanted.drawsBefore; i++) {
            chance.nextInt();
        }
        UniqueIdentifier.count_$eq(wanted.objectsBefore);
        wanted.make(this);
        UniqueIdentifier.count_$eq(objects);
    }

    @Override
    public void addTask(TaskParametric task) {
        super.addTask(task);
        if (!isCounted) {
            note(task);
        }
    }

    private void note(TaskParametric task) {
        if (families == null) {
            families = new HashMap<>();
        }
        if (family == null || family.kind != task.getClass()) {
            family = new Family(task.getClass(), draws, objects);
        }
        families.put(task.taskName(), family);
        draws = COUNTER.draws;
        objects = UniqueIdentifier.count();
    }
}
