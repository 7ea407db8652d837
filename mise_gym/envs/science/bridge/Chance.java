package misegym;

import java.lang.reflect.Field;
import java.util.Random;

/** The simulator's one source of chance, which all episodes draw from, and the private fields that have to be reached. */
final class Chance {
    private static final Field SOURCE = field(scala.util.Random.class, "self");

    private Chance() {}

    /** Let the simulator draw from this from now on. */
    static void use(Random source) {
        set(SOURCE, scala.util.Random$.MODULE$, source);
    }

    static Field field(Class<?> owner, String name) {
        try {
            Field field = owner.getDeclaredField(name);
            field.setAccessible(true);
            return field;
        } catch (ReflectiveOperationException error) {
            throw new LinkageError("no field " + name + " in " + owner, error);
        }
    }

    static void set(Field field, Object object, Object value) {
        try {
            field.set(object, value);
        } catch (IllegalAccessException error) {
            throw new LinkageError("cannot set " + field, error);
        }
    }
}
